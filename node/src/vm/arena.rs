//! The interpreter's heap: one range of addresses, the same in every worker, whose blocks are given out in an order
//! that depends on nothing but the requests. So the address of a table follows from the process's history, on every
//! machine, and nothing that depends on addresses (which table is hashed where, when a hash part is full) can differ.
//!
//! Blocks are of fixed classes, each with a list of free ones; who frees a block says how large it is, so blocks have
//! no headers. Memory that was taken is kept until the arena ends, but the pages of large free blocks are given back.
//! Since nothing outside of an arena needs to know of what is in it, it can be made what it was before: [`Image`].

use std::ffi::{c_int, c_void};
use std::io;
use std::ptr;

/// Where the arena of a worker begins. Systems with less than 47 bits of address space for programs can't have it.
const BASE: usize = 0x2000_0000_0000;
/// Address space of an arena: enough for the largest process.
pub(super) const ARENA_BYTES: usize = 5 << 30;
/// How much of it an interpreter may take, as a multiple of what it may hold, and beside that: what free blocks of one
/// class keep from the others is bounded by it.
const LIMIT_FACTOR: usize = 2;
const LIMIT_MORE: usize = 64 << 20;
/// The exit code of a process whose heap needs more than the node granted.
pub(super) const OUTGROWN: c_int = 97;
/// How much of it is made usable at once, and may be taken in any case.
const EXTENT: usize = 8 << 20;
/// Blocks up to this size come in steps of [`GRAIN`]; above, each doubling has four classes.
const SMALL: usize = 1024;
const GRAIN: usize = 16;
const SMALL_CLASSES: usize = SMALL / GRAIN;
const CLASSES: usize = SMALL_CLASSES + 4 * 24;
/// The pages of free blocks from this size on are given back to the system.
const GIVEN_BACK: usize = 1 << 20;
/// The page that holds a free block's link stays.
const PAGE: usize = 4096;

/// A heap. Not to be moved between threads while blocks of it are used.
pub(super) struct Arena {
    base: *mut u8,
    /// Bytes that were given out so far; what is behind was never touched.
    taken: usize,
    /// Bytes that may be touched.
    usable: usize,
    /// Most bytes that are given out.
    limit: usize,
    /// What the node lets this worker take; whoever needs more ends, to be started again when there is more.
    granted: usize,
    /// The first free block of each class; its first bytes are the address of the next one.
    free: [*mut c_void; CLASSES],
}

/// What an arena held.
pub(super) struct Image {
    bytes: Vec<u8>,
    free: [*mut c_void; CLASSES],
}

impl Arena {
    /// Reserves the addresses, for what may hold so many bytes at a time. Where they are taken by another arena of this
    /// process, as in tests, the arena is somewhere else.
    pub(super) fn new(held: usize) -> io::Result<Arena> {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        let reserve = |at: usize, more| unsafe {
            libc::mmap(at as *mut c_void, ARENA_BYTES, libc::PROT_NONE, flags | more, -1, 0)
        };
        let mut base = reserve(BASE, libc::MAP_FIXED_NOREPLACE);
        if base == libc::MAP_FAILED {
            base = reserve(0, 0);
        }
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let (base, free) = (base.cast(), [ptr::null_mut(); CLASSES]);
        let mut arena = Arena { base, taken: 0, usable: 0, limit: 0, granted: usize::MAX, free };
        arena.limit_to(held);
        Ok(arena)
    }

    /// Sets how many bytes may be held at a time.
    pub(super) fn limit_to(&mut self, held: usize) {
        self.limit = held.saturating_mul(LIMIT_FACTOR).saturating_add(LIMIT_MORE).min(ARENA_BYTES);
    }

    /// Sets how many bytes may be taken before the process ends with [`OUTGROWN`].
    pub(super) fn grant(&mut self, bytes: usize) {
        self.granted = bytes;
    }

    /// Whether it is where all arenas of workers are.
    pub(super) fn is_in_place(&self) -> bool {
        self.base as usize == BASE
    }

    /// Bytes that were given out so far, at most: what is behind was never touched.
    pub(super) fn taken(&self) -> usize {
        self.taken
    }

    /// A block of at least this size, null when the arena is exhausted.
    ///
    /// # Safety
    /// The size is not 0.
    pub(super) unsafe fn take(&mut self, size: usize) -> *mut c_void {
        unsafe { self.take_within(size, self.limit) }
    }

