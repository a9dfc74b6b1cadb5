//! `pairs` and `next` in the order of keys: numbers, then strings by their bytes, then booleans, false first, then
//! tables, functions and coroutines by their place on the heap.
//!
//! A Lua table keeps its keys in an order that depends on its history. That of keys is one that people can foresee, but
//! for objects: theirs is the same on every machine, as the heap's addresses follow from the process's history
//! ([`super::arena`]) and every function of the library is a closure on the heap ([`super::permanent`]).
//!
//! `pairs` iterates over the keys that the table has when it is called: fields may be changed and removed on the
//! way, added ones are not visited. `next(t, k)` gives the smallest key above `k`, which need not exist; while a
//! script goes on from key to key, the sorted keys of the last table are remembered for the rest of the message.

use std::cmp::Ordering;
use std::ffi::c_int;

use mlua::ffi::{self, lua_State};

use super::host::{self, charge, charge_items};
use super::places::places;

/// Instructions charged for each key that is sorted: about what sorting one takes.
const INSTRUCTIONS_PER_KEY: u64 = 60;
/// Instructions charged for each key that is looked at in search of the smallest.
const INSTRUCTIONS_PER_LOOK: u64 = 12;
/// Places of a table that are passed for one instruction, filled or not.
const PLACES_PER_INSTRUCTION: u64 = 8;
/// Instructions charged for a step of `next` within remembered keys.
const INSTRUCTIONS_PER_STEP: u64 = 16;

/// A key by which tables are ordered. Strings point into the interpreter: valid while the key is reachable from it.
#[derive(Clone, Copy)]
pub(super) enum Key {
    Integer(i64),
    Float(f64),
    Text(*const u8, usize),
    Boolean(bool),
    /// Anything that is known by its address only.
    Object(usize),
}

impl Key {
    /// Reads the value at `index`.
    ///
    /// # Safety
    /// `index` is a valid position on the stack of `l`. Raises no error.
    pub(super) unsafe fn read(l: *mut lua_State, index: c_int) -> Key {
        unsafe {
            match ffi::lua_type(l, index) {
                ffi::LUA_TNUMBER if ffi::lua_isinteger(l, index) != 0 => {
                    Key::Integer(ffi::lua_tointegerx(l, index, std::ptr::null_mut()))
                }
                ffi::LUA_TNUMBER => Key::Float(ffi::lua_tonumberx(l, index, std::ptr::null_mut())),
                ffi::LUA_TSTRING => {
                    let mut length = 0;
                    let text = ffi::lua_tolstring(l, index, &mut length);
                    Key::Text(text.cast(), length)
                }
                ffi::LUA_TBOOLEAN => Key::Boolean(ffi::lua_toboolean(l, index) != 0),
                _ => Key::Object(ffi::lua_topointer(l, index) as usize),
            }
        }
    }

    /// The order of keys.
    ///
    /// # Safety
    /// The values that both were read from are still reachable from the interpreter.
    pub(super) unsafe fn compare(&self, other: &Key) -> Ordering {
        match (self, other) {
            (Key::Integer(a), Key::Integer(b)) => a.cmp(b),
            (Key::Float(a), Key::Float(b)) => a.total_cmp(b),
            (Key::Integer(a), Key::Float(b)) => compare_mixed(*a, *b),
            (Key::Float(a), Key::Integer(b)) => compare_mixed(*b, *a).reverse(),
            (Key::Text(a, a_length), Key::Text(b, b_length)) => {
                let (a, b) =
                    unsafe { (std::slice::from_raw_parts(*a, *a_length), std::slice::from_raw_parts(*b, *b_length)) };
                a.cmp(b)
            }
            (Key::Boolean(a), Key::Boolean(b)) => a.cmp(b),
            (Key::Object(a), Key::Object(b)) => a.cmp(b),
            _ => self.rank().cmp(&other.rank()),
        }
    }

    fn rank(&self) -> u8 {
        match self {
            Key::Integer(_) | Key::Float(_) => 0,
            Key::Text(..) => 1,
            Key::Boolean(_) => 2,
            Key::Object(_) => 3,
        }
    }
}

