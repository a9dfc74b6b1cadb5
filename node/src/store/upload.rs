//! Items that came here without a slot: by upload, or in a bundle.

use ao_protocol::id::Id;
use ao_protocol::item::VerifiedItem;
use ao_protocol::log::{LogError, MAX_PAGE};
use rocksdb::{WriteBatch, WriteOptions};
use serde::{Deserialize, Serialize};

use super::schema::Table;
use super::{Store, database};

/// What an uploader was promised: the item is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// When it was taken, in milliseconds since 1970.
    pub timestamp_ms: u64,
    /// The height by which it should be on Arweave.
    pub deadline_height: u64,
    /// The unit wallet's signature.
    pub signature: Vec<u8>,
}

impl Store {
    /// The receipt that was given for an item.
    pub fn receipt(&self, id: &Id) -> Result<Option<Receipt>, LogError> {
        self.read(Table::Receipts, id.as_ref())
    }

    /// Keeps an uploaded item with its receipt, synced. Gives the receipt that counts: the first.
    pub fn keep_upload(&self, item: &VerifiedItem, receipt: Receipt) -> Result<Receipt, LogError> {
        let mut batch = WriteBatch::default();
        let mut indexing = self.indexing()?;
        if let Some(first) = self.receipt(&item.id())? {
            return Ok(first);
        }
        self.write_item(&mut batch, &mut indexing, item)?;
        self.put(&mut batch, Table::Receipts, item.id().as_ref(), &receipt)?;
        self.put(&mut batch, Table::Uploads, item.id().as_ref(), &())?;
        let mut options = WriteOptions::default();
        options.set_sync(self.sync);
        self.db.write_opt(batch, &options).map_err(database)?;
        Ok(receipt)
    }

    /// Uploads that were not taken apart or not told to others yet, at most a page.
    pub fn unfinished_uploads(&self) -> Result<Vec<Id>, LogError> {
        let found: Vec<(super::Bytes, ())> = self.range(Table::Uploads, &[], &[], MAX_PAGE)?;
        Ok(found.into_iter().filter_map(|(key, ())| key.first_chunk().map(|id| Id::from(*id))).collect())
    }

    /// There is nothing left to do with an upload.
    pub fn upload_finished(&self, id: &Id) -> Result<(), LogError> {
        self.db.delete_cf(self.table(Table::Uploads)?, id.as_ref()).map_err(database)
    }

    /// The transaction or item that an item came in, if it came in one.
    pub fn bundled_in(&self, id: &Id) -> Result<Option<Id>, LogError> {
        self.read(Table::Carriers, id.as_ref())
    }

    /// Keeps items that came in bundles, each with the transaction or item that holds it. The first one that held an
    /// item is the one that it is said to be bundled in.
    pub fn keep_bundled(&self, items: &[(VerifiedItem, Id)]) -> Result<(), LogError> {
        let mut batch = WriteBatch::default();
        let mut indexing = self.indexing()?;
        for (item, carrier) in items {
            self.write_item(&mut batch, &mut indexing, item)?;
            if self.bundled_in(&item.id())?.is_none() {
                let (position, _) = indexing.place(&mut batch, &item.id())?;
                indexing.add_carrier(&mut batch, position, carrier)?;
                self.put(&mut batch, Table::Carriers, item.id().as_ref(), carrier)?;
            }
        }
        self.db.write(batch).map_err(database)
    }
}

#[cfg(test)]
mod tests {
    use ao_protocol::item::ItemBuilder;
    use ao_protocol::wallet::Wallet;

    use super::*;
    use crate::store::{Effort, Filter, Search};

    #[test]
    fn the_first_receipt_and_the_first_carrier_stay() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let wallet = Wallet::ed25519_from_seed([1; 32]);
        let item = ItemBuilder::new().data(b"a").sign(&wallet).unwrap();
        let receipt = |timestamp_ms| Receipt { timestamp_ms, deadline_height: 1, signature: vec![1] };
        let before = store.syncs();
        assert_eq!(store.keep_upload(&item, receipt(1)).unwrap(), receipt(1));
        assert!(store.syncs() > before, "an upload is synced before it is acknowledged");
        assert_eq!(store.keep_upload(&item, receipt(2)).unwrap(), receipt(1));
        assert_eq!(store.unfinished_uploads().unwrap(), [item.id()]);
        store.upload_finished(&item.id()).unwrap();
        assert!(store.unfinished_uploads().unwrap().is_empty());

        // It was indexed before it was known to be in a bundle.
        let carriers = [Id::from([1; 32]), Id::from([2; 32])];
        for carrier in carriers {
            store.keep_bundled(&[(item.clone(), carrier)]).unwrap();
        }
        assert_eq!(store.bundled_in(&item.id()).unwrap(), Some(carriers[0]));
        for (carrier, found) in [(carriers[0], 1), (carriers[1], 0)] {
            let filter = Filter { bundled_in: vec![carrier], ..Filter::default() };
            let search = Search { filter, newest_first: true, after: None, limit: 10 };
            assert_eq!(store.search(&search, &Effort::default()).unwrap().documents.len(), found);
        }
    }
}
