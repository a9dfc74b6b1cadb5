//! What is going on with one process's outbox: which slot is next, which are open, and since when their outcomes are
//! certain.

use std::collections::{BTreeMap, VecDeque};

use super::pace::Pace;

/// Most slots of one process that are worked on at once. Those whose entries all wait for targets that could not be
/// reached for a while do not count.
pub const MAX_OPEN_SLOTS: usize = 64;

/// Most notes on when outcomes were first seen; beyond, the latest ones become one.
const MAX_NOTES: usize = 64;

/// The work on one process.
pub(super) struct Work {
    /// The next slot to look at; those below are open or settled.
    next: u64,
    /// The cursor as the log has it.
    settled: u64,
    /// Up to which slot outcomes are certain.
    certain: Option<u64>,
    /// Up to which slot they were, and when that was first seen, in milliseconds; both increase.
    notes: VecDeque<(u64, u64)>,
    /// Slots with entries that are not settled.
    open: BTreeMap<u64, Open>,
    /// How many of them count.
    active: usize,
    /// How fast it may send to itself.
    pub(super) own: Pace,
    /// How often slots of its process had been taken back when it began, and of those that it sends to.
    age: (u64, u64),
}

/// How many entries of a slot are not settled, and how many of these are in parked lanes.
#[derive(Clone, Copy, Default)]
struct Open {
    left: usize,
    parked: usize,
}

impl Open {
    fn is_active(self) -> bool {
        self.left > self.parked
    }
}

impl Work {
    /// Work that goes on where the cursor is.
    pub(super) fn new(settled: u64, age: (u64, u64)) -> Work {
        Work {
            next: settled,
            settled,
            certain: None,
            notes: VecDeque::new(),
            open: BTreeMap::new(),
            active: 0,
            own: Pace::default(),
            age,
        }
    }

    /// Notes that outcomes are certain up to a slot.
    pub(super) fn certain_until(&mut self, slot: u64, now_ms: u64) {
        self.certain = self.certain.max(Some(slot));
        let full = self.notes.len() >= MAX_NOTES;
        match self.notes.back_mut() {
            Some((last, _)) if *last >= slot => {}
            // Later is safe: this node's turn then comes later, too.
            Some(last) if full => *last = (slot, now_ms),
            _ => self.notes.push_back((slot, now_ms)),
        }
    }

    /// Whether the outcome of a slot is certain.
    pub(super) fn is_certain(&self, slot: u64) -> bool {
        self.certain.is_some_and(|certain| slot <= certain)
    }

    /// When the outcome of a slot became certain, as far as it is known; earlier slots are forgotten.
    pub(super) fn seen_ms(&mut self, slot: u64) -> Option<u64> {
        while self.notes.front().is_some_and(|(last, _)| *last < slot) {
            self.notes.pop_front();
        }
        self.notes.front().map(|(_, at)| *at)
    }

    /// Goes back to the cursor, if slots of the process were taken back since it began, or of one that it sent to. In
    /// the first case what is certain is to be told again.
    pub(super) fn begin_again(&mut self, settled: u64, age: (u64, u64)) -> bool {
        if self.age == age {
            return false;
        }
        let before = std::mem::replace(self, Work::new(settled, age));
        if before.age.0 == age.0 {
            (self.certain, self.notes, self.own) = (before.certain, before.notes, before.own);
        }
        true
    }

    /// The slot to be expanded next.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// Whether no further slot may be opened.
    pub(super) fn is_full(&self) -> bool {
        self.active >= MAX_OPEN_SLOTS
    }

    /// The next slot is expanded.
    pub(super) fn open(&mut self, slot: u64) {
        self.next = slot + 1;
    }

    fn change(&mut self, slot: u64, change: impl FnOnce(&mut Open)) {
        let open = self.open.entry(slot).or_default();
        let before = open.is_active();
        change(open);
        let (after, settled) = (open.is_active(), open.left == 0);
        if settled {
            self.open.remove(&slot);
        }
        self.active = self.active + usize::from(after) - usize::from(before);
    }

