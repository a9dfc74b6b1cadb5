//! The runtime that programs of aos see: handlers, patterns, sending, waiting, spawning, JSON.

use super::*;

/// A message that a process sent and the messenger pushed.
fn pushed(from: &str, data: &str, tags: &[(&str, &str)]) -> Message {
    Message { owner: MESSENGER.into(), forwarded_by: Some(MESSENGER.into()), ..message(from, data, tags) }
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
