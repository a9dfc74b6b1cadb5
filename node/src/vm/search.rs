//! `string.find`, `match`, `gmatch` and `gsub` over [`super::pattern`], charged by the steps that matching takes.

use std::ffi::{c_char, c_int};

use mlua::ffi::{self, lua_State};

use super::buffer::Buffer;
use super::host::{Host, charge, raise};
use super::pattern::{Captured, Fault, Matcher, find_plain, is_plain, steps_to_find};

/// The text at an index that holds a string, for as long as it stays there.
unsafe fn text_at<'a>(l: *mut lua_State, index: c_int) -> &'a [u8] {
    unsafe {
        let mut length = 0;
        let text = ffi::luaL_checklstring(l, index, &mut length);
        std::slice::from_raw_parts(text.cast(), length)
    }
}

/// Raises the error that a fault means.
unsafe fn fail(l: *mut lua_State, fault: Fault) -> ! {
    unsafe {
        match fault {
            Fault::Pattern(text) => {
                ffi::luaL_where(l, 1);
                ffi::lua_pushlstring(l, text.as_ptr().cast(), text.len());
                ffi::lua_concat(l, 2);
            }
            Fault::Capture(number) => {
                ffi::luaL_where(l, 1);
                ffi::lua_pushstring(l, c"invalid capture index %".as_ptr());
                ffi::lua_pushinteger(l, number);
                ffi::lua_concat(l, 3);
            }
            // What was spent is charged before: this raises.
            Fault::Budget => charge(l, u64::MAX),
        }
        ffi::lua_error(l)
    }
}

/// Matches at one place and charges what it took; where the match ends.
unsafe fn match_at(l: *mut lua_State, matcher: &mut Matcher<'_>, start: usize) -> Option<usize> {
    unsafe {
        let limit = Host::of(l).left();
        let found = matcher.at(start, limit);
        charge(l, matcher.steps());
        match found {
            Ok(found) => found,
            Err(fault) => fail(l, fault),
        }
    }
}

unsafe fn push_capture(l: *mut lua_State, matcher: &Matcher<'_>, subject: &[u8], number: usize, at: (usize, usize)) {
    unsafe {
        match matcher.capture(number, at.0, at.1) {
            Ok(Captured::Text(start, length)) => {
                ffi::lua_pushlstring(l, subject.as_ptr().add(start).cast::<c_char>(), length);
            }
            Ok(Captured::Position(position)) => ffi::lua_pushinteger(l, position as i64 + 1),
            Err(fault) => fail(l, fault),
        }
    }
}

/// Pushes all captures; without any the whole match, if that is wanted.
unsafe fn push_captures(
    l: *mut lua_State,
    matcher: &Matcher<'_>,
    subject: &[u8],
    at: (usize, usize),
    or_whole: bool,
) -> c_int {
    unsafe {
        let count = matcher.captured().max(usize::from(or_whole));
        ffi::luaL_checkstack(l, count as c_int, c"too many captures".as_ptr());
        for number in 0..count {
            push_capture(l, matcher, subject, number, at);
        }
        count as c_int
    }
}

/// A pattern without its anchor, and whether there was one.
fn anchored(pattern: &[u8]) -> (&[u8], bool) {
    match pattern.split_first() {
        Some((b'^', rest)) => (rest, true),
        _ => (pattern, false),
    }
}

unsafe fn search(l: *mut lua_State, positions: bool) -> c_int {
    unsafe {
        let (subject, pattern) = (text_at(l, 1), text_at(l, 2));
        let length = subject.len() as i64;
        let first = match ffi::luaL_optinteger(l, 3, 1) {
            first if first >= 0 => first.max(1),
            first => first.saturating_add(length).saturating_add(1).max(1),
        };
        if first > length + 1 {
            ffi::lua_pushnil(l);
            return 1;
        }
        let mut start = first as usize - 1;
        if positions && (ffi::lua_toboolean(l, 4) != 0 || is_plain(pattern)) {
            charge(l, steps_to_find(subject, pattern));
            return match find_plain(&subject[start..], pattern) {
                None => {
                    ffi::lua_pushnil(l);
                    1
                }
                Some(offset) => {
                    ffi::lua_pushinteger(l, (start + offset) as i64 + 1);
                    ffi::lua_pushinteger(l, (start + offset + pattern.len()) as i64);
                    2
                }
            };
        }
        let (pattern, anchor) = anchored(pattern);
        let mut matcher = Matcher::new(subject, pattern);
        loop {
            if let Some(end) = match_at(l, &mut matcher, start) {
                if !positions {
                    return push_captures(l, &matcher, subject, (start, end), true);
                }
                ffi::lua_pushinteger(l, start as i64 + 1);
                ffi::lua_pushinteger(l, end as i64);
                return 2 + push_captures(l, &matcher, subject, (start, end), false);
            }
            start += 1;
            if start > subject.len() || anchor {
                ffi::lua_pushnil(l);
                return 1;
            }
        }
    }
}

