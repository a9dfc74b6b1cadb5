//! A disk that can fail between writes: commits that were not synced are lost in a crash, and a crash can strike right
//! before or right after any commit.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ao_protocol::attestation::{Attestation, Seen};
use ao_protocol::backfill::Hole;
use ao_protocol::dissent::{Dissent, Perjury};
use ao_protocol::id::{Address, Digest, Id};
use ao_protocol::item::VerifiedItem;
use ao_protocol::log::{Batch, Computed, DeadLetter, Delivery, Durability, Log, LogError, MemoryLog, Tip};
use ao_protocol::origin::DeliveryId;
use ao_protocol::outcome::OutcomeRecord;
use ao_protocol::process::Process;
use ao_protocol::race::Account;
use ao_protocol::resume::Resumption;
use ao_protocol::wire::EntryBytes;

/// When the next commit crashes the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trap {
    /// Before anything of it is written.
    Before,
    /// After all of it is written, before anybody is told.
    After,
    /// There is no room: nothing is written, and the node lives.
    Full,
}

/// A log on such a disk.
#[derive(Default)]
pub(super) struct Disk {
    current: MemoryLog,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    durable: MemoryLog,
    unsynced: Vec<Batch>,
    trap: Option<Trap>,
    /// For showing that the checks notice: syncs are ignored.
    lying: bool,
    /// The same: it is never found where something has its slot.
    forgetful: bool,
}

impl Disk {
    /// A disk that says that it synced and did not, for showing that the checks notice.
    pub(super) fn lying() -> Disk {
        let disk = Disk::default();
        disk.state().lying = true;
        disk
    }

    /// A disk that does not find what has its slot already, for showing that the checks notice.
    pub(super) fn forgetful() -> Disk {
        let disk = Disk::default();
        disk.state().forgetful = true;
        disk
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the next commit crash.
    pub(super) fn set_trap(&self, trap: Trap) {
        self.state().trap = Some(trap);
    }

    /// A copy of what is on it for good.
    pub(super) fn backup(&self) -> Disk {
        let durable = self.state().durable.clone();
        Disk { current: durable.clone(), state: Mutex::new(State { durable, ..State::default() }) }
    }

    /// What is left after a crash of the machine.
    pub(super) fn crashed(self) -> Disk {
        let mut state = self.state.into_inner().unwrap_or_else(PoisonError::into_inner);
        state.unsynced.clear();
        state.trap = None;
        Disk { current: state.durable.clone(), state: Mutex::new(state) }
    }
}

impl Log for Disk {
    fn commit(&self, batch: Batch, durability: Durability) -> Result<(), LogError> {
        let mut state = self.state();
        let crash = || Err(LogError::Database("the machine crashed".into()));
        let trap = state.trap.take();
        match trap {
            Some(Trap::Before) => return crash(),
            Some(Trap::Full) => return Err(LogError::Full("no room".into())),
            Some(Trap::After) | None => {}
        }
        self.current.commit(batch.clone(), durability)?;
        state.unsynced.push(batch);
        if durability == Durability::Synced && !state.lying {
            for batch in std::mem::take(&mut state.unsynced) {
                state.durable.commit(batch, durability)?;
            }
        }
        if trap == Some(Trap::After) { crash() } else { Ok(()) }
    }

