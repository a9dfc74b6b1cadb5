//! A log in memory, for the simulation and for tests of rules.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{Batch, Computed, DeadLetter, Delivery, DeliveryState, Durability, Log, LogError, MAX_PAGE, Tip, Write};
use crate::attestation::Attestation;
use crate::id::{Address, Id};
use crate::item::VerifiedItem;
use crate::origin::DeliveryId;
use crate::outcome::OutcomeRecord;
use crate::wire::EntryBytes;

/// A log that lives as long as the value. Cloning it copies everything: a crash that loses what was not synced is a
/// return to an earlier clone.
#[derive(Default)]
pub struct MemoryLog {
    tables: Mutex<Tables>,
}

#[derive(Clone, Default)]
struct Tables {
    entries: BTreeMap<(Id, u64), EntryBytes>,
    tips: BTreeMap<Id, Tip>,
    slots_by_item: BTreeMap<(Id, Id), u64>,
    slots_by_delivery: BTreeMap<DeliveryId, (Id, u64)>,
    items: BTreeMap<Id, VerifiedItem>,
    fired: BTreeMap<(Id, String), u64>,
    firings: BTreeSet<(Id, u64)>,
    pushed: BTreeMap<(Id, Address), u64>,
    outcomes: BTreeMap<(Id, u64), OutcomeRecord>,
    computed: BTreeMap<Id, Computed>,
    attestations: BTreeMap<(Id, u64, Address), Attestation>,
    delivered: BTreeMap<Id, u64>,
    deliveries: BTreeMap<DeliveryId, Delivery>,
    evidence: BTreeMap<Id, (EntryBytes, EntryBytes)>,
}

impl MemoryLog {
    /// An empty log.
    pub fn new() -> MemoryLog {
        MemoryLog::default()
    }

    fn tables(&self) -> MutexGuard<'_, Tables> {
        // A panic while the lock is held leaves the tables as they are: each write below is complete in itself.
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clone for MemoryLog {
    fn clone(&self) -> MemoryLog {
        MemoryLog { tables: Mutex::new(self.tables().clone()) }
    }
}

impl Tables {
    fn waiting(&self) -> impl Iterator<Item = &DeliveryId> {
        let waits = |delivery: &&Delivery| delivery.state == DeliveryState::NoProcess;
        self.deliveries.values().filter(waits).map(|delivery| &delivery.id)
    }

    fn write(&mut self, write: Write) {
        match write {
            Write::Entry(entry) => {
                let (process, slot) = (entry.process(), entry.slot());
                self.entries.insert((process, slot), entry.to_bytes());
                self.tips.insert(process, Tip::after(&entry));
                self.slots_by_item.insert((process, entry.item.id()), slot);
                if let Some(delivery) = entry.delivery() {
                    self.slots_by_delivery.insert(delivery, (process, slot));
                }
                if let Some(firing) = &entry.assignment.statement.cron {
                    self.fired.insert((process, firing.cron.clone()), firing.at());
                    self.firings.insert((process, slot));
                }
                self.items.insert(entry.assignment.id(), entry.assignment.item.clone());
                self.items.insert(entry.item.id(), entry.item);
            }
            Write::Pushed { root, by, count } => {
                self.pushed.insert((root, by), count);
            }
            Write::Item(item) => {
                self.items.insert(item.id(), item);
            }
            Write::Outcome { process, slot, record } => {
                self.computed.insert(process, Computed { slot, chain: record.chain() });
                self.outcomes.insert((process, slot), *record);
            }
            Write::Attestation(attestation) => {
                let claim = attestation.claim();
                self.attestations.insert((claim.process, claim.slot, attestation.unit()), *attestation);
            }
            Write::Delivery(delivery) => {
                self.deliveries.insert(delivery.id, *delivery);
            }
            Write::Delivered { process, next } => {
                self.delivered.insert(process, next);
            }
            Write::Evidence { process, entries } => {
                self.evidence.entry(process).or_insert(*entries);
            }
        }
    }
}

impl Log for MemoryLog {
    fn commit(&self, batch: Batch, _durability: Durability) -> Result<(), LogError> {
        let mut tables = self.tables();
        for write in batch.into_writes() {
            tables.write(write);
        }
        Ok(())
    }

    fn tip(&self, process: &Id) -> Result<Option<Tip>, LogError> {
        Ok(self.tables().tips.get(process).cloned())
    }

    fn tips(&self, after: Option<&Id>, limit: usize) -> Result<Vec<(Id, Tip)>, LogError> {
        let tables = self.tables();
        let above = tables.tips.iter().filter(|(id, _)| after.is_none_or(|after| *id > after));
        Ok(above.take(limit.min(MAX_PAGE)).map(|(id, tip)| (*id, tip.clone())).collect())
    }

    fn entry_bytes(&self, process: &Id, slot: u64) -> Result<Option<EntryBytes>, LogError> {
        Ok(self.tables().entries.get(&(*process, slot)).cloned())
    }

