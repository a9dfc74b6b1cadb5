//! Signatures of the four kinds that items carry, verified canonically: nobody can turn one signed item into two ids
//! by changing the form of its signature.

use aws_lc_rs::signature::{
    ED25519, RSA_PSS_2048_8192_SHA256, RsaParameters, RsaPssSaltLength, RsaPublicKeyComponents, UnparsedPublicKey,
};
use k256::ecdsa::{RecoveryId, Signature, VerifyingKey};
use num_bigint::BigUint;
use sha2::{Digest as _, Sha256};
use sha3::Keccak256;
use thiserror::Error;

/// Who made the key, and so how the deep hash is signed (ANS-104).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u16)]
pub enum SignatureType {
    /// RSA-PSS with SHA-256 over the deep hash; the owner is a modulus of 4096 bits.
    Arweave = 1,
    /// Ed25519 over the deep hash.
    Ed25519 = 2,
    /// secp256k1 over the deep hash as an Ethereum personal message (EIP-191).
    Ethereum = 3,
    /// Ed25519 over the deep hash in lower-case hexadecimal.
    Solana = 4,
}

/// Why a signature does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SignatureError {
    /// The owner is no public key of the type, or one that must not be used.
    #[error("the owner is no usable public key of this signature type")]
    Owner,
    /// Another form of a signature than the one that counts.
    #[error("the signature is not in canonical form")]
    NotCanonical,
    /// It was not made with this key for this content.
    #[error("the signature does not match owner and content")]
    Wrong,
}

impl SignatureType {
    /// The type with this number.
    pub fn from_u16(number: u16) -> Option<SignatureType> {
        match number {
            1 => Some(SignatureType::Arweave),
            2 => Some(SignatureType::Ed25519),
            3 => Some(SignatureType::Ethereum),
            4 => Some(SignatureType::Solana),
            _ => None,
        }
    }

    /// Bytes of a signature.
    pub fn signature_len(self) -> usize {
        match self {
            SignatureType::Arweave => 512,
            SignatureType::Ed25519 | SignatureType::Solana => 64,
            SignatureType::Ethereum => 65,
        }
    }

    /// Bytes of an owner.
    pub fn owner_len(self) -> usize {
        match self {
            SignatureType::Arweave => 512,
            SignatureType::Ed25519 | SignatureType::Solana => 32,
            SignatureType::Ethereum => 65,
        }
    }
}

/// Verifies a signature over a deep hash.
pub fn verify(kind: SignatureType, owner: &[u8], hash: &[u8; 48], signature: &[u8]) -> Result<(), SignatureError> {
    if owner.len() != kind.owner_len() {
        return Err(SignatureError::Owner);
    }
    if signature.len() != kind.signature_len() {
        return Err(SignatureError::NotCanonical);
    }
    match kind {
        SignatureType::Arweave => rsa_pss(owner, hash, signature),
        SignatureType::Ed25519 => ed25519(owner, hash, signature),
        SignatureType::Ethereum => ethereum(owner, hash, signature),
        SignatureType::Solana => ed25519(owner, &lower_hex(hash), signature),
    }
}

/// What a Solana wallet signs: the hash as text.
pub fn lower_hex(hash: &[u8; 48]) -> Vec<u8> {
    hash.iter().flat_map(|byte| format!("{byte:02x}").into_bytes()).collect()
}

/// What an Ethereum wallet signs: the hash of the personal message (EIP-191).
pub fn ethereum_prehash(hash: &[u8; 48]) -> [u8; 32] {
    Keccak256::new().chain_update(b"\x19Ethereum Signed Message:\n48").chain_update(hash).finalize().into()
}

