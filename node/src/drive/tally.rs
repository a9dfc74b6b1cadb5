//! What a node did since it started, in numbers: for its metrics. No rule depends on them.

use std::sync::atomic::{AtomicU64, Ordering};

use ao_protocol::log::DeliveryState;

/// Counters that only grow, and what is missing now.
#[derive(Debug, Default)]
pub struct Tally {
    scheduled: AtomicU64,
    evaluated: AtomicU64,
    pending: AtomicU64,
    delivered: AtomicU64,
    no_process: AtomicU64,
    dead: AtomicU64,
    slowed: AtomicU64,
    accused: AtomicU64,
    missing: AtomicU64,
}

impl Tally {
    /// So many slots were given.
    pub fn scheduled(&self, slots: usize) {
        add(&self.scheduled, slots);
    }

    /// So many outcomes were recorded.
    pub fn evaluated(&self, slots: usize) {
        add(&self.evaluated, slots);
    }

    /// A delivery came to a state.
    pub fn delivery(&self, state: &DeliveryState) {
        let counter = match state {
            DeliveryState::Pending => &self.pending,
            DeliveryState::Scheduled(_) => &self.delivered,
            DeliveryState::NoProcess => &self.no_process,
            DeliveryState::Dead { .. } => &self.dead,
        };
        add(counter, 1);
    }

    /// A process that sends to itself had to wait.
    pub fn slowed(&self) {
        add(&self.slowed, 1);
    }

    /// So many entries and outcomes are missing below checkpoints.
    pub fn set_missing(&self, count: u64) {
        self.missing.store(count, Ordering::Relaxed);
    }

    /// How many entries and outcomes are missing below checkpoints.
    pub fn missing(&self) -> u64 {
        self.missing.load(Ordering::Relaxed)
    }

    /// A compute unit was found lying.
    pub fn accused(&self) {
        add(&self.accused, 1);
    }

    /// How often a compute unit was found lying.
    pub fn accusations(&self) -> u64 {
        self.accused.load(Ordering::Relaxed)
    }

    /// How often a process that sends to itself had to wait.
    pub fn times_slowed(&self) -> u64 {
        self.slowed.load(Ordering::Relaxed)
    }

    /// Slots that this node's scheduler gave.
    pub fn slots(&self) -> u64 {
        self.scheduled.load(Ordering::Relaxed)
    }

    /// Outcomes that this node's compute unit recorded.
    pub fn outcomes(&self) -> u64 {
        self.evaluated.load(Ordering::Relaxed)
    }

    /// How many deliveries came to which state.
    pub fn deliveries(&self) -> [(&'static str, u64); 4] {
        [
            ("pending", &self.pending),
            ("scheduled", &self.delivered),
            ("no_process", &self.no_process),
            ("dead", &self.dead),
        ]
        .map(|(state, counter)| (state, counter.load(Ordering::Relaxed)))
    }
}

fn add(counter: &AtomicU64, count: usize) {
    counter.fetch_add(count as u64, Ordering::Relaxed);
}
