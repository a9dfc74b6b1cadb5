//! `math.*` and the power operator through one implementation, Rust's `libm`: the C library picks instructions by
//! the processor, and its last bits differ from machine to machine. What is exact everywhere (`floor`, `fmod`,
//! `sqrt`, …) stays native, but for its not-a-number: there is one, whose sign is not the processor's choice.

use std::ffi::{CStr, c_int};

use mlua::ffi::{self, lua_CFunction, lua_State};

use super::host::raise;

/// What Lua's `^` calls: the interpreter is compiled so (`luai_numpow` in `.cargo/config.toml`).
#[unsafe(no_mangle)]
pub(super) extern "C" fn ao_pow(a: f64, b: f64) -> f64 {
    one_nan(libm::pow(a, b))
}

fn one_nan(number: f64) -> f64 {
    if number.is_nan() { f64::NAN } else { number }
}

macro_rules! of_one {
    ($($name:ident),*) => {
        $(unsafe extern "C-unwind" fn $name(l: *mut lua_State) -> c_int {
            unsafe {
                ffi::lua_pushnumber(l, one_nan(libm::$name(ffi::luaL_checknumber(l, 1))));
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
        ffi::lua_pushnumber(l, one_nan(libm::atan2(y, x)));
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
        ffi::lua_pushnumber(l, one_nan(result));
        1
    }
}

/// A native function (the first upvalue) whose not-a-number is made ours.
pub(super) unsafe extern "C-unwind" fn with_one_nan(l: *mut lua_State) -> c_int {
    unsafe {
        let Some(native) = ffi::lua_tocfunction(l, ffi::lua_upvalueindex(1)) else {
            raise(l, c"internal error: the wrapped library function is missing")
        };
        let results = native(l);
        for place in -results..0 {
            if ffi::lua_type(l, place) == ffi::LUA_TNUMBER
                && ffi::lua_isinteger(l, place) == 0
                && ffi::lua_tonumberx(l, place, std::ptr::null_mut()).is_nan()
            {
                ffi::lua_pushnumber(l, f64::NAN);
                ffi::lua_replace(l, place - 1);
            }
        }
        results
    }
}

/// The native functions that [`with_one_nan`] wraps.
pub(super) const WRAPPED: [&CStr; 3] = [c"fmod", c"modf", c"sqrt"];

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
