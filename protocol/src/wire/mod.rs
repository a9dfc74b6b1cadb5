//! What nodes say to each other: gossip, requests and responses. Our own format (bincode behind a version byte),
//! never seen by ao's clients. Whatever is signed travels as its signed bytes and is verified by whoever receives it.

mod framing;

use serde::{Deserialize, Serialize};

use crate::attested::AttestedBytes;
use crate::certificate::Certificate;
use crate::dissent::Perjury;
use crate::id::{Address, Digest, Id};
use crate::outcome::OutcomeRecord;
use crate::scheduler::Refusal;

pub use framing::{FrameError, VERSION, decode, decode_bare, encode, encode_bare};

/// Largest gossip message in bytes; larger bodies are asked for by request.
pub const MAX_GOSSIP_BYTES: usize = 64 * 1024;
/// A scheduler's batch of entries is gossiped whole up to this many bytes, else as bare assignments.
pub const MAX_GOSSIP_BATCH_BYTES: usize = 32 * 1024;
/// Largest request in bytes: one item of the maximum size and room for its proof.
pub const MAX_REQUEST_BYTES: usize = 12 * 1024 * 1024;
/// Largest response in bytes: one item of the maximum size and room for its proof.
pub const MAX_RESPONSE_BYTES: usize = 12 * 1024 * 1024;
/// A response with a range of entries ends before it exceeds this many bytes (one entry always fits).
pub const MAX_RANGE_BYTES: usize = 1024 * 1024;
/// Most entries in one range response.
pub const MAX_RANGE_ENTRIES: usize = 1000;
/// Most outcomes in one response.
pub const MAX_OUTCOMES: usize = 512;
/// Most tips in one response.
pub const MAX_TIPS: usize = 1000;
/// Most attestations of one unit in a response, beside its newest.
pub const MAX_ATTESTATIONS: usize = 16;
/// Most submissions in one request.
pub const MAX_SUBMISSIONS: usize = 64;
/// Gossip is sharded by process id into this many topics per kind.
pub const SHARDS: u8 = 16;

/// The shard of a process: the low four bits of its id's first byte.
pub fn shard(process: &Id) -> u8 {
    process.as_ref().first().copied().unwrap_or(0) % SHARDS
}

/// The signed bytes of an ANS-104 item, not yet verified by the receiver.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ItemBytes(pub Vec<u8>);

impl std::fmt::Debug for ItemBytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ItemBytes({} bytes)", self.0.len())
    }
}

/// One slot of a process as it travels: the scheduler's assignment, the item it assigns (absent for a process that
/// is assigned an item from elsewhere, and in gossip when it is large), and the proof of its origin if any.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryBytes {
    /// The signed assignment.
    pub assignment: ItemBytes,
    /// The assigned item.
    pub item: Option<ItemBytes>,
    /// What proves the origin of an assignment without item of its own.
    pub proof: Option<ItemBytes>,
    /// What proves that a process which asks for a quorum sent it.
    pub certificate: Option<Box<Certificate>>,
}

impl EntryBytes {
    /// Bytes of all parts together.
    pub fn len(&self) -> usize {
        let part = |item: &Option<ItemBytes>| item.as_ref().map_or(0, |item| item.0.len());
        let certificate = self.certificate.as_ref().map_or(0, |certificate| certificate.size());
        self.assignment.0.len() + part(&self.item) + part(&self.proof) + certificate
    }

    /// Whether all parts are empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// How far a log has a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TipBytes {
    /// Which process.
    pub process: Id,
    /// Its highest slot.
    pub slot: u64,
    /// The epoch of the next one: higher when its owner resumed it since.
    pub epoch: u64,
}

/// What is published to everybody who follows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Gossip {
    /// A user's item that a messenger accepted, on its way to its scheduler.
    Message {
        /// The messenger that accepted it.
        messenger: Address,
        /// The user's item.
        item: ItemBytes,
    },
    /// New log entries of one process, in slot order.
    Entries(Vec<EntryBytes>),
    /// Attestations of processes of one shard.
    Attestations(Vec<AttestedBytes>),
    /// Commits to attestations that come later, of processes of one shard; see [`crate::commit`].
    Commits(Vec<Vec<u8>>),
    /// The proof that a compute unit lies.
    Perjury(Perjury),
    /// Its owner's word on how a process goes on; see [`crate::resume`].
    Resume(ItemBytes),
    /// Two different assignments of one slot by its scheduler.
    Evidence(EntryBytes, EntryBytes),
    /// Who a node is: an item that [`crate::announcement`] reads.
    Announcement(ItemBytes),
    /// An item without a slot: a module, an upload, a Scheduler-Location.
    Item(ItemBytes),
}

/// What a messenger asks a scheduler to give a slot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubmissionBytes {
    /// A message or process item; or an item of type `Assign` by a messenger, which gives an item that exists
    /// elsewhere a slot of this process.
    pub item: ItemBytes,
    /// The messenger that submits it and will deliver what the process sends in answer; for what a process sent it does
    /// not matter: whoever signed it will.
    pub messenger: Address,
    /// What proves that a process which asks for a quorum sent it.
    pub certificate: Option<Box<Certificate>>,
}