/// An integer against a float, exactly: most floats above 2^53 have no integer's value after conversion.
fn compare_mixed(integer: i64, float: f64) -> Ordering {
    const TWO_TO_63: f64 = 9_223_372_036_854_775_808.0;
    if float.is_nan() || float >= TWO_TO_63 {
        return Ordering::Less;
    }
    if float < -TWO_TO_63 {
        return Ordering::Greater;
    }
    let floor = float.floor();
    integer.cmp(&(floor as i64)).then(if float > floor { Ordering::Less } else { Ordering::Equal })
}

/// A key and its place in the list of keys that keeps it alive. Its size counts against the memory limit, so it is part
/// of what processes compute.
#[derive(Clone, Copy)]
struct Entry {
    key: Key,
    /// The first eight bytes of a text: most comparisons need to look no further.
    prefix: u64,
    place: i64,
}

const _: () = assert!(size_of::<Entry>() == 40);

impl Entry {
    /// # Safety
    /// As for [`Key::compare`].
    unsafe fn new(key: Key, place: i64) -> Entry {
        let mut prefix = [0; 8];
        if let Key::Text(text, length) = key {
            let text = unsafe { std::slice::from_raw_parts(text, length.min(prefix.len())) };
            prefix[..text.len()].copy_from_slice(text);
        }
        Entry { key, prefix: u64::from_be_bytes(prefix), place }
    }

    /// # Safety
    /// As for [`Key::compare`].
    unsafe fn compare(&self, other: &Entry) -> Ordering {
        match (self.key, other.key) {
            (Key::Text(..), Key::Text(..)) if self.prefix != other.prefix => self.prefix.cmp(&other.prefix),
            _ => unsafe { self.key.compare(&other.key) },
        }
    }
}

/// Keys of one table in order, in a userdata block: this header, then the entries.
#[repr(C)]
struct Sorted {
    length: usize,
    /// Where the iteration goes on.
    position: usize,
}

impl Sorted {
    unsafe fn entries<'a>(this: *mut Sorted) -> &'a mut [Entry] {
        unsafe { std::slice::from_raw_parts_mut(this.add(1).cast::<Entry>(), (*this).length) }
    }
}

/// Pushes the list of a table's keys and the block that orders them.
///
/// # Safety
/// As for [`super::host::charge`]; the value at `table`, an absolute index, is a table.
unsafe fn push_sorted(l: *mut lua_State, table: c_int) -> *mut Sorted {
    unsafe {
        ffi::luaL_checkstack(l, 6, std::ptr::null());
        charge(l, places(l, table) / PLACES_PER_INSTRUCTION);
        let mut length: usize = 0;
        ffi::lua_pushnil(l);
        while ffi::lua_next(l, table) != 0 {
            ffi::lua_pop(l, 1);
            length += 1;
        }
        charge_items(l, length as i64, INSTRUCTIONS_PER_KEY);
        // All memory is taken before the keys are read: from here on nothing raises an error.
        ffi::lua_createtable(l, c_int::try_from(length).unwrap_or(c_int::MAX), 0);
        let size = size_of::<Sorted>() + length * size_of::<Entry>();
        let block = ffi::lua_newuserdata(l, size).cast::<Sorted>();
        block.write(Sorted { length, position: 0 });
        let list = ffi::lua_gettop(l) - 1;
        let first = block.add(1).cast::<Entry>();
        let mut place = 0;
        ffi::lua_pushnil(l);
        while ffi::lua_next(l, table) != 0 {
            ffi::lua_pop(l, 1);
            first.add(place).write(Entry::new(Key::read(l, -1), place as i64 + 1));
            ffi::lua_pushvalue(l, -1);
            ffi::lua_rawseti(l, list, place as i64 + 1);
            place += 1;
        }
        Sorted::entries(block).sort_unstable_by(|a, b| a.compare(b));
        block
    }
}

