//! Dead letters of this node's messenger: what a target's scheduler refused for good, with the reason, and a way to
//! drive it again.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use ao_protocol::id::Id;
use ao_protocol::log::{Delivery, Log, LogError, MAX_PAGE};
use ao_protocol::origin::DeliveryId;
use thiserror::Error;
use tokio::sync::{mpsc, oneshot};

use super::World;

/// Most dead letters that are driven again at once; who has more asks again.
pub const MAX_REDRIVEN: usize = 1000;
/// Most requests that wait for the messenger.
const QUEUE: usize = 16;
/// Time between two requests: each is a synced write and up to [`MAX_REDRIVEN`] submissions.
const INTERVAL: Duration = Duration::from_millis(200);

/// Why nothing was driven again.
#[derive(Debug, Error)]
pub enum RedriveError {
    /// Another request was made just before.
    #[error("dead letters were driven again just now; ask again in a moment")]
    TooSoon,
    /// The messenger ended.
    #[error("the messenger of this node has stopped")]
    Stopped,
    /// The log failed.
    #[error(transparent)]
    Log(#[from] LogError),
}

/// A request to the messenger.
#[derive(Debug)]
pub struct Redrive {
    pub(super) letters: Vec<DeliveryId>,
    pub(super) answer: oneshot::Sender<usize>,
}

/// A handle to the dead letters of this node's messenger.
pub struct DeadLetters {
    world: World,
    requests: mpsc::Sender<Redrive>,
    last: Mutex<Option<Instant>>,
}

impl DeadLetters {
    /// A handle, and the end at which the messenger hears of requests.
    pub fn new(world: World) -> (DeadLetters, mpsc::Receiver<Redrive>) {
        let (requests, asked) = mpsc::channel(QUEUE);
        (DeadLetters { world, requests, last: Mutex::default() }, asked)
    }

    /// Dead letters above `after`, of one process or of all, in the order of their ids.
    pub fn list(
        &self,
        process: Option<&Id>,
        after: Option<&DeliveryId>,
        limit: usize,
    ) -> Result<Vec<Delivery>, LogError> {
        let mut letters = Vec::new();
        for id in self.world.log().dead(process, after, limit)? {
            letters.extend(self.world.log().delivery(&id)?);
        }
        Ok(letters)
    }

    /// Drives one dead letter again, or those of one process, or all: at most [`MAX_REDRIVEN`]. Gives how many; returns
    /// when that is on disk. Whether they are taken this time shows later.
    pub async fn redrive(&self, process: Option<&Id>, one: Option<DeliveryId>) -> Result<usize, RedriveError> {
        {
            let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
            if last.is_some_and(|last| last.elapsed() < INTERVAL) {
                return Err(RedriveError::TooSoon);
            }
            *last = Some(Instant::now());
        }
        let letters = match one {
            Some(one) => vec![one],
            None => self.drivable(process)?,
        };
        let (answer, driven) = oneshot::channel();
        let stopped = |_| RedriveError::Stopped;
        self.requests.send(Redrive { letters, answer }).await.map_err(|_| RedriveError::Stopped)?;
        driven.await.map_err(stopped)
    }

    /// The first dead letters that have an item: the others can never be delivered.
    fn drivable(&self, process: Option<&Id>) -> Result<Vec<DeliveryId>, LogError> {
        let mut letters: Vec<DeliveryId> = Vec::new();
        let mut last = None;
        while letters.len() < MAX_REDRIVEN {
            let page = self.list(process, last.as_ref(), MAX_PAGE)?;
            let Some(end) = page.last() else { break };
            last = Some(end.id);
            letters.extend(page.iter().filter(|letter| letter.item.is_some()).map(|letter| letter.id));
        }
        letters.truncate(MAX_REDRIVEN);
        Ok(letters)
    }
}
