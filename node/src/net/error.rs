//! What can go wrong between peers, and what a caller may conclude from it.

use ao_protocol::id::Digest;
use thiserror::Error;

use super::peer::PeerId;

/// A peer and its network, which is not ours.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("peer {peer} belongs to another network: its network file has the hash {theirs}, this node's {ours}")]
pub struct Mismatch {
    /// Which peer.
    pub peer: PeerId,
    /// The hash of this node's network file.
    pub ours: Digest,
    /// The hash of the peer's.
    pub theirs: Digest,
}

/// Why something between peers did not work.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NetError {
    /// A text is no multiaddr.
    #[error(
        "{text:?} is no multiaddr: {cause}; expected something like /ip4/192.0.2.1/tcp/4001 or /ip4/192.0.2.1/udp/4001/quic-v1, with /p2p/PEER at the end if the peer is known"
    )]
    Multiaddr {
        /// The text.
        text: String,
        /// What is wrong with it.
        cause: String,
    },
    /// A text is no peer id.
    #[error("{text:?} is no peer id: {cause}")]
    PeerId {
        /// The text.
        text: String,
        /// What is wrong with it.
        cause: String,
    },
    /// The peer key can't be read or made.
    #[error("peer key {path}: {cause}")]
    Key {
        /// The key file.
        path: String,
        /// What went wrong.
        cause: String,
    },
    /// This node can't listen where it should.
    #[error("can't listen on {address}: {cause}; choose another address, or port 0 for any free one")]
    Listen {
        /// Where.
        address: String,
        /// What went wrong.
        cause: String,
    },
    /// The network layer could not be put together.
    #[error("the network layer can't start: {0}")]
    Setup(String),
    /// A peer could not be reached: the request was not sent.
    #[error("peer {peer} can't be reached: {cause}")]
    Unreachable {
        /// Which peer.
        peer: PeerId,
        /// What went wrong.
        cause: String,
    },
    /// Nobody suitable answers at an address.
    #[error("nobody can be reached at {address}: {cause}")]
    Dial {
        /// The address.
        address: String,
        /// What went wrong.
        cause: String,
    },
    /// The peer lives by another network file.
    #[error("{0}")]
    OtherNetwork(Box<Mismatch>),
    /// No answer in time. It is not known whether the peer handled the request.
    #[error("peer {peer} did not answer within {seconds} s; whether it handled the request is not known")]
    Timeout {
        /// Which peer.
        peer: PeerId,
        /// How long it was waited for.
        seconds: u64,
    },
    /// The connection broke. It is not known whether the peer handled the request.
    #[error("the exchange with peer {peer} broke off: {cause}; whether it handled the request is not known")]
    Broken {
        /// Which peer.
        peer: PeerId,
        /// What went wrong.
        cause: String,
    },
    /// Too many requests wait already: this one was not sent.
    #[error("{waiting} requests wait for peer {peer} already; try again later")]
    Crowded {
        /// Which peer.
        peer: PeerId,
        /// How many wait.
        waiting: usize,
    },
    /// The gossip message is too large.
    #[error("a gossip message of {bytes} bytes is too large; at most {limit} are allowed")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The most that is allowed.
        limit: usize,
    },
    /// There is no such shard.
    #[error("there is no gossip shard {0}")]
    Shard(u8),
    /// The network layer has ended.
    #[error("the network layer of this node has ended")]
    Ended,
}
