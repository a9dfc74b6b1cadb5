//! Checkpoints on Arweave: the state of a process after a slot, in pieces, with what units attested of it. They shorten
//! what a rebuilt node has to evaluate, and are believed no more than those of a peer.
//!
//! | tags of the transaction | |
//! |---|---|
//! | `Data-Protocol`, `Type` | `ao`, `Log-Checkpoint` |
//! | `Process`, `Checkpoint-Slot` | whose state, and after which slot |
//!
//! The items of its bundle are of `Type` `Checkpoint-Piece`, with a tag `Number`, and one of `Type` `Checkpoint`: the
//! manifest, the slot's outcome and the attestations, in the wire format without its version. A large state is in
//! several bundles.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::attestation::Attestation;
use crate::checkpoint::{Manifest, PIECE_BYTES};
use crate::id::{Digest, Id};
use crate::item::{ItemBuilder, ItemError, VerifiedItem, bundle};
use crate::outcome::OutcomeRecord;
use crate::tag::{self, Tag};
use crate::wallet::Signer;
use crate::wire;

/// `Type` of a transaction that holds a state, or a part of one.
pub const LOG_CHECKPOINT: &str = "Log-Checkpoint";
/// Tag with the slot after which it is the state.
const CHECKPOINT_SLOT: &str = "Checkpoint-Slot";
/// `Type` of the item that says what the pieces make up.
const CHECKPOINT: &str = "Checkpoint";
/// `Type` of a piece's item.
const CHECKPOINT_PIECE: &str = "Checkpoint-Piece";
/// Tag with the place of a piece.
const NUMBER: &str = "Number";
/// Most descriptions of one state, and bytes of pieces, that are looked at: somebody may make them up.
const MAX_ABOUT: usize = 16;
const MAX_COLLECTED_BYTES: usize = 256 * 1024 * 1024;
/// Most attestations that go with it.
pub const MAX_MIRRORED_ATTESTATIONS: usize = 64;

/// What is known of a state beside its bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// Its pieces.
    pub manifest: Manifest,
    /// The slot's outcome.
    pub record: OutcomeRecord,
    /// What units attested: of this state.
    pub attestations: Vec<Attestation>,
}

/// The slot of the checkpoint that tags name. Whoever wrote them may say anything.
pub fn claimed_checkpoint(tags: &[Tag]) -> Option<u64> {
    tag::find(tags, CHECKPOINT_SLOT)?.parse().ok()
}

/// Makes the bundles of a state, each of at least one piece and about so many bytes: their data, and the tags that all
/// of them have.
pub fn write(
    (process, slot): (Id, u64),
    about: &About,
    state: &[u8],
    max_bytes: usize,
    signer: &dyn Signer,
) -> Result<(Vec<Vec<u8>>, Vec<Tag>), ItemError> {
    let tags = |kind: &str| {
        vec![
            Tag::new("Data-Protocol", "ao"),
            Tag::new("Variant", "ao.TN.1"),
            Tag::new("Type", kind),
            Tag::new("Process", process.to_string()),
            Tag::new(CHECKPOINT_SLOT, slot.to_string()),
        ]
    };
    let item = |kind: &str, data: Vec<u8>| ItemBuilder { tags: tags(kind), data, ..ItemBuilder::new() };
    let (mut bundles, mut items, mut bytes) = (Vec::new(), Vec::new(), 0);
    for (number, piece) in state.chunks(PIECE_BYTES).enumerate() {
        if bytes + piece.len() > max_bytes && !items.is_empty() {
            bundles.push(bundle::encode(&items));
            (items, bytes) = (Vec::new(), 0);
        }
        bytes += piece.len();
        items.push(item(CHECKPOINT_PIECE, piece.to_vec()).tag(NUMBER, number.to_string()).sign(signer)?);
    }
    items.push(item(CHECKPOINT, wire::encode_bare(about)).sign(signer)?);
    bundles.push(bundle::encode(&items));
    let mut outside = vec![Tag::new("Bundle-Format", "binary"), Tag::new("Bundle-Version", "2.0.0")];
    outside.extend(tags(LOG_CHECKPOINT));
    Ok((bundles, outside))
}

/// A state whose parts come in any order, perhaps among parts that somebody else made up.
#[derive(Debug, Default)]
pub struct Collected {
    about: Vec<About>,
    pieces: BTreeMap<Digest, Vec<u8>>,
    bytes: usize,
}

impl Collected {
    /// Takes in the items of a bundle, as far as they are parts of the state after this slot.
    pub fn take(&mut self, (process, slot): (Id, u64), items: &[VerifiedItem]) {
        let (process, slot) = (process.to_string(), slot.to_string());
        let own =
            |item: &&VerifiedItem| item.tag("Process") == Some(&process) && item.tag(CHECKPOINT_SLOT) == Some(&slot);
        for item in items.iter().filter(own) {
            match item.tag("Type") {
                Some(CHECKPOINT) if self.about.len() < MAX_ABOUT => {
                    self.about.extend(wire::decode_bare::<About>(item.data()).ok());
                }
                Some(CHECKPOINT_PIECE) if self.bytes + item.data().len() <= MAX_COLLECTED_BYTES => {
                    self.bytes += item.data().len();
                    self.pieces.insert(Manifest::digest_of(item.data()), item.data().to_vec());
                }
                _ => {}
            }
        }
    }

