//! What one interpreter may use and what its library needs to know: memory, instructions, the time of the message.
//!
//! The interpreter allocates through [`allocate`], which counts every byte, so both limits strike at the same place
//! on every machine with the same history. A limit that was hit stays hit until the evaluation ends: functions that
//! catch errors ([`super::protected`]) look at [`Host::stop`] and raise again.
//!
//! No function here or beside it that calls the interpreter may hold a value with a destructor across a call that
//! can raise an error: errors leave by `longjmp`, which runs no destructors.

use std::cell::Cell;
use std::ffi::{CStr, c_int, c_uint, c_void};
use std::io;

use mlua::ffi::{self, lua_State};

use super::arena::{Arena, Image};
use super::data::{Files, NamedData};
use super::prototype::Dump;
use super::random::Random;

/// The count hook looks at the budget every so many instructions; what a coroutine runs beyond its last look is
/// covered by charging this much for each resume.
pub(super) const HOOK_INTERVAL: c_int = 1000;
/// Bytes allocated that cost as much as one instruction.
const BYTES_PER_INSTRUCTION: u64 = 16;
/// Bytes held that cost as much as one instruction when all of them are searched for garbage.
const BYTES_SEARCHED_PER_INSTRUCTION: u64 = 16;

thread_local! {
    /// What the next interpreter of this thread seeds its hashes with.
    static SEED: Cell<u32> = const { Cell::new(0) };
}

/// Lets the next interpreter of this thread seed its hashes so.
pub(super) fn seed_next(seed: u32) {
    SEED.set(seed);
}

/// What Lua asks for a seed: it is compiled so (`luai_makeseed` in `.cargo/config.toml`).
#[unsafe(no_mangle)]
pub(super) extern "C" fn ao_seed() -> c_uint {
    SEED.get()
}

/// Places in the interpreter's registry that are ours. Numbers, and not addresses as is usual in C: where an address is
/// hashed differs from run to run, and with it when the registry grows.
pub(super) mod registry {
    pub(in super::super) const WALK: i64 = 3;
    pub(in super::super) const LOADED: i64 = 4;
    pub(in super::super) const PERMANENT: i64 = 5;
}

/// A limit that ends the evaluation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// The instruction budget is used up.
    Instructions,
    /// An allocation did not fit the memory limit.
    Memory,
    /// Data that is read is not here.
    Missing,
}

/// Shared between an interpreter's callbacks; found again through the allocator's context.
pub(super) struct Host {
    arena: Arena,
    memory_used: usize,
    memory_limit: usize,
    /// What was just refused and may be asked for once more.
    refused: Option<Wish>,
    instructions: u64,
    bytes: u64,
    budget: u64,
    pub(super) stop: Option<Stop>,
    /// Milliseconds since 1970, from the message that is being evaluated.
    pub(super) timestamp_ms: i64,
    pub(super) random: Random,
    /// Where coroutines waited that a rebuild ended; the next message is told.
    pub(super) ended: Vec<Vec<u8>>,
    /// What the prelude and the module were compiled to.
    pub(super) dumps: Vec<Dump>,
    /// Data that the process may read.
    pub(super) named: NamedData,
    /// The files of it that are open.
    pub(super) files: Files,
}

/// What a host and its heap were at some time between two evaluations.
pub(super) struct Beginning {
    heap: Image,
    memory_used: usize,
    random: Random,
    dumps: Vec<Dump>,
}

impl Host {
    /// A host whose interpreter may hold this many bytes.
    pub(super) fn new(memory_limit: u64) -> io::Result<Host> {
        let memory_limit = usize::try_from(memory_limit).unwrap_or(usize::MAX);
        Ok(Host {
            arena: Arena::new(memory_limit)?,
            memory_used: 0,
            memory_limit,
            refused: None,
            instructions: 0,
            bytes: 0,
            budget: u64::MAX,
            stop: None,
            timestamp_ms: 0,
            random: Random::seeded(0),
            ended: Vec::new(),
            dumps: Vec::new(),
            named: NamedData::default(),
            files: Files::default(),
        })
    }

