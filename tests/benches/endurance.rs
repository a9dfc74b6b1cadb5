//! A steady load for some minutes on separate nodes: what each holds in memory, workers included, as time goes by.
//!
//! ```sh
//! cargo bench --locked --workspace --bench endurance               # 10 minutes, 150 messages a second
//! cargo bench --locked --workspace --bench endurance -- 2 300      # 2 minutes, 300 a second
//! ```

#![allow(clippy::expect_used, reason = "a benchmark that can't go on ends")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ao_tests::nodes::{TestNode, User, wait_for_async};

/// Processes that send to each other.
const PROCESSES: usize = 10;
/// Requests under way at once.
const SENDERS: u64 = 16;
/// Rows of the table.
const ROWS: u32 = 20;
/// The program: every message is passed on to another process, whose state grows by nothing.
const PROGRAM: &str = "Count = 0 Handlers.add('Pass', 'Pass', function(msg)
    Count = Count + 1 Send({ Target = msg.Next, Action = 'Passed', Data = msg.Data }) end)
    Handlers.add('Passed', 'Passed', function(msg) Count = Count + 1 end)";

fn main() {
    let arguments: Vec<u64> = std::env::args().skip(1).filter_map(|argument| argument.parse().ok()).collect();
    let minutes = arguments.first().copied().unwrap_or(10);
    let rate = arguments.get(1).copied().unwrap_or(150);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(run(Duration::from_secs(60 * minutes), rate));
}

async fn run(time: Duration, rate: u64) {
    let scheduler = TestNode::start("su", None);
    let join = Some(scheduler.multiaddr.as_str());
    let (messenger, computer, second) =
        (TestNode::start("mu", join), TestNode::start("cu", join), TestNode::start("cu", join));
    let user = Arc::new(User::default());
    let mut processes = Vec::new();
    for _ in 0..PROCESSES {
        let spawned = async || user.spawn(&messenger, &scheduler.address, &messenger.address).await.ok();
        let process = wait_for_async("a process", spawned).await;
        user.type_in(&messenger, &computer, &process, PROGRAM).await.expect("the program is loaded");
        processes.push(process);
    }
    let processes = Arc::new(processes);
    let (taken, refused) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let began = Instant::now();
    let senders: Vec<_> = (0..SENDERS)
        .map(|sender| {
            let (user, processes, url) = (user.clone(), processes.clone(), messenger.url.clone());
            let (taken, refused) = (taken.clone(), refused.clone());
            tokio::spawn(async move {
                let client = reqwest::Client::builder().no_proxy().build().expect("a client");
                let mut due = tokio::time::interval(Duration::from_micros(1_000_000 * SENDERS / rate));
                due.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
                let mut n = sender;
                while began.elapsed() < time {
                    due.tick().await;
                    n += SENDERS;
                    let at = |n: u64| &processes[n as usize % PROCESSES];
                    let item = user.message(at(n), &[("Action", "Pass"), ("Next", at(n * 7 + 3))], &[b'x'; 200]);
                    let sent = client.post(format!("{url}/mu")).body(item.bytes().to_vec()).send().await;
                    let counter = if sent.is_ok_and(|answer| answer.status() == 202) { &taken } else { &refused };
                    counter.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    let nodes = [("su", &scheduler), ("mu", &messenger), ("cu", &computer), ("cu 2", &second)];
    println!(
        "{:>7} {:>9} {:>9} {}",
        "seconds",
        "messages",
        "computed",
        nodes.map(|(name, _)| format!("{name:>8}")).join(" ")
    );
    for row in 0..=ROWS {
        tokio::time::sleep_until((began + time * row / ROWS).into()).await;
        let computed = metric(&computer, "ao_outcomes_recorded_total").await;
        let memory =
            nodes.map(|(_, node)| format!("{:>5} MiB", resident_kib(node.pid()) / 1024).replace(" MiB", "MiB"));
        let (seconds, taken) = (began.elapsed().as_secs(), taken.load(Ordering::Relaxed));
        println!("{seconds:>7} {taken:>9} {computed:>9} {}", memory.join(" "));
    }
    for sender in senders {
        sender.await.expect("a sender ends");
    }
    let waited = Instant::now();
    let expected = 2 * taken.load(Ordering::Relaxed) + 2 * PROCESSES as u64;
    wait_for_async("all is computed", async || {
        (metric(&second, "ao_outcomes_recorded_total").await >= expected).then_some(())
    })
    .await;
    for part in ["block_cache", "write_buffers", "table_readers"] {
        let bytes = metric(&scheduler, &format!("ao_database_memory_bytes{{part=\"{part}\"}}")).await;
        println!("the scheduler's database, {part}: {} MiB", bytes >> 20);
    }
    println!(
        "all computed {:.1} s after the last message; {} refused",
        waited.elapsed().as_secs_f64(),
        refused.load(Ordering::Relaxed)
    );
}

async fn metric(node: &TestNode, name: &str) -> u64 {
    let text = async { reqwest::get(format!("{}/metrics", node.url)).await.ok()?.text().await.ok() }.await;
    let text = text.unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with(name));
    line.and_then(|line| line.split(' ').next_back()?.parse().ok()).unwrap_or(0)
}

/// What a process and all that it started hold in memory, counted as their proportional share (`Pss`): workers share
/// pages with what they are copies of.
fn resident_kib(pid: u32) -> u64 {
    let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let own = rollup.lines().find_map(|line| line.strip_prefix("Pss:")?.trim().strip_suffix(" kB")?.parse().ok());
    let mut kib: u64 = own.unwrap_or(0);
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    for task in tasks {
        let children = std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
        kib += children.split_whitespace().filter_map(|child| child.parse().ok()).map(resident_kib).sum::<u64>();
    }
    kib
}
