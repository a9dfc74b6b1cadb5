//! Hosting processes as a compute unit does, over the sockets of real workers: transfers of a token with few and many
//! holders, with errors among them; dry-runs; starting from a snapshot; memory; and many processes on two processors.
//!
//! ```sh
//! cargo bench --locked --workspace --bench hosting            # all
//! cargo bench --locked --workspace --bench hosting -- transfers 10000
//! ```

#![allow(clippy::expect_used, reason = "a benchmark that can't go on ends")]

use std::process::Command;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use ao_node::vm::{Env, Launcher, Limits, Message, Program, Snapshot, Unit, Worker, runtime};
use ao_protocol::tag::Tag;
use ao_tests::nodes::program;

const OWNER: &str = "the-owner";
const TOKEN: &str = include_str!("token.lua");
/// Slots that a compute unit hands to a worker at once when it catches up.
const BATCH: usize = 64;
/// Time for each figure.
const TIME: Duration = Duration::from_secs(3);
/// Slots of the process that is started anew, and at how many places.
const SLOTS: u64 = 100_000;
const STARTS: usize = 15;
/// Processes at once, and for how long.
const PROCESSES: usize = 16;
const TOGETHER: Duration = Duration::from_secs(5);

fn main() {
    // Cargo adds "--bench".
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    runtime.block_on(async {
        match arguments.as_slice() {
            ["transfers", holders] => transfers(holders.parse().expect("a number of holders")).await,
            ["rebuilds"] => rebuilds().await,
            ["cold-starts"] => cold_starts(10_000).await,
            ["together"] => println!("{:.0}", together().await),
            [] => {
                for holders in [0, 10_000, 1_000_000] {
                    transfers(holders).await;
                }
                dry_runs(10_000).await;
                rebuilds().await;
                cold_starts(10_000).await;
                memory().await;
                scaling();
            }
            _ => println!("transfers HOLDERS, rebuilds, cold-starts, together, or nothing"),
        }
    });
}

struct Token {
    worker: Worker,
    slot: u64,
    snapshot: Option<Snapshot>,
}

static LAUNCHER: LazyLock<Launcher> = LazyLock::new(|| Launcher::new(program()));

async fn start() -> Worker {
    start_by(&LAUNCHER).await
}

async fn start_by(launcher: &Launcher) -> Worker {
    let unit = |id: &str| Unit { id: id.into(), owner: OWNER.into(), tags: Vec::new() };
    let token = Program {
        source: runtime::source(),
        env: Env { process: unit("the-process"), module: unit("the-module") },
        limits: Limits { memory_bytes: 1 << 30, instructions: 1_000_000_000 },
    };
    Worker::start(launcher, &token).await.expect("a worker")
}

impl Token {
    async fn new(holders: usize) -> Token {
        let mut token = Token { worker: start().await, slot: 0, snapshot: None };
        let code = format!("HOLDERS = {holders}\n{TOKEN}");
        token.apply(&[message(&code, &[("Action", "Eval")])]).await;
        token
    }

    /// Applies all; how many failed.
    async fn apply(&mut self, messages: &[Message]) -> usize {
        let (mut rest, mut failed) = (messages, 0);
        while !rest.is_empty() {
            let outcomes = self.worker.apply(self.slot, rest).await.expect("the worker answers");
            self.slot += outcomes.len() as u64;
            rest = &rest[outcomes.len()..];
            failed += outcomes.iter().filter(|outcome| outcome.error.is_some()).count();
            self.snapshot = self.worker.take_snapshot().or(self.snapshot.take());
        }
        failed
    }

    /// Messages a second.
    async fn rate(&mut self, batch: &[Message], fail: usize) -> f64 {
        let (started, mut done) = (Instant::now(), 0);
        while started.elapsed() < TIME {
            assert_eq!(self.apply(batch).await, fail);
            done += batch.len();
        }
        done as f64 / started.elapsed().as_secs_f64()
    }
}

fn message(data: &str, tags: &[(&str, &str)]) -> Message {
    Message {
        id: Some("the-message".into()),
        data: Some(data.as_bytes().to_vec()),
        owner: OWNER.into(),
        from: OWNER.into(),
        target: "the-process".into(),
        tags: tags.iter().map(|(name, value)| Tag::new(*name, *value)).collect(),
        ..Message::default()
    }
}

fn transfer(quantity: &str) -> Message {
    let recipient = format!("{:043}", 7);
    message("", &[("Action", "Transfer"), ("Recipient", &recipient), ("Quantity", quantity)])
}

async fn transfers(holders: usize) {
    let mut token = Token::new(holders).await;
    let (good, bad) = (transfer("1"), transfer("100000000000"));
    let alternating: Vec<Message> = (0..BATCH).map(|at| if at % 2 == 0 { &good } else { &bad }).cloned().collect();
    let one = token.rate(std::slice::from_ref(&good), 0).await;
    let batches = token.rate(&vec![good.clone(); BATCH], 0).await;
    let refused = token.rate(std::slice::from_ref(&bad), 1).await;
    let half = token.rate(&alternating, BATCH / 2).await;
    println!(
        "{holders} holders: one by one {one:.0} a second, in batches {batches:.0} a second, \
         refused {refused:.0} a second, every second refused {half:.0} a second"
    );
}

/// The median and the largest.
fn spread(mut times: Vec<Duration>) -> String {
    times.sort();
    let middle = times[times.len() / 2];
    format!("p50 {:.2} ms, worst {:.2} ms", middle.as_secs_f64() * 1e3, times[times.len() - 1].as_secs_f64() * 1e3)
}

