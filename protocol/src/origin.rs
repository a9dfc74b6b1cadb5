//! The origin of an outbox entry: which slot of which process sent it, and its place in that outbox. It is what makes
//! a delivery happen once: whoever delivers, and however often, the receiver's scheduler knows the entry by its origin.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::id::Id;
use crate::tag::{self, Tag};

/// Which list of the outcome an entry comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum OutboxKind {
    /// A message, `m`.
    Message,
    /// A spawn, `s`.
    Spawn,
    /// An assignment of an existing item, `a`.
    Assignment,
    /// The notice that tells the parent which process its spawn became, `n`.
    Spawned,
}

/// Kind and position within an outbox, written `m0`, `s0`, `a0`, `n0`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct OutboxIndex {
    /// Which list.
    pub kind: OutboxKind,
    /// Position in the list, from 0.
    pub position: u32,
}

impl fmt::Display for OutboxIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let letter = match self.kind {
            OutboxKind::Message => 'm',
            OutboxKind::Spawn => 's',
            OutboxKind::Assignment => 'a',
            OutboxKind::Spawned => 'n',
        };
        write!(f, "{letter}{}", self.position)
    }
}

impl FromStr for OutboxIndex {
    type Err = OriginError;

    fn from_str(text: &str) -> Result<OutboxIndex, OriginError> {
        let wrong = || OriginError::Index(text.to_string());
        let mut letters = text.chars();
        let kind = match letters.next() {
            Some('m') => OutboxKind::Message,
            Some('s') => OutboxKind::Spawn,
            Some('a') => OutboxKind::Assignment,
            Some('n') => OutboxKind::Spawned,
            _ => return Err(wrong()),
        };
        let index = OutboxIndex { kind, position: letters.as_str().parse().map_err(|_| wrong())? };
        // One origin has one spelling: "m00" and "m+0" are not "m0".
        if index.to_string() == text { Ok(index) } else { Err(wrong()) }
    }
}

/// Where an outbox entry comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Origin {
    /// The process that sent it.
    pub process: Id,
    /// The slot whose evaluation sent it.
    pub slot: u64,
    /// Its place in that slot's outbox.
    pub index: OutboxIndex,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.process, self.slot, self.index)
    }
}

/// An entry on its way to one receiver: an assignment may name several processes, so the target is part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct DeliveryId {
    /// The outbox entry.
    pub origin: Origin,
    /// The receiving process. For a spawn it is its scheduler's address, which follows from the outcome (the child's id
    /// depends on who signs it), and in whose name nobody else can give slots. None for what names no process.
    pub target: Option<Id>,
}

/// `PROCESS/SLOT/INDEX/TARGET`, with `-` where there is no target.
impl fmt::Display for DeliveryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.target {
            Some(target) => write!(f, "{}/{target}", self.origin),
            None => write!(f, "{}/-", self.origin),
        }
    }
}

impl FromStr for DeliveryId {
    type Err = OriginError;

    fn from_str(text: &str) -> Result<DeliveryId, OriginError> {
        let parts: Vec<&str> = text.split('/').collect();
        let [process, slot, index, target] = parts[..] else { return Err(OriginError::Delivery(text.to_string())) };
        let id = |text: &str| text.parse::<Id>().map_err(|_| OriginError::Process(text.to_string()));
        let origin = Origin {
            process: id(process)?,
            slot: slot.parse().map_err(|_| OriginError::Slot(slot.to_string()))?,
            index: index.parse()?,
        };
        Ok(DeliveryId { origin, target: if target == "-" { None } else { Some(id(target)?) } })
    }
}

/// Tag with the id of the process that sent a message.
pub const FROM_PROCESS: &str = "From-Process";
/// Tag with the slot whose evaluation sent it.
pub const ORIGIN_SLOT: &str = "Origin-Slot";
/// Tag with the place in that slot's outbox.
pub const ORIGIN_INDEX: &str = "Origin-Index";

