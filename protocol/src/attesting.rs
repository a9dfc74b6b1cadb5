//! When a compute unit attests what it evaluated: at once while little happens, and for many slots together where much
//! does, so that competing costs a bounded part of the work. A process that asks for more than one unit's word is
//! committed to first and attested when enough others committed, too. Where the state was rebuilt, its hash is attested
//! when what led to it is.
//!
//! A state machine over the log: what is to be attested is what was evaluated since the unit's own last attestation, so
//! nothing is lost by a restart. Call order: [`Attesting::evaluated`] after slots were recorded, and for every process
//! at start; [`Attesting::act`] → commit the batch, then send what it returns.

use std::collections::{BTreeMap, VecDeque};

use crate::agreement::{computed_at, fits, last_attestation, next_of_each};
use crate::attestation::{Attestation, Claim, Seen};
use crate::attested::{Attested, MAX_HANDED_BYTES};
use crate::checkpoint;
use crate::commit::Commit;
use crate::compute::{Attestor, MAX_SLOTS_PER_ATTESTATION};
use crate::id::{Digest, Id};
use crate::log::{Batch, Computed, Log, LogError, Write};
use crate::module::LUA_FORMAT;
use crate::process::Process;
use crate::race::{Commits, MAX_COMMITS};
use crate::trust::Trust;
use crate::wallet::WalletError;

/// Messages that may be sent at once after a while of silence.
const BURST: u64 = 20;
/// Messages that may be sent a second however little was evaluated.
const MESSAGES_PER_SECOND: u64 = 10;
/// Further ones are paid for by so many evaluated slots each.
const SLOTS_PER_MESSAGE: u64 = 32;
/// How long a unit that committed waits for others, in milliseconds.
const COMMIT_WAIT_MS: u64 = 300;
/// Most attestations of one process that are made in one go.
const MAX_AT_ONCE: usize = MAX_COMMITS;

/// A message costs this much of the budget.
const COST: u64 = 1_000;
/// The budget that silence fills.
const FULL: u64 = BURST * COST;

/// What is to be sent.
#[derive(Clone, Debug)]
pub enum Act {
    /// Say that there is a result.
    Commit(Commit),
    /// Show it. With the outcomes where nobody was faster.
    Show {
        /// What.
        attested: Box<Attested>,
        /// Whether the outcomes go along.
        first: bool,
    },
}

/// What a unit has still to attest.
#[derive(Default)]
pub struct Attesting {
    /// Processes with slots to attest, first come, first served.
    waiting: VecDeque<Id>,
    /// Processes that were committed to.
    committed: BTreeMap<Id, Committed>,
    budget: u64,
    counted_ms: u64,
}

struct Committed {
    /// Ready to be shown.
    attestations: Vec<Attestation>,
    /// The first slot that they cover.
    first: u64,
    at_ms: u64,
}

/// Why nothing can be attested.
#[derive(Debug, thiserror::Error)]
pub enum AttestError {
    /// The log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The wallet.
    #[error(transparent)]
    Wallet(#[from] WalletError),
}

/// One look at what is due, with all that it takes, and what comes of it.
struct Look<'a> {
    log: &'a dyn Log,
    trust: &'a Trust,
    attestor: &'a Attestor<'a>,
    now_ms: u64,
    batch: Batch,
    acts: Vec<Act>,
}

impl Attesting {
    /// Nothing to attest so far.
    pub fn new() -> Attesting {
        Attesting { budget: FULL, ..Attesting::default() }
    }

    /// So many slots of a process were evaluated and recorded, or its state was rebuilt.
    pub fn evaluated(&mut self, process: Id, slots: u64) {
        self.budget = self.budget.saturating_add(slots.saturating_mul(COST / SLOTS_PER_MESSAGE)).min(2 * FULL);
        if !self.waiting.contains(&process) {
            self.waiting.push_back(process);
        }
    }

