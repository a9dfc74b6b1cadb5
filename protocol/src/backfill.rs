//! Backfill: what a log lacks because its node began with a checkpoint. It is filled in from the checkpoint downwards:
//! each slot's hash chain link and each outcome's chain prove the one before, so whoever sends them need not be
//! trusted, and at the bottom both must meet what was there before.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::assignment::first_link;
use crate::entry::Entry;
use crate::evidence;
use crate::id::Id;
use crate::log::{Batch, Log, LogError, Write};
use crate::outcome::{OutcomeRecord, first_chain};

/// What is missing of a process's log, below the slot that its node began with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hole {
    /// The first slot without entry.
    pub entries_from: u64,
    /// The first slot above the missing entries.
    pub entries_below: u64,
    /// The first slot without outcome.
    pub outcomes_from: u64,
    /// The first slot above the missing outcomes.
    pub outcomes_below: u64,
}

impl Hole {
    /// Whether nothing is missing any more.
    pub fn is_filled(&self) -> bool {
        self.entries_from >= self.entries_below && self.outcomes_from >= self.outcomes_below
    }

    /// How many entries and outcomes are missing.
    pub fn missing(&self) -> (u64, u64) {
        (self.entries_below.saturating_sub(self.entries_from), self.outcomes_below.saturating_sub(self.outcomes_from))
    }
}

/// What is wrong with what a peer sent.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum WrongFill {
    /// It is not what leads to what is known.
    #[error("slot {0} is not the one that leads to the next")]
    Link(u64),
    /// The scheduler gave slots twice, and this log was on another branch before it began with a checkpoint.
    #[error("the log below slot {0} is on another branch than the checkpoint")]
    Forked(u64),
    /// What this node computed before is not what units certified later.
    #[error("the outcomes that this node had below slot {0} are others than those that were certified")]
    Differs(u64),
}

/// Adds entries to the batch, given from the top downwards, as far as they are missing.
pub fn entries(log: &dyn Log, process: &Id, entries: Vec<Entry>) -> Result<(Batch, Result<(), WrongFill>), LogError> {
    let mut batch = Batch::new();
    let (Some(hole), Some(named)) = (log.hole(process)?, log.process(process)?) else { return Ok((batch, Ok(()))) };
    let Some(above) = log.entry(process, hole.entries_below)? else { return Ok((batch, Ok(()))) };
    let mut link = above.assignment.statement.hash_chain;
    for (slot, entry) in (hole.entries_from..hole.entries_below).rev().zip(entries) {
        let right = (entry.process(), entry.slot()) == (*process, slot)
            && entry.assignment.next_link() == link
            && entry.assignment.statement.epoch == named.epoch_at(slot)
            && entry.assignment.item.address() == named.scheduler_at(slot);
        if !right {
            return Ok((batch, Err(WrongFill::Link(slot))));
        }
        link = entry.assignment.statement.hash_chain;
        let below = match slot.checked_sub(1).filter(|_| slot == hole.entries_from) {
            Some(below) => log.entry(process, below)?,
            None => None,
        };
        if let Some(ours) = below.filter(|ours| ours.assignment.next_link() != link) {
            return Ok((batch, Err(WrongFill::Forked(ours.slot()))));
        }
        if slot == 0 && link != first_link(process) {
            return Ok((batch, Err(WrongFill::Link(0))));
        }
        batch.push(Write::Fill(Box::new(entry)));
    }
    Ok((batch, Ok(())))
}

/// The same with outcomes. Their entries have to be there.
pub fn outcomes(
    log: &dyn Log,
    process: &Id,
    records: Vec<OutcomeRecord>,
) -> Result<(Batch, Result<(), WrongFill>), LogError> {
    let mut batch = Batch::new();
    let Some(hole) = log.hole(process)? else { return Ok((batch, Ok(()))) };
    let Some(above) = log.outcome(process, hole.outcomes_below)? else { return Ok((batch, Ok(()))) };
    let mut chain = above.chain_before;
    for (slot, record) in (hole.outcomes_from..hole.outcomes_below).rev().zip(records) {
        let ours = log.entry(process, slot)?.map(|entry| entry.assignment.id());
        if record.chain() != chain || ours != Some(record.assignment) {
            return Ok((batch, Err(WrongFill::Link(slot))));
        }
        chain = record.chain_before;
        if slot == hole.outcomes_from {
            let before = match slot.checked_sub(1) {
                None => Some(first_chain(process)),
                Some(below) => log.outcome(process, below)?.map(|before| before.chain()),
            };
            if before != Some(chain) {
                return Ok((batch, Err(WrongFill::Differs(slot))));
            }
        }
        batch.push(Write::FillOutcome { process: *process, slot, record: Box::new(record) });
    }
    Ok((batch, Ok(())))
}