    fn tip(&self, process: &Id) -> Result<Option<Tip>, LogError> {
        self.current.tip(process)
    }
    fn tips(&self, after: Option<&Id>, limit: usize) -> Result<Vec<(Id, Tip)>, LogError> {
        self.current.tips(after, limit)
    }
    fn entry_bytes(&self, process: &Id, slot: u64) -> Result<Option<EntryBytes>, LogError> {
        self.current.entry_bytes(process, slot)
    }
    fn slot_of_item(&self, process: &Id, item: &Id) -> Result<Option<u64>, LogError> {
        if self.state().forgetful { Ok(None) } else { self.current.slot_of_item(process, item) }
    }
    fn slot_of_delivery(&self, delivery: &DeliveryId) -> Result<Option<(Id, u64)>, LogError> {
        if self.state().forgetful { Ok(None) } else { self.current.slot_of_delivery(delivery) }
    }
    fn fired(&self, process: &Id, cron: &str) -> Result<Option<u64>, LogError> {
        self.current.fired(process, cron)
    }
    fn firings(&self, process: &Id, from: u64, limit: usize) -> Result<Vec<u64>, LogError> {
        self.current.firings(process, from, limit)
    }
    fn pushed(&self, root: &Id, by: &Address) -> Result<u64, LogError> {
        self.current.pushed(root, by)
    }
    fn item(&self, id: &Id) -> Result<Option<VerifiedItem>, LogError> {
        self.current.item(id)
    }
    fn computed(&self, process: &Id) -> Result<Option<Computed>, LogError> {
        self.current.computed(process)
    }
    fn outcome(&self, process: &Id, slot: u64) -> Result<Option<OutcomeRecord>, LogError> {
        self.current.outcome(process, slot)
    }
    fn process(&self, process: &Id) -> Result<Option<Arc<Process>>, LogError> {
        self.current.process(process)
    }
    fn evaluated(&self, process: &Id) -> Result<Option<u64>, LogError> {
        self.current.evaluated(process)
    }
    fn base(&self, process: &Id) -> Result<Option<u64>, LogError> {
        self.current.base(process)
    }
    fn hole(&self, process: &Id) -> Result<Option<Hole>, LogError> {
        self.current.hole(process)
    }
    fn rebuilt(&self, process: &Id, slot: u64) -> Result<Option<Digest>, LogError> {
        self.current.rebuilt(process, slot)
    }
    fn last_rebuilt(&self, process: &Id, until: u64) -> Result<Option<(u64, Digest)>, LogError> {
        self.current.last_rebuilt(process, until)
    }
    fn checkpoints(&self, process: &Id, slot: u64) -> Result<Vec<Attestation>, LogError> {
        self.current.checkpoints(process, slot)
    }
    fn last_checkpoint(&self, process: &Id, until: u64) -> Result<Option<u64>, LogError> {
        self.current.last_checkpoint(process, until)
    }
    fn resumption(&self, process: &Id) -> Result<Resumption, LogError> {
        self.current.resumption(process)
    }
    fn on_branch(&self, process: &Id, slot: u64) -> Result<Option<Id>, LogError> {
        self.current.on_branch(process, slot)
    }
    fn rewound(&self) -> u64 {
        self.current.rewound()
    }
    fn attestation(&self, process: &Id, unit: &Address, slot: u64) -> Result<Option<Seen>, LogError> {
        self.current.attestation(process, unit, slot)
    }
    fn next_attestation(&self, process: &Id, unit: &Address, from: u64) -> Result<Option<Seen>, LogError> {
        self.current.next_attestation(process, unit, from)
    }
    fn last_attestation(&self, process: &Id, unit: &Address, until: u64) -> Result<Option<Seen>, LogError> {
        self.current.last_attestation(process, unit, until)
    }
    fn dissents(&self, process: &Id) -> Result<Vec<Dissent>, LogError> {
        self.current.dissents(process)
    }
    fn perjury(&self, unit: &Address) -> Result<Option<Perjury>, LogError> {
        self.current.perjury(unit)
    }
    fn credited(&self, process: &Id) -> Result<u64, LogError> {
        self.current.credited(process)
    }
    fn race_account(&self, unit: &Address) -> Result<Account, LogError> {
        self.current.race_account(unit)
    }

    fn delivered(&self, process: &Id) -> Result<u64, LogError> {
        self.current.delivered(process)
    }
    fn deliveries(&self, process: &Id, slot: u64) -> Result<Vec<Delivery>, LogError> {
        self.current.deliveries(process, slot)
    }
    fn delivery(&self, id: &DeliveryId) -> Result<Option<Delivery>, LogError> {
        self.current.delivery(id)
    }
    fn waited_for(&self, after: Option<&Id>, limit: usize) -> Result<Vec<Id>, LogError> {
        self.current.waited_for(after, limit)
    }
    fn waiting(&self, target: &Id, after: Option<&DeliveryId>) -> Result<Vec<DeliveryId>, LogError> {
        self.current.waiting(target, after)
    }
    fn dead(
        &self,
        process: Option<&Id>,
        after: Option<&DeliveryId>,
        limit: usize,
    ) -> Result<Vec<DeadLetter>, LogError> {
        self.current.dead(process, after, limit)
    }
    fn evidence(&self, process: &Id) -> Result<Option<(EntryBytes, EntryBytes)>, LogError> {
        self.current.evidence(process)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ao_protocol::log::Write;

    fn next(disk: &Disk, next: u64, durability: Durability) -> Result<(), LogError> {
        let mut batch = Batch::new();
        batch.push(Write::Delivered { process: Id::from([1; 32]), next });
        disk.commit(batch, durability)
    }

    #[test]
    fn only_what_was_synced_survives_a_crash() {
        let disk = Disk::default();
        next(&disk, 1, Durability::Relaxed).unwrap();
        next(&disk, 2, Durability::Synced).unwrap();
        next(&disk, 3, Durability::Relaxed).unwrap();
        assert_eq!(disk.delivered(&Id::from([1; 32])).unwrap(), 3);
        let disk = disk.crashed();
        assert_eq!(disk.delivered(&Id::from([1; 32])).unwrap(), 2);
        disk.set_trap(Trap::After);
        assert!(next(&disk, 4, Durability::Synced).is_err());
        let disk = disk.crashed();
        assert_eq!(disk.delivered(&Id::from([1; 32])).unwrap(), 4);
        disk.set_trap(Trap::Before);
        assert!(next(&disk, 5, Durability::Synced).is_err());
        assert_eq!(disk.crashed().delivered(&Id::from([1; 32])).unwrap(), 4);
    }

    #[test]
    fn keeps_the_laws_of_a_log() {
        ao_protocol::log::laws::all(&Disk::default);
    }
}
