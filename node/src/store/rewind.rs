//! Taking slots back: what was written of them, and what came of them, goes; their items are still found by id.

use std::collections::{BTreeMap, BTreeSet};

use ao_protocol::entry::Entry;
use ao_protocol::id::{Address, Id};
use ao_protocol::item::VerifiedItem;
use ao_protocol::log::{Computed, Delivery, DeliveryState, Log, LogError, Tip};
use ao_protocol::origin::DeliveryId;
use ao_protocol::wire::ItemBytes;
use rocksdb::WriteBatch;

use super::schema::{self, Place, Table};
use super::{Store, database, decode};

/// Bytes of items of slots that are taken back which stay at hand; what is over that is forgotten.
const MAX_KEPT_BYTES: usize = 64 * 1024 * 1024;

impl Store {
    /// Adds to a batch what takes back the slots of a process from one on.
    pub(super) fn write_rewind(
        &self,
        batch: &mut WriteBatch,
        process: &Id,
        from: u64,
        path: &[Id],
    ) -> Result<(), LogError> {
        let own = self.take_back_entries(batch, process, from)?;
        self.take_back_outcomes(batch, process, from)?;
        self.take_back_attestations(batch, process, from)?;
        self.take_back_deliveries(batch, process, from)?;
        let key = schema::process(process);
        let sent = own.unwrap_or(from).min(from);
        let cursors = [
            (Table::Credited, from),
            (Table::Delivered, sent),
            (Table::Indexed, from),
            (Table::Mirrored, from.saturating_sub(1)),
        ];
        // What is mirrored begins with the last slot that is kept: what the owner said goes with it.
        for (cursor, to) in cursors {
            if self.read::<u64>(cursor, &key)?.is_some_and(|next| next > to) {
                self.put(batch, cursor, &key, &to)?;
            }
        }
        batch.delete_cf(self.table(Table::Evidence)?, key);
        self.delete_slots(batch, Table::Branches, process, from)?;
        for (slot, id) in (from..).zip(path) {
            self.put(batch, Table::Branches, &schema::slot(process, slot), id)?;
        }
        let rewinds: u64 = self.read(Table::Rewinds, &key)?.unwrap_or_default();
        self.put(batch, Table::Rewinds, &key, &(rewinds + 1))
    }

    /// Deletes what a table has of a process's slots from one on.
    fn delete_slots(&self, batch: &mut WriteBatch, table: Table, process: &Id, from: u64) -> Result<(), LogError> {
        let first = schema::slot(process, from);
        // Behind all keys that begin with the process.
        let end = [&schema::slot(process, u64::MAX)[..], &[0xff; 40]].concat();
        batch.delete_range_cf(self.table(table)?, &first[..], &end[..]);
        Ok(())
    }

