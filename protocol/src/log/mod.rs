//! The log: every process's slots in order, what came of them, and how far each follower got. It is the meeting place
//! of all roles and the database of record; outcomes, indexes and deliveries can be made again from the entries.
//!
//! A rule reads a [`Log`] and returns a [`Batch`]; a driver joins batches and commits them. What must not be lost is
//! committed with [`Durability::Synced`] before anybody is told.

mod batch;
mod dead_letter;
pub mod laws;
mod memory;

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::attestation::{Attestation, Seen};
use crate::backfill::Hole;
use crate::dissent::{Dissent, Perjury};
use crate::entry::Entry;
use crate::id::{Address, Digest, Id};
use crate::item::VerifiedItem;
use crate::origin::DeliveryId;
use crate::outcome::OutcomeRecord;
use crate::process::{Process, ProcessError};
use crate::race::Account;
use crate::resume::Resumption;
use crate::wire::{EntryBytes, ItemBytes};

pub use batch::{Batch, Write};
pub use dead_letter::DeadLetter;
pub use memory::MemoryLog;

/// The highest slot of a process and what the next one must continue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tip {
    /// The highest slot.
    pub slot: u64,
    /// The assignment in it.
    pub assignment: Id,
    /// The hash chain link that slot + 1 must carry.
    pub next_link: Digest,
    /// Its timestamp in milliseconds; the next may not be lower.
    pub timestamp_ms: u64,
}

impl Tip {
    /// The tip after this entry.
    pub fn after(entry: &Entry) -> Tip {
        Tip {
            slot: entry.slot(),
            assignment: entry.assignment.id(),
            next_link: entry.assignment.next_link(),
            timestamp_ms: entry.assignment.statement.timestamp_ms,
        }
    }
}

/// How far a process's outcomes are known: all slots up to this one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Computed {
    /// The highest slot with an outcome.
    pub slot: u64,
    /// The outcome chain after it.
    pub chain: Digest,
    /// The assignment in that slot.
    pub assignment: Id,
}

impl Computed {
    /// After the outcome of a slot.
    pub fn after(slot: u64, record: &OutcomeRecord) -> Computed {
        Computed { slot, chain: record.chain(), assignment: record.assignment }
    }
}

/// A slot that something got.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The process that received it: the target, or the child of a spawn.
    pub process: Id,
    /// Its slot there.
    pub slot: u64,
    /// The assignment that says so.
    pub assignment: Id,
}

/// What became of an outbox entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DeliveryState {
    /// To be submitted, again and again until it is settled.
    Pending,
    /// It has its slot.
    Scheduled(Place),
    /// The target is a wallet, or no process that anybody knows yet.
    NoProcess,
    /// It can never be scheduled.
    Dead {
        /// Why.
        reason: String,
    },
}

/// An outbox entry on its way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// Which entry, to whom.
    pub id: DeliveryId,
    /// The signed item that is submitted, the same at every attempt; none when the entry makes no item.
    pub item: Option<ItemBytes>,
    /// Distance from the user's message that started it.
    pub depth: u32,
    /// What became of it.
    pub state: DeliveryState,
}

/// Whether a commit is on disk when it returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Written and fsynced: slots, a messenger's accepted work, evidence.
    Synced,
    /// Written; a crash of the machine may lose it, for it can be fetched or computed again. Never out of order.
    Relaxed,
}

/// Why the log can't be read or written. All of these are conditions of the machine, not of what was asked.
#[derive(Debug, Error)]
pub enum LogError {
    /// The database failed.
    #[error("the log's database failed: {0}")]
    Database(String),
    /// There is no room to write. It passes when there is room again.
    #[error("the disk is full: {0}")]
    Full(String),
    /// A stored record can't be read back.
    #[error("the log is damaged: {record} of {key}: {cause}")]
    Damaged {
        /// Which kind of record.
        record: &'static str,
        /// Whose.
        key: String,
        /// What is wrong with it.
        cause: String,
    },
}

