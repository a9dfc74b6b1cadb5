//! Arweave transactions of format 2: reading and verifying what others signed, making and signing our own.

pub mod chunks;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use thiserror::Error;

use crate::id::{Address, Digest, Id, decode_base64url, encode_base64url};
use crate::item::deep_hash::DeepHash::{self, Blob, List};
use crate::item::signature::{self, SignatureError, SignatureType};
use crate::tag::{self, Tag};
use crate::wallet::{Signer, Wallet, WalletError};
use crate::wire;

/// Most bytes of all tags of a transaction, names and values together, as Arweave allows.
pub const MAX_TRANSACTION_TAG_BYTES: usize = 2048;
/// Largest data that comes with a transaction, in bytes; more is uploaded in chunks.
pub const MAX_INLINE_DATA_BYTES: usize = 7 * 1024 * 1024;

/// A transaction whose signature and id were verified.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transaction {
    /// Always 2.
    pub format: u8,
    /// Sha-256 of the signature.
    pub id: Id,
    /// The anchor: a block's id (48 bytes), the wallet's last transaction (32), or nothing.
    pub last_tx: Vec<u8>,
    /// Modulus of the RSA key that signed it.
    pub owner: Vec<u8>,
    /// Tags in order.
    pub tags: Vec<Tag>,
    /// Who gets the quantity.
    pub target: Option<Address>,
    /// In winston.
    pub quantity: u128,
    /// What is paid for it, in winston.
    pub reward: u128,
    /// Bytes of its data.
    pub data_size: u64,
    /// The merkle root over its data.
    pub data_root: Option<Digest>,
    /// The signature.
    pub signature: Vec<u8>,
    /// The data that came with it; empty when it is uploaded in chunks.
    pub data: Vec<u8>,
}

