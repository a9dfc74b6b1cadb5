//! The one task that owns the swarm: it takes commands and swarm events in turn, and looks at its clocks. What it does
//! about them is in the files of the subject: greetings, requests, gossip, dialing, announcing.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use ao_protocol::network::Network;
use ao_protocol::wire::{Request, Response};
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use libp2p::core::transport::ListenerId;
use libp2p::multiaddr::Protocol;
use libp2p::request_response::ResponseChannel;
use libp2p::swarm::SwarmEvent;
use libp2p::{Multiaddr, Swarm, identify, mdns, ping};
use libp2p_gossipsub::{self as gossipsub, MessageId};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout, timeout_at};
use tracing::{debug, info, warn};

use super::announcing::{OwnUnit, now_ms};
use super::behaviour::{self, Behaviour, BehaviourEvent};
use super::dialing::{Dialing, parse_multiaddr};
use super::directory::Directory;
use super::error::NetError;
use super::greeting::Peer;
use super::limits::{EVENT_RESERVE, LISTEN_TIMEOUT, MAX_ACCUSED, MAX_REMEMBERED, Quota, SHUTDOWN_TIMEOUT, TICK};
use super::metrics::NetMetrics;
use super::peer::PeerId;
use super::requests::Outbox;
use super::topic::Topic;
use super::{NetConfig, NetEvent, Verdict};

/// Who waits for a result of the owner.
pub(super) type Answer<T> = oneshot::Sender<Result<T, NetError>>;

/// What handles ask of the owner.
pub(super) enum Command {
    Publish { topic: Topic, bytes: Vec<u8>, done: Answer<()> },
    Request { peer: PeerId, request: Request, answer: Answer<Response> },
    Dial { address: Multiaddr, done: Answer<()> },
    Listening(oneshot::Sender<Vec<String>>),
    Block { peer: PeerId, blocked: bool, done: oneshot::Sender<()> },
    Accuse { peer: PeerId, score: f64, done: oneshot::Sender<()> },
    Shutdown(oneshot::Sender<()>),
}

/// The owner of the swarm.
pub(super) struct Owner {
    pub(super) swarm: Swarm<Behaviour>,
    pub(super) own: PeerId,
    pub(super) directory: Directory,
    /// Set once: by the configuration or by a joined peer.
    pub(super) network: Arc<OnceLock<Arc<Network>>>,
    pub(super) unit: OwnUnit,
    pub(super) peers: HashMap<PeerId, Peer>,
    pub(super) outbox: Outbox,
    pub(super) dialing: Dialing,
    pub(super) unanswered: FuturesUnordered<BoxFuture<'static, (ResponseChannel<Response>, Response)>>,
    pub(super) unjudged: FuturesUnordered<BoxFuture<'static, (MessageId, PeerId, Verdict)>>,
    quotas: HashMap<PeerId, Quota>,
    /// Peers whose units were found lying, and the score that they have for it.
    accused: HashMap<PeerId, f64>,
    metrics: NetMetrics,
    commands: mpsc::Receiver<Command>,
    events: mpsc::Sender<NetEvent>,
}

impl Owner {
    /// Builds the swarm and listens. Fails when an address is wrong or taken.
    pub(super) async fn start(
        config: NetConfig,
        commands: mpsc::Receiver<Command>,
        events: mpsc::Sender<NetEvent>,
    ) -> Result<Owner, NetError> {
        let listen = config.listen.iter().map(|text| parse_multiaddr(text)).collect::<Result<Vec<_>, _>>()?;
        let join = config.join.iter().map(|text| parse_multiaddr(text)).collect::<Result<Vec<_>, _>>()?;
        let own = config.key.peer_id();
        let network = OnceLock::new();
        if let Some(given) = config.network {
            network.get_or_init(|| Arc::new(given));
        }
        let now = Instant::now();
        let mut owner = Owner {
            swarm: behaviour::swarm(config.key.into_inner(), config.follow_shards, config.mdns)?,
            own,
            directory: Directory::default(),
            network: Arc::new(network),
            unit: OwnUnit::new(config.wallet, config.roles, config.http_url, config.dev_chain, now),
            peers: HashMap::new(),
            outbox: Outbox::default(),
            dialing: Dialing::new(join, now),
            unanswered: FuturesUnordered::new(),
            unjudged: FuturesUnordered::new(),
            quotas: HashMap::new(),
            accused: HashMap::new(),
            metrics: config.metrics,
            commands,
            events,
        };
        owner.listen(listen).await?;
        owner.announce();
        Ok(owner)
    }

