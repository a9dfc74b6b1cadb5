//! Branches of a log, where a scheduler gave slots twice: how far two of them are one, and how a node comes from one to
//! the other. Assignments are asked for from the end of a branch downwards: each one's hash chain link proves the one
//! before it, so nobody who sends them need be trusted.

use thiserror::Error;

use crate::assignment::{Assignment, first_link, next_link};
use crate::entry::Entry;
use crate::evidence;
use crate::id::{Digest, Id};
use crate::item::{DataItem, VerifiedItem};
use crate::log::{Batch, Log, LogError, Write};
use crate::resume::Resume;
use crate::wire::EntryBytes;

/// Most slots of a branch that are followed down; one that left this log's further up can't be taken on.
pub const MAX_BRANCH_SLOTS: usize = 100_000;

/// Why what a peer sent is not the branch.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum WrongBranch {
    /// A part can't be read.
    #[error("an assignment of the branch can't be read: {0}")]
    Unread(String),
    /// It does not lead to what was asked for.
    #[error("the assignment of slot {0} is not on the branch")]
    Elsewhere(u64),
    /// It is too long.
    #[error("the branch left this log's more than {MAX_BRANCH_SLOTS} slots before its end")]
    Long,
}

/// A branch on its way in, from its end downwards.
#[derive(Clone, Debug)]
pub struct Trace {
    process: Id,
    /// Assignments from the end down.
    ids: Vec<Id>,
    end: u64,
    wanted: Wanted,
}

/// What the next assignment must be.
#[derive(Clone, Copy, Debug)]
enum Wanted {
    /// Its id and its epoch.
    Id(Id, u64),
    /// What it makes of the slot behind it.
    Link(Digest),
}

/// How far a trace came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Traced {
    /// Further ones are wanted: those below this slot.
    Below(u64),
    /// From this slot on the branch is another than this log's: these are its assignments, to its end.
    Joined {
        /// The first slot that differs.
        from: u64,
        /// What leads to it from the slot before.
        link: Digest,
        /// The assignments from there on.
        path: Vec<Id>,
    },
}

fn read(bytes: &EntryBytes) -> Result<Assignment, WrongBranch> {
    let item = DataItem::decode(bytes.assignment.0.clone()).and_then(DataItem::verify);
    let item = item.map_err(|cause| WrongBranch::Unread(cause.to_string()))?;
    Assignment::read(item).map_err(|cause| WrongBranch::Unread(cause.to_string()))
}

impl Trace {
    /// The branch that a resume names.
    pub fn of(resume: &Resume) -> Trace {
        Trace {
            process: resume.process,
            ids: Vec::new(),
            end: resume.slot,
            wanted: Wanted::Id(resume.branch, resume.epoch),
        }
    }

    /// Takes in assignments, each of the slot before the last one's.
    pub fn take(&mut self, log: &dyn Log, entries: &[EntryBytes]) -> Result<Result<Traced, WrongBranch>, LogError> {
        for bytes in entries {
            let slot = self.end - self.ids.len() as u64;
            let assignment = match read(bytes) {
                Ok(assignment) => assignment,
                Err(cause) => return Ok(Err(cause)),
            };
            let statement = &assignment.statement;
            let fits = match self.wanted {
                Wanted::Id(id, epoch) => (assignment.id(), statement.epoch) == (id, epoch),
                Wanted::Link(link) => next_link(&assignment.id(), &statement.hash_chain) == link,
            };
            if !fits || (statement.process, statement.slot) != (self.process, slot) {
                return Ok(Err(WrongBranch::Elsewhere(slot)));
            }
            if self.ids.len() >= MAX_BRANCH_SLOTS {
                return Ok(Err(WrongBranch::Long));
            }
            self.ids.push(assignment.id());
            if link_to(log, &self.process, slot)? == Some(statement.hash_chain) {
                let path = self.ids.iter().rev().copied().collect();
                return Ok(Ok(Traced::Joined { from: slot, link: statement.hash_chain, path }));
            }
            if slot == 0 {
                return Ok(Err(WrongBranch::Elsewhere(0)));
            }
            self.wanted = Wanted::Link(statement.hash_chain);
        }
        Ok(Ok(Traced::Below(self.end + 1 - self.ids.len() as u64)))
    }
}

