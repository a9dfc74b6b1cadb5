//! The compute unit's rules: which slot is next, what recording an outcome writes, and when another unit's outcomes
//! may be taken over. Evaluating is the driver's; the same log gives the same outcomes on every unit.

use thiserror::Error;

use crate::attestation::{Attestation, Claim};
use crate::attested::{Attested, MAX_HANDED_BYTES};
use crate::cron;
use crate::entry::Entry;
use crate::evidence;
use crate::id::{Digest, Id};
use crate::log::{Batch, Log, LogError, Write};
use crate::message::Message;
use crate::module::LUA_FORMAT;
use crate::outcome::{Outcome, OutcomeRecord, first_chain};
use crate::process::Process;
use crate::trust::Trust;
use crate::wallet::{Signer, WalletError};

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
    let Some(firing) = &entry.assignment.statement.cron else { return Ok(Message::of(entry)) };
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

/// Records the outcomes of consecutive jobs: outcomes, cursor and one attestation for all in one batch. Nothing is
/// attested when there is no job.
pub fn record(
    evaluated: Vec<(Job, Outcome)>,
    attestor: &Attestor<'_>,
) -> Result<(Batch, Option<Attested>), WalletError> {
    let mut batch = Batch::new();
    let mut chain = None;
    let mut last = None;
    let mut records: Vec<OutcomeRecord> = Vec::new();
    let mut bytes = 0;
    for (job, outcome) in evaluated {
        let chain_before = chain.unwrap_or(job.chain_before);
        let record = OutcomeRecord { outcome: outcome.bounded(), chain_before, assignment: job.assignment };
        let after = record.chain();
        bytes += record.outcome.len();
        if bytes <= MAX_HANDED_BYTES {
            records.push(record.clone());
        }
        batch.push(Write::Outcome { process: job.process, slot: job.slot, record: Box::new(record) });
        chain = Some(after);
        last = Some((job, after));
    }
    let Some((job, outcome_chain)) = last else { return Ok((batch, None)) };
    let claim = Claim {
        network: attestor.network,
        format: LUA_FORMAT.to_string(),
        process: job.process,
        slot: job.slot,
        assignment: job.assignment,
        outcome_chain,
        checkpoint: None,
    };
    let attestation = claim.sign(attestor.signer)?;
    batch.push(Write::Attestation(Box::new(attestation.clone())));
    if bytes > MAX_HANDED_BYTES {
        records.clear();
    }
    Ok((batch, Some(Attested::new(attestation, records))))
}

/// Why another unit's outcomes are not taken over.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum AdoptError {
    /// They do not start where ours end, or do not reach the attested slot.
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
    /// They do not add up to what was attested.
    #[error("the outcomes up to slot {slot} do not add up to what {unit} attested")]
    Chain {
        /// The attested slot.
        slot: u64,
        /// The unit, as text.
        unit: String,
    },
}

