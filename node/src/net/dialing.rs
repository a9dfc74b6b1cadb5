//! Reaching peers: those that were asked for, the joined ones for as long as they are not connected, and the units of
//! the directory while connections are few. Failures are tried again later and later, up to a minute.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use ao_protocol::backoff::Backoff;
use ao_protocol::id::Digest;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::dial_opts::DialOpts;
use libp2p::swarm::{ConnectionId, DialError};
use libp2p::{Multiaddr, TransportError, identify};
use tokio::time::Instant;
use tracing::{debug, warn};

use super::behaviour::PROTOCOL_VERSION;
use super::error::{Mismatch, NetError};
use super::limits::{
    DISCOVERY_INTERVAL, FOREIGN_MEMORY, MAX_DIALS_PER_TICK, MAX_PEER_ADDRESSES, MAX_REMEMBERED, REDIAL_CAP_MS,
    REDIAL_FIRST_MS, TARGET_PEERS,
};
use super::owner::{Answer, Owner, innermost};
use super::peer::PeerId;
use super::requests::Waiter;

/// Reads a multiaddr.
pub(super) fn parse_multiaddr(text: &str) -> Result<Multiaddr, NetError> {
    let shown = || text.chars().take(256).collect();
    let address: Multiaddr =
        text.parse().map_err(|cause| NetError::Multiaddr { text: shown(), cause: format!("{cause}") })?;
    match address.is_empty() {
        true => Err(NetError::Multiaddr { text: shown(), cause: "it is empty".into() }),
        false => Ok(address),
    }
}

/// What is known about reaching peers.
pub(super) struct Dialing {
    joins: Vec<Join>,
    redials: HashMap<PeerId, Redial>,
    /// Dials that somebody waits for and whose peer is not known yet.
    asked: HashMap<ConnectionId, (Multiaddr, Answer<()>)>,
    /// Peers of another network: its hash, and until when they are not dialled.
    foreign: HashMap<PeerId, (Digest, Instant)>,
    discover_at: Instant,
}

/// A peer to join.
struct Join {
    address: Multiaddr,
    /// Named by the address, or learned from the connection.
    peer: Option<PeerId>,
    redial: Redial,
    dialling: Option<ConnectionId>,
}

/// When something is dialled next.
struct Redial {
    backoff: Backoff,
    next: Instant,
}

impl Redial {
    fn new(next: Instant) -> Redial {
        Redial { backoff: Backoff::new(REDIAL_FIRST_MS, REDIAL_CAP_MS), next }
    }

    /// Notes an attempt. Half of the delay is random, so that nodes that lost each other don't dial in step.
    fn attempted(&mut self, now: Instant) {
        self.next = now + jitter(self.backoff.next_ms());
    }

    /// After a loss: soon, and from the first delay on.
    fn soon(&mut self, now: Instant) {
        self.backoff.reset();
        self.next = now + jitter(REDIAL_FIRST_MS / 2);
    }
}

fn jitter(delay_ms: u64) -> Duration {
    Duration::from_millis(delay_ms).mul_f64(rand::random_range(0.5..=1.0))
}

impl Dialing {
    pub(super) fn new(joins: Vec<Multiaddr>, now: Instant) -> Dialing {
        let join =
            |address: Multiaddr| Join { peer: named_peer(&address), address, redial: Redial::new(now), dialling: None };
        Dialing {
            joins: joins.into_iter().map(join).collect(),
            redials: HashMap::new(),
            asked: HashMap::new(),
            foreign: HashMap::new(),
            discover_at: now,
        }
    }

    /// Whether the peer is one that this node was told to join.
    pub(super) fn is_joined(&self, peer: &PeerId) -> bool {
        self.joins.iter().any(|join| join.peer.as_ref() == Some(peer))
    }

    /// Greetings were exchanged: the next loss starts with the shortest delay again.
    pub(super) fn on_greeted(&mut self, peer: &PeerId) {
        self.each_redial(peer, |redial| redial.backoff.reset());
    }

    /// The peer was lost or may come back: dial it soon.
    pub(super) fn dial_soon(&mut self, peer: &PeerId, now: Instant) {
        self.each_redial(peer, |redial| redial.soon(now));
    }

