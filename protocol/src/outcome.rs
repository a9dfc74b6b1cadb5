//! The outcome of a slot: what evaluating it said and sent. Outcomes are committed to by a merkle root, and chained
//! from slot to slot, so that one signature of a compute unit covers everything before it.

use serde::{Deserialize, Serialize};

use crate::id::{Digest, Id};

/// Most entries in one outbox list; an evaluation that sends more ends in an error.
pub const MAX_OUTBOX_ENTRIES: usize = 1000;
/// Most bytes of one outcome, all parts together; an evaluation that makes more ends in an error.
pub const MAX_OUTCOME_BYTES: usize = 8 * 1024 * 1024;

/// One message, spawn or assignment that a process sends. Its data is kept as bytes beside the rest, so that what is
/// not UTF-8 survives.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutboxEntry {
    /// Everything but `Data`, as JSON text in the compute unit's canonical form.
    pub fields: String,
    /// The value of `Data` when it is a string.
    pub data: Option<Vec<u8>>,
}

/// What the evaluation of one slot gave.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// The error that ended it; then nothing is sent and the state is as before.
    pub error: Option<String>,
    /// What the module returned as `Output`, as JSON text in canonical form.
    pub output: String,
    /// Messages to be delivered.
    pub messages: Vec<OutboxEntry>,
    /// Processes to be spawned.
    pub spawns: Vec<OutboxEntry>,
    /// Items to be assigned to other processes.
    pub assignments: Vec<OutboxEntry>,
    /// Instructions charged. Not committed to.
    pub gas_used: u64,
}

/// An outcome with its place in the chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutcomeRecord {
    /// What the slot gave.
    pub outcome: Outcome,
    /// The chain before this slot; [`first_chain`] for slot 0.
    pub chain_before: Digest,
    /// The assignment that was evaluated.
    pub assignment: Id,
}

impl OutcomeRecord {
    /// The chain after this slot.
    pub fn chain(&self) -> Digest {
        next_chain(&self.chain_before, &self.outcome.root())
    }
}

/// The chain before slot 0.
pub fn first_chain(process: &Id) -> Digest {
    let mut hasher = blake3::Hasher::new_derive_key("ao-node 2026 outcome chain of a process");
    hasher.update(process.as_ref());
    Digest::from(*hasher.finalize().as_bytes())
}

/// The chain after a slot: `blake3(chain before, root)`.
pub fn next_chain(before: &Digest, root: &Digest) -> Digest {
    let mut hasher = blake3::Hasher::new();
    hasher.update(before.as_ref());
    hasher.update(root.as_ref());
    Digest::from(*hasher.finalize().as_bytes())
}

impl Outcome {
    /// An outcome that is an error and nothing else.
    pub fn failed(error: impl Into<String>) -> Outcome {
        Outcome { error: Some(error.into()), output: "\"\"".to_string(), ..Outcome::default() }
    }

    /// The merkle root over error, output, each message, spawn and assignment, in this order. A leaf is hashed with
    /// its kind and its position, so that nothing can be moved from one list to another.
    pub fn root(&self) -> Digest {
        let mut level = Vec::with_capacity(2 + self.entries());
        let error = self.error.as_deref();
        level.push(leaf(0, 0, &[&[u8::from(error.is_some())], error.unwrap_or_default().as_bytes()]));
        level.push(leaf(1, 0, &[self.output.as_bytes()]));
        for (kind, list) in [(2, &self.messages), (3, &self.spawns), (4, &self.assignments)] {
            for (position, entry) in list.iter().enumerate() {
                let data = entry.data.as_deref();
                let parts = [entry.fields.as_bytes(), &[u8::from(data.is_some())], data.unwrap_or_default()];
                level.push(leaf(kind, position as u64, &parts));
            }
        }
        let leaves = level.len() as u64;
        while level.len() > 1 {
            level = level.chunks(2).map(node).collect();
        }
        let mut hasher = blake3::Hasher::new_derive_key("ao-node 2026 outcome root");
        hasher.update(&leaves.to_le_bytes());
        for hash in level {
            hasher.update(&hash);
        }
        Digest::from(*hasher.finalize().as_bytes())
    }

    /// How many entries the outbox has.
    pub fn entries(&self) -> usize {
        self.messages.len() + self.spawns.len() + self.assignments.len()
    }

