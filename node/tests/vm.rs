//! Workers as the node uses them: the real executable in worker mode.

// Clippy takes only the test functions themselves for tests, not what they call.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{BufRead, BufReader};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::process::{Command, Stdio};
use std::sync::LazyLock;
use std::time::Duration;

use ao_node::vm::{Env, Launcher, Limits, Message, Outcome, Program, Unit, VmError, Worker, runtime};
use ao_protocol::tag::Tag;

const OWNER: &str = "owner-of-the-process";
const PROCESS: &str = "the-process";
/// A messenger that the process trusts.
const MESSENGER: &str = "messenger";
/// Runs for longer than anybody waits, in a process whose budget is without end.
const ENDLESS: &str = "while true do end";
/// How soon processes must be gone.
const PROMPTLY: Duration = Duration::from_secs(5);

/// One zygote for all tests.
static LAUNCHER: LazyLock<Launcher> = LazyLock::new(|| Launcher::new(env!("CARGO_BIN_EXE_ao-node")));

fn launcher() -> Launcher {
    LAUNCHER.clone()
}

fn program(source: &str) -> Program {
    let tags = vec![
        Tag::new("Name", "demo"),
        Tag::new("Module", "the-module"),
        Tag::new("Authority", format!("another,{MESSENGER}")),
    ];
    let process = Unit { id: PROCESS.into(), owner: OWNER.into(), tags };
    let module = Unit { id: "the-module".into(), owner: "its-author".into(), tags: Vec::new() };
    Program {
        source: source.to_string(),
        env: Env { process, module },
        limits: Limits { memory_bytes: 64 << 20, instructions: 50_000_000 },
    }
}

/// One that no budget ends.
fn without_budget() -> Program {
    let ours = program(&runtime::source());
    Program { limits: Limits { instructions: u64::MAX, ..ours.limits }, ..ours }
}

fn message(from: &str, data: &str, tags: &[(&str, &str)]) -> Message {
    Message {
        id: Some("message-id".into()),
        data: Some(data.as_bytes().to_vec()),
        owner: from.to_string(),
        target: PROCESS.to_string(),
        from: from.to_string(),
        tags: tags.iter().map(|(name, value)| Tag::new(*name, *value)).collect(),
        nonce: Some(1),
        timestamp: 1_700_000_000_000,
        block_height: 100,
        ..Message::default()
    }
}

fn eval(code: &str) -> Message {
    message(OWNER, code, &[("Action", "Eval")])
}

/// A message that a process sent and the messenger pushed.
fn pushed(from: &str, data: &str, tags: &[(&str, &str)]) -> Message {
    Message { owner: MESSENGER.into(), forwarded_by: Some(MESSENGER.into()), ..message(from, data, tags) }
}

/// A process of our runtime, and its next slot.
struct Process {
    worker: Worker,
    slot: u64,
}

impl Process {
    async fn start() -> Process {
        Process { worker: Worker::start(&launcher(), &program(&runtime::source())).await.unwrap(), slot: 0 }
    }

    async fn apply(&mut self, message: Message) -> Outcome {
        let mut outcomes = self.worker.apply(self.slot, &[message]).await.unwrap();
        self.slot += 1;
        outcomes.remove(0)
    }

    /// What an Eval shows, without colours.
    async fn eval(&mut self, code: &str) -> String {
        let outcome = self.apply(eval(code)).await;
        assert_eq!(outcome.error, None, "{code}");
        shown(&outcome)
    }
}

fn shown(outcome: &Outcome) -> String {
    let output: serde_json::Value = serde_json::from_str(&outcome.output).unwrap();
    let mut text = output["data"].as_str().unwrap_or_else(|| panic!("no data in {}", outcome.output)).to_string();
    while let Some(start) = text.find('\u{1b}') {
        let end = start + text[start..].find('m').unwrap();
        text.replace_range(start..=end, "");
    }
    text
}

fn fields(entry: &str) -> serde_json::Value {
    serde_json::from_str(entry).unwrap()
}

fn tag<'a>(fields: &'a serde_json::Value, name: &str) -> Option<&'a str> {
    let tags = fields["Tags"].as_array().unwrap();
    tags.iter().find(|tag| tag["name"] == name).and_then(|tag| tag["value"].as_str())
}

