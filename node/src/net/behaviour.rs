//! What the swarm consists of: the protocols, their settings and their limits.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use ao_protocol::wire::MAX_GOSSIP_BYTES;
use libp2p::allow_block_list::{self, BlockedPeers};
use libp2p::connection_limits::{self, ConnectionLimits};
use libp2p::identity::Keypair;
use libp2p::kad::store::{MemoryStore, MemoryStoreConfig};
use libp2p::request_response::ProtocolSupport;
use libp2p::swarm::NetworkBehaviour;
use libp2p::swarm::behaviour::toggle::Toggle;
use libp2p::{
    StreamProtocol, Swarm, SwarmBuilder, identify, kad, mdns, memory_connection_limits, noise, ping, request_response,
    tcp, yamux,
};
use libp2p_gossipsub::{
    self as gossipsub, IdentityTransform, MessageAuthenticity, MessageId, PeerScoreParams, PeerScoreThresholds,
    TopicScoreParams, ValidationMode, WhitelistSubscriptionFilter,
};

use super::codec::{Codec, PROTOCOL};
use super::error::NetError;
use super::limits::{
    GOSSIP_FRAME_BYTES, GOSSIP_READ_BYTES, IDLE_TIMEOUT, MAX_CONNECTIONS, MAX_CONNECTIONS_PER_PEER,
    MAX_GOSSIP_CONTROL_BYTES, MAX_GOSSIP_IDS, MAX_INCOMING, MAX_MEMORY_SHARE, MAX_OUTGOING, MAX_PENDING_INCOMING,
    MAX_PENDING_OUTGOING, MAX_STREAMS, REQUEST_TIMEOUT,
};
use super::topic::Topic;

/// How nodes of this protocol recognise each other in identify.
pub(super) const PROTOCOL_VERSION: &str = "/ao/1";
const KAD_PROTOCOL: StreamProtocol = StreamProtocol::new("/ao/kad/1");

/// How often a peer is asked whether it is there, and how long it may take to say so: a connection that was cut without
/// a word is noticed, and what waits for it goes another way.
const PING_INTERVAL: Duration = Duration::from_secs(5);
const PING_TIMEOUT: Duration = Duration::from_secs(15);
/// Time between two rounds of gossip's upkeep.
const HEARTBEAT: Duration = Duration::from_millis(500);
/// Heartbeats that a message waits for its verdict: 15 s.
const HISTORY_HEARTBEATS: usize = 30;
/// How long a message is known by its id.
const DUPLICATE_CACHE: Duration = Duration::from_secs(120);
/// Queued frames for one peer; what does not fit is fetched by repair.
const GOSSIP_QUEUE: usize = 4096;

/// From this size on, a message that came is announced to peers so that they do not send it too. For smaller ones the
/// announcements cost more than the copies that they prevent.
const DEAR_GOSSIP: usize = 4096;

/// Gossipsub with our filter.
pub(super) type Gossipsub = gossipsub::Behaviour<IdentityTransform, WhitelistSubscriptionFilter>;

/// All protocols of a node. Those that refuse connections come first.
#[derive(NetworkBehaviour)]
pub(super) struct Behaviour {
    pub(super) blocked: allow_block_list::Behaviour<BlockedPeers>,
    limits: connection_limits::Behaviour,
    memory: memory_connection_limits::Behaviour,
    pub(super) gossip: Gossipsub,
    pub(super) requests: request_response::Behaviour<Codec>,
    pub(super) kad: kad::Behaviour<MemoryStore>,
    identify: identify::Behaviour,
    ping: ping::Behaviour,
    mdns: Toggle<mdns::tokio::Behaviour>,
}