/// A call of the HTTP API that a node passes on, because it does not do itself what is asked for. Only what changes
/// nothing is passed on this way, and only once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    /// Path and query, such as `/cu/results/{process}?limit=1`.
    pub path: String,
    /// The body of a POST; none: a GET.
    pub body: Option<Vec<u8>>,
}

/// What a passed-on call came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// HTTP's status code.
    pub status: u16,
    /// Its `Content-Type`.
    pub kind: String,
    /// Its body.
    pub body: Vec<u8>,
}

/// A request to one peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// The first words on a connection.
    Hello {
        /// Hash of the network file that the sender lives by; none when it wants to learn it.
        network: Option<Digest>,
        /// The sender's own announcement.
        announcement: Option<ItemBytes>,
    },
    /// Give these items slots, in this order; at most [`MAX_SUBMISSIONS`].
    Submit(Vec<SubmissionBytes>),
    /// The tips of the processes with ids above `after`, in id order.
    Tips {
        /// Exclusive lower bound.
        after: Option<Id>,
    },
    /// Entries of a process from a slot on, in order.
    Range {
        /// Which process.
        process: Id,
        /// First slot wanted.
        from: u64,
    },
    /// Entries of a process below a slot, from there downwards.
    Below {
        /// Which process.
        process: Id,
        /// The first slot that is not wanted.
        below: u64,
        /// Most that are wanted.
        most: u32,
        /// Whether the assignments alone are wanted.
        bare: bool,
    },
    /// Outcomes of a process below a slot, from there downwards.
    OutcomesBelow {
        /// Which process.
        process: Id,
        /// The first slot that is not wanted.
        below: u64,
    },
    /// How the owner of a process resumed it.
    Resumes(Id),
    /// What units attested of the newest checkpoints of a process.
    Checkpoints(Id),
    /// The manifest of a checkpoint, or one of its pieces; see [`crate::checkpoint`].
    Checkpoint {
        /// Which process.
        process: Id,
        /// After which slot.
        slot: u64,
        /// Which piece; none: the manifest.
        piece: Option<u32>,
    },
    /// An item by id, wherever it is kept (in a slot or without one).
    Item(Id),
    /// Outcomes of consecutive slots, each with the chain before it.
    Outcomes {
        /// Which process.
        process: Id,
        /// First slot wanted.
        from: u64,
        /// Last slot wanted.
        to: u64,
    },
    /// Of each unit that the process trusts the attestations from a slot on, and its newest.
    Attestations {
        /// Which process.
        process: Id,
        /// First slot of interest.
        from: u64,
    },
    /// Answer this call of the HTTP API.
    Call(Call),
    /// The newest Scheduler-Location of a scheduler, best asked of itself.
    Location(Address),
    /// The piece of an Arweave transaction's data that holds a byte.
    Data {
        /// The merkle root over the data.
        root: Digest,
        /// Its bytes.
        size: u64,
        /// The byte.
        offset: u64,
    },
}

/// A piece of data with the proof of its place; see [`crate::transaction::chunks`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataPiece {
    /// The proof.
    pub proof: Vec<u8>,
    /// The bytes.
    pub bytes: Vec<u8>,
}

/// The answer to a [`Request`] of the same name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Response {
    /// Answer to `Hello`.
    Hello {
        /// The network file of the answering node, as JSON.
        network: String,
        /// Announcements it knows, its own first.
        announcements: Vec<ItemBytes>,
    },
    /// Answer to `Submit`: one for each, in order; what follows a temporary refusal is refused temporarily too.
    Receipts(Vec<Result<ItemBytes, Refusal>>),
    /// Answer to `Tips`: at most [`MAX_TIPS`].
    Tips(Vec<TipBytes>),
    /// Answer to `Range` and `Below`: at most [`MAX_RANGE_ENTRIES`] entries and about [`MAX_RANGE_BYTES`] bytes.
    Range(Vec<EntryBytes>),
    /// Answer to `Item` and `Location`.
    Item(Option<ItemBytes>),
    /// Answer to `Resumes`: those that count.
    Resumes(Vec<ItemBytes>),
    /// Answer to `Checkpoint`; none when it is not here.
    Checkpoint(Option<Vec<u8>>),
    /// Answer to `Outcomes` and `OutcomesBelow`: from the first one wanted, as many as are known here and fit.
    Outcomes(Vec<OutcomeRecord>),
    /// Answer to `Attestations` and `Checkpoints`: of each unit at most [`MAX_ATTESTATIONS`] from that slot on, and its
    /// newest.
    Attestations {
        /// As [`crate::attestation::Attestation::to_bytes`] makes them.
        attestations: Vec<Vec<u8>>,
        /// Proofs against some of these units.
        perjuries: Vec<Perjury>,
    },
    /// Answer to `Call`.
    Answer(Answer),
    /// Answer to `Data`; none when it is not here.
    Data(Option<DataPiece>),
    /// The request is not served now; the text says why.
    Busy(String),
}
