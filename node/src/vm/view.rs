//! A process's variables as JSON, for people and programs that look in: everything is shown, also what could not be
//! part of a result. Not part of any outcome.
//!
//! As in [`super::canonical`] keys are sorted and text is made UTF-8; beyond it, keys that are no strings are written
//! as Lua does (`[1]`, `[true]`), numbers that JSON lacks as strings, and what has no value to show as the name of its
//! kind: `<function>`, `<thread>`, `<userdata>`, and `<table>` for a table inside itself or below [`MAX_DEPTH`].

use std::collections::BTreeSet;
use std::ffi::{c_int, c_void};

use mlua::ffi::{self, lua_State};

use super::canonical::{Float, MAX_DEPTH, kind, list_length, push_display, push_text};
use super::order::Key;

/// Largest view in bytes.
pub const MAX_VIEW_BYTES: usize = 8 * 1024 * 1024;

/// The names of all globals: called when only the library is there, they are what a view leaves out.
///
/// # Safety
/// `l` is an interpreter of ours with room for three values on its stack. Raises no error.
pub(super) unsafe fn global_names(l: *mut lua_State) -> BTreeSet<Vec<u8>> {
    let mut names = BTreeSet::new();
    unsafe {
        push_globals(l);
        ffi::lua_pushnil(l);
        while ffi::lua_next(l, -2) != 0 {
            if let Key::Text(name, length) = Key::read(l, -2) {
                names.insert(std::slice::from_raw_parts(name, length).to_vec());
            }
            ffi::lua_pop(l, 1);
        }
        ffi::lua_pop(l, 1);
    }
    names
}

/// The globals but those of the library as a JSON object, or the value of one of them.
///
/// # Safety
/// `l` is an interpreter of ours with room for four values per level on its stack. Raises no error and allocates
/// nothing in the interpreter.
pub(super) unsafe fn view(
    l: *mut lua_State,
    library: &BTreeSet<Vec<u8>>,
    name: Option<&str>,
) -> Result<String, String> {
    let mut view = View { l, out: String::new(), above: Vec::new() };
    let done = unsafe {
        push_globals(l);
        let globals = ffi::lua_gettop(l);
        let done = match name {
            None => view.object(globals, |key| match *key {
                Key::Text(name, length) => !library.contains(std::slice::from_raw_parts(name, length)),
                _ => true,
            }),
            Some(name) => view.field(globals, name.as_bytes()),
        };
        ffi::lua_settop(l, globals - 1);
        done
    };
    let hint = if name.is_none() { ": ask for one variable by its name" } else { "" };
    let TooLarge = match done {
        Ok(()) => return Ok(view.out),
        Err(cause) => cause,
    };
    Err(format!("shown as JSON it is larger than {MAX_VIEW_BYTES} bytes{hint}"))
}

struct TooLarge;

struct View {
    l: *mut lua_State,
    out: String,
    /// The tables that the value is in.
    above: Vec<*const c_void>,
}

impl View {
    unsafe fn value(&mut self) -> Result<(), TooLarge> {
        let l = self.l;
        unsafe {
            match ffi::lua_type(l, -1) {
                ffi::LUA_TNIL | ffi::LUA_TNONE => self.out.push_str("null"),
                ffi::LUA_TTABLE => return self.table(),
                _ => match Key::read(l, -1) {
                    Key::Integer(integer) => push_display(&mut self.out, integer),
                    Key::Float(number) if number.is_finite() => push_display(&mut self.out, Float(number)),
                    Key::Float(number) => push_display(&mut self.out, format_args!("\"{}\"", Float(number))),
                    Key::Text(text, length) if length <= MAX_VIEW_BYTES => {
                        push_text(&mut self.out, std::slice::from_raw_parts(text, length));
                    }
                    Key::Text(..) => return Err(TooLarge),
                    Key::Boolean(boolean) => push_display(&mut self.out, boolean),
                    Key::Object(_) => self.kind(),
                },
            }
        }
        self.bounded()
    }

    /// The value on top by its kind.
    unsafe fn kind(&mut self) {
        let kind = unsafe { kind(self.l, -1) };
        push_display(&mut self.out, format_args!("\"<{kind}>\""));
    }

    unsafe fn table(&mut self) -> Result<(), TooLarge> {
        let l = self.l;
        unsafe {
            let (index, place) = (ffi::lua_gettop(l), ffi::lua_topointer(l, -1));
            if self.above.len() >= MAX_DEPTH as usize || self.above.contains(&place) {
                self.kind();
                return Ok(());
            }
            self.above.push(place);
            let done = match list_length(l, index) {
                Some(length) => self.list(index, length),
                None => self.object(index, |_| true),
            };
            self.above.pop();
            done
        }
    }

    unsafe fn list(&mut self, index: c_int, length: i64) -> Result<(), TooLarge> {
        self.out.push('[');
        for place in 1..=length {
            self.comma(place > 1);
            unsafe {
                ffi::lua_rawgeti(self.l, index, place);
                let done = self.value();
                ffi::lua_pop(self.l, 1);
                done?;
            }
        }
        self.out.push(']');
        self.bounded()
    }

