//! How many places a table has: what walking it takes, though few of them may be filled. Lua's interface tells only
//! what is in them, so this looks at the table itself, as Lua 5.3 lays it out; the self-test compares it with known
//! tables.

use std::ffi::c_int;

use mlua::ffi::{self, lua_State};

/// Offsets in Lua 5.3's `Table`, behind `CommonHeader` (a pointer and two bytes) and `flags`: the binary logarithm of
/// the number of hashed places, and the number of those of a list.
const LSIZENODE: usize = 11;
const SIZEARRAY: usize = 12;

/// How many places the table at an index has.
///
/// # Safety
/// `l` is an interpreter with a table at the index. Raises no error.
pub(super) unsafe fn places(l: *mut lua_State, index: c_int) -> u64 {
    unsafe {
        let table = ffi::lua_topointer(l, index).cast::<u8>();
        let hashed = table.add(LSIZENODE).read();
        let listed = table.add(SIZEARRAY).cast::<u32>().read();
        (1u64 << (hashed & 63)) + u64::from(listed)
    }
}
