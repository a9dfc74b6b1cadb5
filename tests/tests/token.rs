//! A token with 50 holders in 10 processes, used through ao's own JavaScript client while nodes are killed with
//! `kill -9` at random moments. In the end nothing is lost and nothing happened twice: the sum of all balances is what
//! it was, every acknowledged transfer has one debit and one credit with one notice each, and all logs are equal. Then
//! every folder but the gateway's is deleted, and from Arweave alone, which the gateway plays, all of it comes back.
//!
//! `AO_TOKEN_SECONDS` says for how long nodes are killed. Needs Node.js and the packages of `tests/clients`.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use ao_tests::arweave::{alone, landed, mirror_arguments, outcome_chain, restore};
use ao_tests::liar::Liar;
use ao_tests::nodes::{TestNode, wait_for_async};
use rand::Rng;
use serde_json::{Value, json};

/// How long nodes are killed in a normal run.
const SECONDS: u64 = 30;
/// The same where some compute units lie.
const SECONDS_WITH_LIARS: u64 = 15;
/// Two networks at once would be too much for a small machine.
static ONE_AT_A_TIME: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
/// All that the holders have together.
const SUPPLY: i64 = 50_000;
/// Bytes of a bundle on Arweave.
const MIRROR_BYTES: &str = "200000";
/// Most nodes that are down at once.
const MAX_DOWN: usize = 3;

/// The program that sends transfers.
struct Load {
    child: Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
}

impl Load {
    fn start(network: &Value) -> Load {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients");
        let mut command = Command::new("node");
        command.arg("token-load.mjs").current_dir(folder).env("TOKEN_NETWORK", network.to_string());
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Load { child, lines }
    }

    /// The next line that it says.
    fn says(&mut self) -> Value {
        let line = self.lines.next().unwrap_or_else(|| panic!("the load ended early: see what it said above")).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|cause| panic!("{line}: {cause}"))
    }

    /// Ends it; what it was told.
    fn finish(mut self) -> Value {
        writeln!(self.child.stdin.take().unwrap()).unwrap();
        let report = self.says();
        assert!(self.child.wait().unwrap().success(), "the load failed");
        report
    }
}

/// Kills nodes at random moments and starts them again; how often.
fn kill_at_random(nodes: &mut [TestNode], time: Duration) -> usize {
    let mut rng = rand::rng();
    let deadline = Instant::now() + time;
    let mut kills = 0;
    while Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(rng.random_range(0..2500)));
        let mut down: Vec<usize> =
            (0..rng.random_range(1..=MAX_DOWN)).map(|_| rng.random_range(0..nodes.len())).collect();
        down.sort();
        down.dedup();
        for index in &down {
            nodes[*index].kill();
            kills += 1;
        }
        std::thread::sleep(Duration::from_millis(rng.random_range(0..1500)));
        // The first node is the one that all others join.
        for index in down {
            nodes[index].restart();
        }
    }
    kills
}

/// The variables of one process, as a compute unit has them after its newest slot.
async fn state(node: &TestNode, process: &str) -> Option<Value> {
    let (status, mut state) = node.get(&format!("/cu/state/{process}")).await.ok()?;
    (status == 200).then(|| state["State"].take())
}

