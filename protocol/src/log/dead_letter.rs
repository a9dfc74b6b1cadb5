//! A dead letter as the log's index has it: small, so that many can be listed, whatever they carry.

use serde::{Deserialize, Serialize};

use super::{Delivery, DeliveryState};
use crate::id::Id;
use crate::item::VerifiedItem;
use crate::origin::DeliveryId;

/// Most bytes of a reason or an action that the index keeps.
const MAX_TEXT: usize = 512;

/// What is known of a dead letter without its item.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// Which entry, to whom.
    pub id: DeliveryId,
    /// Its item; none when the entry makes none: then it can never be delivered.
    pub item: Option<Id>,
    /// The item's `Action`.
    pub action: Option<String>,
    /// Distance from what started it.
    pub depth: u32,
    /// Why it is dead.
    pub reason: String,
}

impl DeadLetter {
    /// Of a delivery, if it is dead.
    pub fn of(delivery: &Delivery) -> Option<DeadLetter> {
        let DeliveryState::Dead { reason } = &delivery.state else { return None };
        let item = delivery.item.as_ref().and_then(|item| VerifiedItem::from_own_store(item.0.clone()).ok());
        Some(DeadLetter {
            id: delivery.id,
            item: item.as_ref().map(|item| item.id()),
            action: item.as_ref().and_then(|item| item.tag("Action")).map(short),
            depth: delivery.depth,
            reason: short(reason),
        })
    }
}

fn short(text: &str) -> String {
    let mut end = text.len().min(MAX_TEXT);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_string()
}