/// The address that Ethereum shows for an uncompressed public key, with the capitals of EIP-55; none when the owner is
/// not one.
pub fn ethereum_address(owner: &[u8]) -> Option<String> {
    let (4, key) = owner.split_first().map(|(first, key)| (*first, key))? else { return None };
    let hash = Keccak256::digest(key);
    let text: String = hash.iter().skip(12).map(|byte| format!("{byte:02x}")).collect();
    let capitals = Keccak256::digest(text.as_bytes());
    let checked = text.char_indices().map(|(place, letter)| {
        let byte = capitals.get(place / 2).copied().unwrap_or(0);
        let nibble = if place % 2 == 0 { byte >> 4 } else { byte & 15 };
        if nibble >= 8 { letter.to_ascii_uppercase() } else { letter }
    });
    Some(format!("0x{}", checked.collect::<String>()))
}

/// y-coordinates, little-endian and without sign, of the points of small order and of their other spellings. With such
/// a key or commitment one signature can verify for many contents.
const SMALL_ORDER: [[u8; 32]; 7] = {
    const fn filled(first: u8, middle: u8, last: u8) -> [u8; 32] {
        let mut bytes = [middle; 32];
        bytes[0] = first;
        bytes[31] = last;
        bytes
    }
    [
        filled(0, 0, 0),
        filled(1, 0, 0),
        [
            0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0, 0xd5, 0xdf,
            0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
        ],
        [
            0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f, 0x2a, 0x20,
            0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a,
        ],
        filled(0xec, 0xff, 0x7f),
        filled(0xed, 0xff, 0x7f),
        filled(0xee, 0xff, 0x7f),
    ]
};

/// The order of the Ed25519 group, little-endian.
const GROUP_ORDER: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

/// The prime of the Ed25519 field, little-endian.
const FIELD_PRIME: [u8; 32] = {
    let mut bytes = [0xff; 32];
    bytes[0] = 0xed;
    bytes[31] = 0x7f;
    bytes
};

/// Whether a number, little-endian, is below another.
fn below(number: &[u8], bound: &[u8; 32]) -> bool {
    number.iter().rev().lt(bound.iter().rev())
}

/// Whether the encoding of a point is canonical and its order is not small.
fn usable_point(encoded: &[u8]) -> bool {
    let mut y = encoded.to_vec();
    if let Some(last) = y.last_mut() {
        *last &= 0x7f;
    }
    below(&y, &FIELD_PRIME) && !SMALL_ORDER.iter().any(|small| *small == y[..])
}

fn ed25519(owner: &[u8], message: &[u8], signature: &[u8]) -> Result<(), SignatureError> {
    let (commitment, scalar) = signature.split_at(32);
    if !usable_point(owner) {
        return Err(SignatureError::Owner);
    }
    if !usable_point(commitment) || !below(scalar, &GROUP_ORDER) {
        return Err(SignatureError::NotCanonical);
    }
    UnparsedPublicKey::new(&ED25519, owner).verify(message, signature).map_err(|_| SignatureError::Wrong)
}

fn ethereum(owner: &[u8], hash: &[u8; 48], signature: &[u8]) -> Result<(), SignatureError> {
    if owner.first() != Some(&4) {
        return Err(SignatureError::Owner);
    }
    let key = VerifyingKey::from_sec1_bytes(owner).map_err(|_| SignatureError::Owner)?;
    let (numbers, v) = signature.split_at(64);
    let recovery = match v {
        [27] => RecoveryId::new(false, false),
        [28] => RecoveryId::new(true, false),
        _ => return Err(SignatureError::NotCanonical),
    };
    let numbers = Signature::from_slice(numbers).map_err(|_| SignatureError::NotCanonical)?;
    if numbers.normalize_s() != numbers {
        return Err(SignatureError::NotCanonical);
    }
    // Recovery proves the signature and that v is the one that belongs to it.
    match VerifyingKey::recover_from_prehash(&ethereum_prehash(hash), &numbers, recovery) {
        Ok(recovered) if recovered == key => Ok(()),
        _ => Err(SignatureError::Wrong),
    }
}

