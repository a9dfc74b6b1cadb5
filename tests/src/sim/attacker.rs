//! Somebody who sees what travels and sends what they like: forged origins, replays, mutations, garbage. They have a
//! wallet of their own and no unit's; whatever they do, it must change no log and hold nobody up.

use ao_protocol::certificate::Certificate;
use ao_protocol::id::{Address, Id};
use ao_protocol::item::{DataItem, ItemBuilder, VerifiedItem};
use ao_protocol::origin::{Origin, OutboxIndex, OutboxKind};
use ao_protocol::wallet::{Signer, Wallet};
use ao_protocol::wire::{self, EntryBytes, Gossip, ItemBytes, Request, SubmissionBytes};
use rand::Rng;
use rand::rngs::StdRng;

use super::node::Packet;

/// Most things that they remember of what they saw.
const MEMORY: usize = 64;

/// The attacker, and what they saw.
pub(super) struct Attacker {
    wallet: Wallet,
    items: Vec<ItemBytes>,
    entries: Vec<EntryBytes>,
    submits: Vec<Vec<SubmissionBytes>>,
    certificates: Vec<Certificate>,
    /// The users' processes, which everybody knows.
    processes: Vec<Id>,
    requests: u64,
}

/// Keeps the newest at a place that follows from how many came.
fn remember<T>(memory: &mut Vec<T>, thing: T, place: usize) {
    match memory.len() {
        MEMORY.. => memory[place % MEMORY] = thing,
        _ => memory.push(thing),
    }
}

impl Attacker {
    pub(super) fn new(processes: Vec<Id>) -> Attacker {
        let wallet = Attacker::wallet();
        Attacker {
            wallet,
            items: Vec::new(),
            entries: Vec::new(),
            submits: Vec::new(),
            certificates: Vec::new(),
            processes,
            requests: 0,
        }
    }

    /// Their wallet.
    pub(super) fn wallet() -> Wallet {
        Wallet::ed25519_from_seed([66; 32])
    }

    /// They see a packet.
    pub(super) fn see(&mut self, packet: &Packet) {
        self.requests += 1;
        let place = self.requests as usize;
        match packet {
            Packet::Gossip(Gossip::Entries(entries)) => {
                for entry in entries {
                    remember(&mut self.items, entry.assignment.clone(), place);
                    entry.item.iter().chain(&entry.proof).for_each(|item| {
                        remember(&mut self.items, item.clone(), place + 1);
                    });
                    remember(&mut self.entries, entry.clone(), place);
                }
            }
            // More than a peer can see: what messengers ask schedulers, before there is a slot.
            Packet::Request(_, Request::Submit(submissions)) => {
                for certificate in submissions.iter().filter_map(|one| one.certificate.as_ref()) {
                    remember(&mut self.certificates, (**certificate).clone(), place);
                }
                remember(&mut self.submits, submissions.clone(), place);
            }
            _ => {}
        }
    }

    /// One attack: what is sent to one node.
    pub(super) fn attack(&mut self, rng: &mut StdRng, messengers: &[Address]) -> Packet {
        let own = self.wallet.address();
        let claimed = if rng.random() { own } else { messengers[rng.random_range(0..messengers.len())] };
        let submit =
            |item: Vec<u8>| vec![SubmissionBytes { item: ItemBytes(item), messenger: claimed, certificate: None }];
        let submissions = match rng.random_range(0..9) {
            0 => submit(self.forged(rng).bytes().to_vec()),
            // What they saw, in their own name.
            1 => submit(self.seen(rng)),
            2 => submit(self.mutated(rng)),
            3 => submit(self.signed_again(rng)),
            4 => match self.submits.len() {
                0 => Vec::new(),
                count => self.submits[rng.random_range(0..count)].clone(),
            },
            5 | 6 => {
                // As a messenger that everybody trusts, perhaps: with a certificate of something else, or an altered
                // one.
                let item = ItemBytes(self.forged(rng).bytes().to_vec());
                vec![SubmissionBytes { item, messenger: own, certificate: self.certificate(rng).map(Box::new) }]
            }
            7 => submit((0..rng.random_range(0..2000)).map(|_| rng.random()).collect()),
            _ => return self.gossip(rng),
        };
        // In the name of another messenger, or their own.
        let claim = |submission: SubmissionBytes| SubmissionBytes { messenger: claimed, ..submission };
        let submissions = submissions.into_iter().map(claim).collect();
        self.requests += 1;
        Packet::Request(self.requests, Request::Submit(submissions))
    }