    /// The state and what is known of it, if all of it is there and its attestations are of it, verified, and such that
    /// `counts` says so.
    pub fn finish(
        mut self,
        process: &Id,
        slot: u64,
        counts: impl Fn(&[Attestation]) -> bool,
    ) -> Option<(About, Vec<u8>)> {
        for about in std::mem::take(&mut self.about) {
            let of_it = |attestation: &Attestation| {
                let claim = attestation.claim();
                (claim.process, claim.slot, claim.checkpoint) == (*process, slot, Some(about.manifest.hash()))
                    && (claim.assignment, claim.outcome_chain) == (about.record.assignment, about.record.chain())
                    && Attestation::verify(&attestation.to_bytes()).is_ok()
            };
            let attestations = &about.attestations;
            let attested = (1..=MAX_MIRRORED_ATTESTATIONS).contains(&attestations.len())
                && attestations.iter().all(of_it)
                && counts(attestations);
            if attested && let Some(state) = self.assemble(&about.manifest) {
                return Some((about, state));
            }
        }
        None
    }

    fn assemble(&self, manifest: &Manifest) -> Option<Vec<u8>> {
        let mut state = Vec::new();
        for number in 0..manifest.pieces()? {
            let piece = self.pieces.get(&manifest.piece_digest(number)?)?;
            if !manifest.is_piece(number, piece) {
                return None;
            }
            state.extend_from_slice(piece);
        }
        Some(state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attestation::Claim;
    use crate::item::DataItem;
    use crate::log::Log;
    use crate::sample::{Sample, plain, unit};

    fn about(sample: &Sample, state: &[u8]) -> About {
        let manifest = Manifest::of(state);
        let claim = Claim { checkpoint: Some(manifest.hash()), ..sample.claim(3) };
        let record = sample.log.outcome(&sample.id(), 3).unwrap().unwrap();
        About { manifest, record, attestations: vec![claim.sign(&unit(1)).unwrap()] }
    }

    fn read(sample: &Sample, bundles: &[Vec<u8>]) -> Option<(About, Vec<u8>)> {
        let mut collected = Collected::default();
        // In any order.
        for bundle in bundles.iter().rev() {
            let items: Vec<VerifiedItem> =
                bundle::decode(bundle).unwrap().into_iter().map(|item: DataItem| item.verify().unwrap()).collect();
            collected.take((sample.id(), 3), &items);
        }
        collected.finish(&sample.id(), 3, |attestations| attestations[0].unit() == unit(1).address())
    }

    #[test]
    fn a_state_is_read_as_it_was_written_and_nothing_else_is() {
        let sample = Sample::new(1, 6);
        sample.compute(6, plain);
        let state: Vec<u8> = (0..5 * PIECE_BYTES / 2).map(|n| (n / 1000) as u8).collect();
        let about = about(&sample, &state);
        let write = |about: &About, state: &[u8], max| write((sample.id(), 3), about, state, max, &unit(9)).unwrap();
        for (max, count) in [(1, 3), (2 * PIECE_BYTES, 2), (100 * PIECE_BYTES, 1)] {
            let (bundles, tags) = write(&about, &state, max);
            assert_eq!(bundles.len(), count);
            assert_eq!(claimed_checkpoint(&tags), Some(3));
            assert!(read(&sample, &bundles) == Some((about.clone(), state.clone())));
            if count > 1 {
                assert_eq!(read(&sample, &bundles[1..]), None, "a piece is missing");
            }
        }
        assert_eq!(read(&sample, &write(&about, &[&state[1..], &[0]].concat(), 1).0), None, "other bytes");
        let of = |change: &dyn Fn(&mut About)| {
            let mut about = about.clone();
            change(&mut about);
            read(&sample, &write(&about, &state, 1).0)
        };
        assert!(of(&|_| {}).is_some());
        assert_eq!(of(&|about| about.attestations.clear()), None);
        assert_eq!(of(&|about| about.record.chain_before = Digest::from([1; 32])), None);
        let other = sample.claim(3).sign(&unit(1)).unwrap();
        assert_eq!(of(&|about| about.attestations.push(other.clone())), None, "it is of no state");
        let stranger = Claim { checkpoint: Some(about.manifest.hash()), ..sample.claim(3) }.sign(&unit(2)).unwrap();
        assert_eq!(of(&|about| about.attestations = vec![stranger.clone()]), None, "its word does not count");
        // What others made up beside it does not spoil it.
        let (mut bundles, _) = write(&about, &state, 1);
        let other = vec![7; state.len()];
        bundles.extend(write(&self::about(&sample, &other), &other, 1).0);
        let broken = About { attestations: Vec::new(), ..about.clone() };
        bundles.extend(write(&broken, &[8; 100], 1).0);
        assert!(read(&sample, &bundles).is_some_and(|(about, _)| about.manifest == Manifest::of(&other)));
        assert!(read(&sample, &bundles[bundles.len() - 1..]).is_none());
        let many = vec![about.attestations[0].clone(); MAX_MIRRORED_ATTESTATIONS + 1];
        assert_eq!(of(&|about| about.attestations = many.clone()), None);
    }
}