/// Pushes the next key that still has a value, and the value; false at the end.
///
/// # Safety
/// As for [`super::host::charge`]; `table` and `list` are tables, `sorted` orders `list`.
unsafe fn push_next(l: *mut lua_State, table: c_int, list: c_int, sorted: *mut Sorted) -> bool {
    unsafe {
        let entries = Sorted::entries(sorted);
        while let Some(entry) = entries.get((*sorted).position) {
            (*sorted).position += 1;
            ffi::lua_rawgeti(l, list, entry.place);
            ffi::lua_pushvalue(l, -1);
            ffi::lua_rawget(l, table);
            if ffi::lua_type(l, -1) != ffi::LUA_TNIL {
                return true;
            }
            ffi::lua_pop(l, 2);
        }
        false
    }
}

/// `pairs(t)`
pub(super) unsafe extern "C-unwind" fn pairs(l: *mut lua_State) -> c_int {
    unsafe {
        ffi::luaL_checkany(l, 1);
        if ffi::luaL_getmetafield(l, 1, c"__pairs".as_ptr()) != ffi::LUA_TNIL {
            ffi::lua_pushvalue(l, 1);
            ffi::lua_callk(l, 1, 3, 0, Some(pairs_called));
            return 3;
        }
        ffi::luaL_checktype(l, 1, ffi::LUA_TTABLE);
        push_in_order(l, 1);
        ffi::lua_pushinteger(l, 0);
        ffi::lua_pushcclosure(l, step, 2);
        ffi::lua_pushvalue(l, 1);
        ffi::lua_pushnil(l);
        3
    }
}

unsafe extern "C-unwind" fn pairs_called(_: *mut lua_State, _: c_int, _: ffi::lua_KContext) -> c_int {
    3
}

/// Pushes a list of a table's keys in order.
unsafe fn push_in_order(l: *mut lua_State, table: c_int) {
    unsafe {
        let sorted = push_sorted(l, table);
        let list = ffi::lua_gettop(l) - 1;
        let entries = Sorted::entries(sorted);
        ffi::lua_createtable(l, c_int::try_from(entries.len()).unwrap_or(c_int::MAX), 0);
        for (place, entry) in entries.iter().enumerate() {
            ffi::lua_rawgeti(l, list, entry.place);
            ffi::lua_rawseti(l, -2, place as i64 + 1);
        }
        ffi::lua_replace(l, list);
        ffi::lua_settop(l, list);
    }
}

/// The iterator of `pairs`: the list of keys and how many of them were visited as upvalues, so that it can be stored
/// like any other function; the table as first argument.
pub(super) unsafe extern "C-unwind" fn step(l: *mut lua_State) -> c_int {
    unsafe {
        ffi::luaL_checktype(l, 1, ffi::LUA_TTABLE);
        let (list, visited) = (ffi::lua_upvalueindex(1), ffi::lua_upvalueindex(2));
        let mut place = ffi::lua_tointegerx(l, visited, std::ptr::null_mut());
        loop {
            place += 1;
            if ffi::lua_rawgeti(l, list, place) == ffi::LUA_TNIL {
                return 1;
            }
            ffi::lua_pushvalue(l, -1);
            if ffi::lua_rawget(l, 1) != ffi::LUA_TNIL {
                ffi::lua_pushinteger(l, place);
                ffi::lua_replace(l, visited);
                return 2;
            }
            ffi::lua_pop(l, 2);
        }
    }
}

/// Where the keys of the table last walked by `next` are kept in the registry: `{table, list, order}`.
const WALK: i64 = host::registry::WALK;

/// Forgets the remembered keys: before each message, so that no table outlives its last use by more than that.
///
/// # Safety
/// As for [`super::host::charge`].
pub(super) unsafe fn forget_walk(l: *mut lua_State) {
    unsafe {
        ffi::lua_pushnil(l);
        ffi::lua_rawseti(l, ffi::LUA_REGISTRYINDEX, WALK);
    }
}

/// `next(t [, k])`
pub(super) unsafe extern "C-unwind" fn next(l: *mut lua_State) -> c_int {
    unsafe {
        ffi::luaL_checktype(l, 1, ffi::LUA_TTABLE);
        ffi::lua_settop(l, 2);
        if ffi::lua_type(l, 2) == ffi::LUA_TNIL {
            return smallest(l);
        }
        charge(l, INSTRUCTIONS_PER_STEP);
        let sorted = match remembered(l) {
            Some(sorted) => sorted,
            None => start_walk(l),
        };
        if push_next(l, 1, 3, sorted) {
            return 2;
        }
        ffi::lua_pushnil(l);
        1
    }
}

