//! A process as its spawn item describes it: module, scheduler, and whom it trusts; and how its owner resumed it since.

use thiserror::Error;

use crate::cron::{self, Cron, CronError};
use crate::id::{Address, Id};
use crate::item::VerifiedItem;
use crate::resume::{Resume, ResumeError, Resumption};

/// Most entries in a process's list of authorities.
pub const MAX_AUTHORITIES: usize = 64;

/// A spawn item, and what its owner said since, read once.
#[derive(Clone, Debug)]
pub struct Process {
    /// The item itself; its id is the process id.
    pub item: VerifiedItem,
    /// The module it runs.
    pub module: Id,
    /// The unit that gives its messages their slots, until it is resumed under another.
    pub first_scheduler: Address,
    /// Messengers it trusts, as written in its `Authority` tags (addresses or aliases); empty: those of the network.
    pub authorities: Vec<String>,
    /// Compute units whose attestations it trusts; empty: those of the network.
    pub compute_authorities: Vec<Address>,
    /// How many of them must agree before its outbox is delivered.
    pub compute_quorum: u32,
    /// The messages that it gets by the clock.
    pub crons: Vec<Cron>,
    /// How its owner resumed it: those that count, in the order of their slots.
    pub resumes: Vec<Resume>,
    /// How often slots of it were taken back in this log.
    pub rewinds: u64,
    /// How often something that it had sent was to be sent again.
    pub sent_again: u64,
}