    fn fired(&self, process: &Id, cron: &str) -> Result<Option<u64>, LogError> {
        Ok(self.tables().fired.get(&(*process, cron.to_string())).copied())
    }

    fn firings(&self, process: &Id, from: u64, limit: usize) -> Result<Vec<u64>, LogError> {
        let tables = self.tables();
        let found = tables.firings.range((*process, from)..=(*process, u64::MAX));
        Ok(found.take(limit.min(MAX_PAGE)).map(|(_, slot)| *slot).collect())
    }

    fn slot_of_item(&self, process: &Id, item: &Id) -> Result<Option<u64>, LogError> {
        Ok(self.tables().slots_by_item.get(&(*process, *item)).copied())
    }

    fn slot_of_delivery(&self, delivery: &DeliveryId) -> Result<Option<(Id, u64)>, LogError> {
        Ok(self.tables().slots_by_delivery.get(delivery).copied())
    }

    fn pushed(&self, root: &Id, by: &Address) -> Result<u64, LogError> {
        Ok(self.tables().pushed.get(&(*root, *by)).copied().unwrap_or(0))
    }

    fn item(&self, id: &Id) -> Result<Option<VerifiedItem>, LogError> {
        Ok(self.tables().items.get(id).cloned())
    }

    fn computed(&self, process: &Id) -> Result<Option<Computed>, LogError> {
        Ok(self.tables().computed.get(process).cloned())
    }

    fn outcome(&self, process: &Id, slot: u64) -> Result<Option<OutcomeRecord>, LogError> {
        Ok(self.tables().outcomes.get(&(*process, slot)).cloned())
    }

    fn attestations(&self, process: &Id, slot: u64) -> Result<Vec<Attestation>, LogError> {
        let (first, last) = (Address::from([0; 32]), Address::from([255; 32]));
        let tables = self.tables();
        let range = tables.attestations.range((*process, slot, first)..=(*process, slot, last));
        Ok(range.take(MAX_PAGE).map(|(_, attestation)| attestation.clone()).collect())
    }

    fn next_attestation(&self, process: &Id, from: u64, units: &[Address]) -> Result<Option<Attestation>, LogError> {
        let (first, last) = (Address::from([0; 32]), Address::from([255; 32]));
        let tables = self.tables();
        let mut range = tables.attestations.range((*process, from, first)..=(*process, u64::MAX, last));
        Ok(range.find(|((_, _, unit), _)| units.contains(unit)).map(|(_, attestation)| attestation.clone()))
    }

    fn delivered(&self, process: &Id) -> Result<u64, LogError> {
        Ok(self.tables().delivered.get(process).copied().unwrap_or(0))
    }

    fn deliveries(&self, process: &Id, slot: u64) -> Result<Vec<Delivery>, LogError> {
        let tables = self.tables();
        let of_slot = |id: &DeliveryId| id.origin.process == *process && id.origin.slot == slot;
        Ok(tables.deliveries.values().filter(|delivery| of_slot(&delivery.id)).cloned().collect())
    }

    fn delivery(&self, id: &DeliveryId) -> Result<Option<Delivery>, LogError> {
        Ok(self.tables().deliveries.get(id).cloned())
    }

    fn waited_for(&self, after: Option<&Id>, limit: usize) -> Result<Vec<Id>, LogError> {
        let tables = self.tables();
        let mut targets: Vec<Id> = tables.waiting().filter_map(|id| id.target).collect();
        targets.sort();
        targets.dedup();
        let above = targets.into_iter().filter(|id| after.is_none_or(|after| id > after));
        Ok(above.take(limit.min(MAX_PAGE)).collect())
    }

    fn waiting(&self, target: &Id, after: Option<&DeliveryId>) -> Result<Vec<DeliveryId>, LogError> {
        let tables = self.tables();
        let above = tables.waiting().filter(|id| after.is_none_or(|after| *id > after));
        let found = above.filter(|id| id.target == Some(*target)).copied();
        Ok(found.take(MAX_PAGE).collect())
    }

    fn dead(
        &self,
        process: Option<&Id>,
        after: Option<&DeliveryId>,
        limit: usize,
    ) -> Result<Vec<DeadLetter>, LogError> {
        let tables = self.tables();
        let above = tables.deliveries.values().filter(|delivery| after.is_none_or(|after| delivery.id > *after));
        let of_process = |delivery: &&Delivery| process.is_none_or(|process| delivery.id.origin.process == *process);
        let found = above.filter(of_process).filter_map(DeadLetter::of);
        Ok(found.take(limit.min(MAX_PAGE)).collect())
    }

    fn evidence(&self, process: &Id) -> Result<Option<(EntryBytes, EntryBytes)>, LogError> {
        Ok(self.tables().evidence.get(process).cloned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_laws() {
        super::super::laws::all(&|| MemoryLog::new());
    }
}
