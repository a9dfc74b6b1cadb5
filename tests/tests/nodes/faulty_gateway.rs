//! The log on Arweave through a gateway that fails in every way.

use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ao_node::arweave::{Gateway, Status};
use ao_tests::arweave::{held, landed, mirror, mirroring, restore, restore_command};
use ao_tests::nodes::{TestNode, User, wait_for_async};
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

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
        assert_eq!(status, Status::Unknown, "{id} was too old");
    }
    let (held, _) = held(&gateway.url, &process, 41).await.unwrap();
    assert!(held.iter().all(|times| *times == 1), "slots by how often they are there: {held:?}");
}
