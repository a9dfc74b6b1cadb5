//! Evidence of equivocation: two different assignments of one slot, both signed by the process's scheduler. It holds
//! the assignments only; their items do not matter, and it stays small.

use thiserror::Error;

use crate::assignment::Assignment;
use crate::entry::Entry;
use crate::id::Id;
use crate::item::{DataItem, VerifiedItem};
use crate::log::{Batch, Log, LogError, Write};
use crate::process::Process;
use crate::wire::{EntryBytes, ItemBytes};

/// Why two assignments are no evidence.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum NoEvidence {
    /// One of them can't be verified.
    #[error("an assignment can't be verified: {0}")]
    Unverified(String),
    /// They do not contradict each other.
    #[error("these are not two assignments of one slot")]
    NoContradiction,
    /// Somebody else signed one of them.
    #[error("slot {slot} of {process}: not both assignments are signed by its scheduler")]
    Signer {
        /// Which process.
        process: Id,
        /// Which slot.
        slot: u64,
    },
}

/// A contradiction that was shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contradiction {
    /// The process.
    pub process: Id,
    /// The slot that its scheduler gave twice.
    pub slot: u64,
}

/// An assignment without its item, as it is kept and gossiped.
fn bare(assignment: &Assignment) -> EntryBytes {
    EntryBytes { assignment: ItemBytes(assignment.item.bytes().to_vec()), item: None, proof: None, certificate: None }
}

/// The write for two entries of one slot that are known to contradict each other.
pub fn between(ours: &Entry, theirs: &Entry) -> Write {
    let entries = Box::new((bare(&ours.assignment), bare(&theirs.assignment)));
    Write::Evidence { process: ours.process(), entries }
}

/// Checks evidence that a peer sent and adds it to the batch. None when it tells nothing new, or when the process is
/// not known here, so that it can't be judged.
pub fn accept(
    log: &dyn Log,
    batch: &mut Batch,
    pair: &(EntryBytes, EntryBytes),
) -> Result<Result<Option<Contradiction>, NoEvidence>, LogError> {
    let verify = |bytes: &EntryBytes| {
        let item = DataItem::decode(bytes.assignment.0.clone()).and_then(DataItem::verify);
        let item = item.map_err(|cause| NoEvidence::Unverified(cause.to_string()))?;
        Assignment::read(item).map_err(|cause| NoEvidence::Unverified(cause.to_string()))
    };
    let (one, other) = match (verify(&pair.0), verify(&pair.1)) {
        (Ok(one), Ok(other)) => (one, other),
        (Err(cause), _) | (_, Err(cause)) => return Ok(Err(cause)),
    };
    let (process, slot, epoch) = (one.statement.process, one.statement.slot, one.statement.epoch);
    let same = (other.statement.process, other.statement.slot, other.statement.epoch) == (process, slot, epoch);
    if !same || one.id() == other.id() {
        return Ok(Err(NoEvidence::NoContradiction));
    }
    let Some(spawn) = batch.process_item(log, &process)? else { return Ok(Ok(None)) };
    let scheduler = Process::read(&spawn).map(|process| process.scheduler).ok();
    if [&one, &other].iter().any(|assignment| Some(assignment.item.address()) != scheduler) {
        return Ok(Err(NoEvidence::Signer { process, slot }));
    }
    if log.evidence(&process)?.is_some() {
        return Ok(Ok(None));
    }
    batch.push(Write::Evidence { process, entries: Box::new((bare(&one), bare(&other))) });
    Ok(Ok(Some(Contradiction { process, slot })))
}

/// The slot from which on a process is disputed, if it is.
pub fn disputed_from(log: &dyn Log, process: &Id) -> Result<Option<u64>, LogError> {
    let Some((ours, _)) = log.evidence(process)? else { return Ok(None) };
    let read = VerifiedItem::from_own_store(ours.assignment.0).map_err(|cause| cause.to_string());
    let assignment = read.and_then(|item| Assignment::read(item).map_err(|cause| cause.to_string()));
    let damaged = |cause| LogError::Damaged { record: "evidence", key: process.to_string(), cause };
    assignment.map(|assignment| Some(assignment.statement.slot)).map_err(damaged)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::assignment::{Statement, first_link};
    use crate::item::ItemBuilder;
    use crate::log::{Durability, MemoryLog};
    use crate::wallet::{Signer, Wallet};

    fn unit(n: u8) -> Wallet {
        Wallet::ed25519_from_seed([n; 32])
    }

    fn spawn() -> VerifiedItem {
        let item = ItemBuilder::new()
            .tag("Type", "Process")
            .tag("Module", Id::from([9; 32]).to_string())
            .tag("Scheduler", unit(1).address().to_string());
        item.sign(&unit(2)).unwrap()
    }

    fn assignment(slot: u64, time: u64, signer: &Wallet) -> Assignment {
        let process = spawn().id();
        let statement = Statement {
            process,
            epoch: 0,
            slot,
            hash_chain: first_link(&process),
            block_height: 0,
            timestamp_ms: time,
            message: (slot > 0).then(|| Id::from([slot as u8; 32])),
            messenger: None,
            depth: 0,
            root: None,
            origin: None,
            authorities: Vec::new(),
            cron: None,
        };
        statement.sign(signer).unwrap()
    }

    fn log() -> MemoryLog {
        let log = MemoryLog::new();
        let mut batch = Batch::new();
        batch.push(Write::Entry(Box::new(Entry {
            assignment: assignment(0, 1, &unit(1)),
            item: spawn(),
            proof: None,
            certificate: None,
        })));
        log.commit(batch, Durability::Synced).unwrap();
        log
    }

    fn try_with(log: &MemoryLog, one: &Assignment, other: &Assignment) -> Result<Option<Contradiction>, NoEvidence> {
        let mut batch = Batch::new();
        let found = accept(log, &mut batch, &(bare(one), bare(other))).unwrap();
        log.commit(batch, Durability::Synced).unwrap();
        found
    }

    #[test]
    fn only_two_different_words_of_the_scheduler_are_evidence() {
        let log = log();
        let process = spawn().id();
        let ours = assignment(3, 10, &unit(1));
        let signer = Err(NoEvidence::Signer { process, slot: 3 });
        assert_eq!(try_with(&log, &ours, &ours), Err(NoEvidence::NoContradiction));
        assert_eq!(try_with(&log, &ours, &assignment(4, 10, &unit(1))), Err(NoEvidence::NoContradiction));
        assert_eq!(try_with(&log, &ours, &assignment(3, 10, &unit(5))), signer);
        let garbage =
            EntryBytes { assignment: ItemBytes(b"garbage".to_vec()), item: None, proof: None, certificate: None };
        let found = accept(&log, &mut Batch::new(), &(bare(&ours), garbage)).unwrap();
        assert!(matches!(found, Err(NoEvidence::Unverified(_))));
        assert_eq!(disputed_from(&log, &process).unwrap(), None);

        let other = assignment(3, 11, &unit(1));
        assert_eq!(try_with(&MemoryLog::new(), &ours, &other), Ok(None), "an unknown process can't be judged");
        assert_eq!(try_with(&log, &ours, &other), Ok(Some(Contradiction { process, slot: 3 })));
        assert_eq!(try_with(&log, &ours, &other), Ok(None), "and only once");
        assert_eq!(disputed_from(&log, &process).unwrap(), Some(3));
    }
}
