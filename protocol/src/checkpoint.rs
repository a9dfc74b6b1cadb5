//! Checkpoints: the state of a process at a slot after which every compute unit rebuilds it from its own snapshot.
//! Units attest its hash there, so who joins can begin with the state instead of evaluating every slot before it.
//! Whoever sends it need not be trusted: its pieces are checked one by one against the manifest that the hash is of.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::agreement::{computed_at, counted, next_attestation};
use crate::attestation::{Attestation, Seen};
use crate::compute::counts;
use crate::dissent::{self, Perjury, Taken};
use crate::entry::Entry;
use crate::id::{Address, Digest, Id};
use crate::log::{Batch, Log, LogError, Write};
use crate::outcome::OutcomeRecord;
use crate::process::Process;
use crate::trust::Trust;

/// Bytes of a piece of a snapshot; the last one may be shorter.
pub const PIECE_BYTES: usize = 1024 * 1024;
/// Most pieces of one.
pub const MAX_PIECES: usize = 2048;
/// A unit that lacks fewer slots than this evaluates them; no checkpoint is asked for.
pub const MIN_SKIPPED_SLOTS: u64 = 256;
/// Most checkpoints of one unit that are sent, and that are tried, the newest.
pub const MAX_CHECKPOINT_SLOTS: usize = 8;
/// Most slots of which some unit attested the state that are looked at for them.
const MAX_LOOKED_AT: usize = 256;

/// What a snapshot consists of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    bytes: u64,
    pieces: Vec<Digest>,
}

fn digest(bytes: &[u8]) -> Digest {
    Digest::from(*blake3::hash(bytes).as_bytes())
}

impl Manifest {
    /// Of a whole snapshot.
    pub fn of(snapshot: &[u8]) -> Manifest {
        Manifest { bytes: snapshot.len() as u64, pieces: snapshot.chunks(PIECE_BYTES).map(digest).collect() }
    }

    /// The checkpoint's hash, which units attest.
    pub fn hash(&self) -> Digest {
        let mut hasher = blake3::Hasher::new_derive_key("ao-node 2026 manifest of a checkpoint");
        hasher.update(&self.bytes.to_le_bytes());
        for piece in &self.pieces {
            hasher.update(piece.as_ref());
        }
        Digest::from(*hasher.finalize().as_bytes())
    }

    /// Bytes of the snapshot.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// How many pieces it has; none when it is not one of a snapshot that can be.
    pub fn pieces(&self) -> Option<u32> {
        let count = self.bytes.div_ceil(PIECE_BYTES as u64);
        let sound = count == self.pieces.len() as u64 && self.pieces.len() <= MAX_PIECES;
        u32::try_from(count).ok().filter(|_| sound)
    }

    /// The hash of a piece.
    pub fn piece_digest(&self, number: u32) -> Option<Digest> {
        self.pieces.get(number as usize).copied()
    }

    /// The hash of bytes as pieces are hashed.
    pub fn digest_of(piece: &[u8]) -> Digest {
        digest(piece)
    }

    /// Whether these are the bytes of a piece.
    pub fn is_piece(&self, number: u32, bytes: &[u8]) -> bool {
        let left = self.bytes.saturating_sub(u64::from(number) * PIECE_BYTES as u64);
        bytes.len() as u64 == left.min(PIECE_BYTES as u64) && self.pieces.get(number as usize) == Some(&digest(bytes))
    }
}

/// Whether a unit attested the checkpoint of a slot.
pub(crate) fn attested_by(log: &dyn Log, process: &Id, slot: u64, unit: &Address) -> Result<bool, LogError> {
    Ok(log.checkpoints(process, slot)?.iter().any(|attestation| attestation.unit() == *unit))
}

/// The newest attestations of states, at most [`MAX_CHECKPOINT_SLOTS`] of each unit, for who joins.
pub fn newest(log: &dyn Log, process: &Id) -> Result<Vec<Attestation>, LogError> {
    let mut sent: BTreeMap<Address, usize> = BTreeMap::new();
    let (mut newest, mut until) = (Vec::new(), Some(u64::MAX));
    for _ in 0..MAX_LOOKED_AT {
        let Some(slot) = until.map(|until| log.last_checkpoint(process, until)).transpose()?.flatten() else { break };
        for attestation in log.checkpoints(process, slot)? {
            let count = sent.entry(attestation.unit()).or_default();
            *count += 1;
            if *count <= MAX_CHECKPOINT_SLOTS {
                newest.push(attestation);
            }
        }
        until = slot.checked_sub(1);
    }
    Ok(newest)
}