    unsafe fn object(&mut self, index: c_int, shown: impl Fn(&Key) -> bool) -> Result<(), TooLarge> {
        let l = self.l;
        let start = self.out.len();
        // Where in the output a field's value stands. The output is put in order at the end.
        let mut fields: Vec<(Key, std::ops::Range<usize>)> = Vec::new();
        unsafe {
            ffi::lua_pushnil(l);
            while ffi::lua_next(l, index) != 0 {
                let key = Key::read(l, -2);
                if shown(&key) {
                    let from = self.out.len();
                    if let Err(cause) = self.name(&key).and_then(|()| self.value()) {
                        ffi::lua_pop(l, 2);
                        return Err(cause);
                    }
                    fields.push((key, from..self.out.len()));
                }
                ffi::lua_pop(l, 1);
            }
            fields.sort_by(|(a, _), (b, _)| a.compare(b));
        }
        let unordered = self.out.split_off(start);
        self.out.push('{');
        for (position, (_, place)) in fields.into_iter().enumerate() {
            self.comma(position > 0);
            self.out.push_str(unordered.get(place.start - start..place.end - start).unwrap_or_default());
        }
        self.out.push('}');
        self.bounded()
    }

    /// The name of a field and a colon.
    unsafe fn name(&mut self, key: &Key) -> Result<(), TooLarge> {
        match *key {
            Key::Text(_, length) if length > MAX_VIEW_BYTES => return Err(TooLarge),
            Key::Text(name, length) => push_text(&mut self.out, unsafe { std::slice::from_raw_parts(name, length) }),
            Key::Integer(integer) => push_display(&mut self.out, format_args!("\"[{integer}]\"")),
            Key::Float(number) => push_display(&mut self.out, format_args!("\"[{}]\"", Float(number))),
            Key::Boolean(boolean) => push_display(&mut self.out, format_args!("\"[{boolean}]\"")),
            Key::Object(_) => push_display(&mut self.out, format_args!("\"<{}>\"", unsafe { kind(self.l, -2) })),
        }
        self.out.push(':');
        self.bounded()
    }

    /// The value of one text key. Looks through the fields: asking for the key would make a string in the interpreter.
    unsafe fn field(&mut self, index: c_int, wanted: &[u8]) -> Result<(), TooLarge> {
        let l = self.l;
        unsafe {
            ffi::lua_pushnil(l);
            while ffi::lua_next(l, index) != 0 {
                if let Key::Text(name, length) = Key::read(l, -2)
                    && std::slice::from_raw_parts(name, length) == wanted
                {
                    return self.value();
                }
                ffi::lua_pop(l, 1);
            }
        }
        self.out.push_str("null");
        Ok(())
    }

    fn comma(&mut self, needed: bool) {
        if needed {
            self.out.push(',');
        }
    }

    fn bounded(&self) -> Result<(), TooLarge> {
        if self.out.len() > MAX_VIEW_BYTES { Err(TooLarge) } else { Ok(()) }
    }
}

unsafe fn push_globals(l: *mut lua_State) {
    unsafe { ffi::lua_rawgeti(l, ffi::LUA_REGISTRYINDEX, ffi::LUA_RIDX_GLOBALS) };
}

#[cfg(test)]
mod tests {
    use ao_protocol::message::{Env, Message};
    use ao_protocol::module::Limits;

    use super::super::interpreter::Interpreter;

    fn view(source: &str, name: Option<&str>) -> Result<String, String> {
        let limits = Limits { memory_bytes: 64 << 20, instructions: 20_000_000 };
        let mut interpreter =
            Interpreter::new(&format!("function handle() {source} end"), Env::default(), limits).unwrap();
        let outcome = interpreter.evaluate(&Message::default());
        assert_eq!(outcome.error.as_deref(), Some("handle returned a nil; a table is expected"));
        interpreter.view(name)
    }

    #[test]
    fn variables_are_shown_and_the_library_is_not() {
        assert_eq!(view("", None).unwrap(), r#"{"handle":"<function>"}"#);
        let source = "b = { 1, 'two', { x = 0.5 } } a = 'A\\n' c = {} print = 5 _G[1] = true";
        let all = r#"{"[1]":true,"a":"A\n","b":[1,"two",{"x":0.5}],"c":[],"handle":"<function>"}"#;
        assert_eq!(view(source, None).unwrap(), all);
        assert_eq!(view(source, Some("b")).unwrap(), r#"[1,"two",{"x":0.5}]"#);
        assert_eq!(view(source, Some("nothing")).unwrap(), "null");
    }

    #[test]
    fn what_json_has_no_form_for_is_shown_by_its_kind() {
        let source = "t = { print, coroutine.create(print), 0/0, 1/0, -1/0, [7] = 1, [true] = 2, [1.5] = 3, x = 4 }
            t[t] = 5 t.t = t u = {} u.v = { u }";
        let shown = r#"{"[1]":"<function>","[1.5]":3,"[2]":"<thread>","[3]":"nan","[4]":"inf","[5]":"-inf","[7]":1,"t":"<table>","x":4,"[true]":2,"<table>":5}"#;
        assert_eq!(view(source, Some("t")).unwrap(), shown);
        assert_eq!(view(source, Some("u")).unwrap(), r#"{"v":["<table>"]}"#);
        let deep = view("d = {} for _ = 1, 100 do d = { d } end", Some("d")).unwrap();
        assert_eq!(deep, format!("{}\"<table>\"{}", "[".repeat(64), "]".repeat(64)));
    }

    #[test]
    fn a_view_is_bounded() {
        for source in [
            "t = { 1 } for _ = 1, 40 do t = { t, t } end",
            "t = ('x'):rep(9 << 20)",
            "t = { [('x'):rep(9 << 20)] = 1 }",
            "t = { x = { ('x'):rep(5 << 20) }, y = ('x'):rep(5 << 20) }",
        ] {
            assert!(view(source, Some("t")).unwrap_err().contains("larger than"), "{source}");
            assert!(view(source, None).unwrap_err().contains("ask for one variable"), "{source}");
        }
    }
}
