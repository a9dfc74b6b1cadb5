//! A process's state as bytes: equal states give equal bytes, on every machine, and a state can be made from them
//! again.
//!
//! The bytes, version [`VERSION`] (numbers are LEB128 unless said otherwise, signed ones zigzag; a text is its length
//! and its bytes):
//!
//! ```text
//! magic, version
//! 4 bytes                          what hashes are seeded with from here on, little-endian: `crowding`
//! 4 × 8 bytes                      the state of math.random, little-endian
//! ended: number, each a text       where coroutines waited that were ended, for the next message to be told
//! named: number, each 32 bytes id, size, seal    data that may be read, in the order in which it was named; a seal is
//!                                  0 and a merkle root of 32 bytes, or 1 and a SHA-384
//! chunks: number, each name, text  what `load` compiled, as far as functions of it are left, in order of first use
//! records, up to END               objects, numbered from 0 in the order of their records
//!   TABLE     metatable (0, or its object + 1), values of 1 to n: number, each a value;
//!             other fields: number, key, value
//!   FUNCTION  chunk (0 the library's prelude, 1 the module, then those above), number of its prototype in preorder,
//!             upvalues: each a number; where it is the next new one, its value follows
//!   HOST      name                 a function of the library
//!   ITERATOR  kind, values         what `pairs`, `gmatch` and `coroutine.wrap` give
//!   COROUTINE 0 ended · 1 and a value: not started yet, the function · 2 the main one
//!   FIELDS    table, number, key, value    fields of an earlier table whose keys are objects: no object of its own
//! ```
//!
//! A value is a tag and what it needs: nil, booleans, integers, floats (8 bytes, one kind of not-a-number), texts,
//! objects by number. Texts above [`LONG_TEXT`] bytes exist once: written at their first use, named by number after.
//!
//! Objects are numbered breadth first: 0 is the table of globals, 1 the metatable of strings, then what is first
//! reached over fields in the order of keys. Objects as keys have no order of their own: those that are reached
//! otherwise go by their number, the others by a fingerprint of what they hold. Two that can't be told apart by that
//! are interchangeable unless what lies farther than the fingerprint looks differs: such states may have more than one
//! form.
//!
//! Functions are stored as the place of their source, so what is read is compiled from text and checked; no bytecode is
//! ever taken. A coroutine that waits has no form: [`SaveError::Suspended`], unless it is to be ended ([`Waiting`]).

mod crowding;
mod numbering;
mod reader;
mod restore;
mod save;
mod sources;
mod tables;

pub(super) use crowding::FIRST_SEED;
pub(super) use reader::Reader;
pub(super) use restore::{RestoreError, restore, seed_of};
pub(super) use save::{Form, SaveError, Waiting, save};

/// What snapshots begin with.
const MAGIC: &[u8] = b"ao lua-5.3-ao1 state";
/// The version of the format.
const VERSION: u8 = 2;
/// Most ended coroutines whose places a state names.
const MAX_ENDED: usize = 32;
/// Texts above this many bytes are values with an identity in memory: they are kept once.
const LONG_TEXT: usize = 40;

/// Kinds of records.
mod record {
    pub(super) const END: u8 = 0;
    pub(super) const TABLE: u8 = 1;
    pub(super) const FUNCTION: u8 = 2;
    pub(super) const HOST: u8 = 3;
    pub(super) const ITERATOR: u8 = 4;
    pub(super) const COROUTINE: u8 = 5;
    pub(super) const FIELDS: u8 = 6;
}

/// States of a coroutine.
mod coroutine {
    pub(super) const ENDED: u8 = 0;
    pub(super) const NOT_STARTED: u8 = 1;
    pub(super) const MAIN: u8 = 2;
}

/// Kinds of values.
mod value {
    pub(super) const NIL: u8 = 0;
    pub(super) const FALSE: u8 = 1;
    pub(super) const TRUE: u8 = 2;
    pub(super) const INTEGER: u8 = 3;
    pub(super) const FLOAT: u8 = 4;
    pub(super) const TEXT: u8 = 5;
    pub(super) const NEW_LONG_TEXT: u8 = 6;
    pub(super) const LONG_TEXT: u8 = 7;
    pub(super) const OBJECT: u8 = 8;
}

/// Closures that host functions make: their kinds in snapshots, what runs them, and how many values they hold.
const ITERATORS: [(u8, mlua::ffi::lua_CFunction, i32); 3] =
    [(0, super::order::step, 2), (1, super::search::next_match, 4), (2, super::protected::wrapped, 1)];

