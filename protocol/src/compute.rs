//! The compute unit's rules: which slot is next, what recording an outcome writes, and when another unit's outcomes
//! may be taken over. Evaluating is the driver's; the same log gives the same outcomes on every unit.

use std::collections::BTreeMap;

use thiserror::Error;

use crate::attestation::Attestation;
use crate::cron;
use crate::entry::Entry;
use crate::evidence;
use crate::id::{Address, Digest, Id};
use crate::log::{Batch, Log, LogError, Write};
use crate::message::Message;
use crate::module::LUA_FORMAT;
use crate::outcome::{Outcome, OutcomeRecord, first_chain};
use crate::process::Process;
use crate::trust::Trust;
use crate::wallet::Signer;

/// An attestation comes at least every so many slots, so that a proof of one outcome needs no more than these.
pub const MAX_SLOTS_PER_ATTESTATION: u64 = 64;
/// Most bytes of items that are read to be evaluated in one go; one item always is.
pub const MAX_JOB_BYTES: usize = 8 * 1024 * 1024;

/// A slot to be evaluated.
#[derive(Clone, Debug)]
pub struct Job {
    /// Which process.
    pub process: Id,
    /// Which slot.
    pub slot: u64,
    /// Its assignment.
    pub assignment: Id,
    /// What `handle` is given.
    pub message: Message,
    /// The outcome chain before the slot.
    pub chain_before: Digest,
}

/// What an entry is to its process's `handle`.
pub fn message(log: &dyn Log, entry: &Entry) -> Result<Message, LogError> {
    let Some(firing) = &entry.assignment.statement.cron else {
        return Message::of(entry).map_err(|cause| LogError::Damaged {
            record: "entry",
            key: format!("{}/{}", entry.process(), entry.slot()),
            cause: cause.to_string(),
        });
    };
    let spawn = log.entry(&entry.process(), 0)?.map(|first| first.item);
    Ok(spawn.map_or_else(Message::default, |spawn| cron::message(&spawn, &entry.assignment, firing)))
}

/// The next slots to evaluate, in order, at most `limit` or [`MAX_JOB_BYTES`]; empty when all are, or when the process
/// is disputed from there on.
pub fn next(log: &dyn Log, process: &Id, limit: usize) -> Result<Vec<Job>, LogError> {
    let computed = log.computed(process)?;
    let first = computed.as_ref().map_or(0, |computed| computed.slot + 1);
    let mut end = log.tip(process)?.map_or(0, |tip| tip.slot + 1);
    if let Some(slot) = evidence::disputed_from(log, process)? {
        end = end.min(slot);
    }
    let mut jobs = Vec::new();
    let mut bytes = 0;
    for slot in (first..end).take(limit) {
        let Some(entry) = log.entry(process, slot)? else { break };
        bytes += entry.item.bytes().len();
        if bytes > MAX_JOB_BYTES && !jobs.is_empty() {
            break;
        }
        jobs.push(Job {
            process: *process,
            slot,
            assignment: entry.assignment.id(),
            message: message(log, &entry)?,
            // Known for the first only: the others continue what is recorded before them.
            chain_before: computed.as_ref().map_or_else(|| first_chain(process), |computed| computed.chain),
        });
    }
    Ok(jobs)
}

/// Who a compute unit is when it attests.
pub struct Attestor<'a> {
    /// Hash of the network file.
    pub network: Digest,
    /// The unit's wallet.
    pub signer: &'a dyn Signer,
}

/// Records the outcomes of consecutive jobs that this unit evaluated: outcomes and cursors in one batch. What was
/// evaluated is attested by [`crate::attesting`].
pub fn record(evaluated: Vec<(Job, Outcome)>) -> Batch {
    let mut batch = Batch::new();
    let mut chain = None;
    let mut last = None;
    for (job, outcome) in evaluated {
        let chain_before = chain.unwrap_or(job.chain_before);
        let record = OutcomeRecord { outcome: outcome.bounded(), chain_before, assignment: job.assignment };
        chain = Some(record.chain());
        last = Some((job.process, job.slot));
        batch.push(Write::Outcome { process: job.process, slot: job.slot, record: Box::new(record) });
    }
    if let Some((process, slot)) = last {
        batch.push(Write::Evaluated { process, slot });
    }
    batch
}

