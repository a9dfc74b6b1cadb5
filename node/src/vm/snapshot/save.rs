//! From a state to bytes. To be done in a copy of the process that is then given up: it uses the interpreter's heap.

use std::collections::VecDeque;
use std::ffi::{CStr, c_int};

use mlua::ffi::{self, lua_State};
use thiserror::Error;

use super::super::frame::MAX_SNAPSHOT_BYTES;
use super::super::host::Host;
use super::super::order::Key;
use super::super::prototype::MAX_FACTORY_UPVALUES;
use super::super::{chunks, permanent};
use super::crowding::Crowding;
use super::numbering::{Numbering, Text};
use super::sources::{Place, Sources};
use super::{ITERATORS, LONG_TEXT, MAGIC, MAX_ENDED, VERSION, coroutine, push_number, push_text, record, value};

/// Places on the stack that are used beyond what is there.
const STACK: c_int = 40;

/// Why a state has no form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(in super::super) enum SaveError {
    /// A coroutine that waits can be reached.
    #[error("a coroutine is suspended")]
    Suspended,
    /// The module can't be run, so there is none.
    #[error("the module can't be run")]
    Broken,
    /// It takes more bytes than are kept.
    #[error("it takes more than {MAX_SNAPSHOT_BYTES} bytes")]
    Size,
    /// Something that no program can make.
    #[error("it holds {0}")]
    Foreign(&'static str),
}

/// What is done with coroutines that wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Waiting {
    /// The state has no form.
    Refused,
    /// They are dead ones in it, and it says where they waited.
    Ended,
}

/// The bytes of a state: one part, then the other.
#[derive(Debug, PartialEq, Eq)]
pub(in super::super) struct Form {
    pub(in super::super) head: Vec<u8>,
    pub(in super::super) records: Vec<u8>,
}

/// A state on its way to bytes.
pub(super) struct Saver {
    pub(super) l: *mut lua_State,
    pub(super) out: Vec<u8>,
    /// The stack's place of the list of all numbered objects.
    pub(super) list: c_int,
    pub(super) objects: Numbering<usize>,
    /// Closures of one prototype over the same upvalues are one.
    pub(super) closures: Numbering<(Place, Vec<usize>)>,
    pub(super) upvalues: Numbering<usize>,
    pub(super) long_texts: Numbering<Text>,
    pub(super) sources: Sources,
    /// Numbers in the snapshot of the chunks that `load` compiled.
    pub(super) used: Numbering<usize>,
    pub(super) used_in_order: Vec<usize>,
    /// Tables with fields whose keys are objects, more than one.
    pub(super) deferred: VecDeque<u64>,
    pub(super) looking: bool,
    pub(super) crowding: Crowding,
    waiting: Waiting,
    /// Where coroutines waited that are ended.
    ended: Vec<Vec<u8>>,
}

/// The state of an interpreter, whose hashes have this seed, as bytes. Leaves things on its heap: to be called in a
/// copy that is given up.
///
/// # Safety
/// `l` is an interpreter of ours, between two messages.
pub(in super::super) unsafe fn save(l: *mut lua_State, waiting: Waiting, seed: u32) -> Result<Form, SaveError> {
    unsafe {
        Host::of(l).lift_limits();
        ffi::lua_gc(l, ffi::LUA_GCSTOP, 0);
        if ffi::lua_checkstack(l, STACK) == 0 {
            return Err(SaveError::Foreign("a stack without room"));
        }
        let random = Host::of(l).random.to_bytes();
        let loaded = chunks::loaded(l);
        let mut saver = Saver::new(l, &loaded, waiting, seed);
        let records = saver.records()?;
        let mut head = MAGIC.to_vec();
        head.push(VERSION);
        head.extend(saver.crowding.seed(&records).to_le_bytes());
        head.extend(random);
        let ended = Host::of(l).ended.iter().chain(&saver.ended).take(MAX_ENDED);
        push_number(&mut head, ended.clone().count() as u64);
        ended.for_each(|place| push_text(&mut head, place));
        Host::of(l).named.write(&mut head);
        push_number(&mut head, saver.used_in_order.len() as u64);
        for chunk in &saver.used_in_order {
            let (name, text) = &loaded[*chunk];
            push_text(&mut head, name);
            push_text(&mut head, text);
        }
        match (head.len() + records.len()) as u64 > MAX_SNAPSHOT_BYTES {
            true => Err(SaveError::Size),
            false => Ok(Form { head, records }),
        }
    }
}

impl Saver {
    unsafe fn new(l: *mut lua_State, loaded: &[(Vec<u8>, Vec<u8>)], waiting: Waiting, seed: u32) -> Saver {
        unsafe {
            ffi::lua_newtable(l);
            Saver {
                l,
                out: Vec::new(),
                list: ffi::lua_gettop(l),
                objects: Numbering::new(),
                closures: Numbering::new(),
                upvalues: Numbering::new(),
                long_texts: Numbering::new(),
                sources: Sources::new(l, loaded),
                used: Numbering::new(),
                used_in_order: Vec::new(),
                deferred: VecDeque::new(),
                looking: false,
                crowding: Crowding::new(seed),
                waiting,
                ended: Vec::new(),
            }
        }
    }

