//! The chunks that a process's functions come from: the library's prelude, the module, and what `load` compiled. Their
//! texts are what snapshots keep of functions.

use std::ffi::{CStr, c_char, c_int, c_void};

use mlua::ffi::{self, lua_State};

use super::host::{Host, registry};
use super::prototype::Dump;

/// The list in the registry of what `load` compiled: name, text, name, text…
const LOADED: i64 = registry::LOADED;

/// Makes an empty list.
///
/// # Safety
/// As for [`super::host::charge`].
pub(super) unsafe fn open(l: *mut lua_State) {
    unsafe {
        ffi::lua_newtable(l);
        ffi::lua_rawseti(l, ffi::LUA_REGISTRYINDEX, LOADED);
    }
}

/// Remembers a chunk by its name and the text at an index. It counts against the memory limit like everything else,
/// until the next snapshot finds it unused.
///
/// # Safety
/// As for [`super::host::charge`].
pub(super) unsafe fn remember(l: *mut lua_State, name: *const c_char, text: c_int) {
    unsafe {
        ffi::luaL_checkstack(l, 3, std::ptr::null());
        ffi::lua_rawgeti(l, ffi::LUA_REGISTRYINDEX, LOADED);
        let count = ffi::lua_rawlen(l, -1) as i64;
        ffi::lua_pushstring(l, name);
        ffi::lua_rawseti(l, -2, count + 1);
        ffi::lua_pushvalue(l, text);
        ffi::lua_rawseti(l, -2, count + 2);
        ffi::lua_pop(l, 1);
    }
}

/// All of them, names and texts.
///
/// # Safety
/// `l` is an interpreter of ours with two free places on its stack. Raises no error.
pub(super) unsafe fn loaded(l: *mut lua_State) -> Vec<(Vec<u8>, Vec<u8>)> {
    unsafe {
        let mut found = Vec::new();
        ffi::lua_rawgeti(l, ffi::LUA_REGISTRYINDEX, LOADED);
        let text = |place: i64| {
            ffi::lua_rawgeti(l, -1, place);
            let mut length = 0;
            let bytes = ffi::lua_tolstring(l, -1, &mut length);
            let text = std::slice::from_raw_parts(bytes.cast::<u8>(), length).to_vec();
            ffi::lua_pop(l, 1);
            text
        };
        for place in (1..ffi::lua_rawlen(l, -1) as i64).step_by(2) {
            found.push((text(place), text(place + 1)));
        }
        ffi::lua_pop(l, 1);
        found
    }
}

/// The function on top of the stack as the interpreter dumps it.
///
/// # Safety
/// `l` is an interpreter of ours with a Lua function on top of its stack. Raises no error.
pub(super) unsafe fn dump(l: *mut lua_State) -> Vec<u8> {
    unsafe extern "C-unwind" fn write(_: *mut lua_State, bytes: *const c_void, size: usize, out: *mut c_void) -> c_int {
        unsafe { (*out.cast::<Vec<u8>>()).extend(std::slice::from_raw_parts(bytes.cast::<u8>(), size)) };
        0
    }
    let mut out: Vec<u8> = Vec::new();
    unsafe { ffi::lua_dump(l, write, (&raw mut out).cast(), 0) };
    out
}

/// Compiles a text and leaves the function on the stack; false with an error there if it is no Lua.
///
/// # Safety
/// As for [`super::host::charge`].
pub(super) unsafe fn compile(l: *mut lua_State, name: &CStr, text: &[u8]) -> bool {
    unsafe { ffi::luaL_loadbufferx(l, text.as_ptr().cast(), text.len(), name.as_ptr(), c"t".as_ptr()) == ffi::LUA_OK }
}

/// Keeps the dump of the function on top of the stack: that of the prelude, then that of the module.
///
/// # Safety
/// As for [`dump`].
pub(super) unsafe fn keep_dump(l: *mut lua_State) {
    unsafe {
        let dump = Dump::read(dump(l));
        // What the interpreter itself writes is read; if it ever is not, no function has a place.
        Host::of(l).dumps.extend(dump);
    }
}
