//! What targets are: their schedulers are looked up before anything is submitted, and what is no process yet waits,
//! without a timer, until it becomes one.

use super::Messenger;
use super::lane::LaneKey;
use crate::id::Id;
use crate::item::VerifiedItem;
use crate::log::{Batch, DeliveryState, Log, LogError};
use crate::process::Process;

/// Most targets that are looked for at once.
pub const MAX_LOOKUPS: usize = 32;

/// Wait before a target is looked for again that not every peer could be asked for, in milliseconds.
const LOOKUP_RETRY_MS: u64 = 1000;

impl Messenger {
    /// Tells that a target is a process now: what waits for it is delivered, in order.
    pub fn revive(&mut self, log: &dyn Log, target: &Id) -> Result<(), LogError> {
        let mut last = None;
        loop {
            let page = log.waiting(target, last.as_ref())?;
            let Some(end) = page.last() else { return Ok(()) };
            last = Some(*end);
            for id in page {
                self.enqueue(id);
            }
        }
    }

    /// The targets whose process item is wanted now: from this node's log, else from peers. Each must be answered.
    pub fn lookups(&mut self, now_ms: u64) -> Vec<Id> {
        let places = MAX_LOOKUPS.saturating_sub(self.sought.len());
        let due = self.unknown.iter().filter(|(_, at)| **at <= now_ms).map(|(target, _)| *target);
        let due: Vec<Id> = due.take(places).collect();
        for target in &due {
            self.unknown.remove(target);
            self.sought.insert(*target);
        }
        due
    }

    /// A target could neither be found nor be shown to be unknown: it is looked for again after a while.
    pub fn lookup_later(&mut self, target: &Id, now_ms: u64) {
        self.sought.remove(target);
        self.unknown.insert(*target, now_ms.saturating_add(LOOKUP_RETRY_MS));
    }

    /// Tells what a target is: its process item, or none when nobody knows it as a process. Returns what to commit.
    pub fn on_lookup(&mut self, log: &dyn Log, target: &Id, item: Option<&VerifiedItem>) -> Result<Batch, LogError> {
        self.sought.remove(target);
        let process = item.and_then(|item| Process::read(item).ok());
        if process.is_some() {
            // What was sent to it before it was one comes first.
            self.revive(log, target)?;
        }
        let of_target = |key: &&LaneKey| key.target == *target && !key.spawn;
        let keys: Vec<LaneKey> = self.lanes.keys().filter(of_target).copied().collect();
        let mut batch = Batch::new();
        for key in keys {
            match &process {
                Some(process) => {
                    if let Some(lane) = self.lanes.get_mut(&key) {
                        lane.scheduler = Some(process.scheduler());
                    }
                }
                None => {
                    let Some(lane) = self.lanes.remove(&key) else { continue };
                    let parked = lane.is_parked();
                    for id in lane.into_ids() {
                        self.close(log, &id, DeliveryState::NoProcess, parked, &mut batch)?;
                    }
                }
            }
        }
        Ok(batch)
    }
}
