//! Calls that catch errors: `pcall`, `xpcall`, `coroutine.resume`, `coroutine.wrap`.
//!
//! They behave as in Lua 5.3, with one exception: an evaluation that hit a limit can't be continued by catching the
//! error, so it is raised again at once.

use std::ffi::c_int;

use mlua::ffi::{self, lua_KContext, lua_State};

use super::chunks;
use super::host::{HOOK_INTERVAL, Host, charge, charge_items, count, raise};

/// Bytes of source that cost as much as one instruction to compile.
const SOURCE_BYTES_PER_INSTRUCTION: usize = 2;
/// Open calls up to which a caught error costs nothing more, and above that the instructions for each.
const FREE_DEPTH: c_int = 256;
const INSTRUCTIONS_PER_CALL: u64 = 20;
/// Pieces of a chunk that wait on the stack to be joined.
const MAX_PIECES: c_int = 100;

/// Raises the error on top of the stack again if the evaluation hit a limit.
///
/// # Safety
/// `l` is an interpreter of ours with a value on top of its stack; the caller holds nothing that has a destructor.
pub(super) unsafe fn pass_on_stop(l: *mut lua_State) {
    unsafe {
        if Host::of(l).stop.is_some() {
            ffi::lua_error(l);
        }
    }
}

/// Charges a caught error for the calls that were open: the interpreter looks at all of them.
unsafe fn charge_depth(l: *mut lua_State) {
    unsafe {
        let mut about: ffi::lua_Debug = std::mem::zeroed();
        let mut depth = FREE_DEPTH;
        while ffi::lua_getstack(l, depth, &mut about) != 0 {
            depth = depth.saturating_mul(2);
        }
        if depth > FREE_DEPTH {
            charge_items(l, depth.into(), INSTRUCTIONS_PER_CALL);
        }
    }
}

unsafe extern "C-unwind" fn finish(l: *mut lua_State, status: c_int, extra: lua_KContext) -> c_int {
    unsafe {
        if status == ffi::LUA_OK || status == ffi::LUA_YIELD {
            return ffi::lua_gettop(l) - extra as c_int;
        }
        pass_on_stop(l);
        charge_depth(l);
        ffi::lua_pushboolean(l, 0);
        ffi::lua_pushvalue(l, -2);
        2
    }
}

/// `pcall(f, ...)`
pub(super) unsafe extern "C-unwind" fn pcall(l: *mut lua_State) -> c_int {
    unsafe {
        ffi::luaL_checkany(l, 1);
        ffi::lua_pushboolean(l, 1);
        ffi::lua_insert(l, 1);
        let status = ffi::lua_pcallk(l, ffi::lua_gettop(l) - 2, ffi::LUA_MULTRET, 0, 0, Some(finish));
        finish(l, status, 0)
    }
}

/// `xpcall(f, handler, ...)`
pub(super) unsafe extern "C-unwind" fn xpcall(l: *mut lua_State) -> c_int {
    unsafe {
        let arguments = ffi::lua_gettop(l) - 2;
        ffi::luaL_checktype(l, 2, ffi::LUA_TFUNCTION);
        ffi::lua_pushboolean(l, 1);
        ffi::lua_pushvalue(l, 1);
        ffi::lua_rotate(l, 3, 2);
        let status = ffi::lua_pcallk(l, arguments, ffi::LUA_MULTRET, 2, 2, Some(finish));
        finish(l, status, 2)
    }
}

/// Resumes `co` with the top `arguments` values; the number of results, or -1 and an error on top.
unsafe fn resume_with(l: *mut lua_State, co: *mut lua_State, arguments: c_int) -> c_int {
    unsafe {
        if ffi::lua_checkstack(co, arguments) == 0 {
            ffi::lua_pushstring(l, c"too many arguments to resume".as_ptr());
            return -1;
        }
        if ffi::lua_status(co) == ffi::LUA_OK && ffi::lua_gettop(co) == 0 {
            ffi::lua_pushstring(l, c"cannot resume dead coroutine".as_ptr());
            return -1;
        }
        charge(l, HOOK_INTERVAL as u64);
        ffi::lua_xmove(l, co, arguments);
        // Counting starts anew, so that what a coroutine ran in earlier messages does not matter.
        ffi::lua_sethook(co, Some(count), ffi::LUA_MASKCOUNT, HOOK_INTERVAL);
        let mut results = 0;
        let status = ffi::lua_resume(co, l, arguments, &mut results);
        if status != ffi::LUA_OK && status != ffi::LUA_YIELD {
            ffi::lua_xmove(co, l, 1);
            pass_on_stop(l);
            return -1;
        }
        if ffi::lua_checkstack(l, results.saturating_add(1)) == 0 {
            ffi::lua_pop(co, results);
            ffi::lua_pushstring(l, c"too many results to resume".as_ptr());
            return -1;
        }
        ffi::lua_xmove(co, l, results);
        results
    }
}

