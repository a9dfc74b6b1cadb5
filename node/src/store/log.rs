//! The log's reads and writes, as the protocol's rules want them, in terms of tables and keys.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use ao_protocol::attestation::{Attestation, Seen};
use ao_protocol::backfill::Hole;
use ao_protocol::dissent::{Dissent, Perjury};
use ao_protocol::id::{Address, Digest, Id};
use ao_protocol::item::VerifiedItem;
use ao_protocol::log::{Batch, Computed, DeadLetter, Delivery, Durability, Log, LogError, MAX_PAGE, Tip, Write};
use ao_protocol::origin::DeliveryId;
use ao_protocol::outcome::OutcomeRecord;
use ao_protocol::process::Process;
use ao_protocol::race::Account;
use ao_protocol::resume::Resumption;
use ao_protocol::wire::EntryBytes;
use rocksdb::{WriteBatch, WriteOptions};

use super::schema::{self, Place, Table};
use super::{Bytes, MAX_PROCESS_BYTES, MAX_PROCESSES, Store, database, decode};

impl Log for Store {
    fn commit(&self, batch: Batch, durability: Durability) -> Result<(), LogError> {
        let mut writes = WriteBatch::default();
        let mut tips = BTreeMap::new();
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
            match write {
                Write::Entry(entry) => drop(tips.insert(entry.process(), Tip::after(entry))),
                Write::Begin { entry, .. } if self.tip(&entry.process())?.is_none_or(|tip| tip.slot < entry.slot()) => {
                    tips.insert(entry.process(), Tip::after(entry));
                }
                _ => {}
            }
        }
        // Many slots of one process in a batch move its tip once.
        for (process, tip) in tips {
            self.put(&mut writes, Table::Tips, &schema::process(&process), &tip)?;
        }
        let mut options = WriteOptions::default();
        options.set_sync(self.sync && durability == Durability::Synced);
        self.db.write_opt(writes, &options).map_err(database)?;
        for write in batch.writes() {
            match write {
                Write::Resumes { process, .. } => self.forget_process(process),
                Write::Rewind { process, .. } => {
                    // Also those that had sent something to what was taken back.
                    self.forget_processes();
                    self.rewound.fetch_add(1, Ordering::AcqRel);
                    tracing::debug!(%process, "slots were taken back");
                }
                _ => {}
            }
        }
        Ok(())
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

