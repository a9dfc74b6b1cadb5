//! `math.*` and the power operator through one implementation, Rust's `libm`: the C library picks instructions by
//! the processor, and its last bits differ from machine to machine. What is exact everywhere (`floor`, `fmod`,
//! `sqrt`, …) stays native.

use std::ffi::{CStr, c_int};

use mlua::ffi::{self, lua_CFunction, lua_State};

/// What Lua's `^` calls: the interpreter is compiled so (`luai_numpow` in `.cargo/config.toml`).
#[unsafe(no_mangle)]
pub(super) extern "C" fn ao_pow(a: f64, b: f64) -> f64 {
    libm::pow(a, b)
}

macro_rules! of_one {
    ($($name:ident),*) => {
        $(unsafe extern "C-unwind" fn $name(l: *mut lua_State) -> c_int {
            unsafe {
                ffi::lua_pushnumber(l, libm::$name(ffi::luaL_checknumber(l, 1)));
                1
            }
        })*
    };
}
of_one!(acos, asin, cos, exp, sin, tan);

unsafe extern "C-unwind" fn atan(l: *mut lua_State) -> c_int {
    unsafe {
        let y = ffi::luaL_checknumber(l, 1);
        let x = ffi::luaL_optnumber(l, 2, 1.0);
        ffi::lua_pushnumber(l, libm::atan2(y, x));
        1
    }
}

unsafe extern "C-unwind" fn log(l: *mut lua_State) -> c_int {
    unsafe {
        let x = ffi::luaL_checknumber(l, 1);
        let result = if ffi::lua_type(l, 2) <= ffi::LUA_TNIL {
            libm::log(x)
        } else {
            match ffi::luaL_checknumber(l, 2) {
                2.0 => libm::log2(x),
                10.0 => libm::log10(x),
                base => libm::log(x) / libm::log(base),
            }
        };
        ffi::lua_pushnumber(l, result);
        1
    }
}

/// The functions that replace native ones.
pub(super) const FUNCTIONS: [(&CStr, lua_CFunction); 10] = [
    (c"acos", acos),
    (c"asin", asin),
    (c"atan", atan),
    (c"cos", cos),
    (c"exp", exp),
    (c"log", log),
    (c"sin", sin),
    (c"tan", tan),
    (c"random", super::random::random),
    (c"randomseed", super::random::randomseed),
];
