//! Arweave as the node sees it: blocks that date what is scheduled, and the dev chain that plays it on local networks.

mod block;

pub use block::{Block, BlockId, NoBlockId};