/// `string.find(s, pattern [, init [, plain]])`
pub(super) unsafe extern "C-unwind" fn find(l: *mut lua_State) -> c_int {
    unsafe { search(l, true) }
}

/// `string.match(s, pattern [, init])`
pub(super) unsafe extern "C-unwind" fn match_(l: *mut lua_State) -> c_int {
    unsafe { search(l, false) }
}

/// `string.gmatch(s, pattern)`. The iterator's state is four plain values: subject, pattern, the place to go on from,
/// and the end of the last match (-1: none), so that it can be stored like any other function.
pub(super) unsafe extern "C-unwind" fn gmatch(l: *mut lua_State) -> c_int {
    unsafe {
        text_at(l, 1);
        text_at(l, 2);
        ffi::lua_settop(l, 2);
        ffi::lua_pushinteger(l, 0);
        ffi::lua_pushinteger(l, -1);
        ffi::lua_pushcclosure(l, next_match, 4);
        1
    }
}

/// The iterator of `gmatch`.
pub(super) unsafe extern "C-unwind" fn next_match(l: *mut lua_State) -> c_int {
    unsafe {
        let (subject, pattern) = (text_at(l, ffi::lua_upvalueindex(1)), text_at(l, ffi::lua_upvalueindex(2)));
        let number = |upvalue| ffi::lua_tointegerx(l, ffi::lua_upvalueindex(upvalue), std::ptr::null_mut());
        let (mut start, last) = (usize::try_from(number(3)).unwrap_or(usize::MAX), number(4));
        let mut matcher = Matcher::new(subject, pattern);
        while start <= subject.len() {
            match match_at(l, &mut matcher, start) {
                Some(end) if end as i64 != last => {
                    for upvalue in [3, 4] {
                        ffi::lua_pushinteger(l, end as i64);
                        ffi::lua_replace(l, ffi::lua_upvalueindex(upvalue));
                    }
                    return push_captures(l, &matcher, subject, (start, end), true);
                }
                _ => start += 1,
            }
        }
        0
    }
}

/// `string.gsub(s, pattern, replacement [, n])`
pub(super) unsafe extern "C-unwind" fn gsub(l: *mut lua_State) -> c_int {
    unsafe {
        let (subject, pattern) = (text_at(l, 1), text_at(l, 2));
        let kind = ffi::lua_type(l, 3);
        let most = ffi::luaL_optinteger(l, 4, subject.len() as i64 + 1);
        if ![ffi::LUA_TNUMBER, ffi::LUA_TSTRING, ffi::LUA_TFUNCTION, ffi::LUA_TTABLE].contains(&kind) {
            ffi::luaL_argerror(l, 3, c"string/function/table expected".as_ptr());
        }
        if kind == ffi::LUA_TNUMBER {
            // Made a text once, in place.
            ffi::lua_tolstring(l, 3, std::ptr::null_mut());
        }
        let (pattern, anchor) = anchored(pattern);
        let mut matcher = Matcher::new(subject, pattern);
        let mut result = Buffer::new(l, subject.len());
        let (mut place, mut kept, mut last, mut count) = (0, 0, None, 0);
        while count < most {
            match match_at(l, &mut matcher, place) {
                Some(end) if last != Some(end) => {
                    count += 1;
                    result.add(l, &subject[kept..place]);
                    add_replacement(l, &mut result, &matcher, subject, (place, end), kind);
                    (place, kept, last) = (end, end, Some(end));
                }
                _ if place < subject.len() => place += 1,
                _ => break,
            }
            if anchor {
                break;
            }
        }
        result.add(l, &subject[kept..]);
        result.push(l);
        ffi::lua_pushinteger(l, count);
        2
    }
}