    unsafe fn records(&mut self) -> Result<Vec<u8>, SaveError> {
        unsafe {
            ffi::lua_pushglobaltable(self.l);
            self.reference(-1)?;
            ffi::lua_pop(self.l, 1);
            ffi::lua_pushstring(self.l, c"".as_ptr());
            if ffi::lua_getmetatable(self.l, -1) == 0 {
                return Err(SaveError::Foreign("strings without a metatable"));
            }
            self.reference(-1)?;
            ffi::lua_pop(self.l, 2);
            let mut next = 0;
            loop {
                while next < self.objects.count() {
                    self.record(next)?;
                    next += 1;
                    if self.out.len() as u64 > MAX_SNAPSHOT_BYTES {
                        return Err(SaveError::Size);
                    }
                }
                match self.deferred.pop_front() {
                    Some(table) => self.fields(table)?,
                    None => break,
                }
            }
            self.out.push(record::END);
            Ok(std::mem::take(&mut self.out))
        }
    }

    /// The number of the object at an index.
    pub(super) unsafe fn reference(&mut self, index: c_int) -> Result<u64, SaveError> {
        unsafe {
            let l = self.l;
            let index = ffi::lua_absindex(l, index);
            let pointer = ffi::lua_topointer(l, index) as usize;
            if let Some(number) = self.objects.get(&pointer) {
                return Ok(number);
            }
            if ffi::lua_type(l, index) == ffi::LUA_TFUNCTION && ffi::lua_iscfunction(l, index) == 0 {
                let key = (self.sources.place(self.l, index)?, self.upvalues_of(index));
                if let Some(same) = self.closures.get(&key) {
                    self.objects.name(pointer, same);
                    return Ok(same);
                }
                self.closures.name(key, self.objects.count());
            }
            let (number, _) = self.objects.number(pointer);
            ffi::lua_pushvalue(l, index);
            ffi::lua_rawseti(l, self.list, number as i64 + 1);
            Ok(number)
        }
    }

    unsafe fn upvalues_of(&self, function: c_int) -> Vec<usize> {
        let mut found = Vec::new();
        let mut place = 1;
        unsafe {
            while !ffi::lua_getupvalue(self.l, function, place).is_null() {
                ffi::lua_pop(self.l, 1);
                found.push(ffi::lua_upvalueid(self.l, function, place) as usize);
                place += 1;
            }
        }
        found
    }

    /// The number of a chunk in the snapshot.
    fn chunk(&mut self, chunk: usize) -> u64 {
        let Some(loaded) = chunk.checked_sub(2) else { return chunk as u64 };
        let (number, new) = self.used.number(loaded);
        if new && !self.looking {
            self.used_in_order.push(loaded);
        }
        number + 2
    }

    /// Writes the object of a number.
    pub(super) unsafe fn record(&mut self, number: u64) -> Result<(), SaveError> {
        unsafe {
            let l = self.l;
            ffi::lua_rawgeti(l, self.list, number as i64 + 1);
            let object = ffi::lua_gettop(l);
            match ffi::lua_type(l, object) {
                ffi::LUA_TTABLE => self.table(number, object)?,
                ffi::LUA_TTHREAD => self.coroutine(object)?,
                ffi::LUA_TFUNCTION if ffi::lua_iscfunction(l, object) != 0 => self.host_function(object)?,
                ffi::LUA_TFUNCTION => self.function(object)?,
                _ => return Err(SaveError::Foreign("a userdata")),
            }
            ffi::lua_settop(l, object - 1);
            Ok(())
        }
    }

    unsafe fn function(&mut self, function: c_int) -> Result<(), SaveError> {
        unsafe {
            let (chunk, prototype) = self.sources.place(self.l, function)?;
            let chunk = self.chunk(chunk);
            self.out.push(record::FUNCTION);
            push_number(&mut self.out, chunk);
            push_number(&mut self.out, prototype as u64);
            let upvalues = self.upvalues_of(function);
            if upvalues.len() > MAX_FACTORY_UPVALUES {
                return Err(SaveError::Foreign("a function with too many upvalues"));
            }
            push_number(&mut self.out, upvalues.len() as u64);
            for (place, upvalue) in upvalues.into_iter().enumerate() {
                let (number, new) = self.upvalues.number(upvalue);
                push_number(&mut self.out, number);
                if new {
                    ffi::lua_getupvalue(self.l, function, place as c_int + 1);
                    self.value(-1)?;
                    ffi::lua_pop(self.l, 1);
                }
            }
            Ok(())
        }
    }

