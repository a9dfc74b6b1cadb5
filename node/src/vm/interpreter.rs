//! One Lua interpreter that hosts one process: it runs the module's source, then `handle` once for each message.
//!
//! Everything here is over Lua's C interface. Whoever uses [`Interpreter`] needs no `unsafe`.

use std::collections::BTreeSet;
use std::ffi::{c_int, c_void};
use std::io;

use ao_protocol::message::{Env, Message};
use ao_protocol::module::Limits;
use ao_protocol::outcome::Outcome;
use ao_protocol::reference::Named;
use mlua::ffi::{self, lua_State};

use super::canonical::MAX_DEPTH;
use super::data::Files;
use super::host::{Beginning, HOOK_INTERVAL, Host, Stop, allocate, count, raise, seed_next};
use super::snapshot::{self, Form, RestoreError, SaveError, Waiting};
use super::{chunks, order, sandbox, values, view};

/// Values that reading a result needs on the stack: a few for each level.
const READING_STACK: c_int = 4 * MAX_DEPTH + 20;

/// A process's state and the program that changes it. Nothing in the state has a destructor: its memory goes with the
/// host's arena.
pub(super) struct Interpreter {
    l: *mut lua_State,
    /// Where the interpreter's callbacks find it; its place must not change.
    host: Box<Host>,
    env: Env,
    limits: Limits,
    /// The names of the library's globals.
    library: BTreeSet<Vec<u8>>,
    /// Why the module can't be run at all: the error of every message.
    broken: Option<String>,
    /// What hashes are seeded with.
    seed: u32,
    /// What it was right after the module ran.
    beginning: Beginning,
}

/// What a protected call is given by pointer.
struct Call<'a> {
    message: &'a Message,
    env: &'a Env,
    ended: &'a [Vec<u8>],
}

impl Interpreter {
    /// Opens the library and runs the module's source. When that fails, every message ends in the same error.
    pub(super) fn new(source: &str, env: Env, limits: Limits) -> io::Result<Interpreter> {
        let host = Box::new(Host::new(limits.memory_bytes)?);
        let (l, library, beginning) = (std::ptr::null_mut(), BTreeSet::new(), host.beginning());
        let mut interpreter = Interpreter { l, host, env, limits, library, broken: None, seed: 0, beginning };
        interpreter.boot(source, snapshot::FIRST_SEED);
        Ok(interpreter)
    }

    /// Makes a new interpreter on an empty heap, with this seed for its hashes.
    fn boot(&mut self, source: &str, seed: u32) {
        let context: *mut Host = &mut *self.host;
        seed_next(seed);
        (self.seed, self.broken) = (seed, None);
        self.l = unsafe { ffi::lua_newstate(allocate, context.cast::<c_void>()) };
        if self.l.is_null() {
            self.broken = Some(self.memory_text());
            return;
        }
        self.host.begin(u64::MAX, 0);
        let opened = unsafe {
            ffi::lua_atpanic(self.l, abort);
            ffi::lua_pushcfunction(self.l, sandbox::open);
            let status = ffi::lua_pcall(self.l, 0, 0, 0);
            self.finished(status)
        };
        if opened.is_ok() {
            self.library = unsafe { view::global_names(self.l) };
        }
        let run = opened.and_then(|()| self.protected(0, run_source, (&raw const source).cast()));
        self.broken = run.err().map(|error| format!("the module can't be run: {error}"));
        self.clear();
        self.beginning = self.host.beginning();
    }

    /// Makes it one that has run this module, which it ran before, and nothing else. Without another seed that takes a
    /// fraction of the time that running it takes.
    pub(super) fn begin_again(&mut self, source: &str, seed: u32) {
        // Whatever the interpreter points to is on its heap, and nobody else points to anything there.
        if seed == self.seed {
            unsafe { self.host.begin_again(&self.beginning) };
            self.host.limit_memory(self.limits.memory_bytes);
        } else {
            unsafe { self.host.clear() };
            self.host.limit_memory(self.limits.memory_bytes);
            self.boot(source, seed);
        }
    }

    /// Lets a process have it whose module this interpreter has run, before it evaluates anything. False if that
    /// process may use less than was allowed here: with it the module might not have run.
    pub(super) fn hand_over(&mut self, env: Env, limits: Limits) -> bool {
        let enough = limits.memory_bytes >= self.limits.memory_bytes && limits.instructions >= self.limits.instructions;
        if self.broken.is_some() || !enough {
            return false;
        }
        (self.env, self.limits) = (env, limits);
        self.host.limit_memory(limits.memory_bytes);
        true
    }