/// Adds what a match is replaced by.
unsafe fn add_replacement(
    l: *mut lua_State,
    result: &mut Buffer,
    matcher: &Matcher<'_>,
    subject: &[u8],
    at: (usize, usize),
    kind: c_int,
) {
    unsafe {
        match kind {
            ffi::LUA_TFUNCTION => {
                ffi::lua_pushvalue(l, 3);
                let arguments = push_captures(l, matcher, subject, at, true);
                ffi::lua_call(l, arguments, 1);
            }
            ffi::LUA_TTABLE => {
                push_capture(l, matcher, subject, 0, at);
                ffi::lua_gettable(l, 3);
            }
            _ => return add_template(l, result, matcher, subject, at),
        }
        if ffi::lua_toboolean(l, -1) == 0 {
            result.add(l, &subject[at.0..at.1]);
        } else if ffi::lua_isstring(l, -1) == 0 {
            let name = ffi::lua_typename(l, ffi::lua_type(l, -1));
            ffi::luaL_where(l, 1);
            ffi::lua_pushstring(l, c"invalid replacement value (a ".as_ptr());
            ffi::lua_pushstring(l, name);
            ffi::lua_pushstring(l, c")".as_ptr());
            ffi::lua_concat(l, 4);
            ffi::lua_error(l);
        } else {
            // The text stays on the stack until it is copied.
            let text = text_at(l, -1);
            result.add(l, text);
        }
        ffi::lua_pop(l, 1);
    }
}

