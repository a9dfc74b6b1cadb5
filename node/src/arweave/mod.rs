//! Arweave as the node sees it: blocks that date what is scheduled, and the dev chain that plays it on local networks.

mod block;
mod bundler;
mod carrier;
mod chunk;
mod dev_chain;
mod find;
mod follow;
mod gateway;
mod item;

pub use block::{Block, BlockId, NoBlockId};
pub use carrier::Carrier;
pub use dev_chain::{ChunkRefusal, DevChain, MAX_DATA_BYTES, MAX_UNBUNDLED_BYTES, PostRefusal, price};
pub use find::{FoundData, Page};
pub use follow::run as follow;
pub use gateway::{Gateway, GatewayError, NoTransaction, Status, Terms, UNSUPPORTED, read_status, read_transaction};
pub use item::ToldItem;
