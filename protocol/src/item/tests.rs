//! Tests of items as a whole: every change is noticed, other forms of a signature are refused, foreign bytes never
//! panic.

use proptest::prelude::*;

use super::*;
use crate::wallet::Wallet;

fn wallets() -> Vec<Wallet> {
    vec![
        Wallet::ed25519_from_seed([1; 32]),
        Wallet::ethereum_from_secret([1; 32]).unwrap(),
        Wallet::solana_from_seed([1; 32]),
        Wallet::from_jwk(include_str!("../../../tests/golden/rsa-wallet.json")).unwrap(),
    ]
}

fn item(wallet: &Wallet) -> VerifiedItem {
    ItemBuilder::new().target([7; 32].into()).anchor([8; 32]).tag("a", "b").data(b"hello").sign(wallet).unwrap()
}

fn refused(bytes: &[u8]) -> bool {
    DataItem::decode(bytes).and_then(DataItem::verify).is_err()
}

#[test]
fn every_flipped_bit_is_noticed() {
    for wallet in wallets() {
        let good = item(&wallet).bytes().to_vec();
        for place in 0..good.len() {
            let mut bytes = good.clone();
            bytes[place] ^= 1 << (place % 8);
            assert!(refused(&bytes), "{wallet:?}: byte {place}");
        }
        for end in 0..good.len() {
            assert!(refused(&good[..end]), "{wallet:?}: cut off at {end}");
        }
        let mut longer = good;
        longer.push(0);
        assert!(refused(&longer), "{wallet:?}: a byte more");
    }
}

/// An item with another signature in it.
fn with_signature(wallet: &Wallet, change: impl Fn(&mut [u8])) -> Vec<u8> {
    let mut bytes = item(wallet).bytes().to_vec();
    let length = wallet.signature_type().signature_len();
    change(&mut bytes[2..2 + length]);
    bytes
}

/// Adds a little-endian number to another; both are below 2^256 and so is the sum.
fn add(number: &mut [u8], more: &[u8]) {
    let mut carry = 0;
    for (byte, more) in number.iter_mut().zip(more) {
        let sum = u16::from(*byte) + u16::from(*more) + carry;
        *byte = sum as u8;
        carry = sum >> 8;
    }
    assert_eq!(carry, 0);
}

#[test]
fn other_forms_of_ed25519_signatures_are_refused() {
    const ORDER: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0, 0, 0,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    for wallet in [Wallet::ed25519_from_seed([1; 32]), Wallet::solana_from_seed([1; 32])] {
        assert!(!refused(&with_signature(&wallet, |_| ())), "unchanged it verifies");
        // s + L is the same scalar: the equation holds, and the id would be another.
        assert!(refused(&with_signature(&wallet, |signature| add(&mut signature[32..], &ORDER))), "s + L");
        assert!(refused(&with_signature(&wallet, |signature| signature.fill(0))), "zeros");
    }
    // With the identity as key and as commitment and s = 0 the equation holds for every content.
    let identity = [1u8].into_iter().chain([0; 31]).collect::<Vec<u8>>();
    let mut bytes = 2u16.to_le_bytes().to_vec();
    bytes.extend(&identity);
    bytes.extend([0; 32]);
    bytes.extend(&identity);
    bytes.extend([0; 18]);
    assert!(DataItem::decode(bytes.clone()).is_ok());
    assert!(matches!(
        DataItem::decode(bytes).unwrap().verify(),
        Err(ItemError::Signature(signature::SignatureError::Owner))
    ));
}

#[test]
fn other_forms_of_ethereum_signatures_are_refused() {
    const ORDER: &[u8; 64] = b"fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141";
    let order: Vec<u8> =
        ORDER.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect();
    let wallet = Wallet::ethereum_from_secret([1; 32]).unwrap();
    assert!(!refused(&with_signature(&wallet, |_| ())), "unchanged it verifies");
    // n - s with the other v recovers the same key.
    let twin = with_signature(&wallet, |signature| {
        let mut borrow = 0i16;
        for place in (0..32).rev() {
            let difference = i16::from(order[place]) - i16::from(signature[32 + place]) - borrow;
            signature[32 + place] = difference.rem_euclid(256) as u8;
            borrow = i16::from(difference < 0);
        }
        signature[64] = 55 - signature[64];
    });
    assert!(matches!(
        DataItem::decode(twin).unwrap().verify(),
        Err(ItemError::Signature(signature::SignatureError::NotCanonical))
    ));
    for v in [0u8, 1, 26, 29, 255] {
        assert!(refused(&with_signature(&wallet, |signature| signature[64] = v)), "v = {v}");
    }
    let other_v = with_signature(&wallet, |signature| signature[64] = 55 - signature[64]);
    assert!(refused(&other_v), "the other v recovers another key");
    assert!(refused(&with_signature(&wallet, |signature| signature[..64].fill(0))), "zeros");
}

