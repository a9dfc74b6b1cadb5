//! Arweave transactions of the dev chain, their data in chunks, and who owns what.

use std::ops::Range;

use ao_protocol::id::{Address, Digest, Id};
use ao_protocol::log::{LogError, MAX_PAGE};
use ao_protocol::transaction::{Transaction, chunks};
use rocksdb::WriteBatch;
use serde::{Deserialize, Serialize};

use super::document::Document;
use super::schema::{self, Table};
use super::{Store, database};
use crate::arweave::Block;

/// A transaction as the chain has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Posted {
    /// What was signed, without its data.
    pub transaction: Transaction,
    /// The height of its block; none before it is mined.
    pub height: Option<u64>,
    /// Where its data ends in the data of all transactions; 0 before it is mined.
    pub end: u64,
}

#[derive(Serialize, Deserialize)]
struct Record {
    bytes: Vec<u8>,
    height: Option<u64>,
    end: u64,
}

/// What an address owns, in winston, and what it signed last.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// In winston.
    pub balance: u128,
    /// Its newest transaction.
    pub last_tx: Option<Id>,
}

/// A piece of a transaction's data with the proof of its place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredChunk {
    /// Which bytes of the data it is.
    pub range: Range<u64>,
    /// The proof, as `data_path` on the wire.
    pub proof: Vec<u8>,
    /// The bytes.
    pub data: Vec<u8>,
}

/// The data that a root stands for: equal data of two transactions is kept once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DataRoot {
    /// The merkle root.
    pub root: Digest,
    /// Bytes of the data.
    pub size: u64,
}

impl DataRoot {
    /// That of a transaction with data.
    pub fn of(transaction: &Transaction) -> Option<DataRoot> {
        let root = transaction.data_root?;
        (transaction.data_size > 0).then_some(DataRoot { root, size: transaction.data_size })
    }
}

impl Store {
    /// A transaction of the dev chain.
    pub fn transaction(&self, id: &Id) -> Result<Option<Posted>, LogError> {
        let Some(record) = self.read::<Record>(Table::Transactions, id.as_ref())? else { return Ok(None) };
        let damaged = |cause: ao_protocol::transaction::TransactionError| LogError::Damaged {
            record: "transaction",
            key: id.to_string(),
            cause: cause.to_string(),
        };
        let transaction = Transaction::from_own_store(&record.bytes).map_err(damaged)?;
        Ok(Some(Posted { transaction, height: record.height, end: record.end }))
    }

    /// What an address owns.
    pub fn account(&self, address: &Address) -> Result<Account, LogError> {
        Ok(self.read(Table::Accounts, address.as_ref())?.unwrap_or_default())
    }

    /// Sets what addresses own, synced.
    pub fn keep_accounts(&self, accounts: &[(Address, Account)]) -> Result<(), LogError> {
        let mut batch = WriteBatch::default();
        for (address, account) in accounts {
            self.put(&mut batch, Table::Accounts, address.as_ref(), account)?;
        }
        self.write_synced(batch)
    }

