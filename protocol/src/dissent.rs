//! Units that lie. A *dissent*: a unit attested another outcome than the one that this node computed, or that a
//! certificate proves to it; this node counts it no more for that process. *Perjury*: a unit signed two claims that
//! contradict each other; that is proof for everybody, whoever is right, and nobody counts it any more.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::agreement;
use crate::attestation::{Attestation, AttestationError, Seen};
use crate::id::{Address, Digest, Id};
use crate::log::{Batch, Log, LogError, Write};
use crate::process::Process;
use crate::trust::Trust;

/// An attested outcome that is known to be wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dissent {
    /// Which process.
    pub process: Id,
    /// Who attested it.
    pub unit: Address,
    /// The slot of the attestation.
    pub slot: u64,
    /// The attestation, as the unit signed it.
    pub attestation: Vec<u8>,
    /// The outcome chain as it should have been.
    pub right: Digest,
    /// When this node found it, in milliseconds since 1970.
    pub found_ms: u64,
}

/// Two claims that a unit signed and that can't both be true.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Perjury {
    /// The one, as it was signed.
    pub one: Vec<u8>,
    /// The other.
    pub other: Vec<u8>,
}

/// Why two attestations are no perjury.
#[derive(Debug, Error)]
pub enum NoPerjury {
    /// One of them is none.
    #[error(transparent)]
    Attestation(#[from] AttestationError),
    /// They do not contradict each other, or are by two units.
    #[error("these are not two claims of one unit that contradict each other")]
    NoContradiction,
}

impl Perjury {
    /// Reads and verifies both; the unit, and the slot that it is about.
    pub fn verify(&self) -> Result<(Address, Id, u64), NoPerjury> {
        let (one, other) = (Attestation::verify(&self.one)?, Attestation::verify(&self.other)?);
        match one.unit() == other.unit() && one.claim().contradicts(other.claim()) {
            true => Ok((one.unit(), one.claim().process, one.claim().slot)),
            false => Err(NoPerjury::NoContradiction),
        }
    }
}

/// What taking in an attestation came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It was added to the batch.
    New,
    /// It, or one that says the same, was there before; or the unit is known to lie.
    Known,
    /// The unit said something else before: the proof was added to the batch.
    Perjury(Box<Perjury>),
}

/// Adds a verified attestation to the batch, or the proof that its unit lies.
pub fn take(log: &dyn Log, batch: &mut Batch, seen: Seen) -> Result<Taken, LogError> {
    let claim = seen.attestation.claim();
    let unit = seen.attestation.unit();
    let before = log.attestation(&claim.process, &unit, claim.slot)?;
    // What it said of the state there says what led to it, too.
    let states = log.checkpoints(&claim.process, claim.slot)?;
    if let Some(state) = states.iter().find(|state| state.unit() == unit && state.claim().contradicts(claim)) {
        if log.perjury(&unit)?.is_some() {
            return Ok(Taken::Known);
        }
        let perjury = Perjury { one: state.to_bytes(), other: seen.attestation.to_bytes() };
        batch.push(Write::Perjury { unit, perjury: Box::new(perjury.clone()) });
        return Ok(Taken::Perjury(Box::new(perjury)));
    }
    match before.map(|before| before.attestation) {
        Some(before) if before.claim().contradicts(claim) => {
            let perjury = Perjury { one: before.to_bytes(), other: seen.attestation.to_bytes() };
            if log.perjury(&unit)?.is_some() {
                return Ok(Taken::Known);
            }
            batch.push(Write::Perjury { unit, perjury: Box::new(perjury.clone()) });
            Ok(Taken::Perjury(Box::new(perjury)))
        }
        // Of two about two branches that counts which is about this log's.
        Some(before)
            if before.claim().assignment != claim.assignment
                && log.entry(&claim.process, claim.slot)?.map(|entry| entry.assignment.id())
                    == Some(before.claim().assignment) =>
        {
            Ok(Taken::Known)
        }
        // One that also says that the slot is a rebuild point says more.
        Some(before)
            if before.claim().assignment == claim.assignment
                && (before.claim().checkpoint.is_some() || claim.checkpoint.is_none()) =>
        {
            Ok(Taken::Known)
        }
        _ => {
            batch.push(Write::Attestation(Box::new(seen)));
            Ok(Taken::New)
        }
    }
}

/// Adds the proof of perjury that somebody sent to the batch; false when its unit is known for it already.
pub fn accept(log: &dyn Log, batch: &mut Batch, perjury: &Perjury) -> Result<Result<bool, NoPerjury>, LogError> {
    let unit = match perjury.verify() {
        Ok((unit, ..)) => unit,
        Err(cause) => return Ok(Err(cause)),
    };
    if log.perjury(&unit)?.is_some() {
        return Ok(Ok(false));
    }
    batch.push(Write::Perjury { unit, perjury: Box::new(perjury.clone()) });
    Ok(Ok(true))
}

/// Looks at what the units that a process trusts attested of the slots from `from` on that are known, and adds those to
/// the batch that are found wrong. Only for who knows what is right: this node computed the process itself, or its
/// outcomes are certain by a quorum above one.
pub fn judge(
    log: &dyn Log,
    batch: &mut Batch,
    process: &Process,
    trust: &Trust,
    from: u64,
    now_ms: u64,
) -> Result<Vec<Address>, LogError> {
    let id = process.id();
    let mut found = Vec::new();
    let Some(computed) = log.computed(&id)? else { return Ok(found) };
    for unit in agreement::counted(log, process, trust)? {
        let mut next = from;
        while let Some(Seen { attestation, .. }) = log.next_attestation(&id, &unit, next)? {
            let slot = attestation.claim().slot;
            if slot > computed.slot {
                break;
            }
            if judge_one(log, batch, &attestation, now_ms)? {
                found.push(unit);
                break;
            }
            next = slot + 1;
        }
    }
    Ok(found)
}

