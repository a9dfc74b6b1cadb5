//! A compute unit that was killed goes on from its newest snapshot, and not from the first slot.

use ao_tests::nodes::{TestNode, User, wait_for_async};

/// Charges some millions of instructions: a few of these make a rebuild point.
const WORK: &str = "for i = 1, 4000000 do end Count = (Count or 0) + 1 return Count";
/// How many of them are sent before the kill.
const SLOTS: usize = 12;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_compute_unit_goes_on_from_a_snapshot() {
    let mut node = TestNode::start("mu,su,cu", None);
    let user = User::default();
    let process = user.spawn(&node, &node.address, &node.address).await.unwrap();
    for count in 1..=SLOTS {
        let said = user.type_in(&node, &node, &process, WORK).await.unwrap();
        assert_eq!(said, count.to_string());
    }
    node.kill();
    node.restart();
    let said = wait_for_async("it goes on", async || user.type_in(&node, &node, &process, "Count").await.ok()).await;
    assert_eq!(said, SLOTS.to_string());
    // The log says where it began.
    let log = node.log();
    let brought_up = log.lines().rfind(|line| line.contains("brought up")).unwrap_or_else(|| panic!("{log}"));
    let from = brought_up.split("from=").nth(1).and_then(|rest| rest.split_whitespace().next());
    let from: usize = from.and_then(|from| from.parse().ok()).unwrap_or_else(|| panic!("{brought_up}"));
    assert!(from > SLOTS - 6, "{brought_up}");
}