    /// What is due now: own attestations to be kept, and what is to be sent once they are.
    pub fn act(
        &mut self,
        log: &dyn Log,
        trust: &Trust,
        attestor: &Attestor<'_>,
        commits: &mut Commits,
        now_ms: u64,
    ) -> Result<(Batch, Vec<Act>), AttestError> {
        let passed = now_ms.saturating_sub(self.counted_ms).min(1_000);
        self.counted_ms = now_ms;
        // Silence fills the budget and no more; work may have.
        if self.budget < FULL {
            self.budget = (self.budget + passed * MESSAGES_PER_SECOND * COST / 1_000).min(FULL);
        }
        let mut look = Look { log, trust, attestor, now_ms, batch: Batch::new(), acts: Vec::new() };
        for _ in 0..self.waiting.len() {
            if self.budget < COST {
                break;
            }
            let Some(id) = self.waiting.pop_front() else { break };
            if self.committed.contains_key(&id) {
                // Comes again when that is shown.
                continue;
            }
            let Some(process) = log.process(&id)? else { continue };
            let (first, attestations) = look.attestations(&id)?;
            if attestations.is_empty() {
                if look.show_checkpoint(&id, first.checked_sub(1))? {
                    self.budget -= COST;
                }
                continue;
            }
            self.budget -= COST;
            if attestations.len() == MAX_AT_ONCE {
                self.waiting.push_back(id);
            }
            if process.compute_quorum > 1 {
                for attestation in &attestations {
                    let commit = Commit::to(attestation, attestor.signer)?;
                    commits.put(commit.clone(), now_ms);
                    look.acts.push(Act::Commit(commit));
                }
                self.committed.insert(id, Committed { attestations, first, at_ms: now_ms });
            } else {
                let last = attestations.last().map(|last| last.claim().slot);
                look.show(&process, first, attestations, None)?;
                look.show_checkpoint(&id, last)?;
            }
        }
        // Last: what is evaluated since then begins where these end, which the log does not say yet.
        self.show_committed(&mut look, commits)?;
        Ok((look.batch, look.acts))
    }

    fn show_committed(&mut self, look: &mut Look<'_>, commits: &mut Commits) -> Result<(), AttestError> {
        let (log, now_ms) = (look.log, look.now_ms);
        let mut due = Vec::new();
        for (id, committed) in &self.committed {
            let Some(process) = log.process(id)? else { continue };
            let mut others = look.trust.compute_units(&process);
            others.retain(|unit| *unit != look.attestor.signer.address());
            let enough = commits.units(id, committed.first) >= process.compute_quorum as usize;
            let late = now_ms >= committed.at_ms + COMMIT_WAIT_MS;
            let shown = || -> Result<bool, LogError> {
                for seen in next_of_each(log, id, &others, committed.first)? {
                    if fits(log, &seen.attestation)? == Some(true) {
                        return Ok(true);
                    }
                }
                Ok(false)
            };
            if enough || late || shown()? {
                due.push((*id, process));
            }
        }
        for (id, process) in due {
            let Some(Committed { attestations, first, at_ms }) = self.committed.remove(&id) else { continue };
            self.budget = self.budget.saturating_sub(COST);
            let mut still = Vec::with_capacity(attestations.len());
            for attestation in attestations {
                commits.take(&attestation);
                // Its slots may have been taken back since.
                if fits(log, &attestation)? == Some(true) {
                    still.push(attestation);
                }
            }
            look.show(&process, first, still, Some(at_ms))?;
            // More may have been evaluated meanwhile, and the state at some slot of these may be known.
            if !self.waiting.contains(&id) {
                self.waiting.push_back(id);
            }
        }
        Ok(())
    }

    /// When it is to be asked again though nothing happens, in milliseconds.
    pub fn due_ms(&self, now_ms: u64) -> Option<u64> {
        let shown = self.committed.values().map(|committed| committed.at_ms + COMMIT_WAIT_MS).min();
        let lacking = COST.saturating_sub(self.budget);
        let paid = now_ms + lacking.div_ceil(MESSAGES_PER_SECOND * COST / 1_000);
        let waits = self.waiting.iter().any(|process| !self.committed.contains_key(process));
        shown.into_iter().chain(waits.then_some(paid)).min()
    }
}

