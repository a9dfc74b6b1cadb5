//! Gossip, requests, responses, attestations and entries from foreign bytes: no panic, no huge allocation.

use ao_protocol::attestation::Attestation;
use ao_protocol::entry::Entry;
use ao_protocol::wire::{self, EntryBytes, Gossip, Request, Response};

#[test]
fn wire() {
    bolero::check!().for_each(|bytes: &[u8]| {
        if let Ok(gossip) = wire::decode::<Gossip>(bytes) {
            assert_eq!(wire::decode::<Gossip>(&wire::encode(&gossip)).expect("just encoded"), gossip);
        }
        let _ = wire::decode::<Request>(bytes);
        let _ = wire::decode::<Response>(bytes);
        let _ = Attestation::verify(bytes);
        if let Ok(entry) = wire::decode::<EntryBytes>(bytes) {
            let _ = Entry::verify(&entry);
        }
    });
}
