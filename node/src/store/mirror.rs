//! Bundles on their way to Arweave: each is kept with its data before it is posted, so that after a crash the same one
//! is posted again and nothing is paid twice.

use ao_protocol::checkpoint::PIECE_BYTES;
use ao_protocol::id::Id;
use ao_protocol::log::{Log, LogError};
use ao_protocol::mirror::Range;
use ao_protocol::outcome::OutcomeRecord;
use rocksdb::WriteBatch;
use serde::{Deserialize, Serialize};

use super::schema::{self, BUNDLE_KEY, Table};
use super::{Store, database};
use crate::arweave::Carrier;
use crate::vm::Snapshot;

/// How far a bundle is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum BundleState {
    /// It was signed, and not all of it was taken yet.
    Signed,
    /// The gateway took all of it.
    Posted,
}

/// A bundle on its way.
#[derive(Clone, Debug)]
pub struct Bundle {
    /// Its place among this node's bundles.
    pub number: u64,
    /// What carries it.
    pub carrier: Carrier,
    /// What is in it; nothing: it is a part of a checkpoint.
    pub ranges: Vec<Range>,
    /// The height at which it was signed.
    pub signed_at: u64,
    /// How far it is.
    pub state: BundleState,
}

#[derive(Serialize, Deserialize)]
struct Record {
    carrier: Carrier,
    ranges: Vec<Range>,
    signed_at: u64,
    state: BundleState,
}

/// A bundle that is on Arweave for good.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Landed {
    /// The transaction or item.
    pub id: Id,
    /// The height of its block.
    pub height: u64,
    /// What is in it.
    pub ranges: Vec<Range>,
    /// Bytes of its data.
    pub bytes: u64,
    /// Bundles up to this one.
    pub bundles: u64,
    /// Slots in them.
    pub all_slots: u64,
    /// Bytes of their data.
    pub all_bytes: u64,
}

impl Bundle {
    /// How many slots are in it.
    pub fn slots(&self) -> u64 {
        self.ranges.iter().map(|range| range.last - range.first + 1).sum()
    }
}

impl Store {
    /// The next slot of a process to be mirrored.
    pub fn mirrored(&self, process: &Id) -> Result<u64, LogError> {
        Ok(self.read(Table::Mirrored, &schema::process(process))?.unwrap_or(0))
    }

    /// All of a process below a slot is on Arweave, though no bundle of this node has it.
    pub fn note_mirrored(&self, process: &Id, next: u64) -> Result<(), LogError> {
        let mut batch = WriteBatch::default();
        self.put(&mut batch, Table::Mirrored, &schema::process(process), &next)?;
        self.db.write(batch).map_err(database)
    }

    /// Whether all that is wanted of a bundle was restored before.
    pub fn is_restored(&self, wanted: &[u8; 32], bundle: &Id) -> Result<bool, LogError> {
        Ok(self.read::<()>(Table::Restored, &[&wanted[..], bundle.as_ref()].concat())?.is_some())
    }

    /// All that is wanted of a bundle is here.
    pub fn note_restored(&self, wanted: &[u8; 32], bundle: &Id) -> Result<(), LogError> {
        let mut batch = WriteBatch::default();
        self.put(&mut batch, Table::Restored, &[&wanted[..], bundle.as_ref()].concat(), &())?;
        self.db.write(batch).map_err(database)
    }

    /// Slots were taken back: what was restored may have more of them.
    pub fn forget_restored(&self) -> Result<(), LogError> {
        self.db.delete_range_cf(self.table(Table::Restored)?, &[0; 64][..], &[0xff; 65][..]).map_err(database)
    }

    /// A module is on Arweave, though in no bundle of this node.
    pub fn note_module(&self, module: &Id) -> Result<(), LogError> {
        let mut batch = WriteBatch::default();
        self.put(&mut batch, Table::MirroredModules, module.as_ref(), &())?;
        self.db.write(batch).map_err(database)
    }

