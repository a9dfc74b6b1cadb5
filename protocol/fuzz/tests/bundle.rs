//! Bytes as bundles: never a panic, and what comes apart is put together to the same bytes.

// All of this is tests; clippy knows so of test functions only.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use ao_fuzz::{Decoded, changed};
use ao_protocol::item::bundle::{decode, decode_nested, encode};
use ao_protocol::item::{ItemBuilder, VerifiedItem};
use ao_protocol::wallet::Wallet;
use bolero::{check, produce};

/// Inputs tried when run as a plain test.
const ITERATIONS: usize = 20_000;

/// Whether the bytes are a bundle.
fn decodes(bytes: &[u8]) -> bool {
    let nested = decode_nested(bytes);
    let Ok(items) = decode(bytes) else {
        assert!(nested.is_err());
        return false;
    };
    // Only the frame is in question here, not whether the signatures are good.
    let items: Vec<_> = items.iter().map(|item| VerifiedItem::from_own_store(item.bytes().clone()).unwrap()).collect();
    assert_eq!(encode(&items), bytes);
    if let Ok(nested) = nested {
        assert_eq!(nested.iter().filter(|(_, parent)| parent.is_none()).count(), items.len());
    }
    true
}

#[test]
fn arbitrary_bytes() {
    let bytes = produce::<Vec<u8>>().with().len(0usize..2048);
    check!().with_iterations(ITERATIONS).with_generator(bytes).for_each(|bytes| {
        decodes(bytes);
    });
}

/// Counts and sizes that fit or not.
#[test]
fn arbitrary_tables() {
    let number = || produce::<[u8; 32]>();
    let input = (number(), 0..4u8, produce::<Vec<([u8; 32], u8)>>().with().len(0usize..4));
    check!().with_iterations(ITERATIONS).with_generator(input).for_each(|(count, bytes_of_count, sizes)| {
        let small = |number: &[u8; 32], length: u8| {
            let mut number = *number;
            number[usize::from(length)..].fill(0);
            number
        };
        let table = sizes.iter().flat_map(|(size, length)| [small(size, length % 33), [0; 32]].concat());
        let bytes: Vec<u8> = small(count, *bytes_of_count).into_iter().chain(table).collect();
        assert_eq!(decodes(&bytes), bytes == [0; 32]);
    });
}

#[test]
fn damaged_bundles() {
    let wallet = Wallet::ed25519_from_seed([1; 32]);
    let sign = |builder: ItemBuilder| builder.sign(&wallet).unwrap();
    let inner = encode(&[sign(ItemBuilder::new().data(b"b")), sign(ItemBuilder::new().data(b"c"))]);
    let carrier = ItemBuilder::new().tag("Bundle-Format", "binary").tag("Bundle-Version", "2.0.0").data(inner);
    let good = encode(&[sign(ItemBuilder::new().data(b"a")), sign(carrier)]);
    let decoded = Decoded::default();
    let input = (produce::<Vec<(u16, u8)>>().with().len(0usize..4), 0..4usize);
    check!().with_iterations(ITERATIONS).with_generator(input).for_each(|(changes, cut)| {
        let mut bytes = changed(&good, changes);
        bytes.truncate(good.len() - cut);
        decoded.count(decodes(&bytes));
        if changes.is_empty() {
            assert_eq!(decode(&bytes).is_ok(), bytes == good);
        }
    });
    decoded.at_least(ITERATIONS / 20);
}
