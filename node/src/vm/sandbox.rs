//! The globals that a module finds: Lua 5.3's library less what reaches outside or differs between machines, and our
//! own versions of some functions.
//!
//! Absent: `dofile`, `loadfile`, `string.dump`, the native `package`, `debug` but for `traceback` and `getinfo`,
//! of `os` everything but time as the message gives it, and of `io`
//! everything but reading data that the log named. `load` takes text only. `collectgarbage` does nothing.
//! Finalizers are refused, and weak tables hold what is in them: when they act depends on the garbage collector.

use std::ffi::{CStr, c_int};

use mlua::ffi::{self, lua_CFunction, lua_State};

use super::host::{Host, raise};
use super::{chunks, crypto, data, debug, list, math, order, permanent, protected, search, sort, text};

/// The part of the library that is written in Lua.
const PRELUDE: &str = include_str!("prelude.lua");

/// Fills the globals of a fresh interpreter. To be called as a C function, in a protected call.
pub(super) unsafe extern "C-unwind" fn open(l: *mut lua_State) -> c_int {
    unsafe {
        ffi::luaL_checkstack(l, 20, std::ptr::null());
        chunks::open(l);
        permanent::open(l);
        let libraries: [(&CStr, lua_CFunction); 6] = [
            (c"_G", ffi::luaopen_base),
            (c"coroutine", ffi::luaopen_coroutine),
            (c"math", ffi::luaopen_math),
            (c"string", ffi::luaopen_string),
            (c"table", ffi::luaopen_table),
            (c"utf8", ffi::luaopen_utf8),
        ];
        for (name, opener) in libraries {
            ffi::luaL_requiref(l, name.as_ptr(), opener, 1);
            ffi::lua_pop(l, 1);
        }
        // Error texts look up function names here, in native order: without it they do not.
        ffi::lua_newtable(l);
        ffi::lua_setfield(l, ffi::LUA_REGISTRYINDEX, ffi::LUA_LOADED_TABLE);

        ffi::lua_pushglobaltable(l);
        remove(l, &[c"dofile", c"loadfile"]);
        set_functions(
            l,
            &[
                (c"collectgarbage", collectgarbage),
                (c"ipairs", list::ipairs),
                (c"load", protected::load),
                (c"next", order::next),
                (c"pairs", order::pairs),
                (c"pcall", protected::pcall),
                (c"print", print),
                (c"setmetatable", setmetatable),
                (c"tostring", text::tostring),
                (c"xpcall", protected::xpcall),
            ],
        );
        in_library(l, c"coroutine", &[(c"resume", protected::resume), (c"wrap", protected::wrap)]);
        in_library(l, c"math", &math::FUNCTIONS);
        in_library(l, c"table", &[(c"insert", list::insert), (c"remove", list::remove), (c"sort", sort::sort)]);
        for name in math::WRAPPED {
            wrap(l, c"math", name, math::with_one_nan, &[]);
        }
        wrap(l, c"_G", c"select", list::select, &[]);
        wrap(l, c"_G", c"tonumber", list::tonumber, &[]);
        for (name, first, last) in [(c"concat", 3, 4), (c"move", 2, 3), (c"unpack", 2, 3)] {
            wrap(l, c"table", name, list::charged_by_range, &[first, last]);
        }
        ffi::lua_getfield(l, -1, c"string".as_ptr());
        remove(l, &[c"dump"]);
        ffi::lua_pop(l, 1);
        in_library(
            l,
            c"string",
            &[
                (c"find", search::find),
                (c"gmatch", search::gmatch),
                (c"gsub", search::gsub),
                (c"match", search::match_),
            ],
        );
        wrap(l, c"string", c"format", text::format, &[]);
        wrap(l, c"string", c"rep", list::rep, &[]);
        for name in [c"byte", c"char", c"lower", c"pack", c"packsize", c"reverse", c"unpack", c"upper"] {
            wrap(l, c"string", name, list::charged_by_text, &[]);
        }
        for name in [c"codepoint", c"len", c"offset"] {
            wrap(l, c"utf8", name, list::charged_by_text, &[]);
        }
        wrap(l, c"utf8", c"codes", list::codes, &[]);
        ffi::lua_newtable(l);
        set_functions(l, &[(c"getinfo", debug::getinfo), (c"traceback", debug::traceback)]);
        ffi::lua_setfield(l, -2, c"debug".as_ptr());
        name_functions(l);
        ffi::lua_pop(l, 1);

        disarm(l, "__gc");
        disarm(l, "__mode");
        run_prelude(l);
        crypto::open(l);
        0
    }
}

/// Names all functions of the library, and those that its iterators are made of.
unsafe fn name_functions(l: *mut lua_State) {
    unsafe {
        permanent::add_library(l, c"");
        let libraries =
            [(c"coroutine", c"coroutine."), (c"debug", c"debug."), (c"math", c"math."), (c"string", c"string.")];
        for (library, prefix) in libraries.into_iter().chain([(c"table", c"table."), (c"utf8", c"utf8.")]) {
            ffi::lua_getfield(l, -1, library.as_ptr());
            permanent::add_library(l, prefix);
            ffi::lua_pop(l, 1);
        }
        ffi::lua_pushcfunction(l, list::ipairs_step);
        permanent::add(l, list::IPAIRS_STEP);
        ffi::lua_pop(l, 1);
        // It is known to nobody but the function that returns it.
        ffi::lua_getfield(l, -1, c"utf8".as_ptr());
        ffi::lua_getfield(l, -1, c"codes".as_ptr());
        ffi::lua_getupvalue(l, -1, 1);
        ffi::lua_pushstring(l, c"".as_ptr());
        ffi::lua_call(l, 1, 1);
        permanent::add(l, list::CODES_STEP);
        ffi::lua_pop(l, 3);
    }
}

