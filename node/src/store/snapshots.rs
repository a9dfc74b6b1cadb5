//! Snapshots of processes' states, in pieces, and what is known of them. They can be made again from the log, so they
//! are not synced, and a damaged one is none.

use std::collections::HashMap;
use std::sync::{MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ao_protocol::checkpoint::{Manifest, PIECE_BYTES};
use ao_protocol::id::{Digest, Id};
use ao_protocol::log::LogError;
use rocksdb::WriteBatch;
use serde::{Deserialize, Serialize};

use super::schema::{self, Table};
use super::{Store, database};
use crate::vm::Snapshot;

/// How many snapshots at rebuild points are kept of a process: the newest, and one to fall back on.
const KEPT: usize = 2;
/// One that a peer began to fetch is kept for so long, though newer ones are made.
const PINNED: Duration = Duration::from_secs(60);
/// Most that are kept for that; further ones go as they would.
const MAX_PINNED: usize = 16;

/// Which snapshots peers fetch, and since when.
pub(super) type Pins = HashMap<(Id, u64), Instant>;

/// Where a snapshot is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotPlace {
    /// It is the state after this slot.
    pub slot: u64,
    /// It was saved because nothing happened: good only if the next slot came late enough.
    pub at_pause: bool,
}

#[derive(Serialize, Deserialize)]
struct Record {
    manifest: Manifest,
    at_pause: bool,
}

impl Store {
    /// The snapshots of a process, the newest first.
    pub fn snapshots(&self, process: &Id) -> Result<Vec<SnapshotPlace>, LogError> {
        let prefix = schema::process(process);
        let found: Vec<(_, Record)> = self.range(Table::Snapshots, &prefix, &prefix, ao_protocol::log::MAX_PAGE)?;
        let place = |(key, record): (super::Bytes, Record)| {
            let slot = key.last_chunk().map(|slot| u64::from_be_bytes(*slot))?;
            Some(SnapshotPlace { slot, at_pause: record.at_pause })
        };
        let mut places: Vec<SnapshotPlace> = found.into_iter().filter_map(place).collect();
        places.reverse();
        Ok(places)
    }

    /// The snapshot after a slot; none if it is not there or damaged.
    pub fn snapshot(&self, process: &Id, slot: u64) -> Result<Option<Snapshot>, LogError> {
        let Some(record) = self.read::<Record>(Table::Snapshots, &schema::slot(process, slot))? else {
            return Ok(None);
        };
        let mut bytes = Vec::new();
        for number in 0..record.manifest.pieces().unwrap_or(0) {
            match self.snapshot_piece(process, slot, number)? {
                Some(piece) if record.manifest.is_piece(number, &piece) => bytes.extend_from_slice(&piece),
                _ => return Ok(None),
            }
        }
        Ok((bytes.len() as u64 == record.manifest.bytes()).then_some(Snapshot { slot, bytes }))
    }

    /// What the snapshot at a rebuild point consists of, for a peer that is about to fetch it.
    pub fn snapshot_manifest(&self, process: &Id, slot: u64) -> Result<Option<Manifest>, LogError> {
        let record = self.read::<Record>(Table::Snapshots, &schema::slot(process, slot))?;
        let Some(record) = record.filter(|record| !record.at_pause) else { return Ok(None) };
        let mut pins = self.pins();
        pins.retain(|_, since| since.elapsed() < PINNED);
        if pins.len() < MAX_PINNED {
            pins.insert((*process, slot), Instant::now());
        }
        Ok(Some(record.manifest))
    }

    /// One piece of the snapshot after a slot.
    pub fn snapshot_piece(&self, process: &Id, slot: u64, number: u32) -> Result<Option<Vec<u8>>, LogError> {
        let key = schema::piece(process, slot, number);
        self.db.get_cf(self.table(Table::SnapshotPieces)?, key).map_err(database)
    }

    fn pins(&self) -> MutexGuard<'_, Pins> {
        self.pins.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a snapshot, and forgets those that it makes useless. Unless it was saved at a pause its hash is what this
    /// node knows of that rebuild point from then on; gives it.
    pub fn keep_snapshot(&self, process: &Id, snapshot: &Snapshot, at_pause: bool) -> Result<Digest, LogError> {
        let mut batch = WriteBatch::default();
        let places = self.snapshots(process)?;
        let record = Record { manifest: Manifest::of(&snapshot.bytes), at_pause };
        let hash = record.manifest.hash();
        if at_pause && places.iter().any(|place| place.slot == snapshot.slot && !place.at_pause) {
            // It is a rebuild point, whatever comes next.
            return Ok(hash);
        }
        // Of those at rebuild points one is kept beside a new one, and all beside one that may turn out to be none.
        let others = places.iter().filter(|place| !place.at_pause && place.slot != snapshot.slot);
        let mut kept: Vec<u64> = others.map(|place| place.slot).take(KEPT - usize::from(!at_pause)).collect();
        let fetched = |slot| self.pins().get(&(*process, slot)).is_some_and(|since| since.elapsed() < PINNED);
        kept.extend(places.iter().map(|place| place.slot).filter(|slot| fetched(*slot)));
        for place in places.iter().filter(|place| !kept.contains(&place.slot)) {
            self.remove_snapshot(&mut batch, process, place.slot)?;
        }
        for (number, piece) in snapshot.bytes.chunks(PIECE_BYTES).enumerate() {
            let key = schema::piece(process, snapshot.slot, number as u32);
            batch.put_cf(self.table(Table::SnapshotPieces)?, key, piece);
        }
        self.put(&mut batch, Table::Snapshots, &schema::slot(process, snapshot.slot), &record)?;
        if !at_pause {
            self.put(&mut batch, Table::Rebuilt, &schema::slot(process, snapshot.slot), &hash)?;
        }
        self.db.write(batch).map_err(database)?;
        Ok(hash)
    }

