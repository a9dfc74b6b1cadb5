//! Who agrees with the outcomes that this log has, and how far: the outcome chain covers every slot before it, so a
//! unit's newest attestation that fits says it all.

use crate::attestation::{Attestation, Seen};
use crate::id::{Address, Id};
use crate::log::{Computed, Log, LogError};
use crate::process::Process;
use crate::trust::Trust;

/// Where the units that a process trusts stand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Agreement {
    /// Units that agree, each with the slot up to which it said so.
    pub agree: Vec<(Address, u64)>,
    /// Units that attested something else, each with the slot of its newest attestation that does.
    pub differ: Vec<(Address, u64)>,
    /// Units that attested nothing of what is known here.
    pub silent: Vec<Address>,
}

impl Agreement {
    /// The highest slot on which so many units agree.
    pub fn certain(&self, quorum: u32) -> Option<u64> {
        let mut slots: Vec<u64> = self.agree.iter().map(|(_, slot)| *slot).collect();
        slots.sort_unstable_by(|one, other| other.cmp(one));
        slots.get((quorum.max(1) - 1) as usize).copied()
    }

    /// The units that agree on a slot.
    pub fn on(&self, slot: u64) -> impl Iterator<Item = Address> + '_ {
        self.agree.iter().filter(move |(_, until)| *until >= slot).map(|(unit, _)| *unit)
    }
}

/// The units whose word counts for a process here: those that it trusts, but for those that were found lying.
pub fn counted(log: &dyn Log, process: &Process, trust: &Trust) -> Result<Vec<Address>, LogError> {
    let mut units = trust.compute_units(process);
    let refuted = log.dissents(&process.id())?;
    units.retain(|unit| refuted.iter().all(|dissent| dissent.unit != *unit));
    let mut counted = Vec::with_capacity(units.len());
    for unit in units {
        if log.perjury(&unit)?.is_none() {
            counted.push(unit);
        }
    }
    Ok(counted)
}

/// Where each unit that a process trusts stands. Units that were found lying differ, whatever they say now.
pub fn agreement(log: &dyn Log, process: &Process, trust: &Trust) -> Result<Agreement, LogError> {
    let mut agreement = Agreement::default();
    let id = process.id();
    let Some(computed) = log.computed(&id)? else { return Ok(agreement) };
    let counted = counted(log, process, trust)?;
    for unit in trust.compute_units(process) {
        match last_attestation(log, &id, &unit, computed.slot)? {
            None => agreement.silent.push(unit),
            Some(Seen { attestation, .. }) => {
                let slot = attestation.claim().slot;
                match (counted.contains(&unit), fits(log, &attestation)?) {
                    (true, Some(true)) => agreement.agree.push((unit, slot)),
                    // What this node has still to fill in below a checkpoint it can't compare.
                    (true, None) => agreement.silent.push(unit),
                    _ => agreement.differ.push((unit, slot)),
                }
            }
        }
    }
    Ok(agreement)
}

/// The highest slot whose outcome counts as certain: that so many units agree on as the process asks for. Where it asks
/// for one only, what this log has was computed here or attested by one.
pub fn certain(log: &dyn Log, process: &Process, trust: &Trust) -> Result<Option<u64>, LogError> {
    match process.compute_quorum {
        0 | 1 => Ok(log.computed(&process.id())?.map(|computed| computed.slot)),
        quorum => Ok(agreement(log, process, trust)?.certain(quorum)),
    }
}

/// Whether an attestation says what this log has; none when that slot has no outcome here.
pub fn fits(log: &dyn Log, attestation: &Attestation) -> Result<Option<bool>, LogError> {
    let claim = attestation.claim();
    let known = computed_at(log, &claim.process, claim.slot)?;
    Ok(known.map(|known| known.chain == claim.outcome_chain && known.assignment == claim.assignment))
}

/// What is known of the outcomes up to a slot, if they are.
pub fn computed_at(log: &dyn Log, process: &Id, slot: u64) -> Result<Option<Computed>, LogError> {
    match log.computed(process)? {
        Some(computed) if computed.slot == slot => Ok(Some(computed)),
        Some(computed) if computed.slot > slot => {
            Ok(log.outcome(process, slot)?.map(|record| Computed::after(slot, &record)))
        }
        _ => Ok(None),
    }
}

/// Whether an attestation is about another branch than this log's. Only a process that was resumed has more than one.
fn is_elsewhere(log: &dyn Log, attestation: &Attestation) -> Result<bool, LogError> {
    let claim = attestation.claim();
    if log.process(&claim.process)?.is_none_or(|process| process.resumes.is_empty()) {
        return Ok(false);
    }
    let ours = log.entry(&claim.process, claim.slot)?;
    Ok(ours.is_some_and(|ours| ours.assignment.id() != claim.assignment))
}