fn tag_names(fields: &serde_json::Value) -> Vec<&str> {
    fields["Tags"].as_array().unwrap().iter().map(|tag| tag["name"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn an_outbox_that_is_too_large_is_an_error_and_not_a_crash() {
    let mut process = Process::start().await;
    let sends = "x = 1 local long = ('x'):rep(2 << 20) for _ = 1, 1000 do Send({ Target = 'T', Data = long }) end";
    let error = process.apply(eval(sends)).await.error.unwrap();
    assert!(error.contains("larger than"), "{error}");
    assert_eq!(process.eval("tostring(x)").await, "nil", "and leaves nothing behind");
}

#[tokio::test]
async fn eval_keeps_state_from_message_to_message() {
    let mut process = Process::start().await;
    assert_eq!(process.eval("x = 20").await, "");
    assert_eq!(process.eval("x + 22").await, "42");
    assert_eq!(process.eval("print('a') print(nil) return { 1, 'b' }").await, "a\nnil\n{ 1, \"b\" }");
    let outcome = process.apply(eval("1 + 1")).await;
    assert_eq!(
        outcome.output,
        "{\"data\":\"2\",\"prompt\":\"\\u001b[32mdemo\\u001b[90m@\\u001b[34maos-2.0.4\\u001b[90m[Inbox:\\u001b[31m0\
         \\u001b[90m]\\u001b[0m> \",\"test\":\"{\\n    [1] = \\\"2\\\"\\n}\"}"
    );
    assert_eq!(process.eval("require('.process')._version").await, "2.0.4");
    assert_eq!(
        process.eval("return ao.id .. ' ' .. Owner .. ' ' .. Name .. ' ' .. ao.env.Module.Id").await,
        "the-process owner-of-the-process demo the-module"
    );
}

#[tokio::test]
async fn three_workers_compute_the_same() {
    let messages: Vec<Message> = [
        "Balances = {} for i = 1, 2000 do Balances['holder-' .. i * 7919 % 2000] = i end return #Inbox",
        "Handlers.add('sum', 'Sum', function(msg)
           local s = '' for k, v in pairs(Balances) do s = s .. k .. v end
           msg.reply({ Data = s, Zeta = '1', Alpha = '2', Tags = { b = 'x', a = 'y' } })
         end)",
        "return { math.random(1000000), math.random(), 2 ^ 0.5, math.sin(1), os.time(), tostring(print), tostring({}) }",
        "error('on purpose')",
        "local t = {} for i = 1, 300 do t[i] = { k = i % 10, i = i } end
         table.sort(t, function(a, b) return a.k < b.k end) return t[17].i",
        "Send({ Target = 'somebody', Data = { z = 1, a = { 1, 2 } }, Action = 'Hi', Beta = 'b' })",
    ]
    .into_iter()
    .map(eval)
    .chain([message("stranger", "", &[("Action", "Sum"), ("Reference", "5")])])
    .collect();
    let mut all = Vec::new();
    // Batches may be cut anywhere.
    for batch in [1, 3, messages.len()] {
        let mut worker = Worker::start(&launcher(), &program(&runtime::source())).await.unwrap();
        let mut outcomes: Vec<Outcome> = Vec::new();
        while outcomes.len() < messages.len() {
            let end = messages.len().min(outcomes.len() + batch);
            outcomes.extend(worker.apply(outcomes.len() as u64, &messages[outcomes.len()..end]).await.unwrap());
        }
        all.push(outcomes);
    }
    assert!(all[0][3].error.as_ref().unwrap().contains("on purpose"));
    assert_eq!(all[0].iter().filter(|outcome| outcome.error.is_some()).count(), 1);
    assert!(all[0][6].messages[0].data.as_ref().unwrap().len() > 20_000);
    assert_eq!(all[0], all[1]);
    assert_eq!(all[0], all[2]);
}

#[tokio::test]
async fn an_error_leaves_nothing_behind() {
    let mut process = Process::start().await;
    process.eval("x, log = 1, {}").await;
    let outcome = process.apply(eval("x = 2 table.insert(log, 'bad') Send({ Target = 'T' }) error('no')")).await;
    assert!(outcome.error.unwrap().contains("no"));
    assert!(outcome.messages.is_empty());
    assert_eq!(process.eval("return x .. ' ' .. #log .. ' ' .. ao.reference").await, "1 0 0");

    // In the middle of a batch, and several times in a row.
    let batch = ["x = x + 1", "x = x + 10", "x = 1000 error('no')", "x = x + 100"].map(eval);
    let outcomes = process.worker.apply(process.slot, &batch).await.unwrap();
    let failed: Vec<bool> = outcomes.iter().map(|outcome| outcome.error.is_some()).collect();
    assert_eq!(failed, [false, false, true]);
    process.slot += 3;
    assert_eq!(process.eval("x").await, "12");
    for _ in 0..5 {
        assert!(process.apply(eval("x = 7 error('again')")).await.error.is_some());
    }
    assert_eq!(process.eval("x").await, "12");
}

#[tokio::test]
async fn limits_end_an_evaluation_and_keep_the_state() {
    let mut process = Process::start().await;
    process.eval("x = 1").await;
    for code in [
        "x = 2 while true do end",
        "x = 2 pcall(function() while true do end end)",
        "x = 2 coroutine.wrap(function() while true do end end)()",
    ] {
        let outcome = process.apply(eval(code)).await;
        assert_eq!(outcome.error.as_deref(), Some("compute limit of 50000000 instructions exceeded"), "{code}");
    }
    for code in [
        "x = 2 local t = {} while true do t[#t + 1] = ('x'):rep(10000) end",
        "x = 2 local s = 'x' pcall(function() while true do s = s .. s end end)",
    ] {
        let outcome = process.apply(eval(code)).await;
        assert_eq!(outcome.error.as_deref(), Some("memory limit of 67108864 bytes exceeded"), "{code}");
    }
    assert_eq!(process.eval("x").await, "1");
}

#[tokio::test]
async fn evaluating_without_keeping_keeps_nothing() {
    let mut process = Process::start().await;
    process.eval("x = 1 Handlers.add('Bump', function(msg) x = x + 1 msg.reply({ Data = tostring(x) }) end)").await;
    let bump = Message { read_only: true, ..message("anybody", "", &[("Action", "Bump")]) };
    for _ in 0..3 {
        let outcome = process.worker.evaluate_without_keeping(&bump).await.unwrap();
        assert_eq!(outcome.messages[0].data.as_deref(), Some(&b"2"[..]));
    }
    assert!(process.worker.evaluate_without_keeping(&eval("error('no')")).await.unwrap().error.is_some());
    assert_eq!(process.eval("x").await, "1");
}

#[tokio::test]
async fn variables_are_shown_without_a_trace() {
    let mut process = Process::start().await;
    process.eval("Balances = { alice = '10', bob = '5' } Add = function() end").await;
    assert_eq!(process.worker.view(Some("Balances")).await.unwrap(), r#"{"alice":"10","bob":"5"}"#);
    let all: serde_json::Value = serde_json::from_str(&process.worker.view(None).await.unwrap()).unwrap();
    assert_eq!(
        (&all["Balances"]["bob"], &all["Add"], &all["Owner"]),
        (&"5".into(), &"<function>".into(), &OWNER.into())
    );
    assert!(all.get("string").is_none() && all.get("_G").is_none());
    process.eval("Huge = ('x'):rep(9 << 20)").await;
    assert!(matches!(process.worker.view(None).await, Err(VmError::Refused(cause)) if cause.contains("by its name")));
    assert_eq!(process.eval("Balances.bob").await, "5");
}

#[tokio::test]
async fn only_the_owner_evaluates_code() {
    let mut process = Process::start().await;
    process.eval("x = 1").await;
    let outcome = process.apply(message("somebody-else", "x = 2", &[("Action", "Eval")])).await;
    assert_eq!(shown(&outcome), "New Message From som...lse: Action = Eval");
    assert_eq!(process.eval("return x .. ' ' .. #Inbox .. ' ' .. Inbox[1].Data").await, "1 1 x = 2");
    // Who claims to be the owner is believed only when a trusted messenger brings it.
    let forged = Message { owner: "untrusted".into(), ..message(OWNER, "x = 3", &[("Action", "Eval")]) };
    let outcome = process.apply(forged).await;
    assert_eq!(shown(&outcome), format!("Message is not trusted! From: {OWNER} - Owner: untrusted"));
    assert_eq!(process.eval("return x .. ' ' .. #Inbox").await, "1 1");
    assert_eq!(shown(&process.apply(pushed(OWNER, "return x + 1", &[("Action", "Eval")])).await), "2");
}

#[tokio::test]
async fn the_first_comer_is_not_the_owner() {
    let mut process = Process::start().await;
    // The boot fails and leaves nothing behind; a stranger comes next.
    let boot = message(OWNER, "error('no')", &[("Type", "Process"), ("On-Boot", "Data")]);
    let boot = Message { id: Some(PROCESS.into()), ..boot };
    assert!(process.apply(boot).await.error.is_some());
    process.apply(message("stranger", "x = 1", &[("Action", "Eval")])).await;
    assert_eq!(process.eval("return Owner .. tostring(x)").await, "owner-of-the-processnil");
}

#[tokio::test]
async fn handlers_get_messages_in_order_and_reply() {
    let mut process = Process::start().await;
    process
        .eval(
            "Handlers.add('ping', Handlers.utils.hasMatchingTag('Action', 'Ping'), function(msg)
               msg.reply({ Data = 'pong to ' .. msg.From, Extra = 'e' })
             end)
             Handlers.before('ping').add('count', Handlers.utils.continue('Ping'),
               function() seen = (seen or 0) + 1 end)
             Handlers.prepend('first', { Action = 'ping', From = '_' }, function() first = (first or 0) + 1 end, 1)",
        )
        .await;
    let ping = || pushed("friend", "", &[("Action", "Ping"), ("Reference", "9")]);
    // The pattern in a table ignores case and stops here; after one run the handler is gone.
    assert!(process.apply(ping()).await.messages.is_empty());
    let outcome = process.apply(ping()).await;
    assert_eq!(outcome.error, None);
    assert_eq!(outcome.messages[0].data.as_deref(), Some(&b"pong to friend"[..]));
    let sent = fields(&outcome.messages[0].fields);
    assert_eq!((&sent["Target"], &sent["Anchor"]), (&"friend".into(), &"00000000000000000000000000000001".into()));
    let expected = ["Data-Protocol", "Variant", "Type", "Reference", "Extra", "X-Reference"];
    assert_eq!(tag_names(&sent), expected);
    assert_eq!((tag(&sent, "X-Reference"), tag(&sent, "Reference")), (Some("9"), Some("1")));
    let names = "local names = {} for i, h in ipairs(Handlers.list) do names[i] = h.name end
                 return first .. seen .. table.concat(names, ' ')";
    assert_eq!(
        process.eval(names).await,
        "11APM.DownloadResponse APM.SearchResponse APM.InfoResponse APM.UpdateResponse _eval _default count ping"
    );
}

#[tokio::test]
async fn patterns_match_as_in_aos() {
    let mut process = Process::start().await;
    let cases = [
        ("'Go'", true),
        ("'go'", false),
        ("{ Action = 'GO' }", true),
        ("{ Action = '_', ['X-Level'] = '_' }", true),
        ("{ Missing = '_' }", false),
        ("{ Action = '^GO$' }", true),
        ("{ Action = { 'Stop', 'Go' } }", true),
        ("{ ['X-Level'] = '^%d+$' }", true),
        ("{ ['X-Level'] = '^%a+$' }", false),
        ("{ ['X-Level'] = function(value, msg) return tonumber(value) > 5 and msg.Action == 'Go' end }", true),
        ("function(msg) return msg.Action == 'Go' and 'skip' or 0 end", false),
        ("function(msg) return msg.Action == 'Go' and 'break' or 0 end", true),
        ("function(msg) return msg.Action == 'Go' and -1 or 0 end", true),
        ("function(msg) return 0 end", false),
    ];
    for (pattern, expected) in cases {
        process.eval(&format!("ran = false Handlers.prepend('case', {pattern}, function() ran = true end)")).await;
        process.apply(message("anybody", "", &[("Action", "Go"), ("x_level", "7")])).await;
        assert_eq!(process.eval("tostring(ran)").await, expected.to_string(), "{pattern}");
    }
}

#[tokio::test]
async fn sending_makes_the_tags_that_aos_makes() {
    let mut process = Process::start().await;
    let code = "Send({ Target = 'T', Data = { b = 1, a = {} }, Action = 'Do', Tags = { { name = 'z', value = '1' },
                { name = 'a', value = '2' } } }).output";
    let outcome = process.apply(eval(code)).await;
    assert_eq!(shown(&outcome), "Message added to outbox");
    assert_eq!(outcome.messages[0].data.as_deref(), Some(&b"{\"a\":[],\"b\":1}"[..]));
    let sent = fields(&outcome.messages[0].fields);
    let expected = ["Data-Protocol", "Variant", "Type", "Reference", "Content-Type", "Action", "z", "a"];
    assert_eq!(tag_names(&sent), expected);
    assert_eq!(tag(&sent, "Content-Type"), Some("application/json"));
    assert!(shown(&process.apply(eval("Send({ Data = 'x' })")).await).starts_with("WARN: No target specified"));
}

