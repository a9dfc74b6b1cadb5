//! A block of Arweave, or of the dev chain that plays it: what messages and items are dated by.

use std::fmt;
use std::str::FromStr;

use ao_protocol::id::{Id, decode_base64url, encode_base64url};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha384};

/// A block's `indep_hash`: 48 bytes, 64 characters of base64url.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockId(pub [u8; 48]);

impl fmt::Display for BlockId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&encode_base64url(&self.0))
    }
}

impl fmt::Debug for BlockId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is no block id.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is no block id: 64 characters of base64url are expected")]
pub struct NoBlockId(String);

impl FromStr for BlockId {
    type Err = NoBlockId;

    fn from_str(text: &str) -> Result<BlockId, NoBlockId> {
        let bytes = decode_base64url(text).ok().and_then(|bytes| bytes.try_into().ok());
        bytes.map(BlockId).ok_or_else(|| NoBlockId(text.chars().take(80).collect()))
    }
}

impl Serialize for BlockId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for BlockId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<BlockId, D::Error> {
        let bytes = Vec::<u8>::deserialize(deserializer)?;
        let length = bytes.len();
        let wrong = || serde::de::Error::invalid_length(length, &"48 bytes");
        bytes.try_into().map(BlockId).map_err(|_| wrong())
    }
}

/// A block.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Block {
    /// Blocks before it.
    pub height: u64,
    /// Its own id.
    pub id: BlockId,
    /// The id of the one before it.
    pub previous: BlockId,
    /// Seconds since 1970.
    pub timestamp_s: u64,
    /// The L1 transactions in it, in order.
    pub transactions: Vec<Id>,
}

impl Block {
    /// The block after this one. Its id is the sha-384 of what is in it.
    pub fn next(&self, now_s: u64, transactions: Vec<Id>) -> Block {
        let (height, timestamp_s) = (self.height + 1, now_s.max(self.timestamp_s));
        let mut hasher = Sha384::new_with_prefix(b"ao-node dev chain block");
        hasher.update(self.id.0);
        hasher.update(height.to_be_bytes());
        hasher.update(timestamp_s.to_be_bytes());
        for id in &transactions {
            hasher.update(id);
        }
        Block { height, id: BlockId(hasher.finalize().into()), previous: self.id, timestamp_s, transactions }
    }

    /// What stands for the newest block where no chain is known: height 0 at the beginning of time.
    pub fn none() -> Block {
        let id = BlockId([0; 48]);
        Block { height: 0, id, previous: id, timestamp_s: 0, transactions: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_id_reads_back() {
        let id = BlockId([7; 48]);
        assert_eq!(id.to_string().len(), 64);
        assert_eq!(id.to_string().parse::<BlockId>().unwrap(), id);
        assert!("short".parse::<BlockId>().is_err());
    }
}
