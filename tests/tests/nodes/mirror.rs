//! The log on Arweave: mirrored through kills, and rebuilt from there alone.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use ao_node::arweave::Gateway;
use ao_protocol::assignment::Statement;
use ao_protocol::id::Digest;
use ao_protocol::item::{VerifiedItem, bundle};
use ao_protocol::mirror::LOG_BUNDLE;
use ao_protocol::tag::Tag;
use ao_protocol::transaction::TransactionBuilder;
use ao_protocol::wallet::{Signer, Wallet};
use ao_tests::arweave::{alone, held, landed, mirror, mirroring, outcome_chain, restore, wallet};
use ao_tests::nodes::{Slot, TestNode, User, wait_for_async};
use rand::Rng;
use serde_json::json;

/// Processes with their slots, and the outcome chain at their tips.
type Logs = BTreeMap<String, (Vec<Slot>, String)>;

async fn logs(slots_from: &TestNode, computer: &TestNode, processes: &[String]) -> Logs {
    let mut logs = Logs::new();
    for process in processes {
        let slots = slots_from.slots(process).await.unwrap();
        let chain = outcome_chain(computer, process, slots.len() - 1).await;
        logs.insert(process.clone(), (slots, chain));
    }
    logs
}

/// A node that knows nothing but what was restored computes what was computed before.
async fn comes_to_the_same(folder: &Path, before: &Logs) {
    let alone = alone(folder, &[]);
    let processes: Vec<String> = before.keys().cloned().collect();
    assert_eq!(logs(&alone, &alone, &processes).await, *before);
}

/// A transaction of somebody who wants a process to have other slots.
async fn forge(gateway: &Gateway, process: &str, scheduler: &str, data: Vec<u8>) -> String {
    let tags = [
        ("Bundle-Format", "binary"),
        ("Bundle-Version", "2.0.0"),
        ("Data-Protocol", "ao"),
        ("Type", LOG_BUNDLE),
        ("Process", process),
        ("Slots", "0-1000"),
        ("Scheduler", scheduler),
    ];
    let tags = tags.iter().map(|(name, value)| Tag::new(*name, *value)).collect();
    let terms = gateway.terms(data.len()).await.unwrap();
    let builder = TransactionBuilder { last_tx: terms.anchor, tags, reward: terms.price, ..Default::default() };
    let transaction = builder.sign(&data, &wallet()).unwrap();
    gateway.post(&transaction).await.unwrap();
    gateway.post_data(&transaction, &data, &mut 0).await.unwrap();
    transaction.id.to_string()
}

