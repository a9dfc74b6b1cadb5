//! The race: compute units compete to resolve each slot, and the first valid attestation wins it. Where more than one
//! unit must agree, a copy of somebody's result would be as valid as the result, so there the first *commit* wins that
//! was there before anybody showed a result.
//!
//! All of it follows from what a node keeps: attestations, and when they and the commits to them came. What is "first"
//! is each node's own view. A race is run in laps: a lap begins where the last one ended, and ends where the winner's
//! attestation does.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::agreement::{computed_at, next_of_each};
use crate::attestation::{Attestation, Seen};
use crate::commit::Commit;
use crate::compute::MAX_SLOTS_PER_ATTESTATION;
use crate::id::{Address, Id};
use crate::log::{Batch, Log, LogError, Write};
use crate::process::Process;
use crate::trust::Trust;

/// A lap is credited this long after its first right result was shown: others have shown theirs by then, in
/// milliseconds.
pub const SETTLED_AFTER_MS: u64 = 5_000;
/// Most laps that are credited in one go.
const MAX_LAPS: usize = 256;
/// Most commits of one unit to one process that are remembered.
pub(crate) const MAX_COMMITS: usize = 16;
/// A commit to slots further on than this says nothing about whether the race for a slot is run.
const MAX_COMMITTED_SLOTS: u64 = 1024;
/// Most processes whose commits are remembered.
const MAX_COMMITTED: usize = 10_000;

/// One unit's part in a lap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finish {
    /// The unit.
    pub unit: Address,
    /// Where its attestation ends.
    pub slot: u64,
    /// When it came, in milliseconds since 1970.
    pub seen_ms: u64,
    /// When its commit came, if one did.
    pub committed_ms: Option<u64>,
    /// Whether it is right; none when this node does not know yet.
    pub agrees: Option<bool>,
}

/// Some slots and who resolved them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lap {
    /// The first slot.
    pub from: u64,
    /// The last one.
    pub to: u64,
    /// Who won; none when all that was shown was copied, or could have been.
    pub winner: Option<Address>,
    /// When the first right result was shown, in milliseconds since 1970.
    pub shown_ms: u64,
    /// All whose attestations cover the first slot, in the order in which they came.
    pub finishes: Vec<Finish>,
}

/// What a unit did in all races, as far as one node saw them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Laps that it won.
    pub laps_won: u64,
    /// Slots of these laps. What payment goes by.
    pub slots_won: u64,
    /// Laps of others that it confirmed.
    pub laps_confirmed: u64,
    /// Laps in which it attested something wrong.
    pub laps_wrong: u64,
}

/// Whether an attestation is right; none when that is not known here, or when it is about another branch.
fn agrees(log: &dyn Log, attestation: &Attestation) -> Result<Option<bool>, LogError> {
    let claim = attestation.claim();
    let known = computed_at(log, &claim.process, claim.slot)?.filter(|known| known.assignment == claim.assignment);
    Ok(known.map(|known| known.chain == claim.outcome_chain))
}

/// The slot behind those from `from` on that nobody resolved, as far as was shown: all that is attested is too far on
/// to cover them, by units that began with a checkpoint or were slow.
fn unresolved(
    log: &dyn Log,
    process: &Process,
    trust: &Trust,
    from: u64,
    now_ms: u64,
) -> Result<Option<u64>, LogError> {
    for seen in next_of_each(log, &process.id(), &trust.compute_units(process), from)? {
        let slot = seen.attestation.claim().slot;
        let over = now_ms >= seen.seen_ms.saturating_add(SETTLED_AFTER_MS);
        if slot - from >= MAX_SLOTS_PER_ATTESTATION && over && agrees(log, &seen.attestation)? == Some(true) {
            return Ok(Some(slot + 1 - MAX_SLOTS_PER_ATTESTATION));
        }
    }
    Ok(None)
}

