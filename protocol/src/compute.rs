//! The compute unit's rules: which slot is next, what recording an outcome writes, and when another unit's outcomes
//! may be taken over. Evaluating is the driver's; the same log gives the same outcomes on every unit.

use thiserror::Error;

use crate::attestation::{Attestation, Claim};
use crate::entry::Entry;
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

/// What stops a process from being computed further.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Halt {
    /// Two assignments of one slot are known: nothing from there on is computed, delivered or called final.
    Disputed {
        /// The slot that its scheduler gave twice.
        slot: u64,
    },
}

/// The next slots to evaluate, in order, at most `limit`; empty when all are.
pub fn next(log: &dyn Log, process: &Id, limit: usize) -> Result<Vec<Job>, LogError> {
    let computed = log.computed(process)?;
    let first = computed.as_ref().map_or(0, |computed| computed.slot + 1);
    let mut end = log.tip(process)?.map_or(0, |tip| tip.slot + 1);
    if let Some(Halt::Disputed { slot }) = halt(log, process)? {
        end = end.min(slot);
    }
    let mut jobs = Vec::new();
    for slot in (first..end).take(limit) {
        let Some(entry) = log.entry(process, slot)? else { break };
        jobs.push(Job {
            process: *process,
            slot,
            assignment: entry.assignment.id(),
            message: Message::of(&entry),
            // Known for the first only: the others continue what is recorded before them.
            chain_before: computed.as_ref().map_or_else(|| first_chain(process), |computed| computed.chain),
        });
    }
    Ok(jobs)
}

/// Why a process does not go on, if it does not.
pub fn halt(log: &dyn Log, process: &Id) -> Result<Option<Halt>, LogError> {
    let Some((entry, _)) = log.evidence(process)? else { return Ok(None) };
    let slot = Entry::from_own_store(&entry).map(|entry| entry.slot()).unwrap_or(0);
    Ok(Some(Halt::Disputed { slot }))
}

/// Who a compute unit is when it attests.
pub struct Attestor<'a> {
    /// Hash of the network file.
    pub network: Digest,
    /// The unit's wallet.
    pub signer: &'a dyn Signer,
}

/// Records the outcomes of consecutive jobs: outcomes, cursor and one attestation for all in one batch.
pub fn record(
    evaluated: Vec<(Job, Outcome)>,
    attestor: &Attestor<'_>,
) -> Result<(Batch, Option<Attestation>), WalletError> {
    let mut batch = Batch::new();
    let mut chain = None;
    let mut last = None;
    for (job, outcome) in evaluated {
        let chain_before = chain.unwrap_or(job.chain_before);
        let record = OutcomeRecord { outcome: outcome.bounded(), chain_before, assignment: job.assignment };
        let after = record.chain();
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
    Ok((batch, Some(attestation)))
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
