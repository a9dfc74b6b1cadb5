//! Requests: answered, busy, dialed; and foreign bytes in their place.

use std::io;

use ao_node::net::limits::{EVENT_QUEUE, EVENT_RESERVE};
use ao_protocol::wire::{MAX_REQUEST_BYTES, SubmissionBytes};
use futures::StreamExt;
use libp2p::request_response::{self, ProtocolSupport};
use libp2p::swarm::SwarmEvent;
use libp2p::{Multiaddr, StreamProtocol, SwarmBuilder, noise, tcp, yamux};

use super::*;

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
