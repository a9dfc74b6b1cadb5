//! Dead letters: what the target's scheduler refused for good. They are kept with the reason, and can be driven again
//! once that is mended.

use super::Messenger;
use super::work::Work;
use crate::evidence;
use crate::log::{Batch, Delivery, DeliveryState, Log, LogError, Write};
use crate::origin::DeliveryId;

/// Most bytes of items that are driven again at once; the rest when it is asked for again.
pub const MAX_REDRIVEN_BYTES: usize = 16 * 1024 * 1024;

impl Messenger {
    /// Drives dead letters again. Those that are none, entries that make no item and so never can be delivered, and
    /// those of a disputed slot are left as they are. Returns what to commit synced before the next call of
    /// [`Messenger::submissions`], and which ones it drives.
    ///
    /// The cursor of their process goes back with them, so that a restart finds them.
    pub fn redrive(&mut self, log: &dyn Log, ids: &[DeliveryId]) -> Result<(Batch, Vec<DeliveryId>), LogError> {
        self.forget_what_was_taken_back(log)?;
        let mut batch = Batch::new();
        let mut driven = Vec::new();
        let mut bytes = 0;
        for id in ids {
            if bytes > MAX_REDRIVEN_BYTES {
                break;
            }
            let Some(delivery) = log.delivery(id)? else { continue };
            let (process, slot) = (id.origin.process, id.origin.slot);
            let disputed = evidence::disputed_from(log, &process)?.is_some_and(|from| slot >= from);
            let Some(item) = delivery.item.as_ref().filter(|_| !disputed) else { continue };
            if !matches!(delivery.state, DeliveryState::Dead { .. }) {
                continue;
            }
            bytes += item.0.len();
            let cursor = log.delivered(&process)?;
            let age = log.process(&process)?.map_or((0, 0), |process| (process.rewinds, process.sent_again));
            let work = self.works.entry(process).or_insert_with(|| Work::new(cursor, age));
            if let Some(next) = work.go_back(slot) {
                batch.push(Write::Delivered { process, next });
            }
            batch.push(Write::Delivery(Box::new(Delivery { state: DeliveryState::Pending, ..delivery })));
            self.enqueue(*id);
            driven.push(*id);
        }
        Ok((batch, driven))
    }
}
