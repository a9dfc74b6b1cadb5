//! What an entry of a log says of data that is not in it; see [`crate::reference`].
//!
//! By value, an item from elsewhere is the slot's item, and the `Assign` that asked for it its proof. By reference, the
//! `Assign` is the slot's item and the references are its proof; the assignment still names what is assigned, so that
//! it has one slot of a process, however often and in whatever way it is asked for.

use crate::entry::{Entry, EntryError};
use crate::id::Id;
use crate::item::VerifiedItem;
use crate::reference::{self, ASSIGNED_BY, MAX_REFERENCES_BYTES, Named, REFERENCES, Reference, ReferenceError};

impl Entry {
    /// What carries the origin of what was pushed: the item, or the `Assign` that asked for one from elsewhere.
    pub fn carrier(&self) -> &VerifiedItem {
        self.proof.as_ref().filter(|_| !self.has_references()).unwrap_or(&self.item)
    }

    /// Whether what is assigned is none of this process's own, so that the assignment alone stands for it.
    pub fn is_from_elsewhere(&self) -> bool {
        self.slot() > 0 && self.proof.is_some()
    }

    /// Whether something is assigned that is not in the log.
    pub fn is_by_reference(&self) -> bool {
        self.slot() > 0 && self.has_references()
    }

    pub(crate) fn has_references(&self) -> bool {
        self.proof.as_ref().is_some_and(|proof| proof.tag("Type") == Some(REFERENCES))
    }

    /// The id by which the slot is asked for: that of what is assigned.
    pub fn message_id(&self) -> Id {
        self.assignment.statement.message.unwrap_or_else(|| self.item.id())
    }

    /// What is known of data that this slot names and that is not in the log.
    pub fn references(&self) -> Result<Vec<Reference>, ReferenceError> {
        match &self.proof {
            Some(references) if self.has_references() => reference::read_own(references),
            _ => Ok(Vec::new()),
        }
    }

    /// For an `Assign` by reference: what it assigns.
    pub fn assigned_reference(&self) -> Result<Option<Reference>, ReferenceError> {
        if self.is_by_reference() { Ok(self.references()?.pop()) } else { Ok(None) }
    }

    /// Data that the process may read from this slot on.
    pub fn named(&self) -> Result<Vec<Named>, ReferenceError> {
        match self.is_from_elsewhere() && !self.is_by_reference() {
            true => Ok(vec![Named::of_item(&self.item)]),
            false => Ok(self.references()?.iter().map(Reference::named).collect()),
        }
    }

    /// Checks the signatures of what is referred to.
    pub(crate) fn with_verified_references(self) -> Result<Entry, EntryError> {
        if let Some(references) = self.proof.as_ref().filter(|_| self.has_references()) {
            reference::read(references)?;
        }
        Ok(self)
    }

    /// Whether the references belong to the rest.
    pub(crate) fn check_references(&self) -> Result<(), EntryError> {
        let (Some(proof), statement) = (&self.proof, &self.assignment.statement) else { return Ok(()) };
        if proof.bytes().len() > MAX_REFERENCES_BYTES {
            return Err(EntryError::Mismatch("the references are too large"));
        }
        if proof.address() != self.assignment.item.address() || proof.target() != Some(statement.process) {
            return Err(EntryError::Mismatch("the references are not its scheduler's, or for another process"));
        }
        if proof.tag(ASSIGNED_BY) != Some(&self.item.id().to_string()) {
            return Err(EntryError::Mismatch("the references are for another item"));
        }
        let references = self.references()?;
        let wanted = match statement.message {
            None => reference::of_spawn(&self.item)?,
            Some(message) => {
                let asked = self.item.tag("Message") == Some(&message.to_string());
                if self.item.target() != Some(statement.process) || self.item.tag("Type") != Some("Assign") || !asked {
                    return Err(EntryError::Mismatch("only an Assign for this process and a spawn have references"));
                }
                if references.iter().any(|reference| reference.target() == Some(statement.process)) {
                    return Err(EntryError::Mismatch("a message for this process is assigned by reference"));
                }
                vec![message]
            }
        };
        let named: Vec<Id> = references.iter().map(|reference| reference.named().id).collect();
        if named == wanted && !named.is_empty() {
            Ok(())
        } else {
            Err(EntryError::Mismatch("the references are to other data than is named"))
        }
    }
}