/// Adds a replacement text, with `%0` to `%9` replaced by captures.
unsafe fn add_template(
    l: *mut lua_State,
    result: &mut Buffer,
    matcher: &Matcher<'_>,
    subject: &[u8],
    at: (usize, usize),
) {
    unsafe {
        let template = text_at(l, 3);
        let mut rest = template;
        while let Some(escape) = memchr::memchr(b'%', rest) {
            result.add(l, &rest[..escape]);
            // What is behind the end of a text counts as a zero byte, which is no digit.
            match rest.get(escape + 1) {
                Some(b'%') => result.add(l, b"%"),
                Some(b'0') => result.add(l, &subject[at.0..at.1]),
                Some(digit @ b'1'..=b'9') => {
                    push_capture(l, matcher, subject, usize::from(digit - b'1'), at);
                    result.add(l, text_at(l, -1));
                    ffi::lua_pop(l, 1);
                }
                _ => raise(l, c"invalid use of '%' in replacement string"),
            }
            rest = &rest[escape + 2..];
        }
        result.add(l, rest);
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::c_void;

    use super::super::host::{Stop, allocate};
    use super::*;

    /// Compares every function with the native one of the same name, on random patterns, subjects and replacements.
    const COMPARE: &str = r##"
local native, ours, rounds = ...
local state = 12345
local function random(n)
  state = (state * 6364136223846793005 + 1442695040888963407)
  return (state >> 33) % n + 1
end
local pieces = {
  "a", "b", "c", "1", " ", ".", "%a", "%d", "%s", "%w", "%A", "%p", "%x", "%z", "%g", "%c", "%u", "%l", "%.", "%%",
  "[ab]", "[^a]", "[a-c]", "[%d_]", "[]]", "[^]a]", "[a-]", "[%a-z]", "[a-%%]", "(", ")", "()", "(a", "(.-)", "(%a+)", "*", "+", "-",
  "?", "^", "$", "%1", "%2", "%0", "%b()", "%bab", "%b", "%f[a]", "%f[%a]", "%f[%z]", "%f", "%", "[", "]", "[^", "[a", "\0", "\xff",
  "(.)%1", ".*", ".-", "a*", "b+", "%s*", "[ab]-", "c?",
}
local characters = { "a", "b", "c", "a", "b", "1", " ", "(", ")", "\0", "\xff", "_", "%", "]", "A", "." }
local templates = { "", "x", "%0", "%1", "<%1%2>", "%%", "%", "%a", "%9", 5, "a%0b%1", true, {}, { a = "A", b = 1, ["1"] = false, c = {} } }
templates[#templates + 1] = function(...) return select("#", ...) end
templates[#templates + 1] = function(a) return a ~= "b" and a end
templates[#templates + 1] = function() return {} end
local function text(from, longest)
  local t = {}
  for i = 1, random(longest + 1) - 1 do t[i] = from[random(#from)] end
  return table.concat(t)
end
local function shown(...)
  local t = table.pack(...)
  for i = 1, t.n do t[i] = math.type(t[i]) == "integer" and "i" .. t[i] or type(t[i]) .. ":" .. tostring(t[i]) end
  return table.concat(t, "|")
end
local function all(find, s, p)
  local t = {}
  for a, b in find(s, p) do t[#t + 1] = tostring(a) .. "," .. tostring(b) end
  return table.concat(t, ";")
end
for round = 1, rounds do
  local s, p = text(characters, 14), text(pieces, 6)
  local first, template = random(20) - 8, templates[random(#templates)]
  local most = random(4) == 1 and random(4) - 1 or nil
  local function check(what, ...)
    local expected, found = shown(pcall(native[what], ...)), shown(pcall(ours[what], ...))
    if expected ~= found then
      error(("%s(%q, %q, %s): %q instead of %q"):format(what, s, p, shown(select(3, ...)), found, expected))
    end
  end
  check("find", s, p, first)
  check("find", s, p, first, true)
  check("match", s, p, first)
  check("gsub", s, p, template, most)
  local expected, found = shown(pcall(all, native.gmatch, s, p)), shown(pcall(all, ours.gmatch, s, p))
  if expected ~= found then error(("gmatch(%q, %q): %q instead of %q"):format(s, p, found, expected)) end
end
"##;

    /// Runs a chunk in a native interpreter, with the native library, ours, and a number; its error.
    fn run(chunk: &str, number: i64, budget: u64) -> (Option<String>, Option<Stop>) {
        let mut host = Box::new(Host::new(256 << 20).unwrap());
        let context: *mut Host = &mut *host;
        unsafe {
            let l = ffi::lua_newstate(allocate, context.cast::<c_void>());
            ffi::luaL_openlibs(l);
            // Error texts name a function by where they find it: only natively there.
            ffi::lua_pushnil(l);
            ffi::lua_setfield(l, ffi::LUA_REGISTRYINDEX, ffi::LUA_LOADED_TABLE);
            let loaded = ffi::luaL_loadbufferx(l, chunk.as_ptr().cast(), chunk.len(), c"=test".as_ptr(), c"t".as_ptr());
            assert_eq!(loaded, ffi::LUA_OK);
            ffi::lua_getglobal(l, c"string".as_ptr());
            ffi::lua_newtable(l);
            let ours: [(_, ffi::lua_CFunction); 4] =
                [(c"find", find), (c"match", match_), (c"gmatch", gmatch), (c"gsub", gsub)];
            for (name, function) in ours {
                ffi::lua_pushcfunction(l, function);
                ffi::lua_setfield(l, -2, name.as_ptr());
            }
            ffi::lua_pushinteger(l, number);
            host.begin(budget, 0);
            let status = ffi::lua_pcall(l, 3, 0, 0);
            host.end();
            let error = (status != ffi::LUA_OK).then(|| {
                let text = ffi::lua_tolstring(l, -1, std::ptr::null_mut());
                std::ffi::CStr::from_ptr(text).to_string_lossy().into_owned()
            });
            ffi::lua_close(l);
            (error, host.stop)
        }
    }

    #[test]
    fn every_result_and_error_is_that_of_lua() {
        assert_eq!(run(COMPARE, 100_000, u64::MAX), (None, None));
    }

    #[test]
    fn a_hostile_pattern_ends_within_its_budget() {
        for pattern in ["('a*'):rep(12)..'b'", "('a-'):rep(12)..'b'", "('a?'):rep(100)..('a'):rep(40)"] {
            let chunk = format!("local _, ours = ... return ours.find(('a'):rep(40), {pattern})");
            assert_eq!(run(&chunk, 0, 1_000_000).1, Some(Stop::Instructions), "{pattern}");
        }
        // What is linear takes little of it.
        let chunk = "local _, ours = ... return ours.gsub(('a b '):rep(10000), '%s+', '-')";
        assert_eq!(run(chunk, 0, 400_000), (None, None));
    }
}
