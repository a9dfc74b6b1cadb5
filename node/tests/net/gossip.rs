//! Gossip: it reaches all, is forwarded when it is accepted, and survives bursts.

use ao_protocol::wire::MAX_GOSSIP_BYTES;

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn gossip_reaches_all_of_six_nodes() {
    let mut nodes = vec![start(config(1)).await];
    let join = vec![nodes[0].multiaddr().await];
    for seed in 2..=6 {
        nodes.push(start(NetConfig { join: join.clone(), ..config(seed) }).await);
    }
    all_know_each_other(&nodes).await;
    for sender in 0..6 {
        let sending = nodes[sender].net.clone();
        for receiver in (0..6).filter(|receiver| *receiver != sender) {
            reaches(&sending, &mut nodes[receiver], &format!("from {sender} to {receiver}")).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn gossip_is_forwarded_only_when_it_is_accepted() {
    let mut middle = start(config(2)).await;
    let address = middle.multiaddr().await;
    let left = start(config(1)).await;
    let mut right = start(config(3)).await;
    left.net.block(&right.peer()).await;
    right.net.block(&left.peer()).await;
    left.net.dial(&address).await.unwrap();
    right.net.dial(&address).await.unwrap();

    reaches(&left.net, &mut right, "first").await;
    left.net.publish(3, &message("reject this")).await.unwrap();
    middle.sees(&Seen::Gossip(left.peer(), "reject this".into())).await;
    // What was rejected would have come before this.
    reaches(&left.net, &mut right, "second").await;
    assert!(!right.net.directory().is_connected(&left.peer()));
    assert!(right.net.directory().unit(&left.address).is_some(), "announcements are forwarded");
}

#[tokio::test(flavor = "multi_thread")]
async fn oversized_gossip_and_unknown_shards_are_refused_here() {
    let one = start(config(1)).await;
    let large = message(&"x".repeat(MAX_GOSSIP_BYTES));
    assert!(matches!(one.net.publish(0, &large).await, Err(NetError::TooLarge { .. })));
    assert_eq!(one.net.publish(16, &message("x")).await, Err(NetError::Shard(16)));
    one.net.publish(0, &message("x")).await.unwrap();
    one.net.publish(0, &message("x")).await.unwrap();
    let other = one.net.clone();
    one.net.shutdown().await;
    assert_eq!(other.publish(0, &message("x")).await, Err(NetError::Ended));
    assert!(other.listen_addresses().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn gossip_of_the_largest_size_arrives() {
    let mut one = start(config(1)).await;
    let two = start(config(2)).await;
    two.net.dial(&one.multiaddr().await).await.unwrap();
    // Room for the fields around the text.
    reaches(&two.net, &mut one, &"x".repeat(MAX_GOSSIP_BYTES - 64)).await;
}

/// What does not fit the queues is dropped, as gossip may; but a burst must not end gossip between two nodes.
#[tokio::test(flavor = "multi_thread")]
async fn gossip_goes_on_after_a_burst_of_large_messages() {
    let mut one = start(config(1)).await;
    let two = start(config(2)).await;
    two.net.dial(&one.multiaddr().await).await.unwrap();
    reaches(&two.net, &mut one, "first").await;
    for number in 0..200 {
        two.net.publish(3, &message(&format!("{number} {}", "x".repeat(60_000)))).await.unwrap();
    }
    reaches(&two.net, &mut one, "last").await;
    let mut large = "large".to_string();
    large.push_str(&"x".repeat(60_000));
    reaches(&two.net, &mut one, &large).await;
}
