//! A message as a process's `handle` sees it: fields of the log entry in ao's names, nothing from anywhere else.

use crate::assignment::AUTHORITY;
use crate::entry::Entry;
use crate::id::encode_base64url;
use crate::item::{DataItem, VerifiedItem};
use crate::reference::{Named, Reference, ReferenceError};
use crate::tag::{self, Tag};
use crate::transaction::Transaction;

/// Tag of an `Assign` with the name of a field that its process is not given: `Data`, `Anchor` or `Signature`.
pub const EXCLUDE: &str = "Exclude";

/// The first argument of `handle`. A field that is `None` is an absent key. Data and anchor are bytes: Lua strings are.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Message {
    /// `Id`: the item's id.
    pub id: Option<String>,
    /// `Signature`, base64url.
    pub signature: Option<String>,
    /// `Data`.
    pub data: Option<Vec<u8>>,
    /// `Owner`: who signed the item.
    pub owner: String,
    /// `Target`: the process; for an item from elsewhere its own target, or empty.
    pub target: String,
    /// `Anchor`.
    pub anchor: Option<Vec<u8>>,
    /// `From`: the sending process if one pushed it, else the owner.
    pub from: String,
    /// `Forwarded-By`: the owner, if a process pushed it.
    pub forwarded_by: Option<String>,
    /// `Tags`, without those named `From` or `Owner`.
    pub tags: Vec<Tag>,
    /// `Epoch`.
    pub epoch: Option<u64>,
    /// `Nonce`: the slot.
    pub nonce: Option<u64>,
    /// `Timestamp`: milliseconds since 1970 by the scheduler's clock.
    pub timestamp: u64,
    /// `Block-Height`.
    pub block_height: u64,
    /// `Hash-Chain`.
    pub hash_chain: Option<String>,
    /// `Cron`.
    pub cron: bool,
    /// `Read-Only`: true in dry-runs.
    pub read_only: bool,
    /// `Data-Size`: bytes of the data of what was assigned by reference.
    pub data_size: Option<u64>,
    /// `Quantity` of a transaction that was assigned, in winston.
    pub quantity: Option<String>,
    /// `Reward` of a transaction that was assigned, in winston.
    pub reward: Option<String>,
    /// Data that may be read from this message on; no field of it.
    pub named: Vec<Named>,
}

/// Process or module as the second argument of `handle` describes it.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Unit {
    /// `Id`.
    pub id: String,
    /// `Owner`: who signed it.
    pub owner: String,
    /// `Tags`.
    pub tags: Vec<Tag>,
}

/// The second argument of `handle`.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Env {
    /// `Process`.
    pub process: Unit,
    /// `Module`.
    pub module: Unit,
}

impl Unit {
    /// Describes a process by its first slot: its item, with the messengers that the slot says it trusts.
    pub fn of_process(first: &Entry) -> Unit {
        let mut unit = Unit::of(&first.item);
        let authorities = first.assignment.statement.authorities.iter();
        unit.tags.extend(authorities.map(|address| Tag { name: AUTHORITY.into(), value: address.to_string() }));
        unit
    }

    /// Describes an item.
    pub fn of(item: &VerifiedItem) -> Unit {
        Unit { id: item.id().to_string(), owner: item.signer_text(), tags: item.tags().to_vec() }
    }
}