impl Look<'_> {
    fn claim(&self, process: &Id, known: Computed, checkpoint: Option<Digest>) -> Claim {
        Claim {
            network: self.attestor.network,
            format: LUA_FORMAT.to_string(),
            process: *process,
            slot: known.slot,
            assignment: known.assignment,
            outcome_chain: known.chain,
            checkpoint,
        }
    }

    /// Attestations of what was evaluated since the unit's last one, and the first slot that they cover.
    fn attestations(&self, process: &Id) -> Result<(u64, Vec<Attestation>), AttestError> {
        let log = self.log;
        let own = last_attestation(log, process, &self.attestor.signer.address(), u64::MAX)?;
        // What is before a checkpoint that it began with others resolved.
        let base = log.base(process)?.map_or(0, |base| base + 1);
        let first = own.map_or(0, |own| own.attestation.claim().slot + 1).max(base);
        let (Some(computed), Some(evaluated)) = (log.computed(process)?, log.evaluated(process)?) else {
            return Ok((first, Vec::new()));
        };
        let last = computed.slot.min(evaluated);
        let (mut from, mut made) = (first, Vec::new());
        while from <= last && made.len() < MAX_AT_ONCE {
            let slot = last.min(from + MAX_SLOTS_PER_ATTESTATION - 1);
            let Some(known) = computed_at(log, process, slot)? else { break };
            made.push(self.claim(process, known, None).sign(self.attestor.signer)?);
            from = slot + 1;
        }
        Ok((first, made))
    }

    /// Keeps attestations and shows them, with their outcomes where no other unit was faster.
    fn show(
        &mut self,
        process: &Process,
        first: u64,
        attestations: Vec<Attestation>,
        committed_ms: Option<u64>,
    ) -> Result<(), LogError> {
        let (log, seen_ms) = (self.log, self.now_ms);
        let units = self.trust.compute_units(process);
        let mut from = first;
        for attestation in attestations {
            let slot = attestation.claim().slot;
            let others: Vec<_> = units.iter().filter(|unit| **unit != attestation.unit()).copied().collect();
            let near = |seen: &Seen| seen.attestation.claim().slot - slot < MAX_SLOTS_PER_ATTESTATION;
            let is_first = !next_of_each(log, &process.id(), &others, slot)?.iter().any(near);
            let outcomes = if is_first { handed(log, &process.id(), from, slot)? } else { Vec::new() };
            from = slot + 1;
            let seen = Seen { attestation: attestation.clone(), seen_ms, committed_ms };
            self.batch.push(Write::Attestation(Box::new(seen)));
            self.acts.push(Act::Show { attested: Box::new(Attested::new(attestation, outcomes)), first: is_first });
        }
        Ok(())
    }

    /// Shows the hash of the newest rebuilt state up to a slot that this unit attested, if it did not before.
    fn show_checkpoint(&mut self, process: &Id, attested: Option<u64>) -> Result<bool, AttestError> {
        let Some(attested) = attested else { return Ok(false) };
        let Some((slot, hash)) = self.log.last_rebuilt(process, attested)? else { return Ok(false) };
        // That which it began with others made.
        if self.log.base(process)?.is_some_and(|base| slot <= base) {
            return Ok(false);
        }
        let own = self.attestor.signer.address();
        if checkpoint::attested_by(self.log, process, slot, &own)? {
            return Ok(false);
        }
        let Some(known) = computed_at(self.log, process, slot)? else { return Ok(false) };
        let attestation = self.claim(process, known, Some(hash)).sign(self.attestor.signer)?;
        self.batch.push(Write::Checkpoint(Box::new(attestation.clone())));
        self.acts.push(Act::Show { attested: Box::new(Attested::new(attestation, Vec::new())), first: false });
        Ok(true)
    }
}

