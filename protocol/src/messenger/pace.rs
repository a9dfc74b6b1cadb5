//! How fast a process may send to itself. A few rounds are free; one that goes on for ever is slowed, so that it takes
//! no more than its share of the schedulers and compute units, and people can see it.

/// Messages to itself that a process may send before it is slowed.
pub const MAX_OWN_BURST: u64 = 64;
/// Messages to itself that a process may send a second, from then on.
pub const OWN_PER_SECOND: u64 = 50;

const INTERVAL_MS: u64 = 1000 / OWN_PER_SECOND;

/// A token bucket that holds only the time at which it is full again, in milliseconds.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pace {
    full_at_ms: u64,
}

impl Pace {
    /// How many may be sent now.
    pub(super) fn free(&self, now_ms: u64) -> usize {
        let missing = self.full_at_ms.saturating_sub(now_ms).div_ceil(INTERVAL_MS);
        usize::try_from(MAX_OWN_BURST.saturating_sub(missing)).unwrap_or(usize::MAX)
    }

    /// So many are sent now.
    pub(super) fn spend(&mut self, count: usize, now_ms: u64) {
        let spent = u64::try_from(count).unwrap_or(u64::MAX).saturating_mul(INTERVAL_MS);
        self.full_at_ms = self.full_at_ms.max(now_ms).saturating_add(spent);
    }

    /// When the next may be sent.
    pub(super) fn next_ms(&self) -> u64 {
        self.full_at_ms.saturating_sub((MAX_OWN_BURST - 1) * INTERVAL_MS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_free_and_then_time_counts() {
        let mut pace = Pace::default();
        assert_eq!(pace.free(5000), 64);
        pace.spend(60, 5000);
        assert_eq!(pace.free(5000), 4);
        pace.spend(4, 5000);
        assert_eq!((pace.free(5000), pace.next_ms()), (0, 5020));
        assert_eq!((pace.free(5019), pace.free(5020), pace.free(6000)), (0, 1, 50));
        assert_eq!(pace.free(60_000), 64, "what is not used is not saved up");
    }
}
