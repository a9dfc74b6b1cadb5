//! An entry of a process's log: an assignment with the item that it assigns, and the proof of origin where the
//! item is not its own proof.

use thiserror::Error;

use crate::assignment::{Assignment, AssignmentError};
use crate::certificate::{Certificate, MAX_CERTIFICATE_BYTES};
use crate::id::Id;
use crate::item::{DataItem, ItemError, VerifiedItem};
use crate::origin::{DeliveryId, Origin};
use crate::reference::ReferenceError;
use crate::wire::{EntryBytes, ItemBytes};

/// Most bytes of an `Assign`: with it, an entry of the largest item still fits into a response.
pub const MAX_ASSIGN_BYTES: usize = 64 * 1024;

/// One slot of a process, every signature verified and every part consistent with the others.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The scheduler's assignment.
    pub assignment: Assignment,
    /// The assigned item: a message to this process, the process itself in slot 0, or an item from elsewhere. A
    /// cron's firing has none of its own: here it is the assignment, which says all of it.
    pub item: VerifiedItem,
    /// For an item from elsewhere: the messenger's signed `Assign` that asked for it. For an `Assign` by reference, and
    /// a process whose spawn names data: what is known of that data ([`crate::reference`]).
    pub proof: Option<VerifiedItem>,
    /// For what a process sent that asks for a quorum: what proves that it did.
    pub certificate: Option<Box<Certificate>>,
}