/// Why bytes are no transaction.
#[derive(Debug, Error)]
pub enum TransactionError {
    /// Not the JSON that is expected.
    #[error("not a transaction in JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// A field that can't be read.
    #[error("field {name} of the transaction: expected {expected}")]
    Field {
        /// Which one.
        name: &'static str,
        /// What it should be.
        expected: &'static str,
    },
    /// Another format.
    #[error("transactions of format {0} are not taken; use format 2")]
    Format(u64),
    /// Too many bytes of tags.
    #[error("tags of {0} bytes; at most {MAX_TRANSACTION_TAG_BYTES} are allowed")]
    Tags(usize),
    /// Too much data in it.
    #[error("data of {0} bytes within the transaction; upload more than {MAX_INLINE_DATA_BYTES} in chunks")]
    Data(usize),
    /// The data is not the one that was signed.
    #[error("the data does not have the size or the root that was signed")]
    DataRoot,
    /// The signature does not fit.
    #[error("the signature does not fit the transaction: {0}")]
    Signature(#[from] SignatureError),
    /// The id does not fit.
    #[error("the id is not the hash of the signature")]
    Id,
    /// Only RSA wallets sign transactions.
    #[error("transactions are signed by RSA wallets; this one is of another kind")]
    Wallet,
    /// The wallet failed.
    #[error(transparent)]
    Sign(#[from] WalletError),
    /// A stored one can't be read back.
    #[error("{0}")]
    Stored(String),
}

/// A transaction as JSON.
#[derive(Deserialize)]
struct Json {
    format: u64,
    id: String,
    last_tx: String,
    owner: String,
    #[serde(default)]
    tags: Vec<JsonTag>,
    #[serde(default)]
    target: String,
    #[serde(default)]
    quantity: String,
    #[serde(default)]
    reward: String,
    #[serde(default)]
    data: String,
    #[serde(default)]
    data_size: String,
    #[serde(default)]
    data_root: String,
    signature: String,
}

#[derive(Deserialize)]
struct JsonTag {
    name: String,
    value: String,
}

impl Transaction {
    /// Reads a transaction in JSON, as clients post it, and verifies its signature, its id, and that data which comes
    /// with it is what was signed.
    pub fn verify_json(json: &[u8]) -> Result<Transaction, TransactionError> {
        let transaction = Transaction::read_json(json)?;
        transaction.verify()?;
        Ok(transaction)
    }

    /// Reads a transaction in JSON without verifying anything.
    pub fn read_json(json: &[u8]) -> Result<Transaction, TransactionError> {
        let json: Json = serde_json::from_slice(json)?;
        if json.format != 2 {
            return Err(TransactionError::Format(json.format));
        }
        let bytes = |name, text: &str| {
            decode_base64url(text).map_err(|_| TransactionError::Field { name, expected: "base64url" })
        };
        let text = |text: &str| {
            let expected = TransactionError::Field { name: "tags", expected: "names and values of UTF-8 in base64url" };
            decode_base64url(text).ok().and_then(|bytes| String::from_utf8(bytes).ok()).ok_or(expected)
        };
        let mut tags = Vec::new();
        let mut tag_bytes = 0;
        for tag in &json.tags {
            let tag = Tag { name: text(&tag.name)?, value: text(&tag.value)? };
            tag_bytes += tag.name.len() + tag.value.len();
            tags.push(tag);
        }
        if tag_bytes > MAX_TRANSACTION_TAG_BYTES {
            return Err(TransactionError::Tags(tag_bytes));
        }
        let last_tx = bytes("last_tx", &json.last_tx)?;
        if !matches!(last_tx.len(), 0 | 32 | 48) {
            return Err(TransactionError::Field { name: "last_tx", expected: "the id of a block or a transaction" });
        }
        let optional = |name, text: &str| match text {
            "" => Ok(None),
            text => text.parse::<Id>().map(Some).map_err(|_| TransactionError::Field { name, expected: "32 bytes" }),
        };
        Ok(Transaction {
            format: 2,
            id: json.id.parse().map_err(|_| TransactionError::Id)?,
            last_tx,
            owner: bytes("owner", &json.owner)?,
            tags,
            target: optional("target", &json.target)?.map(|target| Address::from(target.to_bytes())),
            quantity: decimal("quantity", &json.quantity)?,
            reward: decimal("reward", &json.reward)?,
            data_size: u64::try_from(decimal("data_size", &json.data_size)?)
                .map_err(|_| TransactionError::Field { name: "data_size", expected: "a smaller number" })?,
            data_root: optional("data_root", &json.data_root)?.map(|root| Digest::from(root.to_bytes())),
            signature: bytes("signature", &json.signature)?,
            data: bytes("data", &json.data)?,
        })
    }

    /// Checks its signature, its id, and that data which came with it is what was signed.
    pub fn verify(&self) -> Result<(), TransactionError> {
        if self.data.len() > MAX_INLINE_DATA_BYTES {
            return Err(TransactionError::Data(self.data.len()));
        }
        let rooted = self.data_root.is_some() == (self.data_size > 0);
        let whole = self.data.is_empty()
            || (self.data.len() as u64 == self.data_size && Some(chunks::split(&self.data).root) == self.data_root);
        if !rooted || !whole {
            return Err(TransactionError::DataRoot);
        }
        if self.owner.len() != SignatureType::Arweave.owner_len() {
            return Err(TransactionError::Signature(SignatureError::Owner));
        }
        signature::verify(SignatureType::Arweave, &self.owner, &self.signed(), &self.signature)?;
        if self.id != id_of(&self.signature) { Err(TransactionError::Id) } else { Ok(()) }
    }

    /// What the signature is over.
    fn signed(&self) -> [u8; 48] {
        let target = self.target.map(|target| target.to_bytes().to_vec()).unwrap_or_default();
        let root = self.data_root.map(|root| root.to_bytes().to_vec()).unwrap_or_default();
        let (quantity, reward) = (self.quantity.to_string(), self.reward.to_string());
        let size = self.data_size.to_string();
        let pairs: Vec<[DeepHash<'_>; 2]> =
            self.tags.iter().map(|tag| [Blob(tag.name.as_bytes()), Blob(tag.value.as_bytes())]).collect();
        let tags: Vec<DeepHash<'_>> = pairs.iter().map(|pair| List(pair)).collect();
        List(&[
            Blob(b"2"),
            Blob(&self.owner),
            Blob(&target),
            Blob(quantity.as_bytes()),
            Blob(reward.as_bytes()),
            Blob(&self.last_tx),
            List(&tags),
            Blob(size.as_bytes()),
            Blob(&root),
        ])
        .hash()
    }

    /// The transaction as gateways give it, without its data.
    pub fn to_json(&self) -> Value {
        let pair = |tag: &Tag| json!({ "name": encode_base64url(tag.name.as_bytes()), "value": encode_base64url(tag.value.as_bytes()) });
        json!({
            "format": self.format,
            "id": self.id.to_string(),
            "last_tx": encode_base64url(&self.last_tx),
            "owner": encode_base64url(&self.owner),
            "tags": self.tags.iter().map(pair).collect::<Vec<Value>>(),
            "target": self.target.map(|target| target.to_string()).unwrap_or_default(),
            "quantity": self.quantity.to_string(),
            "data": "",
            "data_size": self.data_size.to_string(),
            "data_root": self.data_root.map(|root| root.to_string()).unwrap_or_default(),
            "reward": self.reward.to_string(),
            "signature": encode_base64url(&self.signature),
        })
    }

    /// The address of whoever signed it.
    pub fn owner_address(&self) -> Address {
        Address::from(<[u8; 32]>::from(Sha256::digest(&self.owner)))
    }

    /// The value of the first tag with this name.
    pub fn tag(&self, name: &str) -> Option<&str> {
        tag::find(&self.tags, name)
    }

    /// The transaction as this node stores it.
    pub fn to_bytes(&self) -> Vec<u8> {
        wire::encode(self)
    }

    /// Reads what this node verified before it stored it.
    pub fn from_own_store(bytes: &[u8]) -> Result<Transaction, TransactionError> {
        wire::decode(bytes).map_err(|cause| TransactionError::Stored(cause.to_string()))
    }
}

/// A number as Arweave writes it: decimal, without sign or leading zeros. Nothing stands for 0.
fn decimal(name: &'static str, text: &str) -> Result<u128, TransactionError> {
    let wrong = TransactionError::Field { name, expected: "a whole number in decimal" };
    let plain = text.bytes().all(|digit| digit.is_ascii_digit()) && (text.len() == 1 || !text.starts_with('0'));
    match text {
        "" => Ok(0),
        text if plain => text.parse().map_err(|_| wrong),
        _ => Err(wrong),
    }
}

fn id_of(signature: &[u8]) -> Id {
    Id::from(<[u8; 32]>::from(Sha256::digest(signature)))
}

/// What a transaction is to say.
#[derive(Clone, Debug, Default)]
pub struct TransactionBuilder {
    /// The anchor: a recent block's id, or the wallet's last transaction.
    pub last_tx: Vec<u8>,
    /// Tags in order.
    pub tags: Vec<Tag>,
    /// Who gets the quantity.
    pub target: Option<Address>,
    /// In winston.
    pub quantity: u128,
    /// What is paid for it, in winston.
    pub reward: u128,
}

impl TransactionBuilder {
    /// Signs a transaction that carries this data.
    pub fn sign(self, data: &[u8], wallet: &Wallet) -> Result<Transaction, TransactionError> {
        let root = (!data.is_empty()).then(|| chunks::split(data).root);
        Ok(Transaction { data: data.to_vec(), ..self.sign_for(root, data.len() as u64, wallet)? })
    }

    /// Signs a transaction for data of which the root and the bytes are known, none for none.
    pub fn sign_for(
        self,
        data_root: Option<Digest>,
        data_size: u64,
        wallet: &Wallet,
    ) -> Result<Transaction, TransactionError> {
        if wallet.signature_type() != SignatureType::Arweave {
            return Err(TransactionError::Wallet);
        }
        let mut transaction = Transaction {
            format: 2,
            id: Id::from([0; 32]),
            last_tx: self.last_tx,
            owner: wallet.owner().to_vec(),
            tags: self.tags,
            target: self.target,
            quantity: self.quantity,
            reward: self.reward,
            data_size,
            data_root,
            signature: Vec::new(),
            data: Vec::new(),
        };
        transaction.signature = wallet.sign(&transaction.signed())?;
        transaction.id = id_of(&transaction.signature);
        Ok(transaction)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wallet() -> Wallet {
        Wallet::from_jwk(include_str!("../../../tests/golden/rsa-wallet.json")).unwrap()
    }

    fn sample(data: &[u8]) -> Transaction {
        let tag = |name: &str, value: &str| Tag { name: name.into(), value: value.into() };
        TransactionBuilder {
            last_tx: vec![5; 48],
            tags: vec![tag("Content-Type", "text/plain"), tag("Grüße", "")],
            target: Some(Address::from([9; 32])),
            quantity: 12,
            reward: 345,
        }
        .sign(data, &wallet())
        .unwrap()
    }

    fn with_data(transaction: &Transaction) -> Value {
        let mut json = transaction.to_json();
        json["data"] = encode_base64url(&transaction.data).into();
        json
    }

    fn verify(json: &Value) -> Result<Transaction, TransactionError> {
        Transaction::verify_json(json.to_string().as_bytes())
    }

    #[test]
    fn what_was_signed_verifies_with_and_without_its_data() {
        for data in [&b""[..], b"some data"] {
            let transaction = sample(data);
            assert_eq!(verify(&with_data(&transaction)).unwrap(), transaction);
            let bare = Transaction { data: Vec::new(), ..transaction.clone() };
            assert_eq!(verify(&transaction.to_json()).unwrap(), bare);
            assert_eq!(Transaction::from_own_store(&transaction.to_bytes()).unwrap(), transaction);
        }
    }

    #[test]
    fn every_field_is_signed() {
        let good = with_data(&sample(b"some data"));
        for (field, value) in [
            ("last_tx", json!("")),
            ("target", json!("")),
            ("quantity", json!("13")),
            ("reward", json!("344")),
            ("tags", json!([])),
            ("data", json!("c29tZSBkYXRb")),
            ("data_size", json!("10")),
            ("data_root", json!("")),
            ("id", json!(Id::from([1; 32]).to_string())),
        ] {
            let mut changed = good.clone();
            changed[field] = value;
            assert!(verify(&changed).is_err(), "{field}");
        }
        assert!(verify(&good).is_ok());
    }

    #[test]
    fn what_can_not_be_read_is_named() {
        let good = sample(b"x").to_json();
        let text = |field: &str, value: Value| {
            let mut changed = good.clone();
            changed[field] = value;
            verify(&changed).unwrap_err().to_string()
        };
        assert!(text("format", json!(1)).contains("format 1"));
        assert!(text("quantity", json!("-1")).contains("quantity"));
        assert!(text("reward", json!("007")).contains("reward"));
        assert!(text("last_tx", json!("abc!")).contains("last_tx"));
        assert!(text("owner", json!("AQAB")).contains("signature"));
        let tags = json!([{ "name": "YQ", "value": encode_base64url(&[b'x'; 3000]) }]);
        assert!(text("tags", tags).contains("3001 bytes"));
        assert!(Transaction::verify_json(b"garbage").unwrap_err().to_string().contains("not a transaction in JSON"));
    }

    #[test]
    fn only_rsa_wallets_sign() {
        let cause = TransactionBuilder::default().sign(b"", &Wallet::ed25519_from_seed([1; 32])).unwrap_err();
        assert!(matches!(cause, TransactionError::Wallet));
    }
}