/// The same of one attestation; whether it is wrong.
pub fn judge_one(log: &dyn Log, batch: &mut Batch, attestation: &Attestation, now_ms: u64) -> Result<bool, LogError> {
    let claim = attestation.claim();
    let Some(known) = agreement::computed_at(log, &claim.process, claim.slot)? else { return Ok(false) };
    // About another assignment it may be right: then it is the scheduler that gave a slot twice.
    if known.assignment != claim.assignment || known.chain == claim.outcome_chain {
        return Ok(false);
    }
    batch.push(Write::Dissent(Box::new(Dissent {
        process: claim.process,
        unit: attestation.unit(),
        slot: claim.slot,
        attestation: attestation.to_bytes(),
        right: known.chain,
        found_ms: now_ms,
    })));
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attestation::Claim;
    use crate::log::Durability;
    use crate::sample::{Sample, UNITS, plain, unit};
    use crate::wallet::Signer;

    fn hear(sample: &Sample, attestation: Attestation) -> Taken {
        let mut batch = Batch::new();
        let seen = Seen { attestation, seen_ms: 1, committed_ms: None };
        let taken = take(&sample.log, &mut batch, seen).unwrap();
        sample.log.commit(batch, Durability::Relaxed).unwrap();
        taken
    }

    #[test]
    fn two_words_on_one_slot_convict_their_unit_everywhere() {
        let sample = Sample::new(1, 4);
        sample.compute(4, plain);
        let address = unit(UNITS[0]).address();
        assert_eq!(hear(&sample, sample.truth(UNITS[0], 3)), Taken::New);
        assert_eq!(hear(&sample, sample.truth(UNITS[0], 3)), Taken::Known);
        let Taken::Perjury(perjury) = hear(&sample, sample.lie(UNITS[0], 3)) else { panic!("it is none") };
        assert_eq!(sample.log.perjury(&address).unwrap(), Some(*perjury.clone()));
        assert!(!agreement::counted(&sample.log, &sample.process, &sample.trust).unwrap().contains(&address));
        assert_eq!(
            sample.log.attestation(&sample.id(), &address, 3).unwrap().unwrap().attestation,
            sample.truth(UNITS[0], 3)
        );

        // Another node, which knows neither, is told.
        let other = Sample::new(1, 1);
        let mut batch = Batch::new();
        assert!(accept(&other.log, &mut batch, &perjury).unwrap().unwrap());
        other.log.commit(batch, Durability::Relaxed).unwrap();
        assert!(other.log.perjury(&address).unwrap().is_some());
        assert!(!accept(&other.log, &mut Batch::new(), &perjury).unwrap().unwrap(), "known");
        for wrong in [
            Perjury { other: perjury.one.clone(), ..*perjury.clone() },
            Perjury { other: sample.lie(UNITS[1], 3).to_bytes(), ..*perjury.clone() },
            Perjury { other: sample.lie(UNITS[0], 2).to_bytes(), ..*perjury.clone() },
            Perjury { other: b"garbage".to_vec(), ..*perjury },
        ] {
            assert!(accept(&other.log, &mut Batch::new(), &wrong).unwrap().is_err());
        }
    }

    #[test]
    fn a_rebuild_point_may_be_told_later() {
        let sample = Sample::new(1, 4);
        sample.compute(4, plain);
        let point =
            |n| Claim { checkpoint: Some(Digest::from([n; 32])), ..sample.claim(3) }.sign(&unit(UNITS[0])).unwrap();
        assert_eq!(hear(&sample, sample.truth(UNITS[0], 3)), Taken::New);
        assert_eq!(hear(&sample, point(1)), Taken::New);
        assert_eq!(hear(&sample, sample.truth(UNITS[0], 3)), Taken::Known);
        assert!(matches!(hear(&sample, point(2)), Taken::Perjury(_)));
    }

    #[test]
    fn nobody_is_judged_by_what_is_not_known_or_about_another_branch() {
        let sample = Sample::new(1, 4);
        sample.compute(2, plain);
        sample.hear(sample.lie(UNITS[0], 3), 1, None);
        let branch = Claim { assignment: Id::from([7; 32]), outcome_chain: Digest::from([7; 32]), ..sample.claim(1) };
        sample.hear(branch.sign(&unit(UNITS[1])).unwrap(), 1, None);
        let judge = || judge(&sample.log, &mut Batch::new(), &sample.process, &sample.trust, 0, 1).unwrap();
        assert_eq!(judge(), []);
        sample.compute(2, plain);
        assert_eq!(judge(), [unit(UNITS[0]).address()]);
    }

    #[test]
    fn a_lie_is_found_though_the_truth_was_said_since() {
        let sample = Sample::new(1, 6);
        sample.compute(6, plain);
        sample.hear(sample.lie(UNITS[0], 2), 1, None);
        sample.hear(sample.truth(UNITS[0], 4), 1, None);
        let judge = |from| judge(&sample.log, &mut Batch::new(), &sample.process, &sample.trust, from, 1).unwrap();
        assert_eq!(judge(0), [unit(UNITS[0]).address()]);
        assert_eq!(judge(3), [], "what was judged before is not looked at again");
    }
}