/// `coroutine.resume(co, ...)`
pub(super) unsafe extern "C-unwind" fn resume(l: *mut lua_State) -> c_int {
    unsafe {
        let co = ffi::lua_tothread(l, 1);
        if co.is_null() {
            ffi::luaL_argerror(l, 1, c"thread expected".as_ptr());
        }
        let results = resume_with(l, co, ffi::lua_gettop(l) - 1);
        let shown = if results < 0 { 1 } else { results };
        ffi::lua_pushboolean(l, c_int::from(results >= 0));
        ffi::lua_insert(l, -(shown + 1));
        shown + 1
    }
}

/// What `coroutine.wrap` gives.
pub(super) unsafe extern "C-unwind" fn wrapped(l: *mut lua_State) -> c_int {
    unsafe {
        let co = ffi::lua_tothread(l, ffi::lua_upvalueindex(1));
        let results = resume_with(l, co, ffi::lua_gettop(l));
        if results < 0 {
            if ffi::lua_type(l, -1) == ffi::LUA_TSTRING {
                ffi::luaL_where(l, 1);
                ffi::lua_insert(l, -2);
                ffi::lua_concat(l, 2);
            }
            ffi::lua_error(l);
        }
        results
    }
}

/// `coroutine.wrap(f)`
pub(super) unsafe extern "C-unwind" fn wrap(l: *mut lua_State) -> c_int {
    unsafe {
        ffi::luaL_checktype(l, 1, ffi::LUA_TFUNCTION);
        let co = ffi::lua_newthread(l);
        ffi::lua_pushvalue(l, 1);
        ffi::lua_xmove(l, co, 1);
        ffi::lua_pushcclosure(l, wrapped, 1);
        1
    }
}

/// `load(chunk [, name [, mode [, env]]])`: text only.
pub(super) unsafe extern "C-unwind" fn load(l: *mut lua_State) -> c_int {
    unsafe {
        let has_env = ffi::lua_gettop(l) >= 4;
        let is_reader = ffi::lua_type(l, 1) == ffi::LUA_TFUNCTION;
        if is_reader {
            read_pieces(l);
            ffi::lua_replace(l, 1);
        }
        let mut length = 0;
        let text = ffi::luaL_checklstring(l, 1, &mut length);
        let default_name = if is_reader { c"=(load)".as_ptr() } else { text };
        let name = ffi::luaL_optlstring(l, 2, default_name, std::ptr::null_mut());
        let mode = ffi::luaL_optlstring(l, 3, c"bt".as_ptr(), std::ptr::null_mut());
        charge(l, (length / SOURCE_BYTES_PER_INSTRUCTION) as u64);
        if libc::strchr(mode, c_int::from(b't')).is_null() {
            ffi::lua_pushnil(l);
            ffi::lua_pushstring(l, c"only text chunks can be loaded".as_ptr());
            return 2;
        }
        if ffi::luaL_loadbufferx(l, text, length, name, c"t".as_ptr()) != ffi::LUA_OK {
            pass_on_stop(l);
            ffi::lua_pushnil(l);
            ffi::lua_insert(l, -2);
            return 2;
        }
        chunks::remember(l, name, 1);
        if has_env {
            ffi::lua_pushvalue(l, 4);
            if ffi::lua_setupvalue(l, -2, 1).is_null() {
                ffi::lua_pop(l, 1);
            }
        }
        1
    }
}

/// Calls the function at index 1 until it gives nil or an empty string and pushes what it gave, joined.
unsafe fn read_pieces(l: *mut lua_State) {
    unsafe {
        ffi::lua_settop(l, 4);
        ffi::luaL_checkstack(l, MAX_PIECES + 2, std::ptr::null());
        ffi::lua_pushstring(l, c"".as_ptr());
        let mut pieces = 1;
        loop {
            ffi::lua_pushvalue(l, 1);
            ffi::lua_call(l, 0, 1);
            match ffi::lua_type(l, -1) {
                ffi::LUA_TNIL => break,
                ffi::LUA_TSTRING if ffi::lua_rawlen(l, -1) == 0 => break,
                ffi::LUA_TSTRING => pieces += 1,
                _ => raise(l, c"reader function must return a string"),
            }
            if pieces == MAX_PIECES {
                ffi::lua_concat(l, pieces);
                pieces = 1;
            }
        }
        ffi::lua_pop(l, 1);
        ffi::lua_concat(l, pieces);
    }
}