#[tokio::test]
async fn messages_wait_in_the_inbox_and_answers_find_who_waits() {
    let mut process = Process::start().await;
    let outcome = process.apply(pushed("friend", "hello", &[("x_foo-BAR", "1")])).await;
    assert_eq!(shown(&outcome), "New Message From fri...end: Data = hello");
    let code = "local m = Inbox[1] return m.Data .. m['X-Foo-Bar'] .. m.Tags['X-Foo-Bar'] .. m.From .. m.Owner";
    assert_eq!(process.eval(code).await, "hello11friendmessenger");

    let code =
        "local m = Send({ Target = 'oracle', Data = 'question' }).receive() answer = m.Data print('got ' .. answer)";
    let outcome = process.apply(eval(code)).await;
    assert_eq!(outcome.messages.len(), 1);
    let sent = fields(&outcome.messages[0].fields);
    assert_eq!(process.eval("tostring(answer)").await, "nil");
    process.apply(pushed("oracle", "other", &[("X-Reference", "77")])).await;
    let reference = tag(&sent, "Reference").unwrap();
    let outcome = process.apply(pushed("oracle", "forty-two", &[("X-Reference", reference)])).await;
    assert_eq!(shown(&outcome), "got forty-two");
    assert_eq!(process.eval("return answer .. ' ' .. #Handlers.coroutines .. ' ' .. #Inbox").await, "forty-two 0 2");

    process.eval("Send({ Target = 'oracle', Data = 'again' }).onReply(function(m) late = m.Data end)").await;
    process.apply(pushed("oracle", "reply", &[("X-Reference", "2")])).await;
    assert_eq!(process.eval("late").await, "reply");
}

