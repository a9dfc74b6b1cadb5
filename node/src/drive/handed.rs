//! Outcomes that came along with their attestation, until they are taken over: then nobody has to be asked for them.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};

use ao_protocol::id::Digest;
use ao_protocol::outcome::OutcomeRecord;

/// Most attestations whose outcomes are kept, each with at most [`ao_protocol::attested::MAX_HANDED_BYTES`].
const MAX_HANDED: usize = 1024;

/// The outcomes by the chain that they add up to. What is not taken over in time is asked for like any other outcome.
#[derive(Default)]
pub struct Handed(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    outcomes: BTreeMap<Digest, Vec<OutcomeRecord>>,
    order: VecDeque<Digest>,
}

impl Handed {
    /// Keeps the outcomes of consecutive slots that add up to a chain.
    pub fn put(&self, chain: Digest, outcomes: Vec<OutcomeRecord>) {
        if outcomes.is_empty() {
            return;
        }
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.outcomes.insert(chain, outcomes).is_none() {
            kept.order.push_back(chain);
        }
        if kept.order.len() > MAX_HANDED
            && let Some(oldest) = kept.order.pop_front()
        {
            kept.outcomes.remove(&oldest);
        }
    }

    /// Those from slot `first` up to slot `last`, if all of them are there.
    pub fn get(&self, chain: &Digest, last: u64, first: u64) -> Option<Vec<OutcomeRecord>> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let outcomes = kept.outcomes.get(chain)?;
        let wanted = usize::try_from((last + 1).checked_sub(first)?).ok()?;
        let known = outcomes.len().checked_sub(wanted)?;
        Some(outcomes.get(known..)?.to_vec())
    }

    /// They were taken over.
    pub fn forget(&self, chain: &Digest) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).outcomes.remove(chain);
    }
}

#[cfg(test)]
mod tests {
    use ao_protocol::id::Id;
    use ao_protocol::outcome::Outcome;

    use super::*;

    fn outcomes(count: u8) -> Vec<OutcomeRecord> {
        let record = |n| OutcomeRecord {
            outcome: Outcome::default(),
            chain_before: Digest::from([n; 32]),
            assignment: Id::from([n; 32]),
        };
        (0..count).map(record).collect()
    }

    #[test]
    fn what_is_needed_is_there_until_it_was_taken_over() {
        let (handed, chain) = (Handed::default(), Digest::from([1; 32]));
        handed.put(chain, outcomes(3));
        // Slots 5 to 7 are there.
        assert_eq!(handed.get(&chain, 7, 6), Some(outcomes(3)[1..].to_vec()));
        assert_eq!(handed.get(&chain, 7, 5), Some(outcomes(3)));
        assert_eq!(handed.get(&chain, 7, 4), None, "slot 4 is missing");
        assert_eq!(handed.get(&chain, 7, 9), None);
        handed.forget(&chain);
        assert_eq!(handed.get(&chain, 7, 6), None);
    }

    #[test]
    fn the_memory_is_bounded() {
        let handed = Handed::default();
        let chain = |n: usize| Digest::from(*blake3::hash(&n.to_le_bytes()).as_bytes());
        for n in 0..3 * MAX_HANDED {
            handed.put(chain(n), outcomes(1));
            handed.put(chain(n), outcomes(1));
            handed.forget(&chain(n / 2));
        }
        let kept = handed.0.lock().unwrap();
        assert!(kept.order.len() <= MAX_HANDED && kept.outcomes.len() <= MAX_HANDED);
    }
}
