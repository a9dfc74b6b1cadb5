//! References: what a log says of data that is not in it.
//!
//! A process reads data of the permaweb that an `Assign` or its spawn names. The log holds what fixes the data, and not
//! its bytes: the signed head of the Arweave transaction (size and merkle root) or of the item (size and SHA-384). The
//! scheduler looks it up when it gives the slot, and puts it beside the slot as an item of its own, of type
//! [`REFERENCES`], whose data is a JSON list:
//!
//! ```text
//! { "transaction": a transaction as gateways give it, without its data }
//! { "item": { "head": the item up to its data, "size": decimal, "sha384": of its data } }      bytes in base64url
//! ```
//!
//! Whoever follows the log verifies these heads, and pieces of the data when they come, from whom ever.

use std::fmt;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Value, json};
use thiserror::Error;

use crate::id::{Digest, Id, decode_base64url, encode_base64url};
use crate::item::deep_hash::sha384;
use crate::item::{DataItem, ItemBuilder, ItemError, VerifiedItem};
use crate::transaction::{Transaction, TransactionError};
use crate::wallet::Signer;

/// The type of the item that holds references.
pub const REFERENCES: &str = "References";
/// Tag of a spawn with ids of data that the process may read; may be repeated, and be a list joined by commas.
pub const DATA_REFERENCE: &str = "Data-Reference";
/// Tag of a spawn; when its value is an id, the process may read that data and boots from it.
pub const ON_BOOT: &str = "On-Boot";
/// Tag of an `Assign` of an Arweave transaction.
pub const BASE_LAYER: &str = "Base-Layer";
/// Tag of an `Assign` of an item whose data is to be read and not to be a part of the message.
pub const BY_REFERENCE: &str = "By-Reference";
/// Tag of the item that holds references: the spawn or `Assign` that they are for.
pub const ASSIGNED_BY: &str = "For";
/// Most bytes of the item that holds references.
pub const MAX_REFERENCES_BYTES: usize = 64 * 1024;
/// Most references that one spawn may have.
pub const MAX_REFERENCES: usize = 8;
/// Most bytes of data that is referred to: no node keeps more of one.
pub const MAX_REFERENCED_BYTES: u64 = 64 * 1024 * 1024 * 1024;

/// SHA-384 of data, as signatures of items are over it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sha384(pub [u8; 48]);

impl fmt::Display for Sha384 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&encode_base64url(&self.0))
    }
}

impl fmt::Debug for Sha384 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl Serialize for Sha384 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.as_slice().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Sha384 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Sha384, D::Error> {
        let bytes = Vec::<u8>::deserialize(deserializer)?;
        bytes.try_into().map(Sha384).map_err(|_| D::Error::custom("SHA-384 has 48 bytes"))
    }
}

/// What fixes the bytes of data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Seal {
    /// The merkle root over its pieces: each piece can be checked alone.
    Root(Digest),
    /// The hash of all of it.
    Sha384(Sha384),
}

/// Data that a process may read, as its log fixes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Named {
    /// The transaction or item that it is the data of.
    pub id: Id,
    /// Its bytes.
    pub size: u64,
    /// What fixes them.
    pub seal: Seal,
}

impl Named {
    /// The data of an item that is in the log itself.
    pub fn of_item(item: &DataItem) -> Named {
        let data = item.data();
        Named { id: item.id(), size: data.len() as u64, seal: Seal::Sha384(Sha384(sha384(data))) }
    }
}

/// The signed head of a transaction or an item, its signature verified, without its data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reference {
    /// Of a transaction.
    Transaction(Box<Transaction>),
    /// Of an item.
    Item {
        /// An item without data: only its head counts.
        head: DataItem,
        /// Bytes of its data.
        size: u64,
        /// The hash of its data.
        sha384: Sha384,
    },
}