#[test]
fn other_forms_of_rsa_signatures_are_refused() {
    let wallet = wallets().remove(3);
    let modulus = wallet.owner().to_vec();
    // s and s + n are the same signature where both fit into 512 bytes; look for one where they do.
    let mut tried = 0;
    let (mut bytes, sum) = loop {
        tried += 1;
        assert!(tried < 200, "no signature is small enough");
        let bytes = item(&wallet).bytes().to_vec();
        let (mut sum, mut carry) = (bytes[2..514].to_vec(), 0u16);
        for (byte, more) in sum.iter_mut().zip(&modulus).rev() {
            let total = u16::from(*byte) + u16::from(*more) + carry;
            *byte = total as u8;
            carry = total >> 8;
        }
        if carry == 0 {
            break (bytes, sum);
        }
    };
    assert!(!refused(&bytes));
    bytes[2..514].copy_from_slice(&sum);
    assert!(matches!(
        DataItem::decode(bytes).unwrap().verify(),
        Err(ItemError::Signature(signature::SignatureError::NotCanonical))
    ));
    for fill in [0, 255] {
        assert!(refused(&with_signature(&wallet, |signature| signature.fill(fill))), "filled with {fill}");
    }
}

#[test]
fn limits_are_kept() {
    let wallet = Wallet::ed25519_from_seed([1; 32]);
    let large = ItemBuilder::new().data(vec![0; MAX_ITEM_BYTES]).sign(&wallet);
    assert!(matches!(large, Err(ItemError::Oversize(_))));
    let tags = ItemBuilder::new().tag("a", "x".repeat(5000)).sign(&wallet);
    assert!(matches!(tags, Err(ItemError::Tags(TagError::Oversize(_)))));
    for (bytes, expected) in [(vec![5, 0], "signature type 5"), (vec![1], "the signature type"), (vec![], "type")] {
        let cause = DataItem::decode(bytes).unwrap_err().to_string();
        assert!(cause.contains(expected), "{cause}");
    }
}

fn builder() -> impl Strategy<Value = ItemBuilder> {
    let tags = prop::collection::vec(("\\PC{0,20}", "\\PC{0,40}").prop_map(|(name, value)| Tag { name, value }), 0..12);
    let data = prop::collection::vec(any::<u8>(), 0..300);
    (any::<Option<[u8; 32]>>(), any::<Option<[u8; 32]>>(), tags, data)
        .prop_map(|(target, anchor, tags, data)| ItemBuilder { target: target.map(Id::from), anchor, tags, data })
}

proptest! {
    #[test]
    fn what_is_signed_comes_back(builder in builder(), kind in 0usize..3) {
        let wallet = wallets().remove(kind);
        let signed = builder.sign(&wallet).unwrap();
        let read = DataItem::decode(signed.bytes().clone()).unwrap().verify().unwrap();
        prop_assert_eq!(read.target(), builder.target);
        prop_assert_eq!(read.anchor(), builder.anchor.as_ref());
        prop_assert_eq!(read.tags(), &builder.tags[..]);
        prop_assert_eq!(read.data(), &builder.data[..]);
        prop_assert_eq!(read.signer_text(), wallet.signer_text());
    }

    #[test]
    fn foreign_bytes_never_panic(kind in 0u16..6, rest in prop::collection::vec(any::<u8>(), 0..1500)) {
        let mut bytes = kind.to_le_bytes().to_vec();
        bytes.extend(rest);
        prop_assert!(refused(&bytes));
        let _ = bundle::decode_nested(&bytes);
    }
}
