//! Greetings: the first words on a connection, by both sides. A peer is *accepted* once it showed that it lives by the
//! same network file: its gossip and requests count from then on. It is *greeted* once it answered our own greeting
//! with that network: then it has accepted us too, and we may ask it. Whoever is not both in time is disconnected.

use ao_protocol::id::Digest;
use ao_protocol::network::Network;
use ao_protocol::wire::{ItemBytes, Request, Response};
use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;
use libp2p::request_response::ResponseChannel;
use libp2p::swarm::ConnectionId;
use std::sync::Arc;
use tokio::time::Instant;
use tracing::{debug, info, warn};

use super::NetEvent;
use super::error::{Mismatch, NetError};
use super::limits::{GREETING_INTERVAL, GREETING_TIMEOUT, REFUSAL_LINGER, SECOND_GREETING};
use super::owner::Owner;
use super::peer::PeerId;
use super::requests::Sent;

/// A connected peer.
pub(super) struct Peer {
    /// It lives by our network.
    pub(super) accepted: bool,
    /// It has accepted us.
    pub(super) greeted: bool,
    /// It lives by another network and is about to be disconnected.
    refused: bool,
    /// When it is disconnected unless it is accepted and greeted.
    deadline: Instant,
    next_greeting: Instant,
    /// Greetings of ours without an answer.
    unanswered: usize,
    /// Whether it runs on this machine.
    pub(super) local: bool,
}

impl Peer {
    fn new(now: Instant, local: bool) -> Peer {
        Peer {
            accepted: false,
            greeted: false,
            refused: false,
            deadline: now + GREETING_TIMEOUT,
            next_greeting: now + SECOND_GREETING,
            unanswered: 0,
            local,
        }
    }

    pub(super) fn greet_soon(&mut self, now: Instant) {
        self.next_greeting = now;
    }
}

impl Owner {
    pub(super) fn on_connection(&mut self, peer: PeerId, connection: ConnectionId, remote: &Multiaddr) {
        let now = Instant::now();
        let known = self.peers.entry(peer.clone()).or_insert_with(|| Peer::new(now, is_loopback(remote)));
        if known.refused {
            // It may come back with the right network: judge it anew.
            *known = Peer::new(now, is_loopback(remote));
        }
        self.on_reached(&peer, connection);
        self.greet(&peer);
    }

    pub(super) fn on_disconnection(&mut self, peer: &PeerId, cause: &str) {
        let Some(gone) = self.peers.remove(peer) else { return };
        if gone.greeted {
            info!(%peer, cause, "peer disconnected");
            self.directory.set_connected(peer, false);
            self.tell(NetEvent::Disconnected(peer.clone()));
            self.dialing.dial_soon(peer, Instant::now());
        } else if !gone.refused {
            debug!(%peer, cause, "peer disconnected before it was greeted");
        }
        let error = NetError::Unreachable { peer: peer.clone(), cause: format!("the connection broke: {cause}") };
        self.outbox.fail_waiting(peer, &error);
    }

    /// Greets again those whose turn it is, and disconnects those that did not greet in time.
    pub(super) fn keep_greeting(&mut self, now: Instant) {
        let mut late = Vec::new();
        let mut due = Vec::new();
        for (peer, state) in &self.peers {
            let welcome = state.accepted && state.greeted && !state.refused;
            if !welcome && state.deadline <= now {
                late.push(peer.clone());
            } else if !state.refused && state.unanswered == 0 && state.next_greeting <= now {
                due.push(peer.clone());
            }
        }
        for peer in late {
            debug!(%peer, "disconnecting: no fitting greeting in time");
            let _ = self.swarm.disconnect_peer_id(peer.inner());
        }
        due.iter().for_each(|peer| self.greet(peer));
    }

    fn greet(&mut self, peer: &PeerId) {
        let own = self.directory.announcements(&self.unit.address()).into_iter().next();
        let request = Request::Hello { network: self.network_hash(), announcement: own };
        let Some(state) = self.peers.get_mut(peer) else { return };
        state.unanswered += 1;
        state.next_greeting = Instant::now() + if state.greeted { GREETING_INTERVAL } else { SECOND_GREETING };
        let id = self.swarm.behaviour_mut().requests.send_request(&peer.inner(), request);
        self.outbox.sent(id, Sent::Greeting(peer.clone()));
    }

