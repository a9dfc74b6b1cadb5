//! The messenger's rule: deliver what processes send, each entry once, in order, through crashes and takeovers.
//!
//! A state machine over the log. Its work is the log plus a cursor per process; everything in memory can be made again
//! from there, so after a failed commit or a restart a new value takes over. Call order for a driver:
//!
//! 1. [`Messenger::wake`] for every process at start, and whenever an outcome was recorded or an entry appended.
//! 2. [`Messenger::expand`] → commit the batch synced. Only then
//! 3. [`Messenger::submissions`] → submit each; answer each with [`Messenger::on_receipts`] (commit what it returns) or
//!    [`Messenger::on_failure`].
//! 4. [`Messenger::lookups`] → find each target; answer with [`Messenger::on_lookup`].
//! 5. [`Messenger::settle`] → commit relaxed: it only spares work after a restart.
//!
//! Slots of one process are expanded strictly in order: a slot whose outbox another messenger delivers is waited for
//! until this node's log shows its entries or its time to take over has come.

mod expansion;
mod lane;
mod outbox;

use std::collections::BTreeMap;

use crate::id::Id;
use crate::item::VerifiedItem;
use crate::log::{Batch, Delivery, DeliveryState, Log, LogError, Write};
use crate::origin::OutboxKind;
use crate::process::Process;
use crate::scheduler::Refusal;
use crate::trust::{Trust, rank_delay_ms};
use crate::wallet::Signer;
use lane::{Lane, LaneKey};
use outbox::Sender;

pub use lane::Submit;

/// Most slots of one process that are worked on at once.
pub const MAX_OPEN_SLOTS: usize = 64;

/// Wait before a target is looked for again that not every peer could be asked for, in milliseconds.
const LOOKUP_RETRY_MS: u64 = 1000;

/// The messenger of one node.
#[derive(Default)]
pub struct Messenger {
    works: BTreeMap<Id, Work>,
    lanes: BTreeMap<LaneKey, Lane>,
    /// Targets whose scheduler must be found before their lanes can go on, and not before when.
    unknown: BTreeMap<Id, u64>,
}

/// What is going on with one process's outbox.
#[derive(Default)]
struct Work {
    /// The next slot to look at; those below are open or settled.
    next: u64,
    /// The cursor as the log has it.
    settled: u64,
    /// When the outcome of slot `next` was first seen.
    seen_ms: Option<u64>,
    /// Expanded slots and how many of their deliveries are not settled.
    open: BTreeMap<u64, usize>,
}

impl Messenger {
    /// A messenger that knows of no work yet.
    pub fn new() -> Messenger {
        Messenger::default()
    }

    /// Tells that a process may have outcomes whose outbox is not settled.
    pub fn wake(&mut self, log: &dyn Log, process: &Id) -> Result<(), LogError> {
        if !self.works.contains_key(process) {
            let settled = log.delivered(process)?;
            self.works.insert(*process, Work { next: settled, settled, ..Work::default() });
        }
        Ok(())
    }

    /// Prepares what is due: signs the items of new outbox entries and queues them. The batch holds them and must be
    /// committed synced before the next call of [`Messenger::submissions`].
    pub fn expand(
        &mut self,
        log: &dyn Log,
        trust: &Trust,
        signer: &dyn Signer,
        now_ms: u64,
    ) -> Result<Batch, LogError> {
        let mut batch = Batch::new();
        let processes: Vec<Id> = self.works.keys().copied().collect();
        for process in processes {
            while self.expand_next(log, trust, signer, now_ms, &process, &mut batch)? {}
        }
        Ok(batch)
    }