    async fn listen(&mut self, addresses: Vec<Multiaddr>) -> Result<(), NetError> {
        let failed = |address: &Multiaddr, cause: String| NetError::Listen { address: address.to_string(), cause };
        let mut pending: HashMap<ListenerId, Multiaddr> = HashMap::new();
        for address in addresses {
            check_free(&address).map_err(|cause| failed(&address, cause))?;
            let id = self.swarm.listen_on(address.clone()).map_err(|cause| {
                // The chain of causes repeats itself; its end says most.
                failed(&address, innermost(&cause))
            })?;
            pending.insert(id, address);
        }
        let deadline = Instant::now() + LISTEN_TIMEOUT;
        while let Some(address) = pending.values().next().cloned() {
            match timeout_at(deadline, self.swarm.select_next_some()).await {
                Err(_) => return Err(failed(&address, format!("not ready after {} s", LISTEN_TIMEOUT.as_secs()))),
                Ok(SwarmEvent::NewListenAddr { listener_id, address }) => {
                    info!(%address, "listening");
                    pending.remove(&listener_id);
                }
                Ok(SwarmEvent::ListenerClosed { listener_id, reason: Err(cause), .. }) => {
                    return Err(failed(pending.get(&listener_id).unwrap_or(&address), cause.to_string()));
                }
                Ok(SwarmEvent::ListenerError { listener_id, error }) => {
                    return Err(failed(pending.get(&listener_id).unwrap_or(&address), error.to_string()));
                }
                Ok(event) => self.on_event(event),
            }
        }
        Ok(())
    }

    /// Works until all handles are gone or one says stop.
    pub(super) async fn run(mut self) {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let stopped = loop {
            tokio::select! {
                event = self.swarm.select_next_some() => self.on_event(event),
                command = self.commands.recv() => match command {
                    None => break None,
                    Some(Command::Shutdown(done)) => break Some(done),
                    Some(command) => self.on_command(command),
                },
                Some((channel, response)) = self.unanswered.next() => self.respond(channel, response),
                Some((id, source, verdict)) = self.unjudged.next() => self.on_verdict(&id, &source, verdict),
                _ = tick.tick() => self.on_tick(Instant::now()),
            }
        };
        self.close().await;
        // Sockets are free before it is told.
        drop(self);
        if let Some(done) = stopped {
            let _ = done.send(());
        }
    }

    fn on_command(&mut self, command: Command) {
        match command {
            Command::Publish { topic, bytes, done } => {
                let _ = done.send(self.publish(topic, bytes));
            }
            Command::Request { peer, request, answer } => self.ask(peer, request, answer),
            Command::Dial { address, done } => self.dial(address, done),
            Command::Listening(done) => {
                let full = |address: &Multiaddr| address.clone().with(Protocol::P2p(self.own.inner())).to_string();
                let mut addresses: Vec<String> = self.swarm.listeners().map(full).collect();
                // TCP first: it gets through where UDP does not.
                addresses.sort_by_key(|address| !address.contains("/tcp/"));
                let _ = done.send(addresses);
            }
            Command::Block { peer, blocked, done } => {
                self.block(&peer, blocked);
                let _ = done.send(());
            }
            Command::Accuse { peer, score, done } => {
                let worst = self.accused.get(&peer).map_or(score, |known| score.min(*known));
                self.swarm.behaviour_mut().gossip.set_application_score(&peer.inner(), worst);
                if self.accused.len() < MAX_ACCUSED || self.accused.contains_key(&peer) {
                    self.accused.insert(peer, worst);
                }
                let _ = done.send(());
            }
            // Ends the loop before it gets here.
            Command::Shutdown(_) => {}
        }
    }

