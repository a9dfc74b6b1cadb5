//! Blocks that this node knows: mined by its own dev chain, or heard of from the one that the network has.

use ao_protocol::log::LogError;
use rocksdb::WriteBatch;

use super::schema::Table;
use super::{Store, database};
use crate::arweave::{Block, BlockId};

impl Store {
    /// The newest block that is known here.
    pub fn newest_block(&self) -> Result<Option<Block>, LogError> {
        Ok(self.last(Table::Blocks)?.map(|(_, block)| block))
    }

    /// The block of a height.
    pub fn block(&self, height: u64) -> Result<Option<Block>, LogError> {
        self.read(Table::Blocks, &height.to_be_bytes())
    }

    /// A block by its id.
    pub fn block_by_id(&self, id: &BlockId) -> Result<Option<Block>, LogError> {
        let height: Option<u64> = self.read(Table::BlockHeights, &id.0)?;
        height.map_or(Ok(None), |height| self.block(height))
    }

    /// Keeps a block, in the place of any other of its height.
    pub fn keep_block(&self, block: &Block) -> Result<(), LogError> {
        let mut batch = WriteBatch::default();
        self.put_block(&mut batch, block)?;
        self.db.write(batch).map_err(database)
    }

    /// Adds a block to a batch.
    pub(super) fn put_block(&self, batch: &mut WriteBatch, block: &Block) -> Result<(), LogError> {
        self.put(batch, Table::Blocks, &block.height.to_be_bytes(), block)?;
        self.put(batch, Table::BlockHeights, &block.id.0, &block.height)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_found_by_height_and_id_and_the_newest_is_known() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        assert_eq!(store.newest_block().unwrap(), None);
        for height in [1, 300, 2] {
            let block = Block { height, id: BlockId([height as u8; 48]), ..Block::none() };
            store.keep_block(&block).unwrap();
            assert_eq!(store.block_by_id(&block.id).unwrap().unwrap(), block);
        }
        assert_eq!(store.newest_block().unwrap().unwrap().height, 300);
        assert_eq!(store.block(2).unwrap().unwrap().id, BlockId([2; 48]));
        assert_eq!(store.block(3).unwrap(), None);
    }
}
