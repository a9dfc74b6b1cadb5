//! Bad input has a clear end: over HTTP, over the command line, at start.

use std::process::{Command, Output};

use ao_protocol::item::ItemBuilder;
use ao_tests::nodes::{TestNode, User, program, wait_for_async};

fn run(arguments: &[&str]) -> Output {
    let mut command = Command::new(program());
    command.args(arguments).env_remove("AO_NODE").env_remove("AO_WALLET");
    command.output().unwrap()
}

fn refused(arguments: &[&str], expected: &str, code: i32) {
    let output = run(arguments);
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains(expected), "{arguments:?} should say {expected:?}: {text}");
    assert!(!text.contains("panicked"), "{text}");
    assert_eq!(output.status.code(), Some(code), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_http() {
    let node = TestNode::start("mu,su,cu", None);
    let user = User::default();
    let target = "a".repeat(42) + "A";
    let message = user.eval(&target, "1").bytes().to_vec();
    let mut forged = message.clone();
    *forged.last_mut().unwrap() ^= 1;
    let stranger =
        ItemBuilder::new().tag("Type", "Process").tag("Module", target.clone()).tag("Scheduler", target.clone());
    let stranger = user.sign(stranger).bytes().to_vec();
    let upload = user.sign(ItemBuilder::new().tag("Type", "Upload")).bytes().to_vec();
    let cases: Vec<(&str, Vec<u8>, u16, &str)> = vec![
        ("/mu", b"garbage".to_vec(), 400, "signature type"),
        ("/mu", Vec::new(), 400, "signature type"),
        ("/mu", forged.clone(), 400, "signature"),
        ("/mu", message.clone(), 404, "unknown process"),
        ("/mu", stranger, 502, &target),
        ("/mu", upload, 400, "Unsupported Type"),
        ("/mu", vec![0; 11 * 1024 * 1024], 413, ""),
        ("/su", b"garbage".to_vec(), 400, "signature type"),
        ("/su", forged, 400, "signature"),
        ("/su", message, 404, "unknown process"),
    ];
    for (path, body, status, text) in cases {
        let length = body.len();
        let (found, answer) = node.post(path, body).await.unwrap();
        let said = answer["error"].as_str().unwrap_or_default();
        assert_eq!(found, status, "{path}, {length} bytes: {answer}");
        assert!(said.contains(text), "{path}: {said:?} should say {text:?}");
    }
    for (path, status, text) in [
        ("/cu/result/x?process-id=x", 400, "base64url"),
        (&*format!("/cu/result/{target}"), 400, "process-id"),
        (&*format!("/cu/result/{target}?process-id={target}"), 404, "not in the log"),
        (&*format!("/su/{target}"), 404, "not found"),
        ("/su/short", 400, "43 characters"),
        ("/no/such/path", 404, ""),
    ] {
        let (found, answer) = node.get(path).await.unwrap();
        assert_eq!(found, status, "{path}: {answer}");
        assert!(answer["error"].as_str().unwrap_or_default().contains(text), "{path}: {answer}");
    }
    // After all that it still works.
    let process = user.spawn(&node, &node.address, &node.address).await.unwrap();
    assert!(user.type_in(&node, &node, &process, "1 + 1").await.unwrap().contains('2'));
}

#[test]
fn over_the_command_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    std::fs::write(folder.path().join("no-wallet"), "hello").unwrap();
    std::fs::write(folder.path().join("no-network"), "{\"name\": 1}").unwrap();
    let id = "A".repeat(43);
    let node = ["--node", "http://127.0.0.1:1"];
    refused(&["eval", &id, "1", "--wallet", &path("missing"), node[0], node[1]], "can't be read", 1);
    refused(&["eval", &id, "1", "--wallet", &path("no-wallet"), node[0], node[1]], "expected a JWK", 1);
    refused(&["eval", "short", "1"], "43 characters", 2);
    refused(&["result", &id, node[0], node[1]], "no node answers at http://127.0.0.1:1", 1);
    refused(&["spawn", "--tag", "novalue"], "NAME=VALUE", 2);
    refused(&["start", "--role", "xu"], "unknown role", 2);
    refused(&["start", "--role", ""], "unknown role", 2);
    refused(&["start", "--listen", "nonsense"], "is no multiaddr", 2);
    refused(&["start", "--join", "/ip4/300.0.0.1/tcp/1"], "/ip4/300.0.0.1/tcp/1", 2);
    refused(&["start", "--http", "nonsense"], "invalid socket address", 2);
    refused(&["nonsense"], "unrecognized subcommand", 2);
    let start = |more: &[&str], expected: &str| {
        let data = path("start");
        let mut arguments = vec!["start", "--data", &data, "--http", "127.0.0.1:0"];
        arguments.extend(more);
        refused(&arguments, expected, 1);
    };
    start(&["--wallet", &path("no-wallet")], "expected a JWK");
    start(&["--network", &path("no-network")], "not a network file");
    start(&["--network", &path("missing")], "can't be read");
}

#[test]
fn a_node_that_can_not_start_says_why() {
    let mut node = TestNode::start("none", None);
    let data = node.data().display().to_string();
    let http = node.url.trim_start_matches("http://").to_string();
    let other = tempfile::tempdir().unwrap();
    let elsewhere = other.path().join("data").display().to_string();
    let quiet = ["--role", "none", "--listen", "/ip4/127.0.0.1/tcp/0"];
    let with =
        |more: &[&str]| [&["start"], &quiet[..], more].concat().iter().map(|s| s.to_string()).collect::<Vec<_>>();
    let said = |arguments: Vec<String>, expected: &str| {
        refused(&arguments.iter().map(String::as_str).collect::<Vec<_>>(), expected, 1);
    };
    said(with(&["--data", &data, "--http", "127.0.0.1:0"]), "in use by another node");
    said(with(&["--data", &elsewhere, "--http", &http]), "HTTP can't listen");
    let listen = node.multiaddr.split("/p2p/").next().unwrap().to_string();
    let taken = ["start", "--role", "none", "--data", &elsewhere, "--http", "127.0.0.1:0", "--listen", &listen];
    refused(&taken, &listen, 1);
    node.kill();
    std::fs::write(node.data().join("log").join("CURRENT"), "garbage").unwrap();
    said(with(&["--data", &data, "--http", "127.0.0.1:0"]), "can't be opened");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_with_a_module_that_can_not_run_says_so() {
    let node = TestNode::start("mu,su,cu", None);
    let user = User::default();
    let spawn = ItemBuilder::new()
        .tag("Type", "Process")
        .tag("Module", node.address.clone())
        .tag("Scheduler", node.address.clone());
    let spawn = user.sign(spawn);
    let (status, _) = node.post("/mu", spawn.bytes().to_vec()).await.unwrap();
    assert_eq!(status, 202);
    let path = format!("/cu/result/{0}?process-id={0}", spawn.id());
    wait_for_async("the result says why there is none", async || {
        let (status, answer) = node.get(&path).await.ok()?;
        assert_eq!(status, 504, "{answer}");
        answer["error"].as_str()?.contains("module").then_some(())
    })
    .await;
}
