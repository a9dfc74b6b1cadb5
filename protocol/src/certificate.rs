//! A certificate: so many units agree that a process sent this entry in that slot. Where a process asks for a quorum,
//! it goes along with everything that the process sends, and whoever gives that a slot checks it: neither the messenger
//! nor any single compute unit needs to be trusted.
//!
//! It holds the way from the entry to its outcome's root, the chain before that slot and the roots of fewer than
//! [`MAX_SLOTS_PER_ATTESTATION`] later slots, which lead to what each of the units signed.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::agreement::{counted, fits, next_attestation};
use crate::attestation::Attestation;
use crate::compute::{MAX_SLOTS_PER_ATTESTATION, counts};
use crate::entry::Entry;
use crate::id::{Digest, Id};
use crate::item::{ItemBuilder, VerifiedItem};
use crate::log::{Log, LogError};
use crate::messenger::outbox::{self, OutboxError, Source};
use crate::origin::{DeliveryId, Origin, OutboxKind};
use crate::outcome::{EntryPath, OutboxEntry, OutboxList, next_chain};
use crate::process::Process;
use crate::trust::Trust;
use crate::wire::{self, FrameError};

/// Most bytes of a certificate. The fields of an entry, beside its data, are the part that a process can make large.
pub const MAX_CERTIFICATE_BYTES: usize = 128 * 1024;

/// What proves that a process sent something, to whom does not compute it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// The entry's fields.
    fields: String,
    /// The hash of its data, if it has some.
    data: Option<Digest>,
    /// From the entry to the root of its slot's outcome.
    path: EntryPath,
    /// The outcome chain before that slot.
    chain_before: Digest,
    /// The roots of the slots after it, as far as some attestation reaches.
    later_roots: Vec<Digest>,
    /// By different units, each at that slot or a later one that the roots lead to.
    attestations: Vec<Vec<u8>>,
}

/// Why an entry is not certified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Uncertified {
    /// It never will be.
    False(String),
    /// Here it can't be told yet.
    NotYet(String),
}

fn list(kind: OutboxKind) -> OutboxList {
    match kind {
        OutboxKind::Message => OutboxList::Messages,
        OutboxKind::Spawn | OutboxKind::Spawned => OutboxList::Spawns,
        OutboxKind::Assignment => OutboxList::Assignments,
    }
}

impl Certificate {
    /// For an entry that a slot of a process sent. None while too few units agree.
    pub fn of(
        log: &dyn Log,
        process: &Process,
        trust: &Trust,
        origin: &Origin,
    ) -> Result<Option<Certificate>, LogError> {
        let (id, slot) = (process.id(), origin.slot);
        let Some(record) = log.outcome(&id, slot)? else { return Ok(None) };
        let (list, position) = (list(origin.index.kind), origin.index.position as usize);
        let entry = match list {
            OutboxList::Messages => record.outcome.messages.get(position),
            OutboxList::Spawns => record.outcome.spawns.get(position),
            OutboxList::Assignments => record.outcome.assignments.get(position),
        };
        let (Some(entry), Some(path)) = (entry, record.outcome.path(list, position)) else { return Ok(None) };
        let mut attestations: Vec<Attestation> = Vec::new();
        for unit in counted(log, process, trust)? {
            let Some(seen) = next_attestation(log, &id, &unit, slot)? else { continue };
            let claim = seen.attestation.claim();
            if claim.slot - slot < MAX_SLOTS_PER_ATTESTATION
                && counts(process, &seen.attestation, trust)
                && fits(log, &seen.attestation)? == Some(true)
            {
                attestations.push(seen.attestation);
            }
        }
        let quorum = process.compute_quorum as usize;
        if attestations.len() < quorum {
            return Ok(None);
        }
        // The nearest need the fewest roots. Some more than have to be: the receiver's scheduler may know of a unit
        // that it lies, and this node not yet.
        attestations.sort_by_key(|attestation| (attestation.claim().slot, attestation.unit()));
        attestations.truncate(2 * quorum);
        let last = attestations.last().map_or(slot, |last| last.claim().slot);
        let mut later_roots = Vec::new();
        for later in slot + 1..=last {
            let Some(record) = log.outcome(&id, later)? else { return Ok(None) };
            later_roots.push(record.outcome.root());
        }
        Ok(Some(Certificate {
            fields: entry.fields.clone(),
            data: entry.data_hash(),
            path,
            chain_before: record.chain_before,
            later_roots,
            attestations: attestations.iter().map(Attestation::to_bytes).collect(),
        }))
    }