    /// Expands one slot; false when there is none, or it is not its time.
    fn expand_next(
        &mut self,
        log: &dyn Log,
        trust: &Trust,
        signer: &dyn Signer,
        now_ms: u64,
        id: &Id,
        batch: &mut Batch,
    ) -> Result<bool, LogError> {
        let Some(work) = self.works.get_mut(id) else { return Ok(false) };
        let slot = work.next;
        if work.open.len() >= MAX_OPEN_SLOTS {
            return Ok(false);
        }
        let Some(record) = log.outcome(id, slot)? else { return Ok(false) };
        let (Some(entry), Some(first)) = (log.entry(id, slot)?, log.entry(id, 0)?) else { return Ok(false) };
        let seen_ms = *work.seen_ms.get_or_insert(now_ms);
        let mut deliveries = Vec::new();
        if record.outcome.entries() > 0
            && let Ok(process) = Process::read(&first.item)
            && let Some(rank) = trust.rank(&process, slot, entry.assignment.statement.messenger, &signer.address())
        {
            let sender = Sender { process: &process, entry: &entry, signer };
            let known = log.deliveries(id, slot)?;
            // Nothing is signed for another messenger's slot before its turn has passed.
            if rank > 0 && known.is_empty() && now_ms < seen_ms + rank_delay_ms(rank) {
                if !expansion::all_scheduled(log, &sender, &record.outcome)? {
                    return Ok(false);
                }
            } else {
                deliveries = expansion::deliveries(log, &sender, &record.outcome, known)?;
            }
        }
        let mut left = 0;
        for delivery in deliveries {
            if delivery.state == DeliveryState::Pending {
                left += 1;
                self.queue(&delivery);
            }
            batch.push(Write::Delivery(Box::new(delivery)));
        }
        let work = self.works.entry(*id).or_default();
        work.next = slot + 1;
        work.seen_ms = None;
        work.open.insert(slot, left);
        Ok(true)
    }

    fn queue(&mut self, delivery: &Delivery) {
        let key = LaneKey { source: delivery.id.origin.process, target: delivery.id.target };
        let lane = self.lanes.entry(key).or_default();
        if lane.push(delivery)
            && lane.scheduler.is_none()
            && let Some(target) = key.target
        {
            self.unknown.entry(target).or_insert(0);
        }
    }

    /// The targets whose process item is wanted now: from this node's log, else from peers.
    pub fn lookups(&mut self, now_ms: u64) -> Vec<Id> {
        let due: Vec<Id> = self.unknown.iter().filter(|(_, at)| **at <= now_ms).map(|(target, _)| *target).collect();
        for target in &due {
            self.unknown.remove(target);
        }
        due
    }

    /// A target could neither be found nor be shown to be unknown: it is looked for again after a while.
    pub fn lookup_later(&mut self, target: &Id, now_ms: u64) {
        self.unknown.insert(*target, now_ms.saturating_add(LOOKUP_RETRY_MS));
    }

    /// Tells what a target is: its process item, or none when nobody knows it as a process. Returns what to commit.
    pub fn on_lookup(&mut self, target: &Id, item: Option<&VerifiedItem>) -> Batch {
        let process = item.and_then(|item| Process::read(item).ok());
        let keys: Vec<LaneKey> = self.lanes.keys().filter(|key| key.target == Some(*target)).copied().collect();
        let mut batch = Batch::new();
        for key in keys {
            let Some(lane) = self.lanes.get_mut(&key) else { continue };
            match &process {
                Some(process) => lane.scheduler = Some(process.scheduler),
                None => {
                    for delivery in lane.drain() {
                        self.close(delivery, DeliveryState::NoProcess, &mut batch);
                    }
                    self.lanes.remove(&key);
                }
            }
        }
        batch
    }

    /// What is to be submitted now. Each must be answered.
    pub fn submissions(&mut self, now_ms: u64) -> Vec<Submit> {
        let mut submits = Vec::new();
        for (key, lane) in &mut self.lanes {
            if let Some((scheduler, submissions)) = lane.take(now_ms) {
                submits.push(Submit { lane: *key, scheduler, submissions });
            }
        }
        submits
    }

