//! What surrounds every path of the HTTP API: limits, errors, origins, request ids, and a node's words about itself.

use std::io::{Read, Write};
use std::net::TcpStream;

use ao_tests::nodes::{DEADLINE, TestNode, User, wait_for_async};
use reqwest::{Client, Method, Response};
use serde_json::Value;

fn client() -> Client {
    Client::builder().no_proxy().timeout(DEADLINE).build().unwrap()
}

fn header<'a>(response: &'a Response, name: &str) -> &'a str {
    response.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// Status and JSON of an answer that must be an error, said as every error is.
async fn error(response: Response) -> (u16, String) {
    let status = response.status().as_u16();
    assert!(!header(&response, "x-request-id").is_empty());
    assert_eq!(header(&response, "access-control-allow-origin"), "*", "pages may read errors too");
    let answer: Value = response.json().await.unwrap();
    let text = answer["error"].as_str().unwrap_or_else(|| panic!("{status} without an error: {answer}"));
    (status, text.to_string())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_error_is_json() {
    let node = TestNode::start("mu,su,cu", None);
    let (client, url) = (client(), &node.url);
    let id = "a".repeat(42) + "A";
    for (method, path, kind, body, status, text) in [
        (Method::GET, "/no/such/path".to_string(), "", vec![], 404, "no path /no/such/path"),
        (Method::DELETE, "/mu".into(), "", vec![], 405, "DELETE is not possible on /mu"),
        (Method::POST, "/health".into(), "", vec![], 405, "POST is not possible on /health"),
        (Method::GET, format!("/ao/slots/{id}/x"), "", vec![], 400, "x"),
        (Method::GET, "/su/%ff".into(), "", vec![], 400, "UTF-8"),
        (Method::POST, "/mu".into(), "application/json; charset=utf-8", b"{}".to_vec(), 415, "application/json"),
        (Method::POST, "/su".into(), "application/x-www-form-urlencoded", b"a=b".to_vec(), 415, "octet-stream"),
        (Method::POST, "/mu".into(), "application/octet-stream", b"garbage".to_vec(), 400, "signature type"),
        (Method::POST, "/mu".into(), "", vec![0; 11 << 20], 413, "larger than"),
        (Method::POST, "/no/such".into(), "", vec![0; 11 << 20], 413, "larger than"),
    ] {
        let mut request = client.request(method.clone(), format!("{url}{path}")).body(body);
        if !kind.is_empty() {
            request = request.header("content-type", kind);
        }
        let (found, said) = error(request.send().await.unwrap()).await;
        assert_eq!(found, status, "{method} {path}: {said}");
        assert!(said.contains(text), "{method} {path}: {said:?} should say {text:?}");
    }
    let answer = client.delete(format!("{url}/mu")).send().await.unwrap();
    assert!(header(&answer, "allow").contains("POST"));
}

/// Sends a head and a part of a body and nothing else; the answer's text.
fn send_half(url: &str) -> String {
    let mut stream = TcpStream::connect(url.trim_start_matches("http://")).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.write_all(b"POST /mu HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\nhalf").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_does_not_come_is_not_waited_for_forever() {
    let node = TestNode::start("none", None);
    let url = node.url.clone();
    let answer = tokio::task::spawn_blocking(move || send_half(&url)).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(answer.contains(r#"{"error":"the body was not there within"#), "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rates_hold_for_every_address_and_forwarded_ones_only_where_trusted() {
    let open = TestNode::start("none", None);
    let limited = TestNode::start_with("none", None, &["--http-rate", "1"]);
    let behind = TestNode::start_with("none", None, &["--http-rate", "1", "--trust-proxy", "127.0.0.1"]);
    let client = client();
    let ask = async |node: &TestNode, from: &str| {
        client.get(format!("{}/ao/peers", node.url)).header("x-forwarded-for", from).send().await.unwrap()
    };
    /// More than a burst at one request a second, less than a burst of the default rate.
    const MANY: usize = 40;
    let mut refused = None;
    for n in 0..MANY {
        assert_eq!(ask(&open, "203.0.113.1").await.status(), 200, "this machine is not limited");
        let answer = ask(&limited, &format!("203.0.113.{n}")).await;
        if answer.status() != 200 {
            refused = Some(answer);
        }
    }
    let refused = refused.expect("what a client says of itself does not free it from its rate");
    assert!(header(&refused, "retry-after").parse::<u64>().unwrap() > 0);
    let (status, text) = error(refused).await;
    assert_eq!(status, 429);
    assert!(text.contains("too many requests from 127.0.0.1"), "{text}");
    for n in 0..MANY {
        let answer = ask(&behind, &format!("203.0.113.{n}")).await;
        assert_eq!(answer.status(), 200, "a trusted proxy's clients have rates of their own");
    }
    let mut last = 0;
    for _ in 0..MANY {
        last = ask(&behind, "198.51.100.7").await.status().as_u16();
    }
    assert_eq!(last, 429);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_have_ids() {
    let node = TestNode::start("none", None);
    let ask = async |id: &str| {
        let request = client().get(format!("{}/no/such/path", node.url)).header("x-request-id", id);
        header(&request.send().await.unwrap(), "x-request-id").to_string()
    };
    assert_eq!(ask("trace-17.a_B").await, "trace-17.a_B");
    for unfit in ["a b", "<script>", &"x".repeat(65), ""] {
        let made = ask(unfit).await;
        assert!(made != unfit && made.len() == 16, "{unfit:?} became {made:?}");
    }
    assert_ne!(ask("").await, ask("").await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_of_any_origin_may_ask() {
    let node = TestNode::start("none", None);
    let preflight = client()
        .request(Method::OPTIONS, format!("{}/mu/monitor/x", node.url))
        .header("origin", "http://localhost:8080")
        .header("access-control-request-method", "DELETE")
        .header("access-control-request-headers", "content-type,codec-device,x-max-age");
    let answer = preflight.send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(header(&answer, "access-control-allow-origin"), "*");
    assert_eq!(header(&answer, "access-control-allow-methods"), "DELETE");
    assert_eq!(header(&answer, "access-control-allow-headers"), "content-type,codec-device,x-max-age");
    let answer = client().get(format!("{}/health", node.url)).header("origin", "null").send().await.unwrap();
    assert_eq!(header(&answer, "access-control-expose-headers"), "*");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_says_how_it_is() {
    let node = TestNode::start("mu,su,cu", None);
    let (status, health) = node.get("/health").await.unwrap();
    assert_eq!(status, 200);
    assert_eq!(health["status"], "ok");
    assert_eq!(health["log_writable"], true);
    assert_eq!(health["peers"], 0);
    assert_eq!(health["roles"].as_array().map(Vec::len), Some(3), "{health}");
    let (_, peers) = node.get("/ao/peers").await.unwrap();
    assert_eq!(health["network"]["hash"], peers["network"]["hash"]);
    let other = TestNode::start("none", Some(&node.multiaddr));
    wait_for_async("the peer is counted", async || {
        let (_, health) = other.get("/health").await.ok()?;
        (health["peers"] == 1).then_some(())
    })
    .await;
}

/// The number of a metric with these labels; 0 if it is not there.
async fn metric(node: &TestNode, name: &str) -> f64 {
    let answer = client().get(format!("{}/metrics", node.url)).send().await.unwrap();
    assert!(header(&answer, "content-type").starts_with("application/openmetrics-text"));
    let text = answer.text().await.unwrap();
    assert!(text.ends_with("# EOF\n"), "{text}");
    let mut found = 0.0;
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (of, number) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no metric: {line}"));
        let number: f64 = number.parse().unwrap_or_else(|_| panic!("no number: {line}"));
        if of == name {
            found = number;
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_move() {
    let node = TestNode::start("mu,su,cu", None);
    let other = TestNode::start("none", Some(&node.multiaddr));
    let user = User::default();
    assert_eq!(metric(&node, "ao_slots_scheduled_total").await, 0.0);
    let process = user.spawn(&node, &node.address, &node.address).await.unwrap();
    let answer = user.type_in(&node, &node, &process, &format!("Send({{ Target = '{process}', Data = 'x' }})")).await;
    answer.unwrap();
    wait_for_async("what the process sent to itself is scheduled and computed", async || {
        (metric(&node, "ao_outcomes_recorded_total").await >= 3.0).then_some(())
    })
    .await;
    assert_eq!(metric(&node, "ao_slots_scheduled_total").await, 3.0);
    assert!(metric(&node, r#"ao_deliveries_total{state="scheduled"}"#).await >= 1.0);
    assert_eq!(metric(&node, r#"ao_http_requests_total{method="POST",route="/mu",status="202"}"#).await, 2.0);
    let route = r#"method="GET",route="/cu/result/{id}""#;
    assert!(metric(&node, &format!("ao_http_seconds_count{{{route}}}")).await >= 2.0);
    assert_eq!(metric(&node, r#"ao_processes{state="stalled"}"#).await, 0.0);
    wait_for_async("gossip and connections are counted", async || {
        let gossip = metric(&other, r#"ao_gossip_verdicts_total{verdict="accepted"}"#).await;
        let connected = metric(&other, "ao_peers_connected").await;
        (gossip >= 1.0 && connected == 1.0).then_some(())
    })
    .await;
    assert!(metric(&other, "libp2p_gossipsub_messages_total").await >= 1.0, "libp2p's own are in the same registry");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_described_path_is_there() {
    let node = TestNode::start("mu,su,cu", None);
    let (status, document) = node.get("/openapi.json").await.unwrap();
    assert_eq!(status, 200);
    let id = "a".repeat(42) + "A";
    let mut asked = 0;
    for (path, operations) in document["paths"].as_object().unwrap() {
        let mut parts = path.split(['{', '}']).map(str::to_string).collect::<Vec<_>>();
        for part in parts.iter_mut().skip(1).step_by(2) {
            *part =
                if ["slot", "height", "offset", "bytes"].contains(&part.as_str()) { "0".into() } else { id.clone() };
        }
        let path = parts.concat();
        for method in operations.as_object().unwrap().keys() {
            let method: Method = method.to_uppercase().parse().unwrap();
            let answer = client().request(method.clone(), format!("{}{path}", node.url)).send().await.unwrap();
            let status = answer.status().as_u16();
            let text = answer.text().await.unwrap();
            assert!(status != 405 && !text.contains("no path"), "{method} {path}: {status} {text}");
            asked += 1;
        }
    }
    assert!(asked > 10, "{document}");
}