    /// As it is hashed and kept for good: the same in all versions of the wire format.
    pub fn to_bytes(&self) -> Vec<u8> {
        wire::encode_bare(self)
    }

    /// Reads one back.
    pub fn from_bytes(bytes: &[u8]) -> Result<Certificate, FrameError> {
        wire::decode_bare(bytes)
    }

    /// Bytes that it takes on the wire and on disk.
    pub fn size(&self) -> usize {
        self.to_bytes().len()
    }

    /// What an assignment names it by.
    pub fn hash(&self) -> Digest {
        let mut hasher = blake3::Hasher::new_derive_key("ao-node 2026 certificate");
        hasher.update(&self.to_bytes());
        Digest::from(*hasher.finalize().as_bytes())
    }

    /// Whether it proves that an item carries what the slot `sent_by` of a process sent: that enough of the units that
    /// the process trusts signed for that entry, and that the item is what a messenger has to make of it.
    pub fn verify(
        &self,
        log: &dyn Log,
        source: &Process,
        sent_by: &Entry,
        trust: &Trust,
        origin: &Origin,
        item: &VerifiedItem,
    ) -> Result<Result<(), Uncertified>, LogError> {
        let wrong = |text: &str| Ok(Err(Uncertified::False(text.to_string())));
        let trusted = trust.compute_units(source);
        if self.later_roots.len() >= MAX_SLOTS_PER_ATTESTATION as usize
            || self.attestations.len() > trusted.len() + MAX_STRANGERS
        {
            return wrong("the certificate has more parts than it needs");
        }
        let child = match origin.index.kind {
            OutboxKind::Spawned => match self.child(log, source, sent_by, origin, item)? {
                Ok(child) => Some(child),
                Err(cause) => return Ok(Err(cause)),
            },
            _ => None,
        };
        match self.expected(source, sent_by, origin, item, child) {
            Ok(expected) if is_made_of(item, &expected) => {}
            Ok(_) => return wrong("the item is not what the certified entry makes"),
            Err(cause) => return Ok(Err(Uncertified::False(cause.to_string()))),
        }
        let kind = list(origin.index.kind);
        let Some(root) = self.path.root(kind, origin.index.position.into(), &self.fields, self.data) else {
            return wrong("the certificate's path leads nowhere");
        };
        let mut chains = vec![next_chain(&self.chain_before, &root)];
        for root in &self.later_roots {
            let before = chains.last().copied().unwrap_or(self.chain_before);
            chains.push(next_chain(&before, root));
        }
        let counted = counted(log, source, trust)?;
        let mut units = BTreeSet::new();
        for bytes in &self.attestations {
            let Ok(attestation) = Attestation::verify(bytes) else { return wrong("an attestation is not signed") };
            let claim = attestation.claim();
            let reached = claim.slot.checked_sub(origin.slot).and_then(|after| chains.get(after as usize));
            // Of another branch where the scheduler gave a slot twice.
            let ours = log.entry(&claim.process, claim.slot)?.map(|entry| entry.assignment.id());
            if claim.process == origin.process
                && reached == Some(&claim.outcome_chain)
                && ours.is_none_or(|ours| ours == claim.assignment)
                && counts(source, &attestation, trust)
                && counted.contains(&attestation.unit())
            {
                units.insert(attestation.unit());
            }
        }
        let (found, wanted) = (units.len(), source.compute_quorum as usize);
        if found >= wanted {
            return Ok(Ok(()));
        }
        // Never for good: a unit may be about to announce itself, or be known here for a lie and not yet to the
        // messenger, which then comes with others' word.
        let text = format!("{found} of the {wanted} compute units that process {} asks for agree", origin.process);
        Ok(Err(Uncertified::NotYet(text)))
    }

