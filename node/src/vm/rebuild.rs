//! Rebuild points: slots after which every compute unit replaces its interpreter by the restore of its own snapshot.
//! They follow from the log alone, so what a process's history did to its heap (free blocks, sizes of tables, the state
//! of the collector) is the same for who replayed all of it and for who began with a snapshot.
//!
//! Slot n is one if something was evaluated since the last one and
//! - what was charged since then exceeds the larger of [`MIN_CHARGED`] and [`CHARGED_PER_BYTE`] for each byte of the
//!   last snapshot, or
//! - slot n + 1 is [`IDLE_MS`] or more later.
//!
//! Where the state has no form then, because a coroutine waits, the next try is after as much work again, or at the
//! next such pause. After [`MAX_POSTPONED_SLOTS`] slots, or [`MAX_POSTPONED_INTERVALS`] times the work, it is done all
//! the same: what still waits then is ended, and the next message's evaluation is told where it waited. One answer that
//! never comes would otherwise end all snapshots.

/// Least number of charged instructions between two rebuild points that no pause makes: a tenth of a second of work or
/// so, which is what a cold start repeats at most.
const MIN_CHARGED: u64 = 8_000_000;
/// Instructions that pay for a byte of the last snapshot: a rebuild takes less than a tenth of the time between two.
const CHARGED_PER_BYTE: u64 = 16;
/// Slots after the first try of a rebuild until it is done though coroutines wait.
pub(super) const MAX_POSTPONED_SLOTS: u64 = 1000;
/// The same in work: so many times what is charged between two rebuild points.
const MAX_POSTPONED_INTERVALS: u64 = 10;
/// The pause that makes a rebuild point, in milliseconds.
pub const IDLE_MS: u64 = 60_000;

/// What happened since the last rebuild point.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct SinceRebuild {
    charged: u64,
    /// What must be charged before the next try.
    wanted: u64,
    /// What must be charged until a rebuild point that does not have to be postponed.
    interval: u64,
    /// What must be charged until what waits is ended for it.
    overdue_at: u64,
    /// Slots that were evaluated.
    slots: u64,
    /// How many they were at the first try.
    tried_at: Option<u64>,
    /// The time of the last message, in milliseconds; none if there was none.
    last_ms: Option<u64>,
}

impl SinceRebuild {
    /// Nothing happened since a snapshot of so many bytes; none at the very beginning.
    pub(super) fn new(snapshot_bytes: usize) -> SinceRebuild {
        let paid = (snapshot_bytes as u64).saturating_mul(CHARGED_PER_BYTE);
        let interval = paid.max(MIN_CHARGED);
        let overdue_at = interval.saturating_mul(MAX_POSTPONED_INTERVALS);
        SinceRebuild { wanted: interval, interval, overdue_at, ..SinceRebuild::default() }
    }

    /// A message of this time was evaluated and charged so much.
    pub(super) fn evaluated(&mut self, charged: u64, timestamp_ms: u64) {
        self.charged = self.charged.saturating_add(charged);
        self.slots = self.slots.saturating_add(1);
        self.last_ms = Some(timestamp_ms);
    }

    /// Whether the last evaluated slot is a rebuild point, given the time of the one after it.
    pub(super) fn is_due(&self, next_ms: u64) -> bool {
        let paused = |last: u64| next_ms.saturating_sub(last) >= IDLE_MS;
        self.last_ms.is_some_and(|last| self.charged > self.wanted || paused(last) || self.is_overdue())
    }

    /// Whether it was postponed for long enough.
    pub(super) fn is_overdue(&self) -> bool {
        self.tried_at.is_some_and(|slots| {
            self.slots.saturating_sub(slots) >= MAX_POSTPONED_SLOTS || self.charged > self.overdue_at
        })
    }

    /// The state had no form. Where it had none though nothing waits any more, the next try is after as much again.
    pub(super) fn postponed(&mut self) {
        if self.is_overdue() {
            self.tried_at = Some(self.slots);
            self.overdue_at = self.charged.saturating_add(self.interval.saturating_mul(MAX_POSTPONED_INTERVALS));
        }
        self.tried_at.get_or_insert(self.slots);
        if self.charged > self.wanted {
            self.wanted = self.charged.saturating_add(self.interval);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_and_pauses_make_rebuild_points() {
        let mut since = SinceRebuild::new(0);
        assert!(!since.is_due(u64::MAX), "nothing was evaluated");
        since.evaluated(MIN_CHARGED, 1000);
        assert!(!since.is_due(1000 + IDLE_MS - 1) && since.is_due(1000 + IDLE_MS));
        since.evaluated(1, 1000);
        assert!(since.is_due(1000));
        since.postponed();
        assert!(!since.is_due(1000) && since.is_due(1000 + IDLE_MS));
        since.evaluated(MIN_CHARGED + 2, 1000);
        assert!(since.is_due(1000));
        since.postponed();
        assert!(!since.is_due(1000) && !since.is_overdue());
        (0..MAX_POSTPONED_SLOTS - 2).for_each(|_| since.evaluated(1, 1000));
        assert!(!since.is_overdue());
        since.evaluated(1, 1000);
        assert!(since.is_overdue() && since.is_due(1000));
        let mut busy = SinceRebuild::new(0);
        busy.evaluated(MIN_CHARGED + 1, 0);
        busy.postponed();
        busy.evaluated(MIN_CHARGED * 9, 0);
        assert!(busy.is_overdue());
        // A state that has no form at all is not tried at every slot.
        busy.postponed();
        assert!(!busy.is_overdue() && !busy.is_due(0));
        busy.evaluated(MIN_CHARGED * 10 + 1, 0);
        assert!(busy.is_overdue());
        let mut large = SinceRebuild::new(1_000_000);
        large.evaluated(MIN_CHARGED + 1, 0);
        assert!(!large.is_due(0));
        large.evaluated(8_000_000, 0);
        assert!(large.is_due(0));
    }
}
