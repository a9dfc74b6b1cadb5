//! What this node's messenger tries again: how often it failed, why, and when the next try is. For people who look for
//! a message; the messenger itself does not read it.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use ao_protocol::id::Id;
use ao_protocol::messenger::Retry;

/// Most ways that are remembered.
const MAX_RETRIES: usize = 10_000;

/// What stands in the way from one process to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Failures, and when the next try is.
    pub retry: Retry,
    /// Why the last one failed.
    pub cause: String,
}

/// The memory. Reads and writes are short, so a mutex is enough.
#[derive(Default)]
pub struct Retries(Mutex<BTreeMap<(Id, Id), Waiting>>);

impl Retries {
    /// Notes how it stands with what a process sends to a target.
    pub fn note(&self, way: (Id, Id), waiting: Option<Waiting>) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match waiting {
            None => drop(known.remove(&way)),
            Some(waiting) if known.contains_key(&way) || known.len() < MAX_RETRIES => drop(known.insert(way, waiting)),
            Some(_) => {}
        }
    }

    /// What stands in the way, if something does.
    pub fn of(&self, source: &Id, target: &Id) -> Option<Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&(*source, *target)).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_well_is_forgotten() {
        let (retries, way) = (Retries::default(), (Id::from([1; 32]), Id::from([2; 32])));
        let waiting = Waiting { retry: Retry { attempts: 3, at_ms: 9 }, cause: "it is away".into() };
        retries.note(way, Some(waiting.clone()));
        assert_eq!(retries.of(&way.0, &way.1), Some(waiting));
        assert_eq!(retries.of(&way.1, &way.0), None);
        retries.note(way, None);
        assert_eq!(retries.of(&way.0, &way.1), None);
    }
}