/// The public exponent of all Arweave keys, 65537.
const RSA_EXPONENT: [u8; 3] = [1, 0, 1];
/// Salt of Node.js's signers: as long as fits.
const LONGEST_SALT: RsaParameters = RSA_PSS_2048_8192_SHA256.with_pss_salt_length(RsaPssSaltLength::Max);
/// Salt of browsers' wallets: as long as the hash.
const HASH_SALT: RsaParameters = RSA_PSS_2048_8192_SHA256.with_pss_salt_length(RsaPssSaltLength::Digest);

fn rsa_pss(owner: &[u8], hash: &[u8; 48], signature: &[u8]) -> Result<(), SignatureError> {
    // Exactly 4096 bits, and odd as a product of two primes is.
    let shaped = owner.first().is_some_and(|first| first & 0x80 != 0) && owner.last().is_some_and(|last| last & 1 == 1);
    if !shaped {
        return Err(SignatureError::Owner);
    }
    if signature >= owner {
        return Err(SignatureError::NotCanonical);
    }
    let key = RsaPublicKeyComponents { n: owner, e: &RSA_EXPONENT[..] };
    if [&LONGEST_SALT, &HASH_SALT].into_iter().any(|params| key.verify(params, hash, signature).is_ok()) {
        return Ok(());
    }
    // Any other salt is allowed too. Its length shows in the padding, so that one more verification decides.
    let length = salt_length(owner, signature).ok_or(SignatureError::Wrong)?;
    let params = RSA_PSS_2048_8192_SHA256.with_pss_salt_length(RsaPssSaltLength::Custom(length));
    key.verify(&params, hash, signature).map_err(|_| SignatureError::Wrong)
}

/// The length of the salt in a PSS signature by a key of 4096 bits (RFC 8017, 9.1.2): the encoded message is a masked
/// block of zeros, a one and the salt, then 32 bytes of hash that give the mask, then 0xbc.
fn salt_length(owner: &[u8], signature: &[u8]) -> Option<u16> {
    let number = BigUint::from_bytes_be(signature);
    let encoded = number.modpow(&BigUint::from_bytes_be(&RSA_EXPONENT), &BigUint::from_bytes_be(owner)).to_bytes_be();
    let mut message = vec![0; 512 - encoded.len().min(512)];
    message.extend(encoded);
    let (rest, trailer) = message.split_at_checked(511)?;
    let (masked, hash) = rest.split_at_checked(479)?;
    if trailer != [0xbc] {
        return None;
    }
    let mask = (0u32..15).flat_map(|count| {
        let block = Sha256::new().chain_update(hash).chain_update(count.to_be_bytes()).finalize();
        <[u8; 32]>::from(block)
    });
    let mut block: Vec<u8> = masked.iter().zip(mask).map(|(byte, mask)| byte ^ mask).collect();
    *block.first_mut()? &= 0x7f;
    let one = block.iter().position(|byte| *byte != 0)?;
    if block.get(one) != Some(&1) {
        return None;
    }
    u16::try_from(block.len() - one - 1).ok()
}

#[cfg(test)]
mod tests {
    use sha2::Sha512;

    use super::*;
    use crate::id::decode_base64url;
    use crate::wallet::{Signer, Wallet};

    /// The deep hash that is signed here.
    const HASH: [u8; 48] = [5; 48];
    const RSA_WALLET: &str = include_str!("../../../tests/golden/rsa-wallet.json");

    fn big_endian(number: &BigUint, length: usize) -> Vec<u8> {
        let bytes = number.to_bytes_be();
        [vec![0; length - bytes.len()], bytes].concat()
    }

    fn little_endian(number: &BigUint) -> [u8; 32] {
        let mut bytes = number.to_bytes_le();
        bytes.resize(32, 0);
        bytes.try_into().unwrap()
    }

    fn check(wallet: &Wallet, signature: &[u8]) -> Result<(), SignatureError> {
        verify(wallet.signature_type(), wallet.owner(), &HASH, signature)
    }

