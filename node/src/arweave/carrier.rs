//! What carries a bundle to Arweave: a transaction of this node's own, or an item that a bundler puts there.

use ao_protocol::id::Id;
use ao_protocol::item::DataItem;
use ao_protocol::tag::Tag;
use ao_protocol::transaction::Transaction;
use serde::{Deserialize, Serialize};

/// What carries a bundle; its data is kept beside it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Carrier {
    /// A transaction without its data.
    Transaction(Box<Transaction>),
    /// An item.
    Item {
        /// Its id.
        id: Id,
        /// Its bytes before the data.
        head: Vec<u8>,
        /// Bytes of its data.
        size: u64,
    },
}

impl Carrier {
    /// What it is found by.
    pub fn id(&self) -> Id {
        match self {
            Carrier::Transaction(transaction) => transaction.id,
            Carrier::Item { id, .. } => *id,
        }
    }

    /// Its tags.
    pub fn tags(&self) -> Vec<Tag> {
        match self {
            Carrier::Transaction(transaction) => transaction.tags.clone(),
            // This node made it.
            Carrier::Item { head, .. } => {
                DataItem::decode(&head[..]).map(|head| head.tags().to_vec()).unwrap_or_default()
            }
        }
    }

    /// Bytes of its data.
    pub fn data_size(&self) -> u64 {
        match self {
            Carrier::Transaction(transaction) => transaction.data_size,
            Carrier::Item { size, .. } => *size,
        }
    }
}
