//! A `Resume`: its owner says how a process goes on, after which slot of which branch and under which scheduler. It
//! ends a dispute, when a scheduler gave slots twice, and moves a process away from a scheduler that is gone for good.
//!
//! Of several the one with the highest sequence counts, and what older ones say of slots up to its own. The slots
//! behind it carry its sequence as their *epoch*, so that they are never taken for what was there before.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::id::{Address, Id};
use crate::item::{ItemBuilder, VerifiedItem};
use crate::log::{Batch, Log, LogError, Write};
use crate::process::Process;
use crate::scheduler::MAX_PUSH_DEPTH;
use crate::wire::ItemBytes;

/// Most of them that count for one process at once.
pub const MAX_RESUMES: usize = 64;

/// A verified `Resume` item, read once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resume {
    /// The signed item.
    pub item: VerifiedItem,
    /// The process.
    pub process: Id,
    /// The last slot that is kept.
    pub slot: u64,
    /// The assignment in that slot, which says what is kept before it.
    pub branch: Id,
    /// The epoch of that assignment: older resumes with a higher sequence made it void, and say nothing of this branch.
    pub epoch: u64,
    /// Who gives the slots behind it.
    pub scheduler: Address,
    /// Higher than those before it; 1 or more.
    pub sequence: u64,
}

/// What a log keeps of a process's resumes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resumption {
    /// Those that count, in the order of their slots.
    pub resumes: Vec<ItemBytes>,
    /// How often slots of it were taken back here.
    pub rewinds: u64,
    /// How often something that it had sent was to be sent again, because a receiver's slots were taken back.
    pub sent_again: u64,
}

/// Why an item is no `Resume`.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ResumeError {
    /// Of another type.
    #[error("tag Type is {0:?}, expected \"Resume\"")]
    OtherType(String),
    /// No process is named.
    #[error("a Resume needs a target: the id of the process")]
    Target,
    /// A tag that can't be read.
    #[error("tag {name} of the Resume is {value:?}; expected {expected}")]
    Tag {
        /// Which tag.
        name: &'static str,
        /// What it says, empty when missing.
        value: String,
        /// What it should say.
        expected: &'static str,
    },
}

/// Why a `Resume` does not count here.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum NoResume {
    /// It is none.
    #[error(transparent)]
    Read(#[from] ResumeError),
    /// Who may resume it can't be told.
    #[error("process {0} is not known here, so it can't be told who owns it")]
    Unknown(Id),
    /// Somebody else signed it.
    #[error("only its owner {owner} may resume process {process}; the item is signed by {signer}")]
    Owner {
        /// Which process.
        process: Id,
        /// Who owns it.
        owner: Address,
        /// Who signed.
        signer: Address,
    },
    /// It names a branch of another epoch than it says.
    #[error("the Resume says that assignment {branch} is of epoch {said}; it is of epoch {epoch}")]
    Epoch {
        /// The assignment.
        branch: Id,
        /// What the item says.
        said: u64,
        /// What the assignment says.
        epoch: u64,
    },
    /// Too many.
    #[error("process {0} was resumed {MAX_RESUMES} times, each behind the other; no more are taken")]
    TooMany(Id),
}

impl Resume {
    /// The item, to be signed by the owner; a branch is named by its last assignment and the epoch of that.
    pub fn item(process: Id, slot: u64, (branch, epoch): (Id, u64), scheduler: Address, sequence: u64) -> ItemBuilder {
        ItemBuilder::new()
            .target(process)
            .tag("Data-Protocol", "ao")
            .tag("Variant", "ao.TN.1")
            .tag("Type", "Resume")
            .tag("Slot", slot.to_string())
            .tag("Branch", branch.to_string())
            .tag("Branch-Epoch", epoch.to_string())
            .tag("Scheduler", scheduler.to_string())
            .tag("Sequence", sequence.to_string())
    }