/// Why another unit's outcomes are not taken over.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum AdoptError {
    /// They do not start where ours end.
    #[error("outcomes from slot {first} do not continue this node's, which end before slot {next}")]
    Gap {
        /// First slot offered.
        first: u64,
        /// First slot wanted.
        next: u64,
    },
    /// An outcome is not for the assignment that this log has.
    #[error("the outcome of slot {slot} is for another assignment than this log's")]
    Assignment {
        /// Which slot.
        slot: u64,
    },
    /// The process is disputed from a slot on: nothing there is taken for final.
    #[error("the process is disputed from slot {slot} on")]
    Disputed {
        /// The slot that its scheduler gave twice.
        slot: u64,
    },
    /// They do not continue each other, or what this node has.
    #[error("the outcome of slot {slot} does not continue the outcome chain")]
    Chain {
        /// Which slot.
        slot: u64,
    },
    /// They do not add up to what enough units attested.
    #[error("of the outcomes from slot {slot} on, {fit} units attested the same; the process asks for {quorum}")]
    Few {
        /// The first one.
        slot: u64,
        /// How many attestations fit somewhere.
        fit: usize,
        /// How many have to.
        quorum: u32,
    },
}

/// Takes over outcomes that units attested which the process trusts: consecutive ones from the first that this node
/// lacks. Whoever sent them need not be trusted: only those up to which as many of the attestations fit as the process
/// asks for are taken over, and an attestation proves all before it. Also gives the last slot taken over.
///
/// `attestations` are by units that count, each at any slot.
pub fn adopt(
    log: &dyn Log,
    process: &Process,
    records: &[OutcomeRecord],
    first: u64,
    attestations: &[Attestation],
) -> Result<Result<(Batch, u64), AdoptError>, LogError> {
    let id = process.id();
    let computed = log.computed(&id)?;
    let next = computed.as_ref().map_or(0, |computed| computed.slot + 1);
    if first != next || records.is_empty() {
        return Ok(Err(AdoptError::Gap { first, next }));
    }
    let mut chain = computed.map_or_else(|| first_chain(&id), |computed| computed.chain);
    let mut chains = Vec::with_capacity(records.len());
    for (slot, record) in (first..).zip(records) {
        let ours = log.entry(&id, slot)?.map(|entry| entry.assignment.id());
        if ours != Some(record.assignment) {
            return Ok(Err(AdoptError::Assignment { slot }));
        }
        if record.chain_before != chain {
            return Ok(Err(AdoptError::Chain { slot }));
        }
        chain = record.chain();
        chains.push(chain);
    }
    // How far what each unit attested fits.
    let mut fit: BTreeMap<Address, u64> = BTreeMap::new();
    for attestation in attestations {
        let claim = attestation.claim();
        let reached = claim.slot.checked_sub(first).and_then(|after| chains.get(usize::try_from(after).ok()?));
        if claim.process == id && reached == Some(&claim.outcome_chain) {
            let until = fit.entry(attestation.unit()).or_insert(claim.slot);
            *until = claim.slot.max(*until);
        }
    }
    let mut fit: Vec<u64> = fit.into_values().collect();
    fit.sort_unstable_by(|one, other| other.cmp(one));
    let quorum = process.compute_quorum.max(1);
    let Some(last) = fit.get((quorum - 1) as usize).copied() else {
        return Ok(Err(AdoptError::Few { slot: first, fit: fit.len(), quorum }));
    };
    if let Some(slot) = evidence::disputed_from(log, &id)?
        && last >= slot
    {
        return Ok(Err(AdoptError::Disputed { slot }));
    }
    let mut batch = Batch::new();
    for (slot, record) in (first..=last).zip(records) {
        batch.push(Write::Outcome { process: id, slot, record: Box::new(record.clone()) });
    }
    Ok(Ok((batch, last)))
}

