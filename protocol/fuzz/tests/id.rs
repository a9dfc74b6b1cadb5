//! Text as ids and as base64url: never a panic, and one value has one text.

use ao_fuzz::{Decoded, changed};
use ao_protocol::id::{Address, Digest, Id, decode_base64url, encode_base64url};
use bolero::{check, produce};

/// Inputs tried when run as a plain test.
const ITERATIONS: usize = 50_000;

/// Whether the text is an id.
fn decodes(text: &str) -> bool {
    let decoded = decode_base64url(text);
    if let Ok(bytes) = &decoded {
        assert_eq!(encode_base64url(bytes), text);
    }
    let id = text.parse::<Id>();
    assert_eq!(id.is_ok(), decoded.is_ok_and(|bytes| bytes.len() == 32));
    if let Ok(id) = &id {
        assert_eq!(id.to_string(), text);
        assert_eq!(text.len(), 43);
    }
    assert_eq!(text.parse::<Address>().map(Address::to_bytes), id.clone().map(Id::to_bytes));
    assert_eq!(text.parse::<Digest>().map(Digest::to_bytes), id.clone().map(Id::to_bytes));
    id.is_ok()
}

#[test]
fn arbitrary_text() {
    check!().with_iterations(ITERATIONS).for_each(|bytes: &[u8]| {
        decodes(&String::from_utf8_lossy(bytes));
    });
}

/// The right length or nearly, with letters of the alphabet or others.
#[test]
fn near_ids() {
    let decoded = Decoded::default();
    let changes = produce::<Vec<(u16, u8)>>().with().len(0usize..3);
    let input = (produce::<[u8; 32]>(), changes, 40..46usize);
    check!().with_iterations(ITERATIONS).with_generator(input).for_each(|(bytes, changes, length)| {
        let id = Id::from(*bytes);
        assert!(decodes(&id.to_string()));
        let mut text = changed(id.to_string().as_bytes(), changes);
        text.resize(*length, b'A');
        decoded.count(decodes(&String::from_utf8_lossy(&text)));
    });
    decoded.at_least(ITERATIONS / 50);
}