    /// Reads a verified item.
    pub fn read(item: VerifiedItem) -> Result<Resume, ResumeError> {
        if item.tag("Type") != Some("Resume") {
            return Err(ResumeError::OtherType(item.tag("Type").unwrap_or_default().to_string()));
        }
        fn parse<T: std::str::FromStr>(
            item: &VerifiedItem,
            name: &'static str,
            expected: &'static str,
        ) -> Result<T, ResumeError> {
            let value = item.tag(name).unwrap_or_default();
            value.parse().map_err(|_| ResumeError::Tag { name, value: value.to_string(), expected })
        }
        let number = "a number, 1 or more";
        let sequence: u64 = parse(&item, "Sequence", number)?;
        // There is one behind it.
        if sequence == 0 || sequence == u64::MAX {
            return Err(ResumeError::Tag { name: "Sequence", value: sequence.to_string(), expected: number });
        }
        // There is a slot behind it.
        let slot: u64 = parse(&item, "Slot", "a slot number")?;
        if slot == u64::MAX {
            return Err(ResumeError::Tag { name: "Slot", value: slot.to_string(), expected: "a slot number" });
        }
        let epoch: u64 = parse(&item, "Branch-Epoch", "a number below Sequence")?;
        if epoch >= sequence {
            let value = epoch.to_string();
            return Err(ResumeError::Tag { name: "Branch-Epoch", value, expected: "a number below Sequence" });
        }
        Ok(Resume {
            process: item.target().ok_or(ResumeError::Target)?,
            slot,
            branch: parse(&item, "Branch", "the id of the assignment in that slot")?,
            scheduler: parse(&item, "Scheduler", "an address")?,
            epoch,
            sequence,
            item,
        })
    }
}

/// Those that count, in the order of their slots: each says nothing of slots behind one with a higher sequence, and
/// nothing at all of a branch that goes on from an older epoch.
fn that_count(mut resumes: Vec<Resume>) -> Vec<Resume> {
    // By id where an owner signed two with one sequence, so that all nodes agree.
    resumes.sort_by_key(|resume| std::cmp::Reverse((resume.sequence, resume.item.id())));
    let mut kept: Vec<Resume> = Vec::new();
    for resume in resumes {
        if kept.last().is_none_or(|last| resume.slot < last.slot && resume.sequence <= last.epoch) {
            kept.push(resume);
        }
    }
    kept.reverse();
    kept
}

/// Who may resume a process: who spawned it, or of a spawned process who owns the one that spawned it. None where some
/// process on the way is not known here.
pub fn owner(log: &dyn Log, process: &Id) -> Result<Option<Address>, LogError> {
    let (mut id, mut seen) = (*process, BTreeSet::new());
    while seen.len() <= MAX_PUSH_DEPTH as usize && seen.insert(id) {
        let Some(first) = log.entry(&id, 0)? else { return Ok(None) };
        match first.assignment.statement.origin {
            Some(origin) => id = origin.process,
            None => return Ok(Some(first.item.address())),
        }
    }
    Ok(None)
}

/// What is to be written for a `Resume`, synced. None when it tells nothing new. Where this log has the branch that it
/// names, all behind it is taken back; where it has another one, or not that far, the process is held until it has.
pub fn accept(log: &dyn Log, resume: Resume) -> Result<Result<Option<Batch>, NoResume>, LogError> {
    let id = resume.process;
    let Some(process) = log.process(&id)? else { return Ok(Err(NoResume::Unknown(id))) };
    let signer = resume.item.address();
    match owner(log, &id)? {
        None => return Ok(Err(NoResume::Unknown(id))),
        Some(owner) if owner != signer => return Ok(Err(NoResume::Owner { process: id, owner, signer })),
        Some(_) => {}
    }
    let item_id = resume.item.id();
    if process.resumes.iter().any(|known| known.item.id() == item_id) {
        return Ok(Ok(None));
    }
    let mut all = process.resumes.clone();
    all.push(resume.clone());
    let counting = that_count(all);
    if !counting.iter().any(|one| one.item.id() == item_id) {
        return Ok(Ok(None));
    }
    if counting.len() > MAX_RESUMES {
        return Ok(Err(NoResume::TooMany(id)));
    }
    if let Some(ours) = log.entry(&id, resume.slot)?.map(|entry| entry.assignment)
        && ours.id() == resume.branch
        && ours.statement.epoch != resume.epoch
    {
        let (branch, said, epoch) = (resume.branch, resume.epoch, ours.statement.epoch);
        return Ok(Err(NoResume::Epoch { branch, said, epoch }));
    }
    let mut batch = Batch::new();
    let bytes = |resume: &Resume| ItemBytes(resume.item.bytes().to_vec());
    batch.push(Write::Item(resume.item.clone()));
    batch.push(Write::Resumes { process: id, resumes: counting.iter().map(bytes).collect() });
    // Slots that are still to be filled in below a checkpoint would be those of before.
    let hole = log.hole(&id)?.filter(|hole| resume.slot < hole.entries_below);
    let from = match hole {
        Some(hole) => Some(hole.entries_from.min(resume.slot + 1)),
        None => has_branch(log, &resume)?.then_some(resume.slot + 1),
    };
    // Not had; but a branch that was on its way here is wanted no more.
    let next = log.tip(&id)?.map_or(0, |tip| tip.slot + 1);
    let from = match from {
        None => log.on_branch(&id, next)?.map(|_| next),
        from => from,
    };
    batch.extend(from.map(|from| Write::Rewind { process: id, from, path: Vec::new() }));
    Ok(Ok(Some(batch)))
}