    fn each_redial(&mut self, peer: &PeerId, change: impl Fn(&mut Redial)) {
        let joins = self.joins.iter_mut().filter(|join| join.peer.as_ref() == Some(peer));
        joins.map(|join| &mut join.redial).chain(self.redials.get_mut(peer)).for_each(change);
    }

    /// Remembers that a peer lives by another network; false when that was known.
    pub(super) fn shun(&mut self, peer: &PeerId, theirs: Digest, now: Instant) -> bool {
        if self.foreign.len() >= MAX_REMEMBERED {
            self.foreign.clear();
        }
        let before = self.foreign.insert(peer.clone(), (theirs, now + FOREIGN_MEMORY));
        before.is_none_or(|(hash, _)| hash != theirs)
    }

    /// The peer lives by our network after all.
    pub(super) fn forgive(&mut self, peer: &PeerId) {
        self.foreign.remove(peer);
    }
}

impl Owner {
    /// Somebody wants a connection with whoever listens at an address.
    pub(super) fn dial(&mut self, address: Multiaddr, done: Answer<()>) {
        if let Some(peer) = named_peer(&address) {
            // Asked for by name: what was remembered about its network may be outdated.
            self.dialing.forgive(&peer);
            self.outbox.wait(&peer, Waiter::Reach(done));
            return self.reach_at(&peer, vec![address]);
        }
        let options = DialOpts::unknown_peer_id().address(address.clone()).allocate_new_port().build();
        let connection = options.connection_id();
        match self.swarm.dial(options) {
            Ok(()) => drop(self.dialing.asked.insert(connection, (address, done))),
            Err(error) => {
                let _ = done.send(Err(NetError::Dial { address: address.to_string(), cause: describe(&error) }));
            }
        }
    }

    /// Serves whoever waits for a peer: now if it is greeted, else after it was reached where the directory says.
    pub(super) fn reach(&mut self, peer: &PeerId) {
        let addresses = self.directory.addresses(peer);
        self.reach_at(peer, addresses.iter().filter_map(|text| text.parse().ok()).collect());
    }

    fn reach_at(&mut self, peer: &PeerId, addresses: Vec<Multiaddr>) {
        if self.peers.contains_key(peer) {
            return self.pump(peer);
        }
        let error = match (self.network_hash(), self.dialing.foreign.get(peer)) {
            (Some(ours), Some((theirs, _))) => {
                NetError::OtherNetwork(Box::new(Mismatch { peer: peer.clone(), ours, theirs: *theirs }))
            }
            _ if *peer == self.own => {
                NetError::Unreachable { peer: peer.clone(), cause: "that is this node itself".into() }
            }
            _ => match self.swarm.dial(options(peer, addresses)) {
                Ok(()) | Err(DialError::DialPeerConditionFalse(_)) => return,
                Err(cause) => NetError::Unreachable { peer: peer.clone(), cause: describe(&cause) },
            },
        };
        self.outbox.fail_waiting(peer, &error);
    }

    /// A connection stands: who it was that answered is known now.
    pub(super) fn on_reached(&mut self, peer: &PeerId, connection: ConnectionId) {
        if let Some((_, done)) = self.dialing.asked.remove(&connection) {
            self.dialing.forgive(peer);
            self.outbox.wait(peer, Waiter::Reach(done));
            self.pump(peer);
        }
        if let Some(join) = self.dialing.joins.iter_mut().find(|join| join.dialling == Some(connection)) {
            join.dialling = None;
            join.peer = Some(peer.clone());
        }
    }

    pub(super) fn on_dial_failure(&mut self, connection: ConnectionId, peer: Option<PeerId>, error: &DialError) {
        let cause = describe(error);
        if let Some((address, done)) = self.dialing.asked.remove(&connection) {
            let _ = done.send(Err(NetError::Dial { address: address.to_string(), cause: cause.clone() }));
        }
        if let Some(join) = self.dialing.joins.iter_mut().find(|join| join.dialling == Some(connection)) {
            join.dialling = None;
            let seconds = join.redial.next.saturating_duration_since(Instant::now()).as_secs_f32();
            warn!(address = %join.address, cause, "can't join; trying again in {seconds:.1} s");
        }
        let Some(peer) = peer else { return };
        if !self.peers.contains_key(&peer) {
            debug!(%peer, cause, "a peer can't be reached");
            self.outbox.fail_waiting(&peer, &NetError::Unreachable { peer: peer.clone(), cause });
        }
    }

