//! How long gossip and a request take between two nodes on one machine: from publishing until the other node has it,
//! encoded, encrypted, checked and decoded; and from asking until the answer is there.

#![allow(clippy::expect_used, reason = "a benchmark that can't go on ends")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use ao_node::net::{Net, NetConfig, NetEvent, NetMetrics, PeerKey, Verdict};
use ao_protocol::announcement::Role;
use ao_protocol::id::{Address, Id};
use ao_protocol::network::Network;
use ao_protocol::wallet::Wallet;
use ao_protocol::wire::{Gossip, ItemBytes, Request, Response};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;

/// Between two messages, not measured: nodes take no more than 16 MiB of gossip per second from a peer.
const PAUSE: Duration = Duration::from_millis(3);
/// Any of the 16.
const SHARD: u8 = 3;
/// Items as they travel: a short message, and one that just fits into gossip.
const SIZES: [usize; 2] = [700, 32 * 1024];

async fn node(seed: u8, listen: &str, join: Vec<String>) -> (Net, mpsc::Receiver<u64>) {
    let config = NetConfig {
        key: PeerKey::generate(),
        listen: vec![listen.into()],
        join,
        network: Some(Network::open("bench")),
        wallet: Arc::new(Wallet::ed25519_from_seed([seed; 32])),
        roles: vec![Role::Cu],
        http_url: None,
        dev_chain: false,
        follow_shards: u16::MAX,
        mdns: false,
        metrics: NetMetrics::default(),
    };
    let (net, mut events) = Net::start(config).await.expect("a node");
    let (sender, seen) = mpsc::channel(16);
    let handle = net.clone();
    tokio::spawn(async move {
        while let Some(event) = events.recv().await {
            match event {
                NetEvent::Gossip { gossip: Gossip::Message { item, .. }, ticket, .. } => {
                    handle.verdict(ticket, Verdict::Accept);
                    let number = item.0.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
                    let _ = sender.send(number).await;
                }
                NetEvent::Request { reply, .. } => reply.send(Response::Item(None)),
                _ => {}
            }
        }
    });
    (net, seen)
}

/// A message that differs from every other: equal ones are gossiped once.
fn message(number: u64, size: usize) -> Gossip {
    let mut bytes = vec![7; size];
    bytes[..8].copy_from_slice(&number.to_le_bytes());
    Gossip::Message { messenger: Address::from([0; 32]), item: ItemBytes(bytes) }
}

fn gossip(c: &mut Criterion) {
    let runtime = Runtime::new().expect("a runtime");
    for (transport, listen) in [("tcp", "/ip4/127.0.0.1/tcp/0"), ("quic", "/ip4/127.0.0.1/udp/0/quic-v1")] {
        let mut number = 0;
        let (one, other, mut seen) = runtime.block_on(async {
            let (other, seen) = node(1, listen, vec![]).await;
            let (one, _) = node(2, listen, vec![other.listen_addresses().await.remove(0)]).await;
            while one.directory().connected().is_empty() {
                tokio::task::yield_now().await;
            }
            (one, other, seen)
        });
        // The mesh needs a heartbeat or two to form; until then nothing arrives.
        runtime.block_on(async {
            loop {
                number += 1;
                one.publish(SHARD, &message(number, SIZES[0])).await.ok();
                let wait = Duration::from_millis(100);
                let arrival = async { while seen.recv().await != Some(number) {} };
                if tokio::time::timeout(wait, arrival).await.is_ok() {
                    break;
                }
            }
        });
        let mut group = c.benchmark_group("two-nodes");
        for size in SIZES {
            group.throughput(Throughput::Bytes(size as u64));
            group.bench_function(BenchmarkId::new(format!("gossip-{transport}"), size), |b| {
                b.iter_custom(|count| {
                    let mut took = Duration::ZERO;
                    for _ in 0..count {
                        number += 1;
                        let gossip = message(number, size);
                        took += runtime.block_on(async {
                            tokio::time::sleep(PAUSE).await;
                            let began = Instant::now();
                            one.publish(SHARD, &gossip).await.expect("published");
                            assert_eq!(seen.recv().await, Some(number));
                            began.elapsed()
                        });
                    }
                    took
                })
            });
        }
        group.throughput(Throughput::Elements(1));
        let (peer, request) = (other.peer_id(), Request::Item(Id::from([7; 32])));
        group.bench_function(format!("request-{transport}"), |b| {
            b.iter(|| runtime.block_on(one.request(&peer, &request)).expect("answered"))
        });
        group.finish();
    }
}

criterion_group!(benches, gossip);
criterion_main!(benches);