/// What is wrong with the token, if something is.
fn wrong(states: &BTreeMap<String, Value>, acknowledged: &[Value]) -> Option<String> {
    let holdings = states.values().flat_map(|state| state["Balances"].as_object().into_iter().flatten());
    let (mut sum, mut holders) = (0, 0);
    for (holder, balance) in holdings {
        let Some(balance) = balance.as_i64().filter(|balance| *balance >= 0) else {
            return Some(format!("{holder} has {balance}"));
        };
        sum += balance;
        holders += 1;
    }
    if (holders, sum) != (50, SUPPLY) {
        return Some(format!("{holders} holders have {sum} together"));
    }
    let count = |process: &str, table: &str, id: &str| states[process][table][id].as_i64().unwrap_or(0);
    for transfer in acknowledged {
        let text = |name: &str| transfer[name].as_str().unwrap_or_default();
        let (id, from, to) = (text("id"), text("from"), text("to"));
        let notices = [(from, "Debit_notices"), (to, "Credited"), (from, "Credit_notices")];
        let seen = notices.map(|(process, table)| count(process, table, id));
        let refused = states[from]["Refused"][id].is_string();
        let expected = if refused { [0; 3] } else { [1; 3] };
        if seen != expected || refused == (count(from, "Sent", id) > 0) {
            return Some(format!("transfer {id}: refused {refused}, debit notice, credit, credit notice {seen:?}"));
        }
    }
    // What was not acknowledged may have happened, too, but then all of it, once.
    for (process, state) in states {
        for table in ["Credited", "Debit_notices", "Credit_notices"] {
            let counts = state[table].as_object().into_iter().flatten();
            if let Some((id, count)) = counts.into_iter().find(|(_, count)| **count != 1) {
                return Some(format!("{table} of {id} in {process} is {count}"));
            }
        }
    }
    let total =
        |table: &str| -> usize { states.values().map(|state| state[table].as_object().map_or(0, |t| t.len())).sum() };
    let totals = ["Sent", "Credited", "Debit_notices", "Credit_notices"].map(total);
    (totals != [totals[0]; 4]).then(|| format!("sent, credited, notices of debit and credit: {totals:?}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_survives_kill_9_of_every_node() {
    let seconds = std::env::var("AO_TOKEN_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(SECONDS);
    run(2, &[], seconds).await;
}

/// Three honest compute units and two that lie; three must agree, so that all honest ones have to be there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_survives_compute_units_that_lie() {
    run(3, &["outputs", "contradiction"], SECONDS_WITH_LIARS).await;
}

/// So many honest compute units; as many must agree that those which lie can't win. Nodes are killed for so long.
async fn run(honest: usize, lies: &[&str], seconds: u64) {
    let _others_wait = ONE_AT_A_TIME.lock().await;
    let node_is_there = Command::new("node").arg("--version").output().is_ok();
    let packages = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/node_modules/@permaweb/aoconnect");
    if !node_is_there || !packages.exists() {
        assert!(std::env::var_os("AO_REQUIRE_NODE").is_none(), "Node.js or {} is missing", packages.display());
        return println!("skipped: Node.js or {} is missing", packages.display());
    }
    let gateway = TestNode::start_with("none", None, &["--dev-chain"]);
    let join = gateway.multiaddr.clone();
    let mut nodes = vec![gateway];
    let chain = nodes[0].url.clone();
    for role in ["mu", "mu", "su", "su"].into_iter().chain(std::iter::repeat_n("cu", honest)) {
        let mirror = if role == "su" { mirror_arguments(&chain, MIRROR_BYTES) } else { Vec::new() };
        nodes.push(TestNode::start_with(role, Some(&join), &mirror));
    }
    let folder = tempfile::tempdir().unwrap();
    let liars: Vec<Liar> = lies.iter().map(|lie| Liar::start(lie, folder.path(), &join)).collect();
    let (units, computers) = (nodes.len() - 1 + liars.len(), 5..nodes.len());
    for node in &nodes {
        wait_for_async("all nodes see each other", async || {
            let (_, peers) = node.get("/ao/peers").await.ok()?;
            let own = usize::from(node.address != nodes[0].address);
            (peers["units"].as_array()?.len() + own >= units).then_some(())
        })
        .await;
    }
    let (_, peers) = nodes[0].get("/ao/peers").await.unwrap();
    let addresses = |range: std::ops::Range<usize>| -> Vec<&str> {
        nodes[range].iter().map(|node| node.address.as_str()).collect()
    };
    let urls =
        |range: std::ops::Range<usize>| -> Vec<&str> { nodes[range].iter().map(|node| node.url.as_str()).collect() };
    let network = json!({
        "gateway_url": nodes[0].url, "graphql_url": format!("{}/graphql", nodes[0].url),
        "mu_urls": urls(1..3), "cu_urls": urls(computers.clone()), "quorum": liars.len() + 1, "module": peers["module"],
        "scheduler_list": addresses(3..5), "authority": addresses(1..3).join(","),
    });
    let mut load = Load::start(&network);
    let ready = load.says();
    let processes: Vec<String> = serde_json::from_value(ready["ready"].clone()).unwrap();
    assert_eq!(processes.len(), 10);

    let (mut nodes, kills) = tokio::task::spawn_blocking(move || {
        let kills = kill_at_random(&mut nodes, Duration::from_secs(seconds));
        (nodes, kills)
    })
    .await
    .unwrap();
    let report = tokio::task::spawn_blocking(move || load.finish()).await.unwrap();
    let acknowledged = report["acknowledged"].as_array().unwrap();
    println!(
        "{kills} kills in {seconds} s; {} transfers acknowledged, {} failed",
        acknowledged.len(),
        report["failed"]
    );
    assert!(acknowledged.len() as u64 > seconds, "{} transfers test nothing", acknowledged.len());

    // Once more all at once, and then everything has to come to an end by itself.
    nodes.iter_mut().for_each(TestNode::kill);
    nodes.iter_mut().for_each(TestNode::restart);
    let began = Instant::now();
    let mut last = String::new();
    let settled = wait_for_async("the token is settled on every compute unit", async || {
        for node in &nodes[computers.clone()] {
            let mut states = BTreeMap::new();
            for process in &processes {
                states.insert(process.clone(), state(node, process).await?);
            }
            if let Some(cause) = wrong(&states, acknowledged) {
                if cause != last {
                    println!("{:.1} s: {cause}", began.elapsed().as_secs_f64());
                    last = cause;
                }
                return None;
            }
        }
        Some(())
    });
    settled.await;
    println!("settled {:.1} s after the last start", began.elapsed().as_secs_f64());
    let mut slots = 0;
    for process in &processes {
        wait_for_async("all logs and outcomes are equal", async || {
            let first = nodes[0].slots(process).await.ok()?;
            let path = format!("/ao/slots/{process}/{}", first.len() - 1);
            let chain = nodes[0].get(&path).await.ok()?.1["outcome_chain"].clone();
            for node in &nodes[1..] {
                if node.slots(process).await.ok()? != first
                    || chain.is_null()
                    || node.get(&path).await.ok()?.1["outcome_chain"] != chain
                {
                    return None;
                }
            }
            slots += first.len();
            Some(())
        })
        .await;
    }
    println!("{slots} slots in 10 processes, equal on {} nodes", nodes.len());
    // Nothing of what was made up came through, and it is on record.
    for process in processes.iter().filter(|_| !liars.is_empty()) {
        wait_for_async("every lie is on record", async || {
            let (_, race) = nodes[0].get(&format!("/race/{process}")).await.ok()?;
            let kinds: Vec<&str> = race["lies"].as_array()?.iter().filter_map(|lie| lie["kind"].as_str()).collect();
            let quorum_agrees = race["certain"].is_u64() && race["certain"] == race["computed"];
            (kinds.contains(&"dissent") && kinds.contains(&"perjury") && quorum_agrees).then_some(())
        })
        .await;
    }
    from_arweave_alone(nodes, &processes, acknowledged).await;
}

/// Deletes every folder but the gateway's, and has everything back from what is on Arweave.
async fn from_arweave_alone(mut nodes: Vec<TestNode>, processes: &[String], acknowledged: &[Value]) {
    let mut before = BTreeMap::new();
    for process in processes {
        let slots = nodes[0].slots(process).await.unwrap();
        let chain = outcome_chain(&nodes[5], process, slots.len() - 1).await;
        before.insert(process.clone(), (slots, chain));
    }
    for scheduler in &nodes[3..5] {
        landed(scheduler, 1).await;
    }
    let schedulers = [nodes[3].address.clone(), nodes[4].address.clone()];
    nodes.truncate(1);
    let folder = tempfile::tempdir().unwrap();
    for scheduler in &schedulers {
        let report = restore(&nodes[0].url, &["--scheduler", scheduler], folder.path());
        assert_eq!(report["refused"], json!([]), "{report:#}");
    }
    let restored = alone(folder.path(), &[]);
    let (mut after, mut states) = (BTreeMap::new(), BTreeMap::new());
    for process in processes {
        let slots = restored.slots(process).await.unwrap();
        let chain = outcome_chain(&restored, process, slots.len() - 1).await;
        after.insert(process.clone(), (slots, chain));
        let computed = wait_for_async("the state is shown", async || state(&restored, process).await).await;
        states.insert(process.clone(), computed);
    }
    assert!(after == before, "slots or outcome chains are others than before");
    assert_eq!(wrong(&states, acknowledged), None);
    println!("all of it is back from Arweave");
}