    /// Gives the first slot of the process that had sent something to these, if one had.
    fn take_back_entries(&self, batch: &mut WriteBatch, process: &Id, from: u64) -> Result<Option<u64>, LogError> {
        let mut crons: BTreeSet<String> = BTreeSet::new();
        // The first slot of each other process that had sent something to these.
        let mut sent: BTreeMap<Id, u64> = BTreeMap::new();
        for found in self.iterate(Table::Entries, process.as_ref(), &schema::slot(process, from))? {
            let (key, value) = found.map_err(database)?;
            let bytes = decode(Table::Entries, &key, &value)?;
            let damaged = |cause: ao_protocol::entry::EntryError| LogError::Damaged {
                record: "entry",
                key: process.to_string(),
                cause: cause.to_string(),
            };
            let entry = Entry::from_own_store(&bytes).map_err(damaged)?;
            let slot = entry.slot();
            self.keep_item_here(batch, &entry.assignment.item, &Place::Assignment(*process, slot))?;
            if let Some(firing) = &entry.assignment.statement.cron {
                crons.insert(firing.cron.clone());
            } else {
                self.keep_item_here(batch, &entry.item, &Place::Item(*process, slot))?;
            }
            let key = schema::item(process, &entry.message_id());
            if self.read::<u64>(Table::SlotsByItem, &key)? == Some(slot) {
                batch.delete_cf(self.table(Table::SlotsByItem)?, key);
            }
            if let Some(delivery) = entry.delivery() {
                let key = schema::delivery(&delivery);
                if self.read::<(Id, u64)>(Table::SlotsByDelivery, &key)? == Some((*process, slot)) {
                    batch.delete_cf(self.table(Table::SlotsByDelivery)?, key);
                    let first = sent.entry(delivery.origin.process).or_insert(delivery.origin.slot);
                    *first = delivery.origin.slot.min(*first);
                }
            }
        }
        self.send_again(batch, process, from, &mut sent)?;
        for source in sent.keys() {
            let key = schema::process(source);
            let times: u64 = self.read(Table::SentAgain, &key)?.unwrap_or_default();
            self.put(batch, Table::SentAgain, &key, &(times + 1))?;
        }
        let own = sent.remove(process);
        for (source, first) in sent {
            if self.delivered(&source)? > first {
                self.put(batch, Table::Delivered, &schema::process(&source), &first)?;
            }
        }
        self.delete_slots(batch, Table::Entries, process, from)?;
        self.delete_slots(batch, Table::Firings, process, from)?;
        for cron in crons {
            match self.last_firing(process, &cron, from)? {
                Some(at) => self.put(batch, Table::Fired, &schema::cron(process, &cron), &at)?,
                None => batch.delete_cf(self.table(Table::Fired)?, schema::cron(process, &cron)),
            }
        }
        let key = schema::process(process);
        match from.checked_sub(1) {
            None => batch.delete_cf(self.table(Table::Tips)?, key),
            Some(last) => {
                if let Some(entry) = self.entry(process, last)? {
                    self.put(batch, Table::Tips, &key, &Tip::after(&entry))?;
                }
            }
        }
        Ok(own)
    }

    /// What this node's messenger knows to have its slot in a process, and has it no more, is to be delivered again.
    fn send_again(
        &self,
        batch: &mut WriteBatch,
        process: &Id,
        from: u64,
        sent: &mut BTreeMap<Id, u64>,
    ) -> Result<(), LogError> {
        for found in self.iterate(Table::Received, process.as_ref(), process.as_ref())? {
            let (key, value) = found.map_err(database)?;
            let id: DeliveryId = decode(Table::Received, &key, &value)?;
            let Some(delivery) = self.delivery(&id)? else { continue };
            let DeliveryState::Scheduled(place) = &delivery.state else { continue };
            if place.process != *process {
                continue;
            }
            let ours = match place.slot < from {
                true => self.entry(process, place.slot)?.map(|entry| entry.assignment.id()),
                false => None,
            };
            if ours == Some(place.assignment) {
                continue;
            }
            let origin = id.origin;
            let first = sent.entry(origin.process).or_insert(origin.slot);
            *first = origin.slot.min(*first);
            let pending = Delivery { state: DeliveryState::Pending, ..delivery };
            self.put(batch, Table::Deliveries, &schema::delivery(&id), &pending)?;
        }
        Ok(())
    }

    /// An item that was found in a slot is found by itself from now on, while there is room for it in one write.
    fn keep_item_here(&self, batch: &mut WriteBatch, item: &VerifiedItem, was: &Place) -> Result<(), LogError> {
        match (self.read::<Place>(Table::Items, item.id().as_ref())?, was) {
            (Some(Place::Item(a, b)), Place::Item(c, d)) | (Some(Place::Assignment(a, b)), Place::Assignment(c, d))
                if (a, b) == (*c, *d) =>
            {
                if batch.size_in_bytes() > MAX_KEPT_BYTES {
                    batch.delete_cf(self.table(Table::Items)?, item.id().as_ref());
                    return Ok(());
                }
                let here = Place::Here(ItemBytes(item.bytes().to_vec()));
                self.put(batch, Table::Items, item.id().as_ref(), &here)
            }
            _ => Ok(()),
        }
    }

