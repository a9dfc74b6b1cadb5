//! An attestation: a compute unit signs the outcome chain after a slot, and with it every outcome up to there.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::id::{Address, Digest, Id};
use crate::seal::Seal;
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attestation {
    claim: Claim,
    seal: Seal,
}

/// An attestation as a node keeps it: with when it came, by that node's clock, in milliseconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The attestation.
    pub attestation: Attestation,
    /// When it came.
    pub seen_ms: u64,
    /// When the unit's commit to it came, if one did before it.
    pub committed_ms: Option<u64>,
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
    /// What is signed, part by part.
    fn with_parts<T>(&self, use_parts: impl FnOnce(&[&[u8]]) -> T) -> T {
        use_parts(&[
            DOMAIN,
            self.network.as_ref(),
            self.format.as_bytes(),
            self.process.as_ref(),
            &self.slot.to_le_bytes(),
            self.assignment.as_ref(),
            self.outcome_chain.as_ref(),
            self.checkpoint.as_ref().map(AsRef::as_ref).unwrap_or_default(),
        ])
    }

    /// Signs the claim with the unit's wallet.
    pub fn sign(self, signer: &dyn Signer) -> Result<Attestation, WalletError> {
        let seal = self.with_parts(|parts| Seal::sign(parts, signer))?;
        Ok(Attestation { claim: self, seal })
    }

    /// Whether both can be true: a unit that signs two claims that can't is a liar whatever is right.
    pub fn contradicts(&self, other: &Claim) -> bool {
        let place = |claim: &Claim| (claim.process, claim.slot, claim.assignment, claim.network);
        let checkpoints = matches!((self.checkpoint, other.checkpoint), (Some(one), Some(two)) if one != two);
        place(self) == place(other)
            && self.format == other.format
            && (self.outcome_chain != other.outcome_chain || checkpoints)
    }
}

impl Attestation {
    /// Reads and verifies what a peer sent.
    pub fn verify(bytes: &[u8]) -> Result<Attestation, AttestationError> {
        let attestation = Attestation::from_own_store(bytes)?;
        let Attestation { claim, seal } = &attestation;
        match claim.with_parts(|parts| seal.is_of(parts)) {
            true => Ok(attestation),
            false => Err(AttestationError::Signature { process: claim.process, slot: claim.slot }),
        }
    }

    /// Reads what this node verified before it stored it.
    pub fn from_own_store(bytes: &[u8]) -> Result<Attestation, AttestationError> {
        Ok(wire::decode(bytes)?)
    }

    /// The attestation as it travels and as it is stored.
    pub fn to_bytes(&self) -> Vec<u8> {
        wire::encode(self)
    }

    /// What is attested.
    pub fn claim(&self) -> &Claim {
        &self.claim
    }

    /// The unit that attests it.
    pub fn unit(&self) -> Address {
        self.seal.address()
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
    fn two_claims_contradict_each_other_about_one_slot_only() {
        let one = claim();
        let other = Claim { outcome_chain: Digest::from([9; 32]), ..claim() };
        assert!(one.contradicts(&other) && !one.contradicts(&one));
        assert!(!one.contradicts(&Claim { slot: 4, ..other.clone() }));
        assert!(!one.contradicts(&Claim { assignment: Id::from([9; 32]), ..other }), "of another branch");
        let [point, elsewhere] = [1, 2].map(|n| Claim { checkpoint: Some(Digest::from([n; 32])), ..claim() });
        assert!(!one.contradicts(&point), "that it is a rebuild point was not known yet");
        assert!(point.contradicts(&elsewhere));
    }

    #[test]
    fn its_size_does_not_depend_on_what_was_computed() {
        let bytes = claim().sign(&Wallet::ed25519_from_seed([1; 32])).unwrap().to_bytes();
        assert!(bytes.len() < 300, "{} bytes", bytes.len());
    }
}