    /// Whether addresses in its heap are those of every other worker.
    pub(super) fn is_in_place(&self) -> bool {
        self.host.is_in_place()
    }

    /// Sets how much its heap may take of this machine; then the process ends.
    pub(super) fn grant(&mut self, bytes: u64) {
        self.host.grant(bytes);
    }

    /// What its heap took from the system so far, in bytes.
    pub(super) fn heap_bytes(&self) -> u64 {
        self.host.heap_bytes()
    }

    /// The files of data that it reads.
    pub(super) fn files(&mut self) -> &mut Files {
        &mut self.host.files
    }

    /// The data for lack of which the last evaluation was given up. What it returned is no outcome then.
    pub(super) fn missing(&self) -> Option<Named> {
        self.host.files.missing()
    }

    /// Lets the process read data from now on.
    pub(super) fn name(&mut self, named: &[Named]) {
        named.iter().for_each(|named| self.host.named.name(*named));
    }

    /// Evaluates one message. On an error the state is as the error left it: whoever needs the state before must
    /// have kept it. See [`Interpreter::missing`].
    pub(super) fn evaluate(&mut self, message: &Message) -> Outcome {
        self.name(&message.named);
        if let Some(error) = &self.broken {
            return Outcome::failed(error.clone());
        }
        let timestamp = i64::try_from(message.timestamp).unwrap_or(i64::MAX);
        let env = std::mem::take(&mut self.env);
        let ended = std::mem::take(&mut self.host.ended);
        let call = Call { message, env: &env, ended: &ended };
        let ran = self.protected(timestamp, call_handle, (&raw const call).cast());
        self.env = env;
        let mut outcome = match ran {
            Err(error) => Outcome::failed(error),
            Ok(_) if unsafe { ffi::lua_checkstack(self.l, READING_STACK) } == 0 => Outcome::failed(self.memory_text()),
            Ok(_) => unsafe { values::read_result(self.l) }.bounded(),
        };
        self.clear();
        outcome.gas_used = self.host.used();
        outcome
    }

    /// The process's variables as JSON, or one of them, or why they can't be shown.
    pub(super) fn view(&mut self, name: Option<&str>) -> Result<String, String> {
        if let Some(error) = &self.broken {
            return Err(error.clone());
        }
        if unsafe { ffi::lua_checkstack(self.l, READING_STACK) } == 0 {
            return Err(self.memory_text());
        }
        unsafe { view::view(self.l, &self.library, name) }
    }

    /// The state as bytes ([`snapshot`]). To be called in a copy that is given up then.
    pub(super) fn save(&mut self, waiting: Waiting) -> Result<Form, SaveError> {
        match self.broken {
            Some(_) => Err(SaveError::Broken),
            None => unsafe { snapshot::save(self.l, waiting, self.seed) },
        }
    }

    /// Takes on the state that bytes describe, in place of its own. The module is the one that it ran. On an error only
    /// [`Interpreter::begin_again`] is of use any more.
    pub(super) fn restore(&mut self, source: &str, bytes: &[u8]) -> Result<(), RestoreError> {
        self.begin_again(source, snapshot::seed_of(bytes)?);
        if self.broken.is_some() {
            return Err(RestoreError("the module did not run"));
        }
        unsafe { snapshot::restore(self.l, bytes)? };
        self.host.limit_memory(self.limits.memory_bytes);
        Ok(())
    }

    /// The state itself, for the self-test.
    pub(super) fn raw(&self) -> *mut lua_State {
        self.l
    }

    /// Calls `function` with a pointer and one result, within the limits.
    fn protected(
        &mut self,
        timestamp_ms: i64,
        function: ffi::lua_CFunction,
        argument: *const c_void,
    ) -> Result<(), String> {
        self.host.begin(self.limits.instructions, timestamp_ms);
        let status = unsafe {
            ffi::lua_sethook(self.l, Some(count), ffi::LUA_MASKCOUNT, HOOK_INTERVAL);
            ffi::lua_pushcfunction(self.l, function);
            ffi::lua_pushlightuserdata(self.l, argument.cast_mut());
            ffi::lua_pcall(self.l, 1, 1, 0)
        };
        let finished = self.finished(status);
        self.host.end();
        finished
    }

