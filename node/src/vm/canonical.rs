//! Lua values as JSON in one canonical form, so that equal results are equal bytes on every machine.
//!
//! Keys in byte order, no blanks; integers as integers, floats as `%.14g`; an empty table is `[]`, a table with the
//! keys 1 to n a list, one with text keys an object; anything else is refused with the place where it was found.
//! Text that is not UTF-8 has its bad parts replaced by U+FFFD. Tables are read raw: metatables do not matter.

use std::ffi::c_int;
use std::fmt::Write;

use ao_protocol::outcome::MAX_OUTCOME_BYTES;
use mlua::ffi::{self, lua_State};
use thiserror::Error;

use super::order::Key;
use super::places::places;

/// Deepest nesting of tables in a result; a table that contains itself ends here too.
pub(super) const MAX_DEPTH: c_int = 64;
/// Places of a table that count as much as a byte of it: looking at them takes time, filled or not.
const PLACES_PER_BYTE: u64 = 64;
/// Bytes of a field's name that errors show.
const MAX_SHOWN_NAME: usize = 64;

/// Why a value has no JSON form. Part of outcomes: the texts are the same everywhere.
#[derive(Debug, Error)]
pub(super) enum EncodeError {
    #[error("{path}: a {kind} can't be part of a result")]
    Kind { path: String, kind: &'static str },
    #[error("{path}: {number} can't be part of a result")]
    Number { path: String, number: f64 },
    #[error("{path}: the keys of a table must be 1 to n or all strings")]
    Keys { path: String },
    #[error("{path}: tables are nested more than {MAX_DEPTH} deep")]
    Depth { path: String },
    #[error("the result is larger than {MAX_OUTCOME_BYTES} bytes")]
    Size,
}

/// Encodes values and bounds what they take together, shared tables counted each time.
#[derive(Default)]
pub(super) struct Encoder {
    bytes: usize,
}

impl Encoder {
    /// The JSON text of the value at `index`; fields of its outermost table named in `without` are left out.
    ///
    /// # Safety
    /// `l` is an interpreter of ours with room for three values per level on its stack. Raises no error and
    /// allocates nothing in the interpreter.
    pub(super) unsafe fn encode(
        &mut self,
        l: *mut lua_State,
        index: c_int,
        path: &str,
        without: &[&str],
    ) -> Result<String, EncodeError> {
        let mut out = String::new();
        unsafe { self.value(l, ffi::lua_absindex(l, index), &mut out, path, without, 0)? };
        Ok(out)
    }

    unsafe fn value(
        &mut self,
        l: *mut lua_State,
        index: c_int,
        out: &mut String,
        path: &str,
        without: &[&str],
        depth: c_int,
    ) -> Result<(), EncodeError> {
        let before = out.len();
        unsafe {
            match ffi::lua_type(l, index) {
                ffi::LUA_TNIL | ffi::LUA_TNONE => out.push_str("null"),
                ffi::LUA_TTABLE if depth == MAX_DEPTH => return Err(EncodeError::Depth { path: path.to_string() }),
                ffi::LUA_TTABLE => return self.table(l, index, out, path, without, depth + 1),
                _ => match Key::read(l, index) {
                    Key::Integer(integer) => push_display(out, integer),
                    Key::Float(number) if number.is_finite() => push_display(out, Float(number)),
                    Key::Float(number) => return Err(EncodeError::Number { path: path.to_string(), number }),
                    Key::Text(text, length) => push_text(out, std::slice::from_raw_parts(text, length)),
                    Key::Boolean(boolean) => push_display(out, boolean),
                    Key::Object(_) => {
                        return Err(EncodeError::Kind { path: path.to_string(), kind: kind(l, index) });
                    }
                },
            }
        }
        self.count(out.len() - before)
    }

    /// Counts bytes before they are copied.
    pub(super) fn count(&mut self, bytes: usize) -> Result<(), EncodeError> {
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes > MAX_OUTCOME_BYTES { Err(EncodeError::Size) } else { Ok(()) }
    }

    unsafe fn table(
        &mut self,
        l: *mut lua_State,
        index: c_int,
        out: &mut String,
        path: &str,
        without: &[&str],
        depth: c_int,
    ) -> Result<(), EncodeError> {
        self.count(2 + (unsafe { places(l, index) } / PLACES_PER_BYTE) as usize)?;
        let Some(length) = (unsafe { list_length(l, index) }) else {
            return unsafe { self.object(l, index, out, path, without, depth) };
        };
        out.push('[');
        for place in 1..=length {
            if place > 1 {
                out.push(',');
            }
            unsafe {
                ffi::lua_rawgeti(l, index, place);
                let done = self.value(l, ffi::lua_gettop(l), out, &format!("{path}[{place}]"), &[], depth);
                ffi::lua_pop(l, 1);
                done?;
            }
        }
        out.push(']');
        self.count(usize::try_from(length).unwrap_or(usize::MAX))
    }

