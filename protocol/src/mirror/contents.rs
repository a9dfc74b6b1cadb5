//! What a bundle holds of logs.

use std::collections::BTreeMap;

use super::{LOG_CERTIFICATES, LOG_FOLLOWERS, MAX_NAMED_FOLLOWERS, TIMESTAMP};
use crate::assignment::Assignment;
use crate::certificate::Certificate;
use crate::entry::{Entry, EntryError};
use crate::id::{Address, Digest, Id};
use crate::item::VerifiedItem;
use crate::reference::{ASSIGNED_BY, REFERENCES};
use crate::resume::Resume;
use crate::wire;

/// The verified items of a bundle, by what they are.
#[derive(Debug, Default)]
pub struct Contents {
    items: BTreeMap<Id, VerifiedItem>,
    certificates: BTreeMap<Digest, Certificate>,
    assignments: Vec<Assignment>,
    /// What owners said of branches.
    pub resumes: Vec<Resume>,
    /// By unit: who followed it, and when that was, in milliseconds.
    pub followers: BTreeMap<Address, (u64, Vec<Address>)>,
}

impl Contents {
    /// Sorts items. What can't be read as what it says it is stays a plain item.
    pub fn of(items: Vec<VerifiedItem>) -> Contents {
        let mut contents = Contents::default();
        for item in items {
            match item.tag("Type") {
                Some("Assignment") => contents.assignments.extend(Assignment::read(item.clone())),
                Some("Resume") => contents.resumes.extend(Resume::read(item.clone())),
                Some(LOG_FOLLOWERS) => {
                    let lines = std::str::from_utf8(item.data()).unwrap_or_default().lines();
                    let named = lines.take(MAX_NAMED_FOLLOWERS).filter_map(|line| line.parse().ok()).collect();
                    let time = item.tag(TIMESTAMP).and_then(|time| time.parse().ok()).unwrap_or(0);
                    contents.followers.insert(item.address(), (time, named));
                }
                Some(LOG_CERTIFICATES) => {
                    let parts: Vec<Vec<u8>> = wire::decode_bare(item.data()).unwrap_or_default();
                    let read = parts.iter().filter_map(|part| Certificate::from_bytes(part).ok());
                    contents.certificates.extend(read.map(|certificate| (certificate.hash(), certificate)));
                }
                _ => {}
            }
            contents.items.insert(item.id(), item);
        }
        // In the order of slots, whatever the bundle's is.
        contents.assignments.sort_by_key(|assignment| (assignment.statement.process, assignment.statement.slot));
        contents
    }

    /// The assignments in it, by process and slot.
    pub fn assignments(&self) -> &[Assignment] {
        &self.assignments
    }

    /// The slot of an assignment, with all that belongs to it.
    pub fn entry(&self, assignment: &Assignment) -> Result<Entry, EntryError> {
        let statement = &assignment.statement;
        let proof = statement.assign.and_then(|id| self.items.get(&id).cloned());
        // By reference the item is the Assign that asks for what is named.
        let asks = proof.as_ref().filter(|proof| proof.tag("Type") == Some(REFERENCES));
        let asks = asks.and_then(|proof| proof.tag(ASSIGNED_BY)?.parse().ok());
        let named = statement.cron.is_none().then(|| statement.message.unwrap_or(statement.process));
        Entry::assemble(
            assignment.clone(),
            asks.or(named).and_then(|id: Id| self.items.get(&id).cloned()),
            proof,
            statement.certificate.and_then(|hash| self.certificates.get(&hash).cloned()).map(Box::new),
        )
    }

    /// An item of it.
    pub fn item(&self, id: &Id) -> Option<&VerifiedItem> {
        self.items.get(id)
    }

    /// All of them.
    pub fn into_items(self) -> Vec<VerifiedItem> {
        self.items.into_values().collect()
    }

    /// Items that are modules.
    pub fn modules(&self) -> impl Iterator<Item = &VerifiedItem> {
        self.items.values().filter(|item| item.tag("Type") == Some("Module"))
    }
}