    /// Whether a module is in some bundle.
    pub fn is_module_mirrored(&self, module: &Id) -> Result<bool, LogError> {
        Ok(self.read::<()>(Table::MirroredModules, module.as_ref())?.is_some())
    }

    /// Keeps a new bundle with its data and moves the cursors of its processes behind it, synced. Says its number; none
    /// if slots of any process were taken back since it was gathered, when [`Log::rewound`] was this.
    pub fn keep_bundle(
        &self,
        carrier: &Carrier,
        data: &[u8],
        (ranges, modules): (&[Range], &[Id]),
        signed_at: u64,
        rewound: u64,
    ) -> Result<Option<u64>, LogError> {
        let _steady = self.steady();
        if self.rewound() != rewound {
            return Ok(None);
        }
        let mut batch = WriteBatch::default();
        for range in ranges {
            if self.mirrored(&range.process)? != range.first {
                return Ok(None);
            }
            self.put(&mut batch, Table::Mirrored, &schema::process(&range.process), &(range.last + 1))?;
        }
        for module in modules {
            self.put(&mut batch, Table::MirroredModules, module.as_ref(), &())?;
        }
        let number = self.next_bundle()?;
        batch.put(BUNDLE_KEY, (number + 1).to_be_bytes());
        batch.put_cf(self.table(Table::BundleData)?, number.to_be_bytes(), data);
        let bundle =
            Bundle { number, carrier: carrier.clone(), ranges: ranges.to_vec(), signed_at, state: BundleState::Signed };
        self.put_bundle(&mut batch, &bundle)?;
        self.write_synced(batch)?;
        Ok(Some(number))
    }

    fn put_bundle(&self, batch: &mut WriteBatch, bundle: &Bundle) -> Result<(), LogError> {
        let record = Record {
            carrier: bundle.carrier.clone(),
            ranges: bundle.ranges.clone(),
            signed_at: bundle.signed_at,
            state: bundle.state,
        };
        self.put(batch, Table::Bundles, &bundle.number.to_be_bytes(), &record)
    }

    /// Keeps how far a bundle is, or that it was signed anew; synced.
    pub fn update_bundle(&self, bundle: &Bundle) -> Result<(), LogError> {
        let mut batch = WriteBatch::default();
        self.put_bundle(&mut batch, bundle)?;
        self.write_synced(batch)
    }

    /// Bundles on their way, in order, at most a page.
    pub fn bundles(&self) -> Result<Vec<Bundle>, LogError> {
        let mut bundles = Vec::new();
        for (key, record) in self.range::<Record>(Table::Bundles, &[], &[], ao_protocol::log::MAX_PAGE)? {
            let Some(number) = key.first_chunk().map(|key| u64::from_be_bytes(*key)) else { continue };
            let Record { carrier, ranges, signed_at, state } = record;
            bundles.push(Bundle { number, carrier, ranges, signed_at, state });
        }
        Ok(bundles)
    }

    /// The data of a bundle on its way.
    pub fn bundle_data(&self, number: u64) -> Result<Option<Vec<u8>>, LogError> {
        self.db.get_cf(self.table(Table::BundleData)?, number.to_be_bytes()).map_err(database)
    }

    /// A bundle is on Arweave for good, in a block of this height: its data is no longer kept.
    pub fn landed(&self, bundle: &Bundle, height: u64) -> Result<(), LogError> {
        let (bundles, all_slots, all_bytes) =
            self.last_landed()?.map_or((0, 0, 0), |last| (last.bundles, last.all_slots, last.all_bytes));
        let landed = Landed {
            id: bundle.carrier.id(),
            height,
            ranges: bundle.ranges.clone(),
            bytes: bundle.carrier.data_size(),
            bundles: bundles + 1,
            all_slots: all_slots + bundle.slots(),
            all_bytes: all_bytes + bundle.carrier.data_size(),
        };
        let mut batch = WriteBatch::default();
        batch.delete_cf(self.table(Table::Bundles)?, bundle.number.to_be_bytes());
        batch.delete_cf(self.table(Table::BundleData)?, bundle.number.to_be_bytes());
        self.put(&mut batch, Table::Landed, &bundles.to_be_bytes(), &landed)?;
        self.write_synced(batch)
    }

