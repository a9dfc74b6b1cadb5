//! Evidence of equivocation: two different assignments of one slot, both signed by the process's scheduler. It holds
//! the assignments only; their items do not matter, and it stays small.

use thiserror::Error;

use crate::assignment::Assignment;
use crate::entry::Entry;
use crate::id::Id;
use crate::item::{DataItem, VerifiedItem};
use crate::log::{Batch, Log, LogError, Write};
use crate::process::Process;
use crate::resume;
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
    between_assignments(&ours.assignment, &theirs.assignment)
}

/// The same for two assignments.
pub(crate) fn between_assignments(ours: &Assignment, theirs: &Assignment) -> Write {
    Write::Evidence { process: ours.statement.process, entries: Box::new((bare(ours), bare(theirs))) }
}

/// Checks evidence that a peer sent and adds it to the batch. None when it tells nothing new, when it was settled by a
/// resume, or when the process is not known here, so that it can't be judged.
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
    let Some(Ok(spawn)) = batch.process(log, &process)? else { return Ok(Ok(None)) };
    if epoch != spawn.epoch_at(slot) || is_settled(log, &spawn, slot)? {
        return Ok(Ok(None));
    }
    if [&one, &other].iter().any(|assignment| assignment.item.address() != spawn.scheduler_at(slot)) {
        return Ok(Err(NoEvidence::Signer { process, slot }));
    }
    if disputed_by_evidence(log, &process)?.is_some_and(|known| known <= slot) {
        return Ok(Ok(None));
    }
    batch.push(between_assignments(&one, &other));
    Ok(Ok(Some(Contradiction { process, slot })))
}

/// Whether the owner's word says what is in a slot, and this log has it.
pub(crate) fn is_settled(log: &dyn Log, process: &Process, slot: u64) -> Result<bool, LogError> {
    Ok(process.resumes.last().is_some_and(|last| slot <= last.slot) && resume::unsettled(log, process)?.is_none())
}

/// The slot that an assignment of evidence is about; none when it can't be read.
pub fn slot(entry: &EntryBytes) -> Option<u64> {
    let item = VerifiedItem::from_own_store(entry.assignment.0.clone()).ok()?;
    Some(Assignment::read(item).ok()?.statement.slot)
}

/// The slot that is known to have been given twice, if one is.
pub(crate) fn disputed_by_evidence(log: &dyn Log, process: &Id) -> Result<Option<u64>, LogError> {
    let Some((ours, _)) = log.evidence(process)? else { return Ok(None) };
    let damaged = || LogError::Damaged {
        record: "evidence",
        key: process.to_string(),
        cause: "its assignment can't be read".into(),
    };
    slot(&ours).ok_or_else(damaged).map(Some)
}

/// The slot from which on a process is disputed, if it is: its scheduler gave it twice, or its owner resumed it on a
/// branch that this log does not have yet. From there on nothing is computed, delivered or called final.
pub fn disputed_from(log: &dyn Log, process: &Id) -> Result<Option<u64>, LogError> {
    let unsure = match log.process(process)? {
        Some(process) if !process.resumes.is_empty() => resume::unsure_from(log, &process)?,
        _ => None,
    };
    let evidence = match (disputed_by_evidence(log, process)?, log.process(process)?) {
        (Some(slot), Some(process)) if is_settled(log, &process, slot)? => None,
        (evidence, _) => evidence,
    };
    Ok(evidence.into_iter().chain(unsure).min())
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
            sent_by: None,
            assign: None,
            certificate: None,
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
