//! What may be asked of the index: conditions on documents, and the terms that documents are found by.

use std::cmp::Ordering;

use ao_protocol::id::{Id, decode_base64url, encode_base64url};
use serde::{Deserialize, Serialize};

use super::document::Document;
use super::schema::Term;

/// Tags of an item, from the first on, by which it is found: as many as ANS-104 allows.
const MAX_INDEXED_TAGS: usize = 128;

/// The term that every indexed document has.
pub(super) const EVERYTHING: Term = [0; 16];

/// Where a document stands in the order of the index: by height, among equals as they came in here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Position {
    /// The height of the newest block that was known when it was indexed, or of its own block.
    pub height: u64,
    /// Grows with each document; this node's own.
    pub sequence: u64,
}

impl Position {
    /// The position as one number of the same order.
    pub(super) fn to_number(self) -> u128 {
        u128::from(self.height) << 64 | u128::from(self.sequence)
    }

    /// The position of such a number.
    pub(super) fn of_number(number: u128) -> Position {
        Position { height: (number >> 64) as u64, sequence: number as u64 }
    }

    /// The position as a text that a client gives back to read on behind it.
    pub fn to_cursor(self) -> String {
        encode_base64url(&self.to_number().to_be_bytes())
    }

    /// Reads such a text; none if it is none.
    pub fn of_cursor(text: &str) -> Option<Position> {
        let bytes: [u8; 16] = decode_base64url(text).ok()?.try_into().ok()?;
        Some(Position::of_number(u128::from_be_bytes(bytes)))
    }
}

/// A condition on tags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagCondition {
    /// The tag's name.
    pub name: String,
    /// Its values.
    pub values: Vec<String>,
    /// True: no tag of this name has one of these values. False: one has.
    pub negated: bool,
}

/// Conditions that must all hold. Of the lists one value is enough; an empty list is no condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    /// Addresses of signers: native ones, or for Ethereum keys `0x…` too.
    pub owners: Vec<String>,
    /// Targets.
    pub recipients: Vec<String>,
    /// Conditions on tags.
    pub tags: Vec<TagCondition>,
    /// Transactions or items that it came in.
    pub bundled_in: Vec<Id>,
    /// Lowest and highest height.
    pub heights: (u64, u64),
}

impl Default for Filter {
    fn default() -> Filter {
        let (owners, recipients, tags, bundled_in) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Filter { owners, recipients, tags, bundled_in, heights: (0, u64::MAX) }
    }
}

impl Filter {
    /// Whether the conditions hold for a document at a position.
    pub fn matches(&self, position: Position, document: &Document) -> bool {
        let holds = |condition: &TagCondition| {
            let named = |tag: &&ao_protocol::tag::Tag| tag.name == condition.name;
            let found = document.tags.iter().filter(named).any(|tag| condition.values.contains(&tag.value));
            found != condition.negated
        };
        let owner = |owner: &String| *owner == document.signer || *owner == document.address.to_string();
        let recipient = document.recipient.map(|recipient| recipient.to_string());
        let (lowest, highest) = self.heights;
        (lowest..=highest).contains(&position.height)
            && (self.owners.is_empty() || self.owners.iter().any(owner))
            && (self.recipients.is_empty() || recipient.is_some_and(|recipient| self.recipients.contains(&recipient)))
            && (self.bundled_in.is_empty() || document.bundled_in.is_some_and(|id| self.bundled_in.contains(&id)))
            && self.tags.iter().all(holds)
    }

    /// Lists of terms: a document that the conditions hold for has one of each list, save for what has no index.
    pub(super) fn terms(&self) -> Vec<Vec<Term>> {
        let texts = |kind: Kind, texts: &[String]| texts.iter().map(|text| term(kind, &[text])).collect::<Vec<_>>();
        let carriers = self.bundled_in.iter().map(carrier).collect();
        let mut lists = vec![texts(Kind::Owner, &self.owners), texts(Kind::Recipient, &self.recipients), carriers];
        lists.retain(|list| !list.is_empty());
        for condition in self.tags.iter().filter(|condition| !condition.negated) {
            let values = condition.values.iter();
            lists.push(values.map(|value| term(Kind::Tag, &[&condition.name, value])).collect());
        }
        // The same term twice is read once.
        lists.iter_mut().for_each(|list| {
            list.sort_unstable();
            list.dedup();
        });
        if lists.is_empty() { vec![vec![EVERYTHING]] } else { lists }
    }
}

/// What a document is found by, without the term that all have.
pub(super) fn terms_of(document: &Document) -> Vec<Term> {
    let address = document.address.to_string();
    let mut terms = vec![term(Kind::Owner, &[&address])];
    if document.signer != address {
        terms.push(term(Kind::Owner, &[&document.signer]));
    }
    terms.extend(document.recipient.map(|recipient| term(Kind::Recipient, &[&recipient.to_string()])));
    terms.extend(document.bundled_in.as_ref().map(carrier));
    let tags = document.tags.iter().take(MAX_INDEXED_TAGS);
    terms.extend(tags.map(|tag| term(Kind::Tag, &[&tag.name, &tag.value])));
    terms
}

/// The term of what came in a transaction or item.
pub(super) fn carrier(id: &Id) -> Term {
    term(Kind::Carrier, &[&id.to_string()])
}

#[derive(Clone, Copy)]
enum Kind {
    Owner,
    Recipient,
    Carrier,
    Tag,
}

/// Hashes what is looked for, so that keys are fixed-width. Documents are compared when they are loaded, so two texts
/// with one hash do no harm.
fn term(kind: Kind, texts: &[&str]) -> Term {
    let mut hash = blake3::Hasher::new();
    hash.update(&[kind as u8]);
    for text in texts {
        hash.update(&(text.len() as u64).to_be_bytes());
        hash.update(text.as_bytes());
    }
    let mut term = [0; 16];
    hash.finalize_xof().fill(&mut term);
    term
}

/// The start and the end of a walk through the index, both included, in the order of the walk; none when it is empty.
pub(super) fn bounds(heights: (u64, u64), newest_first: bool, after: Option<Position>) -> Option<(u128, u128)> {
    let (lowest, highest) = heights;
    let low = Position { height: lowest, sequence: 0 }.to_number();
    let high = Position { height: highest, sequence: u64::MAX }.to_number();
    let after = after.map(Position::to_number);
    let (start, end) = match newest_first {
        true => (after.map_or(Some(high), |after| after.checked_sub(1))?.min(high), low),
        false => (after.map_or(Some(low), |after| after.checked_add(1))?.max(low), high),
    };
    (order(start, end, newest_first) != Ordering::Greater).then_some((start, end))
}

/// Which comes first in a walk.
pub(super) fn order(one: u128, other: u128, newest_first: bool) -> Ordering {
    if newest_first { other.cmp(&one) } else { one.cmp(&other) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_read_back_and_nothing_else_is_one() {
        let position = Position { height: 7, sequence: u64::MAX };
        assert_eq!(Position::of_cursor(&position.to_cursor()), Some(position));
        for wrong in ["", "x", "WzEsMF0", &format!("{}A", position.to_cursor())] {
            assert_eq!(Position::of_cursor(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn terms_of_different_things_differ() {
        let terms = [
            term(Kind::Tag, &["a", "bc"]),
            term(Kind::Tag, &["ab", "c"]),
            term(Kind::Owner, &["a"]),
            term(Kind::Recipient, &["a"]),
            EVERYTHING,
        ];
        assert_eq!(terms.iter().collect::<std::collections::HashSet<_>>().len(), terms.len());
    }
}