    /// Bytes of all parts together.
    pub fn len(&self) -> usize {
        let lists = [&self.messages, &self.spawns, &self.assignments];
        let entries = lists.into_iter().flatten().map(|e| e.fields.len() + e.data.as_ref().map_or(0, Vec::len));
        self.error.as_ref().map_or(0, String::len) + self.output.len() + entries.sum::<usize>()
    }

    /// Whether it holds nothing.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The outcome within the protocol's bounds: one that exceeds them becomes an error, the same on every unit.
    pub fn bounded(self) -> Outcome {
        let longest = self.messages.len().max(self.spawns.len()).max(self.assignments.len());
        if longest > MAX_OUTBOX_ENTRIES {
            return Outcome::failed(format!("outbox of {longest} entries; at most {MAX_OUTBOX_ENTRIES} are allowed"));
        }
        let bytes = self.len();
        if bytes > MAX_OUTCOME_BYTES {
            return Outcome::failed(format!("outcome of {bytes} bytes; at most {MAX_OUTCOME_BYTES} are allowed"));
        }
        self
    }
}

fn leaf(kind: u8, position: u64, parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key("ao-node 2026 outcome leaf");
    hasher.update(&[kind]);
    hasher.update(&position.to_le_bytes());
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    *hasher.finalize().as_bytes()
}

/// A pair of hashes becomes one; a lone last one is carried up as it is.
fn node(pair: &[[u8; 32]]) -> [u8; 32] {
    match pair {
        [left, right] => {
            let mut hasher = blake3::Hasher::new_derive_key("ao-node 2026 outcome node");
            hasher.update(left);
            hasher.update(right);
            *hasher.finalize().as_bytes()
        }
        [lone] => *lone,
        _ => unreachable!("chunks of two"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(fields: &str, data: Option<&[u8]>) -> OutboxEntry {
        OutboxEntry { fields: fields.into(), data: data.map(<[u8]>::to_vec) }
    }

    fn outcome() -> Outcome {
        Outcome {
            output: "\"hi\"".into(),
            messages: vec![entry("{\"Target\":\"a\"}", Some(b"x")), entry("{}", None)],
            ..Outcome::default()
        }
    }

    #[test]
    fn every_part_and_its_place_is_committed_to() {
        let base = outcome();
        let mut variants = vec![base.clone()];
        let mut vary = |change: &dyn Fn(&mut Outcome)| {
            let mut other = base.clone();
            change(&mut other);
            variants.push(other);
        };
        vary(&|o| o.error = Some(String::new()));
        vary(&|o| o.output = "\"ho\"".into());
        vary(&|o| o.messages.swap(0, 1));
        vary(&|o| o.messages[1].data = Some(Vec::new()));
        vary(&|o| o.spawns.extend(o.messages.pop()));
        vary(&|o| o.assignments.extend(o.messages.pop()));
        vary(&|o| drop(o.messages.pop()));
        let roots: std::collections::BTreeSet<_> = variants.iter().map(Outcome::root).collect();
        assert_eq!(roots.len(), variants.len());
    }

    #[test]
    fn gas_is_not_committed_to() {
        let mut other = outcome();
        other.gas_used = 99;
        assert_eq!(other.root(), outcome().root());
    }

    #[test]
    fn the_root_and_the_chain_are_pinned() {
        assert_eq!(outcome().root().to_string(), "MeK_A2ClI74F62kFvdNBdrMh5wnt60Tdbzu7VjXQUfw");
        let chain = next_chain(&first_chain(&Id::from([1; 32])), &outcome().root());
        assert_eq!(chain.to_string(), "odo3jlqo6tfHaE44cbWtrAK8HVr9pFvDNet_cJv8hT0");
    }

    #[test]
    fn what_exceeds_the_bounds_becomes_an_error() {
        let many = Outcome { messages: vec![entry("{}", None); MAX_OUTBOX_ENTRIES + 1], ..Outcome::default() };
        let bounded = many.bounded();
        assert!(bounded.error.is_some() && bounded.messages.is_empty());
        let large = Outcome { output: "x".repeat(MAX_OUTCOME_BYTES + 1), ..Outcome::default() };
        assert!(large.bounded().error.is_some());
        assert_eq!(outcome().bounded(), outcome());
    }
}
