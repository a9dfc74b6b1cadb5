//! A sample for tests of rules: a process with some slots, the units that it trusts, and what they say of it.

use std::sync::Arc;

use crate::agreement::computed_at;
use crate::attestation::{Attestation, Claim, Seen};
use crate::compute;
use crate::id::{Address, Digest, Id};
use crate::item::{ItemBuilder, VerifiedItem};
use crate::log::{Batch, Durability, Log, MemoryLog, Write};
use crate::module::LUA_FORMAT;
use crate::network::Network;
use crate::outcome::Outcome;
use crate::process::Process;
use crate::scheduler::{Moment, Submission, assign};
use crate::trust::Trust;
use crate::wallet::{Signer, Wallet};

/// The numbers of the compute units that the network names.
pub(crate) const UNITS: [u8; 5] = [11, 12, 13, 14, 15];
/// The number of the scheduler, and of the messenger.
pub(crate) const SCHEDULER: u8 = 1;
pub(crate) const MESSENGER: u8 = 3;

pub(crate) fn unit(n: u8) -> Wallet {
    Wallet::ed25519_from_seed([n; 32])
}

/// One node's log with one process.
pub(crate) struct Sample {
    pub(crate) log: MemoryLog,
    pub(crate) process: Process,
    pub(crate) trust: Trust,
}

impl Sample {
    /// A process that asks for so many units to agree, with so many slots.
    pub(crate) fn new(quorum: u32, slots: u8) -> Sample {
        let addresses = |numbers: &[u8]| numbers.iter().map(|n| unit(*n).address()).collect::<Vec<Address>>();
        let network = Network {
            open: false,
            compute_units: addresses(&UNITS),
            messengers: addresses(&[MESSENGER]),
            ..Network::open("test")
        };
        let spawn = ItemBuilder::new()
            .tag("Data-Protocol", "ao")
            .tag("Type", "Process")
            .tag("Module", Id::from([9; 32]).to_string())
            .tag("Scheduler", unit(SCHEDULER).address().to_string())
            .tag("Compute-Quorum", quorum.to_string())
            .sign(&unit(2))
            .unwrap();
        let process = Process::read(&spawn).unwrap();
        let trust = Trust { network: Arc::new(network), announced: Vec::new() };
        let sample = Sample { log: MemoryLog::new(), process, trust };
        sample.schedule(spawn);
        (1..slots).for_each(|n| sample.message(n));
        sample
    }

    /// A further slot, with message number n.
    pub(crate) fn message(&self, n: u8) {
        let message = ItemBuilder::new().target(self.id()).anchor([n; 32]).tag("Type", "Message");
        self.schedule(message.tag("Data-Protocol", "ao").sign(&unit(2)).unwrap());
    }

    pub(crate) fn id(&self) -> Id {
        self.process.id()
    }

    fn schedule(&self, item: VerifiedItem) {
        let (submission, mut batch) = (Submission::new(item, unit(MESSENGER).address()), Batch::new());
        let moment = Moment { now_ms: 1, block_height: 0 };
        assign(&self.log, &mut batch, &submission, moment, &self.trust, &unit(SCHEDULER)).unwrap().unwrap();
        self.log.commit(batch, Durability::Synced).unwrap();
    }

    /// Evaluates what is next, at most so many slots.
    pub(crate) fn compute(&self, limit: usize, outcome: impl Fn(u64) -> Outcome) {
        let jobs = compute::next(&self.log, &self.id(), limit).unwrap();
        let evaluated = jobs.into_iter().map(|job| (job.clone(), outcome(job.slot))).collect();
        self.log.commit(compute::record(evaluated), Durability::Relaxed).unwrap();
    }

    /// What is true of a slot.
    pub(crate) fn claim(&self, slot: u64) -> Claim {
        Claim {
            network: self.trust.network.hash(),
            format: LUA_FORMAT.into(),
            process: self.id(),
            slot,
            assignment: self
                .log
                .entry(&self.id(), slot)
                .unwrap()
                .map_or(Id::from([0; 32]), |entry| entry.assignment.id()),
            outcome_chain: computed_at(&self.log, &self.id(), slot)
                .unwrap()
                .map_or(Digest::from([0; 32]), |at| at.chain),
            checkpoint: None,
        }
    }

    /// A unit says the truth.
    pub(crate) fn truth(&self, n: u8, slot: u64) -> Attestation {
        self.claim(slot).sign(&unit(n)).unwrap()
    }

    /// A unit lies.
    pub(crate) fn lie(&self, n: u8, slot: u64) -> Attestation {
        Claim { outcome_chain: Digest::from([0xee; 32]), ..self.claim(slot) }.sign(&unit(n)).unwrap()
    }

    /// An attestation came in then.
    pub(crate) fn hear(&self, attestation: Attestation, seen_ms: u64, committed_ms: Option<u64>) {
        let mut batch = Batch::new();
        batch.push(Write::Attestation(Box::new(Seen { attestation, seen_ms, committed_ms })));
        self.log.commit(batch, Durability::Relaxed).unwrap();
    }
}

/// An outcome that says which slot it is of.
pub(crate) fn plain(slot: u64) -> Outcome {
    Outcome { output: format!("\"{slot}\""), ..Outcome::default() }
}
