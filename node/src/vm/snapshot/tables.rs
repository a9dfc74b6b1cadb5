//! Tables in snapshots, written and read: the values of 1 to n, then the other fields in the order of their keys, and
//! last those whose keys are objects.

use std::ffi::c_int;

use mlua::ffi;

use super::super::order::Key;
use super::reader::{Reader, Value};
use super::restore::{RestoreError, Restorer};
use super::save::{SaveError, Saver};
use super::{push_number, record};

/// How many objects a look at what is behind a key takes in, and about how many bytes of them.
const LOOKED_AT: u64 = 32;
const LOOKED_BYTES: usize = 4096;

/// A field: its key, and its value unless that is an object.
struct Field {
    key: Key,
    value: Option<Key>,
}

impl Saver {
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
                if matches!(key, Key::Object(_)) {
                    objects += 1;
                    ffi::lua_pushvalue(l, -2);
                    ffi::lua_rawseti(l, keys, objects);
                } else {
                    let value = Key::read(l, -1);
                    fields.push(Field { key, value: (!matches!(value, Key::Object(_))).then_some(value) });
                }
                ffi::lua_pop(l, 1);
            }
            fields.sort_unstable_by(|one, other| one.key.compare(&other.key));
            (fields, objects)
        }
    }

    /// Writes a table, without fields whose keys are objects if there are several.
    pub(super) unsafe fn table(&mut self, number: u64, table: c_int) -> Result<(), SaveError> {
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
            if !self.looking {
                self.crowding.table(fields.iter().map(|field| &field.key));
            }
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
    pub(super) unsafe fn fields(&mut self, number: u64) -> Result<(), SaveError> {
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
                    Some(known) => (known, None),
                    None => (u64::MAX, Some(*self.look(table, ffi::lua_gettop(l))?.as_bytes())),
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
    unsafe fn look(&mut self, table: c_int, key: c_int) -> Result<blake3::Hash, SaveError> {
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
            while done.is_ok() && next < self.objects.count().min(counts.0 + LOOKED_AT) && self.out.len() < LOOKED_BYTES
            {
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
            done.map(|()| blake3::hash(&seen))
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
                Key::Object(_) => ffi::lua_pushnil(self.l),
            }
        }
    }
}

impl Restorer {
    /// Makes a table, or fills the one on top of the stack.
    pub(super) unsafe fn table(&mut self, reader: &mut Reader<'_>) -> Result<(), RestoreError> {
        unsafe {
            let l = self.l;
            let metatable = reader.number()?;
            if self.filling && metatable > 0 {
                self.push(Value::Object(metatable - 1))?;
                if ffi::lua_type(l, -1) != ffi::LUA_TTABLE {
                    return Err(RestoreError("a metatable is no table"));
                }
                ffi::lua_setmetatable(l, -2);
            }
            let run = reader.count()?;
            let start = reader.at;
            if !self.filling {
                // How many other fields there are is behind the values.
                for _ in 0..run {
                    reader.value()?;
                }
                let others = reader.count()?;
                for _ in 0..others {
                    reader.value()?;
                    reader.value()?;
                }
                let size = |count: u64| c_int::try_from(count).map_err(|_| RestoreError("a table is too large"));
                ffi::lua_createtable(l, size(run)?, size(others)?);
                return Ok(());
            }
            reader.at = start;
            for place in 1..=run {
                let value = reader.value()?;
                self.push_filled(value)?;
                ffi::lua_rawseti(l, -2, place as i64);
            }
            for _ in 0..reader.count()? {
                self.field(reader)?;
            }
            Ok(())
        }
    }

    /// Sets a field of the table on top of the stack.
    unsafe fn field(&mut self, reader: &mut Reader<'_>) -> Result<(), RestoreError> {
        unsafe {
            match reader.value()? {
                Value::Nil => return Err(RestoreError("a key is nil")),
                Value::Float(float) if float.is_nan() => return Err(RestoreError("a key is not a number")),
                key => self.push(key)?,
            }
            let value = reader.value()?;
            self.push_filled(value)?;
            ffi::lua_rawset(self.l, -3);
            Ok(())
        }
    }

    /// Fills in fields whose keys are objects.
    pub(super) unsafe fn fields(&mut self, reader: &mut Reader<'_>) -> Result<(), RestoreError> {
        unsafe {
            let table = reader.number()?;
            let count = reader.count()?;
            if !self.filling {
                for _ in 0..count {
                    reader.value()?;
                    reader.value()?;
                }
                return Ok(());
            }
            self.push(Value::Object(table))?;
            if ffi::lua_type(self.l, -1) != ffi::LUA_TTABLE {
                return Err(RestoreError("fields of what is no table"));
            }
            for _ in 0..count {
                self.field(reader)?;
            }
            ffi::lua_pop(self.l, 1);
            Ok(())
        }
    }
}
