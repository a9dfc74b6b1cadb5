//! A process that its owner moved to another scheduler, behind an earlier slot: what comes back from Arweave is the
//! branch that counts, though the slots of before are there as well.

use std::path::Path;
use std::process::Command;

use ao_protocol::resume::Resume;
use ao_tests::nodes::{Setup, Slot, TestNode, User, program, wait_for_async};
use serde_json::Value;

const WALLET: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../testnet/dev-wallet.json");
/// The last slot that is kept.
const KEPT: usize = 4;

fn mirroring(gateway: &TestNode) -> TestNode {
    let mirror = ["--arweave", &gateway.url, "--arweave-wallet", WALLET, "--mirror-bytes", "4000"];
    let more = [&mirror[..], &["--mirror-seconds", "0", "--mirror-confirmations", "1"]].concat();
    TestNode::start_with("su", Some(&gateway.multiaddr), &more)
}

async fn send(user: &User, scheduler: &TestNode, process: &str, count: usize) {
    for n in 0..count {
        let item = user.eval(process, &format!("Count = (Count or 0) + {n}"));
        let (status, answer) = scheduler.post("/su", item.bytes().to_vec()).await.unwrap();
        assert_eq!(status, 201, "{answer}");
    }
}

async fn landed(scheduler: &TestNode, slots: usize) {
    wait_for_async("it is on Arweave", async || {
        let (_, mirror) = scheduler.get("/ao/mirror").await.ok()?;
        let open = mirror["bundles"].as_array()?.len();
        (mirror["landed"]["slots"].as_u64()? >= slots as u64 && open == 0).then_some(())
    })
    .await;
}

fn restore(gateway: &TestNode, which: [&str; 2], data: &Path) -> Value {
    let mut command = Command::new(program());
    command.args(["restore", "--json", "--arweave", &gateway.url, "--data"]).arg(data).args(which);
    serde_json::from_slice(&command.output().unwrap().stdout).unwrap()
}

/// What a node has that was started on restored data, and knows nobody.
async fn comes_back(data: &Path, process: &str, tip: usize) -> (Vec<Slot>, Value) {
    let setup = Setup { data: Some(data.to_path_buf()), ..Setup::default() };
    let alone = TestNode::start_in("cu", None, &[], setup);
    let chain = chain(&alone, process, tip).await;
    (alone.slots(process).await.unwrap(), chain)
}

async fn chain(node: &TestNode, process: &str, slot: usize) -> Value {
    wait_for_async("it is computed", async || {
        let (_, shown) = node.get(&format!("/ao/slots/{process}/{slot}")).await.ok()?;
        shown["outcome_chain"].is_string().then(|| shown["outcome_chain"].clone())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_was_moved_comes_back_on_the_branch_that_counts() {
    let gateway = TestNode::start_with("none", None, &["--dev-chain"]);
    let (first, second) = (mirroring(&gateway), mirroring(&gateway));
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
    landed(&second, tip + 1).await;
    let slots = second.slots(&process).await.unwrap();
    assert_eq!((slots.len(), &slots[..=KEPT]), (tip + 1, &old[..=KEPT]));
    let expected = (slots, chain(&computer, &process, tip).await);
    let address = second.address.clone();
    drop((second, computer));

    for which in [["--process", process.as_str()], ["--scheduler", address.as_str()]] {
        let folder = tempfile::tempdir().unwrap();
        let report = restore(&gateway, which, folder.path());
        assert_eq!(report["processes"][&process], tip, "{which:?}: {report:#}");
        assert_eq!(report["ahead"].as_object().unwrap().len(), 0, "{which:?}: {report:#}");
        assert_eq!(comes_back(folder.path(), &process, tip).await, expected, "{which:?}");
    }
}