    unsafe fn object(
        &mut self,
        l: *mut lua_State,
        index: c_int,
        out: &mut String,
        path: &str,
        without: &[&str],
        depth: c_int,
    ) -> Result<(), EncodeError> {
        let mut fields: Vec<(&[u8], String)> = Vec::new();
        unsafe {
            ffi::lua_pushnil(l);
            while ffi::lua_next(l, index) != 0 {
                let Key::Text(name, length) = Key::read(l, -2) else {
                    ffi::lua_pop(l, 2);
                    return Err(EncodeError::Keys { path: path.to_string() });
                };
                // The table keeps the key's text where it is while nothing runs in the interpreter.
                let name = std::slice::from_raw_parts(name, length);
                if without.iter().any(|field| field.as_bytes() == name) {
                    ffi::lua_pop(l, 1);
                    continue;
                }
                let mut text = String::new();
                let shown = &name[..name.len().min(MAX_SHOWN_NAME)];
                let below = format!("{path}.{}", String::from_utf8_lossy(shown));
                let done = self.value(l, ffi::lua_gettop(l), &mut text, &below, &[], depth);
                ffi::lua_pop(l, 1);
                if let Err(cause) = done {
                    ffi::lua_pop(l, 1);
                    return Err(cause);
                }
                fields.push((name, text));
            }
        }
        fields.sort_unstable_by_key(|(name, _)| *name);
        out.push('{');
        for (position, (name, text)) in fields.into_iter().enumerate() {
            if position > 0 {
                out.push(',');
            }
            let before = out.len();
            push_text(out, name);
            self.count(out.len() - before + 2)?;
            out.push(':');
            out.push_str(&text);
        }
        out.push('}');
        Ok(())
    }
}

/// The length of the table at `index` if it is a list: its keys are 1 to n. An empty table is a list.
///
/// # Safety
/// As for [`Encoder::encode`].
pub(super) unsafe fn list_length(l: *mut lua_State, index: c_int) -> Option<i64> {
    let (mut keys, mut highest) = (0, 0);
    unsafe {
        ffi::lua_pushnil(l);
        while ffi::lua_next(l, index) != 0 {
            ffi::lua_pop(l, 1);
            match Key::read(l, -1) {
                Key::Integer(integer) if integer >= 1 => highest = highest.max(integer),
                _ => {
                    ffi::lua_pop(l, 1);
                    return None;
                }
            }
            keys += 1;
        }
    }
    (keys == highest).then_some(keys)
}

/// The name of a value's type.
///
/// # Safety
/// `index` is a valid position on the stack of `l`.
pub(super) unsafe fn kind(l: *mut lua_State, index: c_int) -> &'static str {
    match unsafe { ffi::lua_type(l, index) } {
        ffi::LUA_TNIL | ffi::LUA_TNONE => "nil",
        ffi::LUA_TBOOLEAN => "boolean",
        ffi::LUA_TNUMBER => "number",
        ffi::LUA_TSTRING => "string",
        ffi::LUA_TTABLE => "table",
        ffi::LUA_TFUNCTION => "function",
        ffi::LUA_TTHREAD => "thread",
        _ => "userdata",
    }
}

/// A float as C's `%.14g`, which is how Lua writes it.
pub(super) struct Float(pub(super) f64);

impl std::fmt::Display for Float {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0.is_nan() {
            // Its sign differs between processors.
            return f.write_str("nan");
        }
        let mut buffer = [0u8; 40];
        let written = unsafe { libc::snprintf(buffer.as_mut_ptr().cast(), buffer.len(), c"%.14g".as_ptr(), self.0) };
        let length = usize::try_from(written).unwrap_or(0).min(buffer.len());
        f.write_str(std::str::from_utf8(&buffer[..length]).unwrap_or("0"))
    }
}

/// Appends what a value is displayed as.
pub(super) fn push_display(out: &mut String, value: impl std::fmt::Display) {
    // Writing to a String can't fail.
    let _ = write!(out, "{value}");
}

/// Appends a JSON string; what is not UTF-8 in it is replaced.
pub(super) fn push_text(out: &mut String, text: &[u8]) {
    out.push('"');
    for character in String::from_utf8_lossy(text).chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{0}'..='\u{1f}' | '\u{7f}' => {
                let _ = write!(out, "\\u{:04x}", character as u32);
            }
            _ => out.push(character),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_are_written_as_lua_writes_them() {
        let shown = |x| Float(x).to_string();
        assert_eq!(
            [shown(0.1), shown(1e15), shown(1e14), shown(-0.0), shown(1.0 / 3.0), shown(-f64::NAN)],
            ["0.1", "1e+15", "1e+14", "-0", "0.33333333333333", "nan"]
        );
    }

    #[test]
    fn text_is_escaped_and_what_is_not_text_replaced() {
        let mut out = String::new();
        push_text(&mut out, b"a\"\\\n\x01\x7f\xff\xc3\xa9");
        assert_eq!(out, "\"a\\\"\\\\\\n\\u0001\\u007f\u{fffd}é\"");
    }
}