    unsafe fn take_within(&mut self, size: usize, limit: usize) -> *mut c_void {
        let Some((class, block_size)) = class_of(size) else { return ptr::null_mut() };
        let first = self.free[class];
        if !first.is_null() {
            self.free[class] = unsafe { first.cast::<*mut c_void>().read() };
            return first;
        }
        let end = self.taken + block_size;
        if end > limit {
            return ptr::null_mut();
        }
        self.make_usable(end);
        let block = unsafe { self.base.add(self.taken) };
        self.taken = end;
        block.cast()
    }

    /// Takes a block back.
    ///
    /// # Safety
    /// It came from [`Arena::take`] or [`Arena::resize`] for this size, and nobody uses it any more.
    pub(super) unsafe fn give_back(&mut self, block: *mut c_void, size: usize) {
        let Some((class, block_size)) = class_of(size) else { return };
        if block_size >= GIVEN_BACK {
            // What fails here only keeps memory.
            unsafe {
                let first = block.cast::<u8>().add(PAGE);
                let first = first.add(first.align_offset(PAGE));
                let length = (block.cast::<u8>().add(block_size).offset_from(first) as usize) & !(PAGE - 1);
                libc::madvise(first.cast(), length, libc::MADV_DONTNEED);
            }
        }
        unsafe { block.cast::<*mut c_void>().write(self.free[class]) };
        self.free[class] = block;
    }

    /// Makes a block larger or smaller, elsewhere if it does not fit; null when the arena is exhausted: then the block
    /// is as it was.
    ///
    /// # Safety
    /// As for [`Arena::give_back`]; neither size is 0.
    pub(super) unsafe fn resize(&mut self, block: *mut c_void, old_size: usize, new_size: usize) -> *mut c_void {
        let (old, new) = (class_of(old_size), class_of(new_size));
        if old.is_some() && old.map(|(class, _)| class) == new.map(|(class, _)| class) {
            return block;
        }
        // The interpreter counts on it that a block can always be made smaller.
        let limit = if new_size < old_size { ARENA_BYTES } else { self.limit };
        let moved = unsafe { self.take_within(new_size, limit) };
        if !moved.is_null() {
            unsafe {
                ptr::copy_nonoverlapping(block.cast::<u8>(), moved.cast::<u8>(), old_size.min(new_size));
                self.give_back(block, old_size);
            }
        }
        moved
    }

    /// What it holds, to be put back later.
    pub(super) fn image(&self) -> Image {
        // What was taken was made usable before.
        let bytes = unsafe { std::slice::from_raw_parts(self.base, self.taken) };
        Image { bytes: bytes.to_vec(), free: self.free }
    }

    /// Empties it. Nobody uses a block of it any more.
    pub(super) fn clear(&mut self) {
        let nothing = Image { bytes: Vec::new(), free: [ptr::null_mut(); CLASSES] };
        unsafe { self.put_back(&nothing) };
    }

    /// Makes it what it was when it gave this image; what was taken since goes back to the system.
    ///
    /// # Safety
    /// The image is of this arena. Nobody uses a block that was taken since, or what a block held since.
    pub(super) unsafe fn put_back(&mut self, image: &Image) {
        unsafe {
            ptr::copy_nonoverlapping(image.bytes.as_ptr(), self.base, image.bytes.len());
            let kept = image.bytes.len().next_multiple_of(PAGE);
            if kept < self.usable {
                // What fails here only keeps memory.
                libc::madvise(self.base.add(kept).cast(), self.usable - kept, libc::MADV_DONTNEED);
            }
        }
        (self.taken, self.free) = (image.bytes.len(), image.free);
    }

    /// Lets what is below `end` be touched. Where the system has no memory left the process ends: that is no property
    /// of what it computes.
    fn make_usable(&mut self, end: usize) {
        if end > self.usable && end > self.granted.max(EXTENT) {
            unsafe { libc::_exit(OUTGROWN) };
        }
        while self.usable < end {
            let length = EXTENT.max(end - self.usable).next_multiple_of(EXTENT).min(ARENA_BYTES - self.usable);
            unsafe {
                let start = self.base.add(self.usable).cast();
                if libc::mprotect(start, length, libc::PROT_READ | libc::PROT_WRITE) != 0 {
                    std::process::abort();
                }
                // A fork copies page tables: with large pages they are small. Small heaps have no use for them.
                if self.usable > 0 {
                    libc::madvise(start, length, libc::MADV_HUGEPAGE);
                }
            }
            self.usable += length;
        }
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        unsafe { libc::munmap(self.base.cast(), ARENA_BYTES) };
    }
}

