//! Taking what a bundle holds into the log.

use std::collections::{BTreeMap, BTreeSet};

use ao_protocol::entry::Entry;
use ao_protocol::id::{Address, Id};
use ao_protocol::item::VerifiedItem;
use ao_protocol::log::{Batch, Durability, Log, LogError, Write};
use ao_protocol::mirror::Contents;
use ao_protocol::process::Process;
use ao_protocol::repair::{Accepted, accept};
use ao_protocol::resume::{self, NoResume};

use super::find::Container;
use super::{Restore, Wanted};

/// Most slots that are written at once.
const MAX_BATCH: usize = 256;

/// What came of a bundle.
#[derive(Default)]
pub(super) struct Taken {
    /// Some of it can't be judged before more has come.
    pub(super) again: bool,
    /// What an owner said of a branch was new.
    pub(super) resumed: bool,
}

impl Restore {
    /// Takes all that is wanted of a bundle.
    pub(super) fn take(&mut self, container: &Container, contents: &Contents) -> Result<Taken, LogError> {
        let mut taken = Taken::default();
        let mut batch = Batch::new();
        // Before the slots, as far as it can be: they may be on another branch than this log's. And after them.
        self.resume(container, contents, &mut taken)?;
        let mut mirrored: BTreeMap<Id, u64> = BTreeMap::new();
        let mut modules = BTreeSet::new();
        for assignment in contents.assignments() {
            let (process, slot) = (assignment.statement.process, assignment.statement.slot);
            if !self.may_take(&process, slot, contents)? {
                // Another bundle may say that it is a process of this scheduler.
                let signer = assignment.item.address();
                if self.wanted == Wanted::Scheduler(signer) && self.log.tip(&process)?.is_none() {
                    taken.again = true;
                    self.ahead(process, slot);
                }
                continue;
            }
            let entry = match contents.entry(assignment) {
                Ok(entry) => entry,
                Err(cause) => {
                    self.refuse(container.id, format!("slot {slot} of {process}: {cause}"));
                    continue;
                }
            };
            if slot == 0 {
                modules.extend(Process::read(&entry.item).map(|read| read.module));
            }
            let signer = entry.assignment.item.address();
            match accept(&*self.log, &mut batch, entry)? {
                Ok(accepted @ (Accepted::New | Accepted::Known)) => {
                    self.report.slots += u64::from(accepted == Accepted::New);
                    let next = match mirrored.get(&process) {
                        Some(next) => *next,
                        None => self.log.mirrored(&process)?,
                    };
                    // Without a block it may still be lost.
                    let counts = container.height.is_some() && slot == next;
                    mirrored.insert(process, next + u64::from(counts));
                }
                Ok(Accepted::Superseded) => {}
                Ok(Accepted::Evidence) => {
                    self.refuse(container.id, format!("slot {slot} of {process} was given twice: it is disputed"));
                }
                // Nobody but its schedulers can have given it.
                Ok(Accepted::Unresumed) if !self.may_schedule(&process, &signer)? => {
                    self.refuse(container.id, format!("slot {slot} of {process} is not signed by its scheduler"));
                }
                Ok(Accepted::Ahead | Accepted::Unresumed) => {
                    taken.again = true;
                    self.ahead(process, slot);
                }
                Err(cause) => self.refuse(container.id, cause.to_string()),
            }
            if batch.len() >= MAX_BATCH {
                self.log.commit(std::mem::take(&mut batch), Durability::Relaxed)?;
            }
        }
        // What they need is computed with them.
        let modules: Vec<&VerifiedItem> = contents.modules().filter(|item| modules.contains(&item.id())).collect();
        for module in &modules {
            if self.log.item(&module.id())?.is_none() {
                batch.push(Write::Item((*module).clone()));
            }
        }
        self.log.commit(batch, Durability::Relaxed)?;
        self.resume(container, contents, &mut taken)?;
        self.hear_of_followers(contents)?;
        // What is there for good need not be paid again.
        if !taken.resumed && container.height.is_some() {
            modules.iter().try_for_each(|module| self.log.note_module(&module.id()))?;
            mirrored.iter().try_for_each(|(process, next)| self.log.note_mirrored(process, *next))?;
        }
        Ok(taken)
    }

