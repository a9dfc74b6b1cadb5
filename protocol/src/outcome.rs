//! The outcome of a slot: what evaluating it said and sent. Outcomes are committed to by a merkle root, and chained
//! from slot to slot, so that one signature of a compute unit covers everything before it.

use serde::{Deserialize, Serialize};

use crate::id::{Digest, Id};

/// Most entries in one outbox list; an evaluation that sends more ends in an error.
pub const MAX_OUTBOX_ENTRIES: usize = 1000;
/// Most bytes of one outcome, all parts together; an evaluation that makes more ends in an error.
pub const MAX_OUTCOME_BYTES: usize = 8 * 1024 * 1024;

/// Leaves before those of the outbox: the error and the output.
const FIXED_LEAVES: usize = 2;

/// One message, spawn or assignment that a process sends. Its data is kept as bytes beside the rest, so that what is
/// not UTF-8 survives.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutboxEntry {
    /// Everything but `Data`, as JSON text in the compute unit's canonical form.
    pub fields: String,
    /// The value of `Data` when it is a string.
    pub data: Option<Vec<u8>>,
}

impl OutboxEntry {
    /// The hash that stands for its data where that is not at hand.
    pub fn data_hash(&self) -> Option<Digest> {
        self.data.as_ref().map(|data| Digest::from(*blake3::hash(data).as_bytes()))
    }
}

fn entry_leaf(list: u8, position: u64, fields: &str, data: Option<Digest>) -> [u8; 32] {
    let data = data.as_ref();
    let parts = [fields.as_bytes(), &[u8::from(data.is_some())], data.map(AsRef::as_ref).unwrap_or_default()];
    leaf(FIXED_LEAVES as u8 + list, position, &parts)
}

/// One of the lists of an outbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum OutboxList {
    /// [`Outcome::messages`].
    Messages,
    /// [`Outcome::spawns`].
    Spawns,
    /// [`Outcome::assignments`].
    Assignments,
}

/// The way from an entry of an outbox to its outcome's root.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryPath {
    /// How many leaves the tree has.
    leaves: u64,
    /// Which of them the entry is.
    index: u64,
    /// What each level has beside it, from below; nothing where it is the lone last one.
    beside: Vec<Digest>,
}