async fn dry_runs(holders: usize) {
    let mut token = Token::new(holders).await;
    let mut times = Vec::new();
    for _ in 0..500 {
        let started = Instant::now();
        token.worker.evaluate_without_keeping(&transfer("1")).await.expect("an outcome");
        times.push(started.elapsed());
    }
    println!("dry-run with {holders} holders: {}", spread(times));
}

/// What a rebuild consists of: a state becomes bytes and comes back from them, over the socket; and starting a worker.
async fn rebuilds() {
    let (anew, mut starting) = (LAUNCHER.clone().without_zygote(), Vec::new());
    for _ in 0..30 {
        let started = Instant::now();
        start_by(&anew).await;
        starting.push(started.elapsed());
    }
    println!("start of a new run of the executable: {}", spread(starting));
    for holders in [0, 10_000, 1_000_000] {
        let mut token = Token::new(holders).await;
        let (mut starting, mut saving, mut restoring) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..if holders > 100_000 { 3 } else { 30 } {
            let started = Instant::now();
            let snapshot = token.worker.save().await.expect("a state");
            saving.push(started.elapsed());
            let started = Instant::now();
            let mut worker = start().await;
            starting.push(started.elapsed());
            let started = Instant::now();
            worker.restore(&snapshot).await.expect("a state");
            restoring.push(started.elapsed());
        }
        println!("{holders} holders: start {}", spread(starting));
        println!("  save {}; restore {}", spread(saving), spread(restoring));
    }
}

/// From nothing to the state after a slot, at several slots near the end of a long log: the newest snapshot, and what
/// comes after it.
async fn cold_starts(holders: usize) {
    let mut token = Token::new(holders).await;
    let batch = vec![transfer("1"); BATCH];
    while token.slot < SLOTS {
        token.apply(&batch).await;
    }
    let (mut restoring, mut replaying, mut interval) = (Vec::new(), Vec::new(), Vec::new());
    let mut last = token.snapshot.as_ref().map_or(0, |snapshot| snapshot.slot);
    while restoring.len() < STARTS {
        // Somewhere between two rebuild points.
        for _ in 0..=restoring.len() % 7 * 5 {
            token.apply(&batch).await;
        }
        let snapshot = token.snapshot.clone().expect("a long log has rebuild points");
        if snapshot.slot != last {
            interval.push(snapshot.slot - last);
            last = snapshot.slot;
        }
        let started = Instant::now();
        let mut worker = start().await;
        worker.restore(&snapshot).await.expect("a state");
        restoring.push(started.elapsed());
        let started = Instant::now();
        let mut slot = snapshot.slot + 1;
        while slot < token.slot {
            let rest = (token.slot - slot).min(BATCH as u64) as usize;
            slot += worker.apply(slot, &batch[..rest]).await.expect("outcomes").len() as u64;
        }
        replaying.push(started.elapsed());
    }
    println!("cold start after {SLOTS} slots with {holders} holders: restore {}", spread(restoring));
    println!("  and what came since the snapshot: {}; slots between snapshots: {interval:?}", spread(replaying));
}

/// Memory of a process and all below it that is its own, and its part of what it shares, in MiB.
fn memory_of(pid: u32) -> f64 {
    let of_one = |pid: u32| {
        let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("Pss:")).unwrap_or("0 kB");
        line.trim().trim_end_matches(" kB").trim().parse::<f64>().unwrap_or(0.0) / 1024.0
    };
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let below = children.split_whitespace().filter_map(|child| child.parse().ok()).map(memory_of);
    of_one(pid) + below.sum::<f64>()
}

async fn memory() {
    for holders in [0, 10_000, 1_000_000] {
        let mut token = Token::new(holders).await;
        token.apply(&vec![transfer("1"); BATCH]).await;
        let saved = token.worker.save().await.map_or(0, |snapshot| snapshot.bytes.len());
        println!(
            "{holders} holders: a hot process takes {:.1} MiB, an idle one none and {:.2} MiB on disk",
            memory_of(token.worker.pid()),
            saved as f64 / f64::from(1 << 20)
        );
    }
}

/// Messages a second of many processes at once.
async fn together() -> f64 {
    let mut tokens = Vec::new();
    for _ in 0..PROCESSES {
        tokens.push(Token::new(1000).await);
    }
    let started = Instant::now();
    let work = tokens.into_iter().map(|mut token| {
        tokio::spawn(async move {
            let (batch, mut done) = (vec![transfer("1"); BATCH], 0);
            while started.elapsed() < TOGETHER {
                token.apply(&batch).await;
                done += batch.len();
            }
            done
        })
    });
    let mut done = 0;
    for work in work.collect::<Vec<_>>() {
        done += work.await.expect("it went well");
    }
    done as f64 / started.elapsed().as_secs_f64()
}

/// The same on one processor and on two.
fn scaling() {
    let run = |processors: &str| -> f64 {
        let this = std::env::current_exe().expect("this program");
        let output = Command::new("taskset").args(["-c", processors]).arg(this).arg("together").output();
        let output = output.expect("taskset, of util-linux");
        String::from_utf8_lossy(&output.stdout).trim().parse().expect("a number")
    };
    let (one, two) = (run("0"), run("0,1"));
    println!("{PROCESSES} processes: one processor {one:.0} a second, two {two:.0}, {:.2} times", two / one);
}
