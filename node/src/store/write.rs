//! What each write of a batch puts where.

use ao_protocol::dissent::Dissent;
use ao_protocol::entry::Entry;
use ao_protocol::evidence;
use ao_protocol::item::VerifiedItem;
use ao_protocol::log::{Computed, DeadLetter, DeliveryState, Log, LogError, Write};
use ao_protocol::wire::ItemBytes;
use rocksdb::WriteBatch;

use super::Store;
use super::document::Document;
use super::index::Indexing;
use super::log::KeptAttestation;
use super::schema::{self, Place, Table};

impl Store {
    /// Adds an item without a slot, and its place in the index, to a batch of the database.
    pub(super) fn write_item(
        &self,
        batch: &mut WriteBatch,
        indexing: &mut Indexing<'_>,
        item: &VerifiedItem,
    ) -> Result<(), LogError> {
        // An item that has a slot is found there.
        if self.read::<Place>(Table::Items, item.id().as_ref())?.is_none() {
            let place = Place::Here(ItemBytes(item.bytes().to_vec()));
            self.put(batch, Table::Items, item.id().as_ref(), &place)?;
        }
        indexing.add(batch, &Document::from(item)).map(drop)
    }

    /// Adds a slot with its indexes; its process's tip is for the caller.
    pub(super) fn write_entry(&self, batch: &mut WriteBatch, entry: &Entry) -> Result<(), LogError> {
        let (process, slot) = (entry.process(), entry.slot());
        self.put(batch, Table::Entries, &schema::slot(&process, slot), &entry.to_bytes())?;
        self.put(batch, Table::SlotsByItem, &schema::item(&process, &entry.message_id()), &slot)?;
        if let Some(delivery) = entry.delivery() {
            self.put(batch, Table::SlotsByDelivery, &schema::delivery(&delivery), &(process, slot))?;
        }
        let place = Place::Assignment(process, slot);
        self.put(batch, Table::Items, entry.assignment.id().as_ref(), &place)?;
        if let Some(firing) = &entry.assignment.statement.cron {
            self.put(batch, Table::Fired, &schema::cron(&process, &firing.cron), &firing.at())?;
            return self.put(batch, Table::Firings, &schema::slot(&process, slot), &());
        }
        self.put(batch, Table::Items, entry.item.id().as_ref(), &Place::Item(process, slot))
    }

    /// Adds a write that is no item of its own to a batch of the database.
    pub(super) fn write(&self, batch: &mut WriteBatch, write: &Write) -> Result<(), LogError> {
        match write {
            Write::Entry(entry) => self.write_entry(batch, entry),
            // Its index entries need more: see `write_item`.
            Write::Item(_) => Ok(()),
            Write::Outcome { process, slot, record } => {
                let computed = Computed::after(*slot, record);
                self.put(batch, Table::Outcomes, &schema::slot(process, *slot), record)?;
                self.put(batch, Table::Computed, &schema::process(process), &computed)
            }
            Write::Begin { entry, record } => self.write_begin(batch, entry, record),
            Write::Fill(entry) => self.write_fill(batch, entry),
            Write::FillOutcome { process, slot, record } => {
                self.put(batch, Table::Outcomes, &schema::slot(process, *slot), record)?;
                self.fill(batch, process, |hole| hole.outcomes_below = *slot)
            }
            Write::Rebuilt { process, slot, hash } => {
                self.put(batch, Table::Rebuilt, &schema::slot(process, *slot), hash)
            }
            Write::Checkpoint(attestation) => {
                let claim = attestation.claim();
                let key = schema::checkpoint(&claim.process, claim.slot, &attestation.unit());
                self.put(batch, Table::Checkpoints, &key, &attestation.to_bytes())
            }
            Write::Resumes { process, resumes } => self.put(batch, Table::Resumes, &schema::process(process), resumes),
            Write::Rewind { process, from, path } => self.write_rewind(batch, process, *from, path),
            Write::Evaluated { process, slot } => self.put(batch, Table::Evaluated, &schema::process(process), slot),
            Write::Attestation(seen) => {
                let claim = seen.attestation.claim();
                let key = schema::attestation(&claim.process, &seen.attestation.unit(), claim.slot);
                let kept: KeptAttestation = (seen.seen_ms, seen.committed_ms, seen.attestation.to_bytes());
                self.put(batch, Table::Attestations, &key, &kept)
            }
            Write::Dissent(dissent) => {
                let key = schema::of_unit(&dissent.process, &dissent.unit);
                match self.read::<Dissent>(Table::Dissents, &key)? {
                    Some(_) => Ok(()),
                    None => self.put(batch, Table::Dissents, &key, dissent),
                }
            }
            Write::Perjury { unit, perjury } => match self.perjury(unit)? {
                Some(_) => Ok(()),
                None => self.put(batch, Table::Perjuries, unit.as_ref(), perjury),
            },
            Write::Account { unit, account } => self.put(batch, Table::RaceAccounts, unit.as_ref(), account),
            Write::Credited { process, next } => self.put(batch, Table::Credited, &schema::process(process), next),
            Write::Delivery(delivery) => {
                if let Some(target) = &delivery.id.target {
                    let key = schema::waiting(target, &delivery.id);
                    match delivery.state {
                        // The id is the value, too: a key can't be read back.
                        DeliveryState::NoProcess => self.put(batch, Table::Waiting, &key, &delivery.id)?,
                        DeliveryState::Pending => {}
                        _ => batch.delete_cf(self.table(Table::Waiting)?, key),
                    }
                }
                if let DeliveryState::Scheduled(place) = &delivery.state {
                    let key = schema::waiting(&place.process, &delivery.id);
                    self.put(batch, Table::Received, &key, &delivery.id)?;
                }
                let key = schema::delivery(&delivery.id);
                match (DeadLetter::of(delivery), &delivery.state) {
                    (Some(letter), _) => self.put(batch, Table::Dead, &key, &letter)?,
                    // Only one that is driven again is no longer dead: no tombstones for all others.
                    (None, DeliveryState::Pending) if self.read::<DeadLetter>(Table::Dead, &key)?.is_some() => {
                        batch.delete_cf(self.table(Table::Dead)?, key);
                    }
                    _ => {}
                }
                self.put(batch, Table::Deliveries, &key, delivery)
            }
            Write::Pushed { root, by, count } => self.put(batch, Table::Pushed, &schema::pushed(root, by), count),
            Write::Delivered { process, next } => self.put(batch, Table::Delivered, &schema::process(process), next),
            Write::Evidence { process, entries } => {
                let known = self.evidence(process)?.and_then(|(ours, _)| evidence::slot(&ours));
                if known.is_some() && evidence::slot(&entries.0) >= known {
                    return Ok(());
                }
                self.put(batch, Table::Evidence, &schema::process(process), entries)
            }
        }
    }
}