    /// A certificate that they saw, often with one byte changed.
    fn certificate(&self, rng: &mut StdRng) -> Option<Certificate> {
        let seen = match self.certificates.len() {
            0 => return None,
            count => &self.certificates[rng.random_range(0..count)],
        };
        let mut bytes = wire::encode(seen);
        if rng.random() {
            let place = rng.random_range(0..bytes.len());
            bytes[place] ^= 1 << rng.random_range(0..8);
        }
        wire::decode(&bytes).ok()
    }

    fn process(&self, rng: &mut StdRng) -> Id {
        self.processes[rng.random_range(0..self.processes.len())]
    }

    /// Something that claims to come from a process's outbox: of a slot that is there, or not yet.
    fn forged(&self, rng: &mut StdRng) -> VerifiedItem {
        let kinds = [OutboxKind::Message, OutboxKind::Spawn, OutboxKind::Assignment, OutboxKind::Spawned];
        let kind = kinds[rng.random_range(0..kinds.len())];
        let index = OutboxIndex { kind, position: rng.random_range(0..2) };
        let origin = Origin { process: self.process(rng), slot: rng.random_range(0..12), index };
        let named = match kind {
            OutboxKind::Spawn => "Process",
            OutboxKind::Assignment => "Assign",
            _ => "Message",
        };
        let target = if kind == OutboxKind::Spawned { origin.process } else { self.process(rng) };
        let mut item = ItemBuilder::new().anchor(rng.random()).tag("Data-Protocol", "ao").tag("Type", named);
        item = item.tag("Action", "Forged").tag("Module", target.to_string()).tag("Message", target.to_string());
        if kind != OutboxKind::Spawn {
            item = item.target(target);
        }
        item.tags.extend(origin.tags());
        self.sign(item)
    }

    fn sign(&self, item: ItemBuilder) -> VerifiedItem {
        item.sign(&self.wallet).unwrap_or_else(|cause| panic!("an attacker can sign: {cause}"))
    }

    fn seen(&self, rng: &mut StdRng) -> Vec<u8> {
        match self.items.len() {
            0 => Vec::new(),
            count => self.items[rng.random_range(0..count)].0.clone(),
        }
    }

    /// What they saw, with one byte changed: signature, owner, tags or data.
    fn mutated(&self, rng: &mut StdRng) -> Vec<u8> {
        let mut bytes = self.seen(rng);
        if !bytes.is_empty() {
            let place = rng.random_range(0..bytes.len());
            bytes[place] ^= 1 << rng.random_range(0..8);
        }
        bytes
    }

    /// What a messenger signed, in all parts but the signature, by themselves: to take its place.
    fn signed_again(&self, rng: &mut StdRng) -> Vec<u8> {
        let Ok(item) = DataItem::decode(self.seen(rng)).and_then(DataItem::verify) else { return Vec::new() };
        let mut again = ItemBuilder::new().data(item.data().to_vec()).anchor(rng.random());
        again.tags = item.tags().to_vec();
        if let Some(target) = item.target() {
            again = again.target(target);
        }
        // A user's message that is said again is a message of the attacker, and would be right to get a slot.
        if item.tag("Origin-Slot").is_none() {
            return Vec::new();
        }
        self.sign(again).bytes().to_vec()
    }

    /// Entries that nobody scheduled.
    fn gossip(&self, rng: &mut StdRng) -> Packet {
        let mut entry = match self.entries.len() {
            0 => return Packet::Gossip(Gossip::Entries(Vec::new())),
            count => self.entries[rng.random_range(0..count)].clone(),
        };
        match rng.random_range(0..4) {
            0 => entry.item = Some(ItemBytes(self.seen(rng))),
            1 => entry.proof = Some(ItemBytes(self.seen(rng))),
            2 => entry.assignment = ItemBytes(self.mutated(rng)),
            // The same statement in their own name.
            _ => {
                if let Ok(item) = DataItem::decode(entry.assignment.0.clone()).and_then(DataItem::verify) {
                    let mut again = ItemBuilder::new();
                    again.tags = item.tags().to_vec();
                    entry.assignment = ItemBytes(self.sign(again).bytes().to_vec());
                }
            }
        }
        Packet::Gossip(Gossip::Entries(vec![entry]))
    }
}