/// Whether an attestation by this unit counts for a process, under this network file.
pub fn counts(process: &Process, attestation: &Attestation, trust: &Trust) -> bool {
    attestation.claim().network == trust.network.hash()
        && attestation.claim().format == LUA_FORMAT
        && trust.compute_units(process).contains(&attestation.unit())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::attestation::Claim;
    use crate::item::ItemBuilder;
    use crate::log::{Durability, MemoryLog};
    use crate::network::Network;
    use crate::scheduler::{Moment, Submission, assign};
    use crate::wallet::Wallet;

    fn unit(n: u8) -> Wallet {
        Wallet::ed25519_from_seed([n; 32])
    }

    fn trust(units: &[&Wallet]) -> Trust {
        let compute_units = units.iter().map(|unit| unit.address()).collect();
        let network = Network { open: false, compute_units, ..Network::open("test") };
        Trust { network: Arc::new(network), announced: Vec::new() }
    }

    /// A log with one process of so many slots.
    fn log(slots: u8) -> (MemoryLog, Id) {
        let (log, scheduler) = (MemoryLog::new(), unit(1));
        let spawn = ItemBuilder::new()
            .tag("Data-Protocol", "ao")
            .tag("Type", "Process")
            .tag("Module", Id::from([9; 32]).to_string())
            .tag("Scheduler", scheduler.address().to_string())
            .sign(&unit(2))
            .unwrap();
        let process = spawn.id();
        let message = |n: u8| ItemBuilder::new().target(process).anchor([n; 32]).tag("Type", "Message");
        let messages = (1..slots).map(|n| message(n).tag("Data-Protocol", "ao").sign(&unit(2)).unwrap());
        for item in std::iter::once(spawn).chain(messages) {
            let submission = Submission::new(item, unit(3).address());
            let mut batch = Batch::new();
            let moment = Moment { now_ms: 1, block_height: 0 };
            assign(&log, &mut batch, &submission, moment, &trust(&[]), &scheduler).unwrap().unwrap();
            log.commit(batch, Durability::Synced).unwrap();
        }
        (log, process)
    }

    fn outcome(text: &str) -> Outcome {
        Outcome { output: format!("{text:?}"), ..Outcome::default() }
    }

    /// Evaluates what is next; the outcome of a slot says which slot it is.
    fn compute(log: &MemoryLog, process: &Id, limit: usize) {
        let jobs = next(log, process, limit).unwrap();
        let evaluated = jobs.into_iter().map(|job| (job.clone(), outcome(&job.slot.to_string()))).collect();
        log.commit(record(evaluated), Durability::Relaxed).unwrap();
    }

    fn claim(log: &MemoryLog, process: &Id, slot: u64) -> Claim {
        Claim {
            network: trust(&[]).network.hash(),
            format: LUA_FORMAT.into(),
            process: *process,
            slot,
            assignment: log.entry(process, slot).unwrap().unwrap().assignment.id(),
            outcome_chain: log.outcome(process, slot).unwrap().unwrap().chain(),
            checkpoint: None,
        }
    }

    fn read(log: &MemoryLog, process: &Id) -> Process {
        Process::read(&log.entry(process, 0).unwrap().unwrap().item).unwrap()
    }

    fn records(log: &MemoryLog, process: &Id) -> Vec<OutcomeRecord> {
        (0..).map_while(|slot| log.outcome(process, slot).unwrap()).collect()
    }

    #[test]
    fn slots_are_computed_once_and_in_order_however_they_are_cut() {
        let ((one, process), (other, _)) = (log(5), log(5));
        assert_eq!(next(&one, &process, 3).unwrap().iter().map(|job| job.slot).collect::<Vec<_>>(), [0, 1, 2]);
        compute(&one, &process, 3);
        assert_eq!(one.evaluated(&process).unwrap(), Some(2));
        assert_eq!(next(&one, &process, 9).unwrap().iter().map(|job| job.slot).collect::<Vec<_>>(), [3, 4]);
        compute(&one, &process, 9);
        assert!(next(&one, &process, 9).unwrap().is_empty());
        assert!(record(Vec::new()).is_empty());
        for _ in 0..5 {
            compute(&other, &process, 1);
        }
        assert_eq!(records(&one, &process), records(&other, &process));
        assert_eq!(one.computed(&process).unwrap(), other.computed(&process).unwrap());
    }

    #[test]
    fn what_was_attested_is_taken_over_and_nothing_else() {
        let ((theirs, process), (ours, _)) = (log(4), log(4));
        compute(&theirs, &process, 9);
        let (good, spawn) = (records(&theirs, &process), read(&theirs, &process));
        let attested = [claim(&theirs, &process, 3).sign(&unit(5)).unwrap()];
        let try_with =
            |records: &[OutcomeRecord], first| adopt(&ours, &spawn, records, first, &attested).unwrap().err();

        for slot in 0..4 {
            let mut changed = good.clone();
            changed[slot].outcome = outcome("a lie");
            let expected = match slot {
                3 => AdoptError::Few { slot: 0, fit: 0, quorum: 1 },
                _ => AdoptError::Chain { slot: slot as u64 + 1 },
            };
            assert_eq!(try_with(&changed, 0), Some(expected), "slot {slot}");
        }
        let mut elsewhere = good.clone();
        elsewhere[2].assignment = Id::from([7; 32]);
        assert_eq!(try_with(&elsewhere, 0), Some(AdoptError::Assignment { slot: 2 }));
        let few = AdoptError::Few { slot: 0, fit: 0, quorum: 1 };
        assert_eq!(try_with(&good[..3], 0), Some(few), "the attested slot is not reached");
        assert_eq!(try_with(&good[1..], 1), Some(AdoptError::Gap { first: 1, next: 0 }));
        assert_eq!(try_with(&[], 0), Some(AdoptError::Gap { first: 0, next: 0 }));
        assert_eq!(ours.computed(&process).unwrap(), None);

        let (batch, last) = adopt(&ours, &spawn, &good, 0, &attested).unwrap().unwrap();
        ours.commit(batch, Durability::Relaxed).unwrap();
        assert_eq!((records(&ours, &process), last), (good.clone(), 3));
        assert_eq!(ours.evaluated(&process).unwrap(), None, "this node evaluated nothing");
        assert_eq!(try_with(&good, 0), Some(AdoptError::Gap { first: 0, next: 4 }), "and only once");
    }

    #[test]
    fn as_many_must_agree_as_the_process_asks_for() {
        let ((theirs, process), (ours, _)) = (log(6), log(6));
        compute(&theirs, &process, 9);
        let mut spawn = read(&theirs, &process);
        spawn.compute_quorum = 3;
        let good = records(&theirs, &process);
        let at = |n: u8, slot: u64| claim(&theirs, &process, slot).sign(&unit(n)).unwrap();
        let lie = Claim { outcome_chain: Digest::from([9; 32]), ..claim(&theirs, &process, 5) }.sign(&unit(9)).unwrap();
        let last = |attested: &[Attestation]| {
            let adopted = adopt(&ours, &spawn, &good, 0, attested).unwrap();
            adopted.map(|(batch, last)| (batch.len() as u64, last))
        };
        let few = |fit| Err(AdoptError::Few { slot: 0, fit, quorum: 3 });
        assert_eq!(last(&[at(5, 5), at(6, 5), at(6, 4), lie.clone()]), few(2));
        assert_eq!(last(&[at(5, 5), at(6, 1), at(7, 3), lie.clone()]), Ok((2, 1)), "up to where three agree");
        assert_eq!(last(&[at(5, 5), at(6, 1), at(7, 3), at(8, 4)]), Ok((4, 3)));
        // A unit that attests beyond what is offered agrees with nothing that can be seen.
        let beyond = Claim { slot: 9, ..claim(&theirs, &process, 5) }.sign(&unit(9)).unwrap();
        assert_eq!(last(&[at(5, 5), at(6, 5), beyond]), few(2));
    }

    #[test]
    fn an_attestation_counts_by_a_trusted_unit_of_this_network_only() {
        let (log, process) = log(1);
        compute(&log, &process, 1);
        let (claim, process) = (claim(&log, &process, 0), read(&log, &process));
        let network = trust(&[&unit(5)]);
        let attestation = |network: &Trust, n| {
            let claim = Claim { network: network.network.hash(), ..claim.clone() };
            claim.sign(&unit(n)).unwrap()
        };
        assert!(!counts(&process, &attestation(&trust(&[]), 5), &network), "another network file");
        assert!(counts(&process, &attestation(&network, 5), &network));
        assert!(!counts(&process, &attestation(&network, 6), &network), "another unit");
        let format = Claim { format: "lua-9".into(), network: network.network.hash(), ..claim };
        assert!(!counts(&process, &format.sign(&unit(5)).unwrap(), &network), "another format");
    }
}