/// Adds a verified attestation of a checkpoint to the batch, or the proof that its unit lies.
pub fn take(log: &dyn Log, batch: &mut Batch, attestation: &Attestation) -> Result<Taken, LogError> {
    let (claim, unit) = (attestation.claim(), attestation.unit());
    let before = log.checkpoints(&claim.process, claim.slot)?.into_iter().find(|before| before.unit() == unit);
    let also = log.attestation(&claim.process, &unit, claim.slot)?.map(|Seen { attestation, .. }| attestation);
    if let Some(other) = before.iter().chain(&also).find(|other| other.claim().contradicts(claim)) {
        if log.perjury(&unit)?.is_some() {
            return Ok(Taken::Known);
        }
        let perjury = Perjury { one: other.to_bytes(), other: attestation.to_bytes() };
        batch.push(Write::Perjury { unit, perjury: Box::new(perjury.clone()) });
        return Ok(Taken::Perjury(Box::new(perjury)));
    }
    // Of two about two branches the newer one stays.
    if before.is_some_and(|before| before.claim() == claim) {
        return Ok(Taken::Known);
    }
    batch.push(Write::Checkpoint(Box::new(attestation.clone())));
    Ok(Taken::New)
}

/// Whether an attested checkpoint is another than this node's own at that slot; then it adds what is known of it.
pub fn judge(log: &dyn Log, batch: &mut Batch, attestation: &Attestation, now_ms: u64) -> Result<bool, LogError> {
    let claim = attestation.claim();
    let known = computed_at(log, &claim.process, claim.slot)?;
    let (Some(known), Some(own), Some(theirs)) = (known, log.rebuilt(&claim.process, claim.slot)?, claim.checkpoint)
    else {
        return Ok(false);
    };
    if known.assignment != claim.assignment || own == theirs {
        return Ok(false);
    }
    batch.push(Write::Dissent(Box::new(dissent::Dissent {
        process: claim.process,
        unit: attestation.unit(),
        slot: claim.slot,
        attestation: attestation.to_bytes(),
        right: own,
        found_ms: now_ms,
    })));
    Ok(true)
}

/// A checkpoint that enough units attested.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certified {
    /// The slot after which it is the state.
    pub slot: u64,
    /// The assignment in that slot.
    pub assignment: Id,
    /// The outcome chain after it.
    pub chain: Digest,
    /// The hash of its manifest.
    pub hash: Digest,
    /// Who attested it.
    pub units: Vec<Address>,
}

/// Who begins with a state vouches for it from then on: not by a single unit's word where there are others.
const LEAST_UNITS: usize = 2;

/// The checkpoints at `from` or later that as many units attested as the process asks for, and more than half of those
/// that attested anything as far as that; the newest first. `own` is the unit that asks, whose own word counts for
/// nothing here.
pub fn certified(
    log: &dyn Log,
    process: &Process,
    trust: &Trust,
    own: &Address,
    from: u64,
) -> Result<Vec<Certified>, LogError> {
    let (id, mut counted) = (process.id(), counted(log, process, trust)?);
    counted.retain(|unit| unit != own);
    let least = LEAST_UNITS.min(counted.len()).max(process.compute_quorum as usize).max(1);
    let mut certified = Vec::new();
    let mut until = u64::MAX;
    for _ in 0..MAX_LOOKED_AT {
        let Some(slot) = log.last_checkpoint(&id, until)?.filter(|slot| *slot >= from) else { break };
        let mut said: BTreeMap<(Id, Digest, Digest), Vec<Address>> = BTreeMap::new();
        for attestation in log.checkpoints(&id, slot)? {
            let claim = attestation.claim();
            if let Some(hash) = claim.checkpoint
                && counts(process, &attestation, trust)
                && counted.contains(&attestation.unit())
            {
                let what = (claim.assignment, claim.outcome_chain, hash);
                said.entry(what).or_default().push(attestation.unit());
            }
        }
        // Everybody who came as far could say so, and those who say nothing of the state count against it.
        let mut came = 0;
        for unit in &counted {
            let attested = next_attestation(log, &id, unit, slot)?.is_some();
            came += usize::from(attested || said.values().any(|units| units.contains(unit)));
        }
        let most = said.into_iter().max_by_key(|(_, units)| units.len());
        if let Some(((assignment, chain, hash), units)) = most
            && units.len() >= least
            && 2 * units.len() > came
        {
            certified.push(Certified { slot, assignment, chain, hash, units });
        }
        let Some(below) = slot.checked_sub(1).filter(|_| certified.len() < MAX_CHECKPOINT_SLOTS) else { break };
        until = below;
    }
    Ok(certified)
}

