//! Finding each other, greetings, partitions, restarts.

use ao_node::net::{Mismatch, Unit};

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn nodes_joined_by_one_multiaddr_find_each_other_over_tcp_and_quic() {
    let first = start(NetConfig { listen: vec![TCP.into(), QUIC.into()], ..config(1) }).await;
    let by = |protocol: &'static str| {
        let addresses = first.net.listen_addresses();
        async move { addresses.await.into_iter().filter(|address| address.contains(protocol)).collect::<Vec<_>>() }
    };
    let (tcp, quic) = (by("/tcp/").await, by("/quic-v1/").await);
    assert_eq!((tcp.len(), quic.len()), (1, 1));
    let second = start(NetConfig { join: tcp.clone(), roles: vec![Role::Su, Role::Mu], ..config(2) }).await;
    let third = start(NetConfig { join: tcp, dev_chain: true, ..config(3) }).await;
    let fourth = start(NetConfig { join: quic, listen: vec![QUIC.into()], ..config(4) }).await;
    let nodes = [first, second, third, fourth];
    all_know_each_other(&nodes).await;

    let directory = nodes[3].net.directory();
    let unit = directory.unit(&nodes[1].address).unwrap();
    let expected = Unit {
        address: nodes[1].address,
        peer: nodes[1].peer(),
        multiaddrs: vec![nodes[1].listens().await],
        http_url: Some("http://127.0.0.1:2".into()),
        roles: vec![Role::Su, Role::Mu],
        dev_chain: false,
        expires_ms: unit.expires_ms,
    };
    assert_eq!(unit, expected);
    assert!(directory.unit(&nodes[2].address).unwrap().dev_chain);
    let addresses: Vec<Address> = directory.units().iter().map(|unit| unit.address).collect();
    assert!(addresses.is_sorted());
    assert_eq!(directory.units_with(Role::Su).len(), 1);
    for (asking, asked) in [(0, 3), (3, 0), (1, 3), (2, 1)] {
        nodes[asking].asks(&nodes[asked]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_of_another_network_is_refused_with_both_hashes() {
    let (ours, theirs) = (Network::open("ours"), Network::open("theirs"));
    let one = start(NetConfig { network: Some(theirs.clone()), ..config(1) }).await;
    let two = start(NetConfig { network: Some(ours.clone()), ..config(2) }).await;
    let cause = two.net.dial(&one.multiaddr().await).await.unwrap_err();
    let mismatch = Mismatch { peer: one.peer(), ours: ours.hash(), theirs: theirs.hash() };
    assert_eq!(cause, NetError::OtherNetwork(Box::new(mismatch)));
    let text = cause.to_string();
    assert!(text.contains(&ours.hash().to_string()) && text.contains(&theirs.hash().to_string()), "{text}");
    let again = two.net.dial(&one.listens().await).await.unwrap_err();
    assert_eq!(again, cause, "the same for an address without peer id");
    for node in [&one, &two] {
        assert_eq!(node.net.directory().connected(), []);
        assert_eq!(node.net.directory().units().len(), 1, "only its own unit");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_without_network_learns_that_of_the_peer_it_joins() {
    let network = Network { messengers: vec![Address::from([5; 32])], ..Network::open("taught") };
    let one = start(NetConfig { network: Some(network.clone()), ..config(1) }).await;
    // No peer id in the address: whoever answers there is the one to learn from.
    let mut two = start(NetConfig { network: None, join: vec![one.listens().await], ..config(2) }).await;
    // The third joins the second, perhaps before that one has learned anything.
    let mut three = start(NetConfig { network: None, join: vec![two.multiaddr().await], ..config(3) }).await;
    for learner in [&mut two, &mut three] {
        learner.sees(&Seen::Learned(network.clone())).await;
        assert_eq!(learner.net.network().as_deref(), Some(&network));
        learner.sees(&Seen::Connected(one.peer())).await;
    }
    all_know_each_other(&[one, two, three]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_by_block_heals_by_unblock() {
    let mut one = start(config(1)).await;
    let mut two = start(NetConfig { join: vec![one.multiaddr().await], ..config(2) }).await;
    one.sees(&Seen::Connected(two.peer())).await;
    two.sees(&Seen::Connected(one.peer())).await;
    one.net.block(&two.peer()).await;
    one.sees(&Seen::Disconnected(two.peer())).await;
    two.sees(&Seen::Disconnected(one.peer())).await;
    let cause = two.net.request(&one.peer(), &Request::Tips { after: None }).await.unwrap_err();
    assert!(matches!(cause, NetError::Unreachable { .. }), "{cause}");
    one.net.unblock(&two.peer()).await;
    one.sees(&Seen::Connected(two.peer())).await;
    two.sees(&Seen::Connected(one.peer())).await;
    two.asks(&one).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_and_taken_addresses_are_clear_errors() {
    let malformed = Net::start(NetConfig { listen: vec!["127.0.0.1:4000".into()], ..config(1) }).await.unwrap_err();
    assert!(matches!(&malformed, NetError::Multiaddr { text, .. } if text == "127.0.0.1:4000"), "{malformed}");
    let malformed = Net::start(NetConfig { join: vec!["/ip4/1.2.3".into()], ..config(1) }).await.unwrap_err();
    assert!(malformed.to_string().contains("/ip4/1.2.3"), "{malformed}");
    let unsupported = NetConfig { listen: vec!["/ip4/127.0.0.1/tcp/0/ws".into()], ..config(1) };
    let unsupported = Net::start(unsupported).await.unwrap_err();
    assert!(matches!(unsupported, NetError::Listen { .. }), "{unsupported}");

    for listen in [TCP, QUIC] {
        let one = start(NetConfig { listen: vec![listen.into()], ..config(1) }).await;
        let taken = one.listens().await;
        let cause = Net::start(NetConfig { listen: vec![taken.clone()], ..config(2) }).await.unwrap_err();
        let text = cause.to_string();
        assert!(text.contains(&taken) && text.contains("in use"), "{text}");
        one.net.shutdown().await;
        // QUIC's socket is freed by a task of its own.
        let freed = async {
            while Net::start(NetConfig { listen: vec![taken.clone()], ..config(2) }).await.is_err() {
                tokio::task::yield_now().await;
            }
        };
        timeout(DEADLINE, freed).await.expect("the address is free after the shutdown");
    }
    let one = start(config(1)).await;
    let nobody = one.net.dial("/ip4/127.0.0.1/tcp/1").await.unwrap_err();
    assert!(matches!(&nobody, NetError::Dial { address, .. } if address == "/ip4/127.0.0.1/tcp/1"), "{nobody}");
    assert!(nobody.to_string().contains("refused"), "{nobody}");
    assert!(matches!(one.net.dial("nonsense").await, Err(NetError::Multiaddr { .. })));
    let itself = one.net.dial(&one.multiaddr().await).await.unwrap_err();
    assert!(itself.to_string().contains("this node itself"), "{itself}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_peer_with_the_same_key_is_connected_again() {
    let key = PeerKey::generate();
    let mut one = start(NetConfig { key: key.clone(), ..config(1) }).await;
    let listens = one.listens().await;
    let mut two = start(NetConfig { join: vec![one.multiaddr().await], ..config(2) }).await;
    one.sees(&Seen::Connected(two.peer())).await;
    two.sees(&Seen::Connected(one.peer())).await;
    one.net.shutdown().await;
    two.sees(&Seen::Disconnected(key.peer_id())).await;
    // It joins nobody: whoever joined it comes back by itself.
    let mut one = start(NetConfig { key, listen: vec![listens], ..config(1) }).await;
    two.sees(&Seen::Connected(one.peer())).await;
    one.sees(&Seen::Connected(two.peer())).await;
    one.asks(&two).await;
    two.asks(&one).await;
    reaches(&two.net, &mut one, "after the restart").await;
}
