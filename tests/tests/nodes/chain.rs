//! The dev chain with a `kill -9` in the middle of an upload: what it acknowledged is there and is mined, and the other
//! nodes follow its height.

use ao_protocol::id::encode_base64url;
use ao_protocol::item::{ItemBuilder, bundle};
use ao_protocol::tag::Tag;
use ao_protocol::transaction::{Transaction, TransactionBuilder, chunks};
use ao_protocol::wallet::Wallet;
use ao_tests::nodes::{TestNode, User, wait_for_async};
use serde_json::{Value, json};

fn wallet() -> Wallet {
    Wallet::from_jwk(include_str!("../../../testnet/dev-wallet.json")).unwrap()
}

async fn text(node: &TestNode, path: &str) -> (u16, String) {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let response = client.get(format!("{}{path}", node.url)).send().await.unwrap();
    (response.status().as_u16(), response.text().await.unwrap())
}

async fn post_json(node: &TestNode, path: &str, body: &Value) -> (u16, String) {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let response = client.post(format!("{}{path}", node.url)).json(body).send().await.unwrap();
    (response.status().as_u16(), response.text().await.unwrap())
}

/// A transaction that a node of the network takes: anchored and paid for as it says.
async fn transaction(node: &TestNode, tags: &[(&str, &str)], data: &[u8]) -> Transaction {
    let (_, anchor) = text(node, "/tx_anchor").await;
    let (_, price) = text(node, &format!("/price/{}", data.len())).await;
    let tag = |(name, value): &(&str, &str)| Tag { name: name.to_string(), value: value.to_string() };
    let last_tx = ao_protocol::id::decode_base64url(&anchor).unwrap();
    let tags = tags.iter().map(tag).collect();
    let builder = TransactionBuilder { last_tx, tags, reward: price.parse().unwrap(), ..TransactionBuilder::default() };
    builder.sign(data, &wallet()).unwrap()
}

