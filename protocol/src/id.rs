//! 32-byte names: item ids, wallet addresses and commitments, each a type of its own, all written as 43 characters of
//! base64url without padding.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};
use thiserror::Error;

/// Why a text is not a 32-byte name.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum IdError {
    /// Not base64url, or padded, or with stray bits at the end.
    #[error("{0:?} is not base64url without padding; ids have 43 characters")]
    Encoding(String),
    /// Base64url of another number of bytes.
    #[error("{text:?} encodes {bytes} bytes; an id is 43 characters for 32 bytes")]
    Length {
        /// The text.
        text: String,
        /// How many bytes it encodes.
        bytes: usize,
    },
}

/// Base64url without padding.
pub fn encode_base64url(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Reads base64url without padding; one value has one text.
pub fn decode_base64url(text: &str) -> Result<Vec<u8>, IdError> {
    URL_SAFE_NO_PAD.decode(text).map_err(|_| IdError::Encoding(shortened(text)))
}

/// Foreign text in an error message is cut.
fn shortened(text: &str) -> String {
    text.chars().take(64).collect()
}

macro_rules! id32 {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 32]);

        impl $name {
            /// The bytes.
            pub fn to_bytes(self) -> [u8; 32] {
                self.0
            }
        }

        impl From<[u8; 32]> for $name {
            fn from(bytes: [u8; 32]) -> $name {
                $name(bytes)
            }
        }

        impl AsRef<[u8]> for $name {
            fn as_ref(&self) -> &[u8] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&encode_base64url(&self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{self}")
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<$name, IdError> {
                let bytes = decode_base64url(text)?;
                let length = bytes.len();
                let wrong = |_| IdError::Length { text: shortened(text), bytes: length };
                bytes.try_into().map($name).map_err(wrong)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                if serializer.is_human_readable() {
                    serializer.collect_str(self)
                } else {
                    self.0.serialize(serializer)
                }
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<$name, D::Error> {
                if deserializer.is_human_readable() {
                    String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
                } else {
                    <[u8; 32]>::deserialize(deserializer).map($name)
                }
            }
        }
    };
}

id32! {
    /// The id of an item: sha-256 of its signature. A process's or module's id is that of its item.
    Id
}

id32! {
    /// The native address of a wallet: sha-256 of its public key.
    Address
}

id32! {
    /// A hash that commits to something: a link of a chain, a merkle root.
    Digest
}

impl Address {
    /// The address of a public key.
    pub fn of_owner(owner: &[u8]) -> Address {
        Address(Sha256::digest(owner).into())
    }
}

impl Id {
    /// The id that a signature gives.
    pub fn of_signature(signature: &[u8]) -> Id {
        Id(Sha256::digest(signature).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_bytes_are_one_to_one() {
        let id = Id::from([0xfb; 32]);
        let text = id.to_string();
        assert_eq!(text.len(), 43);
        assert_eq!(text.parse::<Id>(), Ok(id));
        assert!(format!("{text}=").parse::<Id>().is_err(), "padding");
        assert!(text[1..].parse::<Id>().is_err(), "42 characters");
        // 43 characters hold 258 bits: the two that are left over must be zero.
        let stray = format!("{}_", &text[..42]);
        assert!(stray.parse::<Id>().is_err(), "stray bits");
        assert!("+".repeat(43).parse::<Id>().is_err(), "the other alphabet");
    }

    #[test]
    fn serde_is_text_for_people_and_bytes_for_machines() {
        let id = Id::from([1; 32]);
        let json = serde_json::to_string(&id).unwrap();
        assert_eq!(json, format!("\"{id}\""));
        assert_eq!(serde_json::from_str::<Id>(&json).unwrap(), id);
        let bytes = crate::wire::encode(&id);
        assert_eq!(bytes.len(), 33);
        assert_eq!(crate::wire::decode::<Id>(&bytes).unwrap(), id);
    }
}