    /// What was saved at a pause turned out to be a rebuild point: the next slot came late enough.
    pub fn keep_pause(&self, process: &Id, slot: u64) -> Result<(), LogError> {
        let key = schema::slot(process, slot);
        let Some(record) = self.read::<Record>(Table::Snapshots, &key)? else { return Ok(()) };
        let mut batch = WriteBatch::default();
        self.put(&mut batch, Table::Rebuilt, &key, &record.manifest.hash())?;
        self.put(&mut batch, Table::Snapshots, &key, &Record { at_pause: false, ..record })?;
        self.db.write(batch).map_err(database)
    }

    /// Forgets a snapshot.
    pub fn forget_snapshot(&self, process: &Id, slot: u64) -> Result<(), LogError> {
        let mut batch = WriteBatch::default();
        self.remove_snapshot(&mut batch, process, slot)?;
        self.db.write(batch).map_err(database)
    }

    pub(super) fn remove_snapshot(&self, batch: &mut WriteBatch, process: &Id, slot: u64) -> Result<(), LogError> {
        let key = schema::slot(process, slot);
        if let Some(record) = self.read::<Record>(Table::Snapshots, &key)? {
            for number in 0..record.manifest.pieces().unwrap_or(0) {
                batch.delete_cf(self.table(Table::SnapshotPieces)?, schema::piece(process, slot, number));
            }
        }
        batch.delete_cf(self.table(Table::Snapshots)?, key);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_and_one_before_it_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let (process, other) = (Id::from([1; 32]), Id::from([2; 32]));
        let snapshot = |slot: u64, size: usize| Snapshot { slot, bytes: vec![slot as u8; size] };
        store.keep_snapshot(&other, &snapshot(1, 5), false).unwrap();
        for slot in [3, 5, 9] {
            store.keep_snapshot(&process, &snapshot(slot, 9 << 20), false).unwrap();
        }
        let slots = |store: &Store| -> Vec<(u64, bool)> {
            store.snapshots(&process).unwrap().iter().map(|place| (place.slot, place.at_pause)).collect()
        };
        assert_eq!(slots(&store), [(9, false), (5, false)]);
        store.keep_snapshot(&process, &snapshot(11, 7), true).unwrap();
        assert_eq!(slots(&store), [(11, true), (9, false), (5, false)]);
        store.keep_snapshot(&process, &snapshot(12, 0), true).unwrap();
        assert_eq!(slots(&store), [(12, true), (9, false), (5, false)], "one that may be none is replaced");
        assert_eq!(store.snapshot(&process, 9).unwrap(), Some(snapshot(9, 9 << 20)));
        assert_eq!(store.snapshot(&process, 12).unwrap(), Some(snapshot(12, 0)));
        assert_eq!(store.snapshot(&process, 3).unwrap(), None);
        store.keep_snapshot(&process, &snapshot(12, 3), false).unwrap();
        assert_eq!(slots(&store), [(12, false), (9, false)]);
        let pieces = store.iterate(Table::SnapshotPieces, &[], &[]).unwrap().count();
        assert_eq!(pieces, 1 + 9 + 1, "the pieces of what was forgotten are gone");

        // Saved at a pause it stays what it is; a rebuild point's hash is known.
        store.keep_snapshot(&process, &snapshot(12, 3), true).unwrap();
        assert_eq!(slots(&store), [(12, false), (9, false)]);
        let hash = |slot| ao_protocol::log::Log::rebuilt(&store, &process, slot).unwrap();
        assert_eq!(hash(12), Some(Manifest::of(&snapshot(12, 3).bytes).hash()));
        assert_eq!(hash(11), None);
        store.keep_snapshot(&process, &snapshot(14, 8), true).unwrap();
        assert_eq!(store.snapshot_manifest(&process, 14).unwrap(), None, "it may be none");
        store.keep_pause(&process, 14).unwrap();
        assert_eq!(hash(14), Some(Manifest::of(&snapshot(14, 8).bytes).hash()));
        // What a peer fetches is not taken away from it.
        assert!(store.snapshot_manifest(&process, 9).unwrap().is_some());
        for slot in [15, 16, 17] {
            store.keep_snapshot(&process, &snapshot(slot, 8), false).unwrap();
        }
        assert_eq!(slots(&store), [(17, false), (16, false), (9, false)]);

        let key = schema::piece(&process, 9, 1);
        store.db.put_cf(store.table(Table::SnapshotPieces).unwrap(), key, b"damaged").unwrap();
        assert_eq!(store.snapshot(&process, 9).unwrap(), None);
        store.forget_snapshot(&process, 9).unwrap();
        assert_eq!(slots(&store), [(17, false), (16, false)]);
    }
}