    /// Where the last firing of a cron below a slot is in its row.
    fn last_firing(&self, process: &Id, cron: &str, below: u64) -> Result<Option<u64>, LogError> {
        let mut until = below;
        while let Some(last) = until.checked_sub(1) {
            let found = self.last_up_to::<()>(Table::Firings, process.as_ref(), &schema::slot(process, last))?;
            let slot = found.and_then(|(key, ())| key.last_chunk().map(|slot| u64::from_be_bytes(*slot)));
            let Some(slot) = slot else { return Ok(None) };
            let firing = self.entry(process, slot)?.and_then(|entry| entry.assignment.statement.cron);
            if let Some(firing) = firing.filter(|firing| firing.cron == cron) {
                return Ok(Some(firing.at()));
            }
            until = slot;
        }
        Ok(None)
    }

    fn take_back_outcomes(&self, batch: &mut WriteBatch, process: &Id, from: u64) -> Result<(), LogError> {
        let (key, last) = (schema::process(process), from.checked_sub(1));
        self.delete_slots(batch, Table::Outcomes, process, from)?;
        if self.computed(process)?.is_some_and(|computed| computed.slot >= from) {
            let before = match last {
                Some(last) => self.outcome(process, last)?.map(|record| Computed::after(last, &record)),
                None => None,
            };
            match before {
                Some(computed) => self.put(batch, Table::Computed, &key, &computed)?,
                None => batch.delete_cf(self.table(Table::Computed)?, key),
            }
        }
        match (self.evaluated(process)?, last) {
            (Some(evaluated), Some(last)) if evaluated > last => self.put(batch, Table::Evaluated, &key, &last)?,
            (Some(_), None) => batch.delete_cf(self.table(Table::Evaluated)?, key),
            _ => {}
        }
        if self.base(process)?.is_some_and(|base| base >= from) {
            batch.delete_cf(self.table(Table::Bases)?, key);
            batch.delete_cf(self.table(Table::Holes)?, key);
        }
        self.delete_slots(batch, Table::Rebuilt, process, from)?;
        for place in self.snapshots(process)?.iter().filter(|place| place.slot >= from) {
            self.remove_snapshot(batch, process, place.slot)?;
        }
        Ok(())
    }

    fn take_back_attestations(&self, batch: &mut WriteBatch, process: &Id, from: u64) -> Result<(), LogError> {
        self.delete_slots(batch, Table::Checkpoints, process, from)?;
        let table = self.table(Table::Attestations)?;
        let mut next = schema::of_unit(process, &Address::from([0; 32])).to_vec();
        // From unit to unit by seeking: each may have attested any number of slots.
        loop {
            let found = self.iterate(Table::Attestations, process.as_ref(), &next)?.next();
            let Some(found) = found else { return Ok(()) };
            let (key, _) = found.map_err(database)?;
            let Some(unit) = key.get(32..64).and_then(|unit| unit.first_chunk()) else { return Ok(()) };
            let unit = Address::from(*unit);
            let end = [&schema::attestation(process, &unit, u64::MAX)[..], &[0xff]].concat();
            batch.delete_range_cf(table, &schema::attestation(process, &unit, from)[..], &end[..]);
            next = end;
        }
    }

    fn take_back_deliveries(&self, batch: &mut WriteBatch, process: &Id, from: u64) -> Result<(), LogError> {
        for found in self.iterate(Table::Deliveries, process.as_ref(), &schema::slot(process, from))? {
            let (key, value) = found.map_err(database)?;
            let delivery: Delivery = decode(Table::Deliveries, &key, &value)?;
            if let Some(target) = &delivery.id.target {
                batch.delete_cf(self.table(Table::Waiting)?, schema::waiting(target, &delivery.id));
            }
            batch.delete_cf(self.table(Table::Dead)?, &key);
            batch.delete_cf(self.table(Table::Deliveries)?, &key);
        }
        Ok(())
    }
}
