//! Taking slots back from a log in memory, and filling in what is missing below a checkpoint.

use super::Tables;
use crate::backfill::Hole;
use crate::entry::Entry;
use crate::id::Id;
use crate::log::Delivery;
use crate::log::{Computed, DeliveryState, Place, Tip};
use crate::wire::EntryBytes;

impl Tables {
    pub(super) fn fill(&mut self, process: Id, change: impl FnOnce(&mut Hole)) {
        let Some(hole) = self.holes.get_mut(&process) else { return };
        change(hole);
        if hole.is_filled() {
            self.holes.remove(&process);
        }
    }

    /// The messenger looks again at what a slot sent.
    fn deliver_again(&mut self, source: Id, slot: u64) {
        self.delivered.entry(source).and_modify(|next| *next = slot.min(*next));
        self.resumptions.entry(source).or_default().sent_again += 1;
        self.processes.remove(&source);
    }

    pub(super) fn rewind(&mut self, process: Id, from: u64, path: Vec<Id>) {
        let taken: Vec<(u64, EntryBytes)> = self
            .entries
            .extract_if((process, from)..=(process, u64::MAX), |_, _| true)
            .map(|((_, slot), bytes)| (slot, bytes))
            .collect();
        for (slot, bytes) in taken {
            // What was written here can be read.
            let Ok(entry) = Entry::from_own_store(&bytes) else { continue };
            self.slots_by_item.retain(|(of, item), at| (*of, *item, *at) != (process, entry.message_id(), slot));
            if let Some(delivery) = entry.delivery()
                && self.slots_by_delivery.get(&delivery) == Some(&(process, slot))
            {
                self.slots_by_delivery.remove(&delivery);
                self.deliver_again(delivery.origin.process, delivery.origin.slot);
            }
        }
        let is_there = |place: &Place| {
            let entry = self.entries.get(&(process, place.slot)).and_then(|bytes| Entry::from_own_store(bytes).ok());
            entry.is_some_and(|entry| entry.assignment.id() == place.assignment)
        };
        let lost = |delivery: &&Delivery| match &delivery.state {
            DeliveryState::Scheduled(place) => place.process == process && !is_there(place),
            _ => false,
        };
        for id in self.deliveries.values().filter(lost).map(|delivery| delivery.id).collect::<Vec<_>>() {
            if let Some(delivery) = self.deliveries.get_mut(&id) {
                delivery.state = DeliveryState::Pending;
            }
            self.deliver_again(id.origin.process, id.origin.slot);
        }
        self.firings.retain(|(of, slot)| *of != process || *slot < from);
        self.fired.retain(|(of, _), _| *of != process);
        let firings: Vec<u64> = self.firings.range((process, 0)..=(process, u64::MAX)).map(|(_, slot)| *slot).collect();
        for slot in firings {
            let entry = self.entries.get(&(process, slot)).and_then(|bytes| Entry::from_own_store(bytes).ok());
            if let Some(firing) = entry.and_then(|entry| entry.assignment.statement.cron) {
                self.fired.insert((process, firing.cron.clone()), firing.at());
            }
        }
        let last = from.checked_sub(1);
        let entry = last.and_then(|last| self.entries.get(&(process, last)));
        match entry.and_then(|bytes| Entry::from_own_store(bytes).ok()) {
            Some(entry) => drop(self.tips.insert(process, Tip::after(&entry))),
            None if last.is_none() => drop(self.tips.remove(&process)),
            // The log ends before that.
            None => {}
        }
        self.outcomes.retain(|(of, slot), _| *of != process || *slot < from);
        if self.computed.get(&process).is_some_and(|computed| computed.slot >= from) {
            match last.and_then(|last| Some(Computed::after(last, self.outcomes.get(&(process, last))?))) {
                Some(computed) => drop(self.computed.insert(process, computed)),
                None => drop(self.computed.remove(&process)),
            }
        }
        match (self.evaluated.get(&process), last) {
            (Some(evaluated), Some(last)) if *evaluated > last => drop(self.evaluated.insert(process, last)),
            (Some(_), None) => drop(self.evaluated.remove(&process)),
            _ => {}
        }
        self.attestations.retain(|(of, _, slot), _| *of != process || *slot < from);
        self.checkpoints.retain(|(of, slot, _), _| *of != process || *slot < from);
        self.rebuilt.retain(|(of, slot), _| *of != process || *slot < from);
        if self.bases.get(&process).is_some_and(|base| *base >= from) {
            self.bases.remove(&process);
            self.holes.remove(&process);
        }
        self.deliveries.retain(|id, _| id.origin.process != process || id.origin.slot < from);
        for cursors in [&mut self.credited, &mut self.delivered] {
            cursors.entry(process).and_modify(|next| *next = from.min(*next));
        }
        self.evidence.remove(&process);
        self.branches.retain(|(of, slot), _| *of != process || *slot < from);
        self.branches.extend((from..).zip(path).map(|(slot, id)| ((process, slot), id)));
        self.resumptions.entry(process).or_default().rewinds += 1;
        self.processes.remove(&process);
        self.rewound += 1;
    }
}