/// What this log's slots lead to.
fn link_to(log: &dyn Log, process: &Id, slot: u64) -> Result<Option<Digest>, LogError> {
    Ok(match slot.checked_sub(1) {
        None => Some(first_link(process)),
        Some(before) => log.entry(process, before)?.map(|ours| ours.assignment.next_link()),
    })
}

/// Takes on the branch that a resume names: this log's slots from where they part are taken back, and only the branch's
/// are taken in their place. None where that is done, or no longer so.
pub fn take_on(log: &dyn Log, resume: &Resume, traced: Traced) -> Result<Option<Batch>, LogError> {
    let Traced::Joined { from, link, path } = traced else { return Ok(None) };
    let process = log.process(&resume.process)?;
    let counts = process.as_ref().and_then(|process| process.resumes.last()) == Some(resume);
    let ours = log.entry(&resume.process, resume.slot)?.map(|entry| entry.assignment.id());
    // Looked at again: it may have been taken back since.
    let joins = link_to(log, &resume.process, from)? == Some(link);
    if !counts || !joins || ours == Some(resume.branch) {
        return Ok(None);
    }
    let mut batch = Batch::new();
    batch.push(Write::Rewind { process: resume.process, from, path });
    Ok(Some(batch))
}

/// What comparing a branch with this log came to.
#[derive(Clone, Debug, Default)]
pub struct Compared {
    /// Evidence of a slot that was given twice, where that is earlier than what is known.
    pub evidence: Option<Write>,
    /// The slot below which to ask on.
    pub below: Option<u64>,
}