/// Why origin tags can't be read.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum OriginError {
    /// Some of the three tags are there, some are not.
    #[error("incomplete origin: tags {FROM_PROCESS}, {ORIGIN_SLOT} and {ORIGIN_INDEX} go together")]
    Incomplete,
    /// Not of the form that names an entry and its receiver.
    #[error("{0:?} is not of the form PROCESS/SLOT/INDEX/TARGET")]
    Delivery(String),
    /// The process is not an id.
    #[error("{FROM_PROCESS} {0:?} is not a process id")]
    Process(String),
    /// The slot is not a number.
    #[error("{ORIGIN_SLOT} {0:?} is not a slot number")]
    Slot(String),
    /// The index is not of the form `m0`.
    #[error("{ORIGIN_INDEX} {0:?} is not an outbox index such as m0, s0, a0 or n0")]
    Index(String),
}

impl Origin {
    /// The origin of what a slot sent, by its list and its place there.
    pub fn at(process: Id, slot: u64, kind: OutboxKind, position: usize) -> Origin {
        let position = u32::try_from(position).unwrap_or(u32::MAX);
        Origin { process, slot, index: OutboxIndex { kind, position } }
    }

    /// The origin that an item's tags state. `From-Process` alone (a foreign messenger) is no origin.
    pub fn read(tags: &[Tag]) -> Result<Option<Origin>, OriginError> {
        let (slot, index) = match (tag::find(tags, ORIGIN_SLOT), tag::find(tags, ORIGIN_INDEX)) {
            (None, None) => return Ok(None),
            (Some(slot), Some(index)) => (slot, index),
            _ => return Err(OriginError::Incomplete),
        };
        let process = tag::find(tags, FROM_PROCESS).ok_or(OriginError::Incomplete)?;
        let number: u64 = slot.parse().map_err(|_| OriginError::Slot(slot.to_string()))?;
        if number.to_string() != slot {
            return Err(OriginError::Slot(slot.to_string()));
        }
        Ok(Some(Origin {
            process: process.parse().map_err(|_| OriginError::Process(process.to_string()))?,
            slot: number,
            index: index.parse()?,
        }))
    }

    /// The tags that state this origin.
    pub fn tags(&self) -> [Tag; 3] {
        [
            Tag::new(FROM_PROCESS, self.process.to_string()),
            Tag::new(ORIGIN_SLOT, self.slot.to_string()),
            Tag::new(ORIGIN_INDEX, self.index.to_string()),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_has_one_spelling() {
        let origin = Origin {
            process: Id::from([9; 32]),
            slot: 12,
            index: OutboxIndex { kind: OutboxKind::Spawned, position: 3 },
        };
        assert_eq!(Origin::read(&origin.tags()), Ok(Some(origin)));
        let with = |slot: &str, index: &str| {
            let id = origin.process.to_string();
            Origin::read(&[Tag::new(FROM_PROCESS, id), Tag::new(ORIGIN_SLOT, slot), Tag::new(ORIGIN_INDEX, index)])
        };
        for (slot, index) in [("012", "n3"), ("+12", "n3"), ("12", "n03"), ("12", "x3"), ("12", "n"), ("12", "")] {
            assert!(with(slot, index).is_err(), "{slot} {index}");
        }
    }

    #[test]
    fn a_delivery_is_named_by_its_text() {
        let origin = Origin::at(Id::from([9; 32]), 12, OutboxKind::Assignment, 3);
        for target in [None, Some(Id::from([7; 32]))] {
            let id = DeliveryId { origin, target };
            assert_eq!(id.to_string().parse(), Ok(id));
        }
        for wrong in ["", "a/b", "a/1/m0/-", &format!("{origin}"), &format!("{origin}/x"), &format!("{origin}/-/-")] {
            assert!(wrong.parse::<DeliveryId>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn half_an_origin_is_an_error_and_from_process_alone_is_none() {
        let id = Id::from([9; 32]).to_string();
        assert_eq!(Origin::read(&[Tag::new(FROM_PROCESS, id)]), Ok(None));
        assert_eq!(Origin::read(&[Tag::new(ORIGIN_SLOT, "1")]), Err(OriginError::Incomplete));
        let without = [Tag::new(ORIGIN_SLOT, "1"), Tag::new(ORIGIN_INDEX, "m0")];
        assert_eq!(Origin::read(&without), Err(OriginError::Incomplete));
    }
}