    fn process(&self, process: &Id) -> Result<Option<Arc<Process>>, LogError> {
        if let Some(known) = self.processes().get(process) {
            return Ok(Some(known.clone()));
        }
        let changed = self.changed.load(Ordering::Acquire);
        let read = self.read_process(process)?;
        if let Some(read) = read.as_ref().filter(|read| read.item.bytes().len() <= MAX_PROCESS_BYTES) {
            let mut known = self.processes();
            if self.changed.load(Ordering::Acquire) != changed {
                return Ok(Some(read.clone()));
            }
            // One makes room, whichever.
            if known.len() >= MAX_PROCESSES
                && let Some(other) = known.keys().next().copied()
            {
                known.remove(&other);
            }
            known.insert(*process, read.clone());
        }
        Ok(read)
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

    fn evaluated(&self, process: &Id) -> Result<Option<u64>, LogError> {
        self.read(Table::Evaluated, &schema::process(process))
    }

    fn base(&self, process: &Id) -> Result<Option<u64>, LogError> {
        self.read(Table::Bases, &schema::process(process))
    }

    fn hole(&self, process: &Id) -> Result<Option<Hole>, LogError> {
        self.read(Table::Holes, &schema::process(process))
    }

    fn rebuilt(&self, process: &Id, slot: u64) -> Result<Option<Digest>, LogError> {
        self.read(Table::Rebuilt, &schema::slot(process, slot))
    }

    fn last_rebuilt(&self, process: &Id, until: u64) -> Result<Option<(u64, Digest)>, LogError> {
        let found = self.last_up_to(Table::Rebuilt, process.as_ref(), &schema::slot(process, until))?;
        Ok(found.and_then(|(key, hash)| Some((u64::from_be_bytes(*key.last_chunk()?), hash))))
    }

    fn checkpoints(&self, process: &Id, slot: u64) -> Result<Vec<Attestation>, LogError> {
        let prefix = schema::slot(process, slot);
        let found = self.range::<Vec<u8>>(Table::Checkpoints, &prefix, &prefix, MAX_PAGE)?;
        found.iter().map(|(key, bytes)| attestation(Table::Checkpoints, key, bytes)).collect()
    }

    fn last_checkpoint(&self, process: &Id, until: u64) -> Result<Option<u64>, LogError> {
        let until = schema::checkpoint(process, until, &Address::from([0xff; 32]));
        let found = self.last_up_to::<Vec<u8>>(Table::Checkpoints, process.as_ref(), &until)?;
        let slot = |key: &[u8]| key.get(32..40)?.first_chunk().map(|slot| u64::from_be_bytes(*slot));
        Ok(found.and_then(|(key, _)| slot(&key)))
    }

    fn resumption(&self, process: &Id) -> Result<Resumption, LogError> {
        let key = schema::process(process);
        Ok(Resumption {
            resumes: self.read(Table::Resumes, &key)?.unwrap_or_default(),
            rewinds: self.read(Table::Rewinds, &key)?.unwrap_or_default(),
            sent_again: self.read(Table::SentAgain, &key)?.unwrap_or_default(),
        })
    }

    fn on_branch(&self, process: &Id, slot: u64) -> Result<Option<Id>, LogError> {
        self.read(Table::Branches, &schema::slot(process, slot))
    }

    fn rewound(&self) -> u64 {
        self.rewound.load(Ordering::Acquire)
    }

    fn attestation(&self, process: &Id, unit: &Address, slot: u64) -> Result<Option<Seen>, LogError> {
        let key = schema::attestation(process, unit, slot);
        self.read(Table::Attestations, &key)?.map(|kept| seen(&key, kept)).transpose()
    }

    fn next_attestation(&self, process: &Id, unit: &Address, from: u64) -> Result<Option<Seen>, LogError> {
        let (prefix, from) = (schema::of_unit(process, unit), schema::attestation(process, unit, from));
        let found = self.range(Table::Attestations, &prefix, &from, 1)?.into_iter().next();
        found.map(|(key, kept)| seen(&key, kept)).transpose()
    }

    fn last_attestation(&self, process: &Id, unit: &Address, until: u64) -> Result<Option<Seen>, LogError> {
        let (prefix, until) = (schema::of_unit(process, unit), schema::attestation(process, unit, until));
        let found = self.last_up_to(Table::Attestations, &prefix, &until)?;
        found.map(|(key, kept)| seen(&key, kept)).transpose()
    }

    fn dissents(&self, process: &Id) -> Result<Vec<Dissent>, LogError> {
        let found = self.range(Table::Dissents, process.as_ref(), process.as_ref(), MAX_PAGE)?;
        Ok(found.into_iter().map(|(_, dissent)| dissent).collect())
    }

    fn perjury(&self, unit: &Address) -> Result<Option<Perjury>, LogError> {
        self.read(Table::Perjuries, unit.as_ref())
    }

    fn credited(&self, process: &Id) -> Result<u64, LogError> {
        Ok(self.read(Table::Credited, &schema::process(process))?.unwrap_or(0))
    }

    fn race_account(&self, unit: &Address) -> Result<Account, LogError> {
        Ok(self.read(Table::RaceAccounts, unit.as_ref())?.unwrap_or_default())
    }

    fn pushed(&self, root: &Id, by: &Address) -> Result<u64, LogError> {
        Ok(self.read(Table::Pushed, &schema::pushed(root, by))?.unwrap_or(0))
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

    fn dead(
        &self,
        process: Option<&Id>,
        after: Option<&DeliveryId>,
        limit: usize,
    ) -> Result<Vec<DeadLetter>, LogError> {
        let prefix = process.map(AsRef::as_ref).unwrap_or_default();
        let from = after.map_or_else(|| prefix.to_vec(), |after| [&schema::delivery(after)[..], &[0]].concat());
        let found = self.range(Table::Dead, prefix, &from, limit)?;
        Ok(found.into_iter().map(|(_, letter)| letter).collect())
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

/// An attestation as it is kept: when it came, when the commit to it did, and what was signed.
pub(super) type KeptAttestation = (u64, Option<u64>, Vec<u8>);

fn seen(key: &[u8], (seen_ms, committed_ms, bytes): KeptAttestation) -> Result<Seen, LogError> {
    Ok(Seen { attestation: attestation(Table::Attestations, key, &bytes)?, seen_ms, committed_ms })
}

fn attestation(table: Table, key: &[u8], bytes: &[u8]) -> Result<Attestation, LogError> {
    Attestation::from_own_store(bytes).map_err(|cause| LogError::Damaged {
        record: table.name(),
        key: key.iter().map(|byte| format!("{byte:02x}")).collect(),
        cause: cause.to_string(),
    })
}
