//! Real nodes' network layers on loopback: finding each other, gossip, requests, greetings, partitions, restarts.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io;
use std::sync::Arc;
use std::time::Duration;

use ao_node::net::limits::{EVENT_QUEUE, EVENT_RESERVE};
use ao_node::net::{Mismatch, Net, NetConfig, NetError, NetEvent, NetMetrics, PeerId, PeerKey, Unit, Verdict};
use ao_protocol::announcement::Role;
use ao_protocol::id::{Address, Id};
use ao_protocol::network::Network;
use ao_protocol::wallet::Wallet;
use ao_protocol::wire::{Gossip, ItemBytes, MAX_GOSSIP_BYTES, MAX_REQUEST_BYTES, Request, Response, SubmissionBytes};
use futures::StreamExt;
use libp2p::request_response::{self, ProtocolSupport};
use libp2p::swarm::SwarmEvent;
use libp2p::{Multiaddr, StreamProtocol, SwarmBuilder, noise, tcp, yamux};
use tokio::sync::mpsc;
use tokio::time::{interval, timeout};

/// No test waits longer than this for anything.
const DEADLINE: Duration = Duration::from_secs(30);
const TCP: &str = "/ip4/127.0.0.1/tcp/0";
const QUIC: &str = "/ip4/127.0.0.1/udp/0/quic-v1";

/// What a test node saw.
#[derive(Debug, PartialEq)]
enum Seen {
    Gossip(PeerId, String),
    Connected(PeerId),
    Disconnected(PeerId),
    Learned(Network),
}

struct Node {
    net: Net,
    address: Address,
    seen: mpsc::Receiver<Seen>,
}

fn config(seed: u8) -> NetConfig {
    NetConfig {
        key: PeerKey::generate(),
        listen: vec![TCP.into()],
        join: vec![],
        network: Some(Network::open("test")),
        wallet: Arc::new(Wallet::ed25519_from_seed([seed; 32])),
        roles: vec![Role::Cu],
        http_url: Some(format!("http://127.0.0.1:{seed}")),
        dev_chain: false,
        follow_shards: u16::MAX,
        mdns: false,
        metrics: NetMetrics::default(),
    }
}

/// Starts a node that accepts gossip unless its text says otherwise, and answers a request for an item with its id and
/// a submission with what was submitted.
async fn start(config: NetConfig) -> Node {
    let address = config.wallet.address();
    let (net, mut events) = Net::start(config).await.unwrap();
    let (sender, seen) = mpsc::channel(10_000);
    let handle = net.clone();
    tokio::spawn(async move {
        while let Some(event) = events.recv().await {
            let seen = match event {
                NetEvent::Gossip { from, gossip, ticket } => {
                    let Gossip::Message { item, .. } = gossip else { panic!("unexpected {gossip:?}") };
                    let text = String::from_utf8(item.0).unwrap();
                    let reject = text.starts_with("reject");
                    handle.verdict(ticket, if reject { Verdict::Reject } else { Verdict::Accept });
                    Seen::Gossip(from, text)
                }
                NetEvent::Request { request, reply, .. } => {
                    match request {
                        Request::Item(id) => reply.send(Response::Item(Some(ItemBytes(id.as_ref().to_vec())))),
                        Request::Submit(mut items) => reply.send(Response::Item(Some(items.remove(0).item))),
                        _ => drop(reply),
                    }
                    continue;
                }
                NetEvent::Connected(peer) => Seen::Connected(peer),
                NetEvent::Disconnected(peer) => Seen::Disconnected(peer),
                NetEvent::NetworkLearned(network) => Seen::Learned(network),
            };
            let _ = sender.send(seen).await;
        }
    });
    Node { net, address, seen }
}

impl Node {
    async fn multiaddr(&self) -> String {
        self.net.listen_addresses().await.remove(0)
    }

    /// Where it listens, without its peer id.
    async fn listens(&self) -> String {
        self.multiaddr().await.split("/p2p/").next().unwrap().to_string()
    }

    fn peer(&self) -> PeerId {
        self.net.peer_id()
    }

    /// Waits until something was seen; what comes before is skipped.
    async fn sees(&mut self, wanted: &Seen) {
        let waiting = async { while self.seen.recv().await.as_ref() != Some(wanted) {} };
        timeout(DEADLINE, waiting).await.unwrap_or_else(|_| panic!("{:?} did not see {wanted:?}", self.net));
    }

    /// Asks for an item and expects the answer of [`start`].
    async fn asks(&self, other: &Node) {
        let id = Id::from([7; 32]);
        let response = self.net.request(&other.peer(), &Request::Item(id)).await.unwrap();
        assert_eq!(response, Response::Item(Some(ItemBytes(vec![7; 32]))));
    }
}