    /// An entry of a slot is queued.
    pub(super) fn add(&mut self, slot: u64, parked: bool) {
        self.change(slot, |open| {
            open.left += 1;
            open.parked += usize::from(parked);
        });
    }

    /// An entry is settled.
    pub(super) fn remove(&mut self, slot: u64, parked: bool) {
        self.change(slot, |open| {
            open.left = open.left.saturating_sub(1);
            open.parked = open.parked.saturating_sub(usize::from(parked)).min(open.left);
        });
    }

    /// The lane of an entry is parked, or no more.
    pub(super) fn park(&mut self, slot: u64, parked: bool) {
        self.change(slot, |open| {
            open.parked = if parked { open.parked + 1 } else { open.parked.saturating_sub(1) };
        });
    }

    /// A slot below the cursor has something to be done again. The cursor's new place, if it moved.
    pub(super) fn go_back(&mut self, slot: u64) -> Option<u64> {
        (slot < self.settled).then(|| {
            self.settled = slot;
            slot
        })
    }

    /// The cursor's new place, if it moved: all slots below it are settled.
    pub(super) fn settle(&mut self) -> Option<u64> {
        // A slot above the next may be open: something of it is done again.
        let next = self.open.keys().next().map_or(self.next, |slot| self.next.min(*slot));
        (next > self.settled).then(|| {
            self.settled = next;
            next
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_behind_one_that_waits_do_not_fill_up() {
        let mut work = Work::new(0, (0, 0));
        work.open(0);
        work.add(0, false);
        for slot in 1..=200 {
            assert!(!work.is_full());
            work.open(slot);
            work.add(slot, false);
            work.remove(slot, false);
        }
        assert_eq!(work.settle(), None, "the cursor stays at what waits");
        work.remove(0, false);
        assert_eq!((work.settle(), work.settle()), (Some(201), None));
    }

    #[test]
    fn what_is_done_again_above_does_not_move_the_cursor_over_what_was_never_done() {
        let mut work = Work::new(5, (0, 0));
        work.add(150, false);
        assert_eq!(work.settle(), None);
        work.remove(150, false);
        assert_eq!(work.settle(), None);
        work.open(5);
        assert_eq!(work.settle(), Some(6));
        assert_eq!((work.go_back(2), work.go_back(4)), (Some(2), None));
        work.add(2, false);
        assert_eq!(work.settle(), None);
        work.remove(2, false);
        assert_eq!(work.settle(), Some(6));
    }

    #[test]
    fn parked_slots_do_not_count() {
        let mut work = Work::new(0, (0, 0));
        for slot in 0..MAX_OPEN_SLOTS as u64 {
            work.open(slot);
            work.add(slot, false);
            work.add(slot, true);
        }
        assert!(work.is_full());
        work.park(5, true);
        assert!(!work.is_full());
        work.park(5, false);
        assert!(work.is_full());
        work.remove(5, false);
        assert!(!work.is_full(), "what is left of it is parked");
        work.remove(5, true);
        assert_eq!(work.active, MAX_OPEN_SLOTS - 1);
    }

    #[test]
    fn a_backlog_keeps_its_times() {
        let mut work = Work::new(0, (0, 0));
        work.certain_until(9, 100);
        work.certain_until(9, 150);
        work.certain_until(20, 200);
        assert_eq!((work.seen_ms(0), work.seen_ms(9), work.seen_ms(10)), (Some(100), Some(100), Some(200)));
        assert_eq!(work.seen_ms(21), None);
        for n in 0..1000 {
            work.certain_until(30 + n, 300 + n);
        }
        assert_eq!(work.notes.len(), MAX_NOTES);
        assert_eq!(work.seen_ms(1029), Some(1299));
    }
}