    fn finished(&self, status: c_int) -> Result<(), String> {
        match (self.host.stop, status) {
            (Some(Stop::Instructions), _) => {
                Err(format!("compute limit of {} instructions exceeded", self.limits.instructions))
            }
            (Some(Stop::Memory), _) => Err(self.memory_text()),
            (Some(Stop::Missing), _) => Err("data that is read is not here".into()),
            (None, ffi::LUA_OK) => Ok(()),
            (None, _) => match unsafe { ffi::lua_checkstack(self.l, READING_STACK) } {
                0 => Err(self.memory_text()),
                _ => Err(unsafe { values::error_text(self.l, -1) }),
            },
        }
    }

    fn memory_text(&self) -> String {
        format!("memory limit of {} bytes exceeded", self.limits.memory_bytes)
    }

    fn clear(&mut self) {
        unsafe { ffi::lua_settop(self.l, 0) };
    }
}

/// An error outside of a protected call: a fault of ours. The worker ends; no outcome is made.
unsafe extern "C-unwind" fn abort(_: *mut lua_State) -> c_int {
    std::process::abort()
}

unsafe extern "C-unwind" fn run_source(l: *mut lua_State) -> c_int {
    unsafe {
        let source = ffi::lua_touserdata(l, 1).cast::<&str>();
        if source.is_null() {
            raise(l, c"only the node calls this");
        }
        let source = *source;
        order::forget_walk(l);
        if ffi::luaL_loadbufferx(l, source.as_ptr().cast(), source.len(), c"=module".as_ptr(), c"t".as_ptr())
            != ffi::LUA_OK
        {
            ffi::lua_error(l);
        }
        chunks::keep_dump(l);
        ffi::lua_call(l, 0, 0);
        if ffi::lua_getglobal(l, c"handle".as_ptr()) != ffi::LUA_TFUNCTION {
            raise(l, c"it defines no function 'handle'");
        }
        0
    }
}

