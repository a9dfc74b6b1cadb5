//! HyperBEAM's paths: the requests that `aos` 2.0.16 and `@permaweb/aoconnect` 0.0.98 send in mainnet mode, replayed.

use ao_protocol::item::{ItemBuilder, VerifiedItem};
use ao_protocol::wallet::Wallet;
use ao_tests::nodes::{DEADLINE, TestNode, User, wait_for_async};
use rand::Rng;
use reqwest::{Client, Response};
use serde_json::Value;

fn client() -> Client {
    Client::builder().no_proxy().timeout(DEADLINE).build().unwrap()
}

/// A user of aoconnect in mainnet mode: signs everything, with the tags that it adds.
struct Mainnet(Wallet);

impl Mainnet {
    fn new() -> Mainnet {
        Mainnet(Wallet::ed25519_from_seed(rand::rng().random()))
    }

    fn sign(&self, kind: &str, codec: (&str, &str), item: ItemBuilder) -> VerifiedItem {
        let item = item.tag("signing-format", "ans104").tag("accept-bundle", "true").tag(codec.0, codec.1);
        let item = item.tag("Data-Protocol", "ao").tag("Type", kind).tag("Variant", "ao.N.1");
        item.anchor(rand::rng().random()).sign(&self.0).unwrap()
    }

    fn spawn_item(&self, module: &str, scheduler: &str, authority: &str) -> VerifiedItem {
        let item = ItemBuilder::new()
            .tag("device", "process@1.0")
            .tag("scheduler-device", "scheduler@1.0")
            .tag("push-device", "push@1.0")
            .tag("execution-device", "genesis-wasm@1.0")
            .tag("Authority", authority)
            .tag("Scheduler", scheduler)
            .tag("Module", module)
            .tag("App-Name", "aos")
            .tag("Name", "neo")
            .tag("aos-version", "2.0.16")
            .tag("process-timestamp", "1700000000000");
        self.sign("Process", ("accept-codec", "httpsig@1.0"), item)
    }

    fn eval_item(&self, process: &str, lua: &str) -> VerifiedItem {
        let item = ItemBuilder::new().target(process.parse().unwrap()).tag("Action", "Eval").data(lua);
        self.sign("Message", ("require-codec", "application/json"), item.tag("message-timestamp", "1700000000000"))
    }

    /// What the client signs although it only reads: `data` is its default.
    fn read_item(&self, process: &str) -> VerifiedItem {
        let item = ItemBuilder::new().target(process.parse().unwrap()).data("1984");
        self.sign("Message", ("require-codec", "application/json"), item)
    }

    /// As `message` and then `result` do it: the slot, and what it came to.
    async fn eval(&self, send: &TestNode, read: &TestNode, process: &str, lua: &str) -> (u64, Value) {
        let answer = post(send, &format!("/{process}~process@1.0/push"), &self.eval_item(process, lua)).await;
        assert_eq!(answer.status(), 200);
        let receipt: Value = answer.json().await.unwrap();
        let slot = receipt["slot"].as_u64().unwrap_or_else(|| panic!("no slot: {receipt}"));
        let path = format!("/{process}~process@1.0/compute/results={slot}");
        let answer = post(read, &path, &self.read_item(process)).await;
        assert_eq!(answer.status(), 200);
        (slot, answer.json().await.unwrap())
    }
}

async fn post(node: &TestNode, path: &str, item: &VerifiedItem) -> Response {
    let request = client().post(format!("{}{path}", node.url)).body(item.bytes().to_vec());
    request.header("content-type", "application/ans104").header("codec-device", "ans104@1.0").send().await.unwrap()
}

