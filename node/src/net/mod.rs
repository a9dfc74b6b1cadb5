//! The peers. One task owns the libp2p swarm ([`owner`]); everybody else holds a [`Net`], a handle that is cheap to
//! clone, and reads what comes in from one queue of [`NetEvent`]s.
//!
//! - Gossip: a topic per kind and shard ([`topic`]); every message waits for a [`Verdict`] before it is forwarded.
//! - Requests: one answer each, bounded in size, number and time ([`codec`], [`requests`]).
//! - Greetings: both sides of a connection say which network they live by and what they know of it ([`greeting`]).
//!   Until then nothing else is taken from a peer, and a peer of another network is disconnected.
//! - Directory: who schedules, delivers or computes, made of signed announcements ([`directory`]).
//!
//! All queues are bounded ([`limits`]). When the node is too slow, gossip is ignored (repair fetches what was missed)
//! and requests are answered Busy. Types of libp2p do not leave this folder.

mod announcing;
mod behaviour;
mod codec;
mod dialing;
mod directory;
mod error;
mod gossip;
mod greeting;
pub mod limits;
mod metrics;
mod owner;
mod peer;
mod requests;
mod topic;

use std::fmt;
use std::future::Future;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use ao_protocol::announcement::Role;
use ao_protocol::network::Network;
use ao_protocol::wallet::Signer;
use ao_protocol::wire::{self, Gossip, MAX_GOSSIP_BYTES, Request, Response};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

pub use directory::{Directory, Unit};
pub use error::{Mismatch, NetError};
use limits::{COMMAND_QUEUE, DIAL_TIMEOUT, EVENT_QUEUE, REQUEST_TIMEOUT, SHUTDOWN_TIMEOUT};
pub use metrics::NetMetrics;
use owner::{Command, Owner};
pub use peer::{PeerId, PeerKey};
use topic::Topic;

/// Says what is wrong with a text that should be a multiaddr.
pub fn check_multiaddr(text: &str) -> Result<(), NetError> {
    dialing::parse_multiaddr(text).map(drop)
}

/// What a node brings to the network.
#[derive(Clone)]
pub struct NetConfig {
    /// The peer key.
    pub key: PeerKey,
    /// Multiaddrs to listen on; port 0 takes any free one.
    pub listen: Vec<String>,
    /// Multiaddrs of peers to join; they are dialled for as long as they are not connected.
    pub join: Vec<String>,
    /// The network file; without one, that of the first joined peer that answers is taken.
    pub network: Option<Network>,
    /// The unit wallet, which signs announcements.
    pub wallet: Arc<dyn Signer>,
    /// What this node does for others.
    pub roles: Vec<Role>,
    /// Base URL of its HTTP listener, if others can use it.
    pub http_url: Option<String>,
    /// Whether it plays Arweave for a local network.
    pub dev_chain: bool,
    /// The gossip shards to follow, one bit each.
    pub follow_shards: u16,
    /// Whether to look for peers on the local network by mDNS.
    pub mdns: bool,
    /// Where the swarm's events are counted.
    pub metrics: NetMetrics,
}

/// What comes in. Events are dropped, with a warning, when the receiver lags far behind.
#[derive(Debug)]
pub enum NetEvent {
    /// A gossip message, which is forwarded only if [`Net::verdict`] accepts it.
    Gossip {
        /// The neighbour that sent or forwarded it.
        from: PeerId,
        /// The message: well-formed, nothing in it verified.
        gossip: Gossip,
        /// To be given back with the verdict.
        ticket: Ticket,
    },
    /// A request to answer.
    Request {
        /// Who asks.
        from: PeerId,
        /// What.
        request: Request,
        /// Takes the answer.
        reply: Reply,
    },
    /// A peer of this network is connected and may be asked.
    Connected(PeerId),
    /// That peer is gone.
    Disconnected(PeerId),
    /// This node had no network file and has the joined peer's now.
    NetworkLearned(Network),
}

/// What becomes of a gossip message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Forward it.
    Accept,
    /// Don't forward it; nobody is to blame.
    Ignore,
    /// Don't forward it; it is wrong in itself, and who forwarded it loses score.
    Reject,
}

/// Stands for one gossip message until its verdict. Dropping it ignores the message.
#[derive(Debug)]
pub struct Ticket(oneshot::Sender<Verdict>);

/// Takes the answer to one request. Dropping it answers Busy.
#[derive(Debug)]
pub struct Reply(oneshot::Sender<Response>);

impl Reply {
    /// Answers.
    pub fn send(self, response: Response) {
        // The peer may have gone meanwhile.
        let _ = self.0.send(response);
    }
}

/// A handle to the network layer.
#[derive(Clone)]
pub struct Net(Arc<Handle>);

struct Handle {
    commands: mpsc::Sender<Command>,
    directory: Directory,
    network: Arc<OnceLock<Arc<Network>>>,
    peer: PeerId,
}

