//! A partition by way of libp2p's block lists, in nodes of this process: both sides keep what they have, and after
//! healing their logs are equal.

use std::time::Duration;

use ao_node::node::Node;
use ao_protocol::announcement::Role;
use ao_protocol::log::Log;
use ao_tests::nodes::{User, wait_for_async};

use crate::local::{config, post, spawn, tip};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partition_heals() {
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let one = Node::start(config(&[Role::Su, Role::Mu], None, &folders[0])).await.unwrap();
    let join = one.world().net().listen_addresses().await.remove(0);
    let two = Node::start(config(&[Role::Cu], Some(join.clone()), &folders[1])).await.unwrap();
    let three = Node::start(config(&[Role::Mu], Some(join), &folders[2])).await.unwrap();
    let nodes = [&one, &two, &three];
    wait_for_async("all see each other", async || {
        nodes.iter().all(|node| node.world().net().directory().connected().len() == 2).then_some(())
    })
    .await;

    let user = User::default();
    let spawn = spawn(&user, &one);
    let process = spawn.id();
    assert_eq!(post(&three, spawn.bytes().to_vec()).await, 202);
    wait_for_async("all have the process", async || nodes.iter().all(|n| tip(n, &process) == Some(0)).then_some(()))
        .await;

    // The scheduler is alone on its side.
    let alone = one.world().net().peer_id();
    for node in [&two, &three] {
        node.world().net().block(&alone).await;
        one.world().net().block(&node.world().net().peer_id()).await;
    }
    wait_for_async("the network is cut", async || one.world().net().directory().connected().is_empty().then_some(()))
        .await;
    for _ in 0..5 {
        let item = user.eval(&process.to_string(), "x = (x or 0) + 1");
        assert_eq!(post(&one, item.bytes().to_vec()).await, 202, "its own side goes on");
    }
    let cut_off = user.eval(&process.to_string(), "x = 100");
    assert_eq!(post(&three, cut_off.bytes().to_vec()).await, 502, "the other side says that it can't reach it");
    assert_eq!((tip(&one, &process), tip(&two, &process), tip(&three, &process)), (Some(5), Some(0), Some(0)));

    for node in [&two, &three] {
        node.world().net().unblock(&alone).await;
        one.world().net().unblock(&node.world().net().peer_id()).await;
    }
    wait_for_async("all logs are equal", async || {
        nodes.iter().all(|node| tip(node, &process) == Some(5)).then_some(())
    })
    .await;
    wait_for_async("all know the outcomes", async || {
        let chains: Vec<_> = nodes.iter().map(|node| node.world().log().computed(&process).unwrap()).collect();
        let done = |computed: &ao_protocol::log::Computed| computed.slot == 5;
        chains.iter().all(|computed| computed.as_ref().is_some_and(done) && *computed == chains[0]).then_some(())
    })
    .await;
    // What could not be sent before goes through now.
    wait_for_async("the cut-off message is taken", async || {
        (post(&three, cut_off.bytes().to_vec()).await == 202).then_some(())
    })
    .await;
    for node in [one, two, three] {
        tokio::time::timeout(Duration::from_secs(5), node.stop()).await.unwrap();
    }
}