/// The outcomes of these slots, or none where they are too large to travel with their attestation.
fn handed(log: &dyn Log, process: &Id, from: u64, to: u64) -> Result<Vec<crate::outcome::OutcomeRecord>, LogError> {
    let (mut records, mut bytes) = (Vec::new(), 0);
    for slot in from..=to {
        let Some(record) = log.outcome(process, slot)? else { return Ok(Vec::new()) };
        bytes += record.outcome.len();
        if bytes > MAX_HANDED_BYTES {
            return Ok(Vec::new());
        }
        records.push(record);
    }
    Ok(records)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agreement::agreement;
    use crate::compute;
    use crate::log::Durability;
    use crate::outcome::Outcome;
    use crate::sample::{Sample, UNITS, plain, unit};
    use crate::wallet::{Signer, Wallet};

    /// A unit that computes the sample.
    struct Unit<'a> {
        sample: &'a Sample,
        wallet: Wallet,
        attesting: Attesting,
        commits: Commits,
    }

    impl Unit<'_> {
        fn new(sample: &Sample) -> Unit<'_> {
            let (wallet, attesting) = (unit(UNITS[0]), Attesting::new());
            Unit { sample, wallet, attesting, commits: Commits::new() }
        }

        fn evaluate(&mut self, slots: usize) {
            self.sample.compute(slots, plain);
            self.attesting.evaluated(self.sample.id(), slots as u64);
        }

        fn act(&mut self, now_ms: u64) -> Vec<Act> {
            let Unit { sample, wallet, attesting, commits } = self;
            let attestor = Attestor { network: sample.trust.network.hash(), signer: wallet };
            let (batch, acts) = attesting.act(&sample.log, &sample.trust, &attestor, commits, now_ms).unwrap();
            sample.log.commit(batch, Durability::Relaxed).unwrap();
            acts
        }

        /// The slots at which what is shown ends, with how many outcomes go along.
        fn shows(&mut self, now_ms: u64) -> Vec<(u64, usize)> {
            let shown = |act| match act {
                Act::Show { attested, first } => {
                    let read = attested.to_bytes(first).read().unwrap();
                    Some((read.attestation().claim().slot, read.into_outcomes().len()))
                }
                Act::Commit(_) => None,
            };
            self.act(now_ms).into_iter().filter_map(shown).collect()
        }
    }

    #[test]
    fn little_is_attested_at_once_and_much_together() {
        let sample = Sample::new(1, 250);
        let mut unit = Unit::new(&sample);
        assert_eq!(unit.attesting.due_ms(5), None);
        unit.evaluate(1);
        assert_eq!(unit.shows(0), [(0, 1)]);
        assert_eq!(unit.shows(0), []);
        for slot in 1..BURST {
            unit.evaluate(1);
            assert_eq!(unit.shows(0), [(slot, 1)]);
        }
        // The rest of this second's budget is what was evaluated.
        let mut shown = Vec::new();
        for _ in 0..64 {
            unit.evaluate(1);
            shown.extend(unit.shows(0));
        }
        assert!((1..=3).contains(&shown.len()), "{shown:?}");
        unit.evaluate(3);
        assert_eq!(unit.shows(0), []);
        let due = unit.attesting.due_ms(0).unwrap();
        assert!((1..=100).contains(&due) && unit.shows(due - 1).is_empty());
        assert_eq!(unit.shows(due).last().map(|shown| shown.0), sample.log.evaluated(&sample.id()).unwrap());
        // Never more slots than a proof may span.
        unit.evaluate(150);
        assert_eq!(unit.shows(2_000).iter().map(|shown| shown.1).collect::<Vec<_>>(), [64, 64, 22]);
        assert_eq!(agreement(&sample.log, &sample.process, &sample.trust).unwrap().certain(1), Some(236));
    }

    #[test]
    fn a_restart_goes_on_where_the_last_attestation_ends_and_only_with_what_was_evaluated() {
        let sample = Sample::new(1, 20);
        Unit::new(&sample).evaluate(5);
        let mut again = Unit::new(&sample);
        again.attesting.evaluated(sample.id(), 0);
        assert_eq!(again.shows(0), [(4, 5)]);
        // Somebody else computed the next; this unit took it over.
        let jobs = compute::next(&sample.log, &sample.id(), 5).unwrap();
        let mut batch = Batch::new();
        let writes = compute::record(jobs.into_iter().map(|job| (job, Outcome::default())).collect()).into_writes();
        writes.into_iter().filter(|write| matches!(write, Write::Outcome { .. })).for_each(|write| batch.push(write));
        sample.log.commit(batch, Durability::Relaxed).unwrap();
        again.attesting.evaluated(sample.id(), 0);
        assert_eq!(again.shows(1_000), []);
    }

    #[test]
    fn outcomes_go_along_only_where_nobody_was_faster() {
        let sample = Sample::new(1, 20);
        let mut unit = Unit::new(&sample);
        unit.evaluate(5);
        sample.hear(sample.truth(UNITS[1], 6), 1, None);
        assert_eq!(unit.shows(0), [(4, 0)]);
        unit.evaluate(5);
        assert_eq!(unit.shows(1_000), [(9, 5)]);
    }

    #[test]
    fn where_several_must_agree_nothing_is_shown_before_others_committed() {
        let sample = Sample::new(3, 20);
        let mut unit = Unit::new(&sample);
        unit.evaluate(5);
        let acts = unit.act(100);
        let [Act::Commit(commit)] = &acts[..] else { panic!("{acts:?}") };
        assert_eq!((commit.slot(), commit.unit()), (4, unit.wallet.address()));
        unit.evaluate(5);
        assert!(unit.act(101).is_empty(), "one at a time");
        for n in [1, 2] {
            assert!(unit.act(150).is_empty());
            let theirs = Commit::to(&sample.truth(UNITS[n], 4), &self::unit(UNITS[n])).unwrap();
            unit.commits.put(theirs, 150);
        }
        assert_eq!(unit.shows(199), [(4, 5)]);
        let own = sample.log.attestation(&sample.id(), &unit.wallet.address(), 4).unwrap().unwrap();
        assert_eq!((own.seen_ms, own.committed_ms), (199, Some(100)));
        // What was evaluated meanwhile comes next.
        assert!(matches!(unit.act(200)[..], [Act::Commit(_)]));
        // Nobody else commits to that.
        assert_eq!(unit.attesting.due_ms(201), Some(200 + COMMIT_WAIT_MS));
        let acts = unit.act(199 + COMMIT_WAIT_MS);
        assert!(acts.is_empty(), "{acts:?}");
        assert_eq!(unit.shows(200 + COMMIT_WAIT_MS), [(9, 5)]);
        // Somebody showed theirs: the race is over.
        unit.evaluate(5);
        assert!(matches!(unit.act(2_000)[..], [Act::Commit(_)]));
        sample.hear(sample.lie(UNITS[2], 12), 1, None);
        assert!(unit.act(2_001).is_empty(), "a lie ends no race");
        sample.hear(sample.truth(UNITS[1], 12), 1, None);
        assert_eq!(unit.shows(2_002), [(14, 5)]);
    }
}
