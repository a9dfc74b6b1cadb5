//! Why a scheduler gives no slot, and whether it may later.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{MAX_PUSH_DEPTH, MAX_PUSHED};
use crate::id::{Address, Id};

/// Why an item gets no slot.
#[derive(Clone, Debug, Error, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    /// The item can never be scheduled as it is.
    #[error("{0}")]
    Invalid(String),
    /// Its type is not one that gets a slot.
    #[error("Unsupported Type tag value {0:?}: only Process and Message items are scheduled")]
    Unsupported(String),
    /// Another scheduler is responsible.
    #[error("process {process} is scheduled by {scheduler}, not by {here}")]
    Elsewhere {
        /// Which process.
        process: Id,
        /// Its scheduler.
        scheduler: Address,
        /// Who was asked.
        here: Address,
    },
    /// Its owner resumed it under another scheduler.
    #[error("process {process} goes on under scheduler {scheduler}; try again")]
    Moved {
        /// Which process.
        process: Id,
        /// Who gives its slots now.
        scheduler: Address,
    },
    /// Nothing gets a slot of it for now.
    #[error(
        "process {process} is disputed from slot {slot} on: that slot was given twice, or its owner resumed it on a \
         branch that is not here yet. Its owner can end a dispute with: ao-node resume {process}"
    )]
    Disputed {
        /// Which process.
        process: Id,
        /// The first slot of which it is not sure.
        slot: u64,
    },
    /// This scheduler has no such process.
    #[error("unknown process {0}: it was never spawned here")]
    UnknownProcess(Id),
    /// The claimed origin is false.
    #[error("false origin {origin}: {reason}")]
    FalseOrigin {
        /// What the item claims.
        origin: String,
        /// Why it is false.
        reason: String,
    },
    /// The claimed origin can't be checked here yet.
    #[error("origin {0} can't be checked yet: this scheduler has not seen that process; try again")]
    UnprovenOrigin(String),
    /// Too far from the user's message.
    #[error("push depth {0} exceeds the limit of {MAX_PUSH_DEPTH}: one message may not start an endless chain")]
    TooDeep(u32),
    /// One message started too much.
    #[error(
        "message {0} has started {MAX_PUSHED} others here, which is the limit: one message may not start an endless \
         avalanche"
    )]
    TooMany(Id),
    /// Nothing is wrong with the item; try again.
    #[error("the scheduler can't take it now: {0}; try again")]
    Busy(String),
}

impl Refusal {
    /// Whether the same item may be taken later.
    pub fn is_temporary(&self) -> bool {
        matches!(
            self,
            Refusal::Busy(_)
                | Refusal::UnprovenOrigin(_)
                | Refusal::UnknownProcess(_)
                | Refusal::Moved { .. }
                | Refusal::Disputed { .. }
        )
    }
}
