//! The log to Arweave and back: how many slots a second a scheduler mirrors and `ao-node restore` takes in, how many
//! bytes a slot has there, and what memory both need.
//!
//! ```sh
//! cargo bench --locked --workspace --bench mirroring               # 100,000 slots
//! cargo bench --locked --workspace --bench mirroring -- 20000
//! cargo bench --locked --workspace --bench mirroring -- 1100 950000   # slots, bytes of each message: about 1 GB
//! ```

#![allow(clippy::expect_used, reason = "a benchmark that can't go on ends")]

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ao_tests::arweave::WALLET;
use ao_tests::load::{LIMIT, Load};
use ao_tests::nodes::{Setup, TestNode, User, memory, program};
use serde_json::Value;

/// Slots when nothing is said, and bytes of each message's data.
const SLOTS: usize = 100_000;
const BYTES: usize = 100;
/// Requests under way at once.
const SENDERS: usize = 32;

fn main() {
    let mut numbers = std::env::args().skip(1).filter_map(|argument| argument.parse().ok());
    let (slots, bytes) = (numbers.next().unwrap_or(SLOTS), numbers.next().unwrap_or(BYTES));
    tokio::runtime::Runtime::new().expect("a runtime").block_on(run(slots, bytes));
}

async fn run(slots: usize, bytes: usize) {
    let gateway = TestNode::start_with("none", None, &["--dev-chain"]);
    let folder = tempfile::tempdir().expect("a folder");
    let setup = || Setup { data: Some(folder.path().join("su")), ..Setup::default() };
    let scheduler = TestNode::start_in("su", None, &[], setup());
    let user = Arc::new(User::default());
    let process = user.spawn_at(&scheduler).await.expect("a process");
    let load = Load { messages: slots, senders: SENDERS, rate: None, action: "Test", data: vec![b'x'; bytes] };
    load.send(&user, &scheduler, &process).await;
    let address = scheduler.address.clone();
    drop(scheduler);
    // All of it waits when the mirror starts.
    let mirror = ["--arweave", &gateway.url, "--arweave-wallet", WALLET, "--mirror-confirmations", "1"];
    let scheduler = TestNode::start_in("su", None, &[&mirror[..], &["--mirror-seconds", "0"]].concat(), setup());
    let (began, before) = (Instant::now(), memory(scheduler.pid()));
    let mut most = before;
    let all = slots as u64 + 1;
    let landed = loop {
        most = most.max(memory(scheduler.pid()));
        let (_, mirror) = scheduler.get("/ao/mirror").await.expect("an answer");
        if mirror["landed"]["slots"].as_u64() == Some(all) {
            break mirror["landed"].clone();
        }
        assert!(began.elapsed() < LIMIT, "waited in vain: {mirror:#}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let mirrored = began.elapsed().as_secs_f64();
    let on_arweave = landed["bytes"].as_f64().expect("a number");
    println!(
        "{all} slots mirrored in {mirrored:.1} s: {:.0} a second, {} bundles, {on_arweave:.0} bytes, {:.0} a slot",
        all as f64 / mirrored,
        landed["bundles"],
        on_arweave / all as f64
    );
    println!("  memory of the scheduler: {} MiB before, {} MiB at most", before >> 10, most >> 10);
    drop(scheduler);

    let mut command = Command::new(program());
    command.args(["restore", "--json", "--arweave", &gateway.url, "--scheduler", &address, "--data"]);
    let mut restoring = command.arg(folder.path().join("again")).stdout(Stdio::piped()).spawn().expect("it starts");
    let mut most = 0;
    while restoring.try_wait().expect("it can be looked at").is_none() {
        most = most.max(memory(restoring.id()));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let output = restoring.wait_with_output().expect("it ends");
    let report: Value = serde_json::from_slice(&output.stdout).expect("a report");
    assert_eq!(report["processes"][&process], slots, "{report:#}");
    let seconds = report["seconds"].as_f64().expect("a number");
    println!("{all} slots restored in {seconds:.1} s: {:.0} a second", all as f64 / seconds);
    println!("  memory of ao-node restore: {} MiB at most", most >> 10);
}
