//! Arweave as the node sees it: blocks that date what is scheduled, and the dev chain that plays it on local networks.

mod block;
mod dev_chain;
mod follow;
mod gateway;

pub use block::{Block, BlockId, NoBlockId};
pub use dev_chain::{ChunkRefusal, DevChain, MAX_DATA_BYTES, PostRefusal, price};
pub use follow::run as follow;
pub use gateway::{FoundData, Gateway, GatewayError, Page, Status, Terms};