/// Appends a number.
pub(super) fn push_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Appends a length and bytes.
fn push_text(out: &mut Vec<u8>, text: &[u8]) {
    push_number(out, text.len() as u64);
    out.extend(text);
}

#[cfg(test)]
mod tests {
    use ao_protocol::message::{Env, Message};
    use ao_protocol::module::Limits;

    use super::super::interpreter::Interpreter;
    use super::*;

    const LIMITS: Limits = Limits { memory_bytes: 64 << 20, instructions: 50_000_000 };
    /// Runs what it is sent; functions of its own to be kept and found again.
    const MODULE: &str = r#"
local count = 0
function counter() local n = 0 return function() n = n + 1 count = count + 1 return n, count end end
function twice(f) return function(...) return f(f(...)) end end
function handle(msg, env) ended = env.Ended return { Output = assert(load(msg.Data, "line"))() } end
"#;

    impl Form {
        fn bytes(self) -> Vec<u8> {
            [self.head, self.records].concat()
        }
    }

    fn fresh() -> Interpreter {
        Interpreter::new(MODULE, Env::default(), LIMITS).unwrap()
    }

    fn run(interpreter: &mut Interpreter, line: &str) -> String {
        let message =
            Message { data: Some(line.as_bytes().to_vec()), timestamp: 1_700_000_000_000, ..Message::default() };
        let outcome = interpreter.evaluate(&message);
        outcome.error.map_or(outcome.output, |error| format!("error: {error}"))
    }

    fn after(lines: &[&str]) -> Interpreter {
        let mut interpreter = fresh();
        for line in lines {
            let said = run(&mut interpreter, line);
            assert!(!said.starts_with("error"), "{line}: {said}");
        }
        interpreter
    }

    fn restored(bytes: &[u8]) -> Interpreter {
        let mut interpreter = fresh();
        interpreter.restore(MODULE, bytes).unwrap();
        interpreter
    }

    /// Saves the state after some lines, restores it, and asks both for the same; then saves it again.
    fn same(lines: &[&str], questions: &[&str]) {
        let bytes = after(lines).save(Waiting::Refused).unwrap().bytes();
        let (mut before, mut copy) = (after(lines), restored(&bytes));
        for question in questions {
            assert_eq!(run(&mut copy, question), run(&mut before, question), "{lines:?}: {question}");
        }
        assert!(
            restored(&bytes).save(Waiting::Refused).unwrap().bytes() == bytes,
            "{lines:?}: another form after being restored"
        );
    }

    #[test]
    fn values_come_back() {
        same(
            &[
                "a = { 1, 2, 3, nil, 5, x = 'y', [-1] = 0, [1.5] = 2, [true] = false, [false] = 1, big = math.maxinteger, \
               small = math.mininteger, pi = 3.25, inf = 1/0, nan = 0/0, long = ('ab'):rep(50), zero = -0.0, e = '' }",
            ],
            &[
                "local t = {} for k, v in pairs(a) do t[#t + 1] = tostring(k) .. '=' .. tostring(v) end \
               return table.concat(t, ',')",
                "return #a.long, math.type(a[1]), 1 / a.zero",
            ],
        );
        same(
            &["t = {} t.self = t t[t] = t u = setmetatable({}, { __index = t }) t.x = 5"],
            &["return u.x .. tostring(u.self == t) .. tostring(t[t] == t)"],
        );
        same(&["math.randomseed(7) math.random()"], &["return math.random(1000000)", "return math.random()"]);
        same(
            &[
                "string.shout = function(s) return s:upper() .. '!' end getmetatable('').__call = function(s) return 'called ' .. s end",
            ],
            &["return ('a'):shout() .. ('b')()"],
        );
        same(
            &["print = nil string.rep = nil pairs, next = next, pairs _G.x = _G"],
            &["return tostring(print) .. tostring(x == _G) .. tostring(string.rep)"],
        );
    }