    fn on_event(&mut self, event: SwarmEvent<BehaviourEvent>) {
        self.metrics.record(&event);
        match event {
            SwarmEvent::Behaviour(event) => self.on_protocol_event(event),
            SwarmEvent::ConnectionEstablished { peer_id, connection_id, endpoint, .. } => {
                // Gossip forgets who was gone.
                if let Some(score) = self.accused.get(&peer_id.into()) {
                    self.swarm.behaviour_mut().gossip.set_application_score(&peer_id, *score);
                }
                self.on_connection(peer_id.into(), connection_id, endpoint.get_remote_address());
            }
            SwarmEvent::ConnectionClosed { peer_id, num_established: 0, cause, .. } => {
                let cause = cause.map_or_else(|| "it was closed".into(), |cause| cause.to_string());
                self.on_disconnection(&peer_id.into(), &cause);
            }
            SwarmEvent::OutgoingConnectionError { connection_id, peer_id, error } => {
                self.on_dial_failure(connection_id, peer_id.map(PeerId::from), &error);
            }
            SwarmEvent::NewListenAddr { address, .. } => {
                info!(%address, "listening");
                self.unit.announce_soon();
            }
            SwarmEvent::ExpiredListenAddr { address, .. } => {
                info!(%address, "no longer listening");
                self.unit.announce_soon();
            }
            SwarmEvent::ListenerClosed { reason: Err(cause), addresses, .. } => {
                warn!(?addresses, %cause, "a listener failed");
            }
            SwarmEvent::ListenerError { error, .. } => debug!(%error, "a connection could not be taken in"),
            SwarmEvent::IncomingConnectionError { send_back_addr, error, .. } => {
                debug!(%send_back_addr, %error, "a connection from outside failed");
            }
            _ => {}
        }
    }

    fn on_protocol_event(&mut self, event: BehaviourEvent) {
        match event {
            BehaviourEvent::Gossip(gossipsub::Event::Message { propagation_source, message_id, message }) => {
                self.on_gossip(propagation_source.into(), message_id, message);
            }
            BehaviourEvent::Requests(event) => self.on_exchange(event),
            BehaviourEvent::Identify(identify::Event::Received { peer_id, info, .. }) => {
                self.on_identified(&peer_id.into(), info);
            }
            BehaviourEvent::Ping(ping::Event { peer, connection, result: Err(failure) }) => match failure {
                ping::Failure::Unsupported => {}
                failure => {
                    debug!(%peer, %failure, "a connection is dead");
                    self.swarm.close_connection(connection);
                }
            },
            BehaviourEvent::Mdns(mdns::Event::Discovered(found)) => self.on_discovered(found),
            _ => {}
        }
    }

    fn on_tick(&mut self, now: Instant) {
        self.directory.expire(now_ms());
        self.unit.is_due(now).then(|| self.announce());
        self.keep_greeting(now);
        self.keep_connected(now);
        self.outbox.forget_abandoned();
        if self.quotas.len() > MAX_REMEMBERED {
            let peers = &self.peers;
            self.quotas.retain(|peer, _| peers.contains_key(peer));
        }
    }

    /// Tells the node something that it should not miss; there are places reserved for such news.
    pub(super) fn tell(&mut self, event: NetEvent) {
        if let Err(cause) = self.events.try_send(event) {
            warn!(%cause, "the node does not keep up with its peers: news was dropped");
        }
    }

    /// Hands the node something that it may refuse by being slow.
    pub(super) fn offer(&mut self, event: NetEvent) -> bool {
        self.events.capacity() > EVENT_RESERVE && self.events.try_send(event).is_ok()
    }

    /// What a peer may still ask and say.
    pub(super) fn quota(&mut self, peer: &PeerId) -> &mut Quota {
        self.quotas.entry(peer.clone()).or_insert_with(|| Quota::new(Instant::now()))
    }

    /// Closes connections in order, so that peers learn of it at once.
    async fn close(&mut self) {
        let connected: Vec<libp2p::PeerId> = self.swarm.connected_peers().copied().collect();
        for peer in connected {
            let _ = self.swarm.disconnect_peer_id(peer);
        }
        let closing = async {
            while self.swarm.network_info().num_peers() > 0 {
                self.swarm.select_next_some().await;
            }
        };
        if timeout(SHUTDOWN_TIMEOUT, closing).await.is_err() {
            debug!("some connections did not close in time");
        }
    }
}

/// libp2p shares TCP ports between sockets (SO_REUSEPORT), so a second node on a taken port would start without
/// complaint and get half of the connections: a plain bind finds out.
fn check_free(address: &Multiaddr) -> Result<(), String> {
    let mut parts = address.iter();
    let ip: std::net::IpAddr = match parts.next() {
        Some(Protocol::Ip4(ip)) => ip.into(),
        Some(Protocol::Ip6(ip)) => ip.into(),
        _ => return Ok(()),
    };
    match parts.next() {
        Some(Protocol::Tcp(port)) if port != 0 => {
            std::net::TcpListener::bind((ip, port)).map(drop).map_err(|cause| cause.to_string())
        }
        _ => Ok(()),
    }
}

/// The last cause of an error.
pub(super) fn innermost(error: &dyn std::error::Error) -> String {
    let mut last = error;
    while let Some(source) = last.source() {
        last = source;
    }
    last.to_string()
}
