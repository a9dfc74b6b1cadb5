//! What is read from verified items: processes, messages, modules, assignments, origins, announcements. Names of tags
//! are those of ao and values nearly right, so that much of it is read.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use ao_fuzz::Decoded;
use ao_protocol::announcement::Announcement;
use ao_protocol::assignment::Assignment;
use ao_protocol::evidence;
use ao_protocol::item::{ItemBuilder, VerifiedItem};
use ao_protocol::log::{Batch, MemoryLog};
use ao_protocol::message::Unit;
use ao_protocol::module::Module;
use ao_protocol::network::Network;
use ao_protocol::origin::Origin;
use ao_protocol::process::Process;
use ao_protocol::wallet::Wallet;
use ao_protocol::wire::{EntryBytes, ItemBytes};

/// Inputs tried when run as a plain test.
const ITERATIONS: usize = 3_000;

const NAMES: [&str; 24] = [
    "Data-Protocol",
    "Type",
    "Variant",
    "Module",
    "Scheduler",
    "Authority",
    "Compute-Authority",
    "Compute-Quorum",
    "Memory-Limit",
    "Compute-Limit",
    "Module-Format",
    "Input-Encoding",
    "Output-Encoding",
    "Process",
    "Epoch",
    "Nonce",
    "Hash-Chain",
    "Block-Height",
    "Timestamp",
    "Message",
    "From-Process",
    "Origin-Slot",
    "Origin-Index",
    "Push-Depth",
];
const VALUES: [&str; 14] = [
    "ao",
    "Process",
    "Message",
    "Module",
    "Assignment",
    "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
    "0",
    "1",
    "18446744073709551615",
    "18446744073709551616",
    "000000000007",
    "m0",
    "lua-5.3-ao1",
    "JSON-1",
];

fn item(tags: &[(u8, u8)], value: &str, data: &[u8]) -> Option<VerifiedItem> {
    let mut item = ItemBuilder::new().data(data.to_vec());
    for (name, choice) in tags {
        let name = NAMES[usize::from(*name) % NAMES.len()];
        let value = VALUES.get(usize::from(*choice) % (VALUES.len() + 1)).copied().unwrap_or(value);
        item = item.tag(name, value);
    }
    item.sign(&Wallet::ed25519_from_seed([1; 32])).ok()
}

#[test]
fn views() {
    let decoded = Decoded::default();
    let input = bolero::generator::produce::<(Vec<(u8, u8)>, String, Vec<u8>)>();
    bolero::check!().with_iterations(ITERATIONS).with_generator(input).for_each(|(tags, value, data)| {
        // Every field of a process and of an assignment in most inputs, changed by what follows.
        for base in [[(1, 1), (3, 5), (4, 5), (0, 0)], [(1, 4), (13, 5), (14, 6), (16, 5)]] {
            let mut all: Vec<(u8, u8)> = tags.iter().copied().take(24).collect();
            all.extend(base);
            all.extend([(15, 7), (17, 10), (18, 7), (19, 5), (23, 6)]);
            let Some(item) = item(&all, value, data) else { continue };
            let _ = Unit::of(&item);
            let _ = Origin::read(item.tags());
            let module = Module::read(&item);
            let process = Process::read(&item);
            if let Ok(module) = module {
                let _ = module.limits(&item);
            }
            let _ = Announcement::read(&item, 1);
            let bare =
                EntryBytes { assignment: ItemBytes(item.bytes().to_vec()), item: None, proof: None, certificate: None };
            let _ = evidence::accept(&MemoryLog::new(), &mut Batch::new(), &(bare.clone(), bare)).unwrap();
            let assignment = Assignment::read(item);
            decoded.count(process.is_ok() || assignment.is_ok());
        }
    });
    decoded.at_least(100);
}

#[test]
fn network_files() {
    let good = Network::open("test").to_json();
    let decoded = Decoded::default();
    let input = bolero::generator::produce::<Vec<(u16, u8)>>();
    bolero::check!().with_iterations(ITERATIONS).with_generator(input).for_each(|changes| {
        let bytes = ao_fuzz::changed(good.as_bytes(), &changes[..changes.len().min(3)]);
        let Ok(text) = std::str::from_utf8(&bytes) else { return };
        if let Ok(network) = Network::from_json(text) {
            decoded.count(true);
            assert_eq!(Network::from_json(&network.to_json()).unwrap(), network);
        }
    });
    decoded.at_least(10);
}
