//! The log on disk, in RocksDB. What RocksDB calls things does not leave this folder.

mod chain;
mod document;
mod index;
mod query;
mod schema;
mod search;
mod snapshots;
mod transactions;
mod upload;
mod write;

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use ao_protocol::attestation::Attestation;
use ao_protocol::id::{Address, Id};
use ao_protocol::item::VerifiedItem;
use ao_protocol::log::{Batch, Computed, Delivery, Durability, Log, LogError, MAX_PAGE, Tip, Write};
use ao_protocol::origin::DeliveryId;
use ao_protocol::outcome::OutcomeRecord;
use ao_protocol::wire::{self, EntryBytes};
use rocksdb::statistics::{StatsLevel, Ticker};
use rocksdb::{
    BlockBasedOptions, Cache, ColumnFamily, ColumnFamilyDescriptor, DB, DBCompressionType, DBRecoveryMode, Direction,
    IteratorMode, Options, ReadOptions, WriteBatch, WriteOptions,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

use schema::{FORMAT_KEY, FORMAT_VERSION, Place, Table};

pub use document::Document;
pub use query::{Filter, Position, TagCondition};
pub use search::{Effort, Found, MAX_CANDIDATES, MAX_READ_BYTES, MAX_SEEKS, Search, SearchError};
pub use snapshots::SnapshotPlace;
pub use transactions::{Account, DataRoot, Posted, StoredChunk};
pub use upload::Receipt;

/// Memory for cached blocks, in bytes, over all tables.
const BLOCK_CACHE_BYTES: usize = 64 * 1024 * 1024;
/// Memory of one table's newest writes, in bytes, before they go to a file.
const WRITE_BUFFER_BYTES: usize = 16 * 1024 * 1024;
/// Most files that RocksDB keeps open.
const MAX_OPEN_FILES: i32 = 512;

/// Why a database can't be opened. The texts are for the person who starts the node.
#[derive(Debug, Error)]
pub enum StoreError {
    /// Another process has it.
    #[error(
        "the data folder {0} is in use by another node; give this one a folder of its own with --data, or stop the other"
    )]
    Locked(PathBuf),
    /// Made by another version.
    #[error(
        "the database in {folder} has format {found}, this node reads format {FORMAT_VERSION}; \
         use the version of ao-node that wrote it, or an empty folder"
    )]
    Format {
        /// Where it is.
        folder: PathBuf,
        /// What it says.
        found: String,
    },
    /// Damaged, or not to be read or written.
    #[error(
        "the database in {folder} can't be opened: {cause}. If it is damaged, move the folder away and start with an \
         empty one: the log comes back from peers"
    )]
    Unusable {
        /// Where it is.
        folder: PathBuf,
        /// What RocksDB says.
        cause: String,
    },
}

/// A key or a value.
type Bytes = Box<[u8]>;
/// A key with its value.
type Pair = (Bytes, Bytes);

/// The log of one node on disk.
pub struct Store {
    db: DB,
    options: Options,
    /// The sequence that the next indexed item gets; whoever indexes holds it until that is written.
    sequence: Mutex<u64>,
    /// Whether synced commits are synced; false only in the test that shows that this matters.
    sync: bool,
}

impl Store {
    /// Opens the database in a folder, or makes it.
    pub fn open(folder: &Path) -> Result<Store, StoreError> {
        let mut options = Options::default();
        options.create_if_missing(true);
        options.create_missing_column_families(true);
        // The default mode silently forgets acknowledged writes that lie behind damage.
        options.set_wal_recovery_mode(DBRecoveryMode::TolerateCorruptedTailRecords);
        options.set_max_open_files(MAX_OPEN_FILES);
        options.set_keep_log_file_num(2);
        options.set_max_background_jobs(2);
        options.enable_statistics();
        options.set_statistics_level(StatsLevel::ExceptTimers);
        let cache = Cache::new_lru_cache(BLOCK_CACHE_BYTES);
        let tables = Table::ALL.map(|table| ColumnFamilyDescriptor::new(table.name(), table_options(table, &cache)));
        let db = DB::open_cf_descriptors(&options, folder, tables).map_err(|cause| {
            let cause = cause.to_string();
            let folder = folder.to_path_buf();
            match cause.contains("lock") && cause.contains("LOCK") {
                true => StoreError::Locked(folder),
                false => StoreError::Unusable { folder, cause },
            }
        })?;
        let mut store = Store { db, options, sequence: Mutex::new(0), sync: true };
        store.check_format(folder)?;
        let unusable = |cause: LogError| StoreError::Unusable { folder: folder.into(), cause: cause.to_string() };
        store.sequence = Mutex::new(store.next_sequence().map_err(unusable)?);
        Ok(store)
    }

