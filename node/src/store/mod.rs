//! The log on disk, in RocksDB. What RocksDB calls things does not leave this folder.

mod backfill;
mod chain;
mod document;
mod index;
mod log;
mod mirror;
mod pieces;
mod query;
mod recovering;
mod rewind;
mod schema;
mod search;
mod snapshots;
mod transactions;
mod upload;
mod write;

use std::collections::HashMap;
use std::ffi::CStr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};

use ao_protocol::id::Id;
use ao_protocol::log::{LogError, MAX_PAGE};
use ao_protocol::process::Process;
use ao_protocol::wire;
use rocksdb::properties::{BLOCK_CACHE_USAGE, CUR_SIZE_ALL_MEM_TABLES, ESTIMATE_TABLE_READERS_MEM};
use rocksdb::statistics::{StatsLevel, Ticker};
use rocksdb::{
    BlockBasedIndexType, BlockBasedOptions, Cache, ColumnFamily, ColumnFamilyDescriptor, DB, DBCompressionType,
    DBRecoveryMode, Direction, IteratorMode, LruCacheOptions, Options, ReadOptions, WriteBatch, WriteOptions,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

use schema::{FORMAT_KEY, FORMAT_VERSION, Table};

pub use document::Document;
pub use mirror::{Bundle, BundleState, Landed};
pub use pieces::FilePiece;
pub use query::{Filter, Position, TagCondition};
pub use search::{Effort, Found, MAX_CANDIDATES, MAX_READ_BYTES, MAX_SEEKS, Search, SearchError};
pub use snapshots::SnapshotPlace;
pub use transactions::{Account, DataRoot, Posted, StoredChunk};
pub use upload::Receipt;

/// Memory for cached blocks, in bytes, over all tables.
const BLOCK_CACHE_BYTES: usize = 32 * 1024 * 1024;
/// The cache is cut into two to the power of this many parts. By default a part would be half a megabyte, and hold no
/// large block for long.
const BLOCK_CACHE_SHARD_BITS: i32 = 2;
/// Memory of one table's newest writes, in bytes, before they go to a file.
const WRITE_BUFFER_BYTES: usize = 16 * 1024 * 1024;
/// The same of all tables together: without this bound each would take its own.
const WRITE_BUFFERS_BYTES: usize = 32 * 1024 * 1024;
/// Most files that RocksDB keeps open.
const MAX_OPEN_FILES: i32 = 512;

/// Most processes that are kept as they were read, and the largest spawn of those: 32 MiB together.
const MAX_PROCESSES: usize = 2048;
const MAX_PROCESS_BYTES: usize = 16 * 1024;

/// The system's words for a full disk, which RocksDB hands on.
const NO_SPACE: &str = "No space left on device";

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
    /// There is no room on its disk.
    #[error("there is no room on the disk of {0}: a database needs some to be opened. Make room and start again")]
    Full(PathBuf),
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
    folder: PathBuf,
    options: Options,
    /// The sequence that the next indexed item gets; whoever indexes holds it until that is written.
    sequence: Mutex<u64>,
    /// Processes as they were read; those that are resumed are read again.
    processes: Mutex<HashMap<Id, Arc<Process>>>,
    /// How often some process changed: what was read before that is not kept.
    changed: AtomicU64,
    /// Held for writing while slots are taken back.
    rewinds: Arc<RwLock<()>>,
    /// How often that was done.
    rewound: AtomicU64,
    pins: Mutex<snapshots::Pins>,
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
        options.set_db_write_buffer_size(WRITE_BUFFERS_BYTES);
        options.set_max_open_files(MAX_OPEN_FILES);
        options.set_keep_log_file_num(2);
        options.set_max_background_jobs(2);
        options.enable_statistics();
        options.set_statistics_level(StatsLevel::ExceptTimers);
        let mut blocks = LruCacheOptions::default();
        blocks.set_capacity(BLOCK_CACHE_BYTES);
        blocks.set_num_shard_bits(BLOCK_CACHE_SHARD_BITS);
        let cache = Cache::new_lru_cache_opts(&blocks);
        let describe = |table: &Table| ColumnFamilyDescriptor::new(table.name(), table_options(*table, &cache));
        let tables = Table::ALL.iter().map(describe);
        let db = DB::open_cf_descriptors(&options, folder, tables).map_err(|cause| {
            let cause = cause.to_string();
            let folder = folder.to_path_buf();
            match (cause.contains("lock") && cause.contains("LOCK"), cause.contains(NO_SPACE)) {
                (true, _) => StoreError::Locked(folder),
                (_, true) => StoreError::Full(folder),
                _ => StoreError::Unusable { folder, cause },
            }
        })?;
        let mut store = Store {
            db,
            folder: folder.to_path_buf(),
            options,
            sequence: Mutex::new(0),
            processes: Mutex::default(),
            changed: AtomicU64::new(0),
            rewinds: Arc::default(),
            rewound: AtomicU64::new(0),
            pins: Mutex::default(),
            sync: true,
        };
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

    /// What RocksDB holds in memory, in bytes by its own count: cached blocks, the newest writes, and what it knows of
    /// its files beside the cache.
    pub fn memory(&self) -> [(&'static str, u64); 3] {
        let sum = |property: &CStr| {
            let of = |table: &Table| {
                let table = self.db.cf_handle(table.name())?;
                self.db.property_int_value_cf(table, property).ok().flatten()
            };
            Table::ALL.iter().filter_map(of).sum()
        };
        let cache = self.table(Table::Entries).ok();
        let cached = cache.and_then(|table| self.db.property_int_value_cf(table, BLOCK_CACHE_USAGE).ok().flatten());
        [
            // All tables share one.
            ("block_cache", cached.unwrap_or(0)),
            ("write_buffers", sum(CUR_SIZE_ALL_MEM_TABLES.as_ref())),
            ("table_readers", sum(ESTIMATE_TABLE_READERS_MEM.as_ref())),
        ]
    }

    fn processes(&self) -> MutexGuard<'_, HashMap<Id, Arc<Process>>> {
        self.processes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// While this is held no slot is taken back: for whoever writes what follows from what it read. Nothing is waited
    /// for meanwhile.
    pub fn steady(&self) -> RwLockReadGuard<'_, ()> {
        self.rewinds.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The lock behind [`Store::steady`], for who has no store at hand; held for writing by who takes slots back.
    pub fn rewinds(&self) -> Arc<RwLock<()>> {
        self.rewinds.clone()
    }

    /// A process is no longer what was read.
    fn forget_process(&self, process: &Id) {
        self.changed.fetch_add(1, Ordering::AcqRel);
        self.processes().remove(process);
    }

    /// No process is what was read.
    fn forget_processes(&self) {
        self.changed.fetch_add(1, Ordering::AcqRel);
        self.processes().clear();
    }

    /// Where it is.
    pub fn folder(&self) -> &Path {
        &self.folder
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

    /// The record with the highest key up to this one among those that start with `prefix`.
    fn last_up_to<T: DeserializeOwned>(
        &self,
        table: Table,
        prefix: &[u8],
        until: &[u8],
    ) -> Result<Option<(Bytes, T)>, LogError> {
        let mut options = ReadOptions::default();
        options.set_iterate_range(rocksdb::PrefixRange(prefix));
        let from = IteratorMode::From(until, Direction::Reverse);
        let Some(found) = self.db.iterator_cf_opt(self.table(table)?, options, from).next() else { return Ok(None) };
        let (key, value) = found.map_err(database)?;
        let record = decode(table, &key, &value)?;
        Ok(Some((key, record)))
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

    /// Puts on disk what was written without syncing.
    pub fn sync(&self) -> Result<(), LogError> {
        self.db.flush_wal(self.sync).map_err(database)
    }

    fn write_synced(&self, batch: WriteBatch) -> Result<(), LogError> {
        let mut options = WriteOptions::default();
        options.set_sync(self.sync);
        self.db.write_opt(batch, &options).map_err(database)
    }
}

fn table_options(table: Table, cache: &Cache) -> Options {
    let mut blocks = BlockBasedOptions::default();
    blocks.set_block_cache(cache);
    // Indexes and filters grow with what is stored: within the bound of the cache, and not beside it. In small pieces,
    // for one in a whole is as large as a megabyte, and would be read and unpacked again for nearly every lookup.
    blocks.set_cache_index_and_filter_blocks(true);
    blocks.set_index_type(BlockBasedIndexType::TwoLevelIndexSearch);
    blocks.set_partition_filters(true);
    blocks.set_pin_top_level_index_and_filter(true);
    blocks.set_pin_l0_filter_and_index_blocks_in_cache(true);
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
    let text = cause.to_string();
    // When there is room again it goes on by itself.
    match text.contains(NO_SPACE) {
        true => LogError::Full(text),
        false => LogError::Database(text),
    }
}

fn decode<T: DeserializeOwned>(table: Table, key: &[u8], bytes: &[u8]) -> Result<T, LogError> {
    wire::decode(bytes).map_err(|cause| LogError::Damaged {
        record: table.name(),
        key: key.iter().map(|byte| format!("{byte:02x}")).collect(),
        cause: cause.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ao_protocol::id::Id;
    use ao_protocol::log::{Batch, Durability, Log, Write};
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
