//! Bytes as tags: never a panic; what is read is written again without getting longer, and reads the same.

// All of this is tests; clippy knows so of test functions only.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use ao_fuzz::{Decoded, changed};
use ao_protocol::tag::{Tag, decode, encode};
use bolero::{check, produce};

/// Inputs tried when run as a plain test.
const ITERATIONS: usize = 20_000;

/// Whether the bytes are tags of this number.
fn decodes(bytes: &[u8], declared: u64) -> bool {
    let Ok(tags) = decode(bytes, declared) else { return false };
    assert_eq!(tags.len() as u64, declared);
    // Several blocks and long spellings of lengths are allowed, so the bytes may differ; ours are never longer.
    let again = encode(&tags).unwrap();
    assert!(again.len() <= bytes.len());
    assert_eq!(decode(&again, declared).unwrap(), tags);
    true
}

#[test]
fn arbitrary_bytes() {
    let decoded = Decoded::default();
    let bytes = produce::<Vec<u8>>().with().len(0usize..4200);
    check!().with_iterations(ITERATIONS).with_generator(bytes).for_each(|bytes| {
        for declared in [0, 1, u64::MAX] {
            decodes(bytes, declared);
        }
    });
    // Small numbers, so that counts and lengths often fit.
    let bytes = produce::<Vec<u8>>().with().values(0..5u8).len(0usize..12);
    check!().with_iterations(ITERATIONS).with_generator(bytes).for_each(|bytes| {
        decoded.count((0..4).any(|declared| decodes(bytes, declared)));
    });
    decoded.at_least(ITERATIONS / 100);
}

#[test]
fn damaged_tags() {
    let decoded = Decoded::default();
    let tags = [Tag::new("Action", "Eval"), Tag::new("Empty", ""), Tag::new("Grüße", "日本語"), Tag::new("a", "b")];
    let good = encode(&tags).unwrap();
    let input = (produce::<Vec<(u16, u8)>>().with().len(0usize..3), 0..2usize);
    check!().with_iterations(ITERATIONS).with_generator(input).for_each(|(changes, cut)| {
        let mut bytes = changed(&good, changes);
        bytes.truncate(good.len() - cut);
        decoded.count((0..6).any(|declared| decodes(&bytes, declared)));
        assert_eq!(decode(&bytes, 4).is_ok_and(|read| read == tags && encode(&read).unwrap() == bytes), bytes == good);
    });
    decoded.at_least(ITERATIONS / 20);
}

/// Blocks as Avro allows them: several, with or without their size, which may be wrong.
#[test]
fn blocks() {
    let decoded = Decoded::default();
    let pairs = produce::<Vec<(char, char)>>().with().len(1usize..20);
    // One size in six is wrong.
    let block = (pairs, produce::<bool>(), 0..6u8);
    let blocks = produce::<Vec<(Vec<(char, char)>, bool, u8)>>().with().values(block).len(0usize..5);
    let input = (blocks, 0..6u8);
    check!().with_iterations(ITERATIONS).with_generator(input).for_each(|(blocks, end)| {
        let ended = *end > 0;
        let (mut bytes, mut tags, mut sound) = (Vec::new(), Vec::new(), ended);
        for (pairs, sized, size) in blocks {
            let block: Vec<Tag> = pairs.iter().map(|(name, value)| Tag::new(*name, *value)).collect();
            // Our own encoding of one block: a count (fewer than 64 take one byte), the tags, the end.
            let encoded = encode(&block).unwrap();
            let content = &encoded[1..encoded.len() - 1];
            let count = block.len() as u8;
            if *sized {
                // A negative count and the size, zig-zag: -n is 2n - 1; sizes below 8192 take two bytes.
                let wrong = u16::from(*size == 0);
                sound &= wrong == 0;
                let size = 2 * (content.len() as u16 + wrong);
                bytes.extend([2 * count - 1, size as u8 | 0x80, (size >> 7) as u8]);
            } else {
                bytes.push(2 * count);
            }
            bytes.extend_from_slice(content);
            tags.extend(block);
        }
        if ended {
            bytes.push(0);
        }
        // No bytes at all are no tags.
        sound |= bytes.is_empty();
        let declared = tags.len() as u64;
        decoded.count(decodes(&bytes, declared));
        assert_eq!(decode(&bytes, declared).ok(), sound.then_some(tags));
        assert!(decode(&bytes, declared + 1).is_err());
    });
    decoded.at_least(ITERATIONS / 4);
}