    /// Keeps a new transaction with its data, if it came with it, and what it changes, synced. It waits to be mined.
    pub fn keep_transaction(
        &self,
        transaction: &Transaction,
        accounts: &[(Address, Account)],
        to_unpack: bool,
    ) -> Result<(), LogError> {
        let mut batch = WriteBatch::default();
        let number =
            self.last::<Id>(Table::Pending)?.and_then(|(key, _)| key.first_chunk().map(|key| u64::from_be_bytes(*key)));
        let number = number.map_or(0, |last| last + 1);
        self.put(&mut batch, Table::Pending, &number.to_be_bytes(), &transaction.id)?;
        let bare = Transaction { data: Vec::new(), ..transaction.clone() };
        let record = Record { bytes: bare.to_bytes(), height: None, end: 0 };
        self.put(&mut batch, Table::Transactions, transaction.id.as_ref(), &record)?;
        for (address, account) in accounts {
            self.put(&mut batch, Table::Accounts, address.as_ref(), account)?;
        }
        if let Some(root) = DataRoot::of(transaction) {
            self.put(&mut batch, Table::Roots, &schema::data_holder(&root, &transaction.id), &())?;
            if !transaction.data.is_empty() {
                for chunk in chunks::split(&transaction.data).chunks {
                    let range = chunk.start..chunk.end;
                    let bytes = transaction.data.get(chunk.start as usize..chunk.end as usize).unwrap_or_default();
                    let stored = StoredChunk { range, proof: chunk.proof, data: bytes.to_vec() };
                    self.put(&mut batch, Table::Chunks, &schema::chunk(&root, chunk.end), &stored)?;
                }
                self.put(&mut batch, Table::Held, &schema::data_root(&root), &root.size)?;
            }
        }
        if to_unpack {
            self.put(&mut batch, Table::ToUnpack, transaction.id.as_ref(), &())?;
        }
        self.write_synced(batch)
    }

    /// Keeps a piece of data whose place was proven, synced; says whether the data is whole by that. The caller sees to
    /// it that nobody else does so at the same time.
    pub fn keep_chunk(&self, root: &DataRoot, chunk: &StoredChunk) -> Result<bool, LogError> {
        let mut batch = WriteBatch::default();
        let key = schema::chunk(root, chunk.range.end);
        let known = self.read::<StoredChunk>(Table::Chunks, &key)?.is_some();
        // The pieces of a root never overlap: its proofs give each its place.
        let more = if known { 0 } else { chunk.range.end.saturating_sub(chunk.range.start) };
        let held = self.held(root)?.saturating_add(more);
        self.put(&mut batch, Table::Chunks, &key, chunk)?;
        self.put(&mut batch, Table::Held, &schema::data_root(root), &held)?;
        self.write_synced(batch)?;
        Ok(more > 0 && held >= root.size)
    }

    fn held(&self, root: &DataRoot) -> Result<u64, LogError> {
        Ok(self.read(Table::Held, &schema::data_root(root))?.unwrap_or_default())
    }

    /// Whether all data of a root is here.
    pub fn is_whole(&self, root: &DataRoot) -> Result<bool, LogError> {
        Ok(self.held(root)? >= root.size)
    }

    /// Transactions that have this data and were not taken apart yet.
    pub fn to_unpack_of(&self, root: &DataRoot) -> Result<Vec<Id>, LogError> {
        let prefix = schema::data_root(root);
        let mut found = Vec::new();
        for pair in self.iterate(Table::Roots, &prefix, &prefix)? {
            let (key, _) = pair.map_err(database)?;
            let Some(id) = key.last_chunk().map(|id| Id::from(*id)) else { continue };
            if self.is_to_unpack(&id)? {
                found.push(id);
            }
        }
        Ok(found)
    }

    /// Whether a transaction is a bundle that was not taken apart yet.
    pub fn is_to_unpack(&self, id: &Id) -> Result<bool, LogError> {
        Ok(self.read::<()>(Table::ToUnpack, id.as_ref())?.is_some())
    }

    /// Whether some transaction has data of this root.
    pub fn knows_root(&self, root: &DataRoot) -> Result<bool, LogError> {
        let prefix = schema::data_root(root);
        Ok(!self.range::<()>(Table::Roots, &prefix, &prefix, 1)?.is_empty())
    }

    /// The piece of data that holds a byte.
    pub fn chunk(&self, root: &DataRoot, offset: u64) -> Result<Option<StoredChunk>, LogError> {
        let prefix = schema::data_root(root);
        let found = self.range(Table::Chunks, &prefix, &schema::chunk(root, offset.saturating_add(1)), 1)?;
        Ok(found.into_iter().map(|(_, chunk): (_, StoredChunk)| chunk).find(|chunk| chunk.range.contains(&offset)))
    }

