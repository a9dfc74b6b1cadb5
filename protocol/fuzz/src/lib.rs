//! What the targets in `tests/` share. They are plain tests with a bounded number of inputs, and targets for
//! cargo-bolero. Random bytes are refused early, so every decoder is also given good input with few changes, and every
//! target that is run as a test checks that enough of its input was decoded.

use std::sync::atomic::{AtomicUsize, Ordering};

/// A byte and where to put it, modulo the length.
pub type Change = (u16, u8);

/// A copy with these changes.
pub fn changed(good: &[u8], changes: &[Change]) -> Vec<u8> {
    let mut bytes = good.to_vec();
    for (place, byte) in changes {
        let place = usize::from(*place) % bytes.len().max(1);
        if let Some(old) = bytes.get_mut(place) {
            *old = *byte;
        }
    }
    bytes
}

/// Counts how much input was decoded.
#[derive(Default)]
pub struct Decoded(AtomicUsize);

impl Decoded {
    /// Counts one input.
    pub fn count(&self, decoded: bool) {
        self.0.fetch_add(usize::from(decoded), Ordering::Relaxed);
    }

    /// Fails when fewer inputs than this were decoded: the target would test next to nothing.
    pub fn at_least(&self, expected: usize) {
        let decoded = self.0.load(Ordering::Relaxed);
        assert!(decoded >= expected, "only {decoded} inputs were decoded");
    }
}