/// Takes over outcomes that a trusted unit attested: consecutive ones from the first that this node lacks up to the
/// attested slot. Whoever sent them need not be trusted; the attestation proves each of them.
pub fn adopt(
    log: &dyn Log,
    records: &[OutcomeRecord],
    first: u64,
    attestation: &Attestation,
) -> Result<Result<Batch, AdoptError>, LogError> {
    let claim = attestation.claim();
    let computed = log.computed(&claim.process)?;
    let next = computed.as_ref().map_or(0, |computed| computed.slot + 1);
    let count = claim.slot.checked_sub(first).map(|count| count + 1);
    if first != next || count != Some(records.len() as u64) {
        return Ok(Err(AdoptError::Gap { first, next }));
    }
    if let Some(slot) = evidence::disputed_from(log, &claim.process)?
        && claim.slot >= slot
    {
        return Ok(Err(AdoptError::Disputed { slot }));
    }
    let mut chain = computed.map_or_else(|| first_chain(&claim.process), |computed| computed.chain);
    let mut batch = Batch::new();
    for (slot, record) in (first..).zip(records) {
        let ours = log.entry(&claim.process, slot)?.map(|entry| entry.assignment.id());
        if ours != Some(record.assignment) {
            return Ok(Err(AdoptError::Assignment { slot }));
        }
        if record.chain_before != chain {
            return Ok(Err(AdoptError::Chain { slot: claim.slot, unit: attestation.unit().to_string() }));
        }
        chain = record.chain();
        batch.push(Write::Outcome { process: claim.process, slot, record: Box::new(record.clone()) });
    }
    if chain != claim.outcome_chain {
        return Ok(Err(AdoptError::Chain { slot: claim.slot, unit: attestation.unit().to_string() }));
    }
    Ok(Ok(batch))
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
            let submission = Submission { item, messenger: unit(3).address() };
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
    fn compute(log: &MemoryLog, process: &Id, limit: usize, unit: &Wallet) -> Option<Attestation> {
        let jobs = next(log, process, limit).unwrap();
        let evaluated = jobs.into_iter().map(|job| (job.clone(), outcome(&job.slot.to_string()))).collect();
        let attestor = Attestor { network: trust(&[]).network.hash(), signer: unit };
        let (batch, attested) = record(evaluated, &attestor).unwrap();
        log.commit(batch, Durability::Relaxed).unwrap();
        attested.map(|attested| attested.attestation().clone())
    }

    fn records(log: &MemoryLog, process: &Id) -> Vec<OutcomeRecord> {
        (0..).map_while(|slot| log.outcome(process, slot).unwrap()).collect()
    }

    #[test]
    fn slots_are_computed_once_and_in_order_however_they_are_cut() {
        let ((one, process), (other, _)) = (log(5), log(5));
        assert_eq!(next(&one, &process, 3).unwrap().iter().map(|job| job.slot).collect::<Vec<_>>(), [0, 1, 2]);
        compute(&one, &process, 3, &unit(5));
        assert_eq!(next(&one, &process, 9).unwrap().iter().map(|job| job.slot).collect::<Vec<_>>(), [3, 4]);
        compute(&one, &process, 9, &unit(5));
        assert!(next(&one, &process, 9).unwrap().is_empty());
        assert_eq!(compute(&one, &process, 9, &unit(5)), None, "nothing new, nothing attested");
        for _ in 0..5 {
            compute(&other, &process, 1, &unit(6));
        }
        assert_eq!(records(&one, &process), records(&other, &process));
        assert_eq!(one.computed(&process).unwrap(), other.computed(&process).unwrap());
    }

    #[test]
    fn what_was_attested_is_taken_over_and_nothing_else() {
        let ((theirs, process), (ours, _)) = (log(4), log(4));
        let attestation = compute(&theirs, &process, 9, &unit(5)).unwrap();
        let good = records(&theirs, &process);
        let try_with = |records: &[OutcomeRecord], first| adopt(&ours, records, first, &attestation).unwrap().err();

        let chain = Some(AdoptError::Chain { slot: 3, unit: attestation.unit().to_string() });
        for slot in 0..4 {
            let mut changed = good.clone();
            changed[slot].outcome = outcome("a lie");
            assert_eq!(try_with(&changed, 0), chain, "slot {slot}");
        }
        let mut elsewhere = good.clone();
        elsewhere[2].assignment = Id::from([7; 32]);
        assert_eq!(try_with(&elsewhere, 0), Some(AdoptError::Assignment { slot: 2 }));
        assert_eq!(try_with(&good[..3], 0), Some(AdoptError::Gap { first: 0, next: 0 }));
        assert_eq!(try_with(&good[1..], 1), Some(AdoptError::Gap { first: 1, next: 0 }));
        assert_eq!(try_with(&[], 5), Some(AdoptError::Gap { first: 5, next: 0 }));
        assert_eq!(ours.computed(&process).unwrap(), None);

        let batch = adopt(&ours, &good, 0, &attestation).unwrap().unwrap();
        ours.commit(batch, Durability::Relaxed).unwrap();
        assert_eq!(records(&ours, &process), good);
        assert_eq!(try_with(&good, 0), Some(AdoptError::Gap { first: 0, next: 4 }), "and only once");
    }

    #[test]
    fn an_attestation_counts_by_a_trusted_unit_of_this_network_only() {
        let (log, process) = log(1);
        let attestation = compute(&log, &process, 1, &unit(5)).unwrap();
        let process = Process::read(&log.entry(&process, 0).unwrap().unwrap().item).unwrap();
        // The attestation was made under the network file of nobody.
        assert!(!counts(&process, &attestation, &trust(&[&unit(5)])), "another network file");
        let network = trust(&[&unit(5)]);
        let attestor = Attestor { network: network.network.hash(), signer: &unit(5) };
        let claim = Claim { network: attestor.network, ..attestation.claim().clone() };
        assert!(counts(&process, &claim.clone().sign(&unit(5)).unwrap(), &network));
        assert!(!counts(&process, &claim.clone().sign(&unit(6)).unwrap(), &network), "another unit");
        let format = Claim { format: "lua-9".into(), ..claim };
        assert!(!counts(&process, &format.sign(&unit(5)).unwrap(), &network), "another format");
    }
}