unsafe fn remove(l: *mut lua_State, names: &[&CStr]) {
    unsafe {
        for name in names {
            ffi::lua_pushnil(l);
            ffi::lua_setfield(l, -2, name.as_ptr());
        }
    }
}

unsafe fn set_functions(l: *mut lua_State, functions: &[(&CStr, lua_CFunction)]) {
    unsafe {
        for (name, function) in functions {
            ffi::lua_pushcfunction(l, *function);
            ffi::lua_setfield(l, -2, name.as_ptr());
        }
    }
}

unsafe fn in_library(l: *mut lua_State, library: &CStr, functions: &[(&CStr, lua_CFunction)]) {
    unsafe {
        ffi::lua_getfield(l, -1, library.as_ptr());
        set_functions(l, functions);
        ffi::lua_pop(l, 1);
    }
}

/// Replaces a library function by a wrapper that has it and some numbers as upvalues.
unsafe fn wrap(l: *mut lua_State, library: &CStr, name: &CStr, wrapper: lua_CFunction, numbers: &[i64]) {
    unsafe {
        ffi::lua_getfield(l, -1, library.as_ptr());
        ffi::lua_getfield(l, -1, name.as_ptr());
        for number in numbers {
            ffi::lua_pushinteger(l, *number);
        }
        ffi::lua_pushcclosure(l, wrapper, 1 + numbers.len() as c_int);
        ffi::lua_setfield(l, -2, name.as_ptr());
        ffi::lua_pop(l, 1);
    }
}

/// Makes a metamethod unreachable. The interpreter knows it by the identity of one interned string, which lives as
/// long as the interpreter: with other text inside no script can name it any more, whether it sets the field before
/// or after `setmetatable`.
unsafe fn disarm(l: *mut lua_State, name: &str) {
    unsafe {
        ffi::lua_pushlstring(l, name.as_ptr().cast(), name.len());
        let interned = ffi::lua_tolstring(l, -1, std::ptr::null_mut()).cast_mut();
        interned.write(0);
        ffi::lua_pop(l, 1);
    }
}

unsafe fn run_prelude(l: *mut lua_State) {
    unsafe {
        let (text, length) = (PRELUDE.as_ptr().cast(), PRELUDE.len());
        if ffi::luaL_loadbufferx(l, text, length, c"=prelude".as_ptr(), c"t".as_ptr()) != ffi::LUA_OK {
            ffi::lua_error(l);
        }
        chunks::keep_dump(l);
        ffi::lua_pushcfunction(l, timestamp);
        permanent::add(l, c"timestamp");
        ffi::lua_pushcfunction(l, data::size);
        permanent::add(l, c"data.size");
        ffi::lua_pushcfunction(l, data::read);
        permanent::add(l, c"data.read");
        ffi::lua_call(l, 3, 0);
    }
}

/// `print(...)`: there is nowhere to print to. A runtime that keeps what is printed defines its own.
unsafe extern "C-unwind" fn print(_: *mut lua_State) -> c_int {
    0
}

/// `collectgarbage(...)`: memory use and collections do not show.
unsafe extern "C-unwind" fn collectgarbage(l: *mut lua_State) -> c_int {
    unsafe {
        ffi::lua_pushinteger(l, 0);
        1
    }
}

/// Gives the prelude the time of the message, in milliseconds.
unsafe extern "C-unwind" fn timestamp(l: *mut lua_State) -> c_int {
    unsafe {
        let now = Host::of(l).timestamp_ms;
        ffi::lua_pushinteger(l, now);
        1
    }
}

/// `setmetatable(t, metatable)`: refuses finalizers, which would never run. Weak tables are allowed, as programs use
/// them for what they could also forget later; nothing in them is forgotten.
unsafe extern "C-unwind" fn setmetatable(l: *mut lua_State) -> c_int {
    unsafe {
        ffi::luaL_checktype(l, 1, ffi::LUA_TTABLE);
        if ffi::lua_type(l, 2) != ffi::LUA_TNIL {
            ffi::luaL_checktype(l, 2, ffi::LUA_TTABLE);
        }
        ffi::lua_settop(l, 2);
        if ffi::luaL_getmetafield(l, 1, c"__metatable".as_ptr()) != ffi::LUA_TNIL {
            raise(l, c"cannot change a protected metatable");
        }
        if ffi::lua_type(l, 2) == ffi::LUA_TTABLE {
            ffi::lua_pushstring(l, c"__gc".as_ptr());
            if ffi::lua_rawget(l, 2) != ffi::LUA_TNIL {
                raise(l, c"metatables with __gc are not supported: results would depend on the collector");
            }
            ffi::lua_pop(l, 1);
        }
        ffi::lua_setmetatable(l, 1);
        1
    }
}