/// Looks for the first slot at which a branch, of which a peer sent assignments from some slot downwards, differs from
/// this log.
pub fn first_difference(
    log: &dyn Log,
    process: &Id,
    entries: &[EntryBytes],
) -> Result<Result<Compared, WrongBranch>, LogError> {
    let mut found: Option<(Entry, Assignment)> = None;
    let mut below = None;
    for bytes in entries {
        let theirs = match read(bytes) {
            Ok(theirs) => theirs,
            Err(cause) => return Ok(Err(cause)),
        };
        let slot = theirs.statement.slot;
        if theirs.statement.process != *process || below.is_some_and(|below| slot + 1 != below) {
            return Ok(Err(WrongBranch::Elsewhere(slot)));
        }
        below = Some(slot);
        let Some(ours) = log.entry(process, slot)? else { continue };
        if ours.assignment.id() == theirs.id() {
            below = None;
            break;
        }
        found = Some((ours, theirs));
    }
    let known = evidence::disputed_by_evidence(log, process)?;
    let Some((ours, theirs)) = found.filter(|(ours, _)| known.is_none_or(|known| ours.slot() < known)) else {
        return Ok(Ok(Compared { evidence: None, below }));
    };
    let Some(spawn) = log.process(process)? else { return Ok(Ok(Compared::default())) };
    let slot = ours.slot();
    let signed = |item: &VerifiedItem| item.address() == spawn.scheduler_at(slot);
    if theirs.statement.epoch != spawn.epoch_at(slot) || !signed(&theirs.item) {
        return Ok(Err(WrongBranch::Elsewhere(slot)));
    }
    let evidence = Some(evidence::between_assignments(&ours.assignment, &theirs));
    Ok(Ok(Compared { evidence, below }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::Durability;
    use crate::sample::{SCHEDULER, Sample, unit};
    use crate::wallet::Signer as _;

    fn bare(sample: &Sample, slots: impl IntoIterator<Item = u64>) -> Vec<EntryBytes> {
        let entry = |slot| EntryBytes { item: None, ..sample.log.entry_bytes(&sample.id(), slot).unwrap().unwrap() };
        slots.into_iter().map(entry).collect()
    }

    fn resume(of: &Sample, slot: u64) -> Resume {
        let branch = of.log.entry(&of.id(), slot).unwrap().unwrap().assignment.id();
        let item = Resume::item(of.id(), slot, (branch, 0), unit(SCHEDULER).address(), 1);
        Resume::read(item.sign(&unit(2)).unwrap()).unwrap()
    }

    /// Two logs of one process that are the same below slot 3.
    fn two() -> (Sample, Sample) {
        let (ours, theirs) = (Sample::new(1, 3), Sample::new(1, 3));
        (1..4).for_each(|n| ours.message(100 + n));
        (1..6).for_each(|n| theirs.message(200 + n));
        (ours, theirs)
    }

    #[test]
    fn a_branch_is_followed_to_where_it_left_and_taken_on() {
        let (ours, theirs) = two();
        let resume = resume(&theirs, 6);
        let batch = crate::resume::accept(&ours.log, resume.clone()).unwrap().unwrap().unwrap();
        ours.log.commit(batch, Durability::Synced).unwrap();
        let mut trace = Trace::of(&resume);
        let take = |trace: &mut Trace, slots: &[u64]| trace.take(&ours.log, &bare(&theirs, slots.to_vec())).unwrap();
        assert_eq!(take(&mut trace.clone(), &[5]), Err(WrongBranch::Elsewhere(6)));
        assert_eq!(take(&mut trace, &[6, 5]), Ok(Traced::Below(5)));
        assert_eq!(take(&mut trace.clone(), &[3]), Err(WrongBranch::Elsewhere(4)));
        let mut wrong = trace.clone();
        assert!(wrong.take(&ours.log, &bare(&ours, [4])).unwrap().is_err(), "another branch's");
        let traced = take(&mut trace, &[4, 3, 2]).unwrap();
        assert!(matches!(&traced, Traced::Joined { from: 3, path, .. } if path.len() == 4), "{traced:?}");
        let batch = take_on(&ours.log, &resume, traced.clone()).unwrap().unwrap();
        ours.log.commit(batch, Durability::Synced).unwrap();
        assert_eq!(ours.log.tip(&ours.id()).unwrap().unwrap().slot, 2);

        // From now on only that branch is taken.
        let accept = |sample: &Sample, slot| {
            let mut batch = Batch::new();
            let entry = sample.log.entry(&sample.id(), slot).unwrap().unwrap();
            let accepted = crate::repair::accept(&ours.log, &mut batch, entry).unwrap().unwrap();
            ours.log.commit(batch, Durability::Relaxed).unwrap();
            accepted
        };
        let other = two().0;
        assert_eq!(accept(&other, 3), crate::repair::Accepted::Superseded);
        for slot in 3..=6 {
            assert_eq!(accept(&theirs, slot), crate::repair::Accepted::New);
        }
        assert_eq!(accept(&theirs, 7), crate::repair::Accepted::Superseded, "behind the resume");
        assert_eq!(crate::evidence::disputed_from(&ours.log, &ours.id()).unwrap(), None);
        assert!(take_on(&ours.log, &resume, traced).unwrap().is_none(), "once");
    }

    #[test]
    fn the_first_difference_is_found() {
        let (ours, theirs) = two();
        let find = |slots: Vec<u64>| first_difference(&ours.log, &ours.id(), &bare(&theirs, slots)).unwrap().unwrap();
        let slot_of = |write: Option<Write>| match write {
            Some(Write::Evidence { entries, .. }) => Some(crate::evidence::slot(&entries.0).unwrap()),
            _ => None,
        };
        let found = find(vec![5, 4]);
        assert_eq!((slot_of(found.evidence), found.below), (Some(4), Some(4)));
        let found = find(vec![5, 4, 3, 2, 1]);
        assert_eq!((slot_of(found.evidence.clone()), found.below), (Some(3), None));
        let mut batch = Batch::new();
        batch.extend(found.evidence);
        ours.log.commit(batch, Durability::Synced).unwrap();
        assert_eq!(crate::evidence::disputed_from(&ours.log, &ours.id()).unwrap(), Some(3));
        assert!(find(vec![5, 4, 3, 2]).evidence.is_none(), "known already");
        assert!(find(vec![2, 1]).evidence.is_none());
        let gap = first_difference(&ours.log, &ours.id(), &bare(&theirs, [5, 3])).unwrap();
        assert_eq!(gap.unwrap_err(), WrongBranch::Elsewhere(3));
    }
}
