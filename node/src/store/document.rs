//! What a gateway knows of an item: the fields that GraphQL shows and the index is made of.

use ao_protocol::id::{Address, Id};
use ao_protocol::item::VerifiedItem;
use ao_protocol::tag::{Tag, find};

/// An item as gateways describe it, without its data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// Its id.
    pub id: Id,
    /// The anchor's bytes; none are none.
    pub anchor: Vec<u8>,
    /// The signature.
    pub signature: Vec<u8>,
    /// The public key of whoever signed it.
    pub owner: Vec<u8>,
    /// The native address of whoever signed it.
    pub address: Address,
    /// Whoever signed it as ao shows them: `0x…` for Ethereum keys, else the native address.
    pub signer: String,
    /// The target.
    pub recipient: Option<Id>,
    /// The tags in order.
    pub tags: Vec<Tag>,
    /// Bytes of its data.
    pub data_bytes: u64,
    /// What was paid for storing it, in winston.
    pub fee: u128,
    /// What the recipient gets, in winston.
    pub quantity: u128,
    /// The transaction or item that it came in.
    pub bundled_in: Option<Id>,
}

impl Document {
    /// The value of the first tag with this name.
    pub fn tag(&self, name: &str) -> Option<&str> {
        find(&self.tags, name)
    }
}

impl From<&VerifiedItem> for Document {
    fn from(item: &VerifiedItem) -> Document {
        Document {
            id: item.id(),
            anchor: item.anchor().map(|anchor| anchor.to_vec()).unwrap_or_default(),
            signature: item.signature().to_vec(),
            owner: item.owner().to_vec(),
            address: item.address(),
            signer: item.signer_text(),
            recipient: item.target(),
            tags: item.tags().to_vec(),
            data_bytes: item.data().len() as u64,
            fee: 0,
            quantity: 0,
            bundled_in: None,
        }
    }
}