    /// Whether addresses in this heap are those of every other worker.
    pub(super) fn is_in_place(&self) -> bool {
        self.arena.is_in_place()
    }

    /// What the heap took so far, in bytes.
    pub(super) fn heap_bytes(&self) -> u64 {
        self.arena.taken() as u64
    }

    /// Forgets the interpreter: the heap is empty then.
    ///
    /// # Safety
    /// Nobody uses the interpreter any more.
    pub(super) unsafe fn clear(&mut self) {
        self.arena.clear();
        (self.memory_used, self.stop, self.refused) = (0, None, None);
        (self.random, self.ended, self.dumps) = (Random::seeded(0), Vec::new(), Vec::new());
        self.named = NamedData::default();
    }

    /// What it is now, to be put back later.
    pub(super) fn beginning(&self) -> Beginning {
        let (random, dumps) = (self.random.clone(), self.dumps.clone());
        Beginning { heap: self.arena.image(), memory_used: self.memory_used, random, dumps }
    }

    /// Makes it what it was, and with it the interpreter whose heap it is; its limits stay.
    ///
    /// # Safety
    /// The beginning is this host's. Nothing points to what was made since.
    pub(super) unsafe fn begin_again(&mut self, beginning: &Beginning) {
        unsafe { self.arena.put_back(&beginning.heap) };
        self.memory_used = beginning.memory_used;
        self.random = beginning.random.clone();
        self.dumps.clone_from(&beginning.dumps);
        (self.ended, self.named) = (Vec::new(), NamedData::default());
        (self.stop, self.refused) = (None, None);
    }

    /// The host of an interpreter.
    ///
    /// # Safety
    /// `l` was made with [`allocate`] and a pointer to a living `Host`. The reference must not be kept across a call
    /// that may run Lua.
    pub(super) unsafe fn of<'a>(l: *mut lua_State) -> &'a mut Host {
        let mut context: *mut c_void = std::ptr::null_mut();
        unsafe {
            ffi::lua_getallocf(l, &mut context);
            &mut *context.cast::<Host>()
        }
    }

    /// Sets how much the heap may take of this machine; no property of what is computed.
    pub(super) fn grant(&mut self, bytes: u64) {
        self.arena.grant(usize::try_from(bytes).unwrap_or(usize::MAX));
    }

    /// Lets the host itself take what it needs, until [`Host::limit_memory`] and [`Host::grant`].
    pub(super) fn lift_limits(&mut self) {
        self.limit_memory(u64::MAX);
        self.grant(u64::MAX);
        self.end();
        (self.stop, self.refused) = (None, None);
    }

    /// Sets how many bytes the interpreter may hold.
    pub(super) fn limit_memory(&mut self, bytes: u64) {
        self.memory_limit = usize::try_from(bytes).unwrap_or(usize::MAX);
        self.arena.limit_to(self.memory_limit);
    }

    /// Starts an evaluation that may charge `budget` instructions.
    pub(super) fn begin(&mut self, budget: u64, timestamp_ms: i64) {
        self.budget = budget;
        self.instructions = HOOK_INTERVAL as u64;
        self.bytes = 0;
        self.stop = None;
        self.refused = None;
        self.timestamp_ms = timestamp_ms;
        self.files.begin();
    }

    /// Ends it: what the host itself does afterwards is not bounded.
    pub(super) fn end(&mut self) {
        self.budget = u64::MAX;
    }

    /// Instructions charged in this evaluation so far.
    pub(super) fn used(&self) -> u64 {
        self.instructions.saturating_add(self.bytes / BYTES_PER_INSTRUCTION)
    }

    /// Instructions that this evaluation may still charge.
    pub(super) fn left(&self) -> u64 {
        self.budget.saturating_sub(self.used())
    }

    /// Charges instructions; false when the budget is used up.
    #[must_use]
    pub(super) fn charge(&mut self, instructions: u64) -> bool {
        self.instructions = self.instructions.saturating_add(instructions);
        if self.used() > self.budget {
            self.stop.get_or_insert(Stop::Instructions);
        }
        self.stop.is_none()
    }

