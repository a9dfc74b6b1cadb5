//! Functions of the standard library that do much work in one call, charged for it: `table.insert`, `table.remove`
//! and `table.move` by the elements they move, `unpack` and `string.byte` by what they return, the others by the
//! length of the strings they are given. Natively each would cost one instruction, whatever its size.

use std::ffi::{CStr, c_int};

use mlua::ffi::{self, lua_CFunction, lua_State};

use super::host::{charge, charge_items, raise};
use super::permanent;

/// Bytes of text that cost as much as one instruction.
const BYTES_PER_INSTRUCTION: usize = 8;
/// Copies of a string that cost as much as one instruction, beyond their bytes.
const COPIES_PER_INSTRUCTION: i64 = 8;
/// Instructions charged for an element that is moved.
const INSTRUCTIONS_PER_MOVE: u64 = 2;
/// Instructions charged for a byte of a text that becomes a number.
const INSTRUCTIONS_PER_DIGIT: u64 = 2;

/// `table.insert(list, [position,] value)`
pub(super) unsafe extern "C-unwind" fn insert(l: *mut lua_State) -> c_int {
    unsafe {
        let end = ffi::luaL_len(l, 1).wrapping_add(1);
        let position = match ffi::lua_gettop(l) {
            2 => end,
            3 => ffi::luaL_checkinteger(l, 2),
            _ => raise(l, c"wrong number of arguments to 'insert'"),
        };
        if position < 1 || position > end {
            ffi::luaL_argerror(l, 2, c"position out of bounds".as_ptr());
        }
        charge_items(l, end - position, INSTRUCTIONS_PER_MOVE);
        for place in (position..end).rev() {
            ffi::lua_geti(l, 1, place);
            ffi::lua_seti(l, 1, place + 1);
        }
        ffi::lua_seti(l, 1, position);
        0
    }
}

/// `table.remove(list [, position])`
pub(super) unsafe extern "C-unwind" fn remove(l: *mut lua_State) -> c_int {
    unsafe {
        let length = ffi::luaL_len(l, 1);
        let position = ffi::luaL_optinteger(l, 2, length);
        if position != length && (position < 1 || position > length.saturating_add(1)) {
            ffi::luaL_argerror(l, 1, c"position out of bounds".as_ptr());
        }
        charge_items(l, length.saturating_sub(position), INSTRUCTIONS_PER_MOVE);
        ffi::lua_geti(l, 1, position);
        for place in position..length {
            ffi::lua_geti(l, 1, place + 1);
            ffi::lua_seti(l, 1, place);
        }
        ffi::lua_pushnil(l);
        ffi::lua_seti(l, 1, position.max(length));
        1
    }
}

unsafe fn original(l: *mut lua_State) -> lua_CFunction {
    unsafe {
        match ffi::lua_tocfunction(l, ffi::lua_upvalueindex(1)) {
            Some(function) => function,
            None => raise(l, c"internal error: the wrapped library function is missing"),
        }
    }
}

/// Before `table.move(a, first, last, ...)` and `table.concat(list, separator, first, last)`: charges the range
/// between the arguments whose positions are the second and third upvalue. Absent ones are 1 and the length.
pub(super) unsafe extern "C-unwind" fn charged_by_range(l: *mut lua_State) -> c_int {
    unsafe {
        let at = |upvalue| ffi::lua_tointegerx(l, ffi::lua_upvalueindex(upvalue), std::ptr::null_mut()) as c_int;
        let first = ffi::luaL_optinteger(l, at(2), 1);
        let last = if ffi::lua_type(l, at(3)) > ffi::LUA_TNIL {
            ffi::luaL_checkinteger(l, at(3))
        } else {
            ffi::luaL_len(l, 1)
        };
        charge_items(l, last.saturating_sub(first).saturating_add(1), INSTRUCTIONS_PER_MOVE);
        original(l)(l)
    }
}

/// Before a function of strings: charges their length.
pub(super) unsafe extern "C-unwind" fn charged_by_text(l: *mut lua_State) -> c_int {
    unsafe {
        let mut bytes: usize = 0;
        for index in 1..=ffi::lua_gettop(l) {
            if ffi::lua_type(l, index) == ffi::LUA_TSTRING {
                bytes = bytes.saturating_add(ffi::lua_rawlen(l, index));
            }
        }
        charge(l, (bytes / BYTES_PER_INSTRUCTION) as u64);
        original(l)(l)
    }
}

/// `select(n, ...)`: charges what it is given, which the interpreter copies.
pub(super) unsafe extern "C-unwind" fn select(l: *mut lua_State) -> c_int {
    unsafe {
        charge(l, ffi::lua_gettop(l) as u64 * INSTRUCTIONS_PER_MOVE);
        original(l)(l)
    }
}

/// `tonumber(v [, base])`: charges the length of a text.
pub(super) unsafe extern "C-unwind" fn tonumber(l: *mut lua_State) -> c_int {
    unsafe {
        if ffi::lua_type(l, 1) == ffi::LUA_TSTRING {
            charge(l, ffi::lua_rawlen(l, 1) as u64 * INSTRUCTIONS_PER_DIGIT);
        }
        original(l)(l)
    }
}

/// What `ipairs` and `utf8.codes` step by: names of host functions.
pub(super) const IPAIRS_STEP: &CStr = c"ipairs step";
pub(super) const CODES_STEP: &CStr = c"utf8.codes step";

/// `ipairs(t)`
pub(super) unsafe extern "C-unwind" fn ipairs(l: *mut lua_State) -> c_int {
    unsafe {
        ffi::luaL_checkany(l, 1);
        permanent::push(l, IPAIRS_STEP.to_bytes());
        ffi::lua_pushvalue(l, 1);
        ffi::lua_pushinteger(l, 0);
        3
    }
}

/// The iterator of `ipairs`.
pub(super) unsafe extern "C-unwind" fn ipairs_step(l: *mut lua_State) -> c_int {
    unsafe {
        let place = ffi::luaL_checkinteger(l, 2).wrapping_add(1);
        ffi::lua_pushinteger(l, place);
        if ffi::lua_geti(l, 1, place) == ffi::LUA_TNIL { 1 } else { 2 }
    }
}

/// `utf8.codes(s)`
pub(super) unsafe extern "C-unwind" fn codes(l: *mut lua_State) -> c_int {
    unsafe {
        let results = charged_by_text(l);
        permanent::push(l, CODES_STEP.to_bytes());
        ffi::lua_replace(l, -results - 1);
        results
    }
}

/// `string.rep(s, n [, separator])`. The native one runs through `n` also when there is nothing to repeat.
pub(super) unsafe extern "C-unwind" fn rep(l: *mut lua_State) -> c_int {
    unsafe {
        let (mut length, mut separator) = (0, 0);
        ffi::luaL_checklstring(l, 1, &mut length);
        let count = ffi::luaL_checkinteger(l, 2);
        ffi::luaL_optlstring(l, 3, c"".as_ptr(), &mut separator);
        if length == 0 && separator == 0 {
            ffi::lua_settop(l, 1);
            return 1;
        }
        charge_items(l, count / COPIES_PER_INSTRUCTION, 1);
        original(l)(l)
    }
}