    #[test]
    fn an_empty_signature_and_one_of_another_length_are_refused() {
        let wallets = [
            Wallet::from_jwk(RSA_WALLET).unwrap(),
            Wallet::ed25519_from_seed([1; 32]),
            Wallet::ethereum_from_secret([1; 32]).unwrap(),
            Wallet::solana_from_seed([1; 32]),
        ];
        for wallet in wallets {
            let good = wallet.sign(&HASH).unwrap();
            assert_eq!(check(&wallet, &good), Ok(()));
            assert!(check(&wallet, &vec![0; good.len()]).is_err(), "zeros, {wallet:?}");
            assert!(check(&wallet, &vec![0xff; good.len()]).is_err(), "ones, {wallet:?}");
            assert_eq!(check(&wallet, &good[1..]), Err(SignatureError::NotCanonical));
            assert_eq!(check(&wallet, &[&good[..], &[0]].concat()), Err(SignatureError::NotCanonical));
            let kind = wallet.signature_type();
            assert_eq!(verify(kind, &wallet.owner()[1..], &HASH, &good), Err(SignatureError::Owner));
            assert_eq!(verify(kind, wallet.owner(), &[6; 48], &good), Err(SignatureError::Wrong));
        }
    }

    #[test]
    fn ethereum_has_one_form() {
        let wallet = Wallet::ethereum_from_secret([1; 32]).unwrap();
        let order =
            BigUint::parse_bytes(b"fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141", 16).unwrap();
        let good = wallet.sign(&HASH).unwrap();
        let (r, s, v) = (&good[..32], &good[32..64], good[64]);
        let other_v = 27 + 28 - v;
        let high = big_endian(&(&order - BigUint::from_bytes_be(s)), 32);
        let order = big_endian(&order, 32);
        for v in 0..=255 {
            let expected = if v == good[64] {
                Ok(())
            } else if v == other_v {
                Err(SignatureError::Wrong)
            } else {
                Err(SignatureError::NotCanonical)
            };
            assert_eq!(check(&wallet, &[r, s, &[v]].concat()), expected, "v = {v}");
        }
        for v in [v, other_v] {
            for (case, r, s) in [
                ("high s", r, &high[..]),
                ("s of zero", r, &[0; 32]),
                ("r of zero", &[0; 32], s),
                ("s of the group's order", r, &order),
                ("r of the group's order", &order, s),
            ] {
                assert_eq!(
                    check(&wallet, &[r, s, &[v]].concat()),
                    Err(SignatureError::NotCanonical),
                    "{case}, v = {v}"
                );
            }
        }
        // The same key with the other spellings of its first byte: compressed, hybrid.
        for first in [0, 2, 3, 5, 6, 7] {
            let owner = [&[first], &wallet.owner()[1..]].concat();
            assert_eq!(verify(SignatureType::Ethereum, &owner, &HASH, &good), Err(SignatureError::Owner));
        }
        let off_curve = [&wallet.owner()[..64], &[wallet.owner()[64] ^ 1]].concat();
        assert_eq!(verify(SignatureType::Ethereum, &off_curve, &HASH, &good), Err(SignatureError::Owner));
    }

    /// The secret scalar of a seed (RFC 8032, 5.1.5).
    fn scalar(seed: [u8; 32]) -> BigUint {
        let mut bytes = Sha512::digest(seed)[..32].to_vec();
        bytes[0] &= 0xf8;
        bytes[31] = bytes[31] & 0x7f | 0x40;
        BigUint::from_bytes_le(&bytes)
    }

    #[test]
    fn ed25519_has_one_form() {
        let order = BigUint::from_bytes_le(&GROUP_ORDER);
        for wallet in [Wallet::ed25519_from_seed([1; 32]), Wallet::solana_from_seed([1; 32])] {
            let good = wallet.sign(&HASH).unwrap();
            let (commitment, s) = good.split_at(32);
            let s = BigUint::from_bytes_le(s);
            // The multiples of the order that still fit into 32 bytes.
            for times in 1u8..15 {
                let s = little_endian(&(&s + &order * times));
                assert_eq!(check(&wallet, &[commitment, &s].concat()), Err(SignatureError::NotCanonical), "{times}");
            }
            let negative = little_endian(&(&order - s));
            assert_eq!(check(&wallet, &[commitment, &negative].concat()), Err(SignatureError::Wrong));
            assert_eq!(check(&wallet, &[commitment, &GROUP_ORDER].concat()), Err(SignatureError::NotCanonical));
        }
    }

