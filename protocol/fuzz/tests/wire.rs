//! Gossip, requests, responses, attestations and entries from foreign bytes: no panic, no huge allocation. Good ones
//! with few changes, for random bytes are refused early.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use ao_fuzz::{Change, Decoded, changed};
use ao_protocol::attestation::{Attestation, Claim};
use ao_protocol::attested::AttestedBytes;
use ao_protocol::entry::Entry;
use ao_protocol::id::{Digest, Id};
use ao_protocol::item::ItemBuilder;
use ao_protocol::log::{Batch, MemoryLog};
use ao_protocol::network::Network;
use ao_protocol::scheduler::{Moment, Submission, assign};
use ao_protocol::trust::Trust;
use ao_protocol::wallet::{Signer, Wallet};
use ao_protocol::wire::{self, EntryBytes, Gossip, ItemBytes, Request, Response, SubmissionBytes, TipBytes};

/// Inputs tried when run as a plain test.
const ITERATIONS: usize = 20_000;

fn unit() -> Wallet {
    Wallet::ed25519_from_seed([1; 32])
}

fn entry() -> EntryBytes {
    let spawn = ItemBuilder::new()
        .tag("Data-Protocol", "ao")
        .tag("Type", "Process")
        .tag("Module", Id::from([9; 32]).to_string())
        .tag("Scheduler", unit().address().to_string());
    let submission = Submission::new(spawn.sign(&unit()).unwrap(), unit().address());
    let trust = Trust { network: Network::open("fuzz").into(), announced: Vec::new() };
    let moment = Moment { now_ms: 1, block_height: 0 };
    let (log, mut batch) = (MemoryLog::new(), Batch::new());
    assign(&log, &mut batch, &submission, moment, &trust, &unit()).unwrap().unwrap().entry.to_bytes()
}

fn attestation() -> Vec<u8> {
    let claim = Claim {
        network: Digest::from([1; 32]),
        format: "lua-5.3-ao1".into(),
        process: Id::from([2; 32]),
        slot: 7,
        assignment: Id::from([3; 32]),
        outcome_chain: Digest::from([4; 32]),
        checkpoint: None,
    };
    claim.sign(&unit()).unwrap().to_bytes()
}

#[test]
fn messages() {
    let item = entry().assignment;
    let submission = SubmissionBytes { item: item.clone(), messenger: unit().address(), certificate: None };
    let good = [
        wire::encode(&Gossip::Entries(vec![entry(), entry()])),
        wire::encode(&Gossip::Attestations(vec![AttestedBytes::bare(attestation())])),
        wire::encode(&Gossip::Evidence(entry(), entry())),
        wire::encode(&Request::Submit(vec![submission])),
        wire::encode(&Request::Outcomes { process: Id::from([2; 32]), from: 1, to: 9 }),
        wire::encode(&Request::Location(unit().address())),
        wire::encode(&Response::Receipts(vec![Ok(item)])),
        wire::encode(&Response::Tips(vec![TipBytes { process: Id::from([2; 32]), slot: 8, epoch: 1 }])),
    ];
    let decoded = Decoded::default();
    let input = bolero::generator::produce::<(u8, Vec<Change>, Vec<u8>)>();
    bolero::check!().with_iterations(ITERATIONS).with_generator(input).for_each(|(which, changes, random)| {
        let near = changed(&good[usize::from(*which) % good.len()], &changes[..changes.len().min(4)]);
        for bytes in [&near, random] {
            let gossip = wire::decode::<Gossip>(bytes);
            if let Ok(gossip) = &gossip {
                assert_eq!(wire::decode::<Gossip>(&wire::encode(gossip)).unwrap(), *gossip);
            }
            let request = wire::decode::<Request>(bytes);
            let response = wire::decode::<Response>(bytes);
            decoded.count(gossip.is_ok() || request.is_ok() || response.is_ok());
        }
    });
    decoded.at_least(100);
}

#[test]
fn signed_records() {
    let (entry, attestation) = (entry(), attestation());
    assert!(Entry::verify(&entry).is_ok() && Attestation::verify(&attestation).is_ok());
    let input = bolero::generator::produce::<Vec<Change>>();
    bolero::check!().with_iterations(ITERATIONS).with_generator(input).for_each(|changes: &Vec<Change>| {
        let changes = &changes[..changes.len().min(4)];
        let assignment = ItemBytes(changed(&entry.assignment.0, changes));
        let item = entry.item.as_ref().map(|item| ItemBytes(changed(&item.0, changes)));
        // Whatever was changed is noticed, for every byte is signed.
        for changed in [EntryBytes { assignment, ..entry.clone() }, EntryBytes { item, ..entry.clone() }] {
            assert_eq!(Entry::verify(&changed).is_ok(), changed == entry);
        }
        let near = changed(&attestation, changes);
        if near != attestation {
            assert!(Attestation::verify(&near).is_err());
        }
    });
}