async fn text(node: &TestNode, path: &str) -> (u16, String) {
    let answer = client().get(format!("{}{path}", node.url)).send().await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

async fn module(node: &TestNode) -> String {
    node.get("/ao/peers").await.unwrap().1["module"].as_str().unwrap().to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_console_in_mainnet_mode() {
    let node = TestNode::start("mu,su,cu", None);
    let user = Mainnet::new();
    let (status, operator) = text(&node, "/~meta@1.0/info/address").await;
    assert_eq!((status, operator.as_str()), (200, node.address.as_str()));

    let spawn = user.spawn_item(&module(&node).await, &operator, &operator);
    let answer = post(&node, "/push", &spawn).await;
    assert_eq!(answer.status(), 200);
    let process = answer.headers()["process"].to_str().unwrap().to_string();
    assert_eq!(process, spawn.id().to_string());
    assert_eq!(answer.headers()["slot"], "0");

    let (slot, result) = user.eval(&node, &node, &process, "require('.process')._version").await;
    assert_eq!(slot, 1);
    assert!(result["raw"]["Output"]["prompt"].is_string(), "the console takes its prompt from here: {result}");
    let (_, result) = user.eval(&node, &node, &process, "x = 41 print('hello')").await;
    assert!(result["raw"].get("Error").is_none(), "{result}");
    let (slot, result) = user.eval(&node, &node, &process, "x + 1").await;
    assert!(result["raw"]["Output"]["data"].to_string().contains("42"), "{result}");
    for list in ["Messages", "Assignments", "Spawns"] {
        assert!(result["raw"][list].is_array(), "{result}");
    }
    let (_, result) = user.eval(&node, &node, &process, "error('oh no')").await;
    assert!(result["raw"]["Error"].to_string().contains("oh no") || result.to_string().contains("oh no"), "{result}");

    // The live feed: the number of the newest slot, then what it came to. Reading makes no slots.
    let answer = post(&node, &format!("/{process}/slot/current"), &user.read_item(&process)).await;
    assert_eq!(answer.text().await.unwrap(), (slot + 1).to_string());
    let answer = post(&node, &format!("/{process}/compute/results={slot}"), &user.read_item(&process)).await;
    let live: Value = answer.json().await.unwrap();
    assert!(live["raw"]["Output"]["data"].to_string().contains("42"), "{live}");

    // Legacy paths see the same.
    let (_, page) = node.get(&format!("/su/{process}?from-nonce=-1")).await.unwrap();
    assert_eq!(page["edges"].as_array().map(Vec::len), Some(5), "{page}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_and_the_state_have_keys() {
    let node = TestNode::start("mu,su,cu", None);
    let user = Mainnet::new();
    let spawn = user.spawn_item(&module(&node).await, &node.address, &node.address);
    let process = spawn.id().to_string();
    let path = format!("/{process}~process@1.0");
    assert_eq!(post(&node, "/~scheduler@1.0/schedule", &spawn).await.status(), 200);
    let eval = user.eval_item(&process, "return 'seven'");
    let answer = post(&node, &format!("{path}/schedule"), &eval).await;
    assert_eq!(answer.headers()["slot"], "1");
    let again: Value = post(&node, &format!("{path}/push?result-depth=1"), &eval).await.json().await.unwrap();
    assert_eq!(again["slot"], 1, "the same item has one slot");
    assert!(again["raw"]["Output"].to_string().contains("seven"), "{again}");
    for slot in ["compute&slot=1/results", "compute=1/results", "compute/results=1", "now/results", "now/results/raw"] {
        let (status, answer) = text(&node, &format!("{path}/{slot}")).await;
        assert!(status == 200 && answer.contains("seven"), "{slot}: {status} {answer}");
    }
    let (_, by_message) = text(&node, &format!("{path}/compute/results={}", eval.id())).await;
    assert!(by_message.contains("seven"));
    let (status, body) = text(&node, &format!("{path}/compute&slot=1/results/json/body")).await;
    let body: Value = serde_json::from_str(&body).unwrap_or_else(|_| panic!("{status} {body}"));
    assert!(body["GasUsed"].is_number());
    let (_, slot) = node.get(&format!("{path}/slot")).await.unwrap();
    assert_eq!((slot["current"].as_u64(), slot["process"].as_str()), (Some(1), Some(&*process)));

    for log in [format!("{path}/schedule?from=1&to=1"), format!("/~scheduler@1.0/schedule?target={process}&from=1")] {
        let (status, page) = node.get(&log).await.unwrap();
        assert_eq!(status, 200, "{page}");
        assert_eq!(page["edges"].as_array().map(Vec::len), Some(1), "{page}");
        assert_eq!(page["edges"][0]["cursor"], "1");
        assert_eq!(page["edges"][0]["node"]["message"]["id"], eval.id().to_string());
        assert_eq!(page["page_info"]["process"], process);
    }

    for (path, status, said) in [
        (format!("{path}/now/results/nothing"), 404, "no key"),
        (format!("{path}/compute/results=99"), 404, "no slot 99"),
        (format!("{path}/compute/results=x"), 400, "no slot and no id"),
        (format!("/{}~process@1.0/now", node.address), 404, "not known"),
        (format!("{path}/push"), 400, "by POST"),
        (format!("{path}/other"), 404, "no path"),
    ] {
        let (found, answer) = node.get(&path).await.unwrap();
        let text = answer["error"].as_str().unwrap_or_default();
        assert!(found == status && text.contains(said), "{path}: {found} {answer}");
    }
    let other = user.eval_item(&node.address, "1");
    let answer = post(&node, &format!("{path}/push"), &other).await;
    assert_eq!(answer.status(), 400, "the path and the item must agree");
    let signed = client().post(format!("{}/push", node.url)).header("signature", "x=:AA==:").body("x");
    assert_eq!(signed.send().await.unwrap().status(), 422, "the client sends an ANS-104 item then");
    let json = client().post(format!("{}/push", node.url)).header("content-type", "application/json").body("{}");
    assert_eq!(json.send().await.unwrap().status(), 415);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dry_run_leaves_no_trace() {
    let node = TestNode::start("mu,su,cu", None);
    let reader = TestNode::start("none", Some(&node.multiaddr));
    let user = Mainnet::new();
    let spawn = user.spawn_item(&module(&node).await, &node.address, &node.address);
    let process = spawn.id().to_string();
    assert_eq!(post(&node, "/push", &spawn).await.status(), 200);
    let handler = "Handlers.add('get', 'Get', function(m) ao.send({ Target = m.From, Data = m.What .. '!' }) end)";
    let (slot, _) = user.eval(&node, &node, &process, handler).await;
    let path = format!("/{process}~process@1.0/as=execution/compute&Action=Get&What=every%20word");
    for node in [&node, &reader] {
        let answer = wait_for_async("the dry-run is answered", async || {
            let answer = post(node, &path, &user.read_item(&process)).await;
            (answer.status() == 200).then_some(answer)
        });
        let answer: Value = answer.await.json().await.unwrap();
        assert_eq!(answer["raw"]["Messages"][0]["Data"], "every word!", "{answer}");
        assert_eq!(text(node, &format!("/{process}/slot/current")).await.1, slot.to_string());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_node_answers() {
    let su = TestNode::start("su", None);
    let mu = TestNode::start("mu", Some(&su.multiaddr));
    let cu = TestNode::start("cu", Some(&su.multiaddr));
    let gateway = TestNode::start("none", Some(&mu.multiaddr));
    let user = Mainnet::new();
    let operator = wait_for_async("the gateway knows the scheduler", async || {
        let (_, operator) = text(&gateway, "/~meta@1.0/info/address").await;
        (operator == su.address).then_some(operator)
    })
    .await;
    let spawn = user.spawn_item(&module(&gateway).await, &operator, &mu.address);
    let process = spawn.id().to_string();
    wait_for_async("the network has met", async || {
        (post(&gateway, "/push", &spawn).await.status() == 200).then_some(())
    })
    .await;
    for (number, node) in [&gateway, &mu, &su, &cu].into_iter().enumerate() {
        let lua = "n = (n or 0) + 1 return 'n is ' .. n";
        let (_, result) = user.eval(node, node, &process, lua).await;
        assert!(result.to_string().contains(&format!("n is {}", number + 1)), "{}: {result}", node.url);
    }
    // A user of the legacy paths works on the same process.
    let said = User::default().type_in(&mu, &gateway, &process, "1").await;
    assert!(said.is_ok(), "{said:?}");
}