    /// Notes who followed the schedulers whose processes are rebuilt.
    fn hear_of_followers(&mut self, contents: &Contents) -> Result<(), LogError> {
        for (unit, said) in &contents.followers {
            let wanted = match &self.wanted {
                Wanted::Scheduler(scheduler) => scheduler == unit,
                Wanted::Process(process) => self.log.process(process)?.is_some_and(|read| read.scheduler() == *unit),
            };
            if wanted && self.followers.get(unit).is_none_or(|(time, _)| *time <= said.0) {
                self.followers.insert(*unit, said.clone());
            }
        }
        Ok(())
    }

    /// Whether some unit schedules a process, or did, as far as its owner's words are known.
    pub(super) fn may_schedule(&self, process: &Id, unit: &Address) -> Result<bool, LogError> {
        let Some(read) = self.log.process(process)? else { return Ok(true) };
        Ok(read.first_scheduler == *unit || read.resumes.iter().any(|resume| resume.scheduler == *unit))
    }

    /// A slot waits for others.
    fn ahead(&mut self, process: Id, slot: u64) {
        self.report.ahead.entry(process).and_modify(|first| *first = slot.min(*first)).or_insert(slot);
    }

    fn resume(&mut self, container: &Container, contents: &Contents, taken: &mut Taken) -> Result<(), LogError> {
        for said in &contents.resumes {
            // One that is moved to a scheduler is its from then on.
            if !self.is_wanted(&said.process)? && self.wanted != Wanted::Scheduler(said.scheduler) {
                continue;
            }
            match resume::accept(&*self.log, said.clone())? {
                Ok(Some(batch)) => {
                    self.log.commit(batch, Durability::Synced)?;
                    taken.resumed = true;
                }
                Ok(None) => {}
                // Who owns it may come with another bundle.
                Err(NoResume::Unknown(_)) => taken.again = true,
                Err(cause) => self.refuse(container.id, cause.to_string()),
            }
        }
        Ok(())
    }

    /// Whether a process of this log is to be rebuilt.
    pub(super) fn is_wanted(&self, process: &Id) -> Result<bool, LogError> {
        match &self.wanted {
            Wanted::Process(wanted) => Ok(wanted == process),
            Wanted::Scheduler(scheduler) => {
                let process = self.log.process(process)?;
                Ok(process.is_some_and(|process| {
                    process.first_scheduler == *scheduler
                        || process.resumes.iter().any(|resume| resume.scheduler == *scheduler)
                }))
            }
        }
    }

    /// Whether a slot is wanted, of a process that may not be known yet.
    fn may_take(&self, process: &Id, slot: u64, contents: &Contents) -> Result<bool, LogError> {
        if self.is_wanted(process)? || (slot == 0 && self.ancestors.contains(process)) {
            return Ok(true);
        }
        let Wanted::Scheduler(scheduler) = &self.wanted else { return Ok(false) };
        let moved = contents.resumes.iter().any(|said| said.process == *process && said.scheduler == *scheduler);
        let first = contents.item(process).and_then(|item| Process::read(item).ok());
        Ok(moved || first.is_some_and(|first| first.first_scheduler == *scheduler))
    }

    /// Processes whose first slot says who owns one that was resumed, and that are not here.
    pub(super) fn missing_ancestors(&self) -> Result<Vec<Id>, LogError> {
        let mut missing = Vec::new();
        for process in self.restored()? {
            let mut id = process;
            // As deep as spawns go; most have none before them.
            for _ in 0..ao_protocol::scheduler::MAX_PUSH_DEPTH {
                match self.log.entry(&id, 0)?.map(|first: Entry| first.assignment.statement.origin) {
                    Some(Some(origin)) => id = origin.process,
                    Some(None) => break,
                    None => {
                        if !self.ancestors.contains(&id) && !missing.contains(&id) {
                            missing.push(id);
                        }
                        break;
                    }
                }
            }
        }
        Ok(missing)
    }
}
