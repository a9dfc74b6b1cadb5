//! Snapshots of processes' states, in pieces. They can be made again from the log, so they are not synced, and a
//! damaged one is none.

use ao_protocol::id::Id;
use ao_protocol::log::LogError;
use rocksdb::WriteBatch;
use serde::{Deserialize, Serialize};

use super::schema::{self, Table};
use super::{Store, database};
use crate::vm::Snapshot;

/// Bytes of a piece.
const PIECE_BYTES: usize = 4 * 1024 * 1024;
/// How many snapshots at rebuild points are kept of a process: the newest, and one to fall back on.
const KEPT: usize = 2;

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
    hash: [u8; 32],
    bytes: u64,
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
        for number in 0..pieces(record.bytes) {
            let key = schema::piece(process, slot, number);
            let piece = self.db.get_pinned_cf(self.table(Table::SnapshotPieces)?, key).map_err(database)?;
            let Some(piece) = piece else { return Ok(None) };
            bytes.extend_from_slice(&piece);
        }
        let whole = *blake3::hash(&bytes).as_bytes() == record.hash;
        Ok(whole.then_some(Snapshot { slot, bytes }))
    }

    /// Keeps a snapshot, and forgets those that it makes useless.
    pub fn keep_snapshot(&self, process: &Id, snapshot: &Snapshot, at_pause: bool) -> Result<(), LogError> {
        let mut batch = WriteBatch::default();
        let places = self.snapshots(process)?;
        // Of those at rebuild points one is kept beside a new one, and all beside one that may turn out to be none.
        let others = places.iter().filter(|place| !place.at_pause && place.slot != snapshot.slot);
        let kept: Vec<u64> = others.map(|place| place.slot).take(KEPT - usize::from(!at_pause)).collect();
        for place in places.iter().filter(|place| !kept.contains(&place.slot)) {
            self.remove_snapshot(&mut batch, process, place.slot)?;
        }
        for (number, piece) in snapshot.bytes.chunks(PIECE_BYTES).enumerate() {
            let key = schema::piece(process, snapshot.slot, number as u32);
            batch.put_cf(self.table(Table::SnapshotPieces)?, key, piece);
        }
        let (hash, bytes) = (*blake3::hash(&snapshot.bytes).as_bytes(), snapshot.bytes.len() as u64);
        let record = Record { hash, bytes, at_pause };
        self.put(&mut batch, Table::Snapshots, &schema::slot(process, snapshot.slot), &record)?;
        self.db.write(batch).map_err(database)
    }

    /// Forgets a snapshot.
    pub fn forget_snapshot(&self, process: &Id, slot: u64) -> Result<(), LogError> {
        let mut batch = WriteBatch::default();
        self.remove_snapshot(&mut batch, process, slot)?;
        self.db.write(batch).map_err(database)
    }

    fn remove_snapshot(&self, batch: &mut WriteBatch, process: &Id, slot: u64) -> Result<(), LogError> {
        let key = schema::slot(process, slot);
        if let Some(record) = self.read::<Record>(Table::Snapshots, &key)? {
            for number in 0..pieces(record.bytes) {
                batch.delete_cf(self.table(Table::SnapshotPieces)?, schema::piece(process, slot, number));
            }
        }
        batch.delete_cf(self.table(Table::Snapshots)?, key);
        Ok(())
    }
}

fn pieces(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(PIECE_BYTES as u64)).unwrap_or(u32::MAX)
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
        assert_eq!(pieces, 1 + 3 + 1, "the pieces of what was forgotten are gone");

        let key = schema::piece(&process, 9, 1);
        store.db.put_cf(store.table(Table::SnapshotPieces).unwrap(), key, b"damaged").unwrap();
        assert_eq!(store.snapshot(&process, 9).unwrap(), None);
        store.forget_snapshot(&process, 9).unwrap();
        assert_eq!(slots(&store), [(12, false)]);
    }
}