    /// A peer greets us: it is answered even when it is refused, so that its side can say why.
    pub(super) fn on_greeting(
        &mut self,
        peer: &PeerId,
        theirs: Option<Digest>,
        announcement: Option<ItemBytes>,
        channel: ResponseChannel<Response>,
    ) {
        let ours = self.network_hash();
        let foreign = matches!((ours, theirs), (Some(ours), Some(theirs)) if ours != theirs);
        let announcements = match foreign {
            true => Vec::new(),
            false => self.directory.announcements(&self.unit.address()),
        };
        let network = self.network.get().map(|network| network.to_json()).unwrap_or_default();
        self.respond(channel, Response::Hello { network, announcements });
        let (Some(ours), Some(theirs)) = (ours, theirs) else { return };
        if foreign {
            return self.refuse(peer, ours, theirs);
        }
        self.accept(peer);
        self.learn_units(announcement.into_iter().collect(), peer);
        // Our first greeting may have come before it had a network.
        if self.peers.get(peer).is_some_and(|state| !state.greeted && state.unanswered == 0) {
            self.greet(peer);
        }
    }

    /// A peer answers our greeting.
    pub(super) fn on_greeting_answer(&mut self, peer: &PeerId, network: &str, announcements: Vec<ItemBytes>) {
        self.on_greeting_end(peer);
        if network.is_empty() {
            return debug!(%peer, "the peer has no network yet");
        }
        let network = match Network::from_json(network) {
            Ok(network) => network,
            Err(cause) => {
                warn!(%peer, %cause, "disconnecting: the peer's network file can't be read");
                let _ = self.swarm.disconnect_peer_id(peer.inner());
                return;
            }
        };
        let theirs = network.hash();
        let ours = match self.network_hash() {
            Some(ours) => ours,
            None if self.dialing.is_joined(peer) => {
                // It answered a greeting without network, so it has not accepted us yet: greet again, now with one.
                return self.learn_network(peer, network);
            }
            None => return debug!(%peer, "a network is only taken from a joined peer"),
        };
        if ours != theirs {
            return self.refuse(peer, ours, theirs);
        }
        self.accept(peer);
        self.learn_units(announcements, peer);
        let Some(state) = self.peers.get_mut(peer) else { return };
        if !state.greeted {
            state.greeted = true;
            state.next_greeting = Instant::now() + SECOND_GREETING;
            info!(%peer, "peer connected");
            self.directory.set_connected(peer, true);
            self.dialing.on_greeted(peer);
            self.tell(NetEvent::Connected(peer.clone()));
            self.pump(peer);
        }
    }

    /// A greeting of ours was answered or failed.
    pub(super) fn on_greeting_end(&mut self, peer: &PeerId) {
        if let Some(state) = self.peers.get_mut(peer) {
            state.unanswered = state.unanswered.saturating_sub(1);
        }
    }

    fn accept(&mut self, peer: &PeerId) {
        self.dialing.forgive(peer);
        if let Some(state) = self.peers.get_mut(peer) {
            state.accepted = true;
            state.refused = false;
        }
    }

    /// The peer lives by another network: nothing is taken from it any more, and it is disconnected as soon as it had
    /// the time to read why.
    fn refuse(&mut self, peer: &PeerId, ours: Digest, theirs: Digest) {
        let error = NetError::OtherNetwork(Box::new(Mismatch { peer: peer.clone(), ours, theirs }));
        let now = Instant::now();
        match self.dialing.shun(peer, theirs, now) {
            true => warn!("disconnecting: {error}"),
            false => debug!("disconnecting: {error}"),
        }
        self.swarm.behaviour_mut().kad.remove_peer(&peer.inner());
        self.outbox.fail_waiting(peer, &error);
        let Some(state) = self.peers.get_mut(peer) else { return };
        let was_greeted = state.greeted;
        (state.refused, state.accepted, state.greeted) = (true, false, false);
        state.deadline = now + REFUSAL_LINGER;
        if was_greeted {
            self.directory.set_connected(peer, false);
            self.tell(NetEvent::Disconnected(peer.clone()));
        }
    }

    fn learn_network(&mut self, from: &PeerId, network: Network) {
        info!(peer = %from, name = network.name, hash = %network.hash(), "taking the network of the joined peer");
        self.network.get_or_init(|| Arc::new(network.clone()));
        self.tell(NetEvent::NetworkLearned(network));
        let peers: Vec<PeerId> = self.peers.keys().cloned().collect();
        peers.iter().for_each(|peer| self.greet(peer));
    }

    pub(super) fn network_hash(&self) -> Option<Digest> {
        self.network.get().map(|network| network.hash())
    }
}

fn is_loopback(address: &Multiaddr) -> bool {
    address.iter().any(|part| match part {
        Protocol::Ip4(ip) => ip.is_loopback(),
        Protocol::Ip6(ip) => ip.is_loopback(),
        _ => false,
    })
}
