//! An assignment: the scheduler's signed statement that an item has a slot of a process, and how it chains to the slot
//! before. Tags and hash chain are those of ao's schedulers; `Messenger`, `Push-Depth`, `Push-Root`, the origin tags
//! and those of a cron's firing are ours.

use sha2::{Digest as _, Sha256};
use thiserror::Error;

use crate::cron::Firing;
use crate::id::{Address, Digest, Id};
use crate::item::{ItemBuilder, ItemError, VerifiedItem};
use crate::origin::{Origin, OriginError};
use crate::wallet::Signer;

/// Tag with the messenger that submitted the item; of a pushed one, that signed it.
pub const MESSENGER: &str = "Messenger";
/// Tag with the distance from the user's message that started it.
pub const PUSH_DEPTH: &str = "Push-Depth";
/// Tag with the message, or the cron's firing, at the root of the chain that a pushed message belongs to.
pub const PUSH_ROOT: &str = "Push-Root";
/// Tag with the assignment of the slot that sent a pushed message.
pub const ORIGIN_ASSIGNMENT: &str = "Origin-Assignment";
/// Tag with the `Assign` that asked for an item from elsewhere.
pub const ASSIGN: &str = "Assign";
/// Tag with the hash of the certificate that proves a pushed message.
pub const CERTIFICATE: &str = "Certificate";
/// Tag with a messenger that the process trusts.
pub const AUTHORITY: &str = "Authority";
/// Tag with the cron that fires.
pub const CRON_ID: &str = "Cron-Id";
/// Tag with the time for which it fires, in milliseconds since 1970.
pub const CRON_TIME: &str = "Cron-Time";
/// Tag with the block for which it fires.
pub const CRON_BLOCK: &str = "Cron-Block";
/// Tag with the number of firings that were missed before it.
pub const CRON_MISSED: &str = "Cron-Missed";

/// A verified assignment item, read once.
#[derive(Clone, Debug)]
pub struct Assignment {
    /// The signed item.
    pub item: VerifiedItem,
    /// What it says.
    pub statement: Statement,
}

/// What an assignment says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// The process.
    pub process: Id,
    /// 0 until the owner resumes the process, then the sequence of the [`crate::resume::Resume`] that is in force.
    pub epoch: u64,
    /// The slot; ao's `Nonce`. Slot 0 is the process item itself.
    pub slot: u64,
    /// Link to the slot before; see [`first_link`] and [`next_link`].
    pub hash_chain: Digest,
    /// Arweave's height when it was assigned, as far as the scheduler knew.
    pub block_height: u64,
    /// The scheduler's clock in milliseconds since 1970; never decreases within a process.
    pub timestamp_ms: u64,
    /// The assigned item; none for slot 0 and for a cron's firing.
    pub message: Option<Id>,
    /// Who submitted it, or for a pushed one signed it, and delivers what the process sends in answer.
    pub messenger: Option<Address>,
    /// Distance from the user's message, or the cron's firing, that started it; 0 for that itself.
    pub depth: u32,
    /// For a pushed message: what started it, the item of the user's message or the assignment of the cron's firing.
    pub root: Option<Id>,
    /// Where a pushed message comes from.
    pub origin: Option<Origin>,
    /// For a pushed message: the assignment of the slot that sent it. Should that slot be given anew, what it sends
    /// then is something else.
    pub sent_by: Option<Id>,
    /// For an item from elsewhere: the signed `Assign` that asked for it, which says what of it the process is given.
    pub assign: Option<Id>,
    /// The hash of the certificate that came with a pushed message, if one did.
    pub certificate: Option<Digest>,
    /// In slot 0: messengers that the process trusts though its own tags do not say their addresses.
    pub authorities: Vec<Address>,
    /// The cron's firing that it is, if it is one.
    pub cron: Option<Firing>,
}