impl Message {
    /// The message that an entry is to its process.
    pub fn of(entry: &Entry) -> Result<Message, ReferenceError> {
        let assigned = entry.assigned_reference()?;
        let message = match &assigned {
            None => Message { data: Some(entry.item.data().to_vec()), ..Message::of_head(&entry.item) },
            Some(Reference::Item { head, size, .. }) => Message { data_size: Some(*size), ..Message::of_head(head) },
            Some(Reference::Transaction(transaction)) => Message::of_transaction(transaction),
        };
        let asked_for = assigned.is_some() || entry.is_from_elsewhere();
        // Fields of an item from elsewhere that are to be left out.
        let excluded = |name: &str| asked_for && entry.carrier().tag_values(EXCLUDE).any(|excluded| excluded == name);
        let statement = &entry.assignment.statement;
        Ok(Message {
            signature: message.signature.filter(|_| !excluded("Signature")),
            data: message.data.filter(|_| !excluded("Data")),
            anchor: message.anchor.filter(|_| !excluded("Anchor")),
            target: if asked_for { message.target } else { statement.process.to_string() },
            epoch: Some(statement.epoch),
            nonce: Some(statement.slot),
            timestamp: statement.timestamp_ms,
            block_height: statement.block_height,
            hash_chain: Some(statement.hash_chain.to_string()),
            named: entry.named()?,
            ..message
        })
    }

    /// What an item says, but its data.
    fn of_head(item: &DataItem) -> Message {
        let owner = item.signer_text();
        let from_process = tag::find(item.tags(), "From-Process");
        Message {
            id: Some(item.id().to_string()),
            signature: Some(encode_base64url(item.signature())),
            target: item.target().map(|target| target.to_string()).unwrap_or_default(),
            anchor: item.anchor().map(|anchor| anchor.to_vec()),
            from: from_process.unwrap_or(&owner).to_string(),
            forwarded_by: from_process.map(|_| owner.clone()),
            tags: shown(item.tags()),
            owner,
            ..Message::default()
        }
    }

    /// What a transaction says, but its data.
    fn of_transaction(transaction: &Transaction) -> Message {
        let owner = transaction.owner_address().to_string();
        Message {
            id: Some(transaction.id.to_string()),
            signature: Some(encode_base64url(&transaction.signature)),
            target: transaction.target.map(|target| target.to_string()).unwrap_or_default(),
            anchor: Some(transaction.last_tx.clone()),
            from: owner.clone(),
            tags: shown(&transaction.tags),
            data_size: Some(transaction.data_size),
            quantity: Some(transaction.quantity.to_string()),
            reward: Some(transaction.reward.to_string()),
            owner,
            ..Message::default()
        }
    }
}

/// Tags that say something of a message; who sent it is not said by tags.
fn shown(tags: &[Tag]) -> Vec<Tag> {
    tags.iter().filter(|tag| tag.name != "From" && tag.name != "Owner").cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::assignment::{Statement, first_link};
    use crate::id::Id;
    use crate::item::ItemBuilder;
    use crate::wallet::Wallet;

    #[test]
    fn from_is_the_sending_process_and_owner_tags_are_no_owner() {
        let wallet = Wallet::ed25519_from_seed([1; 32]);
        let process = Id::from([7; 32]);
        let item = ItemBuilder::new()
            .target(process)
            .tag("From-Process", "sender")
            .tag("Owner", "somebody else")
            .tag("From", "somebody else")
            .tag("Action", "Hi")
            .data(vec![0xff, 0])
            .sign(&wallet)
            .unwrap();
        let statement = Statement {
            process,
            epoch: 0,
            slot: 3,
            hash_chain: first_link(&process),
            block_height: 5,
            timestamp_ms: 9,
            message: Some(item.id()),
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
        let entry =
            Entry { assignment: statement.sign(&wallet).unwrap(), item: item.clone(), proof: None, certificate: None };
        let message = Message::of(&entry).unwrap();
        assert_eq!(message.from, "sender");
        assert_eq!(message.owner, item.signer_text());
        assert_eq!(message.forwarded_by.as_ref(), Some(&message.owner));
        assert_eq!(message.data.as_deref(), Some(&[0xff, 0][..]));
        let names: Vec<_> = message.tags.iter().map(|tag| tag.name.as_str()).collect();
        assert_eq!(names, ["From-Process", "Action"]);
        assert_eq!((message.nonce, message.timestamp, message.block_height), (Some(3), 9, 5));
    }
}
