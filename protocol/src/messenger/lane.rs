//! A lane: what one process sends to one target, in order. One request is under way per lane; the next goes out after
//! the receipt or the dead letter of the one before. A lane holds ids only: items stay in the log until they go out.

use std::collections::{BTreeSet, VecDeque};

use crate::backoff::Backoff;
use crate::certificate::Certificate;
use crate::id::{Address, Id};
use crate::item::VerifiedItem;
use crate::log::{Log, LogError};
use crate::origin::{DeliveryId, OutboxKind};
use crate::scheduler::Submission;
use crate::trust::Trust;
use crate::wire::{MAX_RANGE_BYTES, MAX_SUBMISSIONS};

/// Wait before the first retry, in milliseconds.
const FIRST_RETRY_MS: u64 = 250;
/// Longest wait between retries, in milliseconds.
const LAST_RETRY_MS: u64 = 30_000;
/// Wait for attestations that a certificate lacks, in milliseconds.
const UNCERTIFIED_RETRY_MS: u64 = 1000;
/// After so many failures in a row a lane is parked: it is still tried, but nothing waits for it.
const PARKED_AFTER: u32 = 8;

/// From which process to which; spawns of one process share a lane for each scheduler.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct LaneKey {
    pub(super) source: Id,
    /// The process, or the scheduler of spawns.
    pub(super) target: Id,
    pub(super) spawn: bool,
}

/// Submissions to one scheduler, to be made in this order.
#[derive(Clone, Debug)]
pub struct Submit {
    pub(super) lane: LaneKey,
    /// Which of all submissions it is: an answer to one that was given up is for nobody.
    pub(super) number: u64,
    /// Who is to give the slots.
    pub scheduler: Address,
    /// What is submitted.
    pub submissions: Vec<Submission>,
}

impl Submit {
    /// From which process, and to which; for spawns the scheduler's address.
    pub fn way(&self) -> (Id, Id) {
        (self.lane.source, self.lane.target)
    }
}

/// What waits because it failed before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// Failures in a row.
    pub attempts: u32,
    /// When it is tried again, in milliseconds since 1970.
    pub at_ms: u64,
}

/// The queue of a lane.
pub(super) struct Lane {
    /// The target's scheduler, once it is known.
    pub(super) scheduler: Option<Address>,
    /// In the order of their ids, which is that in which the process sent them.
    queue: BTreeSet<DeliveryId>,
    /// What the request under way submits, in its order; they stay in the queue until they are settled.
    under_way: Option<VecDeque<DeliveryId>>,
    /// Its number.
    pub(super) number: u64,
    backoff: Backoff,
    not_before_ms: u64,
    /// The slot of an entry that could not be certified, since this was last asked.
    uncertified: Option<u64>,
}

impl Default for Lane {
    fn default() -> Lane {
        Lane {
            scheduler: None,
            queue: BTreeSet::new(),
            under_way: None,
            number: 0,
            backoff: Backoff::new(FIRST_RETRY_MS, LAST_RETRY_MS),
            not_before_ms: 0,
            uncertified: None,
        }
    }
}

impl Lane {
    /// Adds a delivery at its place; false when it is there already.
    pub(super) fn push(&mut self, id: DeliveryId) -> bool {
        self.queue.insert(id)
    }

    /// Whether something can be submitted now.
    pub(super) fn is_ready(&self, now_ms: u64) -> bool {
        self.due_ms().is_some_and(|due| due <= now_ms)
    }

    /// Nothing is submitted before then.
    pub(super) fn wait_until(&mut self, at_ms: u64) {
        self.not_before_ms = self.not_before_ms.max(at_ms);
    }

    /// Whether the next of it is something that the source sent by itself, and not the notice of a spawn.
    pub(super) fn begins_with_sent(&self) -> bool {
        self.queue.first().is_some_and(is_sent)
    }

    /// How many of what is under way the source sent by itself.
    pub(super) fn sent_under_way(&self) -> usize {
        self.under_way.iter().flatten().filter(|id| is_sent(id)).count()
    }