    /// The scheduler answered: one result for each submission, in order, or fewer. Returns what to commit synced.
    pub fn on_receipts(
        &mut self,
        log: &dyn Log,
        submit: &Submit,
        results: &[Result<(Id, u64), Refusal>],
        signer: &dyn Signer,
        now_ms: u64,
    ) -> Result<Batch, LogError> {
        let mut batch = Batch::new();
        let mut settled = 0;
        for result in results.iter().take(submit.submissions.len()) {
            let state = match result {
                Ok((process, slot)) => DeliveryState::Scheduled { process: *process, slot: *slot },
                Err(refusal) if refusal.is_temporary() => break,
                Err(refusal) => DeliveryState::Dead { reason: refusal.to_string() },
            };
            settled += 1;
            let Some(delivery) = self.lanes.get_mut(&submit.lane).and_then(Lane::pop) else { break };
            if let (OutboxKind::Spawn, DeliveryState::Scheduled { process, .. }) =
                (delivery.id.origin.index.kind, &state)
            {
                self.notify_parent(log, &delivery, process, signer, &mut batch)?;
            }
            self.close(delivery, state, &mut batch);
        }
        if let Some(lane) = self.lanes.get_mut(&submit.lane) {
            lane.answered(settled == submit.submissions.len(), now_ms);
            if lane.is_empty() {
                self.lanes.remove(&submit.lane);
            }
        }
        Ok(batch)
    }

    /// The scheduler could not be reached, or its answer can't be trusted.
    pub fn on_failure(&mut self, submit: &Submit, now_ms: u64) {
        if let Some(lane) = self.lanes.get_mut(&submit.lane) {
            lane.answered(false, now_ms);
        }
    }

    /// A spawn got its slot: the parent hears which process it became.
    fn notify_parent(
        &mut self,
        log: &dyn Log,
        spawn: &Delivery,
        child: &Id,
        signer: &dyn Signer,
        batch: &mut Batch,
    ) -> Result<(), LogError> {
        let origin = spawn.id.origin;
        let (Some(entry), Some(first)) = (log.entry(&origin.process, origin.slot)?, log.entry(&origin.process, 0)?)
        else {
            return Ok(());
        };
        let Some(record) = log.outcome(&origin.process, origin.slot)? else { return Ok(()) };
        let position = origin.index.position as usize;
        let (Ok(process), Some(sent)) = (Process::read(&first.item), record.outcome.spawns.get(position)) else {
            return Ok(());
        };
        let sender = Sender { process: &process, entry: &entry, signer };
        let notice = expansion::spawned_notice(&sender, sent, position, child);
        if notice.state == DeliveryState::Pending {
            if let Some(work) = self.works.get_mut(&origin.process)
                && let Some(left) = work.open.get_mut(&origin.slot)
            {
                *left += 1;
            }
            self.queue(&notice);
        }
        batch.push(Write::Delivery(Box::new(notice)));
        Ok(())
    }

    fn close(&mut self, mut delivery: Delivery, state: DeliveryState, batch: &mut Batch) {
        delivery.state = state;
        let origin = delivery.id.origin;
        if let Some(work) = self.works.get_mut(&origin.process)
            && let Some(left) = work.open.get_mut(&origin.slot)
        {
            *left = left.saturating_sub(1);
        }
        batch.push(Write::Delivery(Box::new(delivery)));
    }

    /// Moves the cursors over what is settled.
    pub fn settle(&mut self) -> Batch {
        let mut batch = Batch::new();
        for (process, work) in &mut self.works {
            while let Some(slot) = work.open.first_entry()
                && *slot.get() == 0
            {
                slot.remove();
            }
            let next = work.open.keys().next().copied().unwrap_or(work.next);
            if next > work.settled {
                work.settled = next;
                batch.push(Write::Delivered { process: *process, next });
            }
        }
        batch
    }

    /// When something may be due, in milliseconds; none when all waits for events.
    pub fn next_due_ms(&self) -> Option<u64> {
        self.lanes.values().filter_map(Lane::due_ms).min()
    }
}