    /// Dials what should be connected and is due.
    pub(super) fn keep_connected(&mut self, now: Instant) {
        self.dialing.foreign.retain(|_, (_, until)| *until > now);
        self.dial_joins(now);
        let room = TARGET_PEERS.saturating_sub(self.peers.len()).min(MAX_DIALS_PER_TICK);
        if room == 0 {
            return;
        }
        self.dial_units(room, now);
        if self.dialing.discover_at <= now {
            self.dialing.discover_at = now + DISCOVERY_INTERVAL;
            // Fails when there is nobody to ask yet.
            let _ = self.swarm.behaviour_mut().kad.bootstrap();
        }
    }

    fn dial_joins(&mut self, now: Instant) {
        for index in 0..self.dialing.joins.len() {
            let join = &self.dialing.joins[index];
            let wanted = join.peer.as_ref().is_none_or(|peer| self.is_wanted(peer));
            if !wanted || join.dialling.is_some() || join.redial.next > now {
                continue;
            }
            // An address that names nobody is dialled as it is: another peer may answer there one day.
            let options = match named_peer(&join.address) {
                Some(peer) => options(&peer, vec![join.address.clone()]),
                None => DialOpts::unknown_peer_id().address(join.address.clone()).allocate_new_port().build(),
            };
            let connection = options.connection_id();
            let result = self.swarm.dial(options);
            let join = &mut self.dialing.joins[index];
            join.redial.attempted(now);
            match result {
                Ok(()) => join.dialling = Some(connection),
                Err(DialError::DialPeerConditionFalse(_)) => {}
                Err(error) => warn!(address = %join.address, cause = describe(&error), "can't join"),
            }
        }
    }

    fn dial_units(&mut self, room: usize, now: Instant) {
        let units = self.directory.units();
        let known: HashSet<&PeerId> = units.iter().map(|unit| &unit.peer).collect();
        self.dialing.redials.retain(|peer, _| known.contains(peer));
        let mut dialled = 0;
        // Nodes start at different places, so that not all of them crowd around the same few.
        let start = rand::random_range(0..units.len().max(1));
        for unit in units.iter().cycle().skip(start).take(units.len()) {
            if dialled == room {
                break;
            }
            if !self.is_wanted(&unit.peer) {
                continue;
            }
            // Two that hear of each other at the same time shall not dial each other at the same time.
            let first = || Redial::new(now + jitter(REDIAL_FIRST_MS));
            let redial = self.dialing.redials.entry(unit.peer.clone()).or_insert_with(first);
            if redial.next > now {
                continue;
            }
            redial.attempted(now);
            dialled += 1;
            let addresses = unit.multiaddrs.iter().filter_map(|text| text.parse().ok()).collect();
            if let Err(error) = self.swarm.dial(options(&unit.peer, addresses)) {
                debug!(peer = %unit.peer, cause = describe(&error), "a unit can't be dialled");
            }
        }
    }

    /// Whether a connection with the peer is missing and welcome.
    fn is_wanted(&self, peer: &PeerId) -> bool {
        *peer != self.own
            && !self.peers.contains_key(peer)
            && !self.dialing.foreign.contains_key(peer)
            && !self.swarm.behaviour().blocked.blocked_peers().contains(&peer.inner())
    }

    /// A peer told where it listens: kad passes that on to others.
    pub(super) fn on_identified(&mut self, peer: &PeerId, info: identify::Info) {
        if info.protocol_version != PROTOCOL_VERSION {
            return debug!(%peer, version = info.protocol_version, "the peer speaks another protocol");
        }
        let local = self.peers.get(peer).is_some_and(|state| state.local);
        let useful = |address: &Multiaddr| {
            address.iter().all(|part| match part {
                Protocol::Ip4(ip) => !ip.is_unspecified() && (local || !ip.is_loopback()),
                Protocol::Ip6(ip) => !ip.is_unspecified() && (local || !ip.is_loopback()),
                _ => true,
            })
        };
        for address in info.listen_addrs.into_iter().filter(useful).take(MAX_PEER_ADDRESSES) {
            self.swarm.behaviour_mut().kad.add_address(&peer.inner(), address);
        }
    }

