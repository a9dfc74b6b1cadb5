//! A wallet's signature with what it takes to check it, for what is signed and is no ANS-104 item.

use serde::{Deserialize, Serialize};

use crate::id::Address;
use crate::item::{SignatureType, deep_hash, signature};
use crate::wallet::{Signer, WalletError};

/// Who signed something, and the signature.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seal {
    signature_type: u16,
    owner: Vec<u8>,
    signature: Vec<u8>,
}

impl Seal {
    /// Signs a list of parts; the first one says what they are, so that they can be taken for nothing else that a
    /// wallet signs.
    pub(crate) fn sign(parts: &[&[u8]], signer: &dyn Signer) -> Result<Seal, WalletError> {
        Ok(Seal {
            signature: signer.sign(&deep_hash::list(parts))?,
            signature_type: signer.signature_type() as u16,
            owner: signer.owner().to_vec(),
        })
    }

    /// Whether it is the signature of these parts.
    pub(crate) fn is_of(&self, parts: &[&[u8]]) -> bool {
        let Some(kind) = SignatureType::from_u16(self.signature_type) else { return false };
        signature::verify(kind, &self.owner, &deep_hash::list(parts), &self.signature).is_ok()
    }

    /// Who signed.
    pub fn address(&self) -> Address {
        Address::of_owner(&self.owner)
    }
}
