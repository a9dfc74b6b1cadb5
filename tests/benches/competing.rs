//! What competing costs a compute unit: processor time of its node for each slot, beside what evaluating the slot
//! takes, at a load of 30 % of what one unit can evaluate, with other nodes that only follow and with others that
//! compute and attest the same slots.
//!
//! ```sh
//! cargo bench --locked --workspace --bench competing             # 30 s each
//! ```

#![allow(clippy::expect_used, reason = "a benchmark that can't go on ends")]

use std::sync::Arc;
use std::time::Instant;

use ao_protocol::item::ItemBuilder;
use ao_tests::load::{Load, until};
use ao_tests::nodes::{TestNode, User, wait_for_async};

/// Load while it is measured, of what one unit can evaluate.
const LOAD: f64 = 0.3;
/// Nodes beside the scheduler.
const NODES: usize = 3;
/// Messages by which it is found how long evaluating one takes.
const CALIBRATION: usize = 500;
/// Requests under way at once.
const SENDERS: usize = 8;
/// The clock of `/proc/PID/stat`, in ticks a second.
const TICKS: f64 = 100.0;
/// Some milliseconds of work for each message: with three units on two processors there must be some left.
const PROGRAM: &str = "Total = 0 Handlers.add('Work', 'Work', function(msg)
    for i = 1, 40000 do Total = (Total + i * #msg.Data) % 1000003 end end)";

fn main() {
    let seconds = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(30);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    println!(
        "{:>6} {:>7} {:>9} {:>16} {:>18} {:>10}",
        "units", "quorum", "slots/s", "evaluation ms", "unit's node ms", "cost"
    );
    let alone = runtime.block_on(run(1, 1, seconds, None));
    for quorum in [1, 3] {
        runtime.block_on(run(3, quorum, seconds, Some(alone)));
    }
}

/// What was measured of one unit: slots a second, and processor time of its node for each slot, in milliseconds.
#[derive(Clone, Copy)]
struct Measured {
    rate: f64,
    node: f64,
}

/// Measures one unit among so many, at the load of the one that was alone.
async fn run(units: usize, quorum: u32, seconds: u64, alone: Option<Measured>) -> Measured {
    let scheduler = TestNode::start("su", None);
    let join = Some(scheduler.multiaddr.as_str());
    // Always as many nodes: what is gossiped beside attestations costs the same.
    let role = |n: usize| if n < units { "cu" } else { "none" };
    let computers: Vec<TestNode> = (0..NODES).map(|n| TestNode::start(role(n), join)).collect();
    let user = Arc::new(User::default());
    let process = wait_for_async("a process", async || spawn(&user, &scheduler, quorum).await).await;
    user.type_in(&scheduler, &computers[0], &process, PROGRAM).await.expect("the program is loaded");
    let unit = &computers[0];
    let before = times(unit);
    send(&user, &scheduler, &process, CALIBRATION, None).await;
    computed(unit, &process, CALIBRATION).await;
    let evaluation = (times(unit).1 - before.1) / CALIBRATION as f64;
    let rate = alone.map_or(LOAD / evaluation.max(1e-4), |alone| alone.rate);
    let count = (rate * seconds as f64) as usize;
    let before = times(unit);
    let began = Instant::now();
    send(&user, &scheduler, &process, count, Some(rate)).await;
    let sent = count as f64 / began.elapsed().as_secs_f64();
    computed(unit, &process, CALIBRATION + count).await;
    let after = times(unit);
    let each = |from: f64, to: f64| (to - from) * 1000.0 / count as f64;
    let (node, worker) = (each(before.0, after.0), each(before.1, after.1));
    // The difference is what the others' word costs; a unit's own costs less than one of theirs.
    let cost = alone.map_or_else(String::new, |alone| {
        format!("{:.1} %", 100.0 * (node - alone.node) * units as f64 / (units - 1) as f64 / worker)
    });
    println!("{units:>6} {quorum:>7} {sent:>9.0} {worker:>16.3} {node:>18.3} {cost:>10}");
    Measured { rate, node }
}

async fn spawn(user: &User, node: &TestNode, quorum: u32) -> Option<String> {
    let (_, peers) = node.get("/ao/peers").await.ok()?;
    let item = user.sign(
        ItemBuilder::new()
            .tag("Type", "Process")
            .tag("Module", peers["module"].as_str()?)
            .tag("Scheduler", node.address.clone())
            .tag("Authority", node.address.clone())
            .tag("Compute-Quorum", quorum.to_string())
            .data(" "),
    );
    let process = item.id().to_string();
    let (status, _) = node.post("/mu", item.bytes().to_vec()).await.ok()?;
    user.result(node, &process, &process).await.ok().filter(|_| status == 202).map(|_| process)
}

/// Sends messages, at a rate or as fast as it goes.
async fn send(user: &Arc<User>, scheduler: &TestNode, process: &str, messages: usize, rate: Option<f64>) {
    let load = Load { messages, senders: SENDERS, rate, action: "Work", data: b"some data".to_vec() };
    load.send(user, scheduler, process).await;
}

/// Waits until so many messages beside the first two slots are computed.
async fn computed(unit: &TestNode, process: &str, messages: usize) {
    until("all is computed", async || {
        let (_, race) = unit.get(&format!("/race/{process}?limit=1")).await.expect("an answer");
        race["computed"].as_u64() >= Some(messages as u64 + 1)
    })
    .await;
}

/// Processor time of a node, and of all that it started, in seconds.
fn times(node: &TestNode) -> (f64, f64) {
    let all = with_children(node.pid());
    (own(node.pid()), all - own(node.pid()))
}

fn own(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // Behind the name, which may hold anything: state is the first field, user and system time are the 12th and 13th.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |place: usize| fields.get(place).and_then(|ticks| ticks.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(11) + ticks(12)) / TICKS
}

fn with_children(pid: u32) -> f64 {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let children = tasks.flat_map(|task| {
        let children = std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
        children.split_whitespace().filter_map(|child| child.parse::<u32>().ok()).collect::<Vec<_>>()
    });
    own(pid) + children.map(with_children).sum::<f64>()
}
