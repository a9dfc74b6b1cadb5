//! From bytes to a state. The bytes may come from anybody: every number is checked before it is used, and what is done
//! with them is to make tables, texts and closures of code that was compiled from text.

use std::ffi::{CString, c_int};

use mlua::ffi::{self, lua_State};
use thiserror::Error;

use super::super::data::NamedData;
use super::super::host::Host;
use super::super::prototype::Dump;
use super::super::random::Random;
use super::super::{chunks, permanent};
use super::reader::{Reader, Value};
use super::{ITERATORS, MAGIC, MAX_ENDED, VERSION, coroutine, record};

/// Places on the stack that are used beyond what is there.
const STACK: c_int = 40;

/// Why bytes are no state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("this is no state of a process, or one that was damaged: {0}")]
pub(in super::super) struct RestoreError(pub(in super::super) &'static str);

/// The seed that the interpreter must have which is given the state that bytes describe.
pub(in super::super) fn seed_of(bytes: &[u8]) -> Result<u32, RestoreError> {
    let mut reader = Reader { bytes, at: 0 };
    if reader.take(MAGIC.len())? != MAGIC || reader.byte()? != VERSION {
        return Err(RestoreError("it begins as none of this version"));
    }
    reader.seed()
}

/// Gives a fresh interpreter, which has run the module and has the seed of the bytes, the state that they describe.
///
/// # Safety
/// `l` is an interpreter of ours, between two messages.
pub(in super::super) unsafe fn restore(l: *mut lua_State, bytes: &[u8]) -> Result<(), RestoreError> {
    unsafe {
        let mut reader = Reader { bytes, at: 0 };
        reader.take(MAGIC.len() + 1)?;
        reader.seed()?;
        let random = reader.array()?;
        let mut ended = Vec::new();
        for _ in 0..reader.count()? {
            ended.push(reader.text()?.to_vec());
        }
        if ended.len() > MAX_ENDED {
            return Err(RestoreError("it names too many ended coroutines"));
        }
        let named = NamedData::read(&mut reader)?;
        if ffi::lua_checkstack(l, STACK) == 0 {
            return Err(RestoreError("the stack has no room"));
        }
        // Nothing below can raise an error: memory is not limited here, and what is read bounds what is taken.
        Host::of(l).lift_limits();
        ffi::lua_gc(l, ffi::LUA_GCSTOP, 0);
        let top = ffi::lua_gettop(l);
        let done = Restorer::new(l, &mut reader).and_then(|restorer| restorer.run(reader));
        ffi::lua_settop(l, top);
        done?;
        Host::of(l).random = Random::from_bytes(random);
        (Host::of(l).ended, Host::of(l).named) = (ended, named);
        // What was there before is garbage now. From here on the heap follows from the bytes alone.
        ffi::lua_gc(l, ffi::LUA_GCRESTART, 0);
        ffi::lua_gc(l, ffi::LUA_GCCOLLECT, 0);
        Ok(())
    }
}

/// A state on its way from bytes.
pub(super) struct Restorer {
    pub(super) l: *mut lua_State,
    /// Lists on the stack: the objects, the long texts, the factories of closures by their code.
    pub(super) objects: c_int,
    pub(super) texts: c_int,
    pub(super) factories: c_int,
    pub(super) dumps: Vec<(Vec<u8>, Dump)>,
    pub(super) count: u64,
    pub(super) text_count: u64,
    /// The closure that has each upvalue first, and the upvalue's place in it.
    pub(super) upvalues: Vec<(u64, c_int)>,
    pub(super) filling: bool,
}

impl Restorer {
    unsafe fn new(l: *mut lua_State, reader: &mut Reader<'_>) -> Result<Restorer, RestoreError> {
        unsafe {
            let mut dumps = Vec::new();
            let own = std::mem::take(&mut Host::of(l).dumps);
            let names = [&b"=prelude"[..], b"=module"];
            dumps.extend(names.into_iter().map(<[u8]>::to_vec).zip(own));
            if dumps.len() != names.len() {
                return Err(RestoreError("the module did not run"));
            }
            chunks::open(l);
            for _ in 0..reader.count()? {
                let (name, text) = (reader.text()?, reader.text()?);
                let c_name = CString::new(name).map_err(|_| RestoreError("the name of a chunk has a zero byte"))?;
                if !chunks::compile(l, &c_name, text) {
                    return Err(RestoreError("a chunk is no Lua"));
                }
                let dump = Dump::read(chunks::dump(l)).map_err(|_| RestoreError("a chunk can't be taken apart"))?;
                ffi::lua_pop(l, 1);
                ffi::lua_pushlstring(l, text.as_ptr().cast(), text.len());
                chunks::remember(l, c_name.as_ptr(), ffi::lua_gettop(l));
                ffi::lua_pop(l, 1);
                dumps.push((name.to_vec(), dump));
            }
            let list = || {
                ffi::lua_newtable(l);
                ffi::lua_gettop(l)
            };
            let (objects, texts, factories) = (list(), list(), list());
            let (count, text_count, upvalues) = (0, 0, Vec::new());
            Ok(Restorer { l, objects, texts, factories, dumps, count, text_count, upvalues, filling: false })
        }
    }

    /// Makes the objects, then fills them, then puts them in their places.
    unsafe fn run(mut self, mut reader: Reader<'_>) -> Result<(), RestoreError> {
        unsafe {
            let l = self.l;
            let start = reader.at;
            self.count = self.records(&mut reader)?;
            if reader.at != reader.bytes.len() {
                return Err(RestoreError("something comes after its end"));
            }
            for root in [1, 2] {
                let is_table = ffi::lua_rawgeti(l, self.objects, root) == ffi::LUA_TTABLE;
                ffi::lua_pop(l, 1);
                if !is_table {
                    return Err(RestoreError("the globals or the metatable of texts are no table"));
                }
            }
            reader.at = start;
            self.filling = true;
            self.upvalues.clear();
            self.records(&mut reader)?;
            ffi::lua_rawgeti(l, self.objects, 1);
            ffi::lua_rawseti(l, ffi::LUA_REGISTRYINDEX, ffi::LUA_RIDX_GLOBALS);
            ffi::lua_pushstring(l, c"".as_ptr());
            ffi::lua_rawgeti(l, self.objects, 2);
            ffi::lua_setmetatable(l, -2);
            ffi::lua_pop(l, 1);
            let own = self.dumps.drain(..).take(2).map(|(_, dump)| dump);
            Host::of(l).dumps.extend(own);
            Ok(())
        }
    }

    /// Goes through all records; how many objects there are.
    unsafe fn records(&mut self, reader: &mut Reader<'_>) -> Result<u64, RestoreError> {
        let mut number = 0;
        loop {
            unsafe {
                let top = ffi::lua_gettop(self.l);
                if self.filling {
                    ffi::lua_rawgeti(self.l, self.objects, number as i64 + 1);
                }
                match reader.byte()? {
                    record::END => {
                        ffi::lua_settop(self.l, top);
                        return Ok(number);
                    }
                    record::TABLE => self.table(reader)?,
                    record::FUNCTION => self.function(reader, number)?,
                    record::HOST => self.host_function(reader)?,
                    record::ITERATOR => self.iterator(reader)?,
                    record::COROUTINE => self.coroutine(reader)?,
                    record::FIELDS => {
                        ffi::lua_settop(self.l, top);
                        self.fields(reader)?;
                        continue;
                    }
                    _ => return Err(RestoreError("a record is of no known kind")),
                }
                if !self.filling {
                    ffi::lua_rawseti(self.l, self.objects, number as i64 + 1);
                }
                ffi::lua_settop(self.l, top);
                number += 1;
            }
        }
    }

    unsafe fn function(&mut self, reader: &mut Reader<'_>, own: u64) -> Result<(), RestoreError> {
        unsafe {
            let (chunk, prototype) = (reader.number()?, reader.number()?);
            let count = reader.count()?;
            if !self.filling {
                self.push_closure(chunk, prototype, count)?;
            }
            let function = ffi::lua_gettop(self.l);
            for place in 1..=count as c_int {
                let number = reader.number()?;
                // Both ways through the records meet the upvalues in the same order.
                let is_new = number == self.upvalues.len() as u64;
                if is_new {
                    self.upvalues.push((own, place));
                    let value = reader.value()?;
                    if self.filling {
                        self.push(value)?;
                        ffi::lua_setupvalue(self.l, function, place);
                    }
                } else {
                    let first = usize::try_from(number).ok().and_then(|number| self.upvalues.get(number));
                    let (owner, at) = *first.ok_or(RestoreError("an upvalue has no such number"))?;
                    if self.filling {
                        self.push(Value::Object(owner))?;
                        ffi::lua_upvaluejoin(self.l, function, place, -1, at);
                        ffi::lua_pop(self.l, 1);
                    }
                }
            }
            Ok(())
        }
    }

    /// Pushes a new closure of some code, whose upvalues are its own.
    unsafe fn push_closure(&mut self, chunk: u64, prototype: u64, upvalues: u64) -> Result<(), RestoreError> {
        unsafe {
            let l = self.l;
            let number = |number: u64| usize::try_from(number).map_err(|_| RestoreError("a function has no code"));
            let (chunk, prototype) = (number(chunk)?, number(prototype)?);
            let (name, dump) = self.dumps.get(chunk).ok_or(RestoreError("a function has no code"))?;
            let expected = dump.upvalues(prototype).ok_or(RestoreError("a function has no code"))?;
            if expected as u64 != upvalues {
                return Err(RestoreError("a function has another number of upvalues than its code"));
            }
            // Neither number reaches 2^31: a prototype takes some bytes.
            let key = ((chunk as i64) << 32) | prototype as i64;
            if ffi::lua_rawgeti(l, self.factories, key) == ffi::LUA_TNIL {
                ffi::lua_pop(l, 1);
                let factory = dump.factory(prototype, name).ok_or(RestoreError("a function has too many upvalues"))?;
                let c_name = CString::new(name.clone()).unwrap_or_default();
                let (bytes, length) = (factory.as_ptr().cast(), factory.len());
                if ffi::luaL_loadbufferx(l, bytes, length, c_name.as_ptr(), c"b".as_ptr()) != ffi::LUA_OK {
                    return Err(RestoreError("a function can't be made from its code"));
                }
                ffi::lua_pushvalue(l, -1);
                ffi::lua_rawseti(l, self.factories, key);
            }
            ffi::lua_call(l, 0, 1);
            Ok(())
        }
    }

    unsafe fn host_function(&mut self, reader: &mut Reader<'_>) -> Result<(), RestoreError> {
        let name = reader.text()?;
        if !self.filling && !unsafe { permanent::push(self.l, name) } {
            return Err(RestoreError("the library has no function of a name"));
        }
        Ok(())
    }

    unsafe fn iterator(&mut self, reader: &mut Reader<'_>) -> Result<(), RestoreError> {
        unsafe {
            let kind = reader.byte()?;
            let known = ITERATORS.iter().find(|(known, _, _)| *known == kind);
            let (_, code, values) = known.ok_or(RestoreError("an iterator is of no known kind"))?;
            if !self.filling {
                for _ in 0..*values {
                    ffi::lua_pushnil(self.l);
                }
                ffi::lua_pushcclosure(self.l, *code, *values);
            }
            let function = ffi::lua_gettop(self.l);
            for place in 1..=*values {
                let value = reader.value()?;
                if self.filling {
                    self.push(value)?;
                    if !fits(kind, place, ffi::lua_type(self.l, -1)) {
                        return Err(RestoreError("an iterator holds what it can't hold"));
                    }
                    ffi::lua_setupvalue(self.l, function, place);
                }
            }
            Ok(())
        }
    }

    unsafe fn coroutine(&mut self, reader: &mut Reader<'_>) -> Result<(), RestoreError> {
        unsafe {
            let l = self.l;
            let state = reader.byte()?;
            let first = match state {
                coroutine::ENDED | coroutine::MAIN => Value::Nil,
                coroutine::NOT_STARTED => reader.value()?,
                _ => return Err(RestoreError("a coroutine is in no known state")),
            };
            if !self.filling {
                match state {
                    coroutine::MAIN => drop(ffi::lua_pushthread(l)),
                    _ => drop(ffi::lua_newthread(l)),
                }
            } else if state == coroutine::NOT_STARTED {
                let thread = ffi::lua_tothread(l, -1);
                self.push(first)?;
                if ffi::lua_type(l, -1) != ffi::LUA_TFUNCTION {
                    return Err(RestoreError("a coroutine has no function"));
                }
                ffi::lua_xmove(l, thread, 1);
            }
            Ok(())
        }
    }

    pub(super) unsafe fn push_filled(&mut self, value: Value<'_>) -> Result<(), RestoreError> {
        match value {
            Value::Nil => Err(RestoreError("a field is nil")),
            value => unsafe { self.push(value) },
        }
    }

    pub(super) unsafe fn push(&mut self, value: Value<'_>) -> Result<(), RestoreError> {
        unsafe {
            let l = self.l;
            match value {
                Value::Nil => ffi::lua_pushnil(l),
                Value::Boolean(boolean) => ffi::lua_pushboolean(l, c_int::from(boolean)),
                Value::Integer(integer) => ffi::lua_pushinteger(l, integer),
                Value::Float(float) => ffi::lua_pushnumber(l, float),
                Value::Text(text) => drop(ffi::lua_pushlstring(l, text.as_ptr().cast(), text.len())),
                Value::NewLongText(text) => {
                    ffi::lua_pushlstring(l, text.as_ptr().cast(), text.len());
                    ffi::lua_pushvalue(l, -1);
                    self.text_count += 1;
                    ffi::lua_rawseti(l, self.texts, self.text_count as i64);
                }
                Value::LongText(number) if number < self.text_count => {
                    ffi::lua_rawgeti(l, self.texts, number as i64 + 1);
                }
                Value::LongText(_) => return Err(RestoreError("a text has no such number")),
                Value::Object(number) if number < self.count => {
                    ffi::lua_rawgeti(l, self.objects, number as i64 + 1);
                }
                Value::Object(_) => return Err(RestoreError("an object has no such number")),
            }
            Ok(())
        }
    }
}

/// Whether an iterator may hold a value of this type at this place: host code does not look again.
fn fits(kind: u8, place: c_int, found: c_int) -> bool {
    let expected = match (kind, place) {
        (0, 1) => ffi::LUA_TTABLE,
        (1, 1 | 2) => ffi::LUA_TSTRING,
        (2, _) => ffi::LUA_TTHREAD,
        _ => ffi::LUA_TNUMBER,
    };
    found == expected
}
