//! Nodes within this process, for tests that reach below HTTP.

use ao_node::node::{Config, Node, Workers};
use ao_protocol::announcement::Role;
use ao_protocol::id::Id;
use ao_protocol::item::{ItemBuilder, VerifiedItem};
use ao_protocol::log::Log;
use ao_tests::nodes::{User, program};
use tempfile::TempDir;

/// A node on free ports of the loopback.
pub(crate) fn config(roles: &[Role], join: Option<String>, folder: &TempDir) -> Config {
    Config {
        gateway: None,
        data_bytes: 1 << 30,
        roles: roles.to_vec(),
        listen: vec!["/ip4/127.0.0.1/tcp/0".into()],
        join: join.into_iter().collect(),
        http: "127.0.0.1:0".parse().unwrap(),
        clients: Default::default(),
        data: folder.path().to_path_buf(),
        wallet: None,
        network: None,
        follow_shards: u16::MAX,
        dev_chain: false,
        mdns: false,
        workers: Workers { program: Some(program()), ..Workers::default() },
        mirror: None,
        accepted_tips: Vec::new(),
    }
}

/// Hands an item to a node's messenger; the status of the answer.
pub(crate) async fn post(node: &Node, bytes: Vec<u8>) -> u16 {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let response = client.post(format!("{}/mu", node.http_url())).body(bytes).send().await.unwrap();
    response.status().as_u16()
}

/// The last slot of a process that a node has.
pub(crate) fn tip(node: &Node, process: &Id) -> Option<u64> {
    node.world().log().tip(process).unwrap().map(|tip| tip.slot)
}

/// A process of the built-in runtime under a node's scheduler.
pub(crate) fn spawn(user: &User, scheduler: &Node) -> VerifiedItem {
    user.sign(
        ItemBuilder::new()
            .tag("Type", "Process")
            .tag("Module", ao_node::runtime::module_id().to_string())
            .tag("Scheduler", scheduler.world().address().to_string()),
    )
}
