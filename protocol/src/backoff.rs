//! How long to wait before the next attempt: doubling from a first delay to a cap. No randomness here; what must not
//! happen at once on many nodes is spread by its own key.

/// Delays of one thing that is tried again and again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    first_ms: u64,
    cap_ms: u64,
    attempts: u32,
}

impl Backoff {
    /// Starts with `first_ms` and never waits longer than `cap_ms`.
    pub fn new(first_ms: u64, cap_ms: u64) -> Backoff {
        Backoff { first_ms, cap_ms, attempts: 0 }
    }

    /// The delay before the next attempt, in milliseconds.
    pub fn next_ms(&mut self) -> u64 {
        let factor = 1u64.checked_shl(self.attempts.min(62)).unwrap_or(u64::MAX);
        self.attempts = self.attempts.saturating_add(1);
        self.first_ms.saturating_mul(factor).min(self.cap_ms)
    }

    /// How often it was tried.
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// Starts over after a success.
    pub fn reset(&mut self) {
        self.attempts = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_up_to_the_cap_for_ever() {
        let mut backoff = Backoff::new(500, 3000);
        let delays: Vec<u64> = (0..5).map(|_| backoff.next_ms()).collect();
        assert_eq!(delays, [500, 1000, 2000, 3000, 3000]);
        for _ in 0..200 {
            assert_eq!(backoff.next_ms(), 3000);
        }
        backoff.reset();
        assert_eq!(backoff.next_ms(), 500);
    }
}
