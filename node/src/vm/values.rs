//! Message and environment into the interpreter, result out of it. Strings go both ways as bytes.

use std::ffi::{CStr, c_int};

use ao_protocol::message::{Env, Message, Unit};
use ao_protocol::outcome::{MAX_OUTBOX_ENTRIES, OutboxEntry, Outcome};
use ao_protocol::tag::Tag;
use mlua::ffi::{self, lua_State};

use super::canonical::{EncodeError, Encoder, Float, kind, list_length};
use super::order::Key;

/// Longest error text in an outcome, in bytes; what exceeds it is cut.
const MAX_ERROR_BYTES: usize = 64 * 1024;

/// Pushes the table that `handle` gets as its first argument.
///
/// # Safety
/// As for [`super::host::charge`].
pub(super) unsafe fn push_message(l: *mut lua_State, message: &Message) {
    let integer = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    unsafe {
        ffi::luaL_checkstack(l, 8, std::ptr::null());
        ffi::lua_createtable(l, 0, 16);
        set_bytes(l, c"Id", message.id.as_ref().map(String::as_bytes));
        set_bytes(l, c"Signature", message.signature.as_ref().map(String::as_bytes));
        set_bytes(l, c"Data", message.data.as_deref());
        set_bytes(l, c"Owner", Some(message.owner.as_bytes()));
        set_bytes(l, c"Target", Some(message.target.as_bytes()));
        set_bytes(l, c"Anchor", message.anchor.as_deref());
        set_bytes(l, c"From", Some(message.from.as_bytes()));
        set_bytes(l, c"Forwarded-By", message.forwarded_by.as_ref().map(String::as_bytes));
        set_tags(l, &message.tags);
        set_integer(l, c"Epoch", message.epoch.map(integer));
        set_integer(l, c"Nonce", message.nonce.map(integer));
        set_integer(l, c"Timestamp", Some(integer(message.timestamp)));
        set_integer(l, c"Block-Height", Some(integer(message.block_height)));
        set_bytes(l, c"Hash-Chain", message.hash_chain.as_ref().map(String::as_bytes));
        set_integer(l, c"Data-Size", message.data_size.map(integer));
        set_bytes(l, c"Quantity", message.quantity.as_ref().map(String::as_bytes));
        set_bytes(l, c"Reward", message.reward.as_ref().map(String::as_bytes));
        set_boolean(l, c"Cron", message.cron);
        if !message.cron {
            set_boolean(l, c"Read-Only", message.read_only);
        }
    }
}

/// Pushes the table that `handle` gets as its second argument. `ended` says where coroutines waited that were ended.
///
/// # Safety
/// As for [`super::host::charge`].
pub(super) unsafe fn push_env(l: *mut lua_State, env: &Env, ended: &[Vec<u8>]) {
    unsafe {
        ffi::luaL_checkstack(l, 8, std::ptr::null());
        ffi::lua_createtable(l, 0, 2);
        push_unit(l, &env.process);
        ffi::lua_setfield(l, -2, c"Process".as_ptr());
        push_unit(l, &env.module);
        ffi::lua_setfield(l, -2, c"Module".as_ptr());
        if !ended.is_empty() {
            ffi::lua_createtable(l, 0, 0);
            for (place, text) in (1..).zip(ended) {
                ffi::lua_pushlstring(l, text.as_ptr().cast(), text.len());
                ffi::lua_rawseti(l, -2, place);
            }
            ffi::lua_setfield(l, -2, c"Ended".as_ptr());
        }
    }
}

unsafe fn push_unit(l: *mut lua_State, unit: &Unit) {
    unsafe {
        ffi::lua_createtable(l, 0, 3);
        set_bytes(l, c"Id", Some(unit.id.as_bytes()));
        set_bytes(l, c"Owner", Some(unit.owner.as_bytes()));
        set_tags(l, &unit.tags);
    }
}

unsafe fn set_tags(l: *mut lua_State, tags: &[Tag]) {
    unsafe {
        ffi::lua_createtable(l, c_int::try_from(tags.len()).unwrap_or(0), 0);
        for (place, tag) in (1..).zip(tags) {
            ffi::lua_createtable(l, 0, 2);
            set_bytes(l, c"name", Some(tag.name.as_bytes()));
            set_bytes(l, c"value", Some(tag.value.as_bytes()));
            ffi::lua_rawseti(l, -2, place);
        }
        ffi::lua_setfield(l, -2, c"Tags".as_ptr());
    }
}

unsafe fn set_bytes(l: *mut lua_State, name: &CStr, bytes: Option<&[u8]>) {
    if let Some(bytes) = bytes {
        unsafe {
            ffi::lua_pushlstring(l, bytes.as_ptr().cast(), bytes.len());
            ffi::lua_setfield(l, -2, name.as_ptr());
        }
    }
}

unsafe fn set_integer(l: *mut lua_State, name: &CStr, integer: Option<i64>) {
    if let Some(integer) = integer {
        unsafe {
            ffi::lua_pushinteger(l, integer);
            ffi::lua_setfield(l, -2, name.as_ptr());
        }
    }
}

unsafe fn set_boolean(l: *mut lua_State, name: &CStr, boolean: bool) {
    unsafe {
        ffi::lua_pushboolean(l, c_int::from(boolean));
        ffi::lua_setfield(l, -2, name.as_ptr());
    }
}