/// A unit's attestation that ends at the lowest slot from `from` on, but for those about other branches.
pub fn next_attestation(log: &dyn Log, process: &Id, unit: &Address, from: u64) -> Result<Option<Seen>, LogError> {
    let mut from = from;
    while let Some(seen) = log.next_attestation(process, unit, from)? {
        if !is_elsewhere(log, &seen.attestation)? {
            return Ok(Some(seen));
        }
        from = seen.attestation.claim().slot.saturating_add(1);
    }
    Ok(None)
}

/// A unit's attestation that ends at the highest slot up to `until`, but for those about other branches.
pub fn last_attestation(log: &dyn Log, process: &Id, unit: &Address, until: u64) -> Result<Option<Seen>, LogError> {
    let mut until = until;
    while let Some(seen) = log.last_attestation(process, unit, until)? {
        if !is_elsewhere(log, &seen.attestation)? {
            return Ok(Some(seen));
        }
        match seen.attestation.claim().slot.checked_sub(1) {
            Some(below) => until = below,
            None => break,
        }
    }
    Ok(None)
}

/// The attestations of these units that end at `from` or are the next after it, one of each unit that has one, the
/// nearest first.
pub fn next_of_each(log: &dyn Log, process: &Id, units: &[Address], from: u64) -> Result<Vec<Seen>, LogError> {
    let mut next = Vec::with_capacity(units.len());
    for unit in units {
        next.extend(next_attestation(log, process, unit, from)?);
    }
    next.sort_by_key(|seen| (seen.attestation.claim().slot, seen.attestation.unit()));
    Ok(next)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dissent;
    use crate::log::{Batch, Durability};
    use crate::sample::{Sample, UNITS, plain, unit};
    use crate::wallet::Signer;

    #[test]
    fn so_many_agree_as_attested_what_this_log_has() {
        let sample = Sample::new(3, 9);
        sample.compute(9, plain);
        let stand = || agreement(&sample.log, &sample.process, &sample.trust).unwrap();
        let sure = || certain(&sample.log, &sample.process, &sample.trust).unwrap();
        assert_eq!((stand().silent.len(), stand().certain(1), sure()), (5, None, None));
        sample.hear(sample.truth(UNITS[0], 8), 1, None);
        sample.hear(sample.truth(UNITS[1], 2), 1, None);
        sample.hear(sample.truth(UNITS[1], 5), 1, None);
        sample.hear(sample.lie(UNITS[2], 8), 1, None);
        assert_eq!([1, 2, 3].map(|quorum| stand().certain(quorum)), [Some(8), Some(5), None]);
        assert_eq!((stand().differ, sure()), (vec![(unit(UNITS[2]).address(), 8)], None));
        sample.hear(sample.truth(UNITS[3], 3), 1, None);
        assert_eq!(sure(), Some(3));
        let on = |slot| stand().on(slot).count();
        assert_eq!([3, 4, 6, 9].map(on), [3, 2, 1, 0]);
        // Whoever is not trusted does not count, and what is not computed here can't be told.
        sample.hear(sample.truth(99, 8), 1, None);
        sample.hear(sample.lie(UNITS[4], 20), 1, None);
        assert_eq!((sure(), stand().silent), (Some(3), vec![unit(UNITS[4]).address()]));
        // One word is enough where the process asks for one: this log's own.
        let one = Sample::new(1, 4);
        one.compute(4, plain);
        assert_eq!(certain(&one.log, &one.process, &one.trust).unwrap(), Some(3));
    }

    #[test]
    fn a_unit_that_was_found_lying_does_not_count_again() {
        let sample = Sample::new(2, 4);
        sample.compute(4, plain);
        sample.hear(sample.truth(UNITS[0], 3), 1, None);
        sample.hear(sample.lie(UNITS[1], 2), 1, None);
        let judge = || {
            let mut batch = Batch::new();
            let found = dissent::judge(&sample.log, &mut batch, &sample.process, &sample.trust, 0, 7).unwrap();
            sample.log.commit(batch, Durability::Relaxed).unwrap();
            found
        };
        assert_eq!(judge(), [unit(UNITS[1]).address()]);
        assert_eq!(judge(), [], "once");
        sample.hear(sample.truth(UNITS[1], 3), 1, None);
        let stand = agreement(&sample.log, &sample.process, &sample.trust).unwrap();
        assert_eq!((stand.agree.len(), stand.differ), (1, vec![(unit(UNITS[1]).address(), 3)]));
        let dissents = sample.log.dissents(&sample.id()).unwrap();
        assert_eq!((dissents[0].slot, dissents[0].right), (2, sample.claim(2).outcome_chain));
        assert_eq!(Attestation::verify(&dissents[0].attestation).unwrap(), sample.lie(UNITS[1], 2));
    }
}
