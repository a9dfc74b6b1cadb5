//! Processes that send without end: they are bounded, slowed and visible, and others go on.

use std::time::Instant;

use ao_protocol::messenger::{MAX_OWN_BURST, OWN_PER_SECOND};
use ao_tests::nodes::{TestNode, User, wait_for_async};
use serde_json::json;

use super::{says, send, spawn};

/// Deliveries that ended as dead letters.
const DEAD: &str = "ao_deliveries_total{state=\"dead\"} ";
/// How often a process had to wait because it sends to itself.
const SLOWED: &str = "ao_self_sending_slowed_total ";

async fn metric(node: &TestNode, name: &str) -> u64 {
    let metrics = reqwest::get(format!("{}/metrics", node.url)).await.unwrap().text().await.unwrap();
    let line = metrics.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{name}: {metrics}"));
    line[name.len()..].parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_sends_to_itself_for_ever_ends_as_a_dead_letter() {
    let node = TestNode::start("mu,su,cu", None);
    let user = User::default();
    let process = spawn(&user, &node, &node, &node.address).await;
    let handler = "Times = 0 Handlers.add('Again', 'Again', function(msg)
        Times = Times + 1 Send({ Target = ao.id, Action = 'Again' }) end)";
    send(&node, &user, &process, handler).await;
    let began = send(&node, &user, &process, "Send({ Target = ao.id, Action = 'Again' })").await;
    let letters = wait_for_async("the chain ends", async || {
        let (_, answer) = node.get(&format!("/ao/dead-letters?process-id={process}")).await.ok()?;
        let letters = answer["dead_letters"].as_array()?.clone();
        (!letters.is_empty()).then_some(letters)
    })
    .await;
    assert_eq!(letters.len(), 1);
    let letter = &letters[0];
    assert!(letter["reason"].as_str().unwrap().contains("push depth 257 exceeds"), "{letter}");
    assert_eq!((&letter["action"], &letter["can_be_driven"]), (&json!("Again"), &json!(true)));
    assert_eq!(says(&node, &user, &process, "Times").await, "256");
    let (_, trace) = node.get(&format!("/trace/{began}")).await.unwrap();
    assert!(trace["outbox"][0]["trace"]["outbox"][0]["trace"].is_object(), "{trace}");

    // By the command line, and driven again to the same end.
    let run = |arguments: &[&str]| {
        let program = ao_tests::nodes::program();
        let output = std::process::Command::new(program).args(arguments).env("AO_NODE", &node.url).output().unwrap();
        let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
        (output.status.success(), said)
    };
    let id = letter["id"].as_str().unwrap();
    let (_, listed) = run(&["dead-letters"]);
    assert!(listed.contains(id) && listed.contains("refused: push depth 257"), "{listed}");
    assert_eq!(metric(&node, DEAD).await, 1);
    let (done, said) = run(&["dead-letters", id, "--redrive"]);
    assert!(done && said.contains("1 driven again"), "{said}");
    wait_for_async("it was refused again", async || (metric(&node, DEAD).await == 2).then_some(())).await;
    let (_, listed) = run(&["dead-letters"]);
    assert!(listed.contains(id), "{listed}");
    let said = wait_for_async("nothing to drive is no success", async || {
        let (done, said) = run(&["dead-letters", "--process", &node.address, "--redrive"]);
        assert!(!done, "{said}");
        // Another request was made just before.
        (!said.contains("in a moment")).then_some(said)
    })
    .await;
    assert!(said.contains("no dead letter was driven again"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_avalanche_does_not_hold_up_others() {
    let node = TestNode::start("mu,su,cu", None);
    let user = User::default();
    let wild = spawn(&user, &node, &node, &node.address).await;
    let calm = spawn(&user, &node, &node, &node.address).await;
    let handler = "Handlers.add('Again', 'Again', function(msg)
        for _ = 1, 3 do Send({ Target = ao.id, Action = 'Again' }) end end)";
    send(&node, &user, &wild, handler).await;
    let since = Instant::now();
    let began = send(&node, &user, &wild, "Send({ Target = ao.id, Action = 'Again' })").await;
    // It says what holds it up, while others are served.
    wait_for_async("the avalanche is slowed", async || {
        let (_, trace) = node.get(&format!("/trace/{began}")).await.ok()?;
        trace.to_string().contains("it sends to itself without end").then_some(())
    })
    .await;
    for n in 1..=20 {
        assert_eq!(says(&node, &user, &calm, "Count = (Count or 0) + 1 return Count").await, n.to_string());
    }
    assert_ne!(metric(&node, SLOWED).await, 0);
    // A burst, then so many a second as the protocol says, and what the owner sent.
    let (_, tip) = node.get(&format!("/su/{wild}/latest")).await.unwrap();
    let slots: u64 = ao_tests::nodes::tag(&tip["assignment"], "Nonce").parse().unwrap();
    let most = MAX_OWN_BURST + OWN_PER_SECOND * (since.elapsed().as_secs() + 1) + 10;
    assert!(slots <= most, "{slots} slots, at most {most}");
    // Its owner still gets a word in.
    assert_eq!(says(&node, &user, &wild, "return 'still here'").await, "still here");
}