/// Why bytes are not an entry.
#[derive(Debug, Error)]
pub enum EntryError {
    /// A part is no verifiable item.
    #[error("{part} of the entry: {cause}")]
    Item {
        /// Which part.
        part: &'static str,
        /// What is wrong with it.
        cause: ItemError,
    },
    /// The assignment can't be read.
    #[error(transparent)]
    Assignment(#[from] AssignmentError),
    /// The item was left out to keep gossip small: the whole entry is to be asked for.
    #[error("slot {slot} of {process} came without its item")]
    WithoutItem {
        /// Which process.
        process: Id,
        /// Which slot.
        slot: u64,
    },
    /// What is said of data that is not in the log can't be read.
    #[error("the references of the entry: {0}")]
    References(#[from] ReferenceError),
    /// The parts do not belong together.
    #[error("the parts of the entry do not belong together: {0}")]
    Mismatch(&'static str),
}

impl Entry {
    /// Reads and verifies what a peer sent.
    pub fn verify(bytes: &EntryBytes) -> Result<Entry, EntryError> {
        Entry::verify_with(bytes, |bytes| DataItem::decode(bytes)?.verify())
    }

    /// The same with another way to verify an item, such as one that remembers what it verified.
    pub fn verify_with(
        bytes: &EntryBytes,
        item: impl Fn(Vec<u8>) -> Result<VerifiedItem, ItemError>,
    ) -> Result<Entry, EntryError> {
        Entry::read(bytes, item)?.with_verified_references()
    }

    /// Reads what this node verified before it stored it.
    pub fn from_own_store(bytes: &EntryBytes) -> Result<Entry, EntryError> {
        Entry::read(bytes, VerifiedItem::from_own_store)
    }

    fn read(
        bytes: &EntryBytes,
        item: impl Fn(Vec<u8>) -> Result<VerifiedItem, ItemError>,
    ) -> Result<Entry, EntryError> {
        let part = |part: &'static str, bytes: &ItemBytes| {
            item(bytes.0.clone()).map_err(|cause| EntryError::Item { part, cause })
        };
        let assignment = Assignment::read(part("assignment", &bytes.assignment)?)?;
        let body = bytes.item.as_ref().map(|body| part("item", body)).transpose()?;
        let proof = bytes.proof.as_ref().map(|proof| part("proof", proof)).transpose()?;
        Entry::put_together(assignment, body, proof, bytes.certificate.clone())
    }

    /// Puts verified parts together, if they belong together.
    pub fn assemble(
        assignment: Assignment,
        item: Option<VerifiedItem>,
        proof: Option<VerifiedItem>,
        certificate: Option<Box<Certificate>>,
    ) -> Result<Entry, EntryError> {
        Entry::put_together(assignment, item, proof, certificate)?.with_verified_references()
    }

    fn put_together(
        assignment: Assignment,
        item: Option<VerifiedItem>,
        proof: Option<VerifiedItem>,
        certificate: Option<Box<Certificate>>,
    ) -> Result<Entry, EntryError> {
        if assignment.statement.cron.is_some() {
            let entry = Entry::of_firing(assignment);
            if item.is_some() || proof.is_some() || certificate.is_some() {
                return Err(EntryError::Mismatch("a cron's firing has no item"));
            }
            entry.check()?;
            return Ok(entry);
        }
        let Some(item) = item else {
            let statement = &assignment.statement;
            return Err(EntryError::WithoutItem { process: statement.process, slot: statement.slot });
        };
        let entry = Entry { assignment, item, proof, certificate };
        entry.check()?;
        Ok(entry)
    }

    /// The entry of a cron's firing.
    pub fn of_firing(assignment: Assignment) -> Entry {
        Entry { item: assignment.item.clone(), assignment, proof: None, certificate: None }
    }

    /// Whether the parts belong together.
    fn check(&self) -> Result<(), EntryError> {
        let statement = &self.assignment.statement;
        if statement.cron.is_some() {
            let plain = statement.slot > 0
                && statement.message.is_none()
                && statement.origin.is_none()
                && (statement.sent_by, statement.assign, statement.certificate) == (None, None, None)
                && (statement.depth, statement.root) == (0, None);
            return if plain {
                Ok(())
            } else {
                Err(EntryError::Mismatch("a cron's firing is slot 0, a message, or pushed"))
            };
        }
        let expected = statement.message.unwrap_or(statement.process);
        if self.item.id() != expected && !self.is_by_reference() {
            return Err(EntryError::Mismatch("the item is not the one that the assignment names"));
        }
        if (statement.slot == 0) != statement.message.is_none() || (statement.slot > 0 && expected == statement.process)
        {
            return Err(EntryError::Mismatch("slot 0 is the process itself and no other slot is"));
        }
        let carrier = self.carrier();
        let origin = Origin::read(carrier.tags());
        if origin != Ok(statement.origin) {
            return Err(EntryError::Mismatch("the assignment states another origin than the item"));
        }
        if (statement.depth > 0, statement.root.is_some()) != (statement.origin.is_some(), statement.origin.is_some()) {
            return Err(EntryError::Mismatch("a pushed message has a depth and a root, and nothing else has"));
        }
        if statement.sent_by.is_some() != statement.origin.is_some() {
            return Err(EntryError::Mismatch("a pushed message names the slot that sent it, and nothing else does"));
        }
        if self.proof.as_ref().map(|proof| proof.id()) != statement.assign {
            return Err(EntryError::Mismatch("the assignment names another Assign than came with it"));
        }
        if self.certificate.as_ref().map(|certificate| certificate.hash()) != statement.certificate {
            return Err(EntryError::Mismatch("the assignment names another certificate than came with it"));
        }
        if statement.origin.is_some() && statement.messenger != Some(carrier.address()) {
            return Err(EntryError::Mismatch("a pushed message names another messenger than the one that signed it"));
        }
        match &self.certificate {
            Some(_) if statement.origin.is_none() => {
                return Err(EntryError::Mismatch("what no process sent came with a certificate"));
            }
            Some(certificate) if certificate.size() > MAX_CERTIFICATE_BYTES => {
                return Err(EntryError::Mismatch("the certificate is too large"));
            }
            _ => {}
        }
        match &self.proof {
            Some(_) if self.has_references() => self.check_references(),
            Some(_) if statement.slot == 0 => Err(EntryError::Mismatch("a process came with a request to assign it")),
            Some(_) if self.item.target() == Some(statement.process) => {
                Err(EntryError::Mismatch("a message for this process came with a request to assign it"))
            }
            Some(proof) if proof.bytes().len() > MAX_ASSIGN_BYTES => {
                Err(EntryError::Mismatch("the request that assigned the item is too large"))
            }
            None if statement.slot > 0 && self.item.target() != Some(statement.process) => {
                Err(EntryError::Mismatch("a message for another process came without the request that assigned it"))
            }
            Some(proof) if proof.tag("Type") != Some("Assign") || proof.target() != Some(statement.process) => {
                Err(EntryError::Mismatch("the proof is no Assign for this process"))
            }
            Some(proof) if proof.tag("Message") != Some(&expected.to_string()) => {
                Err(EntryError::Mismatch("the proof assigns another item"))
            }
            _ => Ok(()),
        }
    }

    /// The entry as it travels and as it is stored.
    pub fn to_bytes(&self) -> EntryBytes {
        let bytes = |item: &VerifiedItem| ItemBytes(item.bytes().to_vec());
        EntryBytes {
            assignment: bytes(&self.assignment.item),
            item: self.assignment.statement.cron.is_none().then(|| bytes(&self.item)),
            proof: self.proof.as_ref().map(bytes),
            certificate: self.certificate.clone(),
        }
    }

    /// The outbox entry that this slot delivers, if it was pushed by a process.
    pub fn delivery(&self) -> Option<DeliveryId> {
        let statement = &self.assignment.statement;
        let target = match statement.slot {
            0 => Id::from(self.assignment.item.address().to_bytes()),
            _ => statement.process,
        };
        statement.origin.map(|origin| DeliveryId { origin, target: Some(target) })
    }

    /// What started the chain of messages that this slot belongs to: a user's message, or a cron's firing; often it is
    /// that itself.
    pub fn root(&self) -> Id {
        // Who has an item of somebody else's assigned starts something of their own.
        self.assignment.statement.root.unwrap_or_else(|| self.carrier().id())
    }

    /// The process.
    pub fn process(&self) -> Id {
        self.assignment.statement.process
    }

    /// The slot.
    pub fn slot(&self) -> u64 {
        self.assignment.statement.slot
    }
}
