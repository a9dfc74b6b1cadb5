//! Wallets: keys that sign items. Key files are JWKs: RSA of 4096 bits as Arweave has them, or OKP with Ed25519.

use std::fmt;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeyPairComponents, KeySize, PublicKeyComponents};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _, RSA_PSS_SHA256};
use k256::ecdsa::SigningKey;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::id::{Address, decode_base64url, encode_base64url};
use crate::item::SignatureType;
use crate::item::signature::{ethereum_address, ethereum_prehash, lower_hex};

/// Largest key file that is read, in bytes.
pub const MAX_JWK_BYTES: usize = 64 * 1024;

/// Why a wallet can't be read or can't sign.
#[derive(Debug, Error)]
pub enum WalletError {
    /// Not a JWK that can be used.
    #[error("not a wallet file: {0}; expected a JWK with an RSA key of 4096 bits or an OKP key of curve Ed25519")]
    Jwk(String),
    /// The key could not be used.
    #[error("signing failed: {0}")]
    Sign(String),
}

/// Signs deep hashes.
pub trait Signer: Send + Sync {
    /// The kind of key.
    fn signature_type(&self) -> SignatureType;
    /// The public key as items carry it.
    fn owner(&self) -> &[u8];
    /// Signs the deep hash in the way of the signature type.
    fn sign(&self, hash: &[u8; 48]) -> Result<Vec<u8>, WalletError>;
    /// The native address: sha-256 of the owner.
    fn address(&self) -> Address;
}

/// A private key.
pub struct Wallet {
    key: Key,
    owner: Vec<u8>,
    address: Address,
}

enum Key {
    Rsa { pair: Box<RsaKeyPair>, jwk: Box<Jwk> },
    Ed25519 { pair: Box<Ed25519KeyPair>, seed: [u8; 32], kind: SignatureType },
    Ethereum(Box<SigningKey>),
}

/// The members of a JWK that are used; a private key never shows in `Debug`.
#[derive(Clone, Default, Serialize, Deserialize)]
struct Jwk {
    kty: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    crv: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    x: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    n: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    e: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    d: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    p: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    q: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    dp: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    dq: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    qi: Option<String>,
}

impl Wallet {
    /// Reads a JWK.
    pub fn from_jwk(text: &str) -> Result<Wallet, WalletError> {
        if text.len() > MAX_JWK_BYTES {
            return Err(WalletError::Jwk(format!("{} bytes are too many", text.len())));
        }
        let jwk: Jwk = serde_json::from_str(text).map_err(|cause| WalletError::Jwk(cause.to_string()))?;
        match jwk.kty.as_str() {
            "RSA" => Wallet::rsa(jwk),
            "OKP" => {
                if jwk.crv.as_deref() != Some("Ed25519") {
                    return Err(WalletError::Jwk(format!("curve {:?}", jwk.crv.unwrap_or_default())));
                }
                let seed = member("d", &jwk.d)?.try_into();
                let wallet = Wallet::ed25519_from_seed(seed.map_err(|_| WalletError::Jwk("d is not 32 bytes".into()))?);
                match jwk.x.is_none() || member("x", &jwk.x)? == wallet.owner {
                    true => Ok(wallet),
                    false => Err(WalletError::Jwk("x is not the public key of d".into())),
                }
            }
            other => Err(WalletError::Jwk(format!("key type {other:?}"))),
        }
    }

    fn rsa(jwk: Jwk) -> Result<Wallet, WalletError> {
        let owner = member("n", &jwk.n)?;
        if owner.len() != SignatureType::Arweave.owner_len() || owner.first().is_none_or(|first| first & 0x80 == 0) {
            return Err(WalletError::Jwk(format!("an RSA key of {} bytes", owner.len())));
        }
        if member("e", &jwk.e)? != [1, 0, 1] {
            return Err(WalletError::Jwk("the RSA exponent is not 65537".into()));
        }
        let components = KeyPairComponents {
            public_key: PublicKeyComponents { n: owner.clone(), e: vec![1, 0, 1] },
            d: member("d", &jwk.d)?,
            p: member("p", &jwk.p)?,
            q: member("q", &jwk.q)?,
            dP: member("dp", &jwk.dp)?,
            dQ: member("dq", &jwk.dq)?,
            qInv: member("qi", &jwk.qi)?,
        };
        let pair = RsaKeyPair::from_components(&components)
            .map_err(|cause| WalletError::Jwk(format!("the RSA key is inconsistent: {cause}")))?;
        let address = Address::of_owner(&owner);
        Ok(Wallet { key: Key::Rsa { pair: Box::new(pair), jwk: Box::new(jwk) }, owner, address })
    }

    /// Makes an RSA key of 4096 bits from the system's randomness; takes seconds.
    pub fn generate_rsa() -> Result<Wallet, WalletError> {
        let failed = |what: &str| WalletError::Sign(format!("making an RSA key: {what}"));
        let pair = RsaKeyPair::generate(KeySize::Rsa4096).map_err(|_| failed("the generator failed"))?;
        let der: Pkcs8V1Der<'_> = pair.as_der().map_err(|_| failed("the key can't be written"))?;
        let numbers = pkcs8_rsa_numbers(der.as_ref()).ok_or_else(|| failed("the key can't be read back"))?;
        let [n, e, d, p, q, dp, dq, qi] = numbers.map(|number| Some(encode_base64url(&number)));
        Wallet::rsa(Jwk { kty: "RSA".into(), n, e, d, p, q, dp, dq, qi, ..Jwk::default() })
    }

