//! What is to be written, in order, and what a rule must see of it before it is: tips and slots given in this batch.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Delivery, Log, LogError, Tip};
use crate::attestation::{Attestation, Seen};
use crate::dissent::{Dissent, Perjury};
use crate::entry::Entry;
use crate::evidence;
use crate::id::{Address, Digest, Id};
use crate::item::VerifiedItem;
use crate::origin::DeliveryId;
use crate::outcome::OutcomeRecord;
use crate::process::{Process, ProcessError};
use crate::race::Account;
use crate::wire::{EntryBytes, ItemBytes};

/// One write.
#[derive(Clone, Debug)]
pub enum Write {
    /// The next slot of a process, with its indexes: tip, item, origin.
    Entry(Box<Entry>),
    /// How many slots this node's scheduler gave to what one message started.
    Pushed {
        /// That message, or the cron's firing.
        root: Id,
        /// The scheduler of the processes that sent it: another one's word counts for its own processes only.
        by: Address,
        /// How many.
        count: u64,
    },
    /// An item without a slot.
    Item(VerifiedItem),
    /// The outcome of the slot after the computed ones, which moves the cursor.
    Outcome {
        /// Which process.
        process: Id,
        /// Which slot.
        slot: u64,
        /// What it gave.
        record: Box<OutcomeRecord>,
    },
    /// This node evaluated all slots of a process up to this one itself.
    Evaluated {
        /// Which process.
        process: Id,
        /// The last one.
        slot: u64,
    },
    /// This node begins with the checkpoint of a slot: the log goes on behind it, its outcomes too, and what is missing
    /// below is a [`crate::backfill::Hole`].
    Begin {
        /// The slot's entry, which may be there already.
        entry: Box<Entry>,
        /// Its outcome.
        record: Box<OutcomeRecord>,
    },
    /// The highest missing entry below a checkpoint.
    Fill(Box<Entry>),
    /// The highest missing outcome below a checkpoint.
    FillOutcome {
        /// Which process.
        process: Id,
        /// Which slot.
        slot: u64,
        /// What it gave.
        record: Box<OutcomeRecord>,
    },
    /// This node rebuilt the state after a slot.
    Rebuilt {
        /// Which process.
        process: Id,
        /// Which slot.
        slot: u64,
        /// The hash of the state.
        hash: Digest,
    },
    /// A compute unit's attestation of the state after a slot. It takes the place of the unit's one before.
    Checkpoint(Box<Attestation>),
    /// A compute unit's attestation. It takes the place of what the unit attested before of that slot.
    Attestation(Box<Seen>),
    /// What a unit attested and is wrong. The first one of each unit and process stays.
    Dissent(Box<Dissent>),
    /// The proof that a unit lies. The first one stays.
    Perjury {
        /// Which unit.
        unit: Address,
        /// The proof.
        perjury: Box<Perjury>,
    },
    /// What a unit did in all races.
    Account {
        /// Which unit.
        unit: Address,
        /// All of it.
        account: Account,
    },
    /// The races of a process are credited below this slot.
    Credited {
        /// Which process.
        process: Id,
        /// The next slot.
        next: u64,
    },
    /// The state of an outbox entry on its way.
    Delivery(Box<Delivery>),
    /// The messenger settled all slots below this one.
    Delivered {
        /// Which process.
        process: Id,
        /// The next slot to settle.
        next: u64,
    },
    /// How a process was resumed: all of them that count.
    Resumes {
        /// Which process.
        process: Id,
        /// In the order of their slots.
        resumes: Vec<ItemBytes>,
    },
    /// Slots of a process are taken back, with all that came of them: outcomes, attestations, deliveries. What other
    /// processes had sent to them is to be delivered again. Their items are still found by their ids. So is evidence
    /// against its scheduler, which is settled by that. Such a batch writes no slots.
    Rewind {
        /// Which process.
        process: Id,
        /// The first slot that is taken back.
        from: u64,
        /// The assignments that alone may take their places, from there on.
        path: Vec<Id>,
    },
    /// Two assignments of one slot. Those of the lowest slot stay.
    Evidence {
        /// Which process.
        process: Id,
        /// The one that this node follows, and the other.
        entries: Box<(EntryBytes, EntryBytes)>,
    },
}

/// Writes that are committed together. It answers for what it holds as the log does after the commit, so that one
/// batch can hold several slots of a process.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    writes: Vec<Write>,
    tips: HashMap<Id, Tip>,
    items: HashMap<(Id, Id), u64>,
    deliveries: HashMap<DeliveryId, (Id, u64)>,
    processes: HashMap<Id, VerifiedItem>,
    fired: HashMap<(Id, String), u64>,
    pushed: HashMap<(Id, Address), u64>,
}