/// A limit on what one read may return.
pub const MAX_PAGE: usize = 1000;

/// Reads and atomic writes. Implementations hold no rules: what is written was checked by who wrote it. Its laws are
/// in [`laws`]. Pages hold at most [`MAX_PAGE`] things.
pub trait Log: Send + Sync {
    /// Writes all of a batch or nothing.
    fn commit(&self, batch: Batch, durability: Durability) -> Result<(), LogError>;

    /// The highest slot of a process; none for one that is not known.
    fn tip(&self, process: &Id) -> Result<Option<Tip>, LogError>;
    /// The processes with ids above `after` and their tips, in id order.
    fn tips(&self, after: Option<&Id>, limit: usize) -> Result<Vec<(Id, Tip)>, LogError>;
    /// One slot, as bytes.
    fn entry_bytes(&self, process: &Id, slot: u64) -> Result<Option<EntryBytes>, LogError>;
    /// The slot that assigned an item in a process.
    fn slot_of_item(&self, process: &Id, item: &Id) -> Result<Option<u64>, LogError>;
    /// Process and slot that an outbox entry was scheduled in.
    fn slot_of_delivery(&self, delivery: &DeliveryId) -> Result<Option<(Id, u64)>, LogError>;
    /// Where the last firing of a cron is in its row; see [`crate::cron::Firing::at`].
    fn fired(&self, process: &Id, cron: &str) -> Result<Option<u64>, LogError>;
    /// The slots from `from` on that are firings of crons, in order, at most a page.
    fn firings(&self, process: &Id, from: u64, limit: usize) -> Result<Vec<u64>, LogError>;
    /// How many slots this node's scheduler gave to what a message, or a cron's firing, started, and what processes of
    /// one scheduler sent.
    fn pushed(&self, root: &Id, by: &Address) -> Result<u64, LogError>;
    /// An item by id, whether it has a slot or not.
    fn item(&self, id: &Id) -> Result<Option<VerifiedItem>, LogError>;

    /// How far the outcomes of a process are known.
    fn computed(&self, process: &Id) -> Result<Option<Computed>, LogError>;
    /// The outcome of a slot.
    fn outcome(&self, process: &Id, slot: u64) -> Result<Option<OutcomeRecord>, LogError>;
    /// The highest slot that this node evaluated itself: all up to there.
    fn evaluated(&self, process: &Id) -> Result<Option<u64>, LogError>;

    /// The slot whose checkpoint this node began with, if it did.
    fn base(&self, process: &Id) -> Result<Option<u64>, LogError>;
    /// What is missing below that.
    fn hole(&self, process: &Id) -> Result<Option<Hole>, LogError>;
    /// The hash of the state after a slot, where this node rebuilt it.
    fn rebuilt(&self, process: &Id, slot: u64) -> Result<Option<Digest>, LogError>;
    /// The highest slot up to this one at which this node rebuilt the state, and its hash.
    fn last_rebuilt(&self, process: &Id, until: u64) -> Result<Option<(u64, Digest)>, LogError>;
    /// What units attested of the state after a slot, in the order of their addresses.
    fn checkpoints(&self, process: &Id, slot: u64) -> Result<Vec<Attestation>, LogError>;
    /// The highest slot up to this one of which some unit attested the state.
    fn last_checkpoint(&self, process: &Id, until: u64) -> Result<Option<u64>, LogError>;

    /// A unit's attestation that ends at a slot.
    fn attestation(&self, process: &Id, unit: &Address, slot: u64) -> Result<Option<Seen>, LogError>;
    /// A unit's attestation that ends at the lowest slot from `from` on.
    fn next_attestation(&self, process: &Id, unit: &Address, from: u64) -> Result<Option<Seen>, LogError>;
    /// A unit's attestation that ends at the highest slot up to `until`.
    fn last_attestation(&self, process: &Id, unit: &Address, until: u64) -> Result<Option<Seen>, LogError>;
    /// What units attested of a process that is known to be wrong, one for each unit, in the order of their addresses.
    fn dissents(&self, process: &Id) -> Result<Vec<Dissent>, LogError>;
    /// The proof that a unit lies, if there is one.
    fn perjury(&self, unit: &Address) -> Result<Option<Perjury>, LogError>;
    /// The next slot of a process whose race is to be credited.
    fn credited(&self, process: &Id) -> Result<u64, LogError>;
    /// What a unit did in all races.
    fn race_account(&self, unit: &Address) -> Result<Account, LogError>;

