//! The log on Arweave: mirrored through kills and a gateway that fails in every way, and rebuilt from there alone.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ao_node::arweave::Gateway;
use ao_protocol::assignment::Statement;
use ao_protocol::id::Digest;
use ao_protocol::item::{VerifiedItem, bundle};
use ao_protocol::mirror::{LOG_BUNDLE, claimed_slots};
use ao_protocol::tag::Tag;
use ao_protocol::transaction::TransactionBuilder;
use ao_protocol::wallet::{Signer, Wallet};
use ao_tests::arweave::{alone, landed, mirror, mirroring, outcome_chain, restore, restore_command, wallet};
use ao_tests::nodes::{Slot, TestNode, User, wait_for_async};
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use rand::Rng;
use serde_json::{Value, json};

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

/// In how many transactions each slot of a process is, and how many transactions there are.
async fn held(gateway: &str, process: &str, slots: usize) -> (Vec<usize>, usize) {
    let (client, mut held) = (Gateway::new(gateway).unwrap(), vec![0; slots]);
    let (mut transactions, mut after) = (0, None);
    loop {
        let page = client.find(&[("Type", LOG_BUNDLE), ("Process", process)], after.as_deref()).await.unwrap();
        for found in page.found {
            let (first, last) = claimed_slots(&found.tags, &process.parse().unwrap()).unwrap();
            (first..=last).for_each(|slot| held[slot as usize] += 1);
            transactions += 1;
        }
        after = page.next;
        if after.is_none() {
            return (held, transactions);
        }
    }
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
    let (held, transactions) = held(&gateway.url, &process, sent as usize).await;
    // Each slot in one transaction: none was paid twice.
    assert!(held.iter().all(|times| *times == 1), "slots by how often they are there: {held:?}");
    assert!(transactions > KILLS / 2, "only {transactions} bundles were made");
    let folder = tempfile::tempdir().unwrap();
    let report = restore(&gateway.url, &["--process", &process], folder.path());
    assert_eq!((&report["processes"][&process], &report["refused"]), (&json!(sent - 1), &json!([])));
}

/// What a gateway may do wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    None,
    /// It answers late.
    Slow,
    /// It answers nonsense.
    Garbage,
    /// It says that it is busy.
    Refusing,
    /// It takes nothing, and says that all is in old blocks.
    Lying,
    /// It gives only the first half of what it has.
    Truncating,
    /// It takes transactions, and forgets them.
    Forgetting,
    /// It takes no transactions for now.
    Closed,
    /// It is busy every other time.
    Throttling,
}

#[derive(Clone)]
struct Faulty {
    behind: String,
    fault: Arc<Mutex<Fault>>,
    asked: Arc<AtomicUsize>,
    /// How often data was asked for.
    read: Arc<AtomicUsize>,
}

/// Stands between a mirror and its gateway; says where it is, and how often data was asked for.
async fn faulty(behind: &str) -> (String, Arc<Mutex<Fault>>, Arc<AtomicUsize>) {
    let (fault, read) = (Arc::new(Mutex::new(Fault::None)), Arc::new(AtomicUsize::new(0)));
    let state = Faulty { behind: behind.to_string(), fault: fault.clone(), asked: Arc::default(), read: read.clone() };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router = Router::new().fallback(pass).with_state(state);
    tokio::spawn(async move { axum::serve(listener, router).await });
    (url, fault, read)
}

