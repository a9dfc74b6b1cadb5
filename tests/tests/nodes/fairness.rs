//! Processes share the processors whatever one of them does, and one that can't be evaluated is stalled at its slot
//! while all others go on.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ao_node::node::{Node, Workers};
use ao_protocol::announcement::Role;
use ao_protocol::log::Log;
use ao_tests::nodes::{TestNode, User, wait_for_async};

use crate::local::{config, post, spawn, tip};

/// What the others do meanwhile: each line ends at a limit, and there are enough of them.
const HOSTILE: [&str; 3] = [
    "while true do end",
    "return (('a'):rep(28):find(('a*'):rep(12) .. 'b'))",
    "local t = {} while true do t[#t + 1] = {} end",
];
const HOSTILE_LINES: usize = 60;
/// What the one in question does: about 50 ms a line.
const WORK: &str = "for i = 1, 20000000 do end";
const LINES: usize = 400;
/// How much the workers have computed when their parts are compared, in ticks of 10 ms.
const MEASURED: u64 = 600;
/// The part of its fair share that a process has at least.
const SHARE: f64 = 0.9;

/// Parents and used processor time of all processes of this machine, in ticks: their own, and of ended children.
fn all_processes() -> BTreeMap<u32, (u32, u64)> {
    let read = |entry: std::io::Result<std::fs::DirEntry>| {
        let pid: u32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // Behind the name, which may hold anything: state, parent, then from the twelfth on the times.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let times = fields.get(11..15)?.iter().filter_map(|time| time.parse::<u64>().ok());
        Some((pid, (fields.get(1)?.parse().ok()?, times.sum())))
    };
    std::fs::read_dir("/proc").unwrap().filter_map(read).collect()
}

/// A process and all below it.
fn family(all: &BTreeMap<u32, (u32, u64)>, root: u32) -> BTreeSet<u32> {
    let mut family = BTreeSet::from([root]);
    loop {
        let more: Vec<u32> =
            all.iter().filter(|(_, (parent, _))| family.contains(parent)).map(|(pid, _)| *pid).collect();
        let before = family.len();
        family.extend(more);
        if family.len() == before {
            return family;
        }
    }
}

fn used(all: &BTreeMap<u32, (u32, u64)>, root: u32) -> u64 {
    family(all, root).iter().filter_map(|pid| all.get(pid)).map(|(_, used)| used).sum()
}

/// Those below a process that have no parent among themselves.
fn roots(all: &BTreeMap<u32, (u32, u64)>, processes: &BTreeSet<u32>) -> BTreeSet<u32> {
    let parent = |pid: &u32| all.get(pid).map(|(parent, _)| *parent);
    processes.iter().filter(|pid| !parent(pid).is_some_and(|parent| processes.contains(&parent))).copied().collect()
}

