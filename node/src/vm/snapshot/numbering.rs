//! Numbers of things in the order in which they are first met, with a way to number some for a look only.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};

/// A text of the interpreter, known by its bytes and not by where they are.
#[derive(Clone, Copy)]
pub(super) struct Text(*const u8, usize);

impl Text {
    /// # Safety
    /// The text stays where it is as long as this, or a copy of it, is used.
    pub(super) unsafe fn new(text: *const u8, length: usize) -> Text {
        Text(text, length)
    }

    fn bytes(&self) -> &[u8] {
        unsafe { std::slice::from_raw_parts(self.0, self.1) }
    }
}

impl PartialEq for Text {
    fn eq(&self, other: &Text) -> bool {
        self.bytes() == other.bytes()
    }
}

impl Eq for Text {}

impl Hash for Text {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.bytes().hash(state);
    }
}

/// Numbers from 0.
pub(super) struct Numbering<K> {
    known: HashMap<K, u64>,
    /// Numbers that were given while looking, to be forgotten.
    looked: HashMap<K, u64>,
    looking: bool,
    next: u64,
}

impl<K: Hash + Eq + Clone> Numbering<K> {
    /// Nothing has a number.
    pub(super) fn new() -> Numbering<K> {
        Numbering { known: HashMap::new(), looked: HashMap::new(), looking: false, next: 0 }
    }

    /// The number of a thing, and whether it is new.
    pub(super) fn number(&mut self, thing: K) -> (u64, bool) {
        if let Some(number) = self.get(&thing) {
            return (number, false);
        }
        let number = self.next;
        self.next += 1;
        self.name(thing, number);
        (number, true)
    }

    /// The number of a thing that has one.
    pub(super) fn get(&self, thing: &K) -> Option<u64> {
        self.known.get(thing).or_else(|| self.looked.get(thing)).copied()
    }

    /// Gives a thing the number of another one that it can't be told apart from.
    pub(super) fn name(&mut self, thing: K, number: u64) {
        let map = if self.looking { &mut self.looked } else { &mut self.known };
        map.insert(thing, number);
    }

    /// How many numbers there are.
    pub(super) fn count(&self) -> u64 {
        self.next
    }

    /// From now on numbers are given for a look.
    pub(super) fn look(&mut self) {
        self.looking = true;
    }

    /// Forgets what was given since, when there were `count` numbers.
    pub(super) fn forget(&mut self, count: u64) {
        self.looked.clear();
        self.looking = false;
        self.next = count;
    }
}