/// The lap that begins at a slot; none while no right result of it was shown.
pub fn lap(log: &dyn Log, process: &Process, trust: &Trust, from: u64) -> Result<Option<Lap>, LogError> {
    let mut finishes = Vec::new();
    for seen in next_of_each(log, &process.id(), &trust.compute_units(process), from)? {
        // A unit that began with a checkpoint did not resolve what was before it.
        if seen.attestation.claim().slot - from >= MAX_SLOTS_PER_ATTESTATION {
            continue;
        }
        finishes.push(Finish {
            unit: seen.attestation.unit(),
            slot: seen.attestation.claim().slot,
            seen_ms: seen.seen_ms,
            committed_ms: seen.committed_ms,
            agrees: agrees(log, &seen.attestation)?,
        });
    }
    finishes.sort_by_key(|finish| (finish.seen_ms, finish.unit));
    let right = || finishes.iter().filter(|finish| finish.agrees == Some(true));
    let Some(shown_ms) = right().map(|finish| finish.seen_ms).min() else { return Ok(None) };
    let winner = match process.compute_quorum {
        0 | 1 => right().next(),
        _ => {
            let committed = right().filter_map(|finish| Some((finish.committed_ms?, finish)));
            let in_time = committed.filter(|(at, _)| *at < shown_ms);
            in_time.min_by_key(|(at, finish)| (*at, finish.unit)).map(|(_, finish)| finish)
        }
    };
    let to = match winner {
        Some(winner) => winner.slot,
        None => right().map(|finish| finish.slot).min().unwrap_or(from),
    };
    Ok(Some(Lap { from, to, winner: winner.map(|finish| finish.unit), shown_ms, finishes }))
}

/// Credits the laps of a process that are over, each once.
pub fn settle(log: &dyn Log, process: &Process, trust: &Trust, now_ms: u64) -> Result<Batch, LogError> {
    let id = process.id();
    let (first, mut batch) = (log.credited(&id)?, Batch::new());
    if log.hole(&id)?.is_some() {
        // Who was right there is not known yet.
        return Ok(batch);
    }
    let mut from = first;
    let mut accounts: BTreeMap<Address, Account> = BTreeMap::new();
    for _ in 0..MAX_LAPS {
        let Some(lap) = lap(log, process, trust, from)? else {
            match unresolved(log, process, trust, from, now_ms)? {
                Some(next) => from = next,
                None => break,
            }
            continue;
        };
        if now_ms < lap.shown_ms.saturating_add(SETTLED_AFTER_MS) {
            break;
        }
        for finish in &lap.finishes {
            let account = match accounts.entry(finish.unit) {
                std::collections::btree_map::Entry::Occupied(known) => known.into_mut(),
                std::collections::btree_map::Entry::Vacant(new) => new.insert(log.race_account(&finish.unit)?),
            };
            match finish.agrees {
                Some(true) if lap.winner == Some(finish.unit) => {
                    account.laps_won += 1;
                    account.slots_won += lap.to + 1 - lap.from;
                }
                Some(true) => account.laps_confirmed += 1,
                Some(false) => account.laps_wrong += 1,
                None => {}
            }
        }
        from = lap.to + 1;
    }
    if from > first {
        batch.push(Write::Credited { process: id, next: from });
    }
    for (unit, account) in accounts {
        batch.push(Write::Account { unit, account });
    }
    Ok(batch)
}

/// Commits to what was not shown yet, and when they came. Bounded; a commit that is lost costs its unit a win at most.
#[derive(Debug, Default)]
pub struct Commits {
    commits: BTreeMap<Id, Vec<(Commit, u64)>>,
}

impl Commits {
    /// None so far.
    pub fn new() -> Commits {
        Commits::default()
    }

    /// An attestation that came now, with when the commit to it did.
    pub fn seen(&mut self, attestation: Attestation, now_ms: u64) -> Seen {
        Seen { committed_ms: self.take(&attestation), attestation, seen_ms: now_ms }
    }

