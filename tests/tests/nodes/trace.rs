//! A trace tells of a message what became of it and of all that it caused, on every node; and of what waits, why.

use std::process::Command;

use ao_tests::nodes::{TestNode, User, program, wait_for_async};
use serde_json::Value;

async fn send(node: &TestNode, user: &User, process: &str, lua: &str) -> String {
    let item = user.eval(process, lua);
    let (status, answer) = node.post("/mu", item.bytes().to_vec()).await.unwrap();
    assert_eq!(status, 202, "{answer}");
    item.id().to_string()
}

/// A trace once it is as it should be.
async fn traced(node: &TestNode, message: &str, what: &str, ready: impl Fn(&Value) -> bool) -> Value {
    wait_for_async(what, async || {
        let (status, trace) = node.get(&format!("/trace/{message}")).await.ok()?;
        (status == 200 && ready(&trace)).then_some(trace)
    })
    .await
}

fn print(node: &TestNode, arguments: &[&str]) -> String {
    let output = Command::new(program()).arg("trace").args(arguments).env("AO_NODE", &node.url).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_is_traced_on_every_node_and_what_waits_says_why() {
    let scheduler = TestNode::start("su", None);
    let join = Some(scheduler.multiaddr.as_str());
    let mut second = TestNode::start("su", join);
    let (messenger, computer) = (TestNode::start("mu", join), TestNode::start("cu", join));
    let user = User::default();
    let spawn = async |scheduler: &TestNode| {
        wait_for_async("units know each other", async || {
            user.spawn(&messenger, &scheduler.address, &messenger.address).await.ok()
        })
        .await
    };
    let (neo, trinity, far) = (spawn(&scheduler).await, spawn(&scheduler).await, spawn(&second).await);

    let handler = "Handlers.add('Ping', function(msg) error('no ping today') end)";
    send(&messenger, &user, &trinity, handler).await;
    let lua = format!(
        "Send({{ Target = '{trinity}', Action = 'Ping' }}) Send({{ Target = '0x1234', Action = 'Pay' }})
         Send({{ Target = ao.id, Action = 'Note', Data = 'to myself' }}) return 'three sent'"
    );
    let message = send(&messenger, &user, &neo, &lua).await;
    let arrived = |trace: &Value| {
        let trace = |place: usize| trace["outbox"][place]["trace"]["computed_by"].as_array().map_or(0, Vec::len);
        trace(0) > 0 && trace(2) > 0
    };
    for node in [&messenger, &computer, &scheduler, &second] {
        let trace = traced(node, &message, "all has arrived", arrived).await;
        assert_eq!(
            (&trace["process"], &trace["action"], &trace["state"]),
            (&neo.clone().into(), &"Eval".into(), &"scheduled".into())
        );
        assert_eq!(
            (&trace["output"], &trace["computed_by"][0]["unit"]),
            (&"three sent".into(), &computer.address.clone().into())
        );
        let [ping, pay, note] = [0, 1, 2].map(|place| &trace["outbox"][place]);
        assert_eq!((&ping["trace"]["process"], &ping["trace"]["from"]), (&trinity.clone().into(), &neo.clone().into()));
        assert!(ping["trace"]["error"].as_str().unwrap().contains("no ping today"), "{ping}");
        assert_eq!((&pay["state"], &pay["target"]), (&"no process yet".into(), &"0x1234".into()));
        assert!(note["trace"]["output"].as_str().unwrap().contains("Note"), "{note}");
    }
    let tree = print(&scheduler, &[&message, "--watch"]);
    assert!(tree.contains(&format!("Eval: slot 1 of {neo}")) && tree.contains("  output: three sent"), "{tree}");
    assert!(tree.contains(&format!(" Ping: slot 2 of {trinity}")) && tree.contains("no ping today"), "{tree}");
    assert!(tree.contains("sent Pay to 0x1234: waits"), "{tree}");
    let json: Value = serde_json::from_str(&print(&second, &[&message, "--json"])).unwrap();
    assert_eq!(json["id"], message);

    // The far process's scheduler is away.
    second.kill();
    let away = send(&messenger, &user, &neo, &format!("Send({{ Target = '{far}', Action = 'Far' }})")).await;
    let waits = |trace: &Value| {
        let entry = &trace["outbox"][0];
        entry["state"] == "pending" && entry["attempts"].as_u64() > Some(0) && entry["cause"].is_string()
    };
    let trace = traced(&computer, &away, "it says why it waits", waits).await;
    assert_eq!(trace["outbox"][0]["messenger"], messenger.address, "who is on duty told it");
    let tree = print(&scheduler, &[&away]);
    assert!(tree.contains(&format!("sent Far to {far}: pending, tried ")), "{tree}");
    second.restart();
    let came = traced(&computer, &away, "it arrives", |trace| trace["outbox"][0]["trace"]["slot"] == 1).await;
    assert_eq!(came["outbox"][0]["trace"]["process"], far);

    // A process is traced from its first message; what nobody knows is an error.
    assert_eq!(computer.get(&format!("/trace/{neo}")).await.unwrap().1["slot"], 0);
    assert_eq!(computer.get(&format!("/trace/{}", "A".repeat(43))).await.unwrap().0, 404);
    assert_eq!(computer.get("/trace/nonsense").await.unwrap().0, 400);
}
