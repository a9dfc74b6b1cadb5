//! Messages in, outcomes and a state out: what is kept, what an error leaves, what limits end.

use super::*;

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
async fn slots_go_in_order() {
    let mut process = Process::start().await;
    process.eval("x = 1").await;
    let wrong = process.worker.apply(5, &[eval("x = 2")]).await;
    assert!(matches!(wrong, Err(VmError::Refused(reason)) if reason.contains("is not the next one, which is 1")));
    assert!(process.apply(eval("error('x')")).await.error.is_some());
    assert_eq!(process.eval("x").await, "1");
    assert!(matches!(process.worker.apply(process.slot, &[]).await, Err(VmError::Refused(_))));
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
