//! An attestation: a compute unit signs the outcome chain after a slot, and with it every outcome up to there.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::id::{Address, Digest, Id};
use crate::item::{SignatureType, deep_hash, signature};
use crate::wallet::{Signer, WalletError};
use crate::wire::{self, FrameError};

/// What is signed, so that an attestation can be nothing else that a wallet signs.
const DOMAIN: &[u8] = b"ao-attestation-1";

/// What a compute unit attests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// Hash of the network file it computes under.
    pub network: Digest,
    /// The module format whose semantics it followed.
    pub format: String,
    /// The process.
    pub process: Id,
    /// The last slot that is covered; all since the unit's last attestation are.
    pub slot: u64,
    /// The assignment in that slot.
    pub assignment: Id,
    /// The outcome chain after that slot.
    pub outcome_chain: Digest,
    /// Hash of the snapshot, exactly at rebuild points.
    pub checkpoint: Option<Digest>,
}

/// A claim with its signature, verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attestation {
    claim: Claim,
    signature_type: SignatureType,
    owner: Vec<u8>,
    signature: Vec<u8>,
}

#[derive(Serialize, Deserialize)]
struct Parts {
    claim: Claim,
    signature_type: u16,
    owner: Vec<u8>,
    signature: Vec<u8>,
}

/// Why bytes are not an attestation.
#[derive(Debug, Error)]
pub enum AttestationError {
    /// Not framed as one.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The signature is wrong, or of a kind that is not known.
    #[error("the attestation of slot {slot} of {process} is not signed by its unit")]
    Signature {
        /// Which process.
        process: Id,
        /// Which slot.
        slot: u64,
    },
}

impl Claim {
    /// The 48 bytes that are signed.
    fn message(&self) -> [u8; 48] {
        let checkpoint = self.checkpoint.as_ref().map(AsRef::as_ref).unwrap_or_default();
        deep_hash::list(&[
            DOMAIN,
            self.network.as_ref(),
            self.format.as_bytes(),
            self.process.as_ref(),
            &self.slot.to_le_bytes(),
            self.assignment.as_ref(),
            self.outcome_chain.as_ref(),
            checkpoint,
        ])
    }

    /// Signs the claim with the unit's wallet.
    pub fn sign(self, signer: &dyn Signer) -> Result<Attestation, WalletError> {
        Ok(Attestation {
            signature: signer.sign(&self.message())?,
            signature_type: signer.signature_type(),
            owner: signer.owner().to_vec(),
            claim: self,
        })
    }
}

impl Attestation {
    /// Reads and verifies what a peer sent.
    pub fn verify(bytes: &[u8]) -> Result<Attestation, AttestationError> {
        let attestation = Attestation::from_own_store(bytes)?;
        let Attestation { claim, signature_type, owner, signature } = &attestation;
        signature::verify(*signature_type, owner, &claim.message(), signature)
            .map_err(|_| AttestationError::Signature { process: claim.process, slot: claim.slot })?;
        Ok(attestation)
    }

    /// Reads what this node verified before it stored it.
    pub fn from_own_store(bytes: &[u8]) -> Result<Attestation, AttestationError> {
        let Parts { claim, signature_type, owner, signature } = wire::decode(bytes)?;
        let (process, slot) = (claim.process, claim.slot);
        let signature_type =
            SignatureType::from_u16(signature_type).ok_or(AttestationError::Signature { process, slot })?;
        Ok(Attestation { claim, signature_type, owner, signature })
    }

    /// The attestation as it travels and as it is stored.
    pub fn to_bytes(&self) -> Vec<u8> {
        wire::encode(&Parts {
            claim: self.claim.clone(),
            signature_type: self.signature_type as u16,
            owner: self.owner.clone(),
            signature: self.signature.clone(),
        })
    }

    /// What is attested.
    pub fn claim(&self) -> &Claim {
        &self.claim
    }

    /// The unit that attests it.
    pub fn unit(&self) -> Address {
        Address::of_owner(&self.owner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wallet::Wallet;

    fn claim() -> Claim {
        Claim {
            network: Digest::from([1; 32]),
            format: "lua-5.3-ao1".into(),
            process: Id::from([2; 32]),
            slot: 3,
            assignment: Id::from([4; 32]),
            outcome_chain: Digest::from([5; 32]),
            checkpoint: None,
        }
    }

    #[test]
    fn what_is_signed_verifies_and_nothing_else_does() {
        let wallet = Wallet::ed25519_from_seed([1; 32]);
        let signed = claim().sign(&wallet).unwrap();
        let read = Attestation::verify(&signed.to_bytes()).unwrap();
        assert_eq!(read, signed);
        assert_eq!(read.unit(), wallet.address());
        for change in 0..6 {
            let mut other = signed.clone();
            match change {
                0 => other.claim.network = Digest::from([9; 32]),
                1 => other.claim.format.push('x'),
                2 => other.claim.slot += 1,
                3 => other.claim.assignment = Id::from([9; 32]),
                4 => other.claim.outcome_chain = Digest::from([9; 32]),
                _ => other.claim.checkpoint = Some(Digest::from([9; 32])),
            }
            let cause = Attestation::verify(&other.to_bytes()).unwrap_err();
            assert!(matches!(cause, AttestationError::Signature { .. }), "change {change}");
        }
    }

    #[test]
    fn its_size_does_not_depend_on_what_was_computed() {
        let bytes = claim().sign(&Wallet::ed25519_from_seed([1; 32])).unwrap().to_bytes();
        assert!(bytes.len() < 300, "{} bytes", bytes.len());
    }
}