/// Why an item is not a process.
#[derive(Debug, Error)]
pub enum ProcessError {
    /// Not of type Process.
    #[error("tag Type is {0:?}, expected \"Process\"")]
    OtherType(String),
    /// A tag that every process needs.
    #[error("Required Module and Scheduler tags for Process type not present: {0} is missing")]
    Missing(&'static str),
    /// A tag whose value can't be read.
    #[error("tag {name} has the value {value:?}; expected {expected}")]
    Tag {
        /// Which tag.
        name: &'static str,
        /// What it says.
        value: String,
        /// What it should say.
        expected: &'static str,
    },
    /// Its cron tags are wrong.
    #[error(transparent)]
    Cron(#[from] CronError),
    /// A resume that this log has of it can't be read.
    #[error(transparent)]
    Resume(#[from] ResumeError),
    /// Too many authorities.
    #[error("{0} authorities; at most {MAX_AUTHORITIES} are allowed")]
    TooMany(usize),
    /// A quorum that its own attestors can never reach.
    #[error("Compute-Quorum {quorum} exceeds the {attestors} units in Compute-Authority")]
    Quorum {
        /// How many must agree.
        quorum: u32,
        /// How many there are.
        attestors: usize,
    },
}

impl Process {
    /// Reads a spawn item, with what a log has of how it was resumed.
    pub fn read_with(item: &VerifiedItem, resumption: &Resumption) -> Result<Process, ProcessError> {
        let mut process = Process::read(item)?;
        for bytes in &resumption.resumes {
            let unread = |_| ResumeError::OtherType(String::new());
            let item = VerifiedItem::from_own_store(bytes.0.clone()).map_err(unread)?;
            process.resumes.push(Resume::read(item)?);
        }
        (process.rewinds, process.sent_again) = (resumption.rewinds, resumption.sent_again);
        Ok(process)
    }

    /// Reads a spawn item.
    pub fn read(item: &VerifiedItem) -> Result<Process, ProcessError> {
        match item.tag("Type") {
            Some("Process") => {}
            other => return Err(ProcessError::OtherType(other.unwrap_or_default().to_string())),
        }
        let module = item.tag("Module").ok_or(ProcessError::Missing("Module"))?;
        let scheduler = item.tag("Scheduler").ok_or(ProcessError::Missing("Scheduler"))?;
        let wrong = |name, value: &str, expected| ProcessError::Tag { name, value: value.to_string(), expected };
        let authorities: Vec<String> = listed(item, "Authority").map(str::to_string).collect();
        let mut compute_authorities = listed(item, "Compute-Authority")
            .map(|text| text.parse().map_err(|_| wrong("Compute-Authority", text, "addresses joined by commas")))
            .collect::<Result<Vec<Address>, _>>()?;
        // Named twice, a unit is still one.
        let mut seen = std::collections::BTreeSet::new();
        compute_authorities.retain(|unit| seen.insert(*unit));
        let most = authorities.len().max(compute_authorities.len());
        if most > MAX_AUTHORITIES {
            return Err(ProcessError::TooMany(most));
        }
        let compute_quorum = match item.tag("Compute-Quorum") {
            None => 1,
            Some(text) => match text.parse::<u32>() {
                Ok(quorum) if quorum >= 1 => quorum,
                _ => return Err(wrong("Compute-Quorum", text, "a whole number of 1 or more")),
            },
        };
        if !compute_authorities.is_empty() && compute_quorum as usize > compute_authorities.len() {
            let attestors = compute_authorities.len();
            return Err(ProcessError::Quorum { quorum: compute_quorum, attestors });
        }
        Ok(Process {
            module: module.parse().map_err(|_| wrong("Module", module, "the 43-character id of a module"))?,
            first_scheduler: scheduler
                .parse()
                .map_err(|_| wrong("Scheduler", scheduler, "the 43-character address of a scheduler"))?,
            authorities,
            compute_authorities,
            compute_quorum,
            crons: cron::crons(item)?,
            resumes: Vec::new(),
            rewinds: 0,
            sent_again: 0,
            item: item.clone(),
        })
    }

    /// The process id.
    pub fn id(&self) -> Id {
        self.item.id()
    }

    /// The resume that is in force at a slot.
    fn resumed_at(&self, slot: u64) -> Option<&Resume> {
        self.resumes.iter().rev().find(|resume| resume.slot < slot)
    }

    /// Who gives a slot.
    pub fn scheduler_at(&self, slot: u64) -> Address {
        self.resumed_at(slot).map_or(self.first_scheduler, |resume| resume.scheduler)
    }

    /// The epoch of a slot: 0, or the sequence of the resume that is in force.
    pub fn epoch_at(&self, slot: u64) -> u64 {
        self.resumed_at(slot).map_or(0, |resume| resume.sequence)
    }

    /// Who gives the next slots.
    pub fn scheduler(&self) -> Address {
        self.scheduler_at(u64::MAX)
    }

    /// The epoch of the next slots.
    pub fn epoch(&self) -> u64 {
        self.epoch_at(u64::MAX)
    }
}

/// All values of a tag, each of which may be a list joined by commas.
fn listed<'a>(item: &'a VerifiedItem, name: &'a str) -> impl Iterator<Item = &'a str> {
    item.tag_values(name).flat_map(|value| value.split(',')).map(str::trim).filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::item::ItemBuilder;
    use crate::wallet::Wallet;

    fn spawn(tags: &[(&str, &str)]) -> Result<Process, ProcessError> {
        let id = Id::from([3; 32]).to_string();
        let mut item = ItemBuilder::new().tag("Type", "Process").tag("Module", &*id).tag("Scheduler", &*id);
        for (name, value) in tags {
            item = item.tag(*name, *value);
        }
        Process::read(&item.sign(&Wallet::ed25519_from_seed([1; 32])).unwrap())
    }

    #[test]
    fn authorities_may_be_repeated_or_joined() {
        let process = spawn(&[("Authority", "a, b"), ("Authority", "c")]).unwrap();
        assert_eq!(process.authorities, ["a", "b", "c"]);
        assert_eq!(process.compute_quorum, 1);
    }

    #[test]
    fn a_quorum_that_can_not_be_reached_is_refused() {
        let unit = Address::from([1; 32]).to_string();
        let cause = spawn(&[("Compute-Authority", &unit), ("Compute-Quorum", "2")]).unwrap_err();
        assert!(matches!(cause, ProcessError::Quorum { quorum: 2, attestors: 1 }));
        assert!(spawn(&[("Compute-Quorum", "0")]).is_err());
    }

    #[test]
    fn module_and_scheduler_are_needed() {
        let item = ItemBuilder::new().tag("Type", "Process").sign(&Wallet::ed25519_from_seed([1; 32])).unwrap();
        assert!(matches!(Process::read(&item), Err(ProcessError::Missing("Module"))));
    }
}