    #[test]
    fn functions_keep_their_code_their_upvalues_and_what_they_share() {
        same(
            &["a, b = counter(), counter() a() a() b()"],
            &["return table.concat({ a() }, ',')", "return table.concat({ b() }, ',')"],
        );
        same(
            &[
                "do local n = 1 function get() return n end function set(v) n = v end end set(41)",
                "local up = get function more() return up() + 1 end",
            ],
            &["set(9) return get() .. ' ' .. more()"],
        );
        // Several functions in one line, equal ones among them, and one line sent twice.
        same(
            &[
                "f, g, h = function() return 1 end, function() return 2 end, function() return 1 end",
                "f2 = function() return 1 end",
                "k = function(x) return x end",
                "m = function(x) return x end",
            ],
            &["return f() .. g() .. h() .. f2() .. k(3) .. m(4)"],
        );
        same(
            &[
                "recursive = function(n) return n == 0 and 'end' or recursive(n - 1) end",
                "double = twice(function(x) return x * 2 end)",
            ],
            &["return recursive(50) .. double(3)"],
        );
        same(
            &[
                "meta = setmetatable({}, { __add = function(a, b) return 'sum' end, __tostring = function() return 'me' end })",
            ],
            &["return meta + 1", "return tostring(meta)"],
        );
        // An error says where, as before.
        same(
            &["function fail() error('no') end\n\nfunction deep() local x = nil; return x.y end"],
            &["fail()", "return deep()", "return debug.traceback('t')"],
        );
        let names: Vec<String> = (1..=200).map(|n| format!("u{n}")).collect();
        let many = format!(
            "local {} = 1, 2, 3 u200 = 7 function sum() return ({} or 0) end",
            names.join(","),
            names.join(" or ")
        );
        same(&[&many], &["return sum()"]);
    }

    #[test]
    fn iterators_and_coroutines_come_back() {
        same(&["it = ('a1b2c3'):gmatch('%a%d') it()"], &["return it() .. it()", "return tostring(it())"]);
        same(&["n, t, k = pairs({ a = 1, b = 2, c = 3 }) k = n(t, k)"], &["local k2, v = n(t, k) return k2 .. v"]);
        same(
            &["i, l, z = ipairs({ 5, 6 }) c, s = utf8.codes('aé')"],
            &["return ({ i(l, 1) })[2] .. ',' .. ({ c(s, 0) })[2]"],
        );
        same(
            &[
                "co = coroutine.create(function(x) local y = coroutine.yield(x) return y end)",
                "w = coroutine.wrap(function() return 'wrapped' end)",
                "dead = coroutine.create(print) coroutine.resume(dead)",
                "bad = coroutine.create(error) coroutine.resume(bad, 'x')",
                "main = coroutine.running()",
            ],
            &[
                "return coroutine.status(co) .. coroutine.status(dead) .. coroutine.status(bad)",
                "return select(2, coroutine.resume(co, 4)) .. w()",
                "return tostring(main == coroutine.running())",
                "return select(2, coroutine.resume(dead))",
            ],
        );
        let mut waiting = after(&["co = coroutine.create(coroutine.yield) coroutine.resume(co)"]);
        assert_eq!(waiting.save(Waiting::Refused), Err(SaveError::Suspended));
        // Unless it is ended, which the next message is told, also when the state is saved once more before it.
        let lines = ["co = coroutine.create(function()\nx = coroutine.yield() end) coroutine.resume(co)"];
        let bytes = after(&lines).save(Waiting::Ended).unwrap().bytes();
        let mut copy = restored(&bytes);
        assert!(copy.save(Waiting::Refused).unwrap().bytes() == bytes);
        assert!(run(&mut restored(&bytes), "error('x')").starts_with("error"));
        let said = run(&mut copy, "return coroutine.status(co) .. table.concat(ended)");
        assert!(said.contains("dead[string") && said.contains(":2"), "{said}");
        assert!(run(&mut copy, "return tostring(ended)").contains("nil"));
        // One that nobody can reach does not matter.
        after(&["coroutine.resume(coroutine.create(coroutine.yield))"]).save(Waiting::Refused).unwrap().bytes();
    }

    #[test]
    fn objects_as_keys_have_one_form() {
        let ways = [
            "A, B, C = { n = 1 }, { n = 2 }, { n = 3 } set = { [C] = 1, [A] = 2, [B] = 3 }",
            "C, B = { n = 3 }, { n = 2 } set = {} set[B] = 3 A = { n = 1 } set[A] = 2 set[C] = 1",
        ];
        let forms: Vec<Vec<u8>> =
            ways.iter().map(|way| after(&[way]).save(Waiting::Refused).unwrap().bytes()).collect();
        assert!(forms[0] == forms[1]);
        // Known by nothing but what they hold.
        let ways = [
            "set = { [{ n = 1 }] = 'a', [{ n = 2 }] = 'b', [print] = 'c', [{ { n = 3 } }] = 'd' }",
            "set = {} local f, one = { { n = 3 } }, { n = 1 } set[f] = 'd' set[print] = 'c' set[{ n = 2 }] = 'b' set[one] = 'a'",
        ];
        let forms: Vec<Vec<u8>> =
            ways.iter().map(|way| after(&[way]).save(Waiting::Refused).unwrap().bytes()).collect();
        assert!(forms[0] == forms[1]);
        same(&ways[..1], &["local n = 0 local k = {} return set[print]"]);
    }

