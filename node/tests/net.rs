//! Real nodes' network layers on loopback: finding each other, gossip, requests, greetings, partitions, restarts.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "net/gossip.rs"]
mod gossip;
#[path = "net/peers.rs"]
mod peers;
#[path = "net/requests.rs"]
mod requests;

use std::sync::Arc;
use std::time::Duration;

use ao_node::net::{Net, NetConfig, NetError, NetEvent, NetMetrics, PeerId, PeerKey, Verdict};
use ao_protocol::announcement::Role;
use ao_protocol::id::{Address, Id};
use ao_protocol::network::Network;
use ao_protocol::wallet::Wallet;
use ao_protocol::wire::{Gossip, ItemBytes, Request, Response};
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