fn has_branch(log: &dyn Log, resume: &Resume) -> Result<bool, LogError> {
    let ours = log.entry(&resume.process, resume.slot)?.map(|entry| entry.assignment);
    Ok(ours.is_some_and(|ours| (ours.id(), ours.statement.epoch) == (resume.branch, resume.epoch)))
}

/// Where this log does not have the branch on which a process goes on: the resume that names it.
pub fn unsettled<'a>(log: &dyn Log, process: &'a Process) -> Result<Option<&'a Resume>, LogError> {
    match process.resumes.last() {
        Some(last) if !has_branch(log, last)? => Ok(Some(last)),
        _ => Ok(None),
    }
}

/// The first slot of which it is not sure that it is on the branch on which a process goes on, if there is one.
pub(crate) fn unsure_from(log: &dyn Log, process: &Process) -> Result<Option<u64>, LogError> {
    if unsettled(log, process)?.is_none() {
        return Ok(None);
    }
    for resume in process.resumes.iter().rev() {
        if has_branch(log, resume)? {
            return Ok(Some(resume.slot + 1));
        }
    }
    Ok(Some(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence;
    use crate::log::Durability;
    use crate::sample::{SCHEDULER, Sample, plain, unit};
    use crate::wallet::Signer as _;

    /// The number of who spawned the sample's process.
    const OWNER: u8 = 2;

    fn at(sample: &Sample, slot: u64) -> Id {
        sample.log.entry(&sample.id(), slot).unwrap().unwrap().assignment.id()
    }

    fn signed(sample: &Sample, slot: u64, branch: Id, sequence: u64, by: u8) -> Resume {
        let item = Resume::item(sample.id(), slot, (branch, 0), unit(SCHEDULER).address(), sequence);
        Resume::read(item.sign(&unit(by)).unwrap()).unwrap()
    }

    fn take(sample: &Sample, resume: &Resume) -> bool {
        match accept(&sample.log, resume.clone()).unwrap().unwrap() {
            Some(batch) => {
                sample.log.commit(batch, Durability::Synced).unwrap();
                true
            }
            None => false,
        }
    }

    #[test]
    fn only_the_owner_resumes() {
        let sample = Sample::new(1, 4);
        let refused = accept(&sample.log, signed(&sample, 2, at(&sample, 2), 1, 9)).unwrap().unwrap_err();
        assert!(matches!(&refused, NoResume::Owner { owner, .. } if *owner == unit(OWNER).address()), "{refused}");
        let other = Resume { process: Id::from([7; 32]), ..signed(&sample, 2, at(&sample, 2), 1, OWNER) };
        assert_eq!(accept(&sample.log, other).unwrap().unwrap_err(), NoResume::Unknown(Id::from([7; 32])));
        assert!(take(&sample, &signed(&sample, 2, at(&sample, 2), 1, OWNER)));
    }

    #[test]
    fn a_branch_is_of_one_epoch() {
        let sample = Sample::new(1, 4);
        let wrong = Resume { epoch: 1, ..signed(&sample, 2, at(&sample, 2), 2, OWNER) };
        let refused = accept(&sample.log, wrong).unwrap().unwrap_err();
        assert!(matches!(refused, NoResume::Epoch { said: 1, epoch: 0, .. }), "{refused}");
    }

    #[test]
    fn what_is_behind_its_branch_is_taken_back() {
        let sample = Sample::new(1, 5);
        sample.compute(9, plain);
        sample.hear(sample.truth(11, 4), 1, None);
        sample.hear(sample.truth(11, 2), 1, None);
        let resume = signed(&sample, 2, at(&sample, 2), 1, OWNER);
        assert!(take(&sample, &resume));
        assert!(!take(&sample, &resume), "it tells nothing new");
        let log = &sample.log;
        assert_eq!(log.tip(&sample.id()).unwrap().unwrap().slot, 2);
        assert_eq!(log.computed(&sample.id()).unwrap().unwrap().slot, 2);
        assert_eq!(log.evaluated(&sample.id()).unwrap(), Some(2));
        assert!(log.entry(&sample.id(), 3).unwrap().is_none() && log.outcome(&sample.id(), 3).unwrap().is_none());
        let last = log.last_attestation(&sample.id(), &unit(11).address(), u64::MAX).unwrap().unwrap();
        assert_eq!(last.attestation.claim().slot, 2);
        let process = log.process(&sample.id()).unwrap().unwrap();
        assert_eq!((process.epoch_at(2), process.epoch_at(3), process.rewinds), (0, 1, 1));
        assert_eq!(evidence::disputed_from(log, &sample.id()).unwrap(), None);
    }

    #[test]
    fn another_branch_is_held_until_it_is_had() {
        let sample = Sample::new(1, 4);
        assert!(take(&sample, &signed(&sample, 2, Id::from([9; 32]), 1, OWNER)));
        assert_eq!(evidence::disputed_from(&sample.log, &sample.id()).unwrap(), Some(0));
        assert_eq!(sample.log.tip(&sample.id()).unwrap().unwrap().slot, 3, "it may yet be asked for");
        // A later word of the owner's: this one is had.
        assert!(take(&sample, &signed(&sample, 3, at(&sample, 3), 2, OWNER)));
        assert_eq!(evidence::disputed_from(&sample.log, &sample.id()).unwrap(), None);
    }

    #[test]
    fn the_highest_sequence_counts_in_whatever_order_they_come() {
        let sample = Sample::new(1, 9);
        let resume =
            |slot, sequence, epoch| Resume { epoch, ..signed(&sample, slot, at(&sample, slot), sequence, OWNER) };
        let all = [resume(6, 1, 0), resume(2, 2, 0), resume(4, 3, 2), resume(7, 4, 3)];
        for turn in 0..all.len() {
            let mut order = all.to_vec();
            order.rotate_left(turn);
            let counting = that_count(order);
            assert_eq!(
                counting.iter().map(|one| (one.slot, one.sequence)).collect::<Vec<_>>(),
                [(2, 2), (4, 3), (7, 4)]
            );
        }
        // What the second one said is void where a later one goes on from before it.
        let counting = that_count(vec![resume(6, 1, 0), resume(2, 2, 0), resume(4, 3, 0)]);
        assert_eq!(counting.iter().map(|one| one.sequence).collect::<Vec<_>>(), [3]);
        let counting = that_count(vec![resume(2, 1, 0), resume(3, 2, 1), resume(4, 3, 1)]);
        assert_eq!(counting.iter().map(|one| one.sequence).collect::<Vec<_>>(), [1, 3]);
        assert!(take(&sample, &all[1]));
        assert!(!take(&sample, &all[0]), "what it said is void");
    }

    #[test]
    fn what_it_lacks_is_named() {
        let good = Resume::item(Id::from([1; 32]), 3, (Id::from([2; 32]), 0), unit(1).address(), 1);
        for (name, value) in [
            ("Slot", "x"),
            ("Branch", ""),
            ("Scheduler", "short"),
            ("Sequence", "0"),
            ("Branch-Epoch", "1"),
            ("Type", "Message"),
        ] {
            let mut item = good.clone();
            item.tags.iter_mut().filter(|tag| tag.name == name).for_each(|tag| tag.value = value.into());
            let cause = Resume::read(item.sign(&unit(1)).unwrap()).unwrap_err().to_string();
            assert!(cause.contains(name), "{cause}");
        }
    }
}