fn chunk_body(transaction: &Transaction, chunk: &chunks::Chunk) -> Value {
    json!({
        "data_root": transaction.data_root.unwrap().to_string(),
        "data_size": transaction.data_size.to_string(),
        "data_path": encode_base64url(&chunk.proof),
        "offset": (chunk.end - 1).to_string(),
        "chunk": encode_base64url(&transaction.data[chunk.start as usize..chunk.end as usize]),
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_chain_keeps_what_it_acknowledged_and_the_network_follows_it() {
    let mut gateway = TestNode::start_with("none", None, &["--dev-chain"]);
    let scheduler = TestNode::start("su", Some(&gateway.multiaddr));
    let data: Vec<u8> = (0..700_000_u32).map(|n| (n % 251) as u8).collect();
    // Through a node that plays no chain.
    wait_for_async("the other node knows who plays the chain", async || {
        (text(&scheduler, "/tx_anchor").await.0 == 200).then_some(())
    })
    .await;
    let large = transaction(&scheduler, &[("Content-Type", "text/plain")], &data).await;
    assert_eq!(post_json(&scheduler, "/tx", &large.to_json()).await, (200, "OK".into()));
    assert_eq!(post_json(&gateway, "/tx", &large.to_json()).await.0, 208, "once more is known");
    let pieces = chunks::split(&data).chunks;
    assert_eq!(pieces.len(), 3);
    assert_eq!(post_json(&gateway, "/chunk", &chunk_body(&large, &pieces[0])).await, (200, "OK".into()));
    gateway.kill();
    gateway.restart();
    for piece in &pieces[1..] {
        let taken = wait_for_async("the scheduler reaches it again", async || {
            let taken = post_json(&scheduler, "/chunk", &chunk_body(&large, piece)).await;
            (taken.0 != 502).then_some(taken)
        });
        assert_eq!(taken.await, (200, "OK".into()));
    }
    let mut wrong = chunk_body(&large, &pieces[1]);
    wrong["data_path"] = chunk_body(&large, &pieces[0])["data_path"].clone();
    let (status, answer) = post_json(&gateway, "/chunk", &wrong).await;
    assert_eq!((status, answer.as_str()), (400, r#"{"error":"invalid_proof"}"#));

    let mined = wait_for_async("it is mined", async || {
        let (status, answer) = text(&scheduler, &format!("/tx/{}/status", large.id)).await;
        (status == 200).then(|| serde_json::from_str::<Value>(&answer).unwrap())
    })
    .await;
    let served = reqwest::get(format!("{}/{}", gateway.url, large.id)).await.unwrap();
    assert_eq!(served.headers()["content-type"], "text/plain");
    assert_eq!(served.bytes().await.unwrap(), data);
    let (_, base64) = text(&scheduler, &format!("/tx/{}/data", large.id)).await;
    assert_eq!(base64, encode_base64url(&data));
    let (_, balance) = text(&gateway, &format!("/wallet/{}/balance", large.owner_address())).await;
    assert_eq!(balance.parse::<u128>().unwrap(), 1_000_000_000_000_000_000 - large.reward);

    let height = mined["block_height"].as_u64().unwrap();
    wait_for_async("the scheduler stamps what it schedules with the height", async || {
        let (_, clock) = scheduler.get("/su/timestamp").await.ok()?;
        (clock["block_height"].as_str()?.parse::<u64>().ok()? >= height).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bundle_on_the_chain_comes_apart_and_what_is_wrong_is_refused() {
    let gateway = TestNode::start_with("none", None, &["--dev-chain"]);
    let item = User::default().sign(ItemBuilder::new().tag("Title", "in a bundle").data("what it says"));
    let tags = [("Bundle-Format", "binary"), ("Bundle-Version", "2.0.0")];
    let carrier = transaction(&gateway, &tags, &bundle::encode(std::slice::from_ref(&item))).await;
    let mut body = carrier.to_json();
    body["data"] = encode_base64url(&carrier.data).into();
    assert_eq!(post_json(&gateway, "/tx", &body).await, (200, "OK".into()));
    let served = wait_for_async("the item is served", async || {
        let (status, text) = text(&gateway, &format!("/{}", item.id())).await;
        (status == 200).then_some(text)
    });
    assert_eq!(served.await, "what it says");
    let query = json!({ "query": format!(
        r#"{{ transactions(ids: ["{}", "{}"]) {{ edges {{ node {{ id bundledIn {{ id }} fee {{ winston }} block {{ height }} }} }} }} }}"#,
        item.id(), carrier.id
    ) });
    let (status, answer) = post_json(&gateway, "/graphql", &query).await;
    assert_eq!(status, 200, "{answer}");
    let answer: Value = serde_json::from_str(&answer).unwrap();
    let nodes: Vec<&Value> =
        answer["data"]["transactions"]["edges"].as_array().unwrap().iter().map(|e| &e["node"]).collect();
    let of = |id: String| *nodes.iter().find(|node| node["id"] == id).unwrap_or_else(|| panic!("{answer}"));
    assert_eq!(of(item.id().to_string())["bundledIn"]["id"], carrier.id.to_string());
    assert_eq!(of(carrier.id.to_string())["fee"]["winston"], carrier.reward.to_string());

    let poor = Wallet::from_jwk(include_str!("../../golden/rsa-wallet.json")).unwrap();
    let empty = TransactionBuilder { last_tx: carrier.last_tx.clone(), quantity: 1, ..TransactionBuilder::default() };
    let (status, answer) = post_json(&gateway, "/tx", &empty.sign(b"", &poor).unwrap().to_json()).await;
    assert_eq!(status, 410, "{answer}");
    let cheap = TransactionBuilder { last_tx: carrier.last_tx.clone(), ..TransactionBuilder::default() };
    let (status, answer) = post_json(&gateway, "/tx", &cheap.sign(b"xyz", &wallet()).unwrap().to_json()).await;
    assert!(status == 400 && answer.contains("reward"), "{answer}");
    let lost = TransactionBuilder { last_tx: vec![9; 48], ..TransactionBuilder::default() };
    let (status, answer) = post_json(&gateway, "/tx", &lost.sign(b"", &wallet()).unwrap().to_json()).await;
    assert!(status == 400 && answer.contains("last_tx"), "{answer}");
    let mut forged = carrier.to_json();
    forged["reward"] = "1".into();
    let (status, answer) = post_json(&gateway, "/tx", &forged).await;
    assert!(status == 400 && answer.contains("signature"), "{answer}");
}
