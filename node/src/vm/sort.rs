//! `table.sort`: a stable merge sort. The native one is not stable, picks pivots by the clock, and gives another
//! result on another machine when elements compare as equal.
//!
//! The elements are read once and written back once, after the last comparison: an error in the comparator leaves
//! the table as it was.

use std::ffi::c_int;

use mlua::ffi::{self, lua_State};

use super::host::{charge, charge_items, raise};

/// Instructions charged for each element moved or compared natively.
const INSTRUCTIONS_PER_MOVE: u64 = 2;
/// Bytes of texts that cost as much to compare as one instruction; of tables their length, which is no less.
const BYTES_PER_INSTRUCTION: usize = 32;
/// Where the two work lists are on the stack; comparator and table are below.
const FIRST_LIST: c_int = 3;
const SECOND_LIST: c_int = 4;

/// `table.sort(list [, comparator])`
pub(super) unsafe extern "C-unwind" fn sort(l: *mut lua_State) -> c_int {
    unsafe {
        let length = ffi::luaL_len(l, 1);
        if length < 2 {
            return 0;
        }
        let Ok(capacity) = c_int::try_from(length) else { raise(l, c"bad argument #1 to 'sort' (array too big)") };
        if ffi::lua_type(l, 2) > ffi::LUA_TNIL {
            ffi::luaL_checktype(l, 2, ffi::LUA_TFUNCTION);
        }
        ffi::lua_settop(l, 2);
        charge_items(l, length, INSTRUCTIONS_PER_MOVE);
        ffi::lua_createtable(l, capacity, 0);
        ffi::lua_createtable(l, capacity, 0);
        for place in 1..=length {
            ffi::lua_geti(l, 1, place);
            ffi::lua_rawseti(l, FIRST_LIST, place);
        }
        let sorted = merge_sort(l, length);
        for place in 1..=length {
            ffi::lua_rawgeti(l, sorted, place);
            ffi::lua_seti(l, 1, place);
        }
        0
    }
}

/// Sorts the first list from the bottom up, from one list to the other and back; which of them holds the result.
unsafe fn merge_sort(l: *mut lua_State, length: i64) -> c_int {
    unsafe {
        let (mut from, mut to) = (FIRST_LIST, SECOND_LIST);
        let mut width = 1;
        while width < length {
            charge_items(l, length, INSTRUCTIONS_PER_MOVE);
            let mut start = 1;
            while start <= length {
                let middle = (start + width).min(length + 1);
                let end = (middle + width).min(length + 1);
                merge(l, from, to, start, middle, end);
                start = end;
            }
            (from, to) = (to, from);
            width *= 2;
        }
        from
    }
}

/// Merges `start..middle` and `middle..end`. Of equal elements the left one comes first.
unsafe fn merge(l: *mut lua_State, from: c_int, to: c_int, start: i64, middle: i64, end: i64) {
    unsafe {
        let (mut left, mut right) = (start, middle);
        for place in start..end {
            let take_right = right < end && (left == middle || is_less(l, from, right, left));
            let taken = if take_right { &mut right } else { &mut left };
            ffi::lua_rawgeti(l, from, *taken);
            ffi::lua_rawseti(l, to, place);
            *taken += 1;
        }
    }
}

unsafe fn is_less(l: *mut lua_State, list: c_int, a: i64, b: i64) -> bool {
    unsafe {
        let custom = ffi::lua_type(l, 2) == ffi::LUA_TFUNCTION;
        if custom {
            ffi::lua_pushvalue(l, 2);
        }
        ffi::lua_rawgeti(l, list, a);
        ffi::lua_rawgeti(l, list, b);
        if !custom {
            charge(l, (ffi::lua_rawlen(l, -1).min(ffi::lua_rawlen(l, -2)) / BYTES_PER_INSTRUCTION) as u64);
        }
        let less = if custom {
            ffi::lua_call(l, 2, 1);
            ffi::lua_toboolean(l, -1) != 0
        } else {
            ffi::lua_compare(l, -2, -1, ffi::LUA_OPLT) != 0
        };
        ffi::lua_pop(l, if custom { 1 } else { 2 });
        less
    }
}
