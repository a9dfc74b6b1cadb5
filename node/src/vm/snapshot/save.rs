//! From a state to bytes. To be done in a copy of the process that is then given up: it uses the interpreter's heap.

use std::collections::{HashMap, VecDeque};
use std::ffi::{CString, c_int};

use mlua::ffi::{self, lua_State};
use thiserror::Error;

use super::super::host::Host;
use super::super::order::Key;
use super::super::prototype::{Dump, MAX_FACTORY_UPVALUES};
use super::super::{chunks, permanent};
use super::numbering::Numbering;
use super::{ITERATORS, LONG_TEXT, MAGIC, VERSION, coroutine, push_number, push_text, record, value};

/// How many objects a look at what is behind a key takes in.
const LOOKED_AT: u64 = 32;
/// Places on the stack that are used beyond what is there.
const STACK: c_int = 40;

/// Why a state has no form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(in super::super) enum SaveError {
    /// A coroutine that waits can be reached.
    #[error("a coroutine is suspended")]
    Suspended,
    /// Something that no program can make.
    #[error("it holds {0}")]
    Foreign(&'static str),
}

/// Where a function's code is: chunk and prototype.
type Place = (usize, usize);

struct Saver {
    l: *mut lua_State,
    out: Vec<u8>,
    /// The stack's place of the list of all numbered objects.
    list: c_int,
    objects: Numbering<usize>,
    /// Closures of one prototype over the same upvalues are one.
    closures: Numbering<(Place, Vec<usize>)>,
    upvalues: Numbering<usize>,
    long_texts: Numbering<[u8; 32]>,
    dumps: Vec<Dump>,
    /// Functions by the name of their chunk and their lines.
    places: HashMap<(Vec<u8>, u32, u32), Vec<Place>>,
    /// Numbers in the snapshot of the chunks that `load` compiled.
    used: Numbering<usize>,
    used_in_order: Vec<usize>,
    /// Tables with fields whose keys are objects, more than one.
    deferred: VecDeque<u64>,
    looking: bool,
}

/// A field: its key, and its value unless that is an object.
struct Field {
    key: Key,
    value: Option<Key>,
}

/// The state of an interpreter as bytes. Leaves things on its heap: to be called in a copy that is given up.
///
/// # Safety
/// `l` is an interpreter of ours, between two messages.
pub(in super::super) unsafe fn save(l: *mut lua_State) -> Result<Vec<u8>, SaveError> {
    unsafe {
        Host::of(l).lift_limits();
        ffi::lua_gc(l, ffi::LUA_GCSTOP, 0);
        if ffi::lua_checkstack(l, STACK) == 0 {
            return Err(SaveError::Foreign("a stack without room"));
        }
        let random = Host::of(l).random.to_bytes();
        let loaded = chunks::loaded(l);
        let mut saver = Saver::new(l, &loaded);
        let records = saver.records()?;
        let mut out = MAGIC.to_vec();
        out.push(VERSION);
        out.extend(random);
        push_number(&mut out, saver.used_in_order.len() as u64);
        for chunk in &saver.used_in_order {
            let (name, text) = &loaded[*chunk];
            push_text(&mut out, name);
            push_text(&mut out, text);
        }
        out.extend(records);
        Ok(out)
    }
}