    /// Whether the interpreter may make a block larger. Only what it gets is charged.
    ///
    /// When memory is refused, the interpreter collects its garbage and asks once more for exactly the same, with no
    /// other wish in between; buffers of the string library give up at once. So a refusal is final when the second
    /// wish is refused too, or when something else is wished for next.
    fn allows(&mut self, wish: Wish) -> bool {
        let growth = wish.new_size - wish.old_size;
        let refused = self.refused.take();
        if refused.is_some_and(|refused| refused != wish) {
            self.stop.get_or_insert(Stop::Memory);
        }
        let fits = self.memory_used.checked_add(growth).is_some_and(|total| total <= self.memory_limit);
        if !fits {
            match refused {
                Some(_) => self.stop = self.stop.or(Some(Stop::Memory)),
                None => {
                    // All that is held is searched for garbage now, however little is wished for.
                    let searched = self.memory_used as u64 / BYTES_SEARCHED_PER_INSTRUCTION;
                    self.instructions = self.instructions.saturating_add(searched);
                    self.refused = Some(wish);
                }
            }
            return false;
        }
        let bytes = self.bytes.saturating_add(growth as u64);
        if self.instructions.saturating_add(bytes / BYTES_PER_INSTRUCTION) > self.budget {
            self.stop.get_or_insert(Stop::Instructions);
            return false;
        }
        self.bytes = bytes;
        true
    }
}

/// A block that the interpreter wants to be larger.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Wish {
    block: *mut c_void,
    old_size: usize,
    new_size: usize,
}

/// The interpreter's allocator.
///
/// # Safety
/// To be called by the interpreter only, with a `Host` as context.
pub(super) unsafe extern "C" fn allocate(
    context: *mut c_void,
    block: *mut c_void,
    old_size: usize,
    new_size: usize,
) -> *mut c_void {
    let host = unsafe { &mut *context.cast::<Host>() };
    // For a new block the interpreter passes the kind of object in place of a size.
    let old_size = if block.is_null() { 0 } else { old_size };
    if new_size == 0 {
        if !block.is_null() {
            host.memory_used -= old_size;
            unsafe { host.arena.give_back(block, old_size) };
        }
        return std::ptr::null_mut();
    }
    if new_size > old_size && !host.allows(Wish { block, old_size, new_size }) {
        return std::ptr::null_mut();
    }
    let moved = match block.is_null() {
        true => unsafe { host.arena.take(new_size) },
        false => unsafe { host.arena.resize(block, old_size, new_size) },
    };
    if moved.is_null() {
        // Free blocks are of the wrong sizes: as much a property of the process as what it holds.
        host.stop.get_or_insert(Stop::Memory);
        return moved;
    }
    host.memory_used = host.memory_used - old_size + new_size;
    moved
}

/// The count hook.
///
/// # Safety
/// To be called by the interpreter only.
pub(super) unsafe extern "C-unwind" fn count(l: *mut lua_State, _: *mut ffi::lua_Debug) {
    unsafe { charge(l, HOOK_INTERVAL as u64) }
}

/// Charges instructions and raises an error when the budget is used up.
///
/// # Safety
/// `l` is an interpreter of ours, in a protected call; the caller holds nothing that has a destructor.
pub(super) unsafe fn charge(l: *mut lua_State, instructions: u64) {
    unsafe {
        if !Host::of(l).charge(instructions) {
            raise(l, c"compute limit exceeded");
        }
    }
}

/// Charges a size that a script chose; negative ones count as nothing.
///
/// # Safety
/// As for [`charge`].
pub(super) unsafe fn charge_items(l: *mut lua_State, items: i64, instructions_each: u64) {
    unsafe { charge(l, u64::try_from(items).unwrap_or(0).saturating_mul(instructions_each)) }
}

/// Raises an error with the position of the caller.
///
/// # Safety
/// As for [`charge`].
pub(super) unsafe fn raise(l: *mut lua_State, text: &CStr) -> ! {
    unsafe {
        ffi::luaL_where(l, 1);
        ffi::lua_pushstring(l, text.as_ptr());
        ffi::lua_concat(l, 2);
        ffi::lua_error(l)
    }
}