    /// The Ed25519 wallet of a seed: signature type 2.
    pub fn ed25519_from_seed(seed: [u8; 32]) -> Wallet {
        Wallet::from_seed(seed, SignatureType::Ed25519)
    }

    /// The Solana wallet of a seed: signature type 4.
    pub fn solana_from_seed(seed: [u8; 32]) -> Wallet {
        Wallet::from_seed(seed, SignatureType::Solana)
    }

    fn from_seed(seed: [u8; 32], kind: SignatureType) -> Wallet {
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed);
        let pair = pair.unwrap_or_else(|_| unreachable!("any 32 bytes are a seed"));
        let owner = pair.public_key().as_ref().to_vec();
        let address = Address::of_owner(&owner);
        Wallet { key: Key::Ed25519 { pair: Box::new(pair), seed, kind }, owner, address }
    }

    /// The Ethereum wallet of a secret: signature type 3. Not every 32 bytes are one.
    pub fn ethereum_from_secret(secret: [u8; 32]) -> Result<Wallet, WalletError> {
        let key = SigningKey::from_slice(&secret)
            .map_err(|_| WalletError::Sign("these 32 bytes are no secp256k1 key".into()))?;
        let owner = key.verifying_key().to_sec1_point(false).as_bytes().to_vec();
        let address = Address::of_owner(&owner);
        Ok(Wallet { key: Key::Ethereum(Box::new(key)), owner, address })
    }

    /// The wallet as the text of a key file; none for kinds that have no such form.
    pub fn to_jwk(&self) -> Option<String> {
        let jwk = match &self.key {
            Key::Rsa { jwk, .. } => (**jwk).clone(),
            Key::Ed25519 { seed, kind: SignatureType::Ed25519, .. } => Jwk {
                kty: "OKP".into(),
                crv: Some("Ed25519".into()),
                x: Some(encode_base64url(&self.owner)),
                d: Some(encode_base64url(seed)),
                ..Jwk::default()
            },
            _ => return None,
        };
        serde_json::to_string(&jwk).ok()
    }

    /// The wallet as ao shows it: `0x…` for Ethereum keys, else the native address.
    pub fn signer_text(&self) -> String {
        let ethereum = match self.signature_type() {
            SignatureType::Ethereum => ethereum_address(&self.owner),
            _ => None,
        };
        ethereum.unwrap_or_else(|| self.address.to_string())
    }
}

impl Signer for Wallet {
    fn signature_type(&self) -> SignatureType {
        match &self.key {
            Key::Rsa { .. } => SignatureType::Arweave,
            Key::Ed25519 { kind, .. } => *kind,
            Key::Ethereum(_) => SignatureType::Ethereum,
        }
    }

    fn owner(&self) -> &[u8] {
        &self.owner
    }

    fn sign(&self, hash: &[u8; 48]) -> Result<Vec<u8>, WalletError> {
        match &self.key {
            Key::Rsa { pair, .. } => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PSS_SHA256, &SystemRandom::new(), hash, &mut signature)
                    .map_err(|_| WalletError::Sign("the RSA key failed".into()))?;
                Ok(signature)
            }
            Key::Ed25519 { pair, kind, .. } => Ok(match kind {
                SignatureType::Solana => pair.sign(&lower_hex(hash)).as_ref().to_vec(),
                _ => pair.sign(hash).as_ref().to_vec(),
            }),
            Key::Ethereum(key) => {
                let (numbers, recovery) = key.sign_prehash_recoverable(&ethereum_prehash(hash));
                let mut signature = numbers.to_bytes().to_vec();
                signature.push(27 + u8::from(recovery.is_y_odd()));
                Ok(signature)
            }
        }
    }

    fn address(&self) -> Address {
        self.address
    }
}

impl fmt::Debug for Wallet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Wallet({})", self.signer_text())
    }
}

fn member(name: &str, value: &Option<String>) -> Result<Vec<u8>, WalletError> {
    let text = value.as_ref().ok_or_else(|| WalletError::Jwk(format!("member {name} is missing")))?;
    decode_base64url(text).map_err(|_| WalletError::Jwk(format!("member {name} is not base64url")))
}