/// Why an item is not an assignment.
#[derive(Debug, Error)]
pub enum AssignmentError {
    /// Not of type Assignment.
    #[error("tag Type is {0:?}, expected \"Assignment\"")]
    OtherType(String),
    /// A tag that is missing or can't be read.
    #[error("assignment tag {name} is {value:?}; expected {expected}")]
    Tag {
        /// Which tag.
        name: &'static str,
        /// What it says, empty when missing.
        value: String,
        /// What it should say.
        expected: &'static str,
    },
    /// Its origin tags are wrong.
    #[error(transparent)]
    Origin(#[from] OriginError),
}

/// The link of slot 0: sha-256 of the process id.
pub fn first_link(process: &Id) -> Digest {
    Digest::from(<[u8; 32]>::from(Sha256::digest(process)))
}

/// The link after an assignment: sha-256 of its id and its own link.
pub fn next_link(assignment: &Id, link: &Digest) -> Digest {
    let hash = Sha256::new().chain_update(assignment).chain_update(link).finalize();
    Digest::from(<[u8; 32]>::from(hash))
}

impl Statement {
    /// Signs the statement as an assignment item, with tags in the order of ao's reference scheduler.
    pub fn sign(self, signer: &dyn Signer) -> Result<Assignment, ItemError> {
        let mut item = ItemBuilder::new()
            .tag("Process", self.process.to_string())
            .tag("Epoch", self.epoch.to_string())
            .tag("Nonce", self.slot.to_string())
            .tag("Hash-Chain", self.hash_chain.to_string())
            .tag("Block-Height", format!("{:012}", self.block_height))
            .tag("Timestamp", self.timestamp_ms.to_string())
            .tag("Data-Protocol", "ao")
            .tag("Type", "Assignment")
            .tag("Variant", "ao.TN.1");
        if let Some(message) = self.message {
            item = item.tag("Message", message.to_string());
        }
        if let Some(messenger) = self.messenger {
            item = item.tag(MESSENGER, messenger.to_string());
        }
        item = item.tag(PUSH_DEPTH, self.depth.to_string());
        if let Some(root) = self.root {
            item = item.tag(PUSH_ROOT, root.to_string());
        }
        if let Some(origin) = self.origin {
            item.tags.extend(origin.tags());
        }
        if let Some(sent_by) = self.sent_by {
            item = item.tag(ORIGIN_ASSIGNMENT, sent_by.to_string());
        }
        if let Some(assign) = self.assign {
            item = item.tag(ASSIGN, assign.to_string());
        }
        if let Some(certificate) = self.certificate {
            item = item.tag(CERTIFICATE, certificate.to_string());
        }
        for authority in &self.authorities {
            item = item.tag(AUTHORITY, authority.to_string());
        }
        if let Some(firing) = &self.cron {
            item = item.tag(CRON_ID, firing.cron.clone()).tag(CRON_TIME, firing.time_ms.to_string());
            if let Some(height) = firing.block {
                item = item.tag(CRON_BLOCK, height.to_string());
            }
            if firing.missed > 0 {
                item = item.tag(CRON_MISSED, firing.missed.to_string());
            }
        }
        Ok(Assignment { item: item.sign(signer)?, statement: self })
    }
}

impl Assignment {
    /// Reads a verified assignment item. Who signed it is for the caller to compare with the process's scheduler.
    pub fn read(item: VerifiedItem) -> Result<Assignment, AssignmentError> {
        match item.tag("Type") {
            Some("Assignment") => {}
            other => return Err(AssignmentError::OtherType(other.unwrap_or_default().to_string())),
        }
        fn parse<T: std::str::FromStr>(
            item: &VerifiedItem,
            name: &'static str,
            expected: &'static str,
        ) -> Result<T, AssignmentError> {
            let value = item.tag(name).unwrap_or_default();
            value.parse().map_err(|_| AssignmentError::Tag { name, value: value.to_string(), expected })
        }
        fn optional<T: std::str::FromStr>(
            item: &VerifiedItem,
            name: &'static str,
            expected: &'static str,
        ) -> Result<Option<T>, AssignmentError> {
            if item.tag(name).is_none() { Ok(None) } else { parse(item, name, expected).map(Some) }
        }
        let cron = match item.tag(CRON_ID) {
            None => None,
            Some(cron) => Some(Firing {
                cron: cron.to_string(),
                time_ms: parse(&item, CRON_TIME, "milliseconds since 1970")?,
                block: optional(&item, CRON_BLOCK, "a block height")?,
                missed: optional(&item, CRON_MISSED, "a number")?.unwrap_or(0),
            }),
        };
        let authorities = item.tag_values(AUTHORITY).map(|value| {
            value.parse().map_err(|_| AssignmentError::Tag {
                name: AUTHORITY,
                value: value.to_string(),
                expected: "an address",
            })
        });
        let statement = Statement {
            process: parse(&item, "Process", "a process id")?,
            epoch: parse(&item, "Epoch", "a number")?,
            slot: parse(&item, "Nonce", "a slot number")?,
            hash_chain: parse(&item, "Hash-Chain", "32 bytes in base64url")?,
            block_height: parse(&item, "Block-Height", "a block height")?,
            timestamp_ms: parse(&item, "Timestamp", "milliseconds since 1970")?,
            message: optional(&item, "Message", "an item id")?,
            messenger: optional(&item, MESSENGER, "an address")?,
            depth: optional(&item, PUSH_DEPTH, "a number")?.unwrap_or(0),
            root: optional(&item, PUSH_ROOT, "an item id")?,
            origin: Origin::read(item.tags())?,
            sent_by: optional(&item, ORIGIN_ASSIGNMENT, "an assignment's id")?,
            assign: optional(&item, ASSIGN, "an item id")?,
            certificate: optional(&item, CERTIFICATE, "32 bytes in base64url")?,
            authorities: authorities.collect::<Result<_, _>>()?,
            cron,
        };
        Ok(Assignment { item, statement })
    }