/// Puts the swarm together; it listens nowhere yet.
pub(super) fn swarm(key: Keypair, follow_shards: u16, use_mdns: bool) -> Result<Swarm<Behaviour>, NetError> {
    let failed = |cause: &dyn std::fmt::Display| NetError::Setup(cause.to_string());
    let behaviour = behaviour(&key, follow_shards, use_mdns)?;
    let swarm = SwarmBuilder::with_existing_identity(key)
        .with_tokio()
        .with_tcp(tcp::Config::default().nodelay(true), noise::Config::new, yamux::Config::default)
        .map_err(|cause| failed(&cause))?
        .with_quic()
        .with_dns()
        .map_err(|cause| failed(&format!("the system's DNS settings can't be read: {cause}")))?
        .with_behaviour(|_| behaviour)
        .unwrap_or_else(|never| match never {})
        .with_swarm_config(|config| config.with_idle_connection_timeout(IDLE_TIMEOUT))
        .build();
    Ok(swarm)
}

fn behaviour(key: &Keypair, follow_shards: u16, use_mdns: bool) -> Result<Behaviour, NetError> {
    let peer = key.public().to_peer_id();
    let limits = ConnectionLimits::default()
        .with_max_pending_incoming(Some(MAX_PENDING_INCOMING))
        .with_max_pending_outgoing(Some(MAX_PENDING_OUTGOING))
        .with_max_established_incoming(Some(MAX_INCOMING))
        .with_max_established_outgoing(Some(MAX_OUTGOING))
        .with_max_established(Some(MAX_CONNECTIONS))
        .with_max_established_per_peer(Some(MAX_CONNECTIONS_PER_PEER));
    let requests = request_response::Config::default()
        .with_request_timeout(REQUEST_TIMEOUT)
        .with_max_concurrent_streams(MAX_STREAMS);
    let agent = concat!("ao-node/", env!("CARGO_PKG_VERSION"));
    let identify = identify::Config::new(PROTOCOL_VERSION.into(), key.public())
        .with_agent_version(agent.into())
        .with_push_listen_addr_updates(true);
    let mdns = match use_mdns {
        true => Some(
            mdns::tokio::Behaviour::new(mdns::Config::default(), peer)
                .map_err(|cause| NetError::Setup(format!("mDNS: {cause}")))?,
        ),
        false => None,
    };
    Ok(Behaviour {
        blocked: allow_block_list::Behaviour::default(),
        limits: connection_limits::Behaviour::new(limits),
        memory: memory_connection_limits::Behaviour::with_max_percentage(MAX_MEMORY_SHARE),
        gossip: gossip(follow_shards)?,
        requests: request_response::Behaviour::with_codec(Codec, [(PROTOCOL, ProtocolSupport::Full)], requests),
        kad: kad(peer),
        identify: identify::Behaviour::new(identify),
        ping: ping::Behaviour::new(ping::Config::new().with_interval(PING_INTERVAL).with_timeout(PING_TIMEOUT)),
        mdns: mdns.into(),
    })
}

/// Kad finds peers and nothing else: records of others are not kept.
fn kad(peer: libp2p::PeerId) -> kad::Behaviour<MemoryStore> {
    let nothing =
        MemoryStoreConfig { max_records: 0, max_value_bytes: 0, max_providers_per_key: 0, max_provided_keys: 0 };
    let mut config = kad::Config::new(KAD_PROTOCOL);
    config.set_record_filtering(kad::StoreInserts::FilterBoth);
    let mut kad = kad::Behaviour::with_config(peer, MemoryStore::with_config(peer, nothing), config);
    // It would start as a client until an external address is confirmed, and on a local network none ever is.
    kad.set_mode(Some(kad::Mode::Server));
    kad
}