    /// mDNS found peers on the local network.
    pub(super) fn on_discovered(&mut self, found: Vec<(libp2p::PeerId, Multiaddr)>) {
        for (peer, address) in found {
            let peer = PeerId::from(peer);
            if self.peers.len() < TARGET_PEERS && self.is_wanted(&peer) {
                // Fails when it is being dialled already.
                let _ = self.swarm.dial(options(&peer, vec![address]));
            }
        }
    }

    pub(super) fn block(&mut self, peer: &PeerId, blocked: bool) {
        let list = &mut self.swarm.behaviour_mut().blocked;
        if blocked {
            list.block_peer(peer.inner());
        } else {
            list.unblock_peer(peer.inner());
            self.dialing.dial_soon(peer, Instant::now());
        }
    }
}

fn options(peer: &PeerId, addresses: Vec<Multiaddr>) -> DialOpts {
    let options = DialOpts::peer_id(peer.inner()).addresses(addresses).extend_addresses_through_behaviour();
    // From a port of its own: two that dial each other from their listening ports would meet half-way and fail.
    options.allocate_new_port().build()
}

fn named_peer(address: &Multiaddr) -> Option<PeerId> {
    match address.iter().last() {
        Some(Protocol::P2p(peer)) => Some(peer.into()),
        _ => None,
    }
}

/// What went wrong, in one line.
fn describe(error: &DialError) -> String {
    match error {
        DialError::NoAddresses => "nobody announced where it listens".into(),
        DialError::LocalPeerId { .. } => "that is this node itself".into(),
        DialError::WrongPeerId { obtained, address } => format!("{obtained} answers at {address}"),
        DialError::Denied { cause } => innermost(cause),
        DialError::Transport(failures) => {
            let one = |(address, cause): &(Multiaddr, TransportError<std::io::Error>)| {
                format!("{address}: {}", innermost(cause))
            };
            failures.iter().map(one).collect::<Vec<_>>().join(", ")
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::peer::PeerKey;

    #[test]
    fn redials_wait_longer_each_time_and_start_over_after_a_success() {
        let now = Instant::now();
        let mut redial = Redial::new(now);
        let mut longest = Duration::ZERO;
        for attempt in 0..10 {
            redial.attempted(now);
            let (delay, full) = (redial.next - now, Duration::from_millis(1000 << attempt.min(6)));
            let full = full.min(Duration::from_millis(REDIAL_CAP_MS));
            assert!(delay <= full && delay >= full / 2);
            longest = longest.max(delay);
        }
        assert!(longest >= Duration::from_millis(REDIAL_CAP_MS / 2));
        redial.soon(now);
        assert!(redial.next - now <= Duration::from_millis(500));
    }

    #[test]
    fn a_peer_of_another_network_is_warned_of_once() {
        let now = Instant::now();
        let mut dialing = Dialing::new(vec![], now);
        let peer = PeerKey::generate().peer_id();
        assert!(dialing.shun(&peer, [1; 32].into(), now));
        assert!(!dialing.shun(&peer, [1; 32].into(), now));
        assert!(dialing.shun(&peer, [2; 32].into(), now), "it has yet another network now");
        dialing.forgive(&peer);
        assert!(dialing.shun(&peer, [2; 32].into(), now));
    }

    #[test]
    fn a_join_address_may_name_its_peer() {
        let peer = PeerKey::generate().peer_id();
        let named = parse_multiaddr(&format!("/ip4/127.0.0.1/tcp/1/p2p/{peer}")).unwrap();
        let dialing = Dialing::new(vec![named], Instant::now());
        assert!(dialing.is_joined(&peer));
        assert!(!dialing.is_joined(&PeerKey::generate().peer_id()));
        for wrong in ["", "127.0.0.1:4000", "/ip4/300.0.0.1/tcp/1", "/ip4/127.0.0.1/tcp/70000"] {
            let cause = parse_multiaddr(wrong).unwrap_err().to_string();
            assert!(cause.contains("no multiaddr") && cause.contains("expected"), "{cause}");
        }
    }
}