fn message(text: &str) -> Gossip {
    Gossip::Message { messenger: Address::from([0; 32]), item: ItemBytes(text.as_bytes().to_vec()) }
}

/// Waits until a condition holds.
async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let waiting = async {
        let mut tick = interval(Duration::from_millis(10));
        while !condition() {
            tick.tick().await;
        }
    };
    timeout(DEADLINE, waiting).await.unwrap_or_else(|_| panic!("not within {DEADLINE:?}: {what}"));
}

async fn all_know_each_other(nodes: &[Node]) {
    for node in nodes {
        let directory = node.net.directory();
        eventually("every node knows and has every other", || {
            directory.units().len() == nodes.len() && directory.connected().len() == nodes.len() - 1
        })
        .await;
    }
}

/// Publishes new messages until one reached the receiver: gossip makes no promise for the first moments.
async fn reaches(sender: &Net, receiver: &mut Node, text: &str) {
    let waiting = async {
        for attempt in 0.. {
            sender.publish(3, &message(&format!("{text} {attempt}"))).await.unwrap();
            let arrival = async {
                loop {
                    match receiver.seen.recv().await {
                        Some(Seen::Gossip(_, seen)) if seen.starts_with(text) => break,
                        Some(Seen::Gossip(_, seen)) if seen.starts_with("reject") => panic!("{seen} was forwarded"),
                        Some(_) => {}
                        None => panic!("the receiver ended"),
                    }
                }
            };
            if timeout(Duration::from_millis(500), arrival).await.is_ok() {
                return;
            }
        }
    };
    timeout(DEADLINE, waiting).await.unwrap_or_else(|_| panic!("{text:.40} never arrived"));
}

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
async fn requests_are_answered_both_ways_and_a_dropped_one_is_busy() {
    let one = start(config(1)).await;
    let two = start(config(2)).await;
    two.net.dial(&one.multiaddr().await).await.unwrap();
    two.asks(&one).await;
    one.asks(&two).await;
    let response = one.net.request(&two.peer(), &Request::Tips { after: None }).await.unwrap();
    assert!(matches!(response, Response::Busy(_)), "{response:?}");

    let many = (0..500u16).map(|number| {
        let (net, peer) = (one.net.clone(), two.peer());
        tokio::spawn(async move {
            let mut id = [0; 32];
            id[..2].copy_from_slice(&number.to_be_bytes());
            let response = net.request(&peer, &Request::Item(Id::from(id))).await.unwrap();
            assert_eq!(response, Response::Item(Some(ItemBytes(id.to_vec()))), "answers are not mixed up");
        })
    });
    for asked in many.collect::<Vec<_>>() {
        asked.await.unwrap();
    }

    let stranger = PeerKey::generate().peer_id();
    let cause = one.net.request(&stranger, &Request::Tips { after: None }).await.unwrap_err();
    assert!(matches!(cause, NetError::Unreachable { .. }), "{cause}");
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_and_answers_of_the_largest_size_arrive() {
    for listen in [TCP, QUIC] {
        let one = start(NetConfig { listen: vec![listen.into()], ..config(1) }).await;
        let two = start(NetConfig { listen: vec![listen.into()], ..config(2) }).await;
        two.net.dial(&one.multiaddr().await).await.unwrap();
        let submit = |bytes: usize| {
            let item = ItemBytes(vec![9; bytes]);
            Request::Submit(vec![SubmissionBytes { item, messenger: one.address, certificate: None }])
        };
        let bytes = MAX_REQUEST_BYTES - 64;
        let response = two.net.request(&one.peer(), &submit(bytes)).await.unwrap();
        assert!(response == Response::Item(Some(ItemBytes(vec![9; bytes]))), "over {listen}");
        let cause = two.net.request(&one.peer(), &submit(MAX_REQUEST_BYTES)).await.unwrap_err();
        assert!(cause.to_string().contains("too many for one request"), "{cause}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_does_not_keep_up_is_busy_and_still_hears_of_peers() {
    let (one, mut events) = Net::start(config(1)).await.unwrap();
    let address = one.listen_addresses().await.remove(0);
    let two = start(config(2)).await;
    two.net.dial(&address).await.unwrap();
    let filling = async {
        for number in 0.. {
            two.net.publish(0, &message(&format!("{number}"))).await.unwrap();
            if events.len() >= EVENT_QUEUE - EVENT_RESERVE {
                break;
            }
            tokio::task::yield_now().await;
        }
    };
    timeout(DEADLINE, filling).await.expect("the queue fills");
    let response = two.net.request(&one.peer_id(), &Request::Tips { after: None }).await.unwrap();
    assert!(matches!(response, Response::Busy(_)), "{response:?}");
    let three = start(config(3)).await;
    three.net.dial(&address).await.unwrap();
    let peer = three.peer();
    let told =
        async { while !matches!(events.recv().await, Some(NetEvent::Connected(connected)) if connected == peer) {} };
    timeout(DEADLINE, told).await.expect("it hears of the third");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_dials_a_unit_of_the_directory() {
    let one = start(config(1)).await;
    let join = vec![one.multiaddr().await];
    let two = start(NetConfig { join: join.clone(), ..config(2) }).await;
    let three = start(NetConfig { join, ..config(3) }).await;
    let nodes = [one, two, three];
    all_know_each_other(&nodes).await;
    nodes[1].net.block(&nodes[2].peer()).await;
    let (asking, asked) = (nodes[1].net.directory(), nodes[2].peer());
    eventually("the blocked peer is gone", || !asking.is_connected(&asked)).await;
    let refused = nodes[1].net.request(&asked, &Request::Tips { after: None }).await;
    assert!(matches!(refused, Err(NetError::Unreachable { .. })), "{refused:?}");
    nodes[1].net.unblock(&asked).await;
    nodes[1].asks(&nodes[2]).await;
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

/// Sends whatever bytes it is given as a request.
#[derive(Clone, Default)]
struct Raw;

impl request_response::Codec for Raw {
    type Protocol = StreamProtocol;
    type Request = Vec<u8>;
    type Response = Vec<u8>;

    async fn read_request<T>(&mut self, _: &StreamProtocol, _: &mut T) -> io::Result<Vec<u8>>
    where
        T: futures::AsyncRead + Unpin + Send,
    {
        Ok(Vec::new())
    }

    async fn read_response<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Vec<u8>>
    where
        T: futures::AsyncRead + Unpin + Send,
    {
        let mut bytes = Vec::new();
        futures::AsyncReadExt::read_to_end(io, &mut bytes).await?;
        Ok(bytes)
    }

    async fn write_request<T>(&mut self, _: &StreamProtocol, io: &mut T, request: Vec<u8>) -> io::Result<()>
    where
        T: futures::AsyncWrite + Unpin + Send,
    {
        futures::AsyncWriteExt::write_all(io, &request).await
    }

    async fn write_response<T>(&mut self, _: &StreamProtocol, _: &mut T, _: Vec<u8>) -> io::Result<()>
    where
        T: futures::AsyncWrite + Unpin + Send,
    {
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_does_no_harm_and_who_never_greets_is_disconnected() {
    let one = start(config(1)).await;
    let protocol = (StreamProtocol::new("/ao/request/1"), ProtocolSupport::Full);
    let mut raw = SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)
        .unwrap()
        .with_behaviour(|_| request_response::Behaviour::<Raw>::new([protocol], Default::default()))
        .unwrap()
        .with_swarm_config(|config| config.with_idle_connection_timeout(DEADLINE * 2))
        .build();
    let address: Multiaddr = one.multiaddr().await.parse().unwrap();
    raw.dial(address).unwrap();
    let peer = one.peer().to_string().parse().unwrap();
    // A well-formed request before any greeting.
    let mut early = ao_protocol::wire::encode(&Request::Tips { after: None });
    early.splice(0..0, (early.len() as u32).to_be_bytes());
    for garbage in [b"".to_vec(), b"hello".to_vec(), vec![0xff; 100_000], vec![0; 64], b"\0\0\0\x02\x01\xff".to_vec()] {
        raw.behaviour_mut().send_request(&peer, garbage);
    }
    let early_id = raw.behaviour_mut().send_request(&peer, early);
    let mut busy = false;
    let disconnected = async {
        loop {
            match raw.select_next_some().await {
                SwarmEvent::ConnectionClosed { num_established: 0, .. } => break,
                SwarmEvent::Behaviour(request_response::Event::Message {
                    message: request_response::Message::Response { request_id, response },
                    ..
                }) if request_id == early_id => {
                    let answer = ao_protocol::wire::decode(&response[4..]).unwrap();
                    busy = matches!(answer, Response::Busy(_));
                }
                _ => {}
            }
        }
    };
    timeout(DEADLINE, disconnected).await.expect("it is disconnected");
    assert!(busy, "a request before the greeting is refused");
    assert_eq!(one.net.directory().connected(), []);

    let two = start(config(2)).await;
    two.net.dial(&one.multiaddr().await).await.unwrap();
    two.asks(&one).await;
    one.asks(&two).await;
}
