//! Programs that mean harm: each ends as a clear error within its limits, the same one with the same charge each time,
//! leaves the process as it was, and takes no more processor time than its budget is worth.

// Clippy takes only the test functions themselves for tests, not what they call.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::{Duration, Instant};

use ao_node::vm::{Env, Launcher, Limits, Message, Outcome, Program, VmError, Worker};
use futures::StreamExt;

/// A tenth of our runtime's limit, and half of a tenth of the time that an evaluation is given before its process is
/// stalled: who fills a budget with the slowest of these programs ends in an error, also on a slow machine.
const INSTRUCTIONS: u64 = 100_000_000;
const PROCESSOR_TIME: Duration = Duration::from_secs(30);
const MEMORY: u64 = 64 << 20;

const BUDGET: &str = "compute limit of 100000000 instructions exceeded";
const MEMORY_TEXT: &str = "memory limit of 67108864 bytes exceeded";
const EITHER: &str = "exceeded";

/// Runs what it is sent; `Send` puts an entry into the outbox.
const MODULE: &str = r#"
state = { n = 0 }
local outbox
function Send(entry) outbox[#outbox + 1] = entry end
function handle(msg)
  outbox = {}
  state.n = state.n + 1
  local output = assert(load(msg.Data, "hostile"))()
  return { Output = output, Messages = outbox }
end
"#;

/// What it is, what it does, and what its error says.
const PROGRAMS: &[(&str, &str, &str)] = &[
    ("an endless loop", "while true do end", BUDGET),
    ("a loop that never ends by its count", "for i = 1, math.huge do end", BUDGET),
    ("goto", "::again:: goto again", BUDGET),
    ("a loop in a coroutine", "coroutine.wrap(function() while true do end end)()", BUDGET),
    ("a loop of coroutines", "while true do coroutine.wrap(function() end)() end", BUDGET),
    (
        "coroutines that yield",
        "local c = coroutine.wrap(function() while true do coroutine.yield() end end) while true do c() end",
        BUDGET,
    ),
    ("coroutines in coroutines", "local function f() coroutine.wrap(f)() end while true do pcall(f) end", EITHER),
    ("a loop that pcall swallows", "while true do pcall(function() while true do end end) end", BUDGET),
    ("a loop in a handler of errors", "xpcall(error, function() while true do end end)", BUDGET),
    ("handlers of errors that fail", "while true do xpcall(error, function(e) error(e) end) end", BUDGET),
    (
        "a loop that a coroutine swallows",
        "while true do coroutine.resume(coroutine.create(function() while true do end end)) end",
        BUDGET,
    ),
    (
        "errors in the depth",
        "local function f(n) if n == 0 then error('x') end return (f(n - 1)) end while true do pcall(f, 150000) end",
        EITHER,
    ),
    ("a pattern bomb", "return (('a'):rep(28):find(('a*'):rep(12) .. 'b'))", BUDGET),
    ("a pattern bomb with balances", "return (('('):rep(1 << 20):gsub('%b()', ''))", BUDGET),
    ("gsub of everything", "local s = ('x'):rep(1000000) while true do s:gsub('.', '%0') end", EITHER),
    ("gsub by a function", "local s = ('x'):rep(100000) while true do s:gsub('.', function() end) end", BUDGET),
    (
        "recursion through gsub",
        "local function f(s) return (s:gsub('.', f)) end while true do pcall(f, 'x') end",
        BUDGET,
    ),
    ("a text that doubles", "local s = 'x' while true do s = s .. s end", MEMORY_TEXT),
    ("rep without end", "return ('x'):rep(1 << 40)", "exceeded"),
    ("rep of nothing", "return ('x'):rep(1 << 40, ('y'):rep(1000))", "exceeded"),
    ("rep again and again", "while true do local s = ('x'):rep(1 << 20) end", BUDGET),
    ("a table that grows", "local t = {} while true do t[#t + 1] = {} end", MEMORY_TEXT),
    ("a table of holes", "local t = {} for i = 1, 62 do for j = 1, 1e5 do t[(1 << i) + j] = j end end", EITHER),
    (
        "a long list to concat",
        "local t = {} for i = 1, 1e6 do t[i] = 'x' end while true do table.concat(t, 'yyyy') end",
        EITHER,
    ),
    ("concat of what is not there", "while true do pcall(table.concat, {}, '', 1, 1 << 50) end", BUDGET),
    ("unpack of what is not there", "while true do pcall(table.unpack, {}, 1, 1e7) end", BUDGET),
    (
        "unpack of much",
        "local t = {} for i = 1, 200000 do t[i] = i end while true do pcall(select, '#', table.unpack(t)) end",
        BUDGET,
    ),
    (
        "select from much",
        "local function f(...) while true do local a = select(-1, ...) end end local t = {} for i = 1, 200000 do t[i] = i end f(table.unpack(t))",
        BUDGET,
    ),
    (
        "varargs to table",
        "local function f(...) while true do local t = { ... } end end local t = {} for i = 1, 100000 do t[i] = i end f(table.unpack(t))",
        BUDGET,
    ),
    ("table.move of nothing", "while true do table.move({}, 1, 1 << 40, 2) end", BUDGET),
    ("table.insert in front", "local t = {} while true do table.insert(t, 1, 1) end", BUDGET),
    ("sort with a comparator that loops", "table.sort({ 3, 2, 1 }, function() while true do end end)", BUDGET),
    (
        "sort again and again",
        "local t = {} for i = 1, 1e5 do t[i] = -i end while true do table.sort(t, function(a, b) return a < b end) table.sort(t, function(a, b) return a > b end) end",
        BUDGET,
    ),
    (
        "sort of long texts",
        "local t = {} for i = 1, 50 do t[i] = ('x'):rep(200000) .. i end while true do table.sort(t) end",
        BUDGET,
    ),
    ("numbers as text", "while true do local s = ('%99.99f'):format(1e308) end", BUDGET),
    ("texts as numbers", "local s = ('1'):rep(190) .. 'e100' while true do local n = tonumber(s) end", BUDGET),
    ("a long text as a number", "local s = ('1'):rep(1 << 20) while true do local n = tonumber(s) end", BUDGET),
    ("tostring", "while true do tostring(1e300) end", BUDGET),
    ("long texts turned over", "local s = ('x'):rep(1 << 20) while true do s:reverse() end", BUDGET),
    ("bytes of a long text", "local s = ('x'):rep(100000) while true do s:byte(1, -1) end", BUDGET),
    ("utf8 of a long text", "local s = ('x'):rep(1 << 20) while true do utf8.len(s) end", BUDGET),
    ("utf8 offsets", "local s = ('x'):rep(1 << 20) while true do utf8.offset(s, 1 << 19) end", BUDGET),
    (
        "next of a table that changes",
        "local t = {} for i = 1, 1e5 do t['k' .. i] = i end while true do local k = next(t) t[k] = nil t[k] = 1 end",
        BUDGET,
    ),
    (
        "pairs of a large table",
        "local t = {} for i = 1, 1e5 do t['k' .. i] = i end while true do for k in pairs(t) do break end end",
        BUDGET,
    ),
    ("length of a large table", "local t = {} for i = 1, 1e6 do t[i] = i end while true do local n = #t end", BUDGET),
    (
        "keys that collide",
        "local t = {} for i = 1, 1e6 do t[('x'):rep(30) .. i % 1000 .. ('y'):rep(30)] = i end while true do t[1] = 1 end",
        BUDGET,
    ),
    ("long texts as keys", "local t, s = {}, ('x'):rep(1 << 20) for i = 1, 1e9 do t[s .. i % 8] = i end", BUDGET),
    ("recursion", "local function f() return 1 + f() end f()", EITHER),
    ("recursion that is caught", "local function f() return 1 + f() end while true do pcall(f) end", EITHER),
    (
        "recursion through __index",
        "local t = {} setmetatable(t, { __index = function(t, k) return t[k + 1] end }) return t[1]",
        "C stack overflow",
    ),
    (
        "recursion through __tostring",
        "local t = setmetatable({}, { __tostring = function(t) return tostring(t) end }) while true do pcall(tostring, t) end",
        BUDGET,
    ),
    (
        "recursion through __lt in sort",
        "local m = {} m.__lt = function(a, b) table.sort({ a, b }) return false end table.sort({ setmetatable({}, m), setmetatable({}, m) })",
        "C stack overflow",
    ),
    (
        "recursion through load",
        "local function f() return load(function() return f() end) end while true do pcall(f) end",
        BUDGET,
    ),
    ("brackets", "return assert(load(('('):rep(1000000)))", "C levels"),
    ("a long chunk", "local s = 'x = ' .. ('1 + '):rep(100000) .. '1' while true do load(s) end", EITHER),
    ("closures", "local t = {} while true do t[#t + 1] = function() return t end end", MEMORY_TEXT),
    ("garbage", "while true do local t = {} end", BUDGET),
    (
        "garbage beside much",
        "local k = {} for i = 1, 3e5 do k[i] = { i } end while true do local t = { {} } end",
        EITHER,
    ),
    (
        "an emptied table that is looked into",
        "local t = {} for i = 1, 5e5 do t[i] = i end for i = 1, 5e5 do t[i] = nil end while true do next(t) end",
        BUDGET,
    ),
    (
        "an emptied table that is walked",
        "local t = {} for i = 1, 3e5 do t[-i] = i end for k in pairs(t) do t[k] = nil end while true do for _ in pairs(t) do end end",
        BUDGET,
    ),
    (
        "traces in the depth",
        "local function f(n) if n > 0 then return 1 + f(n - 1) end while true do debug.traceback() end end f(150000)",
        BUDGET,
    ),
    (
        "questions in the depth",
        "local function f(n) if n > 0 then return 1 + f(n - 1) end while true do debug.getinfo(150000) end end f(150000)",
        BUDGET,
    ),
    ("numbers to text", "local s while true do s = 1e300 .. '' end", BUDGET),
    (
        "garbage at the limit of memory",
        "local k = {} for i = 1, 640 do k[i] = ('x'):rep(98000) .. i end for i = 1, 1e9 do k = { k } end",
        MEMORY_TEXT,
    ),
    (
        "an outbox of emptied tables",
        "local t = {} for i = 1, 3e5 do t[-i] = i end for k in pairs(t) do t[k] = nil end t.x = 1 for i = 1, 900 do Send({ Target = 'x', Other = { t, t } }) end return 1",
        "larger than",
    ),
    ("a huge outbox", "for i = 1, 1e5 do Send({ Target = 'x', Data = 'y' }) end", "at most 1000 are allowed"),
    (
        "an outbox of long texts",
        "local s = ('y'):rep(1 << 20) for i = 1, 900 do Send({ Target = 'x', Data = s }) end",
        "larger than",
    ),
    ("a huge output", "return ('x'):rep(20 << 20)", "larger than"),
    ("an output of escapes", "return ('\\0'):rep(12 << 20)", "larger than"),
    ("an output in an output", "local t = {} for i = 1, 1e5 do t = { t } end return t", "nested"),
    (
        "names of megabytes in each other",
        "local k, t = ('k'):rep(4 << 20), { 1 } for i = 1, 60 do t = { [k] = t } end return t",
        "larger than",
    ),
    ("an output that contains itself", "local t = {} t.t = t return t", ""),
    ("a huge error", "error(('x'):rep(1 << 24))", "xxxx"),
    ("an error that is no text", "error(setmetatable({}, { __tostring = function() while true do end end }))", ""),
    ("bytecode", "return assert(load('\\27Lua\\x53\\0\\x19\\x93\\r\\n\\x1a\\n'))", "attempt to load a binary chunk"),
    ("a program to start", "os.execute('touch /tmp/escaped')", "attempt to call a nil value (field 'execute')"),
    ("a file to read", "return assert(io.open('/etc/passwd'))", "No such file or directory"),
    ("a file beside data", "return assert(io.open('/data/../../etc/passwd'))", "No such file or directory"),
    ("data that nobody named", "require('ao.data')(('A'):rep(43)):read(0, 1)", "attempt to index a nil value"),
    ("a file to run", "dofile('/etc/passwd')", "attempt to call a nil value (global 'dofile')"),
    (
        "a library to load",
        "package.loadlib('/lib/x86_64-linux-gnu/libc.so.6', '*')",
        "attempt to call a nil value (field 'loadlib')",
    ),
    ("the registry", "return debug.getregistry()", "attempt to call a nil value (field 'getregistry')"),
    ("the hook", "debug.sethook()", "attempt to call a nil value (field 'sethook')"),
    ("a finalizer", "setmetatable({}, { __gc = function() while true do end end })", "__gc"),
    ("the end of everything", "os.exit()", "attempt to call a nil value (field 'exit')"),
];

/// What the interpreter does within one instruction, however long it takes: no budget sees it, and only the limit of
/// processor time ends it. The process is stalled then; nothing is concluded.
const UNSEEN: &[(&str, &str)] = &[
    (
        "a chain of __index",
        "local t = {} for i = 1, 1990 do t = setmetatable({}, { __index = t }) end while true do local x = t.x end",
    ),
    (
        "long texts that are compared",
        "local s = ('x'):rep(1 << 22) local a, b = s .. 'y', s .. 'y' while true do local x = a == b end",
    ),
    ("a long text as a number, by arithmetic", "local s = ('1'):rep(1 << 20) while true do local n = s + 1 end"),
    (
        "many arguments",
        "local function g() end local function f(...) while true do g(...) end end local t = {} for i = 1, 200000 do t[i] = i end f(table.unpack(t))",
    ),
];

fn program() -> Program {
    Program {
        source: MODULE.into(),
        env: Env::default(),
        limits: Limits { memory_bytes: MEMORY, instructions: INSTRUCTIONS },
    }
}

fn message(code: &str) -> Message {
    Message { data: Some(code.as_bytes().to_vec()), timestamp: 1_700_000_000_000, ..Message::default() }
}

/// What a hostile program came to in a new worker, if the process is what it was then.
async fn run(code: &str) -> Result<(Outcome, Duration), String> {
    let launcher = Launcher::new(env!("CARGO_BIN_EXE_ao-node")).with_processor_time(PROCESSOR_TIME);
    let mut worker = Worker::start(&launcher, &program()).await.unwrap();
    worker.apply(0, &[message("kept = { 1, 2, 3 }")]).await.unwrap();
    let before = worker.save().await.unwrap();
    let started = Instant::now();
    let outcome = match worker.apply(1, &[message(code)]).await {
        Ok(mut outcomes) => outcomes.remove(0),
        Err(cause) => return Err(cause.to_string()),
    };
    if outcome.error.is_none() {
        return Err(format!("it went well: {:.100}", outcome.output));
    }
    let took = started.elapsed();
    let after = worker.save().await.map_err(|cause| cause.to_string())?;
    let sane = worker.apply(2, &[message("return state.n .. #kept")]).await.map_err(|cause| cause.to_string())?;
    match before.bytes == after.bytes && sane[0].output == "\"23\"" {
        true => Ok((outcome, took)),
        false => Err(format!("the state was changed; then {:?}", sane[0])),
    }
}

/// Runs it twice.
async fn check(name: &str, code: &str, expected: &str) -> Result<(), String> {
    let (one, took) = run(code).await?;
    let (other, _) = run(code).await?;
    let error = one.error.clone().unwrap_or_default();
    println!("{:>6} ms {:>6} M  {name}: {error:.60}", took.as_millis(), one.gas_used / 1_000_000);
    if !error.contains(expected) {
        return Err(format!("another error: {error:.300}"));
    }
    match (&one.error, one.gas_used) == (&other.error, other.gas_used) {
        true => Ok(()),
        false => Err(format!("not the same another time: {} and {}", one.gas_used, other.gas_used)),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_hostile_program_ends_as_a_clear_error() {
    let runs = PROGRAMS.iter().map(|(name, code, expected)| async move {
        check(name, code, expected).await.map_err(|cause| format!("{name}: {cause}"))
    });
    let done: Vec<_> = futures::stream::iter(runs).map(tokio::spawn).buffer_unordered(2).collect().await;
    let failed: Vec<String> = done.into_iter().filter_map(|done| done.unwrap().err()).collect();
    assert!(failed.is_empty(), "{failed:#?}");
}

#[tokio::test]
async fn what_no_budget_sees_ends_by_its_processor_time() {
    let launcher = Launcher::new(env!("CARGO_BIN_EXE_ao-node")).with_processor_time(Duration::from_secs(1));
    for (name, code) in UNSEEN {
        let mut worker = Worker::start(&launcher, &program()).await.unwrap();
        match worker.apply(0, &[message(code)]).await {
            Err(VmError::Overrun { seconds: 1 }) => {}
            Err(other) => panic!("{name}: {other}"),
            Ok(outcomes) => panic!("{name}: {:?} is an outcome: it belongs to the others", outcomes[0].error),
        }
        assert!(matches!(worker.apply(0, &[message("return 1")]).await, Err(VmError::Gone)), "{name}");
    }
}
