//! A commit: a compute unit says that it has a result before it shows it. Where several units must agree, who shows a
//! result first would only be copied; a unit wins a slot by a commit that was there before anybody showed theirs.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::attestation::Attestation;
use crate::id::{Address, Digest, Id};
use crate::seal::Seal;
use crate::wallet::{Signer, WalletError};
use crate::wire::{self, FrameError};

/// What is signed, so that a commit can be nothing else that a wallet signs.
const DOMAIN: &[u8] = b"ao-commit-1";

/// A signed commit to an attestation that is not shown yet. Nobody can make it who does not have the attestation: what
/// it is the hash of includes the unit's signature, which nobody else can know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Commit {
    process: Id,
    slot: u64,
    hash: Digest,
    seal: Seal,
}

/// Why bytes are not a commit.
#[derive(Debug, Error)]
pub enum CommitError {
    /// Not framed as one.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The signature is wrong.
    #[error("the commit to slot {slot} of {process} is not signed by its unit")]
    Signature {
        /// Which process.
        process: Id,
        /// Which slot.
        slot: u64,
    },
}

fn hash(attestation: &Attestation) -> Digest {
    let mut hasher = blake3::Hasher::new_derive_key("ao-node 2026 commit to an attestation");
    hasher.update(&attestation.to_bytes());
    Digest::from(*hasher.finalize().as_bytes())
}

fn parts<'a>(process: &'a Id, slot: &'a [u8; 8], hash: &'a Digest) -> [&'a [u8]; 4] {
    [DOMAIN, process.as_ref(), slot, hash.as_ref()]
}

impl Commit {
    /// A unit's commit to its own attestation.
    pub fn to(attestation: &Attestation, signer: &dyn Signer) -> Result<Commit, WalletError> {
        let (process, slot, hash) = (attestation.claim().process, attestation.claim().slot, hash(attestation));
        let seal = Seal::sign(&parts(&process, &slot.to_le_bytes(), &hash), signer)?;
        Ok(Commit { process, slot, hash, seal })
    }

    /// Reads and verifies what a peer sent.
    pub fn verify(bytes: &[u8]) -> Result<Commit, CommitError> {
        let commit: Commit = wire::decode(bytes)?;
        let Commit { process, slot, hash, seal } = &commit;
        match seal.is_of(&parts(process, &slot.to_le_bytes(), hash)) {
            true => Ok(commit),
            false => Err(CommitError::Signature { process: *process, slot: *slot }),
        }
    }

    /// The commit as it travels.
    pub fn to_bytes(&self) -> Vec<u8> {
        wire::encode(self)
    }

    /// Whether it is the commit to this attestation.
    pub fn is_to(&self, attestation: &Attestation) -> bool {
        self.unit() == attestation.unit() && self.hash == hash(attestation)
    }

    /// Which process.
    pub fn process(&self) -> Id {
        self.process
    }

    /// The last slot that is covered.
    pub fn slot(&self) -> u64 {
        self.slot
    }

    /// Who commits.
    pub fn unit(&self) -> Address {
        self.seal.address()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attestation::Claim;
    use crate::wallet::Wallet;

    fn attestation(unit: u8, chain: u8) -> Attestation {
        let claim = Claim {
            network: Digest::from([1; 32]),
            format: "lua-5.3-ao1".into(),
            process: Id::from([2; 32]),
            slot: 3,
            assignment: Id::from([4; 32]),
            outcome_chain: Digest::from([chain; 32]),
            checkpoint: None,
        };
        claim.sign(&Wallet::ed25519_from_seed([unit; 32])).unwrap()
    }

    #[test]
    fn it_is_to_one_attestation_of_its_own_unit() {
        let (unit, other) = (Wallet::ed25519_from_seed([1; 32]), Wallet::ed25519_from_seed([2; 32]));
        let commit = Commit::to(&attestation(1, 5), &unit).unwrap();
        let read = Commit::verify(&commit.to_bytes()).unwrap();
        assert_eq!((read.slot(), read.unit(), &read), (3, unit.address(), &commit));
        assert!(read.is_to(&attestation(1, 5)));
        assert!(!read.is_to(&attestation(1, 6)) && !read.is_to(&attestation(2, 5)));
        // Somebody else's result does not become one's own by a commit to it.
        assert!(!Commit::to(&attestation(1, 5), &other).unwrap().is_to(&attestation(1, 5)));
    }

    #[test]
    fn what_was_changed_is_no_commit() {
        let commit = Commit::to(&attestation(1, 5), &Wallet::ed25519_from_seed([1; 32])).unwrap();
        for changed in [
            Commit { slot: 4, ..commit.clone() },
            Commit { process: Id::from([9; 32]), ..commit.clone() },
            Commit { hash: Digest::from([9; 32]), ..commit.clone() },
        ] {
            assert!(matches!(Commit::verify(&changed.to_bytes()), Err(CommitError::Signature { .. })));
        }
        assert!(matches!(Commit::verify(b"garbage"), Err(CommitError::Frame(_))));
    }
}