/// Begins with a certified checkpoint: the log goes on behind its slot, and what is missing before it is filled in
/// later; see [`crate::backfill`]. `entry` and `record` are the slot's, verified in themselves. None when they are not
/// what was certified, or the log is there already, or has a gap from an earlier time.
pub fn begin_with(
    log: &dyn Log,
    process: &Process,
    certified: &Certified,
    entry: Entry,
    record: OutcomeRecord,
) -> Result<Option<Batch>, LogError> {
    let (id, slot) = (process.id(), certified.slot);
    let computed = log.computed(&id)?.map(|computed| computed.slot);
    let ours = log.entry(&id, slot)?.map(|ours| ours.assignment.id());
    let right = (entry.process(), entry.slot(), entry.assignment.id()) == (id, slot, certified.assignment)
        && entry.assignment.item.address() == process.scheduler_at(slot)
        && entry.assignment.statement.epoch == process.epoch_at(slot)
        && ours.is_none_or(|ours| ours == certified.assignment)
        && (record.assignment, record.chain()) == (certified.assignment, certified.chain);
    // Where nothing is missing between, it has to continue what is here.
    let continues = match log.tip(&id)? {
        Some(tip) if tip.slot + 1 == slot => tip.next_link == entry.assignment.statement.hash_chain,
        _ => true,
    };
    let wanted = slot > 0 && computed < Some(slot) && log.hole(&id)?.is_none() && log.tip(&id)?.is_some();
    let disputed = crate::evidence::disputed_from(log, &id)?.is_some();
    if !right || !continues || !wanted || disputed {
        return Ok(None);
    }
    let mut batch = Batch::new();
    batch.push(Write::Begin { entry: Box::new(entry), record: Box::new(record) });
    Ok(Some(batch))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attestation::Claim;
    use crate::log::Durability;
    use crate::sample::{Sample, UNITS, plain, unit};

    fn point(sample: &Sample, n: u8, slot: u64, hash: u8) -> Attestation {
        Claim { checkpoint: Some(Digest::from([hash; 32])), ..sample.claim(slot) }.sign(&unit(n)).unwrap()
    }

    fn hear(sample: &Sample, attestation: &Attestation) -> Taken {
        let mut batch = Batch::new();
        let taken = take(&sample.log, &mut batch, attestation).unwrap();
        sample.log.commit(batch, Durability::Relaxed).unwrap();
        taken
    }

    #[test]
    fn pieces_are_what_the_hash_is_of() {
        let snapshot: Vec<u8> = (0..PIECE_BYTES + 5).map(|n| (n % 251) as u8).collect();
        let manifest = Manifest::of(&snapshot);
        assert_eq!(manifest.pieces(), Some(2));
        assert!(manifest.is_piece(0, &snapshot[..PIECE_BYTES]) && manifest.is_piece(1, &snapshot[PIECE_BYTES..]));
        assert!(!manifest.is_piece(1, &snapshot[..PIECE_BYTES]) && !manifest.is_piece(2, &[]));
        let mut other = snapshot.clone();
        other[3] ^= 1;
        assert_ne!(Manifest::of(&other).hash(), manifest.hash());
        let longer = Manifest { bytes: manifest.bytes + 1, ..manifest.clone() };
        assert_ne!(longer.hash(), manifest.hash());
        assert_eq!(Manifest { bytes: u64::MAX, ..manifest }.pieces(), None);
        assert_eq!(Manifest::of(&[]).pieces(), Some(0));
    }

    #[test]
    fn enough_units_and_more_than_differ_certify_one() {
        let sample = Sample::new(2, 6);
        sample.compute(6, plain);
        let own = Address::from([1; 32]);
        let find = |from| certified(&sample.log, &sample.process, &sample.trust, &own, from).unwrap();
        hear(&sample, &point(&sample, UNITS[0], 3, 7));
        assert!(find(0).is_empty(), "one of two");
        assert_eq!(hear(&sample, &point(&sample, UNITS[1], 3, 7)), Taken::New);
        assert_eq!(hear(&sample, &point(&sample, UNITS[1], 3, 7)), Taken::Known);
        let [one] = &find(0)[..] else { panic!("{:?}", find(0)) };
        assert_eq!((one.slot, one.hash, one.units.len()), (3, Digest::from([7; 32]), 2));
        assert!(find(4).is_empty());
        for n in [2, 3] {
            hear(&sample, &point(&sample, UNITS[n], 3, 8));
        }
        assert!(find(0).is_empty(), "as many say something else");
        hear(&sample, &point(&sample, UNITS[4], 3, 7));
        assert_eq!(find(0).len(), 1);
        for n in [0, 1] {
            hear(&sample, &point(&sample, UNITS[n], 5, 1));
        }
        assert_eq!(find(0).iter().map(|one| one.slot).collect::<Vec<_>>(), [5, 3], "the newest first");
        hear(&sample, &point(&sample, 99, 4, 1));
        hear(&sample, &point(&sample, 98, 4, 1));
        assert_eq!(find(0).len(), 2, "strangers do not count");
    }

    #[test]
    fn a_single_unit_is_not_enough_where_there_are_others() {
        let sample = Sample::new(1, 6);
        sample.compute(6, plain);
        let find = |own: u8| {
            let own = crate::wallet::Signer::address(&unit(own));
            certified(&sample.log, &sample.process, &sample.trust, &own, 0).unwrap().len()
        };
        hear(&sample, &point(&sample, UNITS[0], 3, 7));
        assert_eq!(find(99), 0);
        hear(&sample, &point(&sample, UNITS[1], 3, 7));
        assert_eq!((find(99), find(UNITS[1])), (1, 0), "not by one's own word");
        // Others came as far and know of no state there.
        sample.hear(sample.truth(UNITS[2], 4), 1, None);
        assert_eq!(find(99), 1);
        sample.hear(sample.truth(UNITS[3], 5), 1, None);
        assert_eq!(find(99), 0);
    }

    #[test]
    fn a_unit_that_attests_two_states_or_a_wrong_one_is_found() {
        let sample = Sample::new(1, 6);
        sample.compute(6, plain);
        assert_eq!(hear(&sample, &point(&sample, UNITS[0], 3, 7)), Taken::New);
        assert!(matches!(hear(&sample, &point(&sample, UNITS[0], 3, 8)), Taken::Perjury(_)));
        sample.hear(sample.lie(UNITS[1], 3), 1, None);
        assert!(matches!(hear(&sample, &point(&sample, UNITS[1], 3, 7)), Taken::Perjury(_)), "of the same slot");
        let mut batch = Batch::new();
        let wrong = point(&sample, UNITS[2], 3, 9);
        assert!(!judge(&sample.log, &mut batch, &wrong, 1).unwrap(), "what is right is not known here");
        batch.push(Write::Rebuilt { process: sample.id(), slot: 3, hash: Digest::from([7; 32]) });
        sample.log.commit(batch, Durability::Relaxed).unwrap();
        let mut batch = Batch::new();
        assert!(judge(&sample.log, &mut batch, &wrong, 1).unwrap());
        assert!(!judge(&sample.log, &mut batch, &point(&sample, UNITS[3], 3, 7), 1).unwrap());
        sample.log.commit(batch, Durability::Relaxed).unwrap();
        let dissents = sample.log.dissents(&sample.id()).unwrap();
        assert_eq!(
            dissents.iter().map(|one| (one.unit, one.right)).collect::<Vec<_>>(),
            [(crate::wallet::Signer::address(&unit(UNITS[2])), Digest::from([7; 32]))]
        );
    }
}
