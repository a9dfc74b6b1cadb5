//! A process that its owner moved to another scheduler, behind an earlier slot: what comes back from Arweave is the
//! branch that counts, though the slots of before are there as well.

use std::path::Path;

use ao_protocol::resume::Resume;
use ao_tests::arweave::{alone, landed, mirroring, outcome_chain, restore};
use ao_tests::nodes::{Slot, TestNode, User, wait_for_async};

/// The last slot that is kept.
const KEPT: usize = 4;

async fn send(user: &User, scheduler: &TestNode, process: &str, count: usize) {
    for n in 0..count {
        let item = user.eval(process, &format!("Count = (Count or 0) + {n}"));
        let (status, answer) = scheduler.post("/su", item.bytes().to_vec()).await.unwrap();
        assert_eq!(status, 201, "{answer}");
    }
}

/// What a node has that was started on restored data, and knows nobody.
async fn comes_back(data: &Path, process: &str, tip: usize) -> (Vec<Slot>, String) {
    let alone = alone(data, &[]);
    let chain = outcome_chain(&alone, process, tip).await;
    (alone.slots(process).await.unwrap(), chain)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_was_moved_comes_back_on_the_branch_that_counts() {
    let gateway = TestNode::start_with("none", None, &["--dev-chain"]);
    let (first, second) =
        (mirroring(&gateway.multiaddr, &gateway.url, "4000"), mirroring(&gateway.multiaddr, &gateway.url, "4000"));
    let computer = TestNode::start("cu", Some(&gateway.multiaddr));
    let user = User::default();
    let process = user.spawn_at(&first).await.unwrap();
    send(&user, &first, &process, 9).await;
    landed(&first, 10).await;
    let old = first.slots(&process).await.unwrap();
    wait_for_async("the other scheduler has all of it", async || {
        (second.slots(&process).await.ok()?.len() == old.len()).then_some(())
    })
    .await;
    drop(first);

    let branch = (old[KEPT].assignment.parse().unwrap(), 0);
    let scheduler = second.address.parse().unwrap();
    let resume = Resume::item(process.parse().unwrap(), KEPT as u64, branch, scheduler, 1);
    let (status, answer) = second.post("/ao/resume", user.sign(resume).bytes().to_vec()).await.unwrap();
    assert!(status < 300, "{status} {answer}");
    send(&user, &second, &process, 3).await;
    let tip = KEPT + 3;
    // All of it once more: it is another scheduler's log now.
    landed(&second, tip as u64 + 1).await;
    let slots = second.slots(&process).await.unwrap();
    assert_eq!((slots.len(), &slots[..=KEPT]), (tip + 1, &old[..=KEPT]));
    let expected = (slots, outcome_chain(&computer, &process, tip).await);
    let address = second.address.clone();
    drop((second, computer));

    for which in [["--process", process.as_str()], ["--scheduler", address.as_str()]] {
        let folder = tempfile::tempdir().unwrap();
        let report = restore(&gateway.url, &which, folder.path());
        assert_eq!(report["processes"][&process], tip, "{which:?}: {report:#}");
        assert_eq!(report["ahead"].as_object().unwrap().len(), 0, "{which:?}: {report:#}");
        assert_eq!(comes_back(folder.path(), &process, tip).await, expected, "{which:?}");
    }
}