    /// The next slot of a process whose outbox this node's messenger has not settled; 0 when it never looked.
    fn delivered(&self, process: &Id) -> Result<u64, LogError>;
    /// The deliveries of a slot's outbox, in order.
    fn deliveries(&self, process: &Id, slot: u64) -> Result<Vec<Delivery>, LogError>;

    /// An outbox entry on its way, or settled.
    fn delivery(&self, id: &DeliveryId) -> Result<Option<Delivery>, LogError>;
    /// Targets above `after` that entries in state [`DeliveryState::NoProcess`] wait for, in order, at most a page.
    fn waited_for(&self, after: Option<&Id>, limit: usize) -> Result<Vec<Id>, LogError>;
    /// The entries above `after` that wait for a target to become a process, in the order of their ids, at most a page.
    fn waiting(&self, target: &Id, after: Option<&DeliveryId>) -> Result<Vec<DeliveryId>, LogError>;
    /// The dead letters above `after`, of one process or of all, in the order of their ids, at most a page.
    fn dead(&self, process: Option<&Id>, after: Option<&DeliveryId>, limit: usize)
    -> Result<Vec<DeadLetter>, LogError>;
    /// Two assignments of one slot, if such evidence against the process's scheduler is known.
    fn evidence(&self, process: &Id) -> Result<Option<(EntryBytes, EntryBytes)>, LogError>;

    /// How a process was resumed.
    fn resumption(&self, process: &Id) -> Result<Resumption, LogError>;
    /// The only assignment that may be in a slot, where the branch is known on which its process goes on.
    fn on_branch(&self, process: &Id, slot: u64) -> Result<Option<Id>, LogError>;
    /// How often slots of any process were taken back since this log was opened.
    fn rewound(&self) -> u64;

    /// A process as its slot 0 describes it, and how it was resumed; none for one that is not known. Often asked for:
    /// implementations keep what they read.
    fn process(&self, process: &Id) -> Result<Option<Arc<Process>>, LogError>;

    /// The same, read from slot 0.
    fn read_process(&self, process: &Id) -> Result<Option<Arc<Process>>, LogError> {
        let Some(first) = self.entry(process, 0)? else { return Ok(None) };
        let damaged = |cause: ProcessError| LogError::Damaged {
            record: "process",
            key: process.to_string(),
            cause: cause.to_string(),
        };
        let read = Process::read_with(&first.item, &self.resumption(process)?);
        read.map(|process| Some(Arc::new(process))).map_err(damaged)
    }

    /// Where an outbox entry was scheduled, if it is what the slot sends whose assignment this is. A
    /// slot that was given anew sends something else.
    fn scheduled(&self, delivery: &DeliveryId, sent_by: &Id) -> Result<Option<Place>, LogError> {
        let Some((process, slot)) = self.slot_of_delivery(delivery)? else { return Ok(None) };
        let entry = self.entry(&process, slot)?;
        let same = entry.filter(|entry| entry.assignment.statement.sent_by == Some(*sent_by));
        Ok(same.map(|entry| Place { process, slot, assignment: entry.assignment.id() }))
    }

    /// One slot, read.
    fn entry(&self, process: &Id, slot: u64) -> Result<Option<Entry>, LogError> {
        let Some(bytes) = self.entry_bytes(process, slot)? else { return Ok(None) };
        let damaged = |cause: String| LogError::Damaged { record: "entry", key: format!("{process}/{slot}"), cause };
        Entry::from_own_store(&bytes).map(Some).map_err(|cause| damaged(cause.to_string()))
    }
}
