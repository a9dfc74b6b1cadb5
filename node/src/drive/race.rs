//! Who resolved which slot first, as this node saw it: a bounded memory of when outcomes were attested.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use ao_protocol::id::{Address, Id};

use super::now_ms;

/// Most slots that are remembered.
const MAX_RACES: usize = 20_000;

/// When a unit's attestation of a slot was first seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finish {
    /// The unit.
    pub unit: Address,
    /// Milliseconds since 1970 by this node's clock.
    pub seen_ms: u64,
}

/// The memory. Reads and writes are short, so a mutex is enough.
#[derive(Default)]
pub struct Races {
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    finishes: BTreeMap<(Id, u64), Vec<Finish>>,
    order: VecDeque<(Id, u64)>,
}

impl Races {
    /// Notes that a unit's attestation of a slot is there now.
    pub fn finished(&self, process: Id, slot: u64, unit: Address) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (process, slot);
        if !seen.finishes.contains_key(&key) {
            seen.order.push_back(key);
            if seen.order.len() > MAX_RACES
                && let Some(oldest) = seen.order.pop_front()
            {
                seen.finishes.remove(&oldest);
            }
        }
        let finishes = seen.finishes.entry(key).or_default();
        if !finishes.iter().any(|finish| finish.unit == unit) {
            finishes.push(Finish { unit, seen_ms: now_ms() });
        }
    }

    /// The units in the order in which their attestations of a slot were seen.
    pub fn of(&self, process: Id, slot: u64) -> Vec<Finish> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.finishes.get(&(process, slot)).cloned().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_first_and_the_oldest_is_forgotten() {
        let races = Races::default();
        let (process, a, b) = (Id::from([1; 32]), Address::from([1; 32]), Address::from([2; 32]));
        races.finished(process, 0, b);
        races.finished(process, 0, a);
        races.finished(process, 0, b);
        let units: Vec<Address> = races.of(process, 0).iter().map(|finish| finish.unit).collect();
        assert_eq!(units, [b, a]);
        for slot in 1..=MAX_RACES as u64 {
            races.finished(process, slot, a);
        }
        assert!(races.of(process, 0).is_empty());
        assert_eq!(races.of(process, MAX_RACES as u64).len(), 1);
    }
}