    /// What is to be submitted now: as many from the front as fit into a request, and at most so many that the source
    /// sent by itself.
    pub(super) fn take(
        &mut self,
        log: &dyn Log,
        trust: &Trust,
        now_ms: u64,
        most: usize,
    ) -> Result<Option<(Address, Vec<Submission>)>, LogError> {
        let Some(scheduler) = self.scheduler.filter(|_| self.is_ready(now_ms)) else { return Ok(None) };
        let source = self.queue.first().map(|id| id.origin.process);
        let process = source.map(|source| log.process(&source)).transpose()?.flatten();
        let mut submissions = Vec::new();
        let mut ids = VecDeque::new();
        let mut bytes = 0;
        let mut sent = 0;
        for id in self.queue.iter().take(MAX_SUBMISSIONS) {
            sent += usize::from(is_sent(id));
            if sent > most {
                break;
            }
            let damaged = |cause: &str| LogError::Damaged {
                record: "delivery",
                key: id.origin.to_string(),
                cause: cause.to_string(),
            };
            let delivery = log.delivery(id)?.ok_or_else(|| damaged("it is missing"))?;
            let item = delivery.item.ok_or_else(|| damaged("it has no item"))?;
            bytes += item.0.len();
            if bytes > MAX_RANGE_BYTES && !submissions.is_empty() {
                break;
            }
            let item = VerifiedItem::from_own_store(item.0).map_err(|cause| damaged(&cause.to_string()))?;
            let certificate = match &process {
                Some(process) if process.compute_quorum > 1 => {
                    match Certificate::of(log, process, trust, &id.origin)? {
                        Some(certificate) => Some(Box::new(certificate)),
                        // A unit was found lying since it was certain, or what units attested of that slot is not
                        // here, but only what they attested of later ones.
                        None => {
                            self.uncertified = Some(id.origin.slot);
                            break;
                        }
                    }
                }
                _ => None,
            };
            let messenger = item.address();
            submissions.push(Submission { certificate, ..Submission::new(item, messenger) });
            ids.push_back(*id);
        }
        if submissions.is_empty() {
            self.not_before_ms = now_ms.saturating_add(UNCERTIFIED_RETRY_MS);
            return Ok(None);
        }
        self.under_way = Some(ids);
        Ok(Some((scheduler, submissions)))
    }

    /// The slot of an entry whose certificate lacks attestations, once.
    pub(super) fn take_uncertified(&mut self) -> Option<u64> {
        self.uncertified.take()
    }

    /// The request came back; when not all of it is settled, the rest waits.
    pub(super) fn answered(&mut self, all: bool, now_ms: u64) {
        self.under_way = None;
        if all {
            self.backoff.reset();
            self.not_before_ms = 0;
        } else {
            self.not_before_ms = now_ms.saturating_add(self.backoff.next_ms());
        }
    }

    /// When it is tried again, if it failed.
    pub(super) fn retry(&self) -> Option<Retry> {
        let attempts = self.backoff.attempts();
        (attempts > 0).then_some(Retry { attempts, at_ms: self.not_before_ms })
    }

    /// Whether it failed for so long that nothing waits for it.
    pub(super) fn is_parked(&self) -> bool {
        self.backoff.attempts() >= PARKED_AFTER
    }

    /// The next of what is under way is settled.
    pub(super) fn pop(&mut self) -> Option<DeliveryId> {
        let id = self.under_way.as_mut()?.pop_front()?;
        self.queue.remove(&id);
        Some(id)
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = &DeliveryId> {
        self.queue.iter()
    }

    pub(super) fn into_ids(self) -> BTreeSet<DeliveryId> {
        self.queue
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// When the lane is to be looked at again; none while it waits for an answer or a lookup.
    pub(super) fn due_ms(&self) -> Option<u64> {
        let ready = self.under_way.is_none() && self.scheduler.is_some() && !self.queue.is_empty();
        ready.then_some(self.not_before_ms)
    }
}

fn is_sent(id: &DeliveryId) -> bool {
    id.origin.index.kind != OutboxKind::Spawned
}