#[tokio::test]
async fn an_error_after_waiting_ends_the_message_that_was_waited_for() {
    let mut process = Process::start().await;
    process.eval("Receive({ Action = 'Go' }) x = 5 error('after waiting')").await;
    let outcome = process.apply(message("anybody", "", &[("Action", "Go")])).await;
    assert!(outcome.error.unwrap().contains("after waiting"));
    // The state is as before: it still waits.
    assert_eq!(process.eval("return tostring(x) .. #Handlers.coroutines").await, "nil1");
}

#[tokio::test]
async fn spawns_and_assignments_are_sent() {
    let mut process = Process::start().await;
    let code = "Spawn('M', { Data = 'return 1', Name = 'child', Tags = { Authority = 'A' } })
                  .onReply(function(m) child = m.Process end)
                Assign({ Message = 'm', Processes = { 'p' } })";
    let outcome = process.apply(eval(code)).await;
    assert_eq!(outcome.spawns[0].data.as_deref(), Some(&b"return 1"[..]));
    let spawn = fields(&outcome.spawns[0].fields);
    let expected =
        ["Data-Protocol", "Variant", "Type", "From-Process", "From-Module", "Module", "Reference", "Name", "Authority"];
    assert_eq!(tag_names(&spawn), expected);
    assert_eq!((tag(&spawn, "Module"), tag(&spawn, "From-Module")), (Some("M"), Some("the-module")));
    assert_eq!(outcome.assignments[0].fields, "{\"Message\":\"m\",\"Processes\":[\"p\"]}");
    process.apply(pushed(PROCESS, "", &[("Action", "Spawned"), ("Reference", "1"), ("Process", "the-child")])).await;
    assert_eq!(process.eval("child").await, "the-child");
}