    /// The slot of the last checkpoint of a process that went into bundles.
    pub fn mirrored_checkpoint(&self, process: &Id) -> Result<Option<u64>, LogError> {
        self.read(Table::MirroredCheckpoints, &schema::process(process))
    }

    /// Keeps the bundles of a checkpoint, all or none, synced; says their numbers.
    pub fn keep_checkpoint_bundles(
        &self,
        process: &Id,
        slot: u64,
        bundles: &[(Carrier, Vec<u8>)],
        signed_at: u64,
    ) -> Result<Vec<u64>, LogError> {
        let mut batch = WriteBatch::default();
        self.put(&mut batch, Table::MirroredCheckpoints, &schema::process(process), &slot)?;
        let mut numbers = Vec::with_capacity(bundles.len());
        let first = self.next_bundle()?;
        for (number, (carrier, data)) in (first..).zip(bundles) {
            batch.put_cf(self.table(Table::BundleData)?, number.to_be_bytes(), data);
            let state = BundleState::Signed;
            let bundle = Bundle { number, carrier: carrier.clone(), ranges: Vec::new(), signed_at, state };
            self.put_bundle(&mut batch, &bundle)?;
            numbers.push(number);
        }
        batch.put(BUNDLE_KEY, (first + bundles.len() as u64).to_be_bytes());
        self.write_synced(batch)?;
        Ok(numbers)
    }

    fn next_bundle(&self) -> Result<u64, LogError> {
        let next = self.db.get(BUNDLE_KEY).map_err(database)?;
        Ok(next.and_then(|next| next.try_into().ok()).map_or(0, u64::from_be_bytes))
    }

    /// Keeps a state that was on Arweave, for the process to begin with if enough units that it trusts attested it.
    pub fn keep_restored_checkpoint(
        &self,
        process: &Id,
        snapshot: &Snapshot,
        record: &OutcomeRecord,
    ) -> Result<(), LogError> {
        self.forget_restored_checkpoint(process)?;
        let mut batch = WriteBatch::default();
        self.put(&mut batch, Table::RestoredCheckpoints, &schema::process(process), &(snapshot.slot, record.clone()))?;
        for (number, piece) in (0..).zip(snapshot.bytes.chunks(PIECE_BYTES)) {
            let key = schema::piece(process, snapshot.slot, number);
            batch.put_cf(self.table(Table::RestoredPieces)?, key, piece);
        }
        self.write_synced(batch)
    }

    /// The slot of that state, and the slot's outcome. Nobody has checked who attested it.
    pub fn restored_checkpoint(&self, process: &Id) -> Result<Option<(u64, OutcomeRecord)>, LogError> {
        self.read(Table::RestoredCheckpoints, &schema::process(process))
    }

    /// The state itself, as it came.
    pub fn restored_state(&self, process: &Id, slot: u64) -> Result<Snapshot, LogError> {
        let prefix = schema::slot(process, slot);
        let mut bytes = Vec::new();
        for found in self.iterate(Table::RestoredPieces, &prefix, &prefix)? {
            bytes.extend_from_slice(&found.map_err(database)?.1);
        }
        Ok(Snapshot { slot, bytes })
    }

    /// The process began with it, or never will.
    pub fn forget_restored_checkpoint(&self, process: &Id) -> Result<(), LogError> {
        let mut batch = WriteBatch::default();
        if let Some((slot, _)) = self.restored_checkpoint(process)? {
            let (first, last) = (schema::piece(process, slot, 0), schema::piece(process, slot, u32::MAX));
            batch.delete_range_cf(self.table(Table::RestoredPieces)?, &first[..], &last[..]);
        }
        batch.delete_cf(self.table(Table::RestoredCheckpoints)?, schema::process(process));
        self.db.write(batch).map_err(database)
    }

