//! What ao's clients ask of the units beyond messages and results: lists with cursors, dry-runs, assignments, metadata.
//! Roles are on different nodes, and every question goes to one that has to pass it on or to follow the log for it.

use ao_protocol::item::ItemBuilder;
use ao_tests::nodes::{TestNode, User, wait_for_async};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

struct Network {
    scheduler: TestNode,
    messenger: TestNode,
    computer: TestNode,
    user: User,
    process: String,
}

impl Network {
    async fn start() -> Network {
        let scheduler = TestNode::start("su", None);
        let messenger = TestNode::start("mu", Some(&scheduler.multiaddr));
        let computer = TestNode::start("cu", Some(&scheduler.multiaddr));
        let user = User::default();
        let process = wait_for_async("the first spawn is taken", async || {
            user.spawn(&messenger, &scheduler.address, &messenger.address).await.ok()
        })
        .await;
        Network { scheduler, messenger, computer, user, process }
    }

    async fn eval(&self, lua: &str) -> String {
        self.user.type_in(&self.messenger, &self.messenger, &self.process, lua).await.unwrap()
    }
}

fn escape(cursor: &str) -> String {
    cursor.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D")
}

fn outputs(page: &Value) -> Vec<String> {
    let edges = page["edges"].as_array().unwrap().iter();
    edges.map(|edge| edge["node"]["Output"]["data"].as_str().unwrap_or_default().to_string()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn results_come_in_pages_in_both_orders_without_errors() {
    let network = Network::start().await;
    for n in 1..=6 {
        network.eval(&n.to_string()).await;
    }
    let failing = network.user.eval(&network.process, "error('no')");
    network.messenger.post("/mu", failing.bytes().to_vec()).await.unwrap();
    let result = format!("/cu/result/{}?process-id={}", failing.id(), network.process);
    let (status, failed) = network.messenger.get(&result).await.unwrap();
    assert_eq!(status, 200);
    assert!(failed["Error"].as_str().unwrap().contains("no"), "{failed}");
    network.eval("7").await;

    let list = async |node: &TestNode, query: &str| {
        let (status, page) = node.get(&format!("/cu/results/{}{query}", network.process)).await.unwrap();
        assert_eq!(status, 200, "{page}");
        page
    };
    let newest = list(&network.computer, "?sort=DESC&limit=2").await;
    assert_eq!(outputs(&newest), ["7", "6"], "the one that failed is left out");
    // Who asks for it gets it, with the message that it is of.
    let with_errors = list(&network.messenger, "?sort=DESC&limit=2&errors=true").await;
    let failed = &with_errors["edges"][1];
    assert_eq!((&failed["message"], &failed["action"]), (&failing.id().to_string().into(), &"Eval".into()));
    assert!(failed["node"]["Error"].as_str().unwrap().contains("no"), "{failed}");
    assert_eq!(newest["pageInfo"]["hasNextPage"], true);
    // The older bound is `from`, whatever the order; the order in the cursor wins.
    let cursor = newest["edges"][1]["cursor"].as_str().unwrap();
    let decoded: Value = serde_json::from_slice(&STANDARD.decode(cursor).unwrap()).unwrap();
    assert_eq!((decoded["ordinate"].as_str(), decoded["sort"].as_str()), (Some("6"), Some("DESC")));
    let newer = list(&network.messenger, &format!("?from={}&sort=ASC", escape(cursor))).await;
    assert_eq!(outputs(&newer), ["7"]);
    let older = list(&network.messenger, &format!("?to={}&limit=3&sort=DESC", escape(cursor))).await;
    assert_eq!(outputs(&older), ["6", "5", "4"]);
    let all = list(&network.messenger, "?limit=1000").await;
    assert_eq!(outputs(&all)[1..], ["1", "2", "3", "4", "5", "6", "7"]);
    assert_eq!(all["pageInfo"]["hasNextPage"], false);

    for (query, expected) in [("from=garbage", "from"), ("limit=-1", "limit"), ("sort=UP", "sort")] {
        let (status, answer) = network.computer.get(&format!("/cu/results/{}?{query}", network.process)).await.unwrap();
        assert_eq!(status, 400, "{query}");
        assert!(answer["error"].as_str().unwrap().contains(expected), "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dry_run_sees_the_newest_state_and_leaves_no_trace() {
    let network = Network::start().await;
    network.eval("Count = 5 Handlers.add('Add', 'Add', function(msg) Count = Count + 1 print(Count) end)").await;
    let path = format!("/cu/dry-run?process-id={}", network.process);
    let body = json!({ "Id": "1234", "Owner": "1234", "Anchor": "0", "Data": "1234",
        "Tags": [{ "name": "Action", "value": "Add" }] });
    // The scheduler computes nothing: it passes the question on.
    for node in [&network.computer, &network.scheduler, &network.messenger] {
        let (status, outcome) = node.post(&path, body.to_string().into_bytes()).await.unwrap();
        assert_eq!(
            (status, outcome["Output"]["data"].as_str().unwrap_or_default().contains('6')),
            (200, true),
            "{outcome}"
        );
        assert!(outcome["Messages"].is_array() && outcome.get("Error").is_none());
    }
    assert_eq!(network.eval("Count").await, "5");
    let (status, answer) = network.computer.post(&path, b"no json".to_vec()).await.unwrap();
    assert_eq!(status, 400);
    assert!(answer["error"].as_str().unwrap().contains("JSON"), "{answer}");
    let unknown = format!("/cu/dry-run?process-id={}", network.scheduler.address);
    let (status, _) = network.computer.post(&unknown, body.to_string().into_bytes()).await.unwrap();
    assert_eq!(status, 404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_state_is_shown_by_every_node() {
    let network = Network::start().await;
    network.eval("Balances = { alice = 10 } Hidden = function() end").await;
    let path = format!("/cu/state/{}", network.process);
    // The scheduler and the messenger compute nothing: they pass the question on.
    for node in [&network.computer, &network.scheduler, &network.messenger] {
        let (status, shown) = node.get(&path).await.unwrap();
        assert_eq!(
            (status, shown["Slot"].as_u64(), shown["Process"].as_str()),
            (200, Some(1), Some(&*network.process))
        );
        assert_eq!(shown["State"]["Balances"], json!({ "alice": 10 }));
        assert_eq!(shown["State"]["Hidden"], "<function>");
        let (status, one) = node.get(&format!("{path}?name=Balances&to={}", shown["Timestamp"])).await.unwrap();
        assert_eq!((status, &one["State"]), (200, &json!({ "alice": 10 })));
        let (status, newer) = node.get(&format!("{path}?to=1")).await.unwrap();
        assert_eq!(status, 425, "{newer}");
    }
    let (status, _) = network.computer.get(&format!("{path}?to=now")).await.unwrap();
    assert_eq!(status, 400);
    let (status, _) = network.computer.get(&format!("/cu/state/{}", network.scheduler.address)).await.unwrap();
    assert_eq!(status, 404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_item_from_elsewhere_is_assigned_by_query() {
    let network = Network::start().await;
    network.eval("ao.addAssignable('all', function() return true end)").await;
    let other = network.user.spawn(&network.messenger, &network.scheduler.address, &network.messenger.address).await;
    let other = other.unwrap().parse().unwrap();
    let note = ItemBuilder::new().target(other).tag("Type", "Message").tag("Action", "Note").data("what it says");
    let message = network.user.sign(note);
    network.messenger.post("/mu", message.bytes().to_vec()).await.unwrap();
    let (process, id) = (&network.process, message.id());
    let assign = format!("/mu?process-id={process}&assign={id}&exclude=Data,Anchor");
    let (status, answer) = network.messenger.post(&assign, Vec::new()).await.unwrap();
    assert_eq!((status, answer["message"].as_str()), (202, Some("Processing Assignment")), "{answer}");
    // Once more is the same assignment.
    let (_, again) = network.computer.post(&assign, Vec::new()).await.unwrap();
    assert_eq!(answer["id"], again["id"]);
    let path = format!("/su/{id}?process-id={process}");
    let (status, node) = network.scheduler.get(&path).await.unwrap();
    assert_eq!((status, &node["assignment"]["id"], &node["message"]), (200, &answer["id"], &Value::Null));
    let result = network.user.result(&network.messenger, process, &id.to_string()).await.unwrap();
    assert!(result["Output"].is_object(), "{result}");
    assert_eq!(network.eval("tostring(Inbox[#Inbox].Data) .. tostring(Inbox[#Inbox].Target)").await.len(), 3 + 43);
    for (query, text) in
        [(format!("process-id={process}"), "you must send both"), (format!("process-id={process}&assign=x"), "assign")]
    {
        let (status, answer) = network.messenger.post(&format!("/mu?{query}"), Vec::new()).await.unwrap();
        assert_eq!(status, 400, "{answer}");
        assert!(answer["error"].as_str().unwrap().contains(text), "{answer}");
    }
    // Without a chain there are no transactions.
    let base_layer = format!("/mu?process-id={process}&assign={}&base-layer", network.scheduler.address);
    let (status, answer) = network.messenger.post(&base_layer, Vec::new()).await.unwrap();
    assert!(status == 502 && answer["error"].as_str().unwrap().contains("--arweave"), "{answer}");
    let unknown = format!("/mu?process-id={process}&assign={}", network.scheduler.address);
    assert_eq!(network.messenger.post(&unknown, Vec::new()).await.unwrap().0, 404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn monitoring_is_the_owners_and_a_push_names_what_was_sent() {
    let network = Network::start().await;
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = format!("{}/mu/monitor/{}", network.messenger.url, network.process);
    let target = network.process.parse().unwrap();
    let own = network.user.sign(ItemBuilder::new().target(target).data(" "));
    let foreign = User::default().sign(ItemBuilder::new().target(target).data(" "));
    let status = async |request: reqwest::RequestBuilder, bytes: &[u8]| {
        let answer = request.body(bytes.to_vec()).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    assert_eq!(status(client.post(&url), own.bytes()).await, (200, "Monitoring process".into()));
    assert_eq!(status(client.delete(&url), foreign.bytes()).await.0, 403);
    assert_eq!(status(client.delete(&url), own.bytes()).await, (200, "Process deleted".into()));
    assert_eq!(status(client.post(&url), b"garbage").await.0, 400);

    let lua = format!("Send({{ Target = '{}', Data = 'to myself' }})", network.process);
    let sending = network.user.eval(&network.process, &lua);
    network.messenger.post("/mu", sending.bytes().to_vec()).await.unwrap();
    let push = |number: u8| format!("/mu/push/{}/{number}?process-id={}", sending.id(), network.process);
    assert_eq!(network.messenger.post(&push(0), Vec::new()).await.unwrap().0, 202);
    assert_eq!(network.messenger.post(&push(1), Vec::new()).await.unwrap().0, 404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scheduler_tells_of_its_processes() {
    let network = Network::start().await;
    network.eval("1").await;
    let process = &network.process;
    // The messenger follows the log and answers as the scheduler does.
    for node in [&network.scheduler, &network.messenger] {
        let (status, metadata) = node.get(&format!("/su/processes/{process}")).await.unwrap();
        assert_eq!((status, metadata["process_id"].as_str()), (200, Some(process.as_str())), "{metadata}");
        assert!(metadata["timestamp"].is_u64() && metadata["block"].as_str().unwrap().len() == 12, "{metadata}");
        assert!(metadata["owner"]["key"].is_string() && metadata["target"].is_null());
        let (_, latest) = node.get(&format!("/su/{process}/latest")).await.unwrap();
        assert_eq!(latest["message"]["data"], "1", "{latest}");
        let (_, clock) = node.get("/su/timestamp").await.unwrap();
        assert!(clock["timestamp"].as_str().unwrap().len() == 13, "{clock}");
        assert_eq!(clock["block_height"].as_str().unwrap().len(), 12);
    }
    let (status, answer) = network.scheduler.get(&format!("/su/{process}?limit=undefined")).await.unwrap();
    assert_eq!((status, answer["edges"].as_array().unwrap().len()), (200, 2));
    assert_eq!(network.scheduler.get(&format!("/su/{process}?from-nonce=x")).await.unwrap().0, 400);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_nobody_can_compute_says_so_at_once() {
    let network = Network::start().await;
    let module = network.user.sign(
        ItemBuilder::new()
            .tag("Type", "Module")
            .tag("Module-Format", "wasm64-unknown-emscripten-draft_2024_02_15")
            .tag("Input-Encoding", "JSON-1")
            .tag("Output-Encoding", "JSON-1")
            .data(b"\0asm".to_vec()),
    );
    let (status, answer) = network.scheduler.post("/tx", module.bytes().to_vec()).await.unwrap();
    assert_eq!(status, 200, "{answer}");
    let spawn = network.user.sign(
        ItemBuilder::new()
            .tag("Type", "Process")
            .tag("Module", module.id().to_string())
            .tag("Scheduler", network.scheduler.address.clone())
            .data(" "),
    );
    let (status, answer) = network.messenger.post("/mu", spawn.bytes().to_vec()).await.unwrap();
    assert_eq!(status, 202, "{answer}");
    for node in [&network.computer, &network.messenger] {
        let (status, answer) = node.get(&format!("/cu/result/{0}?process-id={0}", spawn.id())).await.unwrap();
        assert_eq!(status, 422, "{answer}");
        assert!(answer["error"].as_str().unwrap().contains("wasm64-unknown-emscripten"), "{answer}");
    }
}