impl Saver {
    unsafe fn new(l: *mut lua_State, loaded: &[(Vec<u8>, Vec<u8>)]) -> Saver {
        unsafe {
            ffi::lua_newtable(l);
            let mut saver = Saver {
                l,
                out: Vec::new(),
                list: ffi::lua_gettop(l),
                objects: Numbering::new(),
                closures: Numbering::new(),
                upvalues: Numbering::new(),
                long_texts: Numbering::new(),
                dumps: std::mem::take(&mut Host::of(l).dumps),
                places: HashMap::new(),
                used: Numbering::new(),
                used_in_order: Vec::new(),
                deferred: VecDeque::new(),
                looking: false,
            };
            let mut names: Vec<Vec<u8>> = vec![b"=prelude".to_vec(), b"=module".to_vec()];
            saver.dumps.truncate(names.len());
            for (name, text) in loaded {
                let c_name = CString::new(name.clone()).unwrap_or_default();
                let dump = match chunks::compile(l, &c_name, text) {
                    true => chunks::dump(l),
                    false => Vec::new(),
                };
                ffi::lua_pop(l, 1);
                // What does not compile any more has no functions.
                let Ok(dump) = Dump::read(dump) else { continue };
                saver.dumps.push(dump);
                names.push(name.clone());
            }
            for (chunk, (dump, name)) in saver.dumps.iter().zip(names).enumerate() {
                for (prototype, lines) in dump.lines().enumerate() {
                    saver.places.entry((name.clone(), lines.0, lines.1)).or_default().push((chunk, prototype));
                }
            }
            saver
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
    unsafe fn reference(&mut self, index: c_int) -> Result<u64, SaveError> {
        unsafe {
            let l = self.l;
            let index = ffi::lua_absindex(l, index);
            let pointer = ffi::lua_topointer(l, index) as usize;
            if let Some(number) = self.objects.get(&pointer) {
                return Ok(number);
            }
            if ffi::lua_type(l, index) == ffi::LUA_TFUNCTION && ffi::lua_iscfunction(l, index) == 0 {
                let key = (self.place(index)?, self.upvalues_of(index));
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

    /// Where the code of the Lua function at an index is.
    unsafe fn place(&mut self, index: c_int) -> Result<Place, SaveError> {
        unsafe {
            let l = self.l;
            let mut about: ffi::lua_Debug = std::mem::zeroed();
            ffi::lua_pushvalue(l, index);
            ffi::lua_getinfo(l, c">S".as_ptr(), &mut about);
            let name = std::ffi::CStr::from_ptr(about.source).to_bytes().to_vec();
            let line = |line: c_int| u32::try_from(line).unwrap_or_default();
            let key = (name, line(about.linedefined), line(about.lastlinedefined));
            let lost = SaveError::Foreign("a function without source");
            let candidates = self.places.get(&key).ok_or(lost)?;
            if let [only] = candidates.as_slice() {
                return Ok(*only);
            }
            ffi::lua_pushvalue(l, index);
            let dump = Dump::read(chunks::dump(l));
            ffi::lua_pop(l, 1);
            let dump = dump.map_err(|_| lost)?;
            let same = |place: &&Place| self.dumps[place.0].is_same(place.1, &dump);
            candidates.iter().find(same).copied().ok_or(lost)
        }
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
    unsafe fn record(&mut self, number: u64) -> Result<(), SaveError> {
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
            let (chunk, prototype) = self.place(function)?;
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
                (ffi::LUA_YIELD, _) => return Err(SaveError::Suspended),
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

    /// The fields of a table in order, those with objects as keys apart: their keys on a list that is pushed.
    unsafe fn fields_of(&mut self, table: c_int) -> (Vec<Field>, i64) {
        unsafe {
            let l = self.l;
            let (mut fields, mut objects) = (Vec::new(), 0);
            ffi::lua_newtable(l);
            let keys = ffi::lua_gettop(l);
            ffi::lua_pushnil(l);
            while ffi::lua_next(l, table) != 0 {
                let key = Key::read(l, -2);
                if matches!(key, Key::Object) {
                    objects += 1;
                    ffi::lua_pushvalue(l, -2);
                    ffi::lua_rawseti(l, keys, objects);
                } else {
                    let value = Key::read(l, -1);
                    fields.push(Field { key, value: (!matches!(value, Key::Object)).then_some(value) });
                }
                ffi::lua_pop(l, 1);
            }
            fields.sort_unstable_by(|one, other| one.key.compare(&other.key));
            (fields, objects)
        }
    }

    unsafe fn table(&mut self, number: u64, table: c_int) -> Result<(), SaveError> {
        unsafe {
            let l = self.l;
            self.out.push(record::TABLE);
            let metatable = match ffi::lua_getmetatable(l, table) {
                0 => 0,
                _ => {
                    let metatable = self.reference(-1)? + 1;
                    ffi::lua_pop(l, 1);
                    metatable
                }
            };
            push_number(&mut self.out, metatable);
            let (fields, objects) = self.fields_of(table);
            let keys = ffi::lua_gettop(l);
            let is = |field: &Field, place: usize| matches!(field.key, Key::Integer(at) if at == place as i64 + 1);
            let first = fields.iter().position(|field| is(field, 0)).unwrap_or(fields.len());
            let run = fields[first..].iter().enumerate().take_while(|(place, field)| is(field, *place)).count();
            push_number(&mut self.out, run as u64);
            for field in &fields[first..first + run] {
                self.field_value(table, field)?;
            }
            let alone = objects == 1;
            push_number(&mut self.out, (fields.len() - run) as u64 + u64::from(alone));
            for field in fields[..first].iter().chain(&fields[first + run..]) {
                self.plain(&field.key);
                self.field_value(table, field)?;
            }
            if alone {
                ffi::lua_rawgeti(l, keys, 1);
                self.object_field(table, ffi::lua_gettop(l))?;
            } else if objects > 1 && !self.looking {
                self.deferred.push_back(number);
            }
            Ok(())
        }
    }

    /// Writes the key at an index, which is an object, and its value.
    unsafe fn object_field(&mut self, table: c_int, key: c_int) -> Result<(), SaveError> {
        unsafe {
            self.value(key)?;
            ffi::lua_pushvalue(self.l, key);
            ffi::lua_rawget(self.l, table);
            self.value(-1)?;
            ffi::lua_pop(self.l, 1);
            Ok(())
        }
    }

    /// Writes the fields of a table whose keys are objects.
    unsafe fn fields(&mut self, number: u64) -> Result<(), SaveError> {
        unsafe {
            let l = self.l;
            ffi::lua_rawgeti(l, self.list, number as i64 + 1);
            let table = ffi::lua_gettop(l);
            let (_, count) = self.fields_of(table);
            let keys = ffi::lua_gettop(l);
            let mut order = Vec::new();
            for place in 1..=count {
                ffi::lua_rawgeti(l, keys, place);
                let pointer = ffi::lua_topointer(l, -1) as usize;
                let (known, look) = match self.objects.get(&pointer) {
                    Some(known) => (known, Vec::new()),
                    None => (u64::MAX, self.look(table, ffi::lua_gettop(l))?),
                };
                order.push((known, look, place));
                ffi::lua_settop(l, keys);
            }
            order.sort();
            self.out.push(record::FIELDS);
            push_number(&mut self.out, number);
            push_number(&mut self.out, order.len() as u64);
            for (_, _, place) in order {
                ffi::lua_rawgeti(l, keys, place);
                self.object_field(table, ffi::lua_gettop(l))?;
                ffi::lua_settop(l, keys);
            }
            ffi::lua_settop(l, table - 1);
            Ok(())
        }
    }

    /// What is behind a field, as it would be written, some objects deep.
    unsafe fn look(&mut self, table: c_int, key: c_int) -> Result<Vec<u8>, SaveError> {
        unsafe {
            let before = std::mem::take(&mut self.out);
            let counts = (self.objects.count(), self.upvalues.count(), self.long_texts.count(), self.used.count());
            self.looking = true;
            self.objects.look();
            self.closures.look();
            self.upvalues.look();
            self.long_texts.look();
            self.used.look();
            let mut done = self.object_field(table, key);
            let mut next = counts.0;
            while done.is_ok() && next < self.objects.count().min(counts.0 + LOOKED_AT) {
                done = self.record(next);
                next += 1;
            }
            self.looking = false;
            self.objects.forget(counts.0);
            self.closures.forget(0);
            self.upvalues.forget(counts.1);
            self.long_texts.forget(counts.2);
            self.used.forget(counts.3);
            let seen = std::mem::replace(&mut self.out, before);
            done.map(|()| seen)
        }
    }

    unsafe fn field_value(&mut self, table: c_int, field: &Field) -> Result<(), SaveError> {
        match &field.value {
            Some(plain) => {
                self.plain(plain);
                Ok(())
            }
            None => unsafe {
                self.push_key(&field.key);
                ffi::lua_rawget(self.l, table);
                self.value(-1)?;
                ffi::lua_pop(self.l, 1);
                Ok(())
            },
        }
    }

    unsafe fn push_key(&self, key: &Key) {
        unsafe {
            match key {
                Key::Integer(integer) => ffi::lua_pushinteger(self.l, *integer),
                Key::Float(float) => ffi::lua_pushnumber(self.l, *float),
                Key::Text(text, length) => drop(ffi::lua_pushlstring(self.l, text.cast(), *length)),
                Key::Boolean(boolean) => ffi::lua_pushboolean(self.l, c_int::from(*boolean)),
                Key::Object => ffi::lua_pushnil(self.l),
            }
        }
    }

    /// Writes the value at an index.
    unsafe fn value(&mut self, index: c_int) -> Result<(), SaveError> {
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
    fn plain(&mut self, plain: &Key) {
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
                let text = unsafe { std::slice::from_raw_parts(*text, *length) };
                if text.len() <= LONG_TEXT {
                    self.out.push(value::TEXT);
                    return push_text(&mut self.out, text);
                }
                let (number, new) = self.long_texts.number(*blake3::hash(text).as_bytes());
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
            Key::Object => self.out.push(value::NIL),
        }
    }
}
