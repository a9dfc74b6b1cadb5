//! What queries answer: items and blocks with the names that gateways give their fields.

use std::sync::Arc;

use ao_protocol::id::encode_base64url;
use ao_protocol::tag;
use async_graphql::{ComplexObject, Context, ID, Result, SimpleObject};

use super::queries::Allowance;
use crate::arweave;
use crate::store::{Document, Position};

/// Digits of an AR behind the point: an AR is 10^12 winston.
const AR_DIGITS: u32 = 12;

/// A page of items.
#[derive(Debug, SimpleObject)]
pub(super) struct TransactionConnection {
    /// What is behind it.
    pub(super) page_info: PageInfo,
    /// The items.
    pub(super) edges: Vec<TransactionEdge>,
}

/// What is behind a page.
#[derive(Debug, SimpleObject)]
pub(super) struct PageInfo {
    /// Whether there is another entry.
    pub(super) has_next_page: bool,
}

/// An item in a page.
#[derive(Debug, SimpleObject)]
pub(super) struct TransactionEdge {
    /// To be given as `after` to read on behind it.
    pub(super) cursor: String,
    /// The item.
    pub(super) node: Transaction,
}

/// An item or a transaction.
#[derive(Debug, SimpleObject)]
#[graphql(complex)]
pub(super) struct Transaction {
    id: ID,
    anchor: String,
    signature: String,
    recipient: String,
    owner: Owner,
    fee: Amount,
    quantity: Amount,
    data: MetaData,
    #[graphql(skip)]
    tags: Vec<tag::Tag>,
    block: Option<Block>,
    parent: Option<Parent>,
    bundled_in: Option<Bundle>,
}

#[ComplexObject]
impl Transaction {
    /// The tags, in order.
    async fn tags(&self, ctx: &Context<'_>) -> Result<Vec<Tag>> {
        ctx.data::<Arc<Allowance>>()?.show(&self.tags, ctx.field().selection_set().count())?;
        Ok(self.tags.iter().map(|tag| Tag { name: tag.name.clone(), value: tag.value.clone() }).collect())
    }
}

impl Transaction {
    /// A document as gateways show it, dated by a block.
    pub(super) fn new(document: Document, block: &arweave::Block) -> Transaction {
        let kind = document.tag("Content-Type").map(str::to_string);
        let carrier = document.bundled_in.map(|id| ID(id.to_string()));
        Transaction {
            id: ID(document.id.to_string()),
            anchor: encode_base64url(&document.anchor),
            signature: encode_base64url(&document.signature),
            recipient: document.recipient.map(|recipient| recipient.to_string()).unwrap_or_default(),
            owner: Owner { address: document.address.to_string(), key: encode_base64url(&document.owner) },
            fee: Amount::of(document.fee),
            quantity: Amount::of(document.quantity),
            data: MetaData { size: document.data_bytes.to_string(), kind },
            tags: document.tags,
            block: Some(Block::from(block)),
            parent: carrier.clone().map(|id| Parent { id }),
            bundled_in: carrier.map(|id| Bundle { id }),
        }
    }
}

impl TransactionEdge {
    /// A document in a page.
    pub(super) fn new(position: Position, document: Document, block: &arweave::Block) -> TransactionEdge {
        TransactionEdge { cursor: position.to_cursor(), node: Transaction::new(document, block) }
    }
}

/// Whoever signed an item.
#[derive(Debug, SimpleObject)]
struct Owner {
    /// The native address.
    address: String,
    /// The public key.
    key: String,
}

/// An amount of money.
#[derive(Debug, SimpleObject)]
struct Amount {
    winston: String,
    ar: String,
}

impl Amount {
    fn of(winston: u128) -> Amount {
        let unit = 10u128.pow(AR_DIGITS);
        let digits = AR_DIGITS as usize;
        Amount { winston: winston.to_string(), ar: format!("{}.{:0digits$}", winston / unit, winston % unit) }
    }
}

/// What is known of data without reading it.
#[derive(Debug, SimpleObject)]
struct MetaData {
    /// Its bytes.
    size: String,
    /// Its content type.
    #[graphql(name = "type")]
    kind: Option<String>,
}

/// A name and a value.
#[derive(Debug, SimpleObject)]
struct Tag {
    name: String,
    value: String,
}

/// What an item came in.
#[derive(Debug, SimpleObject)]
struct Parent {
    id: ID,
}

/// What an item came in.
#[derive(Debug, SimpleObject)]
struct Bundle {
    id: ID,
}

/// A page of blocks.
#[derive(Debug, SimpleObject)]
pub(super) struct BlockConnection {
    /// What is behind it.
    pub(super) page_info: PageInfo,
    /// The blocks.
    pub(super) edges: Vec<BlockEdge>,
}

/// A block in a page.
#[derive(Debug, SimpleObject)]
pub(super) struct BlockEdge {
    /// To be given as `after` to read on behind it.
    pub(super) cursor: String,
    /// The block.
    pub(super) node: Block,
}

/// A block.
#[derive(Clone, Debug, SimpleObject)]
pub(super) struct Block {
    id: ID,
    /// Seconds since 1970.
    timestamp: u64,
    height: u64,
    previous: ID,
}

impl From<&arweave::Block> for Block {
    fn from(block: &arweave::Block) -> Block {
        Block {
            id: ID(block.id.to_string()),
            timestamp: block.timestamp_s,
            height: block.height,
            previous: ID(block.previous.to_string()),
        }
    }
}

/// The cursor of a block: its height, as opaque as that of an item.
pub(super) fn block_cursor(height: u64) -> String {
    encode_base64url(&height.to_be_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_have_twelve_digits_behind_the_point() {
        for (winston, ar) in [(0, "0.000000000000"), (1, "0.000000000001"), (2_500_000_000_000, "2.500000000000")] {
            assert_eq!(Amount::of(winston).ar, ar);
        }
    }
}
