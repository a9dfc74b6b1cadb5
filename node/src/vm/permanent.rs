//! The library's own functions, by name: what a snapshot says of them. Each is a closure with a place on the heap, also
//! where Lua itself would use a bare address, which is another one in every build: as a key of a table it would come
//! elsewhere.

use std::ffi::{CStr, c_int};

use mlua::ffi::{self, lua_State};

use super::host::registry;

/// The table in the registry with names by functions and functions by names.
const PERMANENT: i64 = registry::PERMANENT;

unsafe fn push_all(l: *mut lua_State) {
    unsafe {
        ffi::lua_rawgeti(l, ffi::LUA_REGISTRYINDEX, PERMANENT);
    }
}

/// Makes an empty table.
///
/// # Safety
/// As for [`super::host::charge`].
pub(super) unsafe fn open(l: *mut lua_State) {
    unsafe {
        ffi::lua_newtable(l);
        ffi::lua_rawseti(l, ffi::LUA_REGISTRYINDEX, PERMANENT);
    }
}

/// Gives the host function on top of the stack a name, and makes it a closure if it is none.
///
/// # Safety
/// As for [`super::host::charge`].
pub(super) unsafe fn add(l: *mut lua_State, name: &CStr) {
    unsafe {
        ffi::luaL_checkstack(l, 5, std::ptr::null());
        let function = ffi::lua_gettop(l);
        if ffi::lua_getupvalue(l, function, 1).is_null() {
            if let Some(bare) = ffi::lua_tocfunction(l, function) {
                ffi::lua_pushboolean(l, 0);
                ffi::lua_pushcclosure(l, bare, 1);
                ffi::lua_replace(l, function);
            }
        } else {
            ffi::lua_pop(l, 1);
        }
        push_all(l);
        ffi::lua_pushvalue(l, function);
        if ffi::lua_rawget(l, -2) == ffi::LUA_TNIL {
            ffi::lua_pushvalue(l, function);
            ffi::lua_pushstring(l, name.as_ptr());
            ffi::lua_rawset(l, -4);
            ffi::lua_pushstring(l, name.as_ptr());
            ffi::lua_pushvalue(l, function);
            ffi::lua_rawset(l, -4);
        }
        ffi::lua_settop(l, function);
    }
}

/// Names all host functions of the library whose table is on top of the stack: `prefix` and their field.
///
/// # Safety
/// As for [`super::host::charge`].
pub(super) unsafe fn add_library(l: *mut lua_State, prefix: &CStr) {
    unsafe {
        ffi::luaL_checkstack(l, 8, std::ptr::null());
        let library = ffi::lua_gettop(l);
        ffi::lua_pushnil(l);
        while ffi::lua_next(l, library) != 0 {
            if ffi::lua_iscfunction(l, -1) != 0 {
                ffi::lua_pushstring(l, prefix.as_ptr());
                ffi::lua_pushvalue(l, -3);
                ffi::lua_concat(l, 2);
                let name = ffi::lua_tolstring(l, -1, std::ptr::null_mut());
                ffi::lua_pushvalue(l, -2);
                add(l, CStr::from_ptr(name));
                // Assigning to a field that is there does not disturb the walk.
                ffi::lua_pushvalue(l, -4);
                ffi::lua_insert(l, -2);
                ffi::lua_rawset(l, library);
                ffi::lua_pop(l, 1);
            }
            ffi::lua_pop(l, 1);
        }
    }
}

/// The name of the function at an index.
///
/// # Safety
/// `l` is an interpreter of ours with two free places on its stack. Raises no error.
pub(super) unsafe fn name_of(l: *mut lua_State, index: c_int) -> Option<Vec<u8>> {
    unsafe {
        let function = ffi::lua_absindex(l, index);
        push_all(l);
        ffi::lua_pushvalue(l, function);
        let is_known = ffi::lua_rawget(l, -2) == ffi::LUA_TSTRING;
        let mut length = 0;
        let text = ffi::lua_tolstring(l, -1, &mut length);
        let name = is_known.then(|| std::slice::from_raw_parts(text.cast::<u8>(), length).to_vec());
        ffi::lua_pop(l, 2);
        name
    }
}

/// Pushes the function of a name, or nil.
///
/// # Safety
/// As for [`super::host::charge`].
pub(super) unsafe fn push(l: *mut lua_State, name: &[u8]) -> bool {
    unsafe {
        push_all(l);
        ffi::lua_pushlstring(l, name.as_ptr().cast(), name.len());
        let found = ffi::lua_rawget(l, -2) == ffi::LUA_TFUNCTION;
        ffi::lua_remove(l, -2);
        found
    }
}