/// Makes a process and finds the worker that hosts it.
async fn process(node: &TestNode, user: &User) -> (String, u32) {
    let before = family(&all_processes(), node.pid());
    let process = user.spawn(node, &node.address, &node.address).await.unwrap();
    let all = all_processes();
    let mut new = family(&all, node.pid());
    new.retain(|pid| !before.contains(pid));
    let mut new = roots(&all, &new);
    assert_eq!(new.len(), 1, "a worker for each process");
    (process, new.pop_first().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_keeps_its_share_beside_hostile_ones() {
    let node = TestNode::start("mu,su,cu", None);
    let user = User::default();
    let (victim, victim_worker) = process(&node, &user).await;
    let mut workers = vec![victim_worker];
    let mut lines = vec![(victim, WORK, LINES)];
    for hostile in HOSTILE {
        let (process, worker) = process(&node, &user).await;
        workers.push(worker);
        lines.push((process, hostile, HOSTILE_LINES));
    }
    for (process, line, count) in &lines {
        for _ in 0..*count {
            let (status, _) = node.post("/mu", user.eval(process, line).bytes().to_vec()).await.unwrap();
            assert_eq!(status, 202);
        }
    }
    let measure = || {
        let all = all_processes();
        workers.iter().map(|worker| used(&all, *worker)).collect::<Vec<u64>>()
    };
    let before = measure();
    let parts = wait_for_async("they compute", async || {
        let parts: Vec<u64> = measure().iter().zip(&before).map(|(now, before)| now.saturating_sub(*before)).collect();
        (parts.iter().sum::<u64>() > MEASURED).then_some(parts)
    })
    .await;
    let fair = parts.iter().sum::<u64>() as f64 / parts.len() as f64;
    assert!(parts[0] as f64 >= SHARE * fair, "a fair share is {fair} ticks; they had {parts:?}");

    // With the node goes all that it started.
    let pid = node.pid();
    let started: Vec<u32> = family(&all_processes(), pid).into_iter().filter(|other| *other != pid).collect();
    assert!(started.len() >= 8, "keepers and hosts: {started:?}");
    drop(node);
    wait_for_async("nothing is left", async || {
        let all = all_processes();
        started.iter().all(|pid| !all.contains_key(pid)).then_some(())
    })
    .await;
}

/// What no budget sees and takes for ever.
const ENDLESS: &str = "local s = ('x'):rep(1 << 22) local a, b = s .. 'y', s .. 'y' while true do local x = a == b end";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_takes_for_ever_is_stalled_at_its_slot_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(&Role::ALL, None, &folder);
    config.workers = Workers { processor_time: Some(Duration::from_secs(1)), ..config.workers };
    let node = Node::start(config).await.unwrap();
    let user = User::default();
    let (stuck, other) = (spawn(&user, &node), spawn(&user, &node));
    for item in [&stuck, &other] {
        assert_eq!(post(&node, item.bytes().to_vec()).await, 202);
    }
    let endless = user.eval(&stuck.id().to_string(), ENDLESS);
    assert_eq!(post(&node, endless.bytes().to_vec()).await, 202);
    // Meanwhile the other one is served.
    for _ in 0..5 {
        assert_eq!(post(&node, user.eval(&other.id().to_string(), "x = 1").bytes().to_vec()).await, 202);
    }
    let computed = |id| node.world().log().computed(&id).unwrap().map(|computed| computed.slot);
    wait_for_async("the other goes on", async || (computed(other.id()) == Some(5)).then_some(())).await;
    assert_eq!((computed(stuck.id()), tip(&node, &stuck.id())), (Some(0), Some(1)));
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let (status, said) = wait_for_async("it is stalled", async || {
        let path = format!("{}/cu/result/{}?process-id={}", node.http_url(), endless.id(), stuck.id());
        let answer = client.get(path).send().await.ok()?;
        let status = answer.status().as_u16();
        let said = answer.text().await.ok()?;
        said.contains("stalled").then_some((status, said))
    })
    .await;
    assert!(said.contains("stalled at slot 1: evaluating it takes more than 10 s"), "{said}");
    assert_eq!(status, 422, "{said}");
    // For a dry-run and a view as well.
    let path = format!("{}/cu/state/{}", node.http_url(), stuck.id());
    let said = client.get(path).send().await.unwrap().text().await.unwrap();
    assert!(said.contains("stalled at slot 1"), "{said}");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_needs_more_memory_than_there_is_says_so_and_others_get_theirs() {
    const MIB: u64 = 1 << 20;
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(&Role::ALL, None, &folder);
    config.workers = Workers { memory: Some(200 * MIB), ..config.workers };
    let node = Node::start(config).await.unwrap();
    let user = User::default();
    let (modest, greedy) = (spawn(&user, &node), spawn(&user, &node));
    for item in [&modest, &greedy] {
        assert_eq!(post(&node, item.bytes().to_vec()).await, 202);
    }
    let fill = |millions: u32| format!("t = {{}} for i = 1, {millions} do t[i] = ('x'):rep(1000000) end return #t");
    let result = async |process: &str, message: &str| {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let path = format!("{}/cu/result/{message}?process-id={process}", node.http_url());
        let answer = client.get(path).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    let (one, other) = (modest.id().to_string(), greedy.id().to_string());
    let (much, too_much) = (user.eval(&one, &fill(50)), user.eval(&other, &fill(180)));
    for item in [&much, &too_much] {
        assert_eq!(post(&node, item.bytes().to_vec()).await, 202);
    }
    let (status, said) = result(&one, &much.id().to_string()).await;
    assert!(status == 200 && said.contains("\"50\""), "{status} {said}");
    let said = wait_for_async("it says why", async || {
        let (status, said) = result(&other, &too_much.id().to_string()).await;
        (status != 200 && said.contains("it needs more memory")).then_some(said)
    })
    .await;
    assert!(said.contains("--worker-memory"), "{said}");
    // The other one is there again, as it was.
    let again = user.eval(&one, "#t");
    assert_eq!(post(&node, again.bytes().to_vec()).await, 202);
    let (status, said) = result(&one, &again.id().to_string()).await;
    assert!(status == 200 && said.contains("\"50\""), "{status} {said}");
    node.stop().await;
}
