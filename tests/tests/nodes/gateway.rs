//! The gateway of real nodes: what is uploaded or scheduled at one is found at another.

use ao_protocol::id::{Id, decode_base64url, encode_base64url};
use ao_protocol::item::{ItemBuilder, VerifiedItem, bundle, deep_hash, signature};
use ao_protocol::wallet::Wallet;
use ao_tests::nodes::{TestNode, User, wait_for_async};
use serde_json::{Value, json};

use crate::client_queries as queries;

/// Asks a node in GraphQL; the whole answer.
async fn ask(node: &TestNode, query: &str, variables: Value) -> Value {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let body = json!({ "query": query, "variables": variables });
    let answer = client.post(format!("{}/graphql", node.url)).json(&body).send().await.unwrap();
    answer.json().await.unwrap()
}

/// The nodes of the edges of an answer without errors.
fn nodes(answer: &Value) -> Vec<&Value> {
    assert!(answer.get("errors").is_none(), "{answer}");
    let list = answer["data"].as_object().and_then(|data| data.values().next()).unwrap();
    list["edges"].as_array().unwrap().iter().map(|edge| &edge["node"]).collect()
}

fn ids(answer: &Value) -> Vec<&str> {
    nodes(answer).iter().filter_map(|node| node["id"].as_str()).collect()
}

fn tag<'a>(node: &'a Value, name: &str) -> Option<&'a str> {
    let tags = node["tags"].as_array()?;
    tags.iter().find(|tag| tag["name"] == name)?["value"].as_str()
}

async fn upload(node: &TestNode, path: &str, item: &VerifiedItem) -> Value {
    let (status, answer) = node.post(path, item.bytes().to_vec()).await.unwrap();
    assert_eq!(status, 200, "{answer}");
    answer
}

