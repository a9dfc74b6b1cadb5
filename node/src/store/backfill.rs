//! How a log begins with a checkpoint, and how what is missing below it is filled in.

use ao_protocol::backfill::Hole;
use ao_protocol::entry::Entry;
use ao_protocol::id::Id;
use ao_protocol::log::{Computed, Log, LogError};
use ao_protocol::outcome::OutcomeRecord;
use rocksdb::WriteBatch;

use super::Store;
use super::schema::{self, Place, Table};

impl Store {
    /// The slot is the first that counts; the tip is for the caller to move.
    pub(super) fn write_begin(
        &self,
        batch: &mut WriteBatch,
        entry: &Entry,
        record: &OutcomeRecord,
    ) -> Result<(), LogError> {
        let (process, slot) = (entry.process(), entry.slot());
        let hole = Hole {
            entries_from: self.tip(&process)?.map_or(0, |tip| tip.slot + 1),
            entries_below: slot,
            outcomes_from: self.computed(&process)?.map_or(0, |computed| computed.slot + 1),
            outcomes_below: slot,
        };
        if hole.entries_from <= slot {
            self.write_entry(batch, entry)?;
        }
        let key = schema::process(&process);
        self.put(batch, Table::Outcomes, &schema::slot(&process, slot), record)?;
        self.put(batch, Table::Computed, &key, &Computed::after(slot, record))?;
        self.put(batch, Table::Evaluated, &key, &slot)?;
        self.put(batch, Table::Bases, &key, &slot)?;
        if hole.is_filled() { Ok(()) } else { self.put(batch, Table::Holes, &key, &hole) }
    }

    /// An entry below others: what is known of these is newer.
    pub(super) fn write_fill(&self, batch: &mut WriteBatch, entry: &Entry) -> Result<(), LogError> {
        let (process, slot) = (entry.process(), entry.slot());
        self.put(batch, Table::Entries, &schema::slot(&process, slot), &entry.to_bytes())?;
        let key = schema::item(&process, &entry.message_id());
        if self.read::<u64>(Table::SlotsByItem, &key)?.is_none() {
            self.put(batch, Table::SlotsByItem, &key, &slot)?;
        }
        if let Some(delivery) = entry.delivery() {
            let key = schema::delivery(&delivery);
            if self.read::<(Id, u64)>(Table::SlotsByDelivery, &key)?.is_none() {
                self.put(batch, Table::SlotsByDelivery, &key, &(process, slot))?;
            }
        }
        let place = Place::Assignment(process, slot);
        self.put(batch, Table::Items, entry.assignment.id().as_ref(), &place)?;
        match &entry.assignment.statement.cron {
            Some(firing) => {
                let key = schema::cron(&process, &firing.cron);
                if self.read::<u64>(Table::Fired, &key)?.is_none() {
                    self.put(batch, Table::Fired, &key, &firing.at())?;
                }
                self.put(batch, Table::Firings, &schema::slot(&process, slot), &())?;
            }
            None => match self.read::<Place>(Table::Items, entry.item.id().as_ref())? {
                None | Some(Place::Here(_)) => {
                    self.put(batch, Table::Items, entry.item.id().as_ref(), &Place::Item(process, slot))?;
                }
                Some(_) => {}
            },
        }
        self.fill(batch, &process, |hole| hole.entries_below = slot)
    }

    /// Changes what is missing of a process.
    pub(super) fn fill(
        &self,
        batch: &mut WriteBatch,
        process: &Id,
        change: impl FnOnce(&mut Hole),
    ) -> Result<(), LogError> {
        let Some(mut hole) = self.hole(process)? else { return Ok(()) };
        change(&mut hole);
        let key = schema::process(process);
        if hole.is_filled() {
            batch.delete_cf(self.table(Table::Holes)?, key);
            return Ok(());
        }
        self.put(batch, Table::Holes, &key, &hole)
    }
}