fn gossip(follow_shards: u16) -> Result<Gossipsub, NetError> {
    let failed = |cause: &dyn std::fmt::Display| NetError::Setup(format!("gossip: {cause}"));
    let config = gossipsub::ConfigBuilder::default()
        .max_transmit_size(MAX_GOSSIP_BYTES + GOSSIP_FRAME_BYTES + GOSSIP_READ_BYTES)
        .max_control_messages_sent(MAX_GOSSIP_IDS)
        .max_control_message_size(MAX_GOSSIP_CONTROL_BYTES)
        .validation_mode(ValidationMode::Anonymous)
        .validate_messages()
        // Contents are signed, so equal content is the same message whoever sends it.
        .message_id_fn(|message| MessageId::from(blake3::hash(&message.data).as_bytes().to_vec()))
        .heartbeat_interval(HEARTBEAT)
        .heartbeat_initial_delay(Duration::from_millis(100))
        .history_length(HISTORY_HEARTBEATS)
        .history_gossip(6)
        .duplicate_cache_time(DUPLICATE_CACHE)
        .flood_publish(true)
        .idontwant_on_publish(true)
        .idontwant_message_size_threshold(DEAR_GOSSIP)
        .mesh_n_low(4)
        .mesh_n(6)
        .mesh_n_high(12)
        .mesh_outbound_min(2)
        .prune_backoff(Duration::from_secs(10))
        .connection_handler_queue_len(GOSSIP_QUEUE)
        .build()
        .map_err(|cause| failed(&cause))?;
    let filter = WhitelistSubscriptionFilter(Topic::all().map(Topic::hash).collect());
    let mut gossip = gossipsub::Behaviour::new_with_subscription_filter(MessageAuthenticity::Anonymous, config, filter)
        .map_err(|cause| failed(&cause))?;
    gossip.with_peer_score(scores(), thresholds()).map_err(|cause| failed(&cause))?;
    for topic in Topic::followed(follow_shards) {
        gossip.subscribe(&topic.ident()).map_err(|cause| failed(&cause))?;
    }
    Ok(gossip)
}

/// Peers lose score by what is wrong in itself, not by being few, slow, or on one machine.
fn scores() -> PeerScoreParams {
    let topic = TopicScoreParams {
        topic_weight: 1.0,
        time_in_mesh_weight: 0.01,
        time_in_mesh_quantum: Duration::from_secs(1),
        time_in_mesh_cap: 50.0,
        first_message_deliveries_weight: 0.1,
        first_message_deliveries_decay: 0.9,
        first_message_deliveries_cap: 10.0,
        // In a mesh of a few nodes most topics are silent: no message is owed.
        mesh_message_deliveries_weight: 0.0,
        mesh_failure_penalty_weight: 0.0,
        // One rejected message costs 20, two 80, three 180; forgotten within minutes.
        invalid_message_deliveries_weight: -20.0,
        invalid_message_deliveries_decay: 0.98,
        ..TopicScoreParams::default()
    };
    PeerScoreParams {
        topics: Topic::all().map(|kind| (kind.hash(), topic.clone())).collect::<HashMap<_, _>>(),
        topic_score_cap: 20.0,
        // What a peer's unit did counts as it is; see [`super::Net::accuse`].
        app_specific_weight: 1.0,
        // A test network lives on one address.
        ip_colocation_factor_weight: 0.0,
        ip_colocation_factor_whitelist: HashSet::new(),
        behaviour_penalty_weight: -1.0,
        behaviour_penalty_threshold: 10.0,
        behaviour_penalty_decay: 0.9,
        // A busy machine is no enemy.
        slow_peer_weight: 0.0,
        retain_score: Duration::from_secs(600),
        ..PeerScoreParams::default()
    }
}

fn thresholds() -> PeerScoreThresholds {
    PeerScoreThresholds {
        gossip_threshold: -40.0,
        publish_threshold: -70.0,
        graylist_threshold: -150.0,
        accept_px_threshold: 100.0,
        opportunistic_graft_threshold: 1.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_consistent() {
        let gossip = gossip(u16::MAX).unwrap();
        assert_eq!(gossip.topics().count(), Topic::all().count());
        scores().validate().unwrap();
        thresholds().validate().unwrap();
    }

    #[test]
    fn only_followed_shards_are_subscribed() {
        assert_eq!(super::gossip(1).unwrap().topics().count(), 4 + 2);
    }
}
