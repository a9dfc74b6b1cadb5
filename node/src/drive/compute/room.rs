//! Room for workers: how many there are at once, and how much memory they may hold together.
//!
//! Who wants room waits in line. When somebody waits, workers without work end, and those that had their place for a
//! while give it up and stand in line again. What a worker holds is looked at after each answer; one that outgrows the
//! room that is left gives up its place too, and waits for one of the new size.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// Most worker processes at once.
pub(super) const MAX_WORKERS: usize = 64;
/// How long a worker that has work keeps its place when others wait for one. To go on later it needs its last snapshot
/// and what came since, a fraction of a second of work.
const TENURE: Duration = Duration::from_secs(5);
/// Memory is counted in these.
const MIB: u64 = 1 << 20;
/// What a worker takes beside its heap, in MiB: its own copy of what the executable writes to, stacks, messages on
/// their way.
const OVERHEAD_MIB: u64 = 12;
/// A worker and its twin may have the whole heap each.
const HEAPS: u64 = 2;
/// What a heap may grow between two looks at it, in MiB.
const GROWTH_MIB: u64 = 16;

/// Taken where neither the system nor its group says how much memory there is.
const UNKNOWN_MEMORY: u64 = 2048 * MIB;

/// Half of the memory that this machine, or the group of processes that the node is in, has.
pub fn half_of_memory() -> u64 {
    let total = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
        line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
    });
    let of_group = std::fs::read_to_string("/sys/fs/cgroup/memory.max").ok().and_then(|text| text.trim().parse().ok());
    total.into_iter().chain(of_group).min().unwrap_or(UNKNOWN_MEMORY) / 2
}

/// A place among the workers.
pub(super) struct Place {
    memory: OwnedSemaphorePermit,
    since: Instant,
    room: Arc<Room>,
    // One of the number of workers, given back with the place.
    _worker: OwnedSemaphorePermit,
}

/// All places.
pub(super) struct Room {
    workers: Arc<Semaphore>,
    memory: Arc<Semaphore>,
    mib: u32,
    waiting: AtomicUsize,
    /// Told when somebody begins to wait.
    crowded: Notify,
}

impl Room {
    /// Room for so many workers, which hold at most so many bytes together.
    pub(super) fn new(workers: usize, bytes: u64) -> Arc<Room> {
        let mib = u32::try_from(bytes / MIB).unwrap_or(u32::MAX).max(1);
        Arc::new(Room {
            workers: Arc::new(Semaphore::new(workers)),
            memory: Arc::new(Semaphore::new(mib as usize)),
            mib,
            waiting: AtomicUsize::new(0),
            crowded: Notify::new(),
        })
    }

    /// Waits for a place for a worker whose heap is so large.
    pub(super) async fn take(self: Arc<Room>, heap_bytes: u64) -> Place {
        let wanted = self.mib_for(heap_bytes);
        let waits = Waits::new(&self);
        let worker = Room::permits(&self.workers, 1, &self.crowded).await;
        let memory = Room::permits(&self.memory, wanted, &self.crowded).await;
        drop(waits);
        Place { memory, since: Instant::now(), room: self.clone(), _worker: worker }
    }

    async fn permits(of: &Arc<Semaphore>, count: u32, crowded: &Notify) -> OwnedSemaphorePermit {
        match of.clone().try_acquire_many_owned(count) {
            Ok(permits) => permits,
            Err(_) => {
                crowded.notify_waiters();
                match of.clone().acquire_many_owned(count).await {
                    Ok(permits) => permits,
                    Err(_) => unreachable!("these semaphores are never closed"),
                }
            }
        }
    }

    /// A process that may need more than there is gets all of it.
    fn mib_for(&self, heap_bytes: u64) -> u32 {
        let mib = heap_bytes.div_ceil(MIB).saturating_mul(HEAPS).saturating_add(OVERHEAD_MIB);
        u32::try_from(mib).unwrap_or(u32::MAX).min(self.mib)
    }