    /// The process that a spawn became of which an item gives notice: what its scheduler says, and not the messenger. A
    /// scheduler that lost what it knew may have made two; then the one that the notice names.
    fn child(
        &self,
        log: &dyn Log,
        source: &Process,
        sent_by: &Entry,
        origin: &Origin,
        item: &VerifiedItem,
    ) -> Result<Result<Id, Uncertified>, LogError> {
        let spawn = OutboxEntry { fields: self.fields.clone(), data: None };
        let scheduler = match outbox::scheduler(&spawn, &source.scheduler_at(origin.slot)) {
            Ok(scheduler) => scheduler,
            Err(cause) => return Ok(Err(Uncertified::False(cause.to_string()))),
        };
        let origin = Origin::at(origin.process, origin.slot, OutboxKind::Spawn, origin.index.position as usize);
        let delivery = DeliveryId { origin, target: Some(Id::from(scheduler.to_bytes())) };
        for tag in item.tags().iter().filter(|tag| tag.name == "Process") {
            let Ok(named) = tag.value.parse::<Id>() else { continue };
            if let Some(first) = log.entry(&named, 0)?
                && first.delivery() == Some(delivery)
                && first.assignment.statement.sent_by == Some(sent_by.assignment.id())
            {
                return Ok(Ok(named));
            }
        }
        Ok(match log.scheduled(&delivery, &sent_by.assignment.id())? {
            Some(place) => Ok(place.process),
            None => Err(Uncertified::NotYet("the spawned process is not known here yet".into())),
        })
    }

    /// What the messenger has to make of the entry, as far as it follows from it.
    fn expected(
        &self,
        source: &Process,
        sent_by: &Entry,
        origin: &Origin,
        item: &VerifiedItem,
        child: Option<Id>,
    ) -> Result<ItemBuilder, OutboxError> {
        let of_item = || OutboxEntry { fields: String::new(), data: Some(item.data().to_vec()) };
        let data = match origin.index.kind {
            // Their items have other data, or none.
            OutboxKind::Assignment | OutboxKind::Spawned => None,
            OutboxKind::Message | OutboxKind::Spawn if self.data == of_item().data_hash() => of_item().data,
            OutboxKind::Message | OutboxKind::Spawn => {
                let empty = OutboxEntry { fields: String::new(), data: Some(Vec::new()) };
                match self.data.is_none() || self.data == empty.data_hash() {
                    true => None,
                    false => return Err(OutboxError::Field("the data of the item is not that of the entry".into())),
                }
            }
        };
        let (entry, source) =
            (OutboxEntry { fields: self.fields.clone(), data }, Source { process: source, entry: sent_by });
        match origin.index.kind {
            OutboxKind::Message => {
                let target = outbox::target(&entry)?.parse::<Id>();
                source.message(
                    &entry,
                    target.map_err(|_| OutboxError::Field("its target is no process".into()))?,
                    origin,
                )
            }
            OutboxKind::Spawn => source.spawn(&entry, origin),
            OutboxKind::Spawned => {
                let child = child.ok_or_else(|| OutboxError::Field("its child is not known".into()))?;
                source.spawned(&entry, &child, origin)
            }
            OutboxKind::Assignment => {
                let (message, receivers) = outbox::assignment(&entry)?;
                match item.target().filter(|target| receivers.contains(target)) {
                    Some(target) => Ok(source.assign(message, target, origin)),
                    None => Err(OutboxError::Field("the entry assigns nothing to this process".into())),
                }
            }
        }
    }
}

/// Attestations of units that are not known here are read too: they may be about to announce themselves.
const MAX_STRANGERS: usize = 64;