    fn check_format(&self, folder: &Path) -> Result<(), StoreError> {
        let unusable =
            |cause: rocksdb::Error| StoreError::Unusable { folder: folder.to_path_buf(), cause: cause.to_string() };
        let ours = FORMAT_VERSION.to_be_bytes();
        match self.db.get(FORMAT_KEY).map_err(unusable)? {
            Some(found) if found == ours => Ok(()),
            Some(found) => {
                let number = <[u8; 4]>::try_from(found.as_slice()).map(u32::from_be_bytes);
                let found = number.map_or_else(|_| "unknown".to_string(), |number| number.to_string());
                Err(StoreError::Format { folder: folder.to_path_buf(), found })
            }
            None => {
                let mut options = WriteOptions::default();
                options.set_sync(true);
                self.db.put_opt(FORMAT_KEY, ours, &options).map_err(unusable)
            }
        }
    }

    /// How often the write-ahead log was synced since the database was opened, by RocksDB's own count.
    pub fn syncs(&self) -> u64 {
        self.options.get_ticker_count(Ticker::WalFileSynced)
    }

    fn table(&self, table: Table) -> Result<&ColumnFamily, LogError> {
        let missing = || LogError::Database(format!("table {} is missing", table.name()));
        self.db.cf_handle(table.name()).ok_or_else(missing)
    }

    fn read<T: DeserializeOwned>(&self, table: Table, key: &[u8]) -> Result<Option<T>, LogError> {
        let found = self.db.get_pinned_cf(self.table(table)?, key).map_err(database)?;
        found.map(|bytes| decode(table, key, &bytes)).transpose()
    }

    /// Records whose keys are at least `from` and start with `prefix`, in order, at most a page.
    fn range<T: DeserializeOwned>(
        &self,
        table: Table,
        prefix: &[u8],
        from: &[u8],
        limit: usize,
    ) -> Result<Vec<(Bytes, T)>, LogError> {
        let found = self.iterate(table, prefix, from)?.take(limit.min(MAX_PAGE));
        let read = |found: Result<Pair, rocksdb::Error>| {
            let (key, value) = found.map_err(database)?;
            let record = decode(table, &key, &value)?;
            Ok((key, record))
        };
        found.map(read).collect()
    }

    fn iterate(
        &self,
        table: Table,
        prefix: &[u8],
        from: &[u8],
    ) -> Result<impl Iterator<Item = Result<Pair, rocksdb::Error>>, LogError> {
        let mut options = ReadOptions::default();
        options.set_iterate_range(rocksdb::PrefixRange(prefix));
        Ok(self.db.iterator_cf_opt(self.table(table)?, options, IteratorMode::From(from, Direction::Forward)))
    }

    /// The record with the highest key of a table.
    fn last<T: DeserializeOwned>(&self, table: Table) -> Result<Option<(Bytes, T)>, LogError> {
        let Some(found) = self.db.iterator_cf(self.table(table)?, IteratorMode::End).next() else { return Ok(None) };
        let (key, value) = found.map_err(database)?;
        let record = decode(table, &key, &value)?;
        Ok(Some((key, record)))
    }

    fn put<T: Serialize>(&self, batch: &mut WriteBatch, table: Table, key: &[u8], value: &T) -> Result<(), LogError> {
        batch.put_cf(self.table(table)?, key, wire::encode(value));
        Ok(())
    }
}

fn table_options(table: Table, cache: &Cache) -> Options {
    let mut blocks = BlockBasedOptions::default();
    blocks.set_block_cache(cache);
    if table.is_point_lookup() {
        blocks.set_bloom_filter(10.0, false);
    }
    let mut options = Options::default();
    options.set_block_based_table_factory(&blocks);
    options.set_write_buffer_size(WRITE_BUFFER_BYTES);
    options.set_compression_type(DBCompressionType::Lz4);
    options
}

fn database(cause: rocksdb::Error) -> LogError {
    LogError::Database(cause.to_string())
}

fn decode<T: DeserializeOwned>(table: Table, key: &[u8], bytes: &[u8]) -> Result<T, LogError> {
    wire::decode(bytes).map_err(|cause| LogError::Damaged {
        record: table.name(),
        key: key.iter().map(|byte| format!("{byte:02x}")).collect(),
        cause: cause.to_string(),
    })
}

impl Log for Store {
    fn commit(&self, batch: Batch, durability: Durability) -> Result<(), LogError> {
        let mut writes = WriteBatch::default();
        let mut tips = std::collections::BTreeMap::new();
        let mut indexing = None;
        for write in batch.writes() {
            if let Write::Item(item) = write {
                let indexing = match &mut indexing {
                    Some(indexing) => indexing,
                    None => indexing.insert(self.indexing()?),
                };
                self.write_item(&mut writes, indexing, item)?;
                continue;
            }
            self.write(&mut writes, write)?;
            if let Write::Entry(entry) = write {
                tips.insert(entry.process(), Tip::after(entry));
            }
        }
        // Many slots of one process in a batch move its tip once.
        for (process, tip) in tips {
            self.put(&mut writes, Table::Tips, &schema::process(&process), &tip)?;
        }
        let mut options = WriteOptions::default();
        options.set_sync(self.sync && durability == Durability::Synced);
        self.db.write_opt(writes, &options).map_err(database)
    }

