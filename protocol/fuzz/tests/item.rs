//! Bytes as items: never a panic, and what is accepted is one item with one spelling.

// All of this is tests; clippy knows so of test functions only.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use ao_fuzz::{Decoded, changed};
use ao_protocol::item::{DataItem, ItemBuilder, SignatureType};
use ao_protocol::tag;
use ao_protocol::wallet::{Signer, Wallet};
use bolero::{check, produce};

/// Inputs tried when run as a plain test.
const ITERATIONS: usize = 20_000;

/// Whether the bytes are an item; if so it says what they say.
fn decodes(bytes: &[u8]) -> bool {
    let Ok(item) = DataItem::decode(bytes) else { return false };
    assert_eq!(item.bytes()[..], *bytes);
    assert_eq!(rebuilt(&item), bytes);
    assert!(!item.signer_text().is_empty());
    let _ = item.verify();
    true
}

/// The item put together again from its fields; the tags as they were, as they have more than one encoding.
fn rebuilt(item: &DataItem) -> Vec<u8> {
    let present = |field: Option<&[u8]>| match field {
        Some(field) => [&[1], field].concat(),
        None => vec![0],
    };
    let head = [
        &(item.signature_type() as u16).to_le_bytes()[..],
        item.signature(),
        item.owner(),
        &present(item.target().as_ref().map(AsRef::as_ref)),
        &present(item.anchor().map(|anchor| &anchor[..])),
    ]
    .concat();
    let tags = &item.bytes()[head.len() + 16..item.bytes().len() - item.data().len()];
    let (count, length) = (item.tags().len() as u64, tags.len() as u64);
    assert_eq!(tag::decode(tags, count).unwrap(), item.tags());
    [&head[..], &count.to_le_bytes(), &length.to_le_bytes(), tags, item.data()].concat()
}

#[test]
fn arbitrary_bytes() {
    let bytes = produce::<Vec<u8>>().with().len(0usize..2048);
    check!().with_iterations(ITERATIONS).with_generator(bytes).for_each(|bytes| {
        decodes(bytes);
    });
}

/// Every kind of key, with arbitrary fields and a signature that is none.
#[test]
fn arbitrary_fields() {
    let decoded = Decoded::default();
    let bytes = || produce::<Vec<u8>>().with().len(0usize..64);
    let fields = (0..6u16, bytes(), 0..3u8, 0..3u8, 0..3u8, 0..4u8, bytes());
    check!().with_iterations(ITERATIONS).with_generator(fields).for_each(
        |(kind, keys, target, anchor, tags, length, data)| {
            let Some(signature_type) = SignatureType::from_u16(*kind) else {
                assert!(!decodes(&kind.to_le_bytes()));
                return;
            };
            let keys = keys.iter().copied().cycle().chain(std::iter::repeat(0));
            let keys: Vec<u8> = keys.take(signature_type.signature_len() + signature_type.owner_len()).collect();
            let field = |present: u8| [vec![present], vec![7; 32 * usize::from(present)]].concat();
            // One tag with short name and value.
            let tag = [2, 2, b'a', 2, b'b', 0];
            let tag = if *tags > 0 { &tag[..] } else { &[] };
            // Mostly the true length, else one that goes beyond the end.
            let length = if *length == 0 { 100 } else { tag.len() as u64 };
            let head = [&kind.to_le_bytes()[..], &keys, &field(*target), &field(*anchor)].concat();
            let counts = [u64::from(*tags).to_le_bytes(), length.to_le_bytes()].concat();
            let bytes = [&head[..], &counts, tag, data].concat();
            let good = *target < 2 && *anchor < 2 && *tags < 2 && length == tag.len() as u64;
            assert_eq!(decodes(&bytes), good);
            assert!(DataItem::decode(bytes).and_then(DataItem::verify).is_err());
            decoded.count(good);
        },
    );
    decoded.at_least(ITERATIONS / 20);
}

#[test]
fn damaged_items() {
    let wallets = [
        Wallet::ed25519_from_seed([1; 32]),
        Wallet::ethereum_from_secret([1; 32]).unwrap(),
        Wallet::solana_from_seed([1; 32]),
    ];
    let builder = ItemBuilder::new().target([7; 32].into()).anchor([8; 32]).tag("Action", "Eval").tag("b", "");
    let good = wallets.map(|wallet| {
        let item = builder.clone().data(b"hi").sign(&wallet).unwrap();
        let keys = 2 + wallet.signature_type().signature_len() + wallet.owner().len();
        (item, keys)
    });
    let decoded = Decoded::default();
    // What follows the keys decides how the rest is read, so it is changed more often.
    let changes = || produce::<Vec<(u16, u8)>>().with().len(0usize..3);
    let input = (0..3usize, changes(), changes(), 0..4usize);
    check!().with_iterations(ITERATIONS).with_generator(input).for_each(|(which, anywhere, behind, cut)| {
        let (item, keys) = &good[*which];
        let mut bytes = changed(item.bytes(), anywhere);
        let rest = changed(&bytes[*keys..], behind);
        bytes.truncate(*keys);
        bytes.extend(rest);
        bytes.truncate(bytes.len() - cut);
        decoded.count(decodes(&bytes));
        let verified = DataItem::decode(&bytes[..]).and_then(DataItem::verify).is_ok();
        assert_eq!(verified, bytes[..] == item.bytes()[..]);
    });
    decoded.at_least(ITERATIONS / 20);
}