/// The class of a block that holds `size` bytes, and its size; none for what no arena could hold.
fn class_of(size: usize) -> Option<(usize, usize)> {
    if size <= SMALL {
        let class = size.div_ceil(GRAIN).max(1);
        return Some((class - 1, class * GRAIN));
    }
    if size > ARENA_BYTES {
        return None;
    }
    // The power of two below, and how many quarters of it come on top.
    let power = (size - 1).ilog2();
    let quarter = 1usize << (power - 2);
    let quarters = (size - (1 << power)).div_ceil(quarter);
    let class = SMALL_CLASSES + 4 * (power as usize - SMALL.ilog2() as usize) + quarters - 1;
    (class < CLASSES).then_some((class, (1 << power) + quarters * quarter))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_hold_what_they_say_and_waste_little() {
        let mut last = (0, GRAIN);
        for size in (1..5000).chain((5000..40 << 20).step_by(9973)) {
            let (class, block) = class_of(size).unwrap();
            assert!(block >= size && block <= size + size / 4 + GRAIN, "{size} in {block}");
            assert!(block % GRAIN == 0);
            assert!((class, block) >= last && (class == last.0) == (block == last.1), "{size}");
            last = (class, block);
        }
        assert!(class_of(ARENA_BYTES).is_some());
        assert_eq!(class_of(ARENA_BYTES + 1), None);
    }

    #[test]
    fn addresses_follow_from_the_requests() {
        let offsets = || {
            let mut arena = Arena::new(64 << 20).unwrap();
            let mut seen = Vec::new();
            let mut held: Vec<(*mut c_void, usize)> = Vec::new();
            let mut state = 1u64;
            for _ in 0..20_000 {
                state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                let size = 1 + ((state >> 33) as usize % 700) * ((state >> 60) as usize + 1);
                unsafe {
                    if state & 1024 != 0 && !held.is_empty() {
                        let (block, old) = held.swap_remove((state >> 20) as usize % held.len());
                        match state & 2048 {
                            0 => arena.give_back(block, old),
                            _ => held.push((arena.resize(block, old, size), size)),
                        }
                    } else {
                        held.push((arena.take(size), size));
                    }
                    let (block, size) = *held.last().unwrap_or(&(arena.base.cast(), 1));
                    ptr::write_bytes(block.cast::<u8>(), 7, size);
                    seen.push(block.cast::<u8>().offset_from(arena.base));
                }
            }
            seen
        };
        assert_eq!(offsets(), offsets());
    }

    #[test]
    fn an_image_is_put_back() {
        let mut arena = Arena::new(64 << 20).unwrap();
        unsafe {
            let kept = arena.take(100).cast::<u8>();
            let free = arena.take(200);
            arena.give_back(free, 200);
            ptr::write_bytes(kept, 7, 100);
            let image = arena.image();
            let addresses = |arena: &mut Arena| [200, 200, 5_000_000, 300].map(|size| arena.take(size));
            let first = addresses(&mut arena);
            ptr::write_bytes(kept, 8, 100);
            ptr::write_bytes(first[2].cast::<u8>(), 9, 5_000_000);
            arena.give_back(first[3], 300);
            arena.put_back(&image);
            assert_eq!((std::slice::from_raw_parts(kept, 100), arena.taken()), (&[7; 100][..], image.bytes.len()));
            assert_eq!(addresses(&mut arena), first);
            assert_eq!(*first[2].cast::<u8>().add(1 << 20), 0, "its memory was given back");
        }
    }

    #[test]
    fn a_block_keeps_its_bytes_when_it_grows_and_shrinks() {
        let mut arena = Arena::new(64 << 20).unwrap();
        unsafe {
            let mut block = arena.take(10).cast::<u8>();
            ptr::copy_nonoverlapping(b"0123456789".as_ptr(), block, 10);
            for (old, new) in [(10, 16), (16, 3_000_000), (3_000_000, 90_000), (90_000, 10)] {
                block = arena.resize(block.cast(), old, new).cast();
                assert_eq!(std::slice::from_raw_parts(block, 10), b"0123456789");
            }
            assert!(arena.take(ARENA_BYTES + 1).is_null());
        }
    }
}