    fn tip(&self, process: &Id) -> Result<Option<Tip>, LogError> {
        self.read(Table::Tips, &schema::process(process))
    }

    fn tips(&self, after: Option<&Id>, limit: usize) -> Result<Vec<(Id, Tip)>, LogError> {
        let from = after.map(AsRef::as_ref).unwrap_or_default();
        let found = self.range(Table::Tips, &[], from, limit.min(MAX_PAGE).saturating_add(1))?;
        let read = |(key, tip): (Bytes, Tip)| <[u8; 32]>::try_from(&key[..]).ok().map(|key| (Id::from(key), tip));
        let above = found.into_iter().filter_map(read).filter(|(id, _)| Some(id) != after);
        Ok(above.take(limit).collect())
    }

    fn entry_bytes(&self, process: &Id, slot: u64) -> Result<Option<EntryBytes>, LogError> {
        self.read(Table::Entries, &schema::slot(process, slot))
    }

    fn slot_of_item(&self, process: &Id, item: &Id) -> Result<Option<u64>, LogError> {
        self.read(Table::SlotsByItem, &schema::item(process, item))
    }

    fn fired(&self, process: &Id, cron: &str) -> Result<Option<u64>, LogError> {
        self.read(Table::Fired, &schema::cron(process, cron))
    }

    fn firings(&self, process: &Id, from: u64, limit: usize) -> Result<Vec<u64>, LogError> {
        let found: Vec<(Bytes, ())> =
            self.range(Table::Firings, process.as_ref(), &schema::slot(process, from), limit)?;
        let slot = |(key, ()): (Bytes, ())| key.last_chunk::<8>().map(|slot| u64::from_be_bytes(*slot));
        Ok(found.into_iter().filter_map(slot).collect())
    }

    fn slot_of_delivery(&self, delivery: &DeliveryId) -> Result<Option<(Id, u64)>, LogError> {
        self.read(Table::SlotsByDelivery, &schema::delivery(delivery))
    }

    fn item(&self, id: &Id) -> Result<Option<VerifiedItem>, LogError> {
        Ok(match self.read::<Place>(Table::Items, id.as_ref())? {
            None => None,
            Some(Place::Here(bytes)) => {
                let damaged = |cause: ao_protocol::item::ItemError| LogError::Damaged {
                    record: "item",
                    key: id.to_string(),
                    cause: cause.to_string(),
                };
                Some(VerifiedItem::from_own_store(bytes.0).map_err(damaged)?)
            }
            Some(Place::Item(process, slot)) => self.entry(&process, slot)?.map(|entry| entry.item),
            Some(Place::Assignment(process, slot)) => self.entry(&process, slot)?.map(|entry| entry.assignment.item),
        })
    }

    fn computed(&self, process: &Id) -> Result<Option<Computed>, LogError> {
        self.read(Table::Computed, &schema::process(process))
    }

    fn outcome(&self, process: &Id, slot: u64) -> Result<Option<OutcomeRecord>, LogError> {
        self.read(Table::Outcomes, &schema::slot(process, slot))
    }

    fn attestations(&self, process: &Id, slot: u64) -> Result<Vec<Attestation>, LogError> {
        let prefix = schema::slot(process, slot);
        let found: Vec<(_, Vec<u8>)> = self.range(Table::Attestations, &prefix, &prefix, MAX_PAGE)?;
        found.into_iter().map(|(key, bytes)| attestation(&key, &bytes)).collect()
    }

    fn next_attestation(&self, process: &Id, from: u64, units: &[Address]) -> Result<Option<Attestation>, LogError> {
        let from = schema::slot(process, from);
        for found in self.iterate(Table::Attestations, process.as_ref(), &from)? {
            let (key, value) = found.map_err(database)?;
            if units.iter().any(|unit| key.ends_with(unit.as_ref())) {
                let bytes: Vec<u8> = decode(Table::Attestations, &key, &value)?;
                return attestation(&key, &bytes).map(Some);
            }
        }
        Ok(None)
    }

    fn delivered(&self, process: &Id) -> Result<u64, LogError> {
        Ok(self.read(Table::Delivered, &schema::process(process))?.unwrap_or(0))
    }

