//! What hashes are seeded with, and when that changes.
//!
//! Lua's hash is easy to aim at: who knows the seed can make any number of texts that fall into one place of a table,
//! where each look goes past all of them. A seed that nobody knows would do, but all compute units need the same one.
//! So a state says which seed it is gone on with: the one that it was computed with, as long as no place is crowded
//! with it, else one that follows from the whole state, which nobody could know when the texts were chosen.

use std::collections::HashSet;

use super::super::order::Key;

/// The seed of a process that begins.
pub(in super::super) const FIRST_SEED: u32 = 42;
/// More texts than this in one place are no chance: with as many places as texts the fullest of a million holds ten.
const CROWDED: u8 = 32;

/// Looks for crowded places in the tables of a state.
pub(super) struct Crowding {
    seed: u32,
    is_crowded: bool,
    /// Texts that exist once, which all are in one table of the interpreter, and their hashes.
    shared: HashSet<usize>,
    hashes: Vec<u32>,
}

impl Crowding {
    /// Nothing was looked at yet of a state that was computed with this seed.
    pub(super) fn new(seed: u32) -> Crowding {
        Crowding { seed, is_crowded: false, shared: HashSet::new(), hashes: Vec::new() }
    }

    /// Looks at the keys of a table.
    pub(super) fn table<'a>(&mut self, keys: impl Iterator<Item = &'a Key>) {
        let text = |key: &Key| match key {
            // It is reachable, and nothing is collected.
            Key::Text(text, length) => Some(hash(unsafe { std::slice::from_raw_parts(*text, *length) }, self.seed)),
            _ => None,
        };
        let hashes: Vec<u32> = keys.filter_map(text).collect();
        self.is_crowded |= is_crowded(&hashes);
    }

    /// Looks at a text that exists once.
    pub(super) fn shared(&mut self, text: &[u8]) {
        if self.shared.insert(text.as_ptr() as usize) {
            self.hashes.push(hash(text, self.seed));
        }
    }

    /// The seed to go on with after a state that has these bytes.
    pub(super) fn seed(&self, bytes: &[u8]) -> u32 {
        if !self.is_crowded && !is_crowded(&self.hashes) {
            return self.seed;
        }
        let mut hasher = blake3::Hasher::new_derive_key("ao lua-5.3-ao1 seed of hashes");
        hasher.update(&self.seed.to_le_bytes()).update(bytes);
        let [a, b, c, d, ..] = *hasher.finalize().as_bytes();
        u32::from_le_bytes([a, b, c, d])
    }
}

/// Whether one of as many places as there are hashes, rounded up to a power of two, has too many.
fn is_crowded(hashes: &[u32]) -> bool {
    if hashes.len() <= usize::from(CROWDED) {
        return false;
    }
    let places = hashes.len().next_power_of_two();
    let mut counts = vec![0u8; places];
    hashes.iter().any(|hash| {
        let count = &mut counts[*hash as usize & (places - 1)];
        *count += 1;
        *count > CROWDED
    })
}

/// Lua's hash of a text, as it is compiled here: of all its bytes.
fn hash(text: &[u8], seed: u32) -> u32 {
    text.iter().rev().fold(seed ^ text.len() as u32, |hash, byte| {
        hash ^ (hash << 5).wrapping_add(hash >> 2).wrapping_add(u32::from(*byte))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_aimed_is_crowded() {
        let texts: Vec<String> = (0..100_000).map(|number| format!("{number:043}")).collect();
        let hashes: Vec<u32> = texts.iter().map(|text| hash(text.as_bytes(), FIRST_SEED)).collect();
        assert!(!is_crowded(&hashes));
        let aimed = |count: usize| -> Vec<&String> {
            texts.iter().filter(|text| hash(text.as_bytes(), FIRST_SEED) % 64 == 5).take(count).collect()
        };
        let crowded = |seed, count| {
            let keys: Vec<Key> = aimed(count).iter().map(|text| Key::Text(text.as_ptr(), text.len())).collect();
            let mut crowding = Crowding::new(seed);
            crowding.table(keys.iter());
            crowding.seed(b"state")
        };
        assert_eq!(crowded(FIRST_SEED, 32), FIRST_SEED);
        let next = crowded(FIRST_SEED, 40);
        assert_ne!(next, FIRST_SEED);
        assert_eq!(crowded(next, 40), next, "with it they are nowhere near each other");
        let mut crowding = Crowding::new(FIRST_SEED);
        aimed(40).iter().for_each(|text| crowding.shared(text.as_bytes()));
        aimed(40).iter().for_each(|text| crowding.shared(text.as_bytes()));
        assert_ne!(crowding.seed(b""), FIRST_SEED);
        assert_ne!(crowding.seed(b""), crowding.seed(b"state"));
    }
}