    #[test]
    fn keys_of_small_order_sign_everything_and_are_refused() {
        // With the neutral point as key, commitment s·B and s verify for all content.
        let neutral: [u8; 32] = SMALL_ORDER[1];
        let s = little_endian(&(scalar([3; 32]) % BigUint::from_bytes_le(&GROUP_ORDER)));
        let signature = [Wallet::ed25519_from_seed([3; 32]).owner(), &s].concat();
        UnparsedPublicKey::new(&ED25519, neutral)
            .verify(&HASH, &signature)
            .expect("so the library alone is not enough");
        for small in SMALL_ORDER {
            for sign in [0, 0x80] {
                let mut owner = small;
                owner[31] |= sign;
                for kind in [SignatureType::Ed25519, SignatureType::Solana] {
                    assert_eq!(verify(kind, &owner, &HASH, &signature), Err(SignatureError::Owner), "{owner:?}");
                }
            }
        }
        // Numbers beyond the field's prime are second spellings of small ones.
        for last in 0xed..=0xff {
            let mut owner = FIELD_PRIME;
            owner[0] = last;
            assert_eq!(verify(SignatureType::Ed25519, &owner, &HASH, &signature), Err(SignatureError::Owner));
        }
    }

    #[test]
    fn commitments_of_small_order_are_refused() {
        // Whoever has the key can sign with the commitment 0·B: s is then the hash times the secret.
        let wallet = Wallet::ed25519_from_seed([1; 32]);
        let neutral = SMALL_ORDER[1];
        let challenge = Sha512::new().chain_update(neutral).chain_update(wallet.owner()).chain_update(HASH).finalize();
        let s = BigUint::from_bytes_le(&challenge) * scalar([1; 32]) % BigUint::from_bytes_le(&GROUP_ORDER);
        let signature = [neutral, little_endian(&s)].concat();
        UnparsedPublicKey::new(&ED25519, wallet.owner()).verify(&HASH, &signature).expect("valid but for our rule");
        assert_eq!(check(&wallet, &signature), Err(SignatureError::NotCanonical));
    }

    /// Modulus and private exponent of the test wallet.
    fn rsa_numbers() -> [BigUint; 2] {
        let jwk: serde_json::Value = serde_json::from_str(RSA_WALLET).unwrap();
        ["n", "d"].map(|name| BigUint::from_bytes_be(&decode_base64url(jwk[name].as_str().unwrap()).unwrap()))
    }

    /// The encoded message of PSS (RFC 8017, 9.1.1) for a key of 4096 bits, with room for damage: `block` may change
    /// padding and salt before they are masked.
    fn encoded_message(salt: &[u8], block: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let message = Sha256::digest(HASH);
        let hash = Sha256::new().chain_update([0; 8]).chain_update(message).chain_update(salt).finalize();
        let mut masked = [vec![0; 478 - salt.len()], vec![1], salt.to_vec()].concat();
        block(&mut masked);
        for (count, part) in masked.chunks_mut(32).enumerate() {
            let mask = Sha256::new().chain_update(hash).chain_update((count as u32).to_be_bytes()).finalize();
            part.iter_mut().zip(mask).for_each(|(byte, mask)| *byte ^= mask);
        }
        masked[0] &= 0x7f;
        [&masked[..], &hash, &[0xbc]].concat()
    }