    fn deliveries(&self, process: &Id, slot: u64) -> Result<Vec<Delivery>, LogError> {
        let prefix = schema::slot(process, slot);
        // A slot sends at most three lists of the protocol's bound, each entry perhaps to many: read all pages.
        let mut deliveries: Vec<Delivery> = Vec::new();
        for found in self.iterate(Table::Deliveries, &prefix, &prefix)? {
            let (key, value) = found.map_err(database)?;
            deliveries.push(decode(Table::Deliveries, &key, &value)?);
        }
        Ok(deliveries)
    }

    fn delivery(&self, id: &DeliveryId) -> Result<Option<Delivery>, LogError> {
        self.read(Table::Deliveries, &schema::delivery(id))
    }

    fn waited_for(&self, after: Option<&Id>, limit: usize) -> Result<Vec<Id>, LogError> {
        let mut targets: Vec<Id> = Vec::new();
        // From target to target by seeking: each may have any number of entries.
        let mut from = after.map_or_else(Vec::new, behind);
        while targets.len() < limit.min(MAX_PAGE) {
            let Some(found) = self.iterate(Table::Waiting, &[], &from)?.next() else { break };
            let (key, _) = found.map_err(database)?;
            let Some(target) = key.first_chunk::<32>().map(|target| Id::from(*target)) else { break };
            from = behind(&target);
            targets.push(target);
        }
        Ok(targets)
    }

    fn waiting(&self, target: &Id, after: Option<&DeliveryId>) -> Result<Vec<DeliveryId>, LogError> {
        let from = after
            .map_or_else(|| target.as_ref().to_vec(), |after| [&schema::waiting(target, after)[..], &[0]].concat());
        let found = self.range(Table::Waiting, target.as_ref(), &from, MAX_PAGE)?;
        Ok(found.into_iter().map(|(_, id)| id).collect())
    }

    fn evidence(&self, process: &Id) -> Result<Option<(EntryBytes, EntryBytes)>, LogError> {
        self.read(Table::Evidence, &schema::process(process))
    }
}

/// A key behind all that begin with this id.
fn behind(id: &Id) -> Vec<u8> {
    let mut key = id.as_ref().to_vec();
    key.resize(111, 0xff);
    key
}

fn attestation(key: &[u8], bytes: &[u8]) -> Result<Attestation, LogError> {
    Attestation::from_own_store(bytes).map_err(|cause| LogError::Damaged {
        record: Table::Attestations.name(),
        key: key.iter().map(|byte| format!("{byte:02x}")).collect(),
        cause: cause.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[test]
    fn keeps_the_laws() {
        let folders = Mutex::new(Vec::new());
        ao_protocol::log::laws::all(&|| {
            let folder = tempfile::tempdir().unwrap();
            let store = Store::open(folder.path()).unwrap();
            folders.lock().unwrap().push(folder);
            store
        });
    }

    fn synced_commits(store: &Store, count: u64) -> u64 {
        let before = store.syncs();
        for next in 0..count {
            let mut batch = Batch::new();
            batch.push(Write::Delivered { process: Id::from([1; 32]), next });
            store.commit(batch, Durability::Synced).unwrap();
            assert!(store.delivered(&Id::from([1; 32])).unwrap() == next);
        }
        store.syncs() - before
    }

    #[test]
    fn a_synced_commit_is_synced_before_it_returns() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = Store::open(folder.path()).unwrap();
        assert!(synced_commits(&store, 5) >= 5);
        // The counter can tell: without sync it does not move.
        store.sync = false;
        assert_eq!(synced_commits(&store, 5), 0);
    }

    #[test]
    fn what_was_committed_is_there_after_reopening() {
        let folder = tempfile::tempdir().unwrap();
        synced_commits(&Store::open(folder.path()).unwrap(), 3);
        assert_eq!(Store::open(folder.path()).unwrap().delivered(&Id::from([1; 32])).unwrap(), 2);
    }

    #[test]
    fn a_second_node_on_the_same_folder_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let _first = Store::open(folder.path()).unwrap();
        let cause = Store::open(folder.path()).err().unwrap();
        assert!(matches!(cause, StoreError::Locked(_)), "{cause}");
    }

    #[test]
    fn another_format_is_not_opened() {
        let folder = tempfile::tempdir().unwrap();
        Store::open(folder.path()).unwrap().db.put(FORMAT_KEY, 99u32.to_be_bytes()).unwrap();
        let cause = Store::open(folder.path()).err().unwrap();
        assert!(cause.to_string().contains("format 99"), "{cause}");
    }

    #[test]
    fn a_damaged_database_says_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        drop(Store::open(folder.path()).unwrap());
        std::fs::write(folder.path().join("CURRENT"), b"garbage").unwrap();
        let cause = Store::open(folder.path()).err().unwrap();
        assert!(cause.to_string().contains("move the folder away"), "{cause}");
    }
}
