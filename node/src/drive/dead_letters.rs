//! Dead letters of this node's messenger: what a target's scheduler refused for good, with the reason, and a way to
//! drive it again.

use std::time::{Duration, Instant};

use ao_protocol::id::Id;
use ao_protocol::log::{DeadLetter, Log, LogError, MAX_PAGE};
use ao_protocol::origin::DeliveryId;
use thiserror::Error;
use tokio::sync::{Mutex, mpsc, oneshot};

use super::{World, room};

/// Most dead letters that one request drives again or passes over; who has more goes on after the last of them.
pub const MAX_REDRIVEN: usize = 1000;
/// Time after a request in which no other is taken: each is a synced write and up to [`MAX_REDRIVEN`] submissions.
const INTERVAL: Duration = Duration::from_millis(200);

/// Why nothing was driven again.
#[derive(Debug, Error)]
pub enum RedriveError {
    /// Another request is under way, or was just before.
    #[error("dead letters are being driven again already; ask again in a moment")]
    TooSoon,
    /// There is no room on the disk.
    #[error("{0}")]
    Full(String),
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
    pub(super) answer: oneshot::Sender<Vec<DeliveryId>>,
}

/// What came of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Redriven {
    /// How many are driven again.
    pub count: usize,
    /// After which one to go on; none when that was all.
    pub next: Option<DeliveryId>,
}

/// A handle to the dead letters of this node's messenger.
pub struct DeadLetters {
    world: World,
    requests: mpsc::Sender<Redrive>,
    /// When the last request was done; held during one.
    last: Mutex<Option<Instant>>,
}

impl DeadLetters {
    /// A handle, and the end at which the messenger hears of requests.
    pub fn new(world: World) -> (DeadLetters, mpsc::Receiver<Redrive>) {
        let (requests, asked) = mpsc::channel(1);
        (DeadLetters { world, requests, last: Mutex::default() }, asked)
    }

    /// Dead letters above `after`, of one process or of all, in the order of their ids, at most [`MAX_PAGE`].
    pub fn list(
        &self,
        process: Option<&Id>,
        after: Option<&DeliveryId>,
        limit: usize,
    ) -> Result<Vec<DeadLetter>, LogError> {
        self.world.log().dead(process, after, limit)
    }

    /// Drives one dead letter again.
    pub async fn redrive_one(&self, letter: DeliveryId) -> Result<Redriven, RedriveError> {
        self.redrive(vec![letter], None).await
    }

    /// Drives those of one process again, or all, above `after`. Returns when that is on disk; whether they are taken
    /// this time shows later.
    pub async fn redrive_all(
        &self,
        process: Option<&Id>,
        after: Option<&DeliveryId>,
    ) -> Result<Redriven, RedriveError> {
        let page = self.list(process, after, MAX_REDRIVEN.min(MAX_PAGE))?;
        let next = page.last().filter(|_| page.len() == MAX_REDRIVEN).map(|last| last.id);
        let letters = page.into_iter().filter(|letter| letter.item.is_some()).map(|letter| letter.id);
        self.redrive(letters.collect(), next).await
    }

    async fn redrive(&self, letters: Vec<DeliveryId>, next: Option<DeliveryId>) -> Result<Redriven, RedriveError> {
        let Ok(mut last) = self.last.try_lock() else { return Err(RedriveError::TooSoon) };
        if last.is_some_and(|last| last.elapsed() < INTERVAL) {
            return Err(RedriveError::TooSoon);
        }
        if let Some(cause) = self.world.lack_of_room(room::MIN_FREE_BYTES) {
            return Err(RedriveError::Full(cause));
        }
        let (answer, driven) = oneshot::channel();
        let wanted = letters.last().copied();
        self.requests.send(Redrive { letters, answer }).await.map_err(|_| RedriveError::Stopped)?;
        let driven = driven.await.map_err(|_| RedriveError::Stopped)?;
        *last = Some(Instant::now());
        // When it was too much at once the rest is still dead: it is gone on with after what was driven.
        let next = match driven.last() {
            Some(end) if Some(*end) != wanted => Some(*end),
            _ => next,
        };
        Ok(Redriven { count: driven.len(), next })
    }
}
