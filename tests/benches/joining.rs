//! A compute unit joins a process with many slots: how long until it has attested the newest one, with a certified
//! checkpoint and by evaluating everything; and how long it takes to fill in what was before the checkpoint.
//!
//! ```sh
//! cargo bench --locked --workspace --bench joining               # 100,000 slots
//! cargo bench --locked --workspace --bench joining -- 20000
//! ```

#![allow(clippy::expect_used, reason = "a benchmark that can't go on ends")]

use std::time::{Duration, Instant};

use ao_tests::load::{Load, until};
use ao_tests::nodes::{TestNode, User, wait_for_async};
use serde_json::Value;

/// Slots when nothing is said.
const SLOTS: usize = 100_000;
/// Requests under way at once.
const SENDERS: usize = 32;
/// A millisecond of work for each message.
const PROGRAM: &str = "Total = 0 Handlers.add('Work', 'Work', function(msg)
    for i = 1, 14000 do Total = (Total + i * #msg.Data) % 1000003 end end)";

fn main() {
    let slots = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(SLOTS);
    tokio::runtime::Runtime::new().expect("a runtime").block_on(run(slots));
}

async fn run(slots: usize) {
    let scheduler = TestNode::start("su", None);
    let join = Some(scheduler.multiaddr.as_str());
    let computers = [TestNode::start("cu", join), TestNode::start("cu", join)];
    let user = std::sync::Arc::new(User::default());
    let spawned = async || user.spawn(&scheduler, &scheduler.address, &scheduler.address).await.ok();
    let process = wait_for_async("a process", spawned).await;
    user.type_in(&scheduler, &computers[0], &process, PROGRAM).await.expect("the program is loaded");
    let began = Instant::now();
    let load = Load { messages: slots, senders: SENDERS, rate: None, action: "Work", data: b"some data".to_vec() };
    load.send(&user, &scheduler, &process).await;
    println!("{slots} messages have their slots after {:.1} s", began.elapsed().as_secs_f64());
    let tip = slots as u64 + 1;
    for node in &computers {
        until(&format!("{} has computed all", node.url), async || {
            race(node, &process).await["computed"].as_u64() == Some(tip)
        })
        .await;
    }
    println!("two units have computed all after {:.1} s", began.elapsed().as_secs_f64());
    let expected = race(&computers[0], &process).await;

    let began = Instant::now();
    let late = TestNode::start("cu", join);
    let joined = attests(&late, &process, tip, began).await;
    println!("with a checkpoint: started, and the tip attested, after {:.2} s", joined.as_secs_f64());
    until("the log is filled in", async || {
        let race = race(&late, &process).await;
        race["began_with"].is_u64() && race["missing"].is_null()
    })
    .await;
    println!("  what was before the checkpoint is here after {:.1} s", began.elapsed().as_secs_f64());
    let last = race(&late, &process).await;
    println!("  began with slot {}", last["began_with"]);
    same(&expected, &last, &late, &computers[0], &process, tip).await;

    let began = Instant::now();
    let thorough = TestNode::start_with("cu", join, &["--verify-from-zero"]);
    let replayed = attests(&thorough, &process, tip, began).await;
    println!("by replay: after {:.1} s", replayed.as_secs_f64());
    same(&expected, &race(&thorough, &process).await, &thorough, &computers[0], &process, tip).await;
    println!("a checkpoint is {:.0} times as fast", replayed.as_secs_f64() / joined.as_secs_f64());
}

async fn same(expected: &Value, found: &Value, node: &TestNode, other: &TestNode, process: &str, tip: u64) {
    assert_eq!(expected["checkpoint"], found["checkpoint"], "the same checkpoint");
    let chain = async |node: &TestNode| {
        let (_, slot) = node.get(&format!("/ao/slots/{process}/{tip}")).await.expect("an answer");
        slot["outcome_chain"].clone()
    };
    assert_eq!(chain(node).await, chain(other).await, "the same outcome chain");
    println!("  outcome chain and checkpoint are those of the others");
}

async fn race(node: &TestNode, process: &str) -> Value {
    node.get(&format!("/race/{process}?limit=1")).await.map_or(Value::Null, |(_, race)| race)
}

/// How long after `began` the unit had attested the tip.
async fn attests(node: &TestNode, process: &str, tip: u64, began: Instant) -> Duration {
    until("the tip is attested", async || {
        let race = race(node, process).await;
        let units = race["units"].as_array().map(Vec::as_slice).unwrap_or_default();
        units.iter().any(|unit| unit["unit"] == node.address && unit["agrees_up_to"].as_u64() == Some(tip))
    })
    .await;
    began.elapsed()
}