    /// The assignment's own id.
    pub fn id(&self) -> Id {
        self.item.id()
    }

    /// The link that the next slot must carry.
    pub fn next_link(&self) -> Digest {
        next_link(&self.id(), &self.statement.hash_chain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::origin::{OutboxIndex, OutboxKind};
    use crate::wallet::Wallet;

    #[test]
    fn the_hash_chain_is_that_of_ao() {
        let first = first_link(&Id::from([9; 32]));
        assert_eq!(first.to_string(), "jAzBegSULMT44P4LMCYG0xCIYMEmQouizutfntQcKwU");
        let next = next_link(&Id::from([3; 32]), &first);
        assert_eq!(next.to_string(), "l7LToWgogewR50fz3UwkKjP4z_bG1iJOHdIyeO7zVVQ");
    }

    #[test]
    fn a_statement_survives_signing_and_reading() {
        let process = Id::from([1; 32]);
        let statement = Statement {
            process,
            epoch: 0,
            slot: 7,
            hash_chain: first_link(&process),
            block_height: 1_400_000,
            timestamp_ms: 1_700_000_000_123,
            message: Some(Id::from([2; 32])),
            messenger: Some(Address::from([3; 32])),
            depth: 4,
            root: Some(Id::from([8; 32])),
            origin: Some(Origin {
                process: Id::from([5; 32]),
                slot: 6,
                index: OutboxIndex { kind: OutboxKind::Message, position: 0 },
            }),
            sent_by: Some(Id::from([9; 32])),
            assign: Some(Id::from([10; 32])),
            certificate: Some(Digest::from([11; 32])),
            authorities: vec![Address::from([4; 32]), Address::from([6; 32])],
            cron: None,
        };
        let signed = statement.clone().sign(&Wallet::ed25519_from_seed([1; 32])).unwrap();
        assert_eq!(signed.item.tag("Block-Height"), Some("000001400000"));
        assert_eq!(Assignment::read(signed.item.clone()).unwrap().statement, statement);
        let mut bare = statement;
        (bare.message, bare.messenger, bare.origin, bare.authorities) = (None, None, None, Vec::new());
        (bare.sent_by, bare.assign, bare.certificate) = (None, None, None);
        let signed = bare.clone().sign(&Wallet::ed25519_from_seed([1; 32])).unwrap();
        assert_eq!(Assignment::read(signed.item).unwrap().statement, bare);
        for (block, missed) in [(None, 0), (Some(7), 3)] {
            bare.cron = Some(Firing { cron: "0-10-seconds".into(), time_ms: 1_700_000_000_000, block, missed });
            let signed = bare.clone().sign(&Wallet::ed25519_from_seed([1; 32])).unwrap();
            assert_eq!(Assignment::read(signed.item).unwrap().statement, bare);
        }
    }

    #[test]
    fn unreadable_tags_are_named() {
        let item = ItemBuilder::new().tag("Type", "Assignment").tag("Process", "short");
        let cause = Assignment::read(item.sign(&Wallet::ed25519_from_seed([1; 32])).unwrap()).unwrap_err();
        assert!(cause.to_string().contains("Process"), "{cause}");
    }
}