/// The first step of `next`, often only the question whether a table is empty: no keys are sorted for it.
unsafe fn smallest(l: *mut lua_State) -> c_int {
    unsafe {
        ffi::luaL_checkstack(l, 6, std::ptr::null());
        charge(l, places(l, 1) / PLACES_PER_INSTRUCTION);
        let mut keys = 0;
        // Index 2 holds the smallest key so far, nil at first.
        ffi::lua_pushnil(l);
        while ffi::lua_next(l, 1) != 0 {
            ffi::lua_pop(l, 1);
            if keys == 0 || Key::read(l, -1).compare(&Key::read(l, 2)) == Ordering::Less {
                ffi::lua_pushvalue(l, -1);
                ffi::lua_replace(l, 2);
            }
            keys += 1;
        }
        charge_items(l, keys, INSTRUCTIONS_PER_LOOK);
        if keys == 0 {
            return 1;
        }
        ffi::lua_pushvalue(l, 2);
        ffi::lua_rawget(l, 1);
        2
    }
}

/// The remembered keys if they are those of the table at 1 and the last step ended at the key at 2. Leaves the list
/// at 3 and the order at 4.
unsafe fn remembered(l: *mut lua_State) -> Option<*mut Sorted> {
    unsafe {
        ffi::lua_rawgeti(l, ffi::LUA_REGISTRYINDEX, WALK);
        if ffi::lua_type(l, 3) == ffi::LUA_TTABLE {
            ffi::lua_rawgeti(l, 3, 1);
            ffi::lua_rawgeti(l, 3, 2);
            ffi::lua_rawgeti(l, 3, 3);
            let sorted = ffi::lua_touserdata(l, 6).cast::<Sorted>();
            let last = (*sorted).position.checked_sub(1).and_then(|last| Sorted::entries(sorted).get(last));
            if let (Some(entry), true) = (last, ffi::lua_rawequal(l, 1, 4) != 0) {
                ffi::lua_rawgeti(l, 5, entry.place);
                let goes_on = ffi::lua_rawequal(l, 2, -1) != 0;
                ffi::lua_pop(l, 1);
                if goes_on {
                    ffi::lua_remove(l, 4);
                    ffi::lua_remove(l, 3);
                    return Some(sorted);
                }
            }
        }
        ffi::lua_settop(l, 2);
        None
    }
}

/// Sorts the keys of the table at 1, goes behind the key at 2, and remembers both. Leaves the list at 3 and the
/// order at 4.
unsafe fn start_walk(l: *mut lua_State) -> *mut Sorted {
    unsafe {
        let sorted = push_sorted(l, 1);
        let key = Key::read(l, 2);
        let entries = Sorted::entries(sorted);
        (*sorted).position = entries.partition_point(|entry| entry.key.compare(&key) != Ordering::Greater);
        ffi::lua_createtable(l, 3, 0);
        for (position, index) in [(1, 1), (2, 3), (3, 4)] {
            ffi::lua_pushvalue(l, index);
            ffi::lua_rawseti(l, 5, position);
        }
        ffi::lua_rawseti(l, ffi::LUA_REGISTRYINDEX, WALK);
        sorted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_and_floats_compare_exactly() {
        let two_to_53 = (1i64 << 53) as f64;
        assert_eq!(compare_mixed((1 << 53) + 1, two_to_53), Ordering::Greater);
        assert_eq!(compare_mixed(1, 1.5), Ordering::Less);
        assert_eq!(compare_mixed(-1, -1.5), Ordering::Greater);
        assert_eq!(compare_mixed(i64::MAX, 9.3e18), Ordering::Less);
        assert_eq!(compare_mixed(i64::MIN, f64::NEG_INFINITY), Ordering::Greater);
        assert_eq!(compare_mixed(i64::MAX, f64::INFINITY), Ordering::Less);
    }
}
