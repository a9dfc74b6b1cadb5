//! What is known of data files: which pieces of an Arweave transaction's data are on disk, with the proofs of their
//! places. The bytes are in files of their own ([`crate::drive::permaweb`]).

use std::ops::Range;

use ao_protocol::log::{LogError, MAX_PAGE};
use rocksdb::WriteBatch;
use serde::{Deserialize, Serialize};

use super::schema::{self, Table};
use super::{DataRoot, Store};

/// A piece of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilePiece {
    /// Which bytes of the data it is.
    pub range: Range<u64>,
    /// The proof, as `data_path` on the wire.
    pub proof: Vec<u8>,
}

impl Store {
    /// Notes pieces whose bytes are on disk, synced.
    pub fn keep_pieces(&self, root: &DataRoot, pieces: &[FilePiece]) -> Result<(), LogError> {
        let mut batch = WriteBatch::default();
        for piece in pieces {
            self.put(&mut batch, Table::Pieces, &schema::chunk(root, piece.range.end), piece)?;
        }
        self.write_synced(batch)
    }

    /// The piece of a file that holds a byte.
    pub fn piece(&self, root: &DataRoot, offset: u64) -> Result<Option<FilePiece>, LogError> {
        let found = self.pieces(root, offset, 1)?;
        Ok(found.into_iter().find(|piece| piece.range.contains(&offset)))
    }

    /// Pieces of a file that end behind a byte, in their order, at most a page.
    pub fn pieces_from(&self, root: &DataRoot, offset: u64) -> Result<Vec<FilePiece>, LogError> {
        self.pieces(root, offset, MAX_PAGE)
    }

    fn pieces(&self, root: &DataRoot, offset: u64, limit: usize) -> Result<Vec<FilePiece>, LogError> {
        let prefix = schema::data_root(root);
        let found = self.range(Table::Pieces, &prefix, &schema::chunk(root, offset.saturating_add(1)), limit)?;
        Ok(found.into_iter().map(|(_, piece)| piece).collect())
    }

    /// Forgets all pieces of a file.
    pub fn forget_pieces(&self, root: &DataRoot) -> Result<(), LogError> {
        let mut batch = WriteBatch::default();
        let (first, last) = (schema::chunk(root, 0), schema::chunk(root, u64::MAX));
        let table = self.table(Table::Pieces)?;
        batch.delete_range_cf(table, &first[..], &last[..]);
        batch.delete_cf(table, last);
        self.write_synced(batch)
    }
}