#[tokio::test]
async fn what_is_assigned_is_taken_only_when_it_is_wanted() {
    let mut process = Process::start().await;
    let assigned = || Message { target: "elsewhere".into(), ..message("anybody", "news", &[("Action", "News")]) };
    let outcome = process.apply(assigned()).await;
    assert_eq!(outcome.messages[0].data.as_deref(), Some(&b"Assignment is not trusted by this process!"[..]));
    assert_eq!(process.eval("#Inbox").await, "0");
    process.eval("ao.addAssignable('news', { Action = 'News' })").await;
    process.apply(assigned()).await;
    assert_eq!(process.eval("#Inbox").await, "1");
}

#[tokio::test]
async fn the_process_boots_from_its_own_data() {
    let mut process = Process::start().await;
    let tags = [("Type", "Process"), ("On-Boot", "Data"), ("Module", "the-module")];
    let boot = message(OWNER, "booted = Owner print('up')", &tags);
    let outcome = process.apply(Message { id: Some(PROCESS.into()), ..boot }).await;
    assert_eq!(shown(&outcome), "up");
    assert_eq!(process.eval("return booted .. #Inbox .. #Handlers.list").await, "owner-of-the-process16");
    // Another message does not boot it again, whatever it says it is.
    let again = message(OWNER, "booted = 'again'", &[("Type", "Process"), ("On-Boot", "Data"), ("Id", PROCESS)]);
    process.apply(again).await;
    assert_eq!(process.eval("return booted").await, OWNER);
}

