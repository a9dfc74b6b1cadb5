//! Data that processes read from gateways that know little: one that has an item and no more, one that gives no pieces.

use std::io::Read;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use ao_protocol::id::encode_base64url;
use ao_protocol::item::{DataItem, ItemBuilder};
use ao_protocol::transaction::TransactionBuilder;
use ao_tests::arweave::{Lines, wallet};
use ao_tests::nodes::{TestNode, User, wait_for, wait_for_async};
use axum::Router;
use axum::routing::{get, post};
use serde_json::json;

/// A gateway that has one item, larger than any that nodes hold, and tells of it what is told it.
async fn with_one_item(head: &DataItem, data: Vec<u8>) -> String {
    let node = json!({
        "id": head.id().to_string(),
        "signature": encode_base64url(head.signature()),
        "anchor": head.anchor().map(|anchor| encode_base64url(anchor)).unwrap_or_default(),
        "recipient": "",
        "owner": { "key": encode_base64url(head.owner()) },
        "tags": head.tags(),
        "data": { "size": data.len().to_string() },
    });
    let answer = json!({ "data": { "transactions": { "edges": [{ "node": node }] } } }).to_string();
    let router =
        Router::new().route("/graphql", post(async move || answer)).route("/raw/{id}", get(async move || data));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    url
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_item_that_no_node_can_hold_is_read_by_reference() {
    let mut data = Vec::new();
    Lines::new(12 << 20).read_to_end(&mut data).unwrap();
    let builder = ItemBuilder::new().anchor([3; 32]).tag("Name", "large");
    let head = builder.sign_head(&data, &wallet()).unwrap();
    let id = head.id().to_string();
    let mut other = data.clone();
    other[7_000_000] ^= 1;
    for (data, taken) in [(other, false), (data, true)] {
        let url = with_one_item(&head, data).await;
        let node = TestNode::start_with("mu,su,cu", None, &["--arweave", &url]);
        let user = User::default();
        let process = user.spawn(&node, &node.address, &node.address).await.unwrap();
        let path = format!("/mu?process-id={process}&assign={id}");
        let (status, answer) = node.post(&path, Vec::new()).await.unwrap();
        if !taken {
            assert_eq!(status, 502, "{answer}");
            continue;
        }
        assert_eq!(status, 202, "{answer}");
        let read = format!("local d = ao.data('{id}') return d.size .. d:read(32 * 300000, 31)");
        let said = user.type_in(&node, &node, &process, &read).await.unwrap();
        assert_eq!(said, format!("{}{}", 12 << 20, Lines::line(300_000)));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_without_pieces_gives_data_and_is_not_believed() {
    let mut data = Vec::new();
    Lines::new(32 * 40_000).read_to_end(&mut data).unwrap();
    let transaction = TransactionBuilder::default().sign(&data, &wallet()).unwrap();
    let (id, json) = (transaction.id.to_string(), transaction.to_json().to_string());
    let served = Arc::new(Mutex::new(data[..1000].to_vec()));
    let (shared, blocks) = (served.clone(), Arc::new(AtomicU64::new(19)));
    let confirmations = blocks.clone();
    let status = async move || {
        let confirmations = confirmations.load(Ordering::Relaxed);
        json!({ "block_height": 7, "number_of_confirmations": confirmations }).to_string()
    };
    let router = Router::new()
        .route("/info", get(async || json!({ "network": "arweave.N.1", "height": 36 }).to_string()))
        .route("/tx/{id}", get(async move || json))
        .route("/tx/{id}/status", get(status))
        .route("/raw/{id}", get(async move || shared.lock().unwrap().clone()));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    let node = TestNode::start_with("mu,su,cu", None, &["--arweave", &url]);
    let user = User::default();
    let process = user.spawn(&node, &node.address, &node.address).await.unwrap();
    let path = format!("/mu?process-id={process}&assign={id}&base-layer");
    // On Arweave itself a transaction has to be as old as ao's schedulers ask for.
    let (status, answer) = node.post(&path, Vec::new()).await.unwrap();
    assert!(status == 502 && answer["error"].as_str().unwrap().contains("it has 19 of 20"), "{answer}");
    blocks.store(20, Ordering::Relaxed);
    wait_for_async("it is old enough", async || (node.post(&path, Vec::new()).await.unwrap().0 == 202).then_some(()))
        .await;
    let item = user.eval(&process, &format!("Part = ao.data('{id}'):read(32 * 39999, 31)"));
    assert_eq!(node.post("/mu", item.bytes().to_vec()).await.unwrap().0, 202);
    wait_for("too little is noticed", || node.log().contains("1000 of 1280000 bytes").then_some(()));
    let mut other = data.clone();
    other[32 * 39999 + 3] ^= 1;
    *served.lock().unwrap() = other;
    // It took all of it, and it is not what was signed.
    let before = node.log().len();
    wait_for("other data is refused", || node.log()[before..].contains("which is not here").then_some(()));
    *served.lock().unwrap() = data;
    assert_eq!(user.type_in(&node, &node, &process, "Part").await.unwrap(), Lines::line(39_999));
}
