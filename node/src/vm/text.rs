//! `tostring` and `string.format` without addresses: a table is shown as `table`. Not-a-number is
//! shown as `nan`, whatever sign the processor gave it.

use std::ffi::c_int;

use mlua::ffi::{self, lua_State};

use super::host::{charge, raise};

/// Instructions charged for a float that becomes text, and for each byte of it that a format asks for.
const INSTRUCTIONS_PER_FLOAT: u64 = 200;
const INSTRUCTIONS_PER_BYTE: u64 = 4;

/// Pushes the text of the value at `index`.
///
/// # Safety
/// As for [`super::host::charge`].
unsafe fn push_text(l: *mut lua_State, index: c_int) {
    unsafe {
        let index = ffi::lua_absindex(l, index);
        if ffi::luaL_callmeta(l, index, c"__tostring".as_ptr()) != 0 {
            if ffi::lua_isstring(l, -1) == 0 {
                raise(l, c"'__tostring' must return a string");
            }
            return;
        }
        match ffi::lua_type(l, index) {
            ffi::LUA_TNUMBER if is_nan(l, index) => {
                ffi::lua_pushstring(l, c"nan".as_ptr());
            }
            ffi::LUA_TNUMBER | ffi::LUA_TSTRING => {
                if ffi::lua_type(l, index) == ffi::LUA_TNUMBER && ffi::lua_isinteger(l, index) == 0 {
                    charge(l, INSTRUCTIONS_PER_FLOAT);
                }
                ffi::lua_pushvalue(l, index);
                ffi::lua_tolstring(l, -1, std::ptr::null_mut());
            }
            ffi::LUA_TBOOLEAN => {
                let text = if ffi::lua_toboolean(l, index) != 0 { c"true" } else { c"false" };
                ffi::lua_pushstring(l, text.as_ptr());
            }
            ffi::LUA_TNIL => {
                ffi::lua_pushstring(l, c"nil".as_ptr());
            }
            _ => {
                let named = ffi::luaL_getmetafield(l, index, c"__name".as_ptr());
                if named != ffi::LUA_TSTRING {
                    if named != ffi::LUA_TNIL {
                        ffi::lua_pop(l, 1);
                    }
                    ffi::lua_pushstring(l, ffi::luaL_typename(l, index));
                }
            }
        }
    }
}

unsafe fn is_nan(l: *mut lua_State, index: c_int) -> bool {
    unsafe { ffi::lua_isinteger(l, index) == 0 && ffi::lua_tonumberx(l, index, std::ptr::null_mut()).is_nan() }
}

/// `tostring(v)`
pub(super) unsafe extern "C-unwind" fn tostring(l: *mut lua_State) -> c_int {
    unsafe {
        ffi::luaL_checkany(l, 1);
        push_text(l, 1);
        1
    }
}

/// `string.format(format, ...)`: values for `%s` are made text by our `tostring`, then the native function runs
/// (the first upvalue).
pub(super) unsafe extern "C-unwind" fn format(l: *mut lua_State) -> c_int {
    unsafe {
        let mut length = 0;
        let text = ffi::luaL_checklstring(l, 1, &mut length).cast::<u8>();
        let arguments = ffi::lua_gettop(l);
        ffi::luaL_checkstack(l, 4, std::ptr::null());
        let (mut at, mut argument) = (0, 1);
        while at < length {
            at += 1;
            if *text.add(at - 1) != b'%' {
                continue;
            }
            if at < length && *text.add(at) == b'%' {
                at += 1;
                continue;
            }
            while at < length && matches!(*text.add(at), b'-' | b'+' | b' ' | b'#' | b'.' | b'0'..=b'9') {
                at += 1;
            }
            argument += 1;
            if argument > arguments {
                break;
            }
            if at < length && *text.add(at) == b's' {
                push_text(l, argument);
                ffi::lua_replace(l, argument);
            } else if ffi::lua_isnumber(l, argument) != 0 {
                charge(l, INSTRUCTIONS_PER_FLOAT);
                if ffi::lua_type(l, argument) == ffi::LUA_TNUMBER && is_nan(l, argument) {
                    ffi::lua_pushnumber(l, f64::NAN);
                    ffi::lua_replace(l, argument);
                }
            }
        }
        match ffi::lua_tocfunction(l, ffi::lua_upvalueindex(1)) {
            Some(native) => {
                let results = native(l);
                charge(l, ffi::lua_rawlen(l, -1) as u64 * INSTRUCTIONS_PER_BYTE);
                results
            }
            None => raise(l, c"internal error: the wrapped library function is missing"),
        }
    }
}