    #[test]
    fn rsa_takes_any_salt_and_no_other_padding() {
        let wallet = Wallet::from_jwk(RSA_WALLET).unwrap();
        let [modulus, secret] = rsa_numbers();
        let sign = |message: &[u8]| {
            let message = BigUint::from_bytes_be(message);
            assert!(message < modulus);
            big_endian(&message.modpow(&secret, &modulus), 512)
        };
        for length in [0, 1, 31, 32, 33, 100, 477, 478] {
            let signature = sign(&encoded_message(&vec![7; length], |_| ()));
            assert_eq!(check(&wallet, &signature), Ok(()), "salt of {length} bytes");
            assert_eq!(salt_length(wallet.owner(), &signature), Some(length as u16));
        }
        let salt = [7; 100];
        let good = encoded_message(&salt, |_| ());
        let changed = |place: usize, change: u8| {
            let mut message = good.clone();
            message[place] ^= change;
            message
        };
        let cases = [
            ("another salt than was hashed", encoded_message(&salt, |block| block[478] ^= 1)),
            ("a shorter salt than was hashed", encoded_message(&salt, |block| (block[378], block[379]) = (0, 1))),
            ("a longer salt than was hashed", encoded_message(&salt, |block| (block[377], block[378]) = (1, 1))),
            ("a one twice", encoded_message(&salt, |block| block[10] = 1)),
            ("padding that is not zero", encoded_message(&salt, |block| block[10] = 2)),
            ("no one", encoded_message(&salt, |block| block.fill(0))),
            ("another number in place of the one", encoded_message(&salt, |block| block[378] = 3)),
            ("another hash", changed(500, 1)),
            ("another trailer", changed(511, 0xbc ^ 0xcc)),
        ];
        for (case, message) in cases {
            assert_eq!(check(&wallet, &sign(&message)), Err(SignatureError::Wrong), "{case}");
        }
        // The bit above the 4095 that carry the message must be zero; some salts give a number that the key still
        // takes.
        let tall = (0u8..).map(|salt| encoded_message(&[salt; 100], |_| ())).find_map(|mut message| {
            message[0] |= 0x80;
            (BigUint::from_bytes_be(&message) < modulus).then_some(message)
        });
        assert_eq!(check(&wallet, &sign(&tall.unwrap())), Err(SignatureError::Wrong));
    }

    #[test]
    fn rsa_has_one_form() {
        let wallet = Wallet::from_jwk(RSA_WALLET).unwrap();
        let [modulus, _] = rsa_numbers();
        let limit = BigUint::from(1u8) << 4096;
        // Every second or so signature leaves room to add the modulus within 512 bytes.
        let signatures = std::iter::repeat_with(|| BigUint::from_bytes_be(&wallet.sign(&HASH).unwrap()));
        let good = signatures.take(100).find(|signature| signature + &modulus < limit).unwrap();
        assert_eq!(check(&wallet, &big_endian(&good, 512)), Ok(()));
        let twin = big_endian(&(&good + &modulus), 512);
        assert_eq!(check(&wallet, &twin), Err(SignatureError::NotCanonical), "s + n");
        assert_eq!(check(&wallet, wallet.owner()), Err(SignatureError::NotCanonical), "n");
        for (case, number) in [("n - s", &modulus - &good), ("1", 1u8.into()), ("n - 1", &modulus - 1u8)] {
            assert_eq!(check(&wallet, &big_endian(&number, 512)), Err(SignatureError::Wrong), "{case}");
        }
        let mut even = wallet.owner().to_vec();
        even[511] ^= 1;
        let mut short = wallet.owner().to_vec();
        short[0] &= 0x7f;
        for owner in [even, short, vec![0; 512]] {
            let kind = SignatureType::Arweave;
            assert_eq!(verify(kind, &owner, &HASH, &big_endian(&good, 512)), Err(SignatureError::Owner));
        }
    }

    #[test]
    fn ethereum_addresses_have_their_capitals() {
        // The examples of EIP-55 are addresses without keys; this key is the one of ones.
        let wallet = Wallet::ethereum_from_secret([1; 32]).unwrap();
        let address = ethereum_address(wallet.owner());
        assert_eq!(address.as_deref(), Some("0x1a642f0E3c3aF545E7AcBD38b07251B3990914F1"));
        assert_eq!(ethereum_address(&wallet.owner()[1..]), None);
    }
}