    /// Whether somebody waits for a place.
    fn is_wanted(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }

    /// Until somebody waits for a place.
    pub(super) async fn wanted(&self) {
        let told = self.crowded.notified();
        if !self.is_wanted() {
            told.await;
        }
    }
}

impl Place {
    /// What the heap of the worker may take, in bytes: somewhat more than it did when it was last looked at.
    pub(super) fn granted(&self) -> u64 {
        let mib = (self.memory.num_permits() as u64).saturating_sub(OVERHEAD_MIB) / HEAPS;
        (mib + GROWTH_MIB) * MIB
    }

    /// Whether there is no larger place.
    pub(super) fn is_all(&self) -> bool {
        self.memory.num_permits() >= self.room.mib as usize
    }

    /// Whether a worker that has work may go on, now that its heap is so large. If not, it is to end.
    pub(super) fn is_kept(&mut self, heap_bytes: u64) -> bool {
        if self.room.is_wanted() && self.since.elapsed() > TENURE {
            return false;
        }
        let more = (self.room.mib_for(heap_bytes) as usize).saturating_sub(self.memory.num_permits());
        let Ok(more) = u32::try_from(more) else { return false };
        match self.room.memory.clone().try_acquire_many_owned(more) {
            Ok(permits) => self.memory.merge(permits),
            Err(_) => {
                self.room.crowded.notify_waiters();
                return false;
            }
        }
        true
    }
}

/// Counts as waiting while it lives.
struct Waits<'a>(&'a Room);

impl Waits<'_> {
    fn new(room: &Room) -> Waits<'_> {
        room.waiting.fetch_add(1, Ordering::Relaxed);
        Waits(room)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test]
    async fn a_worker_waits_for_number_and_memory() {
        let room = Room::new(2, 100 * MIB);
        let first = room.clone().take(0).await;
        let mut second = room.clone().take(10 * MIB).await;
        assert!(room.clone().take(0).now_or_never().is_none(), "two places");
        drop(first);
        assert!(room.clone().take(40 * MIB).now_or_never().is_none(), "32 of 100 are taken; it needs 92");
        assert!(!room.is_wanted(), "who gave up does not wait");
        assert!(second.is_kept(10 * MIB) && second.is_kept(44 * MIB));
        assert!(room.clone().take(0).now_or_never().is_none(), "it grew to 100");
        assert!(second.is_kept(u64::MAX), "more than there is can't be counted");
        drop(second);
        assert!(room.clone().take(u64::MAX).now_or_never().is_some());
    }

    #[tokio::test]
    async fn a_heap_may_grow_as_far_as_its_place_goes() {
        let room = Room::new(2, 100 * MIB);
        let mut place = room.clone().take(0).await;
        assert_eq!((place.granted(), place.is_all()), (GROWTH_MIB * MIB, false));
        assert!(place.is_kept(20 * MIB));
        assert_eq!((place.granted(), place.is_all()), ((20 + GROWTH_MIB) * MIB, false));
        assert!(place.is_kept(200 * MIB) && place.is_all());
        assert_eq!(place.granted(), (44 + GROWTH_MIB) * MIB);
    }

    #[test]
    fn a_machine_has_memory() {
        assert!((64 * MIB..1 << 45).contains(&half_of_memory()), "{}", half_of_memory());
    }

    #[tokio::test]
    async fn who_waits_is_heard() {
        let room = Room::new(1, 100 * MIB);
        let mut place = room.clone().take(0).await;
        assert!(room.wanted().now_or_never().is_none());
        let waiting = tokio::spawn(room.clone().take(0));
        room.wanted().await;
        assert!(place.is_kept(0), "for a while");
        place.since -= TENURE + Duration::from_millis(1);
        assert!(!place.is_kept(0));
        drop(place);
        waiting.await.unwrap();
        let mut one = room.clone().take(0).await;
        assert!(!Room::new(2, 100 * MIB).is_wanted() && one.is_kept(0));
    }
}