/// The eight numbers n, e, d, p, q, dp, dq, qi of an RSA key in PKCS#8 (RFC 5958 around RFC 8017 A.1.2).
fn pkcs8_rsa_numbers(der: &[u8]) -> Option<[Vec<u8>; 8]> {
    fn element(tag: u8, der: &[u8]) -> Option<(&[u8], &[u8])> {
        let (found, rest) = der.split_first()?;
        let (length, rest) = rest.split_first()?;
        let (length, rest) = match *length {
            length @ 0..0x80 => (usize::from(length), rest),
            long => {
                let (bytes, rest) = rest.split_at_checked(usize::from(long & 0x7f))?;
                (bytes.iter().fold(0usize, |length, byte| length << 8 | usize::from(*byte)), rest)
            }
        };
        if *found == tag { rest.split_at_checked(length) } else { None }
    }
    const INTEGER: u8 = 2;
    const OCTETS: u8 = 4;
    const SEQUENCE: u8 = 0x30;
    let (info, _) = element(SEQUENCE, der)?;
    let (_version, info) = element(INTEGER, info)?;
    let (_algorithm, info) = element(SEQUENCE, info)?;
    let (key, _) = element(OCTETS, info)?;
    let (numbers, _) = element(SEQUENCE, key)?;
    let (_version, mut rest) = element(INTEGER, numbers)?;
    let mut numbers = [const { Vec::new() }; 8];
    for number in &mut numbers {
        let (bytes, after) = element(INTEGER, rest)?;
        rest = after;
        *number = bytes.iter().copied().skip_while(|byte| *byte == 0).collect();
    }
    Some(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::item::{DataItem, ItemBuilder};

    fn unhex(text: &str) -> Vec<u8> {
        let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
        digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
    }

    #[test]
    fn an_ethereum_item_of_the_reference() {
        let bytes = unhex(
            "030016a27206d512f477a186025e77f2fc51b04dc7268a910298f9a934971b974a0a1edb78129fa349bcb3e0691bea1a3e57
             87831d50a1bf7d4f4339fa8adac077b71c041b84c5567b126440995d3ed5aaba0565d71e1834604819ff9c17f5e9d5dd078f
             70beaf8f588b541507fed6a642c5ab42dfdf8120a7f639de5122d47a69a8e8d1010707070707070707070707070707070707
             0707070707070707070707070707070130303030303030303030303030303030303030303030303030303030303030310200
             0000000000001f00000000000000040c416374696f6e084576616c1a446174612d50726f746f636f6c04616f0068656c6c6f",
        );
        let item = DataItem::decode(bytes.clone()).unwrap().verify().unwrap();
        assert_eq!(item.id().to_string(), "QMTKWnE1dr6mL1QZWS10BupyFbDLP_vraJz2kyiqyEQ");
        assert_eq!(item.signer_text(), "0x1a642f0E3c3aF545E7AcBD38b07251B3990914F1");
        assert_eq!(item.address().to_string(), "wMXg2SfkzLtbvwPVDa52p5EUopaMrraR6R_scnfpm-U");
        let ours = ItemBuilder::new()
            .target([7; 32].into())
            .anchor(*b"00000000000000000000000000000001")
            .tag("Action", "Eval")
            .tag("Data-Protocol", "ao")
            .data(b"hello")
            .sign(&Wallet::ethereum_from_secret([1; 32]).unwrap())
            .unwrap();
        assert_eq!(ours.bytes()[..], bytes[..], "the signature is deterministic (RFC 6979)");
    }

    #[test]
    fn ed25519_and_solana_items_of_the_reference() {
        let ed25519 = ItemBuilder::new().data(b"hi").sign(&Wallet::ed25519_from_seed([1; 32])).unwrap();
        assert_eq!(ed25519.id().to_string(), "ze697SEy4xbViHr1HVcedkaVQzvAPgYCTW5Xh1JJj-A");
        let solana = ItemBuilder::new().data(b"hi").sign(&Wallet::solana_from_seed([1; 32])).unwrap();
        assert_eq!(solana.id().to_string(), "Rfg46QmlvDWn2wwgHV1WpWWvkMYb5US04B-Xn8abUgM");
        for item in [ed25519, solana] {
            DataItem::decode(item.bytes().clone()).unwrap().verify().unwrap();
        }
    }

    #[test]
    fn key_files_are_read_back() {
        let wallet = Wallet::ed25519_from_seed([9; 32]);
        assert_eq!(Wallet::from_jwk(&wallet.to_jwk().unwrap()).unwrap().address(), wallet.address());
        let rsa = Wallet::generate_rsa().unwrap();
        let again = Wallet::from_jwk(&rsa.to_jwk().unwrap()).unwrap();
        assert_eq!(again.address(), rsa.address());
        let item = ItemBuilder::new().data(b"x").sign(&again).unwrap();
        DataItem::decode(item.bytes().clone()).unwrap().verify().unwrap();
    }

    #[test]
    fn a_file_that_is_no_wallet_says_why() {
        let cases = [
            ("hello", "expected"),
            (r#"{"kty":"EC"}"#, "EC"),
            (r#"{"kty":"OKP","crv":"X25519","d":""}"#, "X25519"),
            (r#"{"kty":"OKP","crv":"Ed25519","d":"AA"}"#, "32 bytes"),
            (r#"{"kty":"RSA","n":"AQAB","e":"AQAB"}"#, "RSA key of 3 bytes"),
            (r#"{"kty":"RSA","e":"AQAB"}"#, "n is missing"),
        ];
        for (text, expected) in cases {
            let cause = Wallet::from_jwk(text).unwrap_err().to_string();
            assert!(cause.contains(expected) && cause.contains("expected a JWK"), "{text}: {cause}");
        }
    }
}