/// Waits until a node finds an item by its tags.
async fn found_by_name(node: &TestNode, name: &str) -> Value {
    let query = format!(
        r#"{{ transactions(tags: [{{name: "Name", values: ["{name}"]}}]) {{
            pageInfo {{ hasNextPage }} edges {{ cursor node {{ id data {{ size type }} bundledIn {{ id }} }} }} }} }}"#
    );
    wait_for_async(&format!("{} finds {name}", node.url), async || {
        let answer = ask(node, &query, json!({})).await;
        (!nodes(&answer).is_empty()).then_some(answer)
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_uploaded_at_one_node_is_found_at_another() {
    let first = TestNode::start("none", None);
    let second = TestNode::start("su", Some(&first.multiaddr));
    let user = User::default();
    wait_for_async("both are connected", async || {
        let (_, peers) = second.get("/ao/peers").await.ok()?;
        (peers["connected"].as_u64()? > 0).then_some(())
    })
    .await;
    // Gossip to a mesh that forms only now may be lost: then it is a late joiner's way, by id.
    let text = "0123456789".repeat(100);
    let item = user.sign(ItemBuilder::new().tag("Name", "small").tag("Content-Type", "text/plain").data(text.clone()));
    let receipt = upload(&first, "/tx", &item).await;
    assert_eq!(receipt["id"], item.id().to_string());
    assert!(receipt["timestamp"].is_u64() && receipt["deadlineHeight"].is_u64() && receipt["block"].is_u64());
    assert_eq!(receipt["validatorSignatures"], json!([]));
    assert_eq!(receipt["owner"], item.address().to_string());
    // The receipt is one: signed by the node.
    let parts = ["version", "id", "deadlineHeight", "timestamp"].map(|part| match &receipt[part] {
        Value::String(text) => text.clone(),
        number => number.to_string(),
    });
    let parts: Vec<&[u8]> = ["Bundlr"].into_iter().chain(parts.iter().map(String::as_str)).map(str::as_bytes).collect();
    let bytes = |part: &str| decode_base64url(receipt[part].as_str().unwrap()).unwrap();
    let kind = ao_protocol::item::SignatureType::Ed25519;
    signature::verify(kind, &bytes("public"), &deep_hash::list(&parts), &bytes("signature")).unwrap();
    // The same again is the same, at any of the paths.
    for path in ["/tx", "/tx/arweave", "/v1/tx", "/v1/tx/solana"] {
        assert_eq!(upload(&first, path, &item).await, receipt);
    }

    // By id it is fetched, wherever it is asked for.
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let range = client.get(format!("{}/raw/{}", second.url, item.id())).header("range", "bytes=10-19");
    let range = range.send().await.unwrap();
    assert_eq!(range.status(), 206);
    assert_eq!(range.headers()["content-range"], "bytes 10-19/1000");
    assert_eq!(range.headers()["content-type"], "text/plain");
    assert_eq!(range.headers()["x-content-type-options"], "nosniff");
    assert_eq!(range.text().await.unwrap(), "0123456789");
    let head = client.head(format!("{}/{}", first.url, item.id())).send().await.unwrap();
    assert_eq!((head.status().as_u16(), head.headers()["content-length"].to_str().unwrap()), (200, "1000"));
    let found = found_by_name(&second, "small").await;
    assert_eq!(ids(&found), [item.id().to_string()]);
    assert_eq!(nodes(&found)[0]["data"], json!({ "size": "1000", "type": "text/plain" }));

    // Too large for gossip: who is asked for it by id asks its peers.
    let large = user.sign(ItemBuilder::new().tag("Name", "large").data(vec![7; 300_000]));
    upload(&first, "/tx/arweave", &large).await;
    let answer = ask(&second, "query ($id: ID!) { transaction(id: $id) { id data { size } block { height } } }", {
        json!({ "id": large.id().to_string() })
    })
    .await;
    assert_eq!(answer["data"]["transaction"]["data"]["size"], "300000", "{answer}");
    assert_eq!(ids(&found_by_name(&second, "large").await), [large.id().to_string()]);

    // A bundle is taken apart on every node that has it.
    let inner = user.sign(ItemBuilder::new().tag("Name", "inner").data("x"));
    let carrier = ItemBuilder::new().tag("Bundle-Format", "binary").tag("Bundle-Version", "2.0.0");
    let carrier = user.sign(carrier.data(bundle::encode(std::slice::from_ref(&inner))));
    upload(&first, "/tx", &carrier).await;
    for node in [&first, &second] {
        let found = found_by_name(node, "inner").await;
        assert_eq!(nodes(&found)[0]["bundledIn"]["id"], carrier.id().to_string());
        let query = "query ($in: [ID!]) { transactions(bundledIn: $in) { edges { node { id } } } }";
        assert_eq!(ids(&ask(node, query, json!({ "in": [carrier.id().to_string()] })).await), [inner.id().to_string()]);
    }

    let nobody = Id::from([9; 32]);
    for path in [format!("/raw/{nobody}"), format!("/{nobody}")] {
        let (status, answer) = first.get(&path).await.unwrap();
        assert_eq!(status, 404, "{answer}");
        assert!(answer["error"].as_str().unwrap().contains("not known here or at peers"), "{answer}");
    }
    let mut forged = item.bytes().to_vec();
    *forged.last_mut().unwrap() ^= 1;
    let (status, answer) = first.post("/tx", forged).await.unwrap();
    assert_eq!(status, 400);
    assert!(answer["error"].as_str().unwrap().contains("signature"), "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_schedulers_location_is_known_to_all_and_made_once() {
    let mut scheduler = TestNode::start("su", None);
    let every = TestNode::start("mu,su,cu", Some(&scheduler.multiaddr));
    let first = wait_for_location(&every, &scheduler.address, &scheduler.url).await;
    wait_for_location(&scheduler, &every.address, &format!("{}/su", every.url)).await;
    scheduler.restart();
    // Who joins long after it was gossiped has it, too, and it is the same one.
    let late = TestNode::start("none", Some(&every.multiaddr));
    assert_eq!(wait_for_location(&late, &scheduler.address, &scheduler.url).await, first);
    assert_eq!(wait_for_location(&scheduler, &scheduler.address, &scheduler.url).await, first);
    let all = ask(&every, queries::ALL_LOCATIONS, json!({ "cursor": null })).await;
    assert_eq!(nodes(&all).len(), 2, "{all}");
    for node in nodes(&all) {
        assert!(node["block"]["height"].is_u64());
        assert!(tag(node, "Time-To-Live").unwrap().parse::<u64>().unwrap() > 0);
    }
    let addresses = json!({ "SchedulerAddrs": [scheduler.address] });
    let found = ask(&late, queries::HYPERBEAM_SCHEDULER, addresses).await;
    assert_eq!(ids(&found), [first]);
}

/// Waits until a node knows where a scheduler is; the id of the item that says it.
async fn wait_for_location(node: &TestNode, scheduler: &str, url: &str) -> String {
    wait_for_async(&format!("{} knows that {scheduler} is at {url}", node.url), async || {
        let owner = json!({ "owner": scheduler });
        let answer = ask(node, queries::SCHEDULER_LOCATION, owner).await;
        (tag(nodes(&answer).first()?, "Url") == Some(url)).then_some(())
    })
    .await;
    let all = ask(node, queries::ALL_LOCATIONS, json!({})).await;
    let of = |node: &&&Value| node["owner"]["address"] == scheduler;
    let found: Vec<String> = nodes(&all).iter().filter(of).map(|node| node["id"].as_str().unwrap().into()).collect();
    assert_eq!(found.len(), 1, "{all}");
    found.into_iter().next().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_queries_of_clients_are_answered_as_they_are_written() {
    let mut node = TestNode::start("mu,su,cu", None);
    let user = User::default();
    let module = user.sign(
        ItemBuilder::new()
            .tag("Type", "Module")
            .tag("Name", "my-module")
            .tag("Module-Format", "lua-5.3-ao1")
            .data("return 1"),
    );
    upload(&node, "/tx", &module).await;
    let (_, peers) = node.get("/ao/peers").await.unwrap();
    let runtime = peers["module"].as_str().unwrap();
    let spawn = ItemBuilder::new().tag("Type", "Process").tag("Module", runtime).tag("Scheduler", node.address.clone());
    let process = user.sign(spawn.tag("Name", "neo").data(" "));
    assert_eq!(node.post("/mu", process.bytes().to_vec()).await.unwrap().0, 202);
    let (owner, id) = (process.address().to_string(), process.id().to_string());

    let checked = ask(&node, queries::MODULE_CHECK, json!({ "transactionIds": [module.id().to_string()] })).await;
    assert_eq!(tag(nodes(&checked)[0], "Module-Format"), Some("lua-5.3-ao1"));
    assert!(nodes(&checked)[0]["block"]["timestamp"].is_u64());
    let tags = ask(&node, queries::PROCESS_TAGS, json!({ "transactionIds": [id] })).await;
    assert_eq!(tag(nodes(&tags)[0], "Scheduler"), Some(&*node.address));

    // The index has it within moments of its slot; the empty owner is nobody.
    wait_for_async("the process is found by its name", async || {
        let found = ask(&node, &queries::by_name("neo"), json!({ "owners": [owner, ""] })).await;
        (ids(&found) == [id.as_str()]).then_some(())
    })
    .await;
    assert_eq!(ids(&ask(&node, &queries::by_name("trinity"), json!({ "owners": [owner, ""] })).await).len(), 0);
    assert_eq!(ids(&ask(&node, &queries::by_name("neo"), json!({ "owners": [""] })).await).len(), 0);
    assert_eq!(ids(&ask(&node, queries::LIST, json!({ "owners": [owner] })).await), [id.as_str()]);
    assert_eq!(ids(&ask(&node, &queries::by_source(runtime), json!({ "owners": [owner] })).await), [id.as_str()]);
    let modules = ask(&node, queries::MODULE_BY_NAME, json!({ "name": "my-module" })).await;
    assert_eq!(ids(&modules), [module.id().to_string()]);

    let whole = ask(&node, queries::WHOLE_PROCESS, json!({ "ids": [id] })).await;
    let found = nodes(&whole)[0];
    assert_eq!(found["anchor"], encode_base64url(process.anchor().unwrap()));
    assert_eq!(found["signature"], encode_base64url(process.signature()));
    assert_eq!(found["owner"], json!({ "address": owner, "key": encode_base64url(process.owner()) }));
    assert_eq!(found["fee"], json!({ "winston": "0", "ar": "0.000000000000" }));
    assert_eq!(found["data"], json!({ "size": "1", "type": null }));
    assert_eq!((&found["recipient"], &found["parent"]), (&json!(""), &Value::Null));
    let block = found["block"].as_object().unwrap();
    assert_eq!(block.keys().collect::<Vec<_>>(), ["timestamp", "id", "height", "previous"]);
    assert_eq!(whole["data"]["transactions"]["pageInfo"]["hasNextPage"], false);

    let skip = |skip: bool| json!({ "processIds": [id], "skipTags": skip, "skipSignature": skip, "skipAnchor": skip });
    let (all, few) =
        (ask(&node, queries::PROCESSES, skip(false)).await, ask(&node, queries::PROCESSES, skip(true)).await);
    assert_eq!(nodes(&all)[0].as_object().unwrap().len(), 6);
    assert_eq!(nodes(&few)[0].as_object().unwrap().keys().collect::<Vec<_>>(), ["id", "owner", "recipient"]);
    assert_eq!(nodes(&ask(&node, queries::BLOCKS, json!({ "min": 0, "limit": 10 })).await).len(), 0);
    assert_eq!(ids(&ask(&node, &queries::to_assign(&id), json!({})).await), [id.as_str()]);
    let read = ask(&node, queries::HYPERBEAM_READ, json!({ "transactionIds": [id] })).await;
    assert_eq!(nodes(&read)[0]["owner"]["key"], encode_base64url(process.owner()));

    let checkpoint = |nonce: u32| {
        let item = ItemBuilder::new().tag("Type", "Checkpoint").tag("Process", id.clone());
        user.sign(item.tag("Nonce", nonce.to_string()))
    };
    let checkpoints = [checkpoint(1), checkpoint(2)];
    for checkpoint in &checkpoints {
        upload(&node, "/tx", checkpoint).await;
    }
    let asked = json!({ "owners": [owner], "processId": id, "limit": 1 });
    assert_eq!(ids(&ask(&node, queries::CHECKPOINTS, asked).await), [checkpoints[1].id().to_string()]);
    upload(&node, "/tx", &user.sign(ItemBuilder::new().tag("Type", "Attestation").tag("Message", "M"))).await;
    assert_eq!(nodes(&ask(&node, &queries::attested(&owner, "M", 0), json!({})).await).len(), 1);
    assert_eq!(nodes(&ask(&node, &queries::attested(&owner, "N", 0), json!({})).await).len(), 0);

    // Messages and assignments too, the latter by id alone.
    user.result(&node, &id, &id).await.unwrap();
    let message = user.eval(&id, "1");
    assert_eq!(node.post("/mu", message.bytes().to_vec()).await.unwrap().0, 202);
    let (_, entry) = node.get(&format!("/su/{}?process-id={id}", message.id())).await.unwrap();
    let both = json!({ "processIds": [message.id().to_string(), entry["assignment"]["id"]],
        "skipTags": true, "skipSignature": true, "skipAnchor": true });
    assert_eq!(nodes(&ask(&node, queries::PROCESSES, both).await).len(), 2);
    let query = "query ($r: [String!]) { transactions(recipients: $r, tags: {name: \"Type\", values: [\"Message\"]}) \
                 { edges { node { id } } } }";
    let received = json!({ "r": [id] });
    wait_for_async("the message is found by its recipient", async || {
        let found = ask(&node, query, received.clone()).await;
        (ids(&found) == [message.id().to_string()]).then_some(())
    })
    .await;

    // After a crash the index goes on where it was, and who joins late has it all, too.
    node.restart();
    let more = user.eval(&id, "2");
    assert_eq!(node.post("/mu", more.bytes().to_vec()).await.unwrap().0, 202);
    let late = TestNode::start("none", Some(&node.multiaddr));
    for node in [&node, &late] {
        wait_for_async("each is found once, in order", async || {
            let found = ask(node, query, received.clone()).await;
            (ids(&found) == [more.id().to_string(), message.id().to_string()]).then_some(())
        })
        .await;
        assert_eq!(ids(&ask(node, queries::LIST, json!({ "owners": [owner] })).await), [id.as_str()]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn queries_that_are_wrong_or_too_costly_are_told_so() {
    let node = TestNode::start("none", None);
    let list = |arguments: &str| format!("{{ transactions({arguments}) {{ edges {{ node {{ id }} }} }} }}");
    let deep = format!("{}{}", "{ __schema { types { fields { type ".repeat(8), "}".repeat(32));
    let wide: String =
        (0..20).map(|number| format!("a{number}: transactions {{ edges {{ node {{ id }} }} }} ")).collect();
    let many = format!("ids: {}", json!(vec![Id::from([1; 32]).to_string(); 101]));
    for (query, expected) in [
        (list("first: -1"), "first is -1; a page has 1 to 100"),
        (list("first: 0"), "first is 0"),
        (list("first: 2000000000"), "1 to 100"),
        (list("after: \"nonsense\""), "which is no cursor"),
        (list("block: {min: -5}"), "min is -5"),
        (list("sort: SIDEWAYS"), "SIDEWAYS"),
        (list(&many), "ids has 101 entries; at most 100"),
        ("{ blocks(after: \"nonsense\") { edges { cursor } } }".into(), "which is no cursor"),
        ("{ nothing }".into(), "nothing"),
        ("{".into(), "expected"),
        ("".into(), "expected"),
        (deep, "deep"),
        (format!("{{ {wide} }}"), "complex"),
    ] {
        let answer = ask(&node, &query, json!({})).await;
        let said = answer["errors"][0]["message"].as_str().unwrap_or_default();
        assert!(said.contains(expected), "{query:.100}: {answer} should say {expected:?}");
    }
    // How many tags there are is not in the query: what they take is counted while they are shown.
    let mut item = ItemBuilder::new();
    for _ in 0..1000 {
        item = item.tag("a", "b");
    }
    let item = item.sign(&Wallet::ed25519_from_seed([9; 32])).unwrap();
    assert_eq!(node.post("/tx", item.bytes().to_vec()).await.unwrap().0, 200);
    let shown = |times: usize| {
        let tags: String = (0..times).map(|number| format!("a{number}: tags {{ name b: name }} ")).collect();
        format!("{{ transaction(id: \"{}\") {{ {tags} }} }}", item.id())
    };
    let answer = ask(&node, &shown(1), json!({})).await;
    assert_eq!(answer["data"]["transaction"]["a0"].as_array().unwrap().len(), 1000, "{answer:.300}");
    let answer = ask(&node, &shown(20), json!({})).await;
    assert!(answer["errors"][0]["message"].as_str().unwrap_or_default().contains("tags"), "{answer:.300}");
    // Tools read the schema.
    let schema = ask(&node, "{ __schema { queryType { fields { name args { name } } } } }", json!({})).await;
    assert!(schema.to_string().contains("bundledIn"), "{schema}");
    let (status, answer) = node.post("/graphql", b"no json".to_vec()).await.unwrap();
    assert!(status == 400 && answer["errors"][0]["message"].as_str().unwrap().contains("JSON"), "{status} {answer}");
    assert_eq!(node.post("/graphql", vec![b' '; 70_000]).await.unwrap().0, 413);
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let other = client.post(format!("{}/graphql", node.url)).header("content-type", "text/plain").body("{}");
    assert_eq!(other.send().await.unwrap().status(), 415);
    let (status, answer) = node.get("/graphql?query=%7Btransactions%7Bedges%7Bcursor%7D%7D%7D").await.unwrap();
    assert_eq!((status, answer["data"]["transactions"]["edges"].as_array().unwrap().len()), (200, 2), "{answer}");
}