impl Net {
    /// Starts the network layer; when this returns, it listens on all addresses wanted. Needs a tokio runtime.
    pub async fn start(config: NetConfig) -> Result<(Net, mpsc::Receiver<NetEvent>), NetError> {
        let (commands, command_queue) = mpsc::channel(COMMAND_QUEUE);
        let (events, event_queue) = mpsc::channel(EVENT_QUEUE);
        let owner = Owner::start(config, command_queue, events).await?;
        let handle = Handle {
            commands,
            directory: owner.directory.clone(),
            network: owner.network.clone(),
            peer: owner.own.clone(),
        };
        tokio::spawn(owner.run());
        Ok((Net(Arc::new(handle)), event_queue))
    }

    /// Publishes to everybody who follows; `shard` is the process's and counts for kinds that have shards. That nobody
    /// listens yet, or that it was published before, is no error: repair is for what was missed.
    pub async fn publish(&self, shard: u8, gossip: &Gossip) -> Result<(), NetError> {
        let topic = Topic::of(shard, gossip)?;
        let bytes = wire::encode(gossip);
        if bytes.len() > MAX_GOSSIP_BYTES {
            return Err(NetError::TooLarge { bytes: bytes.len(), limit: MAX_GOSSIP_BYTES });
        }
        self.command(|done| Command::Publish { topic, bytes, done }).await?
    }

    /// Asks a peer; answers within 10 s. A peer that is not connected is dialled where the directory says it is.
    pub async fn request(&self, peer: &PeerId, request: &Request) -> Result<Response, NetError> {
        let (peer, request) = (peer.clone(), request.clone());
        let asked = self.command(|answer| Command::Request { peer: peer.clone(), request, answer });
        within(REQUEST_TIMEOUT, &peer, asked).await?
    }

    /// Says what becomes of a gossip message.
    pub fn verdict(&self, ticket: Ticket, verdict: Verdict) {
        // The owner may have ended meanwhile.
        let _ = ticket.0.send(verdict);
    }

    /// Who is in the network.
    pub fn directory(&self) -> Directory {
        self.0.directory.clone()
    }

    /// This node's peer id.
    pub fn peer_id(&self) -> PeerId {
        self.0.peer.clone()
    }

    /// Where this node listens, each with `/p2p/` and its peer id at the end; none when the network layer has ended.
    pub async fn listen_addresses(&self) -> Vec<String> {
        self.command(Command::Listening).await.unwrap_or_default()
    }

    /// Refuses all connections with a peer and closes those there are: for partition tests.
    pub async fn block(&self, peer: &PeerId) {
        let _ = self.command(|done| Command::Block { peer: peer.clone(), blocked: true, done }).await;
    }

    /// Lets a blocked peer come back, and dials it.
    pub async fn unblock(&self, peer: &PeerId) {
        let _ = self.command(|done| Command::Block { peer: peer.clone(), blocked: false, done }).await;
    }

    /// Sets what a peer's gossip score has lost by what its unit did, until this node ends; the worst stays.
    pub async fn accuse(&self, peer: &PeerId, score: f64) {
        let _ = self.command(|done| Command::Accuse { peer: peer.clone(), score, done }).await;
    }

    /// The network file; none until it was learned.
    pub fn network(&self) -> Option<Arc<Network>> {
        self.0.network.get().cloned()
    }

    /// Connects to whoever listens at a multiaddr. Returns when greetings were exchanged: the peer may be asked then.
    pub async fn dial(&self, multiaddr: &str) -> Result<(), NetError> {
        let address = dialing::parse_multiaddr(multiaddr)?;
        let text = address.to_string();
        let dialled = self.command(|done| Command::Dial { address, done });
        match timeout(DIAL_TIMEOUT, dialled).await {
            Ok(result) => result?,
            Err(_) => {
                let cause = format!("no greeting within {} s", DIAL_TIMEOUT.as_secs());
                Err(NetError::Dial { address: text, cause })
            }
        }
    }

    /// Closes all connections and stops listening; further calls on other handles fail.
    pub async fn shutdown(self) {
        let _ = timeout(SHUTDOWN_TIMEOUT * 2, self.command(Command::Shutdown)).await;
    }

    async fn command<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Result<T, NetError> {
        let (done, result) = oneshot::channel();
        self.0.commands.send(command(done)).await.map_err(|_| NetError::Ended)?;
        result.await.map_err(|_| NetError::Ended)
    }
}

impl fmt::Debug for Net {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Net({})", self.0.peer)
    }
}

async fn within<T>(
    limit: Duration,
    peer: &PeerId,
    result: impl Future<Output = Result<T, NetError>>,
) -> Result<T, NetError> {
    let late = |_| NetError::Timeout { peer: peer.clone(), seconds: limit.as_secs() };
    timeout(limit, result).await.map_err(late)?
}