impl Batch {
    /// An empty batch.
    pub fn new() -> Batch {
        Batch::default()
    }

    /// Adds a write.
    pub fn push(&mut self, write: Write) {
        if let Write::Entry(entry) = &write {
            let (process, slot) = (entry.process(), entry.slot());
            self.tips.insert(process, Tip::after(entry));
            self.items.insert((process, entry.message_id()), slot);
            if let Some(delivery) = entry.delivery() {
                self.deliveries.insert(delivery, (process, slot));
            }
            if let Some(firing) = &entry.assignment.statement.cron {
                self.fired.insert((process, firing.cron.clone()), firing.at());
            }
            if slot == 0 {
                self.processes.insert(process, entry.item.clone());
            }
        }
        if let Write::Evidence { process, entries } = &write {
            // The log compares with what it has: within a batch that of the lowest slot stays, too.
            let slot = evidence::slot(&entries.0);
            let same = |other: &Write| matches!(other, Write::Evidence { process: other, .. } if other == process);
            if let Some(place) = self.writes.iter().position(same) {
                let known = match &self.writes[place] {
                    Write::Evidence { entries, .. } => evidence::slot(&entries.0),
                    _ => None,
                };
                if slot < known {
                    self.writes[place] = write;
                }
                return;
            }
        }
        if let Write::Pushed { root, by, count } = &write {
            self.pushed.insert((*root, *by), *count);
        }
        self.writes.push(write);
    }

    /// Adds writes, if there are any.
    pub fn extend(&mut self, writes: impl IntoIterator<Item = Write>) {
        writes.into_iter().for_each(|write| self.push(write));
    }

    /// Adds all writes of another batch after these.
    pub fn append(&mut self, other: Batch) {
        self.extend(other.writes);
    }

    /// The writes in order.
    pub fn writes(&self) -> &[Write] {
        &self.writes
    }

    /// The writes in order.
    pub fn into_writes(self) -> Vec<Write> {
        self.writes
    }

    /// How many writes there are.
    pub fn len(&self) -> usize {
        self.writes.len()
    }

    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty()
    }

    /// The tip of a process as of this batch.
    pub fn tip(&self, log: &dyn Log, process: &Id) -> Result<Option<Tip>, LogError> {
        match self.tips.get(process) {
            Some(tip) => Ok(Some(tip.clone())),
            None => log.tip(process),
        }
    }

    /// The slot of an item in a process as of this batch.
    pub fn slot_of_item(&self, log: &dyn Log, process: &Id, item: &Id) -> Result<Option<u64>, LogError> {
        match self.items.get(&(*process, *item)) {
            Some(slot) => Ok(Some(*slot)),
            None => log.slot_of_item(process, item),
        }
    }

    /// Where an outbox entry was scheduled as of this batch.
    pub fn slot_of_delivery(&self, log: &dyn Log, delivery: &DeliveryId) -> Result<Option<(Id, u64)>, LogError> {
        match self.deliveries.get(delivery) {
            Some(place) => Ok(Some(*place)),
            None => log.slot_of_delivery(delivery),
        }
    }

    /// Where the last firing of a cron is as of this batch.
    pub fn fired(&self, log: &dyn Log, process: &Id, cron: &str) -> Result<Option<u64>, LogError> {
        match self.fired.get(&(*process, cron.to_string())) {
            Some(at) => Ok(Some(*at)),
            None => log.fired(process, cron),
        }
    }

    /// How many slots this node's scheduler gave to what a message started and processes of one scheduler sent, as of
    /// this batch.
    pub fn pushed(&self, log: &dyn Log, root: &Id, by: &Address) -> Result<u64, LogError> {
        match self.pushed.get(&(*root, *by)) {
            Some(count) => Ok(*count),
            None => log.pushed(root, by),
        }
    }

    /// The entry of a slot as of this batch.
    pub fn entry(&self, log: &dyn Log, process: &Id, slot: u64) -> Result<Option<Entry>, LogError> {
        if !self.tips.contains_key(process) {
            return log.entry(process, slot);
        }
        let ours = self.writes.iter().find_map(|write| match write {
            Write::Entry(entry) if entry.process() == *process && entry.slot() == slot => Some((**entry).clone()),
            _ => None,
        });
        if ours.is_some() { Ok(ours) } else { log.entry(process, slot) }
    }

    /// A process as of this batch; what this batch spawns may turn out to be none.
    pub fn process(&self, log: &dyn Log, process: &Id) -> Result<Option<Result<Arc<Process>, ProcessError>>, LogError> {
        match self.processes.get(process) {
            Some(item) => Ok(Some(Process::read_with(item, &log.resumption(process)?).map(Arc::new))),
            None => Ok(log.process(process)?.map(Ok)),
        }
    }
}