    /// Adds keys that all fall into one place of a table while its hashes have the first seed.
    const CROWD: &str = r#"
local function hash(text)
  local h = 42 ~ #text
  for at = #text, 1, -1 do h = (h ~ ((h << 5) + (h >> 2) + text:byte(at))) & 0xffffffff end
  return h
end
crowd = {}
local n, count = 0, 0
while count < 60 do
  n = n + 1
  if hash("k" .. n) & 63 == 7 then crowd["k" .. n] = n count = count + 1 end
end"#;

    #[test]
    fn a_crowded_state_is_gone_on_with_another_seed() {
        let bytes = after(&[CROWD]).save(Waiting::Refused).unwrap().bytes();
        let seed = seed_of(&bytes).unwrap();
        assert_ne!(seed, FIRST_SEED);
        assert_eq!(seed_of(&after(&["x = 1"]).save(Waiting::Refused).unwrap().bytes()), Ok(FIRST_SEED));
        // That is the end of it, and the state is what it was.
        same(&[CROWD], &["local n = 0 for k, v in pairs(crowd) do n = n + v end return n"]);
        let mut copy = restored(&bytes);
        run(&mut copy, "x = 1");
        assert_eq!(seed_of(&copy.save(Waiting::Refused).unwrap().bytes()), Ok(seed));
    }

    #[test]
    fn what_is_garbage_leaves_no_trace() {
        let quiet = after(&["x = 1"]).save(Waiting::Refused).unwrap().bytes();
        let busy = after(&["local junk = {} for i = 1, 1000 do junk[i] = { i } end", "x = 0", "x = 1"])
            .save(Waiting::Refused)
            .unwrap()
            .bytes();
        assert!(quiet == busy);
        // A chunk is kept as long as a function of it is.
        let with = after(&["function f() return 'a text that is in it' end"]).save(Waiting::Refused).unwrap().bytes();
        let without = after(&["function f() return 'a text that is in it' end", "f = nil"])
            .save(Waiting::Refused)
            .unwrap()
            .bytes();
        let has = |bytes: &[u8]| bytes.windows(9).any(|window| window == b"a text th");
        assert!(has(&with) && !has(&without));
    }

    #[test]
    fn a_restored_state_computes_on_as_the_original_restored_does() {
        let lines =
            ["t = {} for i = 1, 300 do t[i % 37 .. 'k'] = { i, tostring(i) } end t[5] = 1 t[7] = 2", "c = counter()"];
        let bytes = after(&lines).save(Waiting::Refused).unwrap().bytes();
        let (mut one, mut other) = (restored(&bytes), restored(&bytes));
        for line in [
            "for i = 1, 50 do t[i] = i end return #t",
            "local n = 0 for k in pairs(t) do n = n + 1 end return n",
            "t['3k'] = nil return c()",
        ] {
            assert_eq!(run(&mut one, line), run(&mut other, line));
        }
        assert!(one.save(Waiting::Refused).unwrap().bytes() == other.save(Waiting::Refused).unwrap().bytes());
    }

    #[test]
    fn damaged_bytes_are_refused_and_harm_nothing() {
        let lines = [
            "a = { 1, 'x', { y = ('long'):rep(20) } } f = counter() g = ('ab'):gmatch('.') co = coroutine.create(f)",
            "s = { [{}] = 1, [{ 1 }] = 2 }",
        ];
        let bytes = after(&lines).save(Waiting::Refused).unwrap().bytes();
        let mut state = 99u64;
        let mut random = |below: usize| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 33) as usize % below
        };
        let mut refused = 0;
        for _ in 0..1500 {
            let mut damaged = bytes.clone();
            match random(4) {
                0 => damaged.truncate(random(bytes.len())),
                1 => damaged.push(random(256) as u8),
                _ => {
                    for _ in 0..=random(3) {
                        damaged[random(bytes.len())] = random(256) as u8;
                    }
                }
            }
            let mut interpreter = fresh();
            match interpreter.restore(MODULE, &damaged) {
                Err(_) => refused += 1,
                // Another state than it was, but a state: it can be used and saved.
                Ok(()) => {
                    run(&mut interpreter, "local n = 0 for k, v in pairs(_G) do n = n + 1 end return n");
                    let _ = interpreter.save(Waiting::Refused);
                }
            }
        }
        assert!(refused > 700, "{refused}");
        assert!(fresh().restore(MODULE, b"").is_err());
    }
}
