//! States from Arweave: the newest that is whole and attested, so that a rebuilt node need not evaluate all of the log.
//! Whether enough units attested it, the node decides that computes: it knows whom the process trusts.

use std::collections::BTreeMap;

use ao_protocol::attestation::Attestation;
use ao_protocol::checkpoint::{self, MIN_SKIPPED_SLOTS};
use ao_protocol::id::{Address, Id};
use ao_protocol::log::{Batch, Durability, Log, LogError};
use ao_protocol::mirror::checkpoint::{Collected, LOG_CHECKPOINT, claimed_checkpoint};

use super::fetch::{Fetched, Opened, fetch};
use super::{Restore, find};
use crate::vm::Snapshot;

/// Most states of a process that are tried, and transactions of each.
const MAX_TRIED: usize = 8;
const MAX_PARTS: usize = 256;

impl Restore {
    /// Takes the newest state of a process whose log is here. That none comes is no failure: all can be evaluated.
    pub(super) async fn take_checkpoint(&mut self, process: &Id) -> Result<(), LogError> {
        let Some(tip) = self.log.tip(process)? else { return Ok(()) };
        let least = self.log.computed(process)?.map_or(0, |computed| computed.slot + 1) + MIN_SKIPPED_SLOTS;
        let Ok(all) = find::all(&self.gateway, LOG_CHECKPOINT, ("Process", &process.to_string())).await else {
            return Ok(());
        };
        let mut found: BTreeMap<u64, Vec<Id>> = BTreeMap::new();
        for one in all {
            if let Some(slot) = claimed_checkpoint(&one.tags).filter(|slot| (least..=tip.slot).contains(slot)) {
                found.entry(slot).or_default().push(one.id);
            }
        }
        for (slot, containers) in found.into_iter().rev().take(MAX_TRIED) {
            let mut collected = Collected::default();
            for id in containers.iter().take(MAX_PARTS) {
                if let Ok(Fetched::Opened(Opened { contents, bytes, .. })) = fetch(&self.gateway, id).await {
                    self.report.bytes += bytes;
                    collected.take((*process, slot), &contents.into_items());
                }
            }
            // Where the process itself says whose word counts, that can be looked at here.
            let read = self.log.process(process)?;
            let named = read.as_ref().map_or(&[][..], |read| &read.compute_authorities[..]);
            let quorum = read.as_ref().map_or(1, |read| read.compute_quorum as usize);
            let counts = |attestations: &[Attestation]| {
                named.is_empty() || named.iter().filter(|unit| attested_by(attestations, unit)).count() >= quorum
            };
            let ours = self.log.entry(process, slot)?.map(|entry| entry.assignment.id());
            let whole = collected.finish(process, slot, counts);
            let Some((about, bytes)) = whole.filter(|(about, _)| Some(about.record.assignment) == ours) else {
                let cause = format!("the state of {process} after slot {slot} is not whole, or not what was attested");
                containers.first().into_iter().for_each(|id| self.refuse(*id, cause.clone()));
                continue;
            };
            self.log.keep_restored_checkpoint(process, &Snapshot { slot, bytes }, &about.record)?;
            let mut batch = Batch::new();
            for attestation in &about.attestations {
                checkpoint::take(&*self.log, &mut batch, attestation)?;
            }
            self.log.commit(batch, Durability::Relaxed)?;
            self.report.checkpoints.insert(*process, slot);
            break;
        }
        Ok(())
    }
}

fn attested_by(attestations: &[Attestation], unit: &Address) -> bool {
    attestations.iter().any(|attestation| attestation.unit() == *unit)
}
