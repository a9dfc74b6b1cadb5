//! What of Lua's `debug` library only looks and changes nothing: `traceback` and `getinfo`.

use std::ffi::{c_char, c_int};

use mlua::ffi::{self, lua_State};

use super::host::{charge, raise};

/// The level at which a traceback starts: who called it.
const CALLER: c_int = 1;
/// Most letters that say what is asked for; there are seven.
const MAX_OPTIONS: usize = 14;
/// Instructions charged for each open call that is passed on the way to another.
const INSTRUCTIONS_PER_LEVEL: u64 = 2;
/// Instructions charged for what is said about a function.
const INSTRUCTIONS_PER_LOOK: u64 = 100;

/// The coroutine that is asked about, and how many arguments name it.
unsafe fn asked_about(l: *mut lua_State) -> (*mut lua_State, c_int) {
    unsafe {
        let thread = ffi::lua_tothread(l, 1);
        if thread.is_null() { (l, 0) } else { (thread, 1) }
    }
}

/// Charges for finding a level: all open calls of the coroutine at most.
unsafe fn charge_levels(l: *mut lua_State, of: *mut lua_State, level: c_int) {
    unsafe {
        let mut about: ffi::lua_Debug = std::mem::zeroed();
        // The first power of two that is too deep: as many steps as finding a level beside it takes.
        let mut depth: c_int = 1;
        while depth < level && ffi::lua_getstack(of, depth, &mut about) != 0 {
            charge(l, depth as u64 * INSTRUCTIONS_PER_LEVEL);
            depth = depth.saturating_mul(2);
        }
        charge(l, INSTRUCTIONS_PER_LOOK + depth as u64 * INSTRUCTIONS_PER_LEVEL);
    }
}

/// `debug.traceback([thread,] [message [, level]])`
pub(super) unsafe extern "C-unwind" fn traceback(l: *mut lua_State) -> c_int {
    unsafe {
        let (of, shift) = asked_about(l);
        let message = ffi::lua_tolstring(l, shift + 1, std::ptr::null_mut());
        if message.is_null() && ffi::lua_type(l, shift + 1) > ffi::LUA_TNIL {
            ffi::lua_pushvalue(l, shift + 1);
            return 1;
        }
        let level = ffi::luaL_optinteger(l, shift + 2, if of == l { CALLER.into() } else { 0 });
        charge_levels(l, of, c_int::MAX);
        ffi::luaL_traceback(l, of, message, c_int::try_from(level).unwrap_or(c_int::MAX));
        1
    }
}

/// `debug.getinfo([thread,] function or level [, what])`: as in Lua, but for `activelines`; and functions of the host
/// are described, not given: some are none of a program's business.
pub(super) unsafe extern "C-unwind" fn getinfo(l: *mut lua_State) -> c_int {
    unsafe {
        let (of, shift) = asked_about(l);
        let mut length = 0;
        let wanted = ffi::luaL_optlstring(l, shift + 2, c"flnStu".as_ptr(), &mut length).cast::<u8>();
        let wanted = std::slice::from_raw_parts(wanted, length);
        if length > MAX_OPTIONS || wanted.contains(&b'>') || wanted.contains(&b'L') {
            raise(l, c"bad argument to 'getinfo' (invalid option)");
        }
        // '>' in front for a function; zero at the end.
        let mut options: [c_char; MAX_OPTIONS + 2] = [0; MAX_OPTIONS + 2];
        let is_function = ffi::lua_type(l, shift + 1) == ffi::LUA_TFUNCTION;
        let start = usize::from(is_function);
        options[0] = b'>' as c_char;
        for (place, letter) in wanted.iter().enumerate() {
            options[start + place] = *letter as c_char;
        }
        options[start + length] = 0;
        let has = |letter: u8| wanted.contains(&letter);
        if ffi::lua_checkstack(of, 3) == 0 {
            raise(l, c"stack overflow");
        }
        let mut about: ffi::lua_Debug = std::mem::zeroed();
        if is_function {
            ffi::lua_pushvalue(l, shift + 1);
            ffi::lua_xmove(l, of, 1);
        } else {
            let level = ffi::luaL_checkinteger(l, shift + 1);
            let level = c_int::try_from(level).unwrap_or(-1);
            charge_levels(l, of, level);
            if level < 0 || ffi::lua_getstack(of, level, &mut about) == 0 {
                ffi::lua_pushnil(l);
                return 1;
            }
        }
        if ffi::lua_getinfo(of, options.as_ptr(), &mut about) == 0 {
            raise(l, c"bad argument to 'getinfo' (invalid option)");
        }
        ffi::lua_createtable(l, 0, 12);
        if has(b'f') {
            ffi::lua_xmove(of, l, 1);
            if of == l {
                ffi::lua_insert(l, -2);
            }
            match ffi::lua_iscfunction(l, -1) {
                0 => ffi::lua_setfield(l, -2, c"func".as_ptr()),
                _ => ffi::lua_pop(l, 1),
            }
        }
        let number = |name: &std::ffi::CStr, value: c_int| {
            ffi::lua_pushinteger(l, value.into());
            ffi::lua_setfield(l, -2, name.as_ptr());
        };
        let text = |name: &std::ffi::CStr, value: *const c_char| {
            ffi::lua_pushstring(l, value);
            ffi::lua_setfield(l, -2, name.as_ptr());
        };
        let truth = |name: &std::ffi::CStr, value: bool| {
            ffi::lua_pushboolean(l, value.into());
            ffi::lua_setfield(l, -2, name.as_ptr());
        };
        if has(b'S') {
            text(c"source", about.source);
            text(c"short_src", about.short_src.as_ptr());
            text(c"what", about.what);
            number(c"linedefined", about.linedefined);
            number(c"lastlinedefined", about.lastlinedefined);
        }
        if has(b'l') {
            number(c"currentline", about.currentline);
        }
        if has(b'u') {
            number(c"nups", about.nups.into());
            number(c"nparams", about.nparams.into());
            truth(c"isvararg", about.isvararg != 0);
        }
        if has(b'n') {
            text(c"name", about.name);
            text(c"namewhat", about.namewhat);
        }
        if has(b't') {
            truth(c"istailcall", about.istailcall != 0);
        }
        1
    }
}
