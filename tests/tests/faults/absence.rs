//! A node that was away while much happened catches up by itself. With `AO_ABSENCE=10000` so many messages pass.

use std::time::Instant;

use ao_tests::nodes::{TestNode, User, wait_for_async};

use super::spawn;

/// Messages that pass meanwhile, in a normal run.
const MESSAGES: usize = 1000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_was_away_catches_up_by_itself() {
    let messages = std::env::var("AO_ABSENCE").ok().and_then(|text| text.parse().ok()).unwrap_or(MESSAGES);
    let here = TestNode::start("mu,su,cu", None);
    let mut away = TestNode::start("cu", Some(&here.multiaddr));
    let user = User::default();
    let process = spawn(&user, &here, &here, &here.address).await;
    let tip = async |node: &TestNode| {
        let (status, answer) = node.get(&format!("/su/{process}/latest")).await.ok()?;
        (status == 200).then(|| ao_tests::nodes::tag(&answer["assignment"], "Nonce").to_string())
    };
    wait_for_async("both have the process", async || (tip(&away).await == tip(&here).await).then_some(())).await;
    away.kill();
    let mut last = String::new();
    for n in 1..=messages {
        let item = user.eval(&process, "Count = (Count or 0) + 1 return Count");
        let (status, answer) = here.post("/mu", item.bytes().to_vec()).await.unwrap();
        assert_eq!(status, 202, "message {n}: {answer}");
        last = item.id().to_string();
    }
    let began = Instant::now();
    away.restart();
    let started = began.elapsed();
    let result = wait_for_async("it knows the last result", async || {
        let result = user.result(&away, &process, &last).await.ok()?;
        Some(result["Output"]["data"].as_str().unwrap_or_default().to_string())
    })
    .await;
    assert_eq!(result, messages.to_string());
    let took = began.elapsed();
    assert_eq!(away.slots(&process).await.unwrap(), here.slots(&process).await.unwrap());
    println!("{messages} messages: it was up after {started:?} and had caught up after {took:?}");
}