/// Why something is no reference.
#[derive(Debug, Error)]
pub enum ReferenceError {
    /// Not the JSON that is expected.
    #[error("the references are not the JSON list that is expected: {0}")]
    Form(String),
    /// A transaction that can't be verified.
    #[error(transparent)]
    Transaction(#[from] TransactionError),
    /// An item whose head can't be verified.
    #[error(transparent)]
    Item(#[from] ItemError),
    /// Too many of them.
    #[error("{0} references; at most {MAX_REFERENCES} are allowed")]
    TooMany(usize),
    /// An id that is none.
    #[error("tag {DATA_REFERENCE} has the value {0:?}; expected ids joined by commas")]
    Id(String),
    /// More is known of them than a log takes.
    #[error("the references have {0} bytes; at most {MAX_REFERENCES_BYTES} are allowed")]
    Size(usize),
    /// More data than nodes keep.
    #[error("the data of {id} has {size} bytes; at most {MAX_REFERENCED_BYTES} can be referred to")]
    TooLarge {
        /// Whose data.
        id: Id,
        /// How many bytes it has.
        size: u64,
    },
}

impl Reference {
    /// The reference to a verified transaction.
    pub fn of_transaction(transaction: Transaction) -> Reference {
        Reference::Transaction(Box::new(Transaction { data: Vec::new(), ..transaction }))
    }

    /// The reference to an item that is at hand.
    pub fn of_item(item: &VerifiedItem) -> Result<Reference, ReferenceError> {
        let data = item.data();
        Reference::of_head(item.head(), data.len() as u64, Sha384(sha384(data)))
    }

    /// The reference to an item of which the head is at hand, and size and hash of its data; verifies its signature.
    pub fn of_head(head: &[u8], size: u64, sha384: Sha384) -> Result<Reference, ReferenceError> {
        Reference::unverified(head, size, sha384)?.verify()
    }

    fn unverified(head: &[u8], size: u64, sha384: Sha384) -> Result<Reference, ReferenceError> {
        let head = DataItem::decode(head)?;
        if !head.data().is_empty() {
            return Err(ReferenceError::Form("something follows the head of an item".into()));
        }
        Ok(Reference::Item { head, size, sha384 })
    }

    /// Checks the signature.
    fn verify(self) -> Result<Reference, ReferenceError> {
        match &self {
            Reference::Transaction(transaction) => transaction.verify()?,
            Reference::Item { head, size, sha384 } => head.verify_head(*size, &sha384.0)?,
        }
        Ok(self)
    }

    /// Whom the transaction or item is addressed to.
    pub fn target(&self) -> Option<Id> {
        match self {
            Reference::Transaction(transaction) => transaction.target.map(|target| Id::from(target.to_bytes())),
            Reference::Item { head, .. } => head.target(),
        }
    }

    /// The data that it refers to.
    pub fn named(&self) -> Named {
        match self {
            Reference::Transaction(transaction) => Named {
                id: transaction.id,
                size: transaction.data_size,
                // Data of no bytes has no root, and nothing of it is ever read.
                seal: Seal::Root(transaction.data_root.unwrap_or_else(|| Digest::from([0; 32]))),
            },
            Reference::Item { head, size, sha384 } => Named { id: head.id(), size: *size, seal: Seal::Sha384(*sha384) },
        }
    }

    fn to_json(&self) -> Value {
        match self {
            Reference::Transaction(transaction) => json!({ "transaction": transaction.to_json() }),
            Reference::Item { head, size, sha384 } => json!({ "item": {
                "head": encode_base64url(head.head()),
                "size": size.to_string(),
                "sha384": sha384.to_string(),
            } }),
        }
    }

    fn from_json(value: &Value) -> Result<Reference, ReferenceError> {
        let form = |text: &str| ReferenceError::Form(text.to_string());
        let reference = if let Some(transaction) = value.get("transaction") {
            Reference::of_transaction(Transaction::read_json(transaction.to_string().as_bytes())?)
        } else {
            let item = value.get("item").ok_or_else(|| form("neither a transaction nor an item"))?;
            let text = |name: &str| item.get(name).and_then(Value::as_str).ok_or_else(|| form("an item lacks a field"));
            let bytes = |name: &str| decode_base64url(text(name)?).map_err(|cause| form(&cause.to_string()));
            let sha384 = bytes("sha384")?.try_into().map(Sha384).map_err(|_| form("SHA-384 has 48 bytes"))?;
            let size = text("size")?.parse().map_err(|_| form("the size of an item is no number"))?;
            Reference::unverified(&bytes("head")?, size, sha384)?
        };
        match reference.named() {
            Named { size, .. } if size <= MAX_REFERENCED_BYTES => Ok(reference),
            Named { id, size, .. } => Err(ReferenceError::TooLarge { id, size }),
        }
    }
}

/// Reads and verifies references.
pub fn read(item: &DataItem) -> Result<Vec<Reference>, ReferenceError> {
    read_own(item)?.into_iter().map(Reference::verify).collect()
}

/// Reads references that this node verified before it stored them.
pub fn read_own(item: &DataItem) -> Result<Vec<Reference>, ReferenceError> {
    let list: Vec<Value> =
        serde_json::from_slice(item.data()).map_err(|cause| ReferenceError::Form(cause.to_string()))?;
    if list.len() > MAX_REFERENCES {
        return Err(ReferenceError::TooMany(list.len()));
    }
    list.iter().map(Reference::from_json).collect()
}

/// The item that holds references for a spawn or an `Assign`, for a slot of its process, signed by its scheduler.
pub fn write(
    process: Id,
    asks: Id,
    references: &[Reference],
    scheduler: &dyn Signer,
) -> Result<VerifiedItem, ReferenceError> {
    let list: Vec<Value> = references.iter().map(Reference::to_json).collect();
    let item = ItemBuilder::new()
        .target(process)
        .tag("Data-Protocol", "ao")
        .tag("Variant", "ao.TN.1")
        .tag("Type", REFERENCES)
        .tag("Content-Type", "application/json")
        .tag(ASSIGNED_BY, asks.to_string())
        .data(Value::from(list).to_string());
    let item = item.sign(scheduler)?;
    match item.bytes().len() {
        bytes if bytes > MAX_REFERENCES_BYTES => Err(ReferenceError::Size(bytes)),
        _ => Ok(item),
    }
}

/// The data that a spawn names, each id once.
pub fn of_spawn(spawn: &DataItem) -> Result<Vec<Id>, ReferenceError> {
    let mut named: Vec<Id> = spawn.tag(ON_BOOT).and_then(|value| value.parse().ok()).into_iter().collect();
    for text in spawn.tag_values(DATA_REFERENCE).flat_map(|value| value.split(',')).map(str::trim) {
        let id = text.parse().map_err(|_| ReferenceError::Id(text.chars().take(64).collect()))?;
        if !named.contains(&id) {
            named.push(id);
        }
        if named.len() > MAX_REFERENCES {
            return Err(ReferenceError::TooMany(named.len()));
        }
    }
    Ok(named)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tag::Tag;
    use crate::transaction::TransactionBuilder;
    use crate::wallet::Wallet;

    fn references() -> Vec<Reference> {
        let wallet = Wallet::from_jwk(include_str!("../../tests/golden/rsa-wallet.json")).unwrap();
        let tags = vec![Tag::new("Content-Type", "text/plain")];
        let transaction = TransactionBuilder { tags, reward: 5, ..TransactionBuilder::default() };
        let items = [&Wallet::ed25519_from_seed([1; 32]), &wallet].map(|signer| {
            let item = ItemBuilder::new().tag("Name", "x").data(vec![7; 100]).sign(signer).unwrap();
            Reference::of_item(&item).unwrap()
        });
        let transaction = transaction.sign(&[1, 2, 3], &wallet).unwrap();
        let empty = TransactionBuilder::default().sign(&[], &wallet).unwrap();
        [transaction, empty].map(Reference::of_transaction).into_iter().chain(items).collect()
    }

    #[test]
    fn references_are_read_as_they_were_written() {
        let references = references();
        let item =
            write(Id::from([3; 32]), Id::from([4; 32]), &references, &Wallet::ed25519_from_seed([9; 32])).unwrap();
        assert_eq!(read(&item).unwrap(), references);
        let sizes: Vec<u64> = references.iter().map(|reference| reference.named().size).collect();
        assert_eq!(sizes, [3, 0, 100, 100]);
    }

    #[test]
    fn a_changed_head_size_or_hash_is_refused() {
        let signer = Wallet::ed25519_from_seed([9; 32]);
        let read_json = |value: Value| read(&ItemBuilder::new().data(value.to_string()).sign(&signer).unwrap());
        for reference in references() {
            let good = reference.to_json();
            assert!(read_json(json!([good])).is_ok());
            let (kind, fields) = good.as_object().unwrap().iter().next().unwrap();
            for (field, value) in fields.as_object().unwrap() {
                // What a transaction's own tests look at.
                if kind == "transaction" && !["data_size", "data_root"].contains(&field.as_str()) {
                    continue;
                }
                let mut changed = good.clone();
                let text = value.as_str().unwrap();
                changed[kind][field] = match field.as_str() {
                    "size" | "data_size" => json!(format!("1{text}")),
                    _ if text.is_empty() => json!(Id::from([1; 32]).to_string()),
                    _ => json!(text.replacen(&text[30..31], if &text[30..31] == "A" { "B" } else { "A" }, 1)),
                };
                assert!(read_json(json!([changed])).is_err(), "{kind} {field}");
            }
        }
        assert!(read_json(json!({})).is_err() && read_json(json!([{}])).is_err());
        let many = vec![references()[0].to_json(); MAX_REFERENCES + 1];
        assert!(matches!(read_json(json!(many)), Err(ReferenceError::TooMany(9))));
    }

    #[test]
    fn more_than_a_log_takes_is_refused() {
        let wallet = Wallet::from_jwk(include_str!("../../tests/golden/rsa-wallet.json")).unwrap();
        // Tags of one letter each take many times as much as text.
        let tags = vec![Tag::new("a", "b"); 1000];
        let transaction = TransactionBuilder { tags, ..TransactionBuilder::default() }.sign(&[1], &wallet).unwrap();
        let references = vec![Reference::of_transaction(transaction); 3];
        let written = write(Id::from([3; 32]), Id::from([4; 32]), &references, &wallet);
        assert!(matches!(written, Err(ReferenceError::Size(bytes)) if bytes > MAX_REFERENCES_BYTES));
    }

    #[test]
    fn a_spawn_names_data_by_its_tags() {
        let of = |tags: &[(&str, &str)]| {
            let mut item = ItemBuilder::new();
            item.tags = tags.iter().map(|(name, value)| Tag::new(*name, *value)).collect();
            of_spawn(&item.sign(&Wallet::ed25519_from_seed([1; 32])).unwrap())
        };
        let (one, two) = (Id::from([1; 32]), Id::from([2; 32]));
        assert_eq!(of(&[(ON_BOOT, "Data")]).unwrap(), []);
        assert_eq!(of(&[(ON_BOOT, &one.to_string())]).unwrap(), [one]);
        let list = format!("{two}, {one}");
        assert_eq!(of(&[(ON_BOOT, &one.to_string()), (DATA_REFERENCE, &list)]).unwrap(), [one, two]);
        assert!(matches!(of(&[(DATA_REFERENCE, "x")]), Err(ReferenceError::Id(_))));
        let many: Vec<String> = (0..9).map(|n| Id::from([n; 32]).to_string()).collect();
        assert!(matches!(of(&[(DATA_REFERENCE, &many.join(","))]), Err(ReferenceError::TooMany(9))));
    }
}