async fn pass(State(state): State<Faulty>, request: Request<Body>) -> Response {
    let fault = *state.fault.lock().unwrap();
    let path = request.uri().path_and_query().unwrap().to_string();
    if path.starts_with("/raw") {
        state.read.fetch_add(1, Ordering::SeqCst);
    }
    match fault {
        Fault::Garbage => return "<html>welcome".into_response(),
        Fault::Refusing => return (axum::http::StatusCode::SERVICE_UNAVAILABLE, "too many requests").into_response(),
        Fault::Lying | Fault::Forgetting if request.method() == "POST" && path != "/graphql" => {
            return "OK".into_response();
        }
        Fault::Closed if request.method() == "POST" => {
            return (axum::http::StatusCode::SERVICE_UNAVAILABLE, "closed for now").into_response();
        }
        Fault::Throttling if state.asked.fetch_add(1, Ordering::Relaxed) % 2 == 0 => {
            return (axum::http::StatusCode::TOO_MANY_REQUESTS, "slow down").into_response();
        }
        Fault::Lying if path.ends_with("/status") => {
            let info = reqwest::get(format!("{}/info", state.behind)).await.unwrap();
            let height = info.json::<Value>().await.unwrap()["height"].clone();
            let status = json!({ "block_height": height, "block_indep_hash": "x", "number_of_confirmations": 1000 });
            return axum::Json(status).into_response();
        }
        Fault::Slow => tokio::time::sleep(Duration::from_millis(300)).await,
        _ => {}
    }
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let kind = request.headers().get("content-type").cloned();
    let sent = client.request(request.method().clone(), format!("{}{path}", state.behind));
    let sent = kind.into_iter().fold(sent, |sent, kind| sent.header("content-type", kind));
    let body = to_bytes(request.into_body(), usize::MAX).await.unwrap();
    let Ok(answer) = sent.body(body).send().await else {
        return axum::http::StatusCode::BAD_GATEWAY.into_response();
    };
    let (status, body) = (answer.status(), answer.bytes().await.unwrap_or_default());
    let half = fault == Fault::Truncating && path.starts_with("/raw");
    let shown = if half { body.slice(..body.len() / 2) } else { body };
    (status, shown).into_response()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_a_gateway_does_nothing_is_lost_and_it_is_said_what_is_wrong() {
    let mut gateway = TestNode::start_with("none", None, &["--dev-chain"]);
    let (url, fault, read) = faulty(&gateway.url).await;
    let scheduler = mirroring(&gateway.multiaddr, &url, "6000");
    let user = User::default();
    let process = user.spawn_at(&scheduler).await.unwrap();
    let mut sent = 1;
    let mut send = async || {
        for _ in 0..10 {
            let item = user.message(&process, &[("Action", "Test")], &[b'x'; 400]);
            assert_eq!(scheduler.post("/su", item.bytes().to_vec()).await.unwrap().0, 201);
            sent += 1;
        }
        sent
    };
    let says = async |words: &str| {
        wait_for_async(&format!("the mirror says {words:?}"), async || {
            let seen = mirror(&scheduler).await;
            let said = |error: &Value| error.as_str().is_some_and(|error| error.contains(words));
            let bundles = seen["bundles"].as_array().cloned().unwrap_or_default();
            (said(&seen["error"]["text"]) || bundles.iter().any(|bundle| said(&bundle["error"]))).then_some(())
        })
        .await;
    };
    let faults = [
        (Fault::Refusing, "too many requests"),
        (Fault::Garbage, "gave no"),
        (Fault::Lying, "does not give it back"),
        (Fault::Truncating, "other data than was posted"),
    ];
    for (next, words) in faults {
        *fault.lock().unwrap() = next;
        let so_far = send().await;
        says(words).await;
        let seen = mirror(&scheduler).await;
        *fault.lock().unwrap() = Fault::None;
        assert!(seen["landed"]["slots"].as_u64() < Some(so_far), "{seen:#}");
        let all = send().await;
        landed(&scheduler, all).await;
    }
    gateway.kill();
    send().await;
    says("502").await;
    gateway.restart();
    *fault.lock().unwrap() = Fault::Slow;
    let all = send().await;
    landed(&scheduler, all).await;
    let folder = tempfile::tempdir().unwrap();
    let report = restore(&url, &["--process", &process], folder.path());
    assert_eq!((&report["processes"][&process], &report["refused"]), (&json!(all - 1), &json!([])));
    // Killed in the middle, it goes on where it was: what was taken in is not fetched again.
    let folder = tempfile::tempdir().unwrap();
    read.store(0, Ordering::SeqCst);
    let mut interrupted = restore_command(&url, &["--process", &process], folder.path());
    let mut interrupted = interrupted.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let middle = report["bundles"].as_u64().unwrap() as usize / 2;
    wait_for_async("it is in the middle", async || (read.load(Ordering::SeqCst) >= middle).then_some(())).await;
    interrupted.kill().unwrap();
    interrupted.wait().unwrap();
    *fault.lock().unwrap() = Fault::None;
    let fetched = read.swap(0, Ordering::SeqCst);
    let report = restore(&url, &["--process", &process], folder.path());
    assert_eq!(report["processes"][&process], all - 1);
    // Two are on their way at once, and one may not have been taken in.
    let most = report["bundles"].as_u64().unwrap() as usize - (fetched - 3);
    assert!((1..=most).contains(&read.load(Ordering::SeqCst)), "{fetched}, then {read:?}: {report:#}");
    // One that is busy now and then is asked again.
    *fault.lock().unwrap() = Fault::Throttling;
    let folder = tempfile::tempdir().unwrap();
    let report = restore(&url, &["--process", &process], folder.path());
    assert_eq!((&report["processes"][&process], &report["unfetched"]), (&json!(all - 1), &json!([])), "{report:#}");
    // A gateway that holds back is noticed, too.
    for next in [Fault::Truncating, Fault::Garbage, Fault::Refusing] {
        *fault.lock().unwrap() = next;
        let folder = tempfile::tempdir().unwrap();
        let output = restore_command(&url, &["--process", &process], folder.path()).output().unwrap();
        assert!(!output.status.success(), "{next:?}: {}", String::from_utf8_lossy(&output.stdout));
    }
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

/// Sends messages to a process through its scheduler.
async fn send(user: &User, scheduler: &TestNode, process: &str, count: usize) {
    for _ in 0..count {
        let item = user.message(process, &[("Action", "Test")], &[b'x'; 400]);
        assert_eq!(scheduler.post("/su", item.bytes().to_vec()).await.unwrap().0, 201);
    }
}

/// Waits until all bundles on their way are in this state.
async fn all_are(scheduler: &TestNode, state: &str) {
    wait_for_async(&format!("all bundles are {state}"), async || {
        let seen = mirror(scheduler).await;
        let bundles = seen["bundles"].as_array()?.clone();
        let there = !bundles.is_empty() && bundles.iter().all(|bundle| bundle["state"] == state);
        (there && seen["waiting"]["slots"] == 0).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_fork_dropped_is_posted_again_and_what_is_too_old_is_signed_anew() {
    let gateway = TestNode::start_with("none", None, &["--dev-chain"]);
    let (url, fault, _) = faulty(&gateway.url).await;
    let scheduler = mirroring(&gateway.multiaddr, &url, "6000");
    let user = User::default();
    let process = user.spawn_at(&scheduler).await.unwrap();
    // It was taken, and nobody knows of it any more.
    *fault.lock().unwrap() = Fault::Forgetting;
    send(&user, &scheduler, &process, 20).await;
    all_are(&scheduler, "posted").await;
    *fault.lock().unwrap() = Fault::None;
    landed(&scheduler, 21).await;
    // It was signed, and could not be posted before its anchor was too old.
    *fault.lock().unwrap() = Fault::Closed;
    send(&user, &scheduler, &process, 20).await;
    all_are(&scheduler, "signed").await;
    let ids = |seen: &Value| -> Vec<Value> {
        seen["bundles"].as_array().unwrap().iter().map(|bundle| bundle["id"].clone()).collect()
    };
    let before = ids(&mirror(&scheduler).await);
    assert_eq!(gateway.get("/mine/100").await.unwrap().0, 200);
    *fault.lock().unwrap() = Fault::None;
    landed(&scheduler, 41).await;
    let client = Gateway::new(&gateway.url).unwrap();
    for id in before {
        let status = client.status(&id.as_str().unwrap().parse().unwrap()).await.unwrap();
        assert_eq!(status, ao_node::arweave::Status::Unknown, "{id} was too old");
    }
    let (held, _) = held(&gateway.url, &process, 41).await;
    assert!(held.iter().all(|times| *times == 1), "slots by how often they are there: {held:?}");
}
