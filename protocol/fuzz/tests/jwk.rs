//! Text as wallet files: never a panic, and a wallet that is read is written so that it is read as the same one.

// All of this is tests; clippy knows so of test functions only.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use ao_fuzz::{Decoded, changed};
use ao_protocol::id::encode_base64url;
use ao_protocol::item::{DataItem, ItemBuilder};
use ao_protocol::wallet::{Signer, Wallet};
use bolero::{check, produce};

/// Inputs tried when run as a plain test.
const ITERATIONS: usize = 20_000;
/// The same where most inputs lead to RSA or Ed25519 operations.
const SLOW_ITERATIONS: usize = 2_000;

/// Whether the text is a wallet.
fn decodes(text: &str) -> bool {
    let Ok(wallet) = Wallet::from_jwk(text) else { return false };
    let written = wallet.to_jwk().unwrap();
    let again = Wallet::from_jwk(&written).unwrap();
    assert_eq!(again.owner(), wallet.owner());
    assert_eq!(again.to_jwk().unwrap(), written);
    let item = ItemBuilder::new().sign(&again).unwrap();
    DataItem::decode(item.bytes().clone()).unwrap().verify().unwrap();
    true
}

#[test]
fn arbitrary_text() {
    check!().with_iterations(ITERATIONS).for_each(|bytes: &[u8]| {
        decodes(&String::from_utf8_lossy(bytes));
    });
}

/// Members of any kind of key with arbitrary content.
#[test]
fn arbitrary_members() {
    const NAMES: [&str; 9] = ["x", "n", "e", "d", "p", "q", "dp", "dq", "qi"];
    let members = produce::<Vec<(usize, Vec<u8>)>>()
        .with()
        .values((0..NAMES.len(), produce::<Vec<u8>>().with().len(0usize..600)))
        .len(0usize..10);
    check!().with_iterations(SLOW_ITERATIONS).with_generator((0..3usize, members)).for_each(|(kind, members)| {
        let kind = [r#""kty":"OKP","crv":"Ed25519""#, r#""kty":"RSA""#, r#""kty":"EC""#][*kind];
        let members =
            members.iter().map(|(name, value)| format!(r#","{}":"{}""#, NAMES[*name], encode_base64url(value)));
        decodes(&format!("{{{kind}{}}}", members.collect::<String>()));
    });
}

/// Every Ed25519 seed is a wallet; with a public key that is not its own it is none.
#[test]
fn ed25519_members() {
    let input = (produce::<[u8; 32]>(), produce::<Vec<u8>>().with().len(30usize..35), 0..4u8);
    check!().with_iterations(SLOW_ITERATIONS).with_generator(input).for_each(|(seed, other, form)| {
        let wallet = Wallet::ed25519_from_seed(*seed);
        let (own, d, foreign) = (encode_base64url(wallet.owner()), encode_base64url(seed), encode_base64url(other));
        let (members, good) = match form {
            0 => (format!(r#""d":"{d}""#), true),
            1 => (format!(r#""d":"{d}","x":"{own}""#), true),
            2 => (format!(r#""d":"{d}","x":"{foreign}""#), other == wallet.owner()),
            _ => (format!(r#""d":"{foreign}""#), other.len() == 32),
        };
        let text = format!(r#"{{"kty":"OKP","crv":"Ed25519",{members}}}"#);
        assert_eq!(decodes(&text), good, "{text}");
    });
}

/// What is still read of a damaged RSA wallet signs as it should.
#[test]
fn damaged_rsa_files() {
    let decoded = Decoded::default();
    let good = include_str!("../../../tests/golden/rsa-wallet.json");
    let changes = produce::<Vec<(u16, u8)>>().with().len(0usize..3);
    check!().with_iterations(SLOW_ITERATIONS / 4).with_generator(changes).for_each(|changes| {
        decoded.count(decodes(&String::from_utf8_lossy(&changed(good.as_bytes(), changes))));
    });
    decoded.at_least(SLOW_ITERATIONS / 100);
}