/// Takes back what was there below a hole, so that all of it is filled in anew: it was another branch, or other
/// outcomes than were certified since.
pub fn start_over(log: &dyn Log, process: &Id) -> Result<Batch, LogError> {
    let mut batch = Batch::new();
    if log.hole(process)?.is_some() && evidence::disputed_from(log, process)?.is_none() {
        batch.push(Write::Rewind { process: *process, from: 0, path: Vec::new() });
    }
    Ok(batch)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::{Certified, begin_with};
    use crate::id::Digest;
    use crate::log::{Durability, MemoryLog};
    use crate::repair::accept;
    use crate::sample::{Sample, plain};

    /// A log with the first slots of the sample that begins with a checkpoint of slot 7.
    fn joined(sample: &Sample, entries: u64, outcomes: u64) -> MemoryLog {
        let (log, id) = (MemoryLog::new(), sample.id());
        for slot in 0..entries {
            let mut batch = Batch::new();
            accept(&log, &mut batch, sample.log.entry(&id, slot).unwrap().unwrap()).unwrap().unwrap();
            if slot < outcomes {
                let record = Box::new(sample.log.outcome(&id, slot).unwrap().unwrap());
                batch.push(Write::Outcome { process: id, slot, record });
            }
            log.commit(batch, Durability::Relaxed).unwrap();
        }
        let (entry, record) = top(sample, 7);
        let certified = Certified {
            slot: 7,
            assignment: entry.assignment.id(),
            chain: record.chain(),
            hash: Digest::from([1; 32]),
            units: Vec::new(),
        };
        let process = log.process(&id).unwrap().unwrap();
        let (other, _) = top(sample, 6);
        assert!(begin_with(&log, &process, &certified, other, record.clone()).unwrap().is_none());
        let (_, other) = top(sample, 6);
        assert!(begin_with(&log, &process, &certified, entry.clone(), other).unwrap().is_none());
        let batch = begin_with(&log, &process, &certified, entry, record).unwrap().unwrap();
        log.commit(batch, Durability::Relaxed).unwrap();
        log
    }

    fn top(sample: &Sample, slot: u64) -> (Entry, OutcomeRecord) {
        let entry = sample.log.entry(&sample.id(), slot).unwrap().unwrap();
        (entry, sample.log.outcome(&sample.id(), slot).unwrap().unwrap())
    }

    fn sample() -> Sample {
        let sample = Sample::new(1, 10);
        sample.compute(10, plain);
        sample
    }

    #[test]
    fn a_log_that_began_with_a_checkpoint_becomes_whole_from_above() {
        let sample = sample();
        for (had, computed) in [(1, 0), (3, 2), (9, 4)] {
            let (log, id) = (joined(&sample, had, computed), sample.id());
            assert_eq!(log.tip(&id).unwrap().unwrap().slot, 7.max(had - 1));
            assert_eq!((log.computed(&id).unwrap().unwrap().slot, log.evaluated(&id).unwrap()), (7, Some(7)));
            assert_eq!(log.base(&id).unwrap(), Some(7));
            let hole = log.hole(&id).unwrap().unwrap();
            assert_eq!(hole.missing(), (7u64.saturating_sub(had), 7 - computed));
            let fill = |slots: &[u64]| {
                let given = slots.iter().map(|slot| top(&sample, *slot).0).collect();
                let (batch, done) = entries(&log, &id, given).unwrap();
                log.commit(batch, Durability::Relaxed).unwrap();
                done
            };
            if had < 7 {
                assert_eq!(fill(&[5]), Err(WrongFill::Link(6)));
                assert_eq!(fill(&[6, 5, 3]), Err(WrongFill::Link(4)), "what is right is kept");
                assert_eq!(fill(&[4, 3, 2, 1, 0]), Ok(()), "what is there already is left");
            }
            let fill = |slots: &[u64]| {
                let given = slots.iter().map(|slot| top(&sample, *slot).1).collect();
                let (batch, done) = outcomes(&log, &id, given).unwrap();
                log.commit(batch, Durability::Relaxed).unwrap();
                done
            };
            assert_eq!(fill(&[5]), Err(WrongFill::Link(6)));
            assert_eq!(fill(&[6, 5, 4]), Ok(()));
            assert!(computed == 4 || log.hole(&id).unwrap().is_some());
            assert_eq!(fill(&[3, 2, 1, 0]), Ok(()));
            assert_eq!(log.hole(&id).unwrap(), None);
            for slot in 0..=7 {
                assert_eq!(log.entry_bytes(&id, slot).unwrap(), sample.log.entry_bytes(&id, slot).unwrap());
                assert_eq!(log.outcome(&id, slot).unwrap(), sample.log.outcome(&id, slot).unwrap());
            }
            let item = top(&sample, 5).0.item.id();
            assert_eq!(log.slot_of_item(&id, &item).unwrap(), Some(5));
            let mut batch = Batch::new();
            let next = log.tip(&id).unwrap().unwrap().slot + 1;
            accept(&log, &mut batch, top(&sample, next).0).unwrap().unwrap();
            assert_eq!(batch.len(), 1, "it goes on");
        }
    }

    #[test]
    fn what_does_not_meet_what_was_there_is_noticed() {
        let (sample, id) = (sample(), sample().id());
        let log = joined(&sample, 3, 2);
        let (mut batch, record) = (Batch::new(), top(&sample, 1).1);
        let other = OutcomeRecord { chain_before: Digest::from([5; 32]), ..record };
        batch.push(Write::Outcome { process: id, slot: 1, record: Box::new(other) });
        batch.push(Write::Outcome { process: id, slot: 7, record: Box::new(top(&sample, 7).1) });
        log.commit(batch, Durability::Relaxed).unwrap();
        let (batch, done) = entries(&log, &id, (3..7).rev().map(|slot| top(&sample, slot).0).collect()).unwrap();
        assert_eq!(done, Ok(()));
        log.commit(batch, Durability::Relaxed).unwrap();
        let records = (2..7).rev().map(|slot| top(&sample, slot).1).collect();
        assert_eq!(outcomes(&log, &id, records).unwrap().1, Err(WrongFill::Differs(2)));
        log.commit(start_over(&log, &id).unwrap(), Durability::Relaxed).unwrap();
        assert_eq!((log.tip(&id).unwrap(), log.hole(&id).unwrap(), log.base(&id).unwrap()), (None, None, None));
    }
}