fn is_made_of(item: &VerifiedItem, expected: &ItemBuilder) -> bool {
    item.target() == expected.target
        && item.anchor().copied() == expected.anchor
        && item.tags() == expected.tags
        && item.data() == expected.data
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::assignment::{Statement, first_link};
    use crate::attestation::Claim;
    use crate::dissent;
    use crate::log::{Batch, Durability, Write};
    use crate::outcome::Outcome;
    use crate::sample::{MESSENGER, SCHEDULER, Sample, UNITS, plain, unit};
    use crate::scheduler::{Moment, Submission, assign};
    use crate::wallet::Signer;

    /// Slot 1 of a process sends one of each; two of its units agree.
    fn sample() -> Sample {
        let sample = Sample::new(2, 6);
        let id = sample.id();
        let entry = |fields: String, data: Option<&[u8]>| OutboxEntry { fields, data: data.map(<[u8]>::to_vec) };
        let message = |data| entry(format!(r#"{{"Target":"{id}","Tags":[{{"name":"n","value":"1"}}]}}"#), data);
        sample.compute(6, |slot| match slot {
            1 => Outcome {
                messages: vec![message(Some(b"hi")), message(None), message(Some(b""))],
                spawns: vec![entry(format!(r#"{{"Tags":[{{"name":"Module","value":"{id}"}}]}}"#), Some(b"code"))],
                assignments: vec![entry(
                    format!(r#"{{"Message":"{id}","Processes":["{}"]}}"#, Id::from([7; 32])),
                    None,
                )],
                ..plain(1)
            },
            _ => plain(slot),
        });
        sample.hear(sample.truth(UNITS[0], 1), 1, None);
        sample.hear(sample.truth(UNITS[1], 4), 1, None);
        sample
    }

    fn origin(sample: &Sample, kind: OutboxKind, position: usize) -> Origin {
        Origin::at(sample.id(), 1, kind, position)
    }

    fn certificate(sample: &Sample, origin: &Origin) -> Option<Certificate> {
        Certificate::of(&sample.log, &sample.process, &sample.trust, origin).unwrap()
    }

    /// What the messenger makes of an entry.
    fn item(sample: &Sample, origin: &Origin) -> VerifiedItem {
        let sent_by = sample.log.entry(&sample.id(), 1).unwrap().unwrap();
        let outcome = sample.log.outcome(&sample.id(), 1).unwrap().unwrap().outcome;
        let source = Source { process: &sample.process, entry: &sent_by };
        let position = origin.index.position as usize;
        let item = match origin.index.kind {
            OutboxKind::Message => source.message(&outcome.messages[position], sample.id(), origin).unwrap(),
            OutboxKind::Spawn => source.spawn(&outcome.spawns[position], origin).unwrap(),
            OutboxKind::Spawned => {
                let child = item(sample, &self::origin(sample, OutboxKind::Spawn, position)).id();
                source.spawned(&outcome.spawns[position], &child, origin).unwrap()
            }
            OutboxKind::Assignment => source.assign(sample.id(), Id::from([7; 32]), origin),
        };
        item.sign(&unit(MESSENGER)).unwrap()
    }

    /// As a scheduler sees it that has the log and computes nothing.
    fn check(
        sample: &Sample,
        certificate: &Certificate,
        origin: &Origin,
        item: &VerifiedItem,
    ) -> Result<(), Uncertified> {
        let there = there(sample);
        let sent_by = there.log.entry(&sample.id(), 1).unwrap().unwrap();
        certificate.verify(&there.log, &there.process, &sent_by, &there.trust, origin, item).unwrap()
    }

    /// The scheduler's log, which has the child of the spawn, too.
    fn there(sample: &Sample) -> Sample {
        let there = Sample::new(2, 6);
        let spawned = item(sample, &origin(sample, OutboxKind::Spawn, 0));
        let submission = Submission {
            certificate: certificate(sample, &origin(sample, OutboxKind::Spawn, 0)).map(Box::new),
            ..Submission::new(spawned, unit(MESSENGER).address())
        };
        let (mut batch, moment) = (Batch::new(), Moment { now_ms: 1, block_height: 0 });
        assign(&there.log, &mut batch, &submission, moment, &there.trust, &unit(SCHEDULER)).unwrap().unwrap();
        there.log.commit(batch, Durability::Synced).unwrap();
        there
    }

    #[test]
    fn whatever_a_process_sends_can_be_certified() {
        let sample = sample();
        let kinds = [
            (OutboxKind::Message, 0),
            (OutboxKind::Message, 1),
            (OutboxKind::Message, 2),
            (OutboxKind::Spawn, 0),
            (OutboxKind::Spawned, 0),
            (OutboxKind::Assignment, 0),
        ];
        for (kind, position) in kinds {
            let origin = origin(&sample, kind, position);
            let certificate = certificate(&sample, &origin).unwrap();
            assert_eq!(check(&sample, &certificate, &origin, &item(&sample, &origin)), Ok(()), "{origin}");
            assert_eq!(certificate.later_roots.len(), 3);
            // It is for this entry and for no other one.
            // A spawn and the notice of it come from the same one.
            let same = |other: &(OutboxKind, usize)| list(other.0) == list(kind) && other.1 == position;
            for (kind, position) in kinds.into_iter().filter(|other| !same(other)) {
                let other = self::origin(&sample, kind, position);
                let result = check(&sample, &certificate, &other, &item(&sample, &other));
                assert!(result.is_err(), "{origin} as {other}");
            }
        }
    }

    #[test]
    fn a_notice_may_name_either_of_two_children_and_nothing_else() {
        let sample = sample();
        let notice = origin(&sample, OutboxKind::Spawned, 0);
        let certificate = certificate(&sample, &notice).unwrap();
        let there = there(&sample);
        // A scheduler that lost its disk made another one, which is found before the first.
        let spawned = item(&sample, &origin(&sample, OutboxKind::Spawn, 0));
        let first = there.log.entry(&spawned.id(), 0).unwrap().unwrap();
        let again = |sent_by: Option<Id>| {
            let builder = ItemBuilder { tags: spawned.tags().to_vec(), ..ItemBuilder::new().data(spawned.data()) };
            let item = builder.anchor(sent_by.unwrap().to_bytes()).sign(&unit(MESSENGER)).unwrap();
            let (process, hash_chain) = (item.id(), first_link(&item.id()));
            let statement = Statement { process, hash_chain, sent_by, ..first.assignment.statement.clone() };
            let mut batch = Batch::new();
            let assignment = statement.sign(&unit(SCHEDULER)).unwrap();
            batch.push(Write::Entry(Box::new(Entry { assignment, item, ..first.clone() })));
            there.log.commit(batch, Durability::Synced).unwrap();
            process
        };
        let sent_by = there.log.entry(&sample.id(), 1).unwrap().unwrap();
        let other = again(Some(sent_by.assignment.id()));
        let of_another_branch = again(Some(Id::from([4; 32])));
        let spawn = &sample.log.outcome(&sample.id(), 1).unwrap().unwrap().outcome.spawns[0];
        let source = Source { process: &sample.process, entry: &sent_by };
        let verified = |child: &Id| {
            let item = source.spawned(spawn, child, &notice).unwrap().sign(&unit(MESSENGER)).unwrap();
            certificate.verify(&there.log, &there.process, &sent_by, &there.trust, &notice, &item).unwrap()
        };
        assert_eq!((verified(&spawned.id()), verified(&other)), (Ok(()), Ok(())));
        for wrong in [of_another_branch, sample.id(), Id::from([3; 32])] {
            assert!(verified(&wrong).is_err());
        }
    }

    #[test]
    fn its_bytes_and_hash_are_the_same_for_ever() {
        let certificate = Certificate {
            fields: r#"{"Target":"x"}"#.into(),
            data: Some(Digest::from([1; 32])),
            path: wire::decode_bare(&[1, 0, 0]).unwrap(),
            chain_before: Digest::from([2; 32]),
            later_roots: vec![Digest::from([3; 32])],
            attestations: vec![vec![4, 5]],
        };
        let bytes = certificate.to_bytes();
        assert_eq!(Certificate::from_bytes(&bytes).unwrap(), certificate);
        assert_eq!(certificate.hash().to_string(), "4GwVdBy5_qrKx8itVUh0QuECbTTiB8YE-7D51ftdXqQ");
    }

    #[test]
    fn too_few_units_certify_nothing() {
        let sample = sample();
        let first = origin(&sample, OutboxKind::Message, 0);
        let good = certificate(&sample, &first).unwrap();
        let (carrier, too_few) = (item(&sample, &first), |result| matches!(result, Err(Uncertified::NotYet(_))));
        let with = |attestations: &[Attestation]| Certificate {
            attestations: attestations.iter().map(Attestation::to_bytes).collect(),
            ..good.clone()
        };
        let (one, two) = (sample.truth(UNITS[0], 1), sample.truth(UNITS[1], 4));
        let check = |attestations: &[Attestation]| check(&sample, &with(attestations), &first, &carrier);
        assert_eq!(check(&[one.clone(), two.clone()]), Ok(()));
        assert!(too_few(check(&[])));
        assert!(too_few(check(&[one.clone(), one.clone()])), "twice the same");
        assert!(too_few(check(&[one.clone(), sample.truth(UNITS[0], 4)])), "twice the same unit");
        assert!(too_few(check(&[one.clone(), sample.truth(99, 4)])), "a stranger");
        assert!(too_few(check(&[one.clone(), sample.lie(UNITS[1], 4)])), "a lie");
        assert!(too_few(check(&[one.clone(), sample.truth(UNITS[1], 5)])), "beyond the roots");
        let branch = Claim { assignment: Id::from([9; 32]), ..sample.claim(4) }.sign(&unit(UNITS[1])).unwrap();
        assert!(too_few(check(&[one.clone(), branch.clone()])), "another branch");
        assert_eq!(check(&[one.clone(), branch, sample.lie(UNITS[2], 4), two.clone()]), Ok(()), "others do no harm");
        let surplus = vec![one; UNITS.len() + MAX_STRANGERS + 1];
        assert!(matches!(check(&surplus), Err(Uncertified::False(_))));
        // One of the two is found lying: there is no certificate any more, and the old one is refused by who knows.
        let mut batch = Batch::new();
        let seen = crate::attestation::Seen { attestation: sample.lie(UNITS[1], 4), seen_ms: 2, committed_ms: None };
        assert!(matches!(dissent::take(&sample.log, &mut batch, seen).unwrap(), dissent::Taken::Perjury(_)));
        sample.log.commit(batch, Durability::Relaxed).unwrap();
        assert_eq!(certificate(&sample, &first), None);
        let sent_by = sample.log.entry(&sample.id(), 1).unwrap().unwrap();
        let refused = good.verify(&sample.log, &sample.process, &sent_by, &sample.trust, &first, &carrier).unwrap();
        assert!(too_few(refused), "not for good: the messenger may not know it yet");
    }

    #[test]
    fn the_item_is_what_the_entry_says() {
        let sample = sample();
        let first = origin(&sample, OutboxKind::Message, 0);
        let good = certificate(&sample, &first).unwrap();
        let carrier = item(&sample, &first);
        let builder = || ItemBuilder {
            target: carrier.target(),
            anchor: carrier.anchor().copied(),
            tags: carrier.tags().to_vec(),
            data: carrier.data().to_vec(),
        };
        let refused = |item: ItemBuilder| {
            let item = item.sign(&unit(MESSENGER)).unwrap();
            assert!(matches!(check(&sample, &good, &first, &item), Err(Uncertified::False(_))));
        };
        assert_eq!(check(&sample, &good, &first, &builder().sign(&unit(MESSENGER)).unwrap()), Ok(()));
        refused(builder().data("ho"));
        refused(builder().target(Id::from([5; 32])));
        refused(builder().anchor([5; 32]));
        refused(builder().tag("Quantity", "1000"));
        for place in 0..carrier.tags().len() {
            let mut changed = builder();
            changed.tags[place].value.push('x');
            refused(changed);
        }
        // The certificate itself, changed.
        let changed = |change: &dyn Fn(&mut Certificate)| {
            let mut certificate = good.clone();
            change(&mut certificate);
            assert!(check(&sample, &certificate, &first, &carrier).is_err());
        };
        changed(&|certificate| certificate.fields = certificate.fields.replace('1', "2"));
        changed(&|certificate| certificate.data = None);
        changed(&|certificate| certificate.chain_before = Digest::from([1; 32]));
        changed(&|certificate| certificate.later_roots.truncate(2));
        changed(&|certificate| certificate.later_roots[0] = Digest::from([1; 32]));
        changed(&|certificate| certificate.attestations[0][60] ^= 1);
    }
}