/// Reads what `handle` returned, on top of the stack: `Output`, `Messages`, `Spawns`, `Assignments`, `Error`. Other
/// fields are ignored. A result that can't be encoded, or that says `Error`, is an outcome with that error.
///
/// # Safety
/// As for [`Encoder::encode`].
pub(super) unsafe fn read_result(l: *mut lua_State) -> Outcome {
    unsafe {
        let index = ffi::lua_gettop(l);
        if ffi::lua_type(l, index) != ffi::LUA_TTABLE {
            return Outcome::failed(format!("handle returned a {}; a table is expected", kind(l, index)));
        }
        if push_field(l, index, b"Error") {
            let error = error_text(l, -1);
            ffi::lua_pop(l, 1);
            return Outcome::failed(error);
        }
        match read_parts(l, index) {
            Ok(outcome) => outcome,
            Err(cause) => Outcome::failed(cause),
        }
    }
}

unsafe fn read_parts(l: *mut lua_State, index: c_int) -> Result<Outcome, String> {
    let mut encoder = Encoder::default();
    unsafe {
        let output = if push_field(l, index, b"Output") {
            let output = encoder.encode(l, -1, "Output", &[]);
            ffi::lua_pop(l, 1);
            output.map_err(|cause| cause.to_string())?
        } else {
            "\"\"".to_string()
        };
        Ok(Outcome {
            output,
            messages: read_list(l, index, "Messages", &mut encoder)?,
            spawns: read_list(l, index, "Spawns", &mut encoder)?,
            assignments: read_list(l, index, "Assignments", &mut encoder)?,
            ..Outcome::default()
        })
    }
}

/// Pushes a field of a table unless it is absent, nil or false. Looks through the fields instead of asking for the
/// key, which would make a string in the interpreter.
unsafe fn push_field(l: *mut lua_State, table: c_int, name: &[u8]) -> bool {
    unsafe {
        ffi::lua_pushnil(l);
        while ffi::lua_next(l, table) != 0 {
            if let Key::Text(text, length) = Key::read(l, -2)
                && std::slice::from_raw_parts(text, length) == name
            {
                ffi::lua_remove(l, -2);
                if ffi::lua_toboolean(l, -1) != 0 {
                    return true;
                }
                ffi::lua_pop(l, 1);
                return false;
            }
            ffi::lua_pop(l, 1);
        }
        false
    }
}

unsafe fn read_list(
    l: *mut lua_State,
    result: c_int,
    name: &str,
    encoder: &mut Encoder,
) -> Result<Vec<OutboxEntry>, String> {
    unsafe {
        if !push_field(l, result, name.as_bytes()) {
            return Ok(Vec::new());
        }
        let list = ffi::lua_gettop(l);
        let length = if ffi::lua_type(l, list) == ffi::LUA_TTABLE { list_length(l, list) } else { None };
        let length = length.ok_or_else(|| format!("{name} is not a list"))?;
        if length > MAX_OUTBOX_ENTRIES as i64 {
            return Err(format!("{name} has {length} entries; at most {MAX_OUTBOX_ENTRIES} are allowed"));
        }
        let mut entries = Vec::new();
        for place in 1..=length {
            ffi::lua_rawgeti(l, list, place);
            let path = format!("{name}[{place}]");
            let index = ffi::lua_gettop(l);
            if ffi::lua_type(l, index) != ffi::LUA_TTABLE {
                return Err(format!("{path} is a {}; a table is expected", kind(l, index)));
            }
            entries.push(read_entry(l, index, &path, encoder).map_err(|cause| cause.to_string())?);
            ffi::lua_settop(l, list);
        }
        ffi::lua_settop(l, list - 1);
        Ok(entries)
    }
}

/// `Data` as bytes: strings as they are, other values as their JSON text.
unsafe fn read_entry(
    l: *mut lua_State,
    index: c_int,
    path: &str,
    encoder: &mut Encoder,
) -> Result<OutboxEntry, EncodeError> {
    unsafe {
        let data = if !push_field(l, index, b"Data") {
            None
        } else {
            match Key::read(l, -1) {
                Key::Text(text, length) => {
                    // Before it is copied: the same long text may be in every entry.
                    encoder.count(length)?;
                    Some(std::slice::from_raw_parts(text, length).to_vec())
                }
                _ => Some(encoder.encode(l, -1, &format!("{path}.Data"), &[])?.into_bytes()),
            }
        };
        let fields = match encoder.encode(l, index, path, &["Data"])? {
            // An entry without fields is an object all the same.
            empty if empty == "[]" => "{}".to_string(),
            fields => fields,
        };
        Ok(OutboxEntry { fields, data })
    }
}

/// The text of the error at `index`: strings as they are, numbers as Lua writes them, anything else as JSON, or by
/// its type's name when it has no such form.
///
/// # Safety
/// As for [`Encoder::encode`].
pub(super) unsafe fn error_text(l: *mut lua_State, index: c_int) -> String {
    let text = unsafe {
        match Key::read(l, index) {
            Key::Text(text, length) => {
                let bytes = std::slice::from_raw_parts(text, length.min(MAX_ERROR_BYTES));
                String::from_utf8_lossy(bytes).into_owned()
            }
            Key::Float(number) => Float(number).to_string(),
            _ => match Encoder::default().encode(l, index, "Error", &[]) {
                Ok(text) => text,
                Err(_) => kind(l, index).to_string(),
            },
        }
    };
    match text.char_indices().map(|(at, _)| at).find(|at| *at > MAX_ERROR_BYTES) {
        Some(cut) => text.get(..cut).unwrap_or_default().to_string(),
        None => text,
    }
}