unsafe extern "C-unwind" fn call_handle(l: *mut lua_State) -> c_int {
    unsafe {
        let call = ffi::lua_touserdata(l, 1).cast::<Call<'_>>();
        if call.is_null() {
            raise(l, c"only the node calls this");
        }
        order::forget_walk(l);
        ffi::lua_getglobal(l, c"handle".as_ptr());
        values::push_message(l, (*call).message);
        values::push_env(l, (*call).env, (*call).ended);
        ffi::lua_call(l, 2, 1);
        1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { memory_bytes: 64 << 20, instructions: 20_000_000 };

    fn interpreter(source: &str) -> Interpreter {
        Interpreter::new(source, Env::default(), LIMITS).unwrap()
    }

    /// What a chunk returns, as JSON, or its error.
    fn run(code: &str) -> Result<String, String> {
        run_within(code, LIMITS)
    }

    fn run_within(code: &str, limits: Limits) -> Result<String, String> {
        let source = format!("function handle(msg) return {{ Output = (function(...)\n{code}\nend)(msg) }} end");
        let mut interpreter = Interpreter::new(&source, Env::default(), limits).unwrap();
        let outcome = interpreter.evaluate(&Message { timestamp: 1_700_000_000_123, ..Message::default() });
        match outcome.error {
            Some(error) => Err(error),
            None => Ok(outcome.output),
        }
    }

    fn assert_true(code: &str) {
        assert_eq!(run(code), Ok("true".to_string()), "{code}");
    }

    #[test]
    fn what_reaches_outside_is_absent() {
        for name in [
            "io.popen",
            "io.write",
            "io.tmpfile",
            "dofile",
            "loadfile",
            "string.dump",
            "os.execute",
            "os.getenv",
            "os.exit",
            "os.remove",
        ] {
            assert_true(&format!("return {name} == nil"));
        }
        for name in ["package.loadlib", "package.path", "package.searchers", "debug.getregistry", "debug.sethook"] {
            assert_true(&format!("return {name} == nil"));
        }
        assert_true("return collectgarbage('count') == 0 and collectgarbage() == 0");
        assert_true("return select(2, pcall(require, 'socket')):find('not found') ~= nil");
    }

    #[test]
    fn only_text_can_be_loaded() {
        let bytecode = r"'\27Lua\x53\0\x19\x93\r\n\x1a\n'";
        assert_true(&format!("local f, cause = load({bytecode}) return f == nil and cause:find('binary') ~= nil"));
        assert_true(&format!("return (load({bytecode}, 'x', 'b')) == nil"));
        assert_true(&format!(
            "local text = {bytecode} return (load(function() local t = text text = nil return t end)) == nil"
        ));
        assert_true("return load('return x', 'name', 't', { x = 5 })() == 5");
        assert_true("local n = 0 return load(function() n = n + 1 return ({'return ', '4', '2'})[n] end)() == 42");
        assert_true("return select(2, load('x = = 1', 'aos')) == '[string \"aos\"]:1: unexpected symbol near \\'=\\''");
        assert_true(
            "local t = {} for i = 1, 300 do t[i] = 'x' .. i .. '=' .. i .. '\\n' end local n = 0 load(function() n = n + 1 return t[n] end)() return x300 == 300",
        );
    }

    #[test]
    fn pairs_and_next_go_by_keys() {
        let table = "{ b = 1, a = 2, [3] = 3, [-1] = 4, [2.5] = 5, [true] = 6, [false] = 7, ['10'] = 8, [1] = 9 }";
        let order = "-1,1,2.5,3,10,a,b,false,true";
        assert_true(&format!(
            "local r = {{}} for k in pairs({table}) do r[#r + 1] = tostring(k) end return table.concat(r, ',') == '{order}'"
        ));
        assert_true(&format!(
            "local t, r, k = {table}, {{}}, nil repeat k = next(t, k) r[#r + 1] = k ~= nil and tostring(k) or nil until k == nil return table.concat(r, ',') == '{order}'"
        ));
        let texts = "{ ['a'] = 1, ['a\\0'] = 2, ['a\\0b'] = 3, ['abcdefgh'] = 4, ['abcdefghi'] = 5, ['abcdefgi'] = 6, [''] = 7, ['\\255'] = 8 }";
        assert_true(&format!(
            "local r = {{}} for _, v in pairs({texts}) do r[#r + 1] = v end return table.concat(r) == '71234568'"
        ));
        assert_true("return next({}) == nil and (next({ z = 1, y = 2 })) == 'y'");
    }

    #[test]
    fn tables_may_change_while_they_are_walked() {
        assert_true(
            "local t, n = {}, 0 for i = 1, 100 do t['k' .. i] = i end for k in pairs(t) do t[k] = nil n = n + 1 end return n == 100 and next(t) == nil",
        );
        assert_true(
            "local t = { a = 1, b = 2, c = 3 } local k = next(t) t.a = nil k = next(t, k) t.b = nil return k == 'b' and next(t, k) == 'c'",
        );
        assert_true(
            "local t, n = { a = 1, b = 2, c = 3 }, 0 for k in pairs(t) do n = n + 1 t.b = nil end return n == 2",
        );
        // The key need not be there, and a walk may start anywhere.
        assert_true("return next({ a = 1, c = 2 }, 'b') == 'c' and next({ a = 1 }, 'b') == nil");
    }

    #[test]
    fn objects_as_keys_come_last_in_an_order_of_their_own() {
        assert_true(
            "local o, r = {}, {} for k in pairs({ [o] = 1, z = 2, [true] = 3 }) do r[#r + 1] = k end return r[3] == o and #r == 3",
        );
        let all = "local t = {} for i = 1, 50 do t[{}] = i t[function() return i end] = -i end
             t[print], t[coroutine.create(print)], t.x = 'p', 'c', 'x'
             local by_pairs, by_next = {}, {}
             for k, v in pairs(t) do by_pairs[#by_pairs + 1] = tostring(v) end
             local k, v = next(t) while k ~= nil do by_next[#by_next + 1] = tostring(v) k, v = next(t, k) end
             assert(#by_pairs == 103 and by_pairs[1] == 'x')
             assert(table.concat(by_pairs, ' ') == table.concat(by_next, ' '))
             return table.concat(by_pairs, ' ')";
        // The same for both, though each has a heap somewhere else.
        let (one, other) = (interpreter("junk = 1"), run(all));
        assert!(other.is_ok() && run(all) == other, "{other:?}");
        drop(one);
    }

    #[test]
    fn pairs_asks_the_metatable() {
        assert_true(
            "local t = setmetatable({}, { __pairs = function() return function(_, k) if not k then return 1, 'x' end end, nil, nil end }) local n = 0 for k, v in pairs(t) do n = n + k end return n == 1",
        );
    }

    #[test]
    fn sort_is_stable_and_takes_any_comparator() {
        assert_true(
            "local t = {} for i = 1, 500 do t[i] = { key = i % 7, place = i } end
             table.sort(t, function(a, b) return a.key < b.key end)
             for i = 2, 500 do
               if t[i - 1].key > t[i].key then return 'order' end
               if t[i - 1].key == t[i].key and t[i - 1].place > t[i].place then return 'stability' end
             end
             return true",
        );
        assert_true("local t = { 3, 1.5, 2, -1 } table.sort(t) return table.concat(t, ' ') == '-1 1.5 2 3'");
        assert_true("local t = { 'b', 'a', 'C' } table.sort(t) return table.concat(t) == 'Cab'");
        assert_true("local t = { 1, 2, 3, 4 } table.sort(t, function() return true end) return #t == 4");
        assert!(run("table.sort({ 1, 'x' })").unwrap_err().contains("attempt to compare"));
        let kept =
            "local t = { 3, 2, 1 } pcall(table.sort, t, function() error('x') end) return table.concat(t) == '321'";
        assert_true(kept);
    }

    #[test]
    fn no_address_is_shown() {
        for value in ["{}", "print", "function() end", "coroutine.create(print)", "setmetatable({}, {})"] {
            assert_true(&format!("local v = {value} return tostring(v) == type(v)"));
            assert_true(&format!("local v = {value} return ('%s|%-9s|'):format(v, v):find('0x') == nil"));
        }
        assert_true("return tostring(setmetatable({}, { __tostring = function() return 'me' end })) == 'me'");
        assert_true("return tostring(setmetatable({}, { __name = 'Thing' })) == 'Thing'");
        assert_true("return tostring(0/0) == 'nan' and tostring(-(0/0)) == 'nan' and ('%g'):format(0/0) == 'nan'");
        assert_true("return ('%5.1f|%d|%%|%q|%s'):format(1.25, 3, 'a', 'b') == '  1.2|3|%|\"a\"|b'");
        assert_true(
            "return tostring(1e15) == '1e+15' and tostring(3) == '3' and tostring(2^53) == '9.007199254741e+15'",
        );
        let trace = run("return debug.traceback('here')").unwrap();
        assert!(trace.contains("here") && trace.contains("module:") && !trace.contains("0x"), "{trace}");
        let cause = run("error(setmetatable({}, {}))").unwrap_err();
        assert_eq!(cause, "[]");
    }

    #[test]
    fn functions_can_be_asked_about() {
        assert_true(
            "local i = debug.getinfo(function(a, b, ...) end) return i.nparams == 2 and i.isvararg and i.what == 'Lua'",
        );
        assert_true("return debug.getinfo(print).what == 'C' and debug.getinfo(print, 'S').currentline == nil");
        assert_true(
            "local function f() local i = debug.getinfo(1, 'nlf') return i end local i = f() return i.name == 'f' and i.func == f",
        );
        assert_true("local i = debug.getinfo(1, 'lS') return i.currentline > 0 and i.short_src == 'module'");
        assert_true(
            "local n = 0 while debug.getinfo(n) do local i = debug.getinfo(n) assert(i.what ~= 'C' or i.func == nil) n = n + 1 end return n > 2",
        );
        assert!(run("local function f(n) if n > 0 then return 1 + f(n - 1) end while true do debug.traceback() end end f(100000)").unwrap_err().contains("compute limit"));
        assert_true(
            "return debug.getinfo(1000) == nil and debug.getinfo(-1) == nil and not pcall(debug.getinfo, 1, '>f')",
        );
        assert_true(
            "local c = coroutine.create(function() local x x = coroutine.yield() end) coroutine.resume(c) return debug.getinfo(c, 1, 'l').currentline > 0",
        );
        assert_true("return not pcall(debug.getinfo, 1, 'X') and not pcall(debug.getinfo, print, ('S'):rep(99))");
    }

    #[test]
    fn time_is_the_messages() {
        assert_true("return os.time() == 1700000000123 and os.clock() == 0");
        assert_true("return os.date('!%Y-%m-%d %H:%M:%S') == '2023-11-14 22:13:20'");
        assert_true("return os.date('%a %A %b %j %p %I', 951782400) == 'Tue Tuesday Feb 060 AM 12'");
        assert_true("return os.time({ year = 2000, month = 2, day = 29, hour = 0 }) == 951782400");
        assert_true("return os.time(os.date('*t', 1234567890)) == 1234567890 and os.date('*t', -1).year == 1969");
        assert_true(
            "return os.time({ year = 2023, month = 14, day = 1, hour = 0 }) == os.time({ year = 2024, month = 2, day = 1, hour = 0 })",
        );
    }

    #[test]
    fn random_numbers_follow_from_the_seed() {
        assert_true("math.randomseed(5) local a = math.random(1000) math.randomseed(5) return a == math.random(1000)");
        assert_true(
            "for i = 1, 200 do local x = math.random(-3, 3) if x < -3 or x > 3 then return x end end return true",
        );
        assert_eq!(run("return math.random(1 << 60)"), run("return math.random(1 << 60)"));
        assert!(run("return math.random(0)").is_err());
    }

    #[test]
    fn bit32_is_there() {
        assert_true("return bit32.band(0xff, 0x0f) == 15 and bit32.bnot(0) == 0xffffffff and bit32.bxor(1, 3) == 2");
        assert_true(
            "return bit32.lshift(1, 31) == 0x80000000 and bit32.lshift(1, 32) == 0 and bit32.rshift(256, 4) == 16",
        );
        assert_true("return bit32.arshift(0x80000000, 4) == 0xf8000000 and bit32.lrotate(0x80000001, 1) == 3");
        assert_true("return bit32.extract(0xabcd, 4, 8) == 0xbc and bit32.replace(0, 5, 4, 4) == 0x50");
    }

    #[test]
    fn finalizers_are_refused_and_weak_tables_are_not_weak() {
        assert!(run("setmetatable({}, { __gc = function() end })").unwrap_err().contains("not supported"));
        // Nor when the field is added later.
        assert_true(
            "local meta = {} local weak = setmetatable({}, meta) meta.__mode = 'v' meta.__gc = function() ran = true end
             weak[1] = {} local other = setmetatable({ {} }, { __mode = 'kv' }) for i = 1, 200000 do local garbage = { i } end return weak[1] ~= nil and other[1] ~= nil and not ran",
        );
        assert_true(
            "local t = setmetatable({}, { __metatable = 'no' }) return not pcall(setmetatable, t, {}) and getmetatable(t) == 'no'",
        );
    }

    #[test]
    fn list_functions_work_as_in_lua() {
        assert_true(
            "local t = { 1, 2, 3 } table.insert(t, 2, 9) table.insert(t, 5) return table.concat(t, ',') == '1,9,2,3,5'",
        );
        assert_true(
            "local t = { 1, 2, 3 } return table.remove(t, 1) == 1 and table.remove(t) == 3 and #t == 1 and table.remove({}) == nil",
        );
        assert_true("return not pcall(table.insert, { 1 }, 5, 1) and not pcall(table.remove, { 1 }, 7)");
        assert_true("return table.concat(table.move({ 1, 2, 3 }, 2, 3, 1), ',') == '2,3,3'");
        assert_true(
            "return select('#', table.unpack({ 1, nil, 3 }, 1, 3)) == 3 and table.concat({ 1, 2, 3 }, '-', 2, 3) == '2-3'",
        );
        assert_true("return ('ab'):rep(3, '.') == 'ab.ab.ab' and ('x'):rep(0) == '' and ('x'):rep(-1) == ''");
    }

    #[test]
    fn coroutines_work_as_in_lua() {
        assert_true(
            "local co = coroutine.wrap(function(a) local b = coroutine.yield(a + 1) return b * 2 end) return co(1) == 2 and co(5) == 10",
        );
        assert_true(
            "local co = coroutine.create(function() error('x', 0) end) local ok, cause = coroutine.resume(co) return not ok and cause == 'x' and coroutine.status(co) == 'dead'",
        );
        assert_true(
            "local co = coroutine.create(function() return pcall(function() coroutine.yield(1) error('y', 0) end) end) coroutine.resume(co) local _, ok, cause = coroutine.resume(co) return not ok and cause == 'y'",
        );
        assert_true(
            "local co = coroutine.create(function() return xpcall(function() return coroutine.yield(1) + 1 end, print) end) coroutine.resume(co) local _, ok, value = coroutine.resume(co, 4) return ok and value == 5",
        );
    }

    #[test]
    fn errors_are_caught_as_in_lua() {
        assert_true("local ok, cause = pcall(error, { code = 7 }) return not ok and cause.code == 7");
        assert_true(
            "local ok, text = xpcall(function() error('x', 0) end, function(cause) return cause .. '!' end) return not ok and text == 'x!'",
        );
        assert_true(
            "local function f() local a, b, c, d, e, g, h return f() + 1 end local ok, cause = pcall(f) return not ok and cause:find('stack overflow') ~= nil",
        );
        assert_true(
            "local s = ('a'):rep(300) local ok = pcall(string.gsub, s, '.', function() local function deep(n) return ('x'):gsub('x', function() return deep(n + 1) end) end return deep(1) end) return not ok",
        );
    }

    #[test]
    fn an_endless_loop_ends_wherever_it_is() {
        for code in [
            "while true do end",
            "pcall(function() while true do end end) return 'went on'",
            "while true do pcall(function() while true do end end) end",
            "xpcall(function() while true do end end, function() while true do end end) return 'went on'",
            "coroutine.wrap(function() while true do end end)()",
            "coroutine.resume(coroutine.create(function() while true do end end)) return 'went on'",
            "while true do coroutine.wrap(function() end)() end",
            "load(function() while true do end end) return 'went on'",
            "while true do local co = coroutine.wrap(function() pcall(coroutine.yield) end) co() co() end",
            "return ('').rep('', 1 << 62) .. 'went on' .. table.concat(setmetatable({}, { __index = function() return '' end }), '', 1, 1 << 60)",
            "table.move({}, 1, 1 << 60, 2)",
            "table.insert(setmetatable({}, { __len = function() return 1 << 60 end }), 1, 1)",
            "table.sort(setmetatable({}, { __len = function() return (1 << 31) - 1 end }))",
            "local t = {} for i = 1, 1000 do t[i] = i end while true do for _ in pairs(t) do break end end",
            "while true do local s = ('x'):rep(1 << 20) end",
            "local s = ('x'):rep(1 << 20) while true do s:find('y', 1, true) end",
            "return ('x'):gsub('x', function() while true do end end)",
            "table.sort({ 1, 2, 3 }, function() while true do end end)",
            "return tostring(setmetatable({}, { __tostring = function() while true do end end }))",
        ] {
            assert_eq!(run(code), Err("compute limit of 20000000 instructions exceeded".to_string()), "{code}");
        }
    }

    #[test]
    fn memory_is_bounded_and_the_error_can_not_be_caught() {
        for code in [
            "local t = {} while true do t[#t + 1] = ('x'):rep(1000) end",
            "pcall(function() local s = 'x' while true do s = s .. s end end) return 'went on'",
            "pcall(string.rep, ('x'):rep(1000), 1 << 20) return 'went on'",
            "coroutine.resume(coroutine.create(function() return ('x'):rep(1000):rep(1 << 20) end)) return 'went on'",
            "load('return \"' .. ('x'):rep(17 << 20) .. '\"') return 'went on'",
            "local t = {} for i = 1, 5e6 do t[i] = i end return 'went on'",
        ] {
            let patient = Limits { instructions: 200_000_000, ..LIMITS };
            let expected = Err("memory limit of 67108864 bytes exceeded".to_string());
            assert_eq!(run_within(code, patient), expected, "{code}");
        }
        // What was garbage does not count.
        assert_true("for i = 1, 12 do local s = ('x'):rep(1000):rep(8000) end return true");
    }

    #[test]
    fn a_limit_holds_for_one_message() {
        let mut interpreter = interpreter(
            "function handle(msg) if msg.Data == 'loop' then while true do end end return { Output = 'fine' } end",
        );
        let message = |data: &str| Message { data: Some(data.into()), ..Message::default() };
        assert!(interpreter.evaluate(&message("loop")).error.is_some());
        let outcome = interpreter.evaluate(&message("rest"));
        assert_eq!((outcome.error, outcome.output.as_str()), (None, "\"fine\""));
        assert!(outcome.gas_used > 0 && outcome.gas_used < 100_000, "{}", outcome.gas_used);
    }

    #[test]
    fn a_module_that_can_not_run_gives_every_message_the_same_error() {
        for (source, expected) in [
            ("x = = 1", "unexpected symbol"),
            ("error('no')", "no"),
            ("x = 1", "defines no function 'handle'"),
            ("while true do end", "compute limit"),
            ("\u{1b}Lua", "binary"),
        ] {
            let mut interpreter = interpreter(source);
            let error = interpreter.evaluate(&Message::default()).error.unwrap();
            assert!(error.starts_with("the module can't be run: ") && error.contains(expected), "{error}");
            assert_eq!(interpreter.evaluate(&Message::default()).error, Some(error));
        }
    }

    #[test]
    fn results_are_canonical() {
        assert_eq!(
            run("return { b = { 1, 2.5, 1e300, 3.0 }, a = {}, [\"c\\n\"] = false, d = { e = 'ü\\255' } }"),
            Ok("{\"a\":[],\"b\":[1,2.5,1e+300,3],\"c\\n\":false,\"d\":{\"e\":\"ü\u{fffd}\"}}".to_string())
        );
        assert_eq!(run("return print"), Err("Output: a function can't be part of a result".into()));
        assert_eq!(
            run("return { { 1, x = 2 } }"),
            Err("Output[1]: the keys of a table must be 1 to n or all strings".into())
        );
        assert_eq!(run("return { a = 0/0 }"), Err("Output.a: NaN can't be part of a result".into()));
        assert!(run("local t = {} t.t = t return t").unwrap_err().contains("nested more than 64 deep"));
        // Shared tables that would expand to 2^40 leaves.
        assert!(run("local t = { 1 } for _ = 1, 40 do t = { t, t } end return t").unwrap_err().contains("larger than"));
    }

    #[test]
    fn the_outbox_is_read_with_its_bytes() {
        let mut interpreter = interpreter(
            "function handle(msg, env) return {
               Messages = {
                 { Target = 'T', Data = msg.Data, Tags = { { name = 'n', value = 'v' } } }, { Data = { 1 } } },
               Spawns = { { Data = 5 } }, Other = print,
               Assignments = { { Message = 'm', Processes = { env.Process.Id } } },
             } end",
        );
        let bytes: Vec<u8> = (0..=255).collect();
        let outcome = interpreter.evaluate(&Message { data: Some(bytes.clone()), ..Message::default() });
        assert_eq!(outcome.error, None);
        assert_eq!(outcome.messages[0].data, Some(bytes));
        assert_eq!(outcome.messages[0].fields, "{\"Tags\":[{\"name\":\"n\",\"value\":\"v\"}],\"Target\":\"T\"}");
        assert_eq!(
            (outcome.messages[1].fields.as_str(), outcome.messages[1].data.as_deref()),
            ("{}", Some(&b"[1]"[..]))
        );
        assert_eq!(outcome.spawns[0].data.as_deref(), Some(&b"5"[..]));
        assert_eq!(outcome.assignments[0].fields, "{\"Message\":\"m\",\"Processes\":[\"\"]}");
        assert_eq!(outcome.output, "\"\"");
    }

    #[test]
    fn what_a_module_calls_an_error_is_one() {
        let with = |result: &str| {
            interpreter(&format!("function handle() return {result} end")).evaluate(&Message::default()).error
        };
        assert_eq!(with("{ Error = 'text' }"), Some("text".into()));
        assert_eq!(with("{ Error = { code = 1 } }"), Some("{\"code\":1}".into()));
        assert_eq!(with("{ Error = false }"), None);
        assert_eq!(with("5"), Some("handle returned a number; a table is expected".into()));
        assert_eq!(with("{ Messages = 5 }"), Some("Messages is not a list".into()));
        assert_eq!(with("{ Messages = { 5 } }"), Some("Messages[1] is a number; a table is expected".into()));
        let many = "{ Messages = (function() local t = {} for i = 1, 1001 do t[i] = {} end return t end)() }";
        assert!(with(many).unwrap().contains("at most 1000"));
    }

    #[test]
    fn the_message_is_as_the_protocol_has_it() {
        let code = "local keys = {} for key, value in pairs((...)) do keys[#keys + 1] = key .. ':' .. math.type(value or 0.5) end return keys";
        let code = code.replace("math.type(value or 0.5)", "(math.type(value) or type(value))");
        assert_eq!(
            run(&code),
            Ok("[\"Block-Height:integer\",\"Cron:boolean\",\"From:string\",\"Owner:string\",\"Read-Only:boolean\",\
                \"Tags:table\",\"Target:string\",\"Timestamp:integer\"]"
                .into())
        );
    }
}
