//! An attestation with the outcomes that it is about, as they are gossiped: whoever follows the process and does not
//! compute it has them at once and need not ask. Only few bytes travel this way, and only from the unit that believes
//! to be the first; all others gossip the bare attestation, and large outcomes are asked for.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::attestation::{Attestation, AttestationError};
use crate::outcome::OutcomeRecord;

/// Most bytes of outcomes that are gossiped with their attestation.
pub const MAX_HANDED_BYTES: usize = 24 * 1024;

/// An attestation, and the outcomes of its last slots or none of them. They add up to what is attested.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attested {
    attestation: Attestation,
    outcomes: Vec<OutcomeRecord>,
}

/// The same as it travels.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttestedBytes {
    /// As [`Attestation::to_bytes`] makes it.
    pub attestation: Vec<u8>,
    /// Outcomes of consecutive slots, the last one the attested.
    pub outcomes: Vec<OutcomeRecord>,
}

/// What is wrong with it.
#[derive(Debug, Error)]
pub enum AttestedError {
    /// The attestation is none.
    #[error(transparent)]
    Attestation(#[from] AttestationError),
    /// The outcomes are not those that are attested.
    #[error("the outcomes do not add up to what is attested")]
    Outcomes,
    /// They are too large.
    #[error("outcomes of more than {MAX_HANDED_BYTES} bytes do not travel with their attestation")]
    Large,
}

impl Attested {
    /// Of a unit's own evaluation. The outcomes are at most [`MAX_HANDED_BYTES`], or none.
    pub(crate) fn new(attestation: Attestation, outcomes: Vec<OutcomeRecord>) -> Attested {
        Attested { attestation, outcomes }
    }

    /// The attestation.
    pub fn attestation(&self) -> &Attestation {
        &self.attestation
    }

    /// The outcomes of consecutive slots up to the attested one; none when they did not travel with it.
    pub fn into_outcomes(self) -> Vec<OutcomeRecord> {
        self.outcomes
    }

    /// To be gossiped; without the outcomes when others have them already.
    pub fn to_bytes(&self, first: bool) -> AttestedBytes {
        let outcomes = if first { self.outcomes.clone() } else { Vec::new() };
        AttestedBytes { attestation: self.attestation.to_bytes(), outcomes }
    }
}

impl AttestedBytes {
    /// Only the attestation.
    pub fn bare(attestation: Vec<u8>) -> AttestedBytes {
        AttestedBytes { attestation, outcomes: Vec::new() }
    }

    /// Checks the signature, and that the outcomes are a part of what is attested. Whether the unit counts, and whether
    /// the outcomes are of this log's slots, is for [`crate::compute`].
    pub fn read(self) -> Result<Attested, AttestedError> {
        let attestation = Attestation::verify(&self.attestation)?;
        let claim = attestation.claim();
        if bytes(&self.outcomes) > MAX_HANDED_BYTES {
            return Err(AttestedError::Large);
        }
        let linked = self.outcomes.windows(2).all(|pair| match pair {
            [one, next] => one.chain() == next.chain_before,
            _ => false,
        });
        let ends = self.outcomes.last().is_none_or(|last| last.chain() == claim.outcome_chain);
        match linked && ends {
            true => Ok(Attested { attestation, outcomes: self.outcomes }),
            false => Err(AttestedError::Outcomes),
        }
    }
}

fn bytes(outcomes: &[OutcomeRecord]) -> usize {
    outcomes.iter().map(|record| record.outcome.len()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attestation::Claim;
    use crate::id::{Digest, Id};
    use crate::outcome::Outcome;
    use crate::wallet::Wallet;

    fn outcomes(texts: &[&str]) -> Vec<OutcomeRecord> {
        let mut chain_before = Digest::from([1; 32]);
        let record = |(n, text): (usize, &&str)| {
            let outcome = Outcome { output: format!("{text:?}"), ..Outcome::default() };
            let record = OutcomeRecord { outcome, chain_before, assignment: Id::from([n as u8; 32]) };
            chain_before = record.chain();
            record
        };
        texts.iter().enumerate().map(record).collect()
    }

    fn attested(outcomes: Vec<OutcomeRecord>) -> Attested {
        let claim = Claim {
            network: Digest::from([1; 32]),
            format: "lua-5.3-ao1".into(),
            process: Id::from([2; 32]),
            slot: 7,
            assignment: Id::from([3; 32]),
            outcome_chain: outcomes.last().unwrap().chain(),
            checkpoint: None,
        };
        Attested::new(claim.sign(&Wallet::ed25519_from_seed([1; 32])).unwrap(), outcomes)
    }

    #[test]
    fn what_was_signed_is_read_and_nothing_else() {
        let good = attested(outcomes(&["a", "b", "c"]));
        assert_eq!(good.to_bytes(true).read().unwrap(), good);
        assert_eq!(good.to_bytes(false).read().unwrap().into_outcomes(), []);
        let later = AttestedBytes { outcomes: good.outcomes[1..].to_vec(), ..good.to_bytes(true) };
        assert_eq!(later.read().unwrap().into_outcomes().len(), 2, "a unit need not have sent all before");
        for place in 0..3 {
            let mut changed = good.to_bytes(true);
            changed.outcomes[place].outcome.output = "\"lie\"".into();
            assert!(matches!(changed.read(), Err(AttestedError::Outcomes)), "outcome {place}");
            let mut left_out = good.to_bytes(true);
            left_out.outcomes.remove(place);
            assert_eq!(left_out.read().is_ok(), place == 0, "outcome {place}");
        }
        let mut forged = good.to_bytes(true);
        forged.attestation[70] ^= 1;
        assert!(matches!(forged.read(), Err(AttestedError::Attestation(_))));
    }

    #[test]
    fn large_outcomes_stay_where_they_are() {
        let large = attested(outcomes(&["a", &"x".repeat(MAX_HANDED_BYTES)]));
        assert!(matches!(large.to_bytes(true).read(), Err(AttestedError::Large)));
    }
}