    /// All data of a root, in memory; none while a piece is missing.
    pub fn chunked_data(&self, root: &DataRoot) -> Result<Option<Vec<u8>>, LogError> {
        if !self.is_whole(root)? {
            return Ok(None);
        }
        let mut data = Vec::new();
        while (data.len() as u64) < root.size {
            match self.chunk(root, data.len() as u64)? {
                Some(chunk) if chunk.range.start == data.len() as u64 && !chunk.data.is_empty() => {
                    data.extend_from_slice(&chunk.data);
                }
                _ => return Ok(None),
            }
        }
        Ok(Some(data))
    }

    /// Transactions that wait to be mined, in the order in which they came, at most a page.
    pub fn pending(&self) -> Result<Vec<Id>, LogError> {
        let found: Vec<(_, Id)> = self.range(Table::Pending, &[], &[], MAX_PAGE)?;
        Ok(found.into_iter().map(|(_, id)| id).collect())
    }

    /// Keeps a block with the transactions in it, which wait no more, synced.
    pub fn keep_mined(&self, block: &Block) -> Result<(), LogError> {
        let mut batch = WriteBatch::default();
        self.put_block(&mut batch, block)?;
        let mut indexing = self.indexing()?.at(block.height);
        let mut end =
            self.last::<Id>(Table::Weave)?.and_then(|(key, _)| key.first_chunk().map(|key| u64::from_be_bytes(*key)));
        let pending: Vec<(_, Id)> = self.range(Table::Pending, &[], &[], MAX_PAGE)?;
        for (key, id) in pending.iter().filter(|(_, id)| block.transactions.contains(id)) {
            batch.delete_cf(self.table(Table::Pending)?, key);
            let Some(posted) = self.transaction(id)? else { continue };
            let next = end.unwrap_or(0).saturating_add(posted.transaction.data_size);
            if posted.transaction.data_size > 0 {
                self.put(&mut batch, Table::Weave, &next.to_be_bytes(), id)?;
                end = Some(next);
            }
            let record = Record { bytes: posted.transaction.to_bytes(), height: Some(block.height), end: next };
            self.put(&mut batch, Table::Transactions, id.as_ref(), &record)?;
            indexing.add(&mut batch, &Document::from(&posted.transaction))?;
        }
        self.write_synced(batch)
    }

    /// The transaction whose data holds a byte of the data of all transactions, counted from 1.
    pub fn at_offset(&self, offset: u64) -> Result<Option<Posted>, LogError> {
        let found: Vec<(_, Id)> = self.range(Table::Weave, &[], &offset.to_be_bytes(), 1)?;
        found.first().map_or(Ok(None), |(_, id)| self.transaction(id))
    }

    /// Transactions that are bundles and were not taken apart yet, behind one of them, at most a page.
    pub fn to_unpack(&self, after: Option<&Id>) -> Result<Vec<Id>, LogError> {
        let first = after.map_or(Vec::new(), |after| [after.as_ref(), &[0]].concat());
        let found: Vec<(super::Bytes, ())> = self.range(Table::ToUnpack, &[], &first, MAX_PAGE)?;
        Ok(found.into_iter().filter_map(|(key, ())| key.first_chunk().map(|id| Id::from(*id))).collect())
    }

    /// A bundle was taken apart.
    pub fn unpacked(&self, id: &Id) -> Result<(), LogError> {
        self.db.delete_cf(self.table(Table::ToUnpack)?, id.as_ref()).map_err(database)
    }
}

impl From<&Transaction> for Document {
    fn from(transaction: &Transaction) -> Document {
        let address = transaction.owner_address();
        Document {
            id: transaction.id,
            anchor: transaction.last_tx.clone(),
            signature: transaction.signature.clone(),
            owner: transaction.owner.clone(),
            address,
            signer: address.to_string(),
            recipient: transaction.target.map(|target| Id::from(target.to_bytes())),
            tags: transaction.tags.clone(),
            data_bytes: transaction.data_size,
            fee: transaction.reward,
            quantity: transaction.quantity,
            bundled_in: None,
        }
    }
}
