//! A lane: what one process sends to one target, in order. One request is under way per lane; the next goes out after
//! the receipt or the dead letter of the one before.

use std::collections::VecDeque;

use crate::backoff::Backoff;
use crate::id::{Address, Id};
use crate::item::VerifiedItem;
use crate::log::Delivery;
use crate::scheduler::Submission;
use crate::wire::MAX_SUBMISSIONS;

/// Wait before the first retry, in milliseconds.
const FIRST_RETRY_MS: u64 = 250;
/// Longest wait between retries, in milliseconds.
const LAST_RETRY_MS: u64 = 30_000;

/// From which process to which; spawns of one process share a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct LaneKey {
    pub(super) source: Id,
    pub(super) target: Option<Id>,
}

/// Submissions to one scheduler, to be made in this order.
#[derive(Clone, Debug)]
pub struct Submit {
    pub(super) lane: LaneKey,
    /// Who is to give the slots.
    pub scheduler: Address,
    /// What is submitted.
    pub submissions: Vec<Submission>,
}

/// The queue of a lane.
pub(super) struct Lane {
    /// The target's scheduler, once it is known.
    pub(super) scheduler: Option<Address>,
    queue: VecDeque<Queued>,
    under_way: bool,
    backoff: Backoff,
    not_before_ms: u64,
}

struct Queued {
    delivery: Delivery,
    submission: Submission,
    /// The scheduler that a spawn names itself.
    scheduler: Option<Address>,
}

impl Default for Lane {
    fn default() -> Lane {
        Lane {
            scheduler: None,
            queue: VecDeque::new(),
            under_way: false,
            backoff: Backoff::new(FIRST_RETRY_MS, LAST_RETRY_MS),
            not_before_ms: 0,
        }
    }
}

impl Lane {
    /// Adds a delivery at the end; false when it has no item that can be submitted.
    pub(super) fn push(&mut self, delivery: &Delivery) -> bool {
        let item = delivery.item.as_ref().and_then(|item| VerifiedItem::from_own_store(item.0.clone()).ok());
        let Some(item) = item else { return false };
        let scheduler = match delivery.id.target {
            None => item.tag("Scheduler").and_then(|scheduler| scheduler.parse().ok()),
            Some(_) => None,
        };
        let submission = Submission { messenger: item.address(), item, depth: delivery.depth };
        self.queue.push_back(Queued { delivery: delivery.clone(), submission, scheduler });
        true
    }

    /// What is to be submitted now: as many from the front as go to one scheduler.
    pub(super) fn take(&mut self, now_ms: u64) -> Option<(Address, Vec<Submission>)> {
        if self.under_way || now_ms < self.not_before_ms {
            return None;
        }
        let to = |queued: &Queued| queued.scheduler.or(self.scheduler);
        let scheduler = self.queue.front().and_then(to)?;
        let same = self.queue.iter().take_while(|queued| to(queued) == Some(scheduler));
        let submissions = same.take(MAX_SUBMISSIONS).map(|queued| queued.submission.clone()).collect();
        self.under_way = true;
        Some((scheduler, submissions))
    }

    /// The request came back; when not all of it is settled, the rest waits.
    pub(super) fn answered(&mut self, all: bool, now_ms: u64) {
        self.under_way = false;
        if all {
            self.backoff.reset();
            self.not_before_ms = 0;
        } else {
            self.not_before_ms = now_ms.saturating_add(self.backoff.next_ms());
        }
    }

    pub(super) fn pop(&mut self) -> Option<Delivery> {
        self.queue.pop_front().map(|queued| queued.delivery)
    }

    pub(super) fn drain(&mut self) -> Vec<Delivery> {
        self.queue.drain(..).map(|queued| queued.delivery).collect()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// When the lane is to be looked at again; none while it waits for an answer or a lookup.
    pub(super) fn due_ms(&self) -> Option<u64> {
        let ready = !self.under_way && self.queue.front().is_some_and(|q| q.scheduler.or(self.scheduler).is_some());
        ready.then_some(self.not_before_ms)
    }
}
