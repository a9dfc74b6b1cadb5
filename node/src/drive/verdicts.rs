//! How gossip was judged so far, in numbers: for metrics.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::net::Verdict;

/// How many gossip messages were judged how.
#[derive(Debug, Default)]
pub struct Verdicts {
    accepted: AtomicU64,
    ignored: AtomicU64,
    rejected: AtomicU64,
}

impl Verdicts {
    pub(super) fn count(&self, verdict: Verdict) {
        let counter = match verdict {
            Verdict::Accept => &self.accepted,
            Verdict::Ignore => &self.ignored,
            Verdict::Reject => &self.rejected,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Accepted, ignored and rejected ones.
    pub fn counts(&self) -> (u64, u64, u64) {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        (count(&self.accepted), count(&self.ignored), count(&self.rejected))
    }
}
