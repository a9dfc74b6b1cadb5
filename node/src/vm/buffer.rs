//! A text that grows on the interpreter's own heap. The one of Lua's auxiliary library frees its memory by a finalizer,
//! and would keep it for ever when an error interrupts whoever fills it: here the collector takes it like any value.

use std::ffi::{c_char, c_int, c_void};

use mlua::ffi::{self, lua_State};

use super::host::raise;

/// The smallest block that is taken.
const MIN_CAPACITY: usize = 256;

/// Where the text is: a block of userdata at a fixed place of the stack. Nothing to be dropped.
pub(super) struct Buffer {
    slot: c_int,
    block: *mut c_void,
    length: usize,
    capacity: usize,
}

impl Buffer {
    /// An empty one with room for so many bytes; it takes the next place of the stack.
    ///
    /// # Safety
    /// As for [`super::host::charge`], here and below.
    pub(super) unsafe fn new(l: *mut lua_State, capacity: usize) -> Buffer {
        unsafe {
            ffi::luaL_checkstack(l, 4, std::ptr::null());
            let capacity = capacity.max(MIN_CAPACITY);
            let block = ffi::lua_newuserdata(l, capacity);
            Buffer { slot: ffi::lua_gettop(l), block, length: 0, capacity }
        }
    }

    /// Adds bytes.
    pub(super) unsafe fn add(&mut self, l: *mut lua_State, bytes: &[u8]) {
        unsafe {
            if bytes.len() > self.capacity - self.length {
                self.grow(l, bytes.len());
            }
            let end = self.block.cast::<u8>().add(self.length);
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), end, bytes.len());
            self.length += bytes.len();
        }
    }

    unsafe fn grow(&mut self, l: *mut lua_State, more: usize) {
        unsafe {
            let Some(needed) = self.length.checked_add(more).filter(|needed| *needed < isize::MAX as usize / 2) else {
                raise(l, c"resulting string too large")
            };
            let capacity = needed.max(self.capacity * 2);
            let block = ffi::lua_newuserdata(l, capacity);
            std::ptr::copy_nonoverlapping(self.block.cast::<u8>(), block.cast::<u8>(), self.length);
            ffi::lua_replace(l, self.slot);
            (self.block, self.capacity) = (block, capacity);
        }
    }

    /// Pushes the text.
    pub(super) unsafe fn push(self, l: *mut lua_State) {
        unsafe {
            ffi::lua_pushlstring(l, self.block.cast::<c_char>(), self.length);
        }
    }
}