/// Slots that continue a log, each wrong in another way.
fn forgeries(user: &User, process: &str, last: &Slot) -> Vec<Vec<u8>> {
    let attacker = Wallet::ed25519_from_seed([77; 32]);
    let message = user.message(process, &[("Action", "Eval")], b"Owner = 'me'");
    let id = process.parse().unwrap();
    let link: Digest = last.link.parse().unwrap();
    let statement = Statement {
        process: id,
        epoch: 0,
        slot: 1,
        hash_chain: ao_protocol::assignment::next_link(&last.assignment.parse().unwrap(), &link),
        block_height: 0,
        timestamp_ms: u64::MAX / 2,
        message: Some(message.id()),
        messenger: Some(attacker.address()),
        depth: 0,
        root: None,
        origin: None,
        sent_by: None,
        assign: None,
        certificate: None,
        authorities: Vec::new(),
        cron: None,
    };
    let assignment = statement.sign(&attacker).unwrap().item;
    let mut bytes = message.bytes().to_vec();
    *bytes.last_mut().unwrap() ^= 1;
    let broken = VerifiedItem::from_own_store(bytes).unwrap();
    vec![bundle::encode(&[assignment, message]), bundle::encode(&[broken]), b"this is no bundle".to_vec()]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_is_rebuilt_from_the_gateway_alone_and_forgeries_are_refused() {
    let gateway = TestNode::start_with("none", None, &["--dev-chain"]);
    let scheduler = mirroring(&gateway.multiaddr, &gateway.url, "20000");
    let messenger = TestNode::start("mu", Some(&gateway.multiaddr));
    let computer = TestNode::start("cu", Some(&gateway.multiaddr));
    for node in [&scheduler, &messenger, &computer] {
        wait_for_async("all nodes see each other", async || {
            (node.get("/ao/peers").await.ok()?.1["units"].as_array()?.len() >= 3).then_some(())
        })
        .await;
    }
    let user = User::default();
    let spawn = async || user.spawn(&messenger, &scheduler.address, &messenger.address).await.unwrap();
    let (first, second) = (spawn().await, spawn().await);
    for n in 0..30 {
        let lua = format!("Count = (Count or 0) + {n} Send({{ Target = '{second}', Data = tostring(Count) }})");
        user.type_in(&messenger, &computer, &first, &lua).await.unwrap();
    }
    wait_for_async("what was sent arrived", async || (scheduler.slots(&second).await.ok()?.len() >= 31).then_some(()))
        .await;
    let processes = [first.clone(), second.clone()];
    let before = logs(&scheduler, &computer, &processes).await;
    let slots: u64 = before.values().map(|(slots, _)| slots.len() as u64).sum();
    landed(&scheduler, slots).await;
    let address = scheduler.address.clone();
    // Nothing is left but the gateway, which plays Arweave.
    drop((scheduler, messenger, computer));
    let client = Gateway::new(&gateway.url).unwrap();
    let mut forged = Vec::new();
    for data in forgeries(&user, &first, &before[&first].0[0]) {
        forged.push(forge(&client, &first, &address, data).await);
    }
    wait_for_async("the forgeries are found", async || {
        let tags = [("Type", LOG_BUNDLE), ("Process", first.as_str())];
        let page = client.find(&tags, None).await.unwrap();
        let found = |id: &String| page.found.iter().any(|found| found.id.to_string() == *id);
        forged.iter().all(found).then_some(())
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let report = restore(&gateway.url, &["--scheduler", &address], folder.path());
    let refused: Vec<&str> =
        report["refused"].as_array().unwrap().iter().filter_map(|refusal| refusal["id"].as_str()).collect();
    assert!(forged.iter().all(|id| refused.contains(&id.as_str())), "{report:#}");
    assert_eq!(refused.len(), forged.len(), "{report:#}");
    for (process, (slots, _)) in &before {
        assert_eq!(report["processes"][process], slots.len() - 1, "{report:#}");
    }
    comes_to_the_same(folder.path(), &before).await;
    // One of them alone.
    let folder = tempfile::tempdir().unwrap();
    let report = restore(&gateway.url, &["--process", &second], folder.path());
    assert_eq!(report["processes"], json!({ second.clone(): before[&second].0.len() - 1 }));
    comes_to_the_same(folder.path(), &[(second.clone(), before[&second].clone())].into()).await;
}

/// How often the mirror is killed.
const KILLS: usize = 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mirror_that_is_killed_leaves_no_gaps_and_pays_nothing_twice() {
    let gateway = TestNode::start_with("none", None, &["--dev-chain"]);
    let mut scheduler = mirroring(&gateway.multiaddr, &gateway.url, "6000");
    let user = User::default();
    let process = user.spawn_at(&scheduler).await.unwrap();
    let mut sent = 1;
    for _ in 0..KILLS {
        for _ in 0..rand::rng().random_range(5..25) {
            let item = user.message(&process, &[("Action", "Test")], &[b'x'; 400]);
            assert_eq!(scheduler.post("/su", item.bytes().to_vec()).await.unwrap().0, 201);
            sent += 1;
        }
        let pause = rand::rng().random_range(0..700);
        tokio::time::sleep(Duration::from_millis(pause)).await;
        scheduler.kill();
        scheduler.restart();
    }
    landed(&scheduler, sent).await;
    let (held, transactions) = held(&gateway.url, &process, sent as usize).await.unwrap();
    // Each slot in one transaction: none was paid twice.
    assert!(held.iter().all(|times| *times == 1), "slots by how often they are there: {held:?}");
    assert!(transactions > KILLS / 2, "only {transactions} bundles were made");
    let folder = tempfile::tempdir().unwrap();
    let report = restore(&gateway.url, &["--process", &process], folder.path());
    assert_eq!((&report["processes"][&process], &report["refused"]), (&json!(sent - 1), &json!([])));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bundler_puts_the_log_on_arweave_as_well() {
    // This gateway takes items as bundlers do; who mirrors has no wallet that pays.
    let gateway = TestNode::start_with("none", None, &["--dev-chain"]);
    let more = ["--arweave", &gateway.url, "--bundler", &gateway.url, "--mirror-bytes", "8000"];
    let more = [&more[..], &["--mirror-seconds", "0", "--mirror-confirmations", "1"]].concat();
    let mut scheduler = TestNode::start_with("su", None, &more);
    let computer = TestNode::start("cu", Some(&scheduler.multiaddr));
    let user = User::default();
    let process = user.spawn_at(&scheduler).await.unwrap();
    for n in 0..30 {
        let item = user.eval(&process, &format!("Count = (Count or 0) + {n}"));
        assert_eq!(scheduler.post("/su", item.bytes().to_vec()).await.unwrap().0, 201);
        if n == 15 {
            scheduler.restart();
        }
    }
    landed(&scheduler, 31).await;
    let shown = mirror(&scheduler).await;
    assert_eq!((&shown["wallet"], &shown["url"]), (&json!(scheduler.address), &json!(gateway.url)));
    assert!(shown["landed"]["bundles"].as_u64() > Some(2), "{shown:#}");
    wait_for_async("the compute unit has all of it", async || {
        (computer.slots(&process).await.ok()?.len() == 31).then_some(())
    })
    .await;
    let before = logs(&scheduler, &computer, std::slice::from_ref(&process)).await;
    drop((scheduler, computer));
    let folder = tempfile::tempdir().unwrap();
    let report = restore(&gateway.url, &["--process", &process], folder.path());
    assert_eq!((&report["processes"][&process], &report["refused"]), (&json!(30), &json!([])), "{report:#}");
    comes_to_the_same(folder.path(), &before).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_results_are_delivered_mirrored_and_restored() {
    const RESULT: usize = 6 << 20;
    let gateway = TestNode::start_with("none", None, &["--dev-chain"]);
    let scheduler = mirroring(&gateway.multiaddr, &gateway.url, "20000");
    let messenger = TestNode::start("mu", Some(&gateway.multiaddr));
    let computer = TestNode::start("cu", Some(&gateway.multiaddr));
    let user = User::default();
    let spawn = async || user.spawn(&messenger, &scheduler.address, &messenger.address).await;
    let writer = wait_for_async("a process can be spawned", async || spawn().await.ok()).await;
    let reader = spawn().await.unwrap();
    let lua = format!("Send({{ Target = '{reader}', Action = 'Result', Data = ('result.'):rep({RESULT} // 7) }})");
    user.type_in(&messenger, &computer, &writer, &lua).await.unwrap();
    wait_for_async("the result arrives", async || (scheduler.slots(&reader).await.ok()?.len() == 2).then_some(()))
        .await;
    let size = user.type_in(&messenger, &computer, &reader, "#Inbox[#Inbox].Data").await.unwrap();
    assert_eq!(size, (RESULT / 7 * 7).to_string());
    let before = logs(&scheduler, &computer, &[writer, reader]).await;
    landed(&scheduler, 5).await;
    let address = scheduler.address.clone();
    drop((scheduler, messenger, computer));
    let folder = tempfile::tempdir().unwrap();
    let report = restore(&gateway.url, &["--scheduler", &address], folder.path());
    assert_eq!((&report["refused"], &report["unfetched"]), (&json!([]), &json!([])), "{report:#}");
    comes_to_the_same(folder.path(), &before).await;
}