#[tokio::test]
async fn json_goes_both_ways_and_bytes_survive() {
    let mut process = Process::start().await;
    let text = r#"{"a":[1,2.5,-3e2,true,false,{}],"b":{"c":"\u00e9\n\ud83d\ude00\"\\"},"d":""}"#;
    let code = format!("local json = require('json') return json.encode(json.decode([==[{text}]==]))");
    let expected = "{\"a\":[1,2.5,-300,true,false,[]],\"b\":{\"c\":\"é\\n😀\\\"\\\\\"},\"d\":\"\"}";
    assert_eq!(process.eval(&code).await, expected);
    for wrong in ["[1,", "{\"a\" 1}", "nul", "\"\\x\"", "[1] 2", "1-2", "", "\"\n\""] {
        let code = format!("return tostring((pcall(require('json').decode, [==[{wrong}]==])))");
        assert_eq!(process.eval(&code).await, "false", "{wrong}");
    }
    for wrong in
        ["{ 1, nil, 3 }", "{ [1.5] = 1 }", "0 / 0", "print", "(function() local t = {} t.t = t return t end)()"]
    {
        let code = format!("return tostring((pcall(require('json').encode, {wrong})))");
        assert_eq!(process.eval(&code).await, "false", "{wrong}");
    }
    let typed = [("Content-Type", "application/json"), ("Action", "Data")];
    process.eval("Handlers.add('Data', function(msg) got = msg.Data.list[2] end)").await;
    process.apply(message("anybody", "{\"list\":[1,\"two\"]}", &typed)).await;
    assert_eq!(process.eval("got").await, "two");
    assert!(process.apply(message("anybody", "{", &typed)).await.error.is_some());

    process.eval("Handlers.add('Echo', function(msg) msg.reply({ Data = msg.Data }) end)").await;
    let bytes: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    let echo = Message { data: Some(bytes.clone()), ..message("anybody", "", &[("Action", "Echo")]) };
    assert_eq!(process.apply(echo).await.messages[0].data, Some(bytes));
    let code = "local b = require('.base64') return b.encode('any\\0') .. b.decode('YW55AA==')";
    assert_eq!(process.eval(code).await, "YW55AA==any\0");
}

#[tokio::test]
async fn errors_of_handlers_and_code_name_their_cause() {
    let mut process = Process::start().await;
    let outcome = process.apply(eval("x = = 1")).await;
    assert_eq!(outcome.error.as_deref(), Some("[string \"aos\"]:1: unexpected symbol near '='"));
    let error = process.apply(eval("print('so far')\nlocal t = nil\nreturn t.x")).await.error.unwrap();
    assert!(error.starts_with("so far\n\n") && error.contains("[string \"aos\"]:3: attempt to index"), "{error}");
    assert_eq!(process.apply(eval("return nil, 'second'")).await.error.as_deref(), Some("second"));
    process.eval("Handlers.add('Fail', function() error({ code = 5 }) end)").await;
    assert!(process.apply(message("a", "", &[("Action", "Fail")])).await.error.unwrap().contains("code = 5"));
    process.eval("Handlers.add('Nil', function(m) if m.Action ~= 'Nil' then return 0 end end, print)").await;
    let error = process.apply(message("a", "", &[("Action", "Nil")])).await.error.unwrap();
    assert!(error.contains("Pattern result is not valid"), "{error}");
    assert!(error.contains("stack traceback") && !error.contains("0x"), "{error}");
}

#[tokio::test]
async fn slots_go_in_order() {
    let mut process = Process::start().await;
    process.eval("x = 1").await;
    let wrong = process.worker.apply(5, &[eval("x = 2")]).await;
    assert!(matches!(wrong, Err(VmError::Refused(reason)) if reason.contains("is not the next one, which is 1")));
    assert!(process.apply(eval("error('x')")).await.error.is_some());
    assert_eq!(process.eval("x").await, "1");
    assert!(matches!(process.worker.apply(process.slot, &[]).await, Err(VmError::Refused(_))));
}

/// The processes below one, the host process first.
fn descendants(pid: u32) -> Vec<u32> {
    let mut found = Vec::new();
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    for child in children.split_whitespace().map(|child| child.parse().unwrap()) {
        found.push(child);
        found.extend(descendants(child));
    }
    found
}

/// A file that is readable once the process ended; none when it is gone already.
fn watch(pid: u32) -> Option<OwnedFd> {
    let file = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    (file >= 0).then(|| unsafe { OwnedFd::from_raw_fd(file as i32) })
}

