//! A scheduler that comes back with an old disk and gives slots twice: every node holds the process, others go on, and
//! its owner ends it. Then a scheduler is gone for good, and the process moves to another.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use ao_tests::nodes::{TestNode, User, program, wait_for_async};
use serde_json::Value;

/// A user of the command line, with a wallet of their own.
struct Person {
    home: tempfile::TempDir,
}

impl Person {
    fn new() -> Person {
        Person { home: tempfile::tempdir().unwrap() }
    }

    /// Runs a command against a node; whether it went well, what it printed, and its errors.
    fn try_run(&self, node: &TestNode, arguments: &[&str]) -> (bool, String, String) {
        let mut command = Command::new(program());
        command.args(arguments).env("AO_NODE", &node.url).env("XDG_CONFIG_HOME", self.home.path());
        let output = command.env_remove("AO_WALLET").output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_string();
        (output.status.success(), text(&output.stdout), text(&output.stderr))
    }

    fn run(&self, node: &TestNode, arguments: &[&str]) -> String {
        let (good, printed, errors) = self.try_run(node, arguments);
        assert!(good, "{arguments:?}: {printed} {errors}");
        printed
    }
}

async fn has_slot(node: &TestNode, process: &str, slot: u64) {
    wait_for_async(&format!("{} has slot {slot}", node.url), async || {
        let (status, known) = node.get(&format!("/ao/slots/{process}/{slot}")).await.ok()?;
        (status == 200 && !known["outcome_chain"].is_null()).then_some(())
    })
    .await
}

fn copy(from: &Path, to: &Path) {
    let _ = std::fs::remove_dir_all(to);
    assert!(Command::new("cp").arg("-r").arg(from).arg(to).status().unwrap().success());
}

async fn all_have_the_same_slots(nodes: &[&TestNode], process: &str, least: usize) {
    wait_for_async("all nodes have the same slots", async || {
        let first = nodes[0].slots(process).await.ok().filter(|slots| slots.len() >= least)?;
        for node in nodes {
            if node.slots(process).await.ok()? != first {
                return None;
            }
        }
        Some(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_whose_slots_were_given_twice_is_held_and_resumed_and_moves() {
    let mut scheduler = TestNode::start("su", None);
    let join = scheduler.multiaddr.clone();
    let messenger = TestNode::start("mu", Some(&join));
    let other = TestNode::start("su", Some(&messenger.multiaddr));
    let computers =
        [TestNode::start("cu", Some(&messenger.multiaddr)), TestNode::start("cu", Some(&messenger.multiaddr))];
    for node in [&scheduler, &messenger, &other, &computers[0], &computers[1]] {
        wait_for_async("all nodes see each other", async || {
            let (_, peers) = node.get("/ao/peers").await.ok()?;
            (peers["units"].as_array()?.len() >= 4).then_some(())
        })
        .await;
    }
    let (owner, stranger) = (Person::new(), Person::new());
    let spawn = |name: &str| owner.run(&messenger, &["spawn", "--name", name, "--scheduler", &scheduler.address]);
    let (process, bystander) = (spawn("disputed"), spawn("bystander"));
    owner.run(&messenger, &["eval", &process, "x = 1"]);
    for node in &computers {
        has_slot(node, &process, 1).await;
    }

    // What the scheduler had then comes back later.
    let backup = tempfile::tempdir().unwrap();
    scheduler.kill();
    copy(&scheduler.data(), &backup.path().join("data"));
    scheduler.restart();
    wait_for_async("the scheduler is back", async || {
        let (good, ..) = owner.try_run(&messenger, &["eval", &process, "x = 2"]);
        good.then_some(())
    })
    .await;
    owner.run(&messenger, &["eval", &process, "x = 3"]);
    let slots = scheduler.slots(&process).await.unwrap();
    let end = slots.len() as u64 - 1;
    for node in &computers {
        has_slot(node, &process, end).await;
    }
    scheduler.kill();
    copy(&backup.path().join("data"), &scheduler.data());
    // Nobody tells it what it had forgotten before it gives the slot again.
    let others = [&messenger, &other, &computers[0], &computers[1]];
    others.iter().for_each(|node| node.signal("STOP"));
    scheduler.restart();
    let again = User::default().eval(&process, "x = 'another'");
    let (status, answer) = scheduler.post("/su", again.bytes().to_vec()).await.unwrap();
    assert_eq!(status, 201, "{answer}");
    others.iter().for_each(|node| node.signal("CONT"));

    // Every node finds it, and says so.
    let began = Instant::now();
    let all = [&scheduler, &messenger, &other, &computers[0], &computers[1]];
    for node in all {
        wait_for_async(&format!("{} holds the process", node.url), async || {
            let (_, slot) = node.get(&format!("/ao/slots/{process}/2")).await.ok()?;
            (slot["disputed"] == true).then_some(())
        })
        .await;
    }
    println!("every node held the process within {:.1} s", began.elapsed().as_secs_f64());
    let (good, _, errors) = owner.try_run(&messenger, &["eval", &process, "x"]);
    assert!(!good && errors.contains("disputed"), "{errors}");
    let (_, _, errors) = owner.try_run(&computers[0], &["log", &process]);
    assert!(errors.contains("disputed from slot 2 on"), "{errors}");
    assert_eq!(owner.run(&messenger, &["eval", &bystander, "1 + 1"]), "2", "others go on");

    // Only its owner ends it.
    let listed = owner.run(&messenger, &["resume", &process]);
    assert!(listed.contains("disputed   from slot 2 on"), "{listed}");
    let known: Value = serde_json::from_str(&owner.run(&messenger, &["resume", &process, "--json"])).unwrap();
    let branches = known["branches"].as_array().unwrap();
    let longest = branches.iter().find(|branch| branch["slot"] == end).unwrap();
    assert!(branches.len() >= 2, "{known}");
    let branch = longest["branch"].as_str().unwrap();
    let (good, _, errors) = stranger.try_run(&messenger, &["resume", &process, "--branch", branch, "--yes"]);
    assert!(!good && errors.contains("is owned by"), "{errors}");
    let (good, printed, _) = owner.try_run(&messenger, &["resume", &process, "--branch", branch]);
    assert!(!good && printed.contains("have to be sent again"), "without a terminal it asks for --yes: {printed}");
    owner.run(&messenger, &["resume", &process, "--branch", branch, "--yes"]);
    let goes_on = async |lua: &str, expected: &str| {
        wait_for_async(&format!("{lua} gives {expected}"), async || {
            let (good, printed, _) = owner.try_run(&messenger, &["eval", &process, lua]);
            (good && printed == expected).then_some(())
        })
        .await
    };
    goes_on("x", "3").await;
    all_have_the_same_slots(&all, &process, slots.len() + 1).await;

    // Its scheduler is gone for good: it moves.
    scheduler.kill();
    owner.run(&messenger, &["resume", &process, "--scheduler", &other.address, "--yes"]);
    goes_on("x = x + 1 return x", "4").await;
    let left = [&messenger, &other, &computers[0], &computers[1]];
    all_have_the_same_slots(&left, &process, slots.len() + 2).await;
    let last = other.slots(&process).await.unwrap().len() - 1;
    for node in left {
        let (_, slot) = node.get(&format!("/ao/slots/{process}/{last}")).await.unwrap();
        assert_eq!((&slot["scheduler"], &slot["disputed"]), (&Value::from(other.address.clone()), &Value::from(false)));
    }
}