impl EntryPath {
    /// The root of the outcome that has an entry with these fields, and data of this hash, at this position; none for a
    /// path of no tree.
    pub fn root(&self, list: OutboxList, position: u64, fields: &str, data: Option<Digest>) -> Option<Digest> {
        let mut hash = entry_leaf(list as u8, position, fields, data);
        let (mut count, mut index) = (self.leaves, self.index);
        let mut beside = self.beside.iter();
        // As many levels as a number has bits.
        while count > 1 && index < count {
            if let Some(other) = (index ^ 1 < count).then(|| beside.next()) {
                let other = other?.to_bytes();
                hash = if index % 2 == 0 { node(&[hash, other]) } else { node(&[other, hash]) };
            }
            (count, index) = (count.div_ceil(2), index / 2);
        }
        (count == 1 && index == 0 && beside.next().is_none()).then(|| root(self.leaves, Some(&hash)))
    }
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
        let mut level = self.leaves();
        let leaves = level.len() as u64;
        while level.len() > 1 {
            level = level.chunks(2).map(node).collect();
        }
        root(leaves, level.first())
    }

    /// What proves that an entry is a part of this outcome; none when there is no such entry.
    pub fn path(&self, list: OutboxList, position: usize) -> Option<EntryPath> {
        let (lists, at) = (self.lists(), list as usize);
        lists.get(at)?.get(position)?;
        let before: usize = lists.iter().take(at).map(|list| list.len()).sum();
        let mut index = FIXED_LEAVES + before + position;
        let mut level = self.leaves();
        let mut path = EntryPath { leaves: level.len() as u64, index: index as u64, beside: Vec::new() };
        while level.len() > 1 {
            path.beside.extend(level.get(index ^ 1).map(|hash| Digest::from(*hash)));
            level = level.chunks(2).map(node).collect();
            index /= 2;
        }
        Some(path)
    }

    fn lists(&self) -> [&Vec<OutboxEntry>; 3] {
        [&self.messages, &self.spawns, &self.assignments]
    }

    fn leaves(&self) -> Vec<[u8; 32]> {
        let mut leaves = Vec::with_capacity(FIXED_LEAVES + self.entries());
        let error = self.error.as_deref();
        leaves.push(leaf(0, 0, &[&[u8::from(error.is_some())], error.unwrap_or_default().as_bytes()]));
        leaves.push(leaf(1, 0, &[self.output.as_bytes()]));
        for (list, entries) in self.lists().into_iter().enumerate() {
            let leaf = |(position, entry): (usize, &OutboxEntry)| {
                entry_leaf(list as u8, position as u64, &entry.fields, entry.data_hash())
            };
            leaves.extend(entries.iter().enumerate().map(leaf));
        }
        leaves
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

fn root(leaves: u64, top: Option<&[u8; 32]>) -> Digest {
    let mut hasher = blake3::Hasher::new_derive_key("ao-node 2026 outcome root");
    hasher.update(&leaves.to_le_bytes());
    hasher.update(top.map(<[u8; 32]>::as_slice).unwrap_or_default());
    Digest::from(*hasher.finalize().as_bytes())
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
    fn an_entry_is_proven_by_its_path_and_nothing_else_is() {
        for counts in [[1, 0, 0], [0, 1, 0], [0, 0, 1], [2, 3, 4], [5, 0, 2], [16, 15, 1], [40, 1, 3]] {
            let list = |count: usize, name: &str| -> Vec<OutboxEntry> {
                (0..count).map(|n| entry(&format!("{name}{n}"), (n % 3 > 0).then_some(b"x".as_slice()))).collect()
            };
            let [messages, spawns, assignments] = counts;
            let outcome = Outcome {
                messages: list(messages, "m"),
                spawns: list(spawns, "s"),
                assignments: list(assignments, "a"),
                ..outcome()
            };
            let lists = [OutboxList::Messages, OutboxList::Spawns, OutboxList::Assignments];
            for (list, entries) in lists.into_iter().zip(outcome.lists()) {
                for (position, entry) in entries.iter().enumerate() {
                    let path = outcome.path(list, position).unwrap();
                    let proves = |list, at: usize, entry: &OutboxEntry, path: &EntryPath| {
                        path.root(list, at as u64, &entry.fields, entry.data_hash()) == Some(outcome.root())
                    };
                    assert!(proves(list, position, entry, &path), "{counts:?} {list:?} {position}");
                    assert!(!proves(list, position + 1, entry, &path));
                    let elsewhere = if list == OutboxList::Spawns { OutboxList::Messages } else { OutboxList::Spawns };
                    assert!(!proves(elsewhere, position, entry, &path));
                    let other = OutboxEntry { fields: "{}".into(), ..entry.clone() };
                    assert!(!proves(list, position, &other, &path));
                    let none = OutboxEntry { data: entry.data.is_none().then(Vec::new), ..entry.clone() };
                    assert!(!proves(list, position, &none, &path));
                    for change in 0..4 {
                        let mut changed = path.clone();
                        match change {
                            0 => changed.leaves += 1,
                            1 => changed.index += 1,
                            2 => changed.beside.push(Digest::from([0; 32])),
                            _ => drop(changed.beside.pop()),
                        }
                        assert!(!proves(list, position, entry, &changed), "{counts:?} {list:?} {position} {change}");
                    }
                }
                assert!(outcome.path(list, entries.len()).is_none());
            }
        }
        let endless = EntryPath { leaves: u64::MAX, index: u64::MAX - 1, beside: Vec::new() };
        assert_eq!(endless.root(OutboxList::Messages, 0, "{}", None), None);
    }

    #[test]
    fn gas_is_not_committed_to() {
        let mut other = outcome();
        other.gas_used = 99;
        assert_eq!(other.root(), outcome().root());
    }

    #[test]
    fn the_root_and_the_chain_are_pinned() {
        assert_eq!(outcome().root().to_string(), "h4PC3Wyl6I_TQ5tHeGltOqIcAZHut0DopMkfXEPy0vE");
        let chain = next_chain(&first_chain(&Id::from([1; 32])), &outcome().root());
        assert_eq!(chain.to_string(), "Z3YJhV4izcuI8xweOgiRzUsCk9xcH28I6kN9v2MgUgQ");
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