    /// A verified commit by a unit that the process trusts came in; false when it is not remembered.
    pub fn put(&mut self, commit: Commit, now_ms: u64) -> bool {
        if !self.commits.contains_key(&commit.process()) && self.commits.len() >= MAX_COMMITTED {
            // Of units that never showed what they committed to.
            self.commits
                .retain(|_, commits| commits.iter().any(|(_, at)| now_ms < at.saturating_add(SETTLED_AFTER_MS)));
            if self.commits.len() >= MAX_COMMITTED {
                return false;
            }
        }
        let commits = self.commits.entry(commit.process()).or_default();
        if commits.iter().any(|(known, _)| *known == commit) {
            return false;
        }
        let of_unit = |(known, _): &(Commit, u64)| known.unit() == commit.unit();
        if commits.iter().filter(|known| of_unit(known)).count() >= MAX_COMMITS
            && let Some(oldest) = commits.iter().position(of_unit)
        {
            commits.remove(oldest);
        }
        commits.push((commit, now_ms));
        true
    }

    /// When the commit to an attestation came, if one did. It is forgotten, and with it the unit's older ones.
    pub fn take(&mut self, attestation: &Attestation) -> Option<u64> {
        let claim = attestation.claim();
        let commits = self.commits.get_mut(&claim.process)?;
        let found = commits.iter().find(|(commit, _)| commit.is_to(attestation)).map(|(_, at)| *at);
        commits.retain(|(commit, _)| commit.unit() != attestation.unit() || commit.slot() > claim.slot);
        if commits.is_empty() {
            self.commits.remove(&claim.process);
        }
        found
    }

