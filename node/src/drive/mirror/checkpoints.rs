//! States of processes on Arweave, now and then: who rebuilds a log from there need not evaluate all of it.

use ao_protocol::checkpoint::{self, MIN_SKIPPED_SLOTS, Manifest};
use ao_protocol::id::Id;
use ao_protocol::log::{Log, LogError};
use ao_protocol::mirror::checkpoint::{About, MAX_MIRRORED_ATTESTATIONS, write};
use ao_protocol::outcome::OutcomeRecord;
use tracing::{debug, info};

use super::super::compute::{Fetched, fetch_checkpoint};
use super::{Failure, Mirror};
use crate::arweave::Terms;
use crate::net::PeerId;
use crate::vm::Snapshot;

/// Largest state that is mirrored, in bytes: anybody can make slots, and it is paid for.
pub const MAX_MIRRORED_STATE_BYTES: usize = 64 * 1024 * 1024;

impl Mirror {
    /// Whether so many slots were mirrored since the last checkpoint.
    pub(super) fn is_checkpoint_due(&self, process: &Id) -> Result<bool, LogError> {
        let Some(from) = self.next_checkpoint(process)? else { return Ok(false) };
        Ok(self.world.log().mirrored(process)? > from)
    }

    /// The first slot whose state is worth mirroring; none if no state is.
    fn next_checkpoint(&self, process: &Id) -> Result<Option<u64>, LogError> {
        let Some(slots) = self.settings.checkpoint_slots else { return Ok(None) };
        let last = self.world.log().mirrored_checkpoint(process)?;
        // Slots may have been taken back since.
        let tip = self.world.log().tip(process)?.map_or(0, |tip| tip.slot);
        let last = last.filter(|last| *last <= tip);
        Ok(Some(last.map_or(MIN_SKIPPED_SLOTS.max(slots), |last| last.saturating_add(slots))))
    }

    /// Makes the bundles of the newest state that is attested and whose log is in bundles; their numbers.
    pub(super) async fn make_checkpoint(&self, process: &Id) -> Result<Vec<u64>, Failure> {
        let Some((snapshot, record)) = self.newest_state(process).await? else {
            debug!(%process, "no state of it is attested that could be mirrored");
            return Ok(Vec::new());
        };
        let (log, slot) = (self.world.log(), snapshot.slot);
        if snapshot.bytes.len() > MAX_MIRRORED_STATE_BYTES {
            debug!(%process, slot, bytes = snapshot.bytes.len(), "its state is too large to be mirrored");
            return Ok(Vec::new());
        }
        let manifest = Manifest::of(&snapshot.bytes);
        let mut attestations = log.checkpoints(process, slot)?;
        attestations.retain(|attestation| {
            let claim = attestation.claim();
            let state = (claim.checkpoint, claim.assignment, claim.outcome_chain);
            state == (Some(manifest.hash()), record.assignment, record.chain())
        });
        // First those whose word counts.
        if let Some(read) = log.process(process)? {
            let units = self.world.trust().compute_units(&read);
            attestations.sort_by_key(|attestation| !units.contains(&attestation.unit()));
        }
        attestations.truncate(MAX_MIRRORED_ATTESTATIONS);
        if attestations.is_empty() {
            return Ok(Vec::new());
        }
        let about = About { manifest, record, attestations };
        let (mirror, place, most) = (self.clone(), (*process, slot), self.settings.batch_bytes);
        let made = tokio::task::spawn_blocking(move || {
            write(place, &about, &snapshot.bytes, most, &*mirror.settings.wallet)
                .map_err(|cause| LogError::Database(format!("a checkpoint can't be signed: {cause}")))
        });
        // It can't be joined when the node is stopping.
        let Ok(made) = made.await else { return Ok(Vec::new()) };
        let (bundles, tags) = made?;
        let mut terms = Vec::with_capacity(bundles.len());
        for data in &bundles {
            terms.push(self.settings.terms(data.len()).await?);
        }
        let (mirror, id) = (self.clone(), *process);
        let kept = tokio::task::spawn_blocking(move || {
            let height = terms.iter().map(|terms| terms.height).min().unwrap_or(0);
            let sign = |(data, terms): (Vec<u8>, Terms)| Ok((mirror.settings.sign(&data, tags.clone(), terms)?, data));
            let signed = bundles.into_iter().zip(terms).map(sign).collect::<Result<Vec<_>, LogError>>()?;
            mirror.world.log().keep_checkpoint_bundles(&id, slot, &signed, height)
        });
        let numbers = kept.await.unwrap_or(Ok(Vec::new()))?;
        info!(%process, slot, bundles = numbers.len(), "a checkpoint is mirrored");
        Ok(numbers)
    }

    /// The newest state that this node made, or that enough units attested and some peer has.
    async fn newest_state(&self, process: &Id) -> Result<Option<(Snapshot, OutcomeRecord)>, LogError> {
        let (world, log) = (&self.world, self.world.log());
        let Some(from) = self.next_checkpoint(process)? else { return Ok(None) };
        let mirrored = log.mirrored(process)?;
        for place in log.snapshots(process)?.into_iter().filter(|place| !place.at_pause) {
            if (from..mirrored).contains(&place.slot)
                && !log.checkpoints(process, place.slot)?.is_empty()
                && let (Some(snapshot), Some(record)) =
                    (log.snapshot(process, place.slot)?, log.outcome(process, place.slot)?)
            {
                return Ok(Some((snapshot, record)));
            }
        }
        let Some(read) = log.process(process)? else { return Ok(None) };
        for certified in checkpoint::certified(log, &read, &world.trust(), &world.address(), from)? {
            if certified.slot >= mirrored {
                continue;
            }
            let directory = world.net().directory();
            let makers: Vec<PeerId> =
                certified.units.iter().filter_map(|unit| directory.unit(unit)).map(|unit| unit.peer).collect();
            for peer in makers {
                if let Fetched::Whole(whole) = fetch_checkpoint(world, process, &certified, &peer).await {
                    let (_, record, snapshot) = *whole;
                    return Ok(Some((snapshot, record)));
                }
            }
        }
        Ok(None)
    }
}
