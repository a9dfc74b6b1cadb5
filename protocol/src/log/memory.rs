//! A log in memory, for the simulation and for tests of rules.

mod rewind;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Batch, Computed, DeadLetter, Delivery, DeliveryState, Durability, Log, LogError, MAX_PAGE, Tip, Write};
use crate::attestation::{Attestation, Seen};
use crate::backfill::Hole;
use crate::dissent::{Dissent, Perjury};
use crate::evidence;
use crate::id::{Address, Digest, Id};
use crate::item::VerifiedItem;
use crate::origin::DeliveryId;
use crate::outcome::OutcomeRecord;
use crate::process::Process;
use crate::race::Account;
use crate::resume::Resumption;
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
    /// Read from their first slots.
    processes: BTreeMap<Id, Arc<Process>>,
    slots_by_item: BTreeMap<(Id, Id), u64>,
    slots_by_delivery: BTreeMap<DeliveryId, (Id, u64)>,
    items: BTreeMap<Id, VerifiedItem>,
    fired: BTreeMap<(Id, String), u64>,
    firings: BTreeSet<(Id, u64)>,
    pushed: BTreeMap<(Id, Address), u64>,
    outcomes: BTreeMap<(Id, u64), OutcomeRecord>,
    computed: BTreeMap<Id, Computed>,
    evaluated: BTreeMap<Id, u64>,
    attestations: BTreeMap<(Id, Address, u64), Seen>,
    dissents: BTreeMap<(Id, Address), Dissent>,
    perjuries: BTreeMap<Address, Perjury>,
    accounts: BTreeMap<Address, Account>,
    credited: BTreeMap<Id, u64>,
    delivered: BTreeMap<Id, u64>,
    deliveries: BTreeMap<DeliveryId, Delivery>,
    evidence: BTreeMap<Id, (EntryBytes, EntryBytes)>,
    resumptions: BTreeMap<Id, Resumption>,
    branches: BTreeMap<(Id, u64), Id>,
    rewound: u64,
    bases: BTreeMap<Id, u64>,
    holes: BTreeMap<Id, Hole>,
    rebuilt: BTreeMap<(Id, u64), Digest>,
    checkpoints: BTreeMap<(Id, u64, Address), Attestation>,
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
                self.slots_by_item.insert((process, entry.message_id()), slot);
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
                self.computed.insert(process, Computed::after(slot, &record));
                self.outcomes.insert((process, slot), *record);
            }
            Write::Begin { entry, record } => {
                let (process, slot) = (entry.process(), entry.slot());
                let next = self.tips.get(&process).map_or(0, |tip| tip.slot + 1);
                let hole = Hole {
                    entries_from: next,
                    entries_below: slot,
                    outcomes_from: self.computed.get(&process).map_or(0, |computed| computed.slot + 1),
                    outcomes_below: slot,
                };
                if next <= slot {
                    self.write(Write::Entry(entry));
                }
                self.write(Write::Outcome { process, slot, record });
                self.evaluated.insert(process, slot);
                self.bases.insert(process, slot);
                if !hole.is_filled() {
                    self.holes.insert(process, hole);
                }
            }
            Write::Fill(entry) => {
                let (process, slot) = (entry.process(), entry.slot());
                self.entries.insert((process, slot), entry.to_bytes());
                self.slots_by_item.entry((process, entry.message_id())).or_insert(slot);
                if let Some(delivery) = entry.delivery() {
                    self.slots_by_delivery.entry(delivery).or_insert((process, slot));
                }
                if let Some(firing) = &entry.assignment.statement.cron {
                    self.fired.entry((process, firing.cron.clone())).or_insert(firing.at());
                    self.firings.insert((process, slot));
                }
                self.items.insert(entry.assignment.id(), entry.assignment.item.clone());
                self.items.insert(entry.item.id(), entry.item);
                self.fill(process, |hole| hole.entries_below = slot);
            }
            Write::FillOutcome { process, slot, record } => {
                self.outcomes.insert((process, slot), *record);
                self.fill(process, |hole| hole.outcomes_below = slot);
            }
            Write::Rebuilt { process, slot, hash } => {
                self.rebuilt.insert((process, slot), hash);
            }
            Write::Checkpoint(attestation) => {
                let (claim, unit) = (attestation.claim(), attestation.unit());
                self.checkpoints.insert((claim.process, claim.slot, unit), *attestation);
            }
            Write::Evaluated { process, slot } => {
                self.evaluated.insert(process, slot);
            }
            Write::Attestation(seen) => {
                let (claim, unit) = (seen.attestation.claim(), seen.attestation.unit());
                self.attestations.insert((claim.process, unit, claim.slot), *seen);
            }
            Write::Dissent(dissent) => {
                self.dissents.entry((dissent.process, dissent.unit)).or_insert(*dissent);
            }
            Write::Perjury { unit, perjury } => {
                self.perjuries.entry(unit).or_insert(*perjury);
            }
            Write::Account { unit, account } => {
                self.accounts.insert(unit, account);
            }
            Write::Credited { process, next } => {
                self.credited.insert(process, next);
            }
            Write::Delivery(delivery) => {
                self.deliveries.insert(delivery.id, *delivery);
            }
            Write::Delivered { process, next } => {
                self.delivered.insert(process, next);
            }
            Write::Evidence { process, entries } => {
                let known = self.evidence.get(&process).and_then(|(ours, _)| evidence::slot(ours));
                if known.is_none_or(|known| evidence::slot(&entries.0).is_some_and(|slot| slot < known)) {
                    self.evidence.insert(process, *entries);
                }
            }
            Write::Resumes { process, resumes } => {
                self.resumptions.entry(process).or_default().resumes = resumes;
                self.processes.remove(&process);
            }
            Write::Rewind { process, from, path } => self.rewind(process, from, path),
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

    fn process(&self, process: &Id) -> Result<Option<Arc<Process>>, LogError> {
        if let Some(known) = self.tables().processes.get(process) {
            return Ok(Some(known.clone()));
        }
        let read = self.read_process(process)?;
        if let Some(read) = &read {
            self.tables().processes.insert(*process, read.clone());
        }
        Ok(read)
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

    fn evaluated(&self, process: &Id) -> Result<Option<u64>, LogError> {
        Ok(self.tables().evaluated.get(process).copied())
    }

    fn base(&self, process: &Id) -> Result<Option<u64>, LogError> {
        Ok(self.tables().bases.get(process).copied())
    }

    fn hole(&self, process: &Id) -> Result<Option<Hole>, LogError> {
        Ok(self.tables().holes.get(process).copied())
    }

    fn rebuilt(&self, process: &Id, slot: u64) -> Result<Option<Digest>, LogError> {
        Ok(self.tables().rebuilt.get(&(*process, slot)).copied())
    }

    fn last_rebuilt(&self, process: &Id, until: u64) -> Result<Option<(u64, Digest)>, LogError> {
        let tables = self.tables();
        let mut found = tables.rebuilt.range((*process, 0)..=(*process, until));
        Ok(found.next_back().map(|((_, slot), hash)| (*slot, *hash)))
    }

    fn checkpoints(&self, process: &Id, slot: u64) -> Result<Vec<Attestation>, LogError> {
        let tables = self.tables();
        let (first, last) = (Address::from([0; 32]), Address::from([255; 32]));
        let found = tables.checkpoints.range((*process, slot, first)..=(*process, slot, last));
        Ok(found.take(MAX_PAGE).map(|(_, attestation)| attestation.clone()).collect())
    }

    fn last_checkpoint(&self, process: &Id, until: u64) -> Result<Option<u64>, LogError> {
        let tables = self.tables();
        let last = (*process, until, Address::from([255; 32]));
        let mut found = tables.checkpoints.range((*process, 0, Address::from([0; 32]))..=last);
        Ok(found.next_back().map(|((_, slot, _), _)| *slot))
    }

    fn attestation(&self, process: &Id, unit: &Address, slot: u64) -> Result<Option<Seen>, LogError> {
        Ok(self.tables().attestations.get(&(*process, *unit, slot)).cloned())
    }

    fn next_attestation(&self, process: &Id, unit: &Address, from: u64) -> Result<Option<Seen>, LogError> {
        let tables = self.tables();
        let mut found = tables.attestations.range((*process, *unit, from)..=(*process, *unit, u64::MAX));
        Ok(found.next().map(|(_, seen)| seen.clone()))
    }

    fn last_attestation(&self, process: &Id, unit: &Address, until: u64) -> Result<Option<Seen>, LogError> {
        let tables = self.tables();
        let mut found = tables.attestations.range((*process, *unit, 0)..=(*process, *unit, until));
        Ok(found.next_back().map(|(_, seen)| seen.clone()))
    }

    fn dissents(&self, process: &Id) -> Result<Vec<Dissent>, LogError> {
        let tables = self.tables();
        let found = tables.dissents.range((*process, Address::from([0; 32]))..=(*process, Address::from([255; 32])));
        Ok(found.take(MAX_PAGE).map(|(_, dissent)| dissent.clone()).collect())
    }

    fn perjury(&self, unit: &Address) -> Result<Option<Perjury>, LogError> {
        Ok(self.tables().perjuries.get(unit).cloned())
    }

    fn credited(&self, process: &Id) -> Result<u64, LogError> {
        Ok(self.tables().credited.get(process).copied().unwrap_or(0))
    }

    fn race_account(&self, unit: &Address) -> Result<Account, LogError> {
        Ok(self.tables().accounts.get(unit).cloned().unwrap_or_default())
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

    fn resumption(&self, process: &Id) -> Result<Resumption, LogError> {
        Ok(self.tables().resumptions.get(process).cloned().unwrap_or_default())
    }

    fn on_branch(&self, process: &Id, slot: u64) -> Result<Option<Id>, LogError> {
        Ok(self.tables().branches.get(&(*process, slot)).copied())
    }

    fn rewound(&self) -> u64 {
        self.tables().rewound
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