    /// How many units committed to slots of a process from `from` on.
    pub fn units(&self, process: &Id, from: u64) -> usize {
        let mut units: Vec<Address> = self
            .commits
            .get(process)
            .into_iter()
            .flatten()
            .filter(|(commit, _)| commit.slot() >= from && commit.slot() - from < MAX_COMMITTED_SLOTS)
            .map(|(commit, _)| commit.unit())
            .collect();
        units.sort();
        units.dedup();
        units.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attestation::Claim;
    use crate::log::Durability;
    use crate::sample::{Sample, UNITS, plain, unit};
    use crate::wallet::Signer;

    const LATER: u64 = 100_000;

    fn address(n: usize) -> Address {
        unit(UNITS[n]).address()
    }

    fn settle_at(sample: &Sample, now_ms: u64) {
        let batch = settle(&sample.log, &sample.process, &sample.trust, now_ms).unwrap();
        sample.log.commit(batch, Durability::Relaxed).unwrap();
    }

    fn won(sample: &Sample) -> Vec<(u64, u64)> {
        let account = |n| sample.log.race_account(&address(n)).unwrap();
        (0..UNITS.len()).map(|n| (account(n).slots_won, account(n).laps_wrong)).collect()
    }

    #[test]
    fn the_first_right_attestation_wins() {
        let sample = Sample::new(1, 10);
        sample.compute(10, plain);
        sample.hear(sample.lie(UNITS[0], 3), 5, None);
        sample.hear(sample.truth(UNITS[1], 3), 20, None);
        sample.hear(sample.truth(UNITS[2], 9), 10, None);
        sample.hear(sample.truth(UNITS[1], 9), 8, None);
        let lap = |from| lap(&sample.log, &sample.process, &sample.trust, from).unwrap();
        let first = lap(0).unwrap();
        assert_eq!((first.from, first.to, first.winner, first.shown_ms), (0, 9, Some(address(2)), 10));
        assert_eq!(
            first.finishes.iter().map(|finish| finish.agrees).collect::<Vec<_>>(),
            [Some(false), Some(true), Some(true)]
        );
        // From slot 4 on the other was faster.
        assert_eq!(lap(4).unwrap().winner, Some(address(1)));
        assert_eq!(lap(10), None);
        settle_at(&sample, 10 + SETTLED_AFTER_MS - 1);
        assert_eq!(won(&sample), [(0, 0); 5], "others may still come");
        settle_at(&sample, LATER);
        settle_at(&sample, LATER);
        assert_eq!(won(&sample), [(0, 1), (0, 0), (10, 0), (0, 0), (0, 0)], "once");
        assert_eq!(sample.log.race_account(&address(1)).unwrap().laps_confirmed, 1);
    }

    #[test]
    fn what_nobody_resolved_holds_up_no_credit_and_another_branch_is_no_lie() {
        let sample = Sample::new(1, 200);
        sample.compute(200, plain);
        sample.hear(sample.truth(UNITS[0], 9), 1, None);
        sample.hear(sample.truth(UNITS[1], 150), 2, None);
        let elsewhere = Claim { assignment: Id::from([7; 32]), ..sample.claim(9) };
        sample.hear(elsewhere.sign(&unit(UNITS[2])).unwrap(), 1, None);
        settle_at(&sample, LATER);
        assert_eq!(won(&sample), [(10, 0), (64, 0), (0, 0), (0, 0), (0, 0)]);
        assert_eq!(sample.log.credited(&sample.id()).unwrap(), 151);
    }

    #[test]
    fn who_copies_wins_nothing_where_several_must_agree() {
        let sample = Sample::new(2, 4);
        sample.compute(4, plain);
        // The second one was the first to commit; the copy was shown first of all but committed to after that.
        sample.hear(sample.truth(UNITS[0], 3), 50, Some(30));
        sample.hear(sample.truth(UNITS[1], 3), 90, Some(20));
        sample.hear(sample.truth(UNITS[2], 3), 95, Some(60));
        sample.hear(sample.truth(UNITS[3], 3), 96, None);
        sample.hear(sample.lie(UNITS[4], 3), 10, Some(1));
        let lap = lap(&sample.log, &sample.process, &sample.trust, 0).unwrap().unwrap();
        assert_eq!((lap.winner, lap.shown_ms), (Some(address(1)), 50));
        settle_at(&sample, LATER);
        assert_eq!(won(&sample), [(0, 0), (4, 0), (0, 0), (0, 0), (0, 1)]);
        // Without any commit in time nobody wins.
        let copied = Sample::new(2, 1);
        copied.compute(1, plain);
        copied.hear(copied.truth(UNITS[0], 0), 50, None);
        copied.hear(copied.truth(UNITS[1], 0), 51, Some(50));
        settle_at(&copied, LATER);
        assert_eq!((won(&copied), copied.log.credited(&copied.id()).unwrap()), (vec![(0, 0); 5], 1));
    }

    #[test]
    fn who_joined_later_did_not_resolve_what_was_before() {
        let sample = Sample::new(1, 100);
        sample.compute(100, plain);
        sample.hear(sample.truth(UNITS[0], 99), 5, None);
        assert_eq!(lap(&sample.log, &sample.process, &sample.trust, 0).unwrap(), None);
        sample.hear(sample.truth(UNITS[1], 50), 50, None);
        let lap = |from| lap(&sample.log, &sample.process, &sample.trust, from).unwrap().unwrap();
        assert_eq!((lap(0).winner, lap(0).to, lap(0).finishes.len()), (Some(address(1)), 50, 1));
        assert_eq!(lap(51).winner, Some(address(0)));
    }

    #[test]
    fn commits_are_matched_to_what_they_are_to_and_bounded() {
        let sample = Sample::new(2, 30);
        sample.compute(30, plain);
        let mut commits = Commits::new();
        let commit = |n: usize, slot| Commit::to(&sample.truth(UNITS[n], slot), &unit(UNITS[n])).unwrap();
        assert!(commits.put(commit(0, 3), 10) && !commits.put(commit(0, 3), 11));
        assert!(commits.put(commit(1, 5), 12));
        assert_eq!([0, 4, 6].map(|from| commits.units(&sample.id(), from)), [2, 1, 0]);
        assert_eq!(commits.seen(sample.lie(UNITS[0], 3), 20).committed_ms, None, "it did not commit to this");
        assert!(commits.put(commit(0, 3), 21));
        assert_eq!(commits.seen(sample.truth(UNITS[0], 3), 22).committed_ms, Some(21));
        assert_eq!(commits.seen(sample.truth(UNITS[0], 3), 23).committed_ms, None);
        assert!((0..20).all(|slot| commits.put(commit(0, slot), 30)));
        assert_eq!(commits.commits[&sample.id()].len(), MAX_COMMITS + 1);
        assert_eq!(commits.take(&sample.truth(UNITS[0], 2)), None, "the oldest are forgotten");
        assert_eq!(commits.take(&sample.truth(UNITS[0], 19)), Some(30));
        assert_eq!(commits.take(&sample.truth(UNITS[1], 5)), Some(12));
        assert!(commits.commits.is_empty());
    }
}