    /// The bundle that landed last.
    pub fn last_landed(&self) -> Result<Option<Landed>, LogError> {
        Ok(self.last(Table::Landed)?.map(|(_, landed)| landed))
    }
}

#[cfg(test)]
mod tests {
    use ao_protocol::id::Address;
    use ao_protocol::log::{Batch, Durability, Write};
    use ao_protocol::transaction::{Transaction, TransactionBuilder};
    use ao_protocol::wallet::Wallet;

    use super::*;

    fn transaction(data: &[u8]) -> Carrier {
        let wallet = Wallet::from_jwk(include_str!("../../../testnet/dev-wallet.json")).unwrap();
        let signed = TransactionBuilder::default().sign(data, &wallet).unwrap();
        Carrier::Transaction(Box::new(Transaction { data: Vec::new(), ..signed }))
    }

    fn range(process: u8, first: u64, last: u64) -> Range {
        Range { process: Id::from([process; 32]), first, last, scheduler: Address::from([1; 32]) }
    }

    #[test]
    fn a_bundle_is_kept_with_its_cursors_until_it_landed() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        // More than one record of the wire format may have.
        let large = vec![7; 20 << 20];
        let keep = |data: &[u8], ranges: &[Range]| {
            store.keep_bundle(&transaction(data), data, (ranges, &[Id::from([9; 32])]), 5, store.rewound()).unwrap()
        };
        assert_eq!(keep(&large, &[range(1, 0, 4), range(2, 0, 0)]), Some(0));
        assert_eq!(keep(b"b", &[range(1, 5, 9)]), Some(1));
        assert_eq!(keep(b"c", &[range(2, 1, 3), range(1, 5, 9)]), None, "that is in another one");
        let next = |process: u8| store.mirrored(&Id::from([process; 32])).unwrap();
        assert_eq!((next(1), next(2), next(3)), (10, 1, 0));
        assert!(store.is_module_mirrored(&Id::from([9; 32])).unwrap());
        drop(store);
        let store = Store::open(folder.path()).unwrap();
        let mut bundles = store.bundles().unwrap();
        assert_eq!(bundles.iter().map(|bundle| (bundle.number, bundle.slots())).collect::<Vec<_>>(), [(0, 6), (1, 5)]);
        assert_eq!(store.bundle_data(0).unwrap().unwrap(), large);
        bundles[0].state = BundleState::Posted;
        store.update_bundle(&bundles[0]).unwrap();
        assert_eq!(store.bundles().unwrap()[0].state, BundleState::Posted);
        // In whatever order they land.
        store.landed(&bundles[1], 7).unwrap();
        store.landed(&bundles[0], 8).unwrap();
        assert!(store.bundles().unwrap().is_empty() && store.bundle_data(0).unwrap().is_none());
        let landed = store.last_landed().unwrap().unwrap();
        assert_eq!((landed.bundles, landed.all_slots, landed.height), (2, 11, 8));
        assert_eq!(landed.all_bytes, (20 << 20) + 1);
        let number = store.keep_bundle(&transaction(b"d"), b"d", (&[range(1, 10, 10)], &[]), 9, 0).unwrap();
        assert_eq!(number, Some(2));
    }

    #[test]
    fn slots_that_are_taken_back_are_mirrored_again() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let process = Id::from([1; 32]);
        store.note_mirrored(&process, 10).unwrap();
        let gathered = store.rewound();
        // With the last slot that is kept goes what the owner said.
        for (from, next) in [(20, 10), (6, 5)] {
            let mut batch = Batch::new();
            batch.push(Write::Rewind { process, from, path: Vec::new() });
            store.commit(batch, Durability::Synced).unwrap();
            assert_eq!(store.mirrored(&process).unwrap(), next);
        }
        let kept = (&[range(1, 5, 9)][..], &[][..]);
        assert_eq!(store.keep_bundle(&transaction(b"a"), b"a", kept, 1, gathered).unwrap(), None, "it is of before");
        assert_eq!(store.keep_bundle(&transaction(b"a"), b"a", kept, 1, store.rewound()).unwrap(), Some(0));
    }
}
