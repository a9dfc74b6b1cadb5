//! A scheduler that lost its log, all of it or a part, and has its wallet: it goes on behind the last slot that anybody
//! has, and where somebody who may have more is gone it waits until it is told.

use std::path::Path;
use std::time::Duration;

use ao_tests::arweave::{WALLET, landed, restore_command};
use ao_tests::nodes::{Setup, TestNode, User, wait_for_async};

/// A scheduler in this folder that mirrors now, or so late that it never comes to it.
fn scheduler(gateway: &TestNode, data: &Path, seconds: &str, more: &[&str]) -> TestNode {
    let mirror = ["--arweave", &gateway.url, "--arweave-wallet", WALLET, "--mirror-seconds", seconds];
    let more = [&mirror[..], &["--mirror-confirmations", "1"], more].concat();
    TestNode::start_in(
        "su",
        Some(&gateway.multiaddr),
        &more,
        Setup { data: Some(data.to_path_buf()), ..Setup::default() },
    )
}

async fn send(user: &User, scheduler: &TestNode, process: &str, count: usize) {
    for _ in 0..count {
        let item = user.message(process, &[("Action", "Test")], b"x");
        assert_eq!(scheduler.post("/su", item.bytes().to_vec()).await.unwrap().0, 201);
    }
}

async fn has(node: &TestNode, process: &str, slots: usize) {
    wait_for_async("a follower has all slots", async || (node.slots(process).await.ok()?.len() >= slots).then_some(()))
        .await;
}

fn restore(gateway: &TestNode, scheduler: &str, data: &Path) {
    std::fs::remove_dir_all(data.join("log")).unwrap();
    let output = restore_command(&gateway.url, &["--scheduler", scheduler], data).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

/// A message gets its slot, however long that takes; which one.
async fn next_slot(user: &User, scheduler: &TestNode, process: &str) -> usize {
    let item = user.message(process, &[("Action", "Test")], b"next");
    wait_for_async("a message gets its slot", async || {
        (scheduler.post("/su", item.bytes().to_vec()).await.ok()?.0 == 201).then_some(())
    })
    .await;
    let slots = scheduler.slots(process).await.unwrap();
    slots.iter().position(|slot| slot.item == item.id().to_string()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scheduler_that_lost_its_log_goes_on_behind_the_last_slot_that_anybody_has() {
    let gateway = TestNode::start_with("none", None, &["--dev-chain"]);
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().to_path_buf();
    let (user, first) = (User::default(), scheduler(&gateway, &data, "0", &[]));
    let process = user.spawn_at(&first).await.unwrap();
    send(&user, &first, &process, 5).await;
    landed(&first, 6).await;
    drop(first);
    // From here on nothing is mirrored, and only the gateway follows.
    let second = scheduler(&gateway, &data, "3600", &[]);
    send(&user, &second, &process, 4).await;
    has(&gateway, &process, 10).await;
    let address = second.address.clone();
    drop(second);
    let before = gateway.slots(&process).await.unwrap();
    restore(&gateway, &address, &data);
    let third = scheduler(&gateway, &data, "3600", &[]);
    assert_eq!(next_slot(&user, &third, &process).await, 10, "behind the slots that only the gateway had");
    assert_eq!(third.slots(&process).await.unwrap()[..10], before);
    drop(third);
    // The same without a restore: all of it comes from the gateway.
    std::fs::remove_dir_all(data.join("log")).unwrap();
    let fourth = scheduler(&gateway, &data, "3600", &[]);
    assert_eq!(next_slot(&user, &fourth, &process).await, 11);
    let disputed = fourth.get(&format!("/race/{process}")).await.unwrap().1["disputed_from"].clone();
    assert!(disputed.is_null(), "no slot was given twice");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_a_follower_is_gone_it_waits_until_it_is_told() {
    let gateway = TestNode::start_with("none", None, &["--dev-chain"]);
    let follower = TestNode::start("none", Some(&gateway.multiaddr));
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().to_path_buf();
    let (user, first) = (User::default(), scheduler(&gateway, &data, "0", &[]));
    wait_for_async("it knows its follower", async || {
        (first.get("/ao/peers").await.ok()?.1["units"].as_array()?.len() >= 2).then_some(())
    })
    .await;
    let process = user.spawn_at(&first).await.unwrap();
    send(&user, &first, &process, 5).await;
    landed(&first, 6).await;
    has(&follower, &process, 6).await;
    let (address, gone) = (first.address.clone(), follower.address.clone());
    drop((first, follower));
    restore(&gateway, &address, &data);
    let mut second = scheduler(&gateway, &data, "3600", &[]);
    let item = user.message(&process, &[("Action", "Test")], b"x");
    // Longer than followers have to be found.
    let deadline = tokio::time::Instant::now() + Duration::from_secs(100);
    let why = loop {
        let (status, answer) = second.post("/su", item.bytes().to_vec()).await.unwrap();
        assert_ne!(status, 201, "a slot was given though a follower may have it");
        let text = answer["error"].as_str().unwrap_or_default().to_string();
        if text.contains("--accept-tip 5") {
            break text;
        }
        assert!(tokio::time::Instant::now() < deadline, "it does not say what it waits for: {answer}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    assert!(why.contains(&gone), "{why}");
    second.kill();
    // A wrong tip is not accepted, the right one is.
    let third = scheduler(&gateway, &data, "3600", &["--accept-tip", "4"]);
    wait_for_async("the wrong tip is refused", async || {
        let (_, answer) = third.post("/su", item.bytes().to_vec()).await.ok()?;
        answer["error"].as_str()?.contains("told to accept tip 4").then_some(())
    })
    .await;
    drop(third);
    let fourth = scheduler(&gateway, &data, "3600", &["--accept-tip", "5"]);
    assert_eq!(next_slot(&user, &fourth, &process).await, 6);
}
