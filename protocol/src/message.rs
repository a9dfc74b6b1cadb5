//! A message as a process's `handle` sees it: fields of the log entry in ao's names, nothing from anywhere else.

use crate::assignment::AUTHORITY;
use crate::entry::Entry;
use crate::id::encode_base64url;
use crate::item::VerifiedItem;
use crate::tag::{self, Tag};

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
    pub fn of(entry: &Entry) -> Message {
        let (item, statement) = (&entry.item, &entry.assignment.statement);
        let owner = item.signer_text();
        let from_process = tag::find(item.tags(), "From-Process");
        // Fields of an item from elsewhere that are to be left out.
        let excluded = |name: &str| {
            let mut exclude = entry.proof.iter().flat_map(|proof| proof.tag_values(EXCLUDE));
            exclude.any(|excluded| excluded == name)
        };
        let target = match entry.proof {
            None => statement.process.to_string(),
            Some(_) => item.target().map(|target| target.to_string()).unwrap_or_default(),
        };
        Message {
            id: Some(item.id().to_string()),
            signature: (!excluded("Signature")).then(|| encode_base64url(item.signature())),
            data: (!excluded("Data")).then(|| item.data().to_vec()),
            target,
            anchor: item.anchor().filter(|_| !excluded("Anchor")).map(|anchor| anchor.to_vec()),
            from: from_process.unwrap_or(&owner).to_string(),
            forwarded_by: from_process.map(|_| owner.clone()),
            tags: item.tags().iter().filter(|tag| tag.name != "From" && tag.name != "Owner").cloned().collect(),
            epoch: Some(statement.epoch),
            nonce: Some(statement.slot),
            timestamp: statement.timestamp_ms,
            block_height: statement.block_height,
            hash_chain: Some(statement.hash_chain.to_string()),
            cron: false,
            read_only: false,
            owner,
        }
    }
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
        let message = Message::of(&entry);
        assert_eq!(message.from, "sender");
        assert_eq!(message.owner, item.signer_text());
        assert_eq!(message.forwarded_by.as_ref(), Some(&message.owner));
        assert_eq!(message.data.as_deref(), Some(&[0xff, 0][..]));
        let names: Vec<_> = message.tags.iter().map(|tag| tag.name.as_str()).collect();
        assert_eq!(names, ["From-Process", "Action"]);
        assert_eq!((message.nonce, message.timestamp, message.block_height), (Some(3), 9, 5));
    }
}