fn watch_worker(keeper: u32) -> Vec<OwnedFd> {
    let all: Vec<OwnedFd> = [keeper].into_iter().chain(descendants(keeper)).filter_map(watch).collect();
    assert!(all.len() >= 2, "a worker is more than one process");
    all
}

fn assert_ends(process: &OwnedFd) {
    let mut file = libc::pollfd { fd: process.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    let ended = unsafe { libc::poll(&mut file, 1, PROMPTLY.as_millis() as i32) };
    assert_eq!(ended, 1, "the process is still there after {PROMPTLY:?}");
}

#[tokio::test]
async fn a_killed_worker_is_told_from_an_outcome() {
    let mut process = Process::start().await;
    process.eval("x = 1").await;
    let keeper = process.worker.pid();
    let all = watch_worker(keeper);
    assert_eq!(unsafe { libc::kill(descendants(keeper)[0] as i32, libc::SIGKILL) }, 0);
    match process.worker.apply(process.slot, &[eval("x")]).await {
        Err(VmError::Crashed { status, .. }) => assert_eq!(status, "by signal 9"),
        other => panic!("{other:?}"),
    }
    all.iter().for_each(assert_ends);
    assert!(matches!(process.worker.apply(process.slot, &[eval("x")]).await, Err(VmError::Gone)));
}

#[tokio::test]
async fn an_executable_that_is_no_worker_is_an_error() {
    assert!(matches!(Worker::start(&Launcher::new("/no/such/file"), &program("")).await, Err(VmError::Start(_))));
    match Worker::start(&Launcher::new("/bin/false"), &program("")).await {
        Err(VmError::Crashed { status, .. }) => assert!(status.starts_with("with its keeper"), "{status}"),
        _ => panic!("started"),
    }
}

fn parent(pid: u32) -> u32 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit_once(')').unwrap().1.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// What a worker makes of some lines: outcomes with what they charged, and the state.
async fn life_of(launcher: &Launcher, program: &Program) -> (Vec<Outcome>, Vec<u8>, u32) {
    let mut worker = Worker::start(launcher, program).await.unwrap();
    let lines = ["x = { 1, 2 }", "error('no')", "Send({ Target = 'a', Data = 'b' }) return #x", "while true do end"];
    let mut outcomes = Vec::new();
    for (slot, line) in lines.into_iter().enumerate() {
        outcomes.extend(worker.apply(slot as u64, &[eval(line)]).await.unwrap());
    }
    (outcomes, worker.save().await.unwrap().bytes, worker.pid())
}

#[tokio::test]
async fn a_copy_of_the_zygote_computes_what_a_new_run_does() {
    let launcher = Launcher::new(env!("CARGO_BIN_EXE_ao-node"));
    let ours = program(&runtime::source());
    let (outcomes, state, _) = life_of(&launcher.clone().without_zygote(), &ours).await;
    assert!(outcomes[0].error.is_none() && outcomes[3].error.as_ref().unwrap().contains("compute limit"));
    let mut worker = Worker::start(&launcher, &ours).await.unwrap();
    let zygote = parent(worker.pid());
    assert_ne!(zygote, std::process::id());
    let of_copy = life_of(&launcher, &ours).await;
    assert_eq!((of_copy.0, of_copy.1), (outcomes.clone(), state.clone()));
    // One that may use less than the zygote needed; one whose limits strike elsewhere.
    for (memory_bytes, instructions) in [(64 << 20, 3_000_000), (4 << 20, 50_000_000), (64 << 20, 40_000)] {
        let little = Program { limits: Limits { memory_bytes, instructions }, ..ours.clone() };
        let mut one = Worker::start(&launcher, &little).await.unwrap();
        let mut other = Worker::start(&launcher.clone().without_zygote(), &little).await.unwrap();
        let lines = [eval("return 'x'"), eval("while true do end"), eval("t = {} for i = 1, 1e6 do t[i] = {} end")];
        for (slot, line) in lines.iter().enumerate() {
            let (one, other) = (
                one.apply(slot as u64, std::slice::from_ref(line)).await,
                other.apply(slot as u64, std::slice::from_ref(line)).await,
            );
            assert_eq!(one.unwrap(), other.unwrap(), "{memory_bytes} {instructions}");
        }
    }
    // Without it workers go on, and others start.
    assert_eq!(unsafe { libc::kill(zygote as i32, libc::SIGKILL) }, 0);
    assert!(worker.apply(0, &[eval("x = 1")]).await.unwrap()[0].error.is_none());
    let mut again = Worker::start(&launcher, &ours).await;
    if again.is_err() {
        // It was asked for just before its end was noticed.
        again = Worker::start(&launcher, &ours).await;
    }
    assert!(again.unwrap().apply(0, &[eval("x = 1")]).await.unwrap()[0].error.is_none());
}

#[tokio::test]
async fn a_worker_takes_no_more_memory_than_it_is_granted() {
    let mut process = Process::start().await;
    let grow = "t = {} for i = 1, 40 do t[i] = ('x'):rep(1000000) end return #t";
    process.worker.grant(16 << 20);
    assert_eq!(process.eval("1 + 1").await, "2");
    let before = process.worker.save().await.unwrap();
    // The copy of a dry-run too, which the process survives.
    let dry = process.worker.evaluate_without_keeping(&eval(grow)).await;
    assert!(matches!(dry, Err(VmError::Refused(cause)) if cause.contains("more memory")));
    match process.worker.apply(process.slot, &[eval(grow)]).await {
        Err(VmError::Outgrown { granted }) => assert_eq!(granted, 16 << 20),
        other => panic!("{other:?}"),
    }
    // Another one with more of it computes what one without bounds does.
    let mut worker = Worker::start(&launcher(), &program(&runtime::source())).await.unwrap();
    worker.restore(&before).await.unwrap();
    worker.grant(60 << 20);
    let outcome = worker.apply(process.slot, &[eval(grow)]).await.unwrap().remove(0);
    assert_eq!((shown(&outcome), worker.heap_bytes() > 40 << 20), ("40".to_string(), true));
}

#[tokio::test]
async fn a_module_that_can_not_run_outlives_pauses() {
    for source in ["this is no Lua", "handle = 5", "local t = {} while true do t[#t + 1] = {} end"] {
        let mut worker = Worker::start(&launcher(), &program(source)).await.unwrap();
        for slot in 0..3 {
            let later = Message { timestamp: 1_700_000_000_000 + slot * 100_000, ..eval("1") };
            let outcome = worker.apply(slot, &[later]).await.unwrap().remove(0);
            assert!(outcome.error.unwrap().starts_with("the module can't be run"), "{source}");
        }
        assert!(matches!(worker.save().await, Err(VmError::Refused(_))));
    }
}

#[tokio::test]
async fn a_worker_that_takes_too_long_is_killed() {
    let launcher = launcher().with_processor_time(Duration::from_secs(1));
    let mut worker = Worker::start(&launcher, &without_budget()).await.unwrap();
    let all = watch_worker(worker.pid());
    assert!(matches!(worker.apply(0, &[eval(ENDLESS)]).await, Err(VmError::Overrun { .. })));
    all.iter().for_each(assert_ends);
    assert!(matches!(worker.apply(0, &[eval("1")]).await, Err(VmError::Gone)));
}

#[tokio::test]
async fn dropping_a_worker_ends_all_its_processes() {
    let worker = Worker::start(&launcher(), &without_budget()).await.unwrap();
    let mut process = Process { worker, slot: 0 };
    // An error leaves a promoted twin in place of the first host process.
    assert!(process.apply(eval("error('x')")).await.error.is_some());
    let keeper = process.worker.pid();
    {
        // Busy, with a twin of its own: the call is given up in the middle.
        let endless = [eval(ENDLESS)];
        let call = process.worker.apply(process.slot, &endless);
        assert!(tokio::time::timeout(Duration::from_millis(200), call).await.is_err());
    }
    let all = watch_worker(keeper);
    assert_eq!(all.len(), 3, "keeper, host and twin");
    assert!(matches!(process.worker.apply(process.slot, &[eval("1")]).await, Err(VmError::Gone)));
    drop(process);
    all.iter().for_each(assert_ends);
}

/// Plays a node for the test below: starts a worker, says its process id, and keeps it busy for ever.
#[tokio::test]
#[ignore = "runs as part of another test"]
async fn node_with_a_busy_worker() {
    let mut worker = Worker::start(&launcher(), &without_budget()).await.unwrap();
    println!("worker {}", worker.pid());
    worker.apply(0, &[eval(ENDLESS)]).await.unwrap();
}

#[test]
fn killing_the_node_ends_its_busy_workers() {
    let mut node = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "node_with_a_busy_worker", "--nocapture"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(node.stdout.take().unwrap()).lines().map(Result::unwrap);
    let keeper = lines.find_map(|line| line.split("worker ").nth(1).and_then(|pid| pid.trim().parse().ok())).unwrap();
    let all = watch_worker(keeper);
    node.kill().unwrap();
    node.wait().unwrap();
    all.iter().for_each(assert_ends);
}