    unsafe fn host_function(&mut self, function: c_int) -> Result<(), SaveError> {
        unsafe {
            if let Some(name) = permanent::name_of(self.l, function) {
                self.out.push(record::HOST);
                push_text(&mut self.out, &name);
                return Ok(());
            }
            let code = ffi::lua_tocfunction(self.l, function).map(|code| code as usize);
            let kind = ITERATORS.iter().find(|(_, known, _)| Some(*known as usize) == code);
            let (kind, _, values) = kind.ok_or(SaveError::Foreign("a function of the host without a name"))?;
            self.out.extend([record::ITERATOR, *kind]);
            for place in 1..=*values {
                ffi::lua_getupvalue(self.l, function, place);
                self.value(-1)?;
                ffi::lua_pop(self.l, 1);
            }
            Ok(())
        }
    }

    unsafe fn coroutine(&mut self, object: c_int) -> Result<(), SaveError> {
        unsafe {
            let thread = ffi::lua_tothread(self.l, object);
            self.out.push(record::COROUTINE);
            if thread == self.l {
                self.out.push(coroutine::MAIN);
                return Ok(());
            }
            match (ffi::lua_status(thread), ffi::lua_gettop(thread)) {
                (ffi::LUA_YIELD, _) if self.waiting == Waiting::Refused => return Err(SaveError::Suspended),
                (ffi::LUA_YIELD, _) => {
                    if !self.looking && self.ended.len() < MAX_ENDED {
                        self.ended.push(place_of(thread));
                    }
                    self.out.push(coroutine::ENDED);
                }
                (ffi::LUA_OK, 1..) => {
                    self.out.push(coroutine::NOT_STARTED);
                    ffi::lua_pushvalue(thread, 1);
                    ffi::lua_xmove(thread, self.l, 1);
                    self.value(-1)?;
                    ffi::lua_pop(self.l, 1);
                }
                _ => self.out.push(coroutine::ENDED),
            }
            Ok(())
        }
    }

    /// Writes the value at an index.
    pub(super) unsafe fn value(&mut self, index: c_int) -> Result<(), SaveError> {
        unsafe {
            match ffi::lua_type(self.l, index) {
                ffi::LUA_TNIL => self.out.push(value::NIL),
                ffi::LUA_TTABLE | ffi::LUA_TFUNCTION | ffi::LUA_TTHREAD => {
                    let number = self.reference(index)?;
                    self.out.push(value::OBJECT);
                    push_number(&mut self.out, number);
                }
                ffi::LUA_TUSERDATA | ffi::LUA_TLIGHTUSERDATA => return Err(SaveError::Foreign("a userdata")),
                _ => {
                    let plain = Key::read(self.l, index);
                    self.plain(&plain);
                }
            }
            Ok(())
        }
    }

    /// Writes a value that is no object.
    pub(super) fn plain(&mut self, plain: &Key) {
        match plain {
            Key::Integer(integer) => {
                self.out.push(value::INTEGER);
                push_number(&mut self.out, ((integer << 1) ^ (integer >> 63)) as u64);
            }
            Key::Float(float) => {
                let bits = if float.is_nan() { f64::NAN.to_bits() } else { float.to_bits() };
                self.out.push(value::FLOAT);
                self.out.extend(bits.to_le_bytes());
            }
            Key::Text(text, length) => {
                // It is reachable, and nothing is collected.
                let (known, text) = unsafe { (Text::new(*text, *length), std::slice::from_raw_parts(*text, *length)) };
                if text.len() <= LONG_TEXT {
                    self.crowding.shared(text);
                    self.out.push(value::TEXT);
                    return push_text(&mut self.out, text);
                }
                let (number, new) = self.long_texts.number(known);
                if new {
                    self.out.push(value::NEW_LONG_TEXT);
                    push_text(&mut self.out, text);
                } else {
                    self.out.push(value::LONG_TEXT);
                    push_number(&mut self.out, number);
                }
            }
            Key::Boolean(false) => self.out.push(value::FALSE),
            Key::Boolean(true) => self.out.push(value::TRUE),
            Key::Object(_) => self.out.push(value::NIL),
        }
    }
}

/// Where a coroutine waits: chunk and line of its innermost function that is the process's own and not its module's.
unsafe fn place_of(thread: *mut lua_State) -> Vec<u8> {
    let mut inner = None;
    for level in 0.. {
        let about = unsafe {
            let mut about: ffi::lua_Debug = std::mem::zeroed();
            if ffi::lua_getstack(thread, level, &mut about) == 0 {
                break;
            }
            ffi::lua_getinfo(thread, c"Sl".as_ptr(), &mut about);
            about
        };
        if about.currentline < 0 {
            continue;
        }
        let chunk = unsafe { CStr::from_ptr(about.short_src.as_ptr()) }.to_bytes();
        let place = [chunk, b":", about.currentline.to_string().as_bytes()].concat();
        if ![&b"prelude"[..], b"module"].contains(&chunk) {
            return place;
        }
        inner.get_or_insert(place);
    }
    inner.unwrap_or_else(|| b"a function of the library".to_vec())
}
