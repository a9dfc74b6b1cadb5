//! Repair: how a follower gets every slot of every process it follows, whatever gossip lost. [`accept`] decides what
//! fits; [`Repair`] knows who claims to have more than this node and asks for it, a range at a time.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use thiserror::Error;

use crate::assignment::first_link;
use crate::backoff::Backoff;
use crate::entry::Entry;
use crate::evidence;
use crate::id::Id;
use crate::log::{Batch, Log, LogError, Write};
use crate::process::{Process, ProcessError};

/// Most ranges asked for at once.
pub const MAX_FETCHES: usize = 32;
/// Most peers remembered as having more of one process.
pub const MAX_CLAIMS: usize = 16;
/// Most processes that are known to have a gap; tips that come later are heard again.
pub const MAX_GAPS: usize = 100_000;
/// Most gaps that are looked at in one go.
const MAX_LOOKED_AT: usize = 1000;
/// Wait after a failed fetch, in milliseconds, doubling up to [`LAST_RETRY_MS`].
const FIRST_RETRY_MS: u64 = 200;
/// Longest wait after failed fetches, in milliseconds.
const LAST_RETRY_MS: u64 = 10_000;

/// What an entry is to this node's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Accepted {
    /// The next slot; it was added to the batch.
    New,
    /// It is there already.
    Known,
    /// Slots before it are missing.
    Ahead,
    /// The scheduler gave this slot twice; the evidence was added to the batch.
    Evidence,
    /// The owner resumed the process on another branch: whoever has this one does not know yet.
    Superseded,
    /// The owner resumed the process, and this node does not know it yet.
    Unresumed,
}

/// What is wrong with an entry in itself: whoever sent it should not have.
#[derive(Debug, Error)]
pub enum WrongEntry {
    /// Signed by somebody else than the process's scheduler.
    #[error("slot {slot} of {process} is not signed by its scheduler")]
    Signer {
        /// Which process.
        process: Id,
        /// Which slot.
        slot: u64,
    },
    /// It does not continue the chain of the slot before.
    #[error("slot {slot} of {process} does not continue the hash chain")]
    Chain {
        /// Which process.
        process: Id,
        /// Which slot.
        slot: u64,
    },
    /// Its time is before that of the slot before.
    #[error("slot {slot} of {process} goes back in time")]
    Time {
        /// Which process.
        process: Id,
        /// Which slot.
        slot: u64,
    },
    /// It says that a cron fired which the process does not have.
    #[error("slot {slot} of {process} is the firing of a cron that it does not have")]
    Cron {
        /// Which process.
        process: Id,
        /// Which slot.
        slot: u64,
    },
    /// Slot 0 is no process.
    #[error(transparent)]
    Process(#[from] ProcessError),
}

/// Checks a verified entry against the log and adds it to the batch if it is the next slot of its process.
pub fn accept(log: &dyn Log, batch: &mut Batch, entry: Entry) -> Result<Result<Accepted, WrongEntry>, LogError> {
    let (process, slot) = (entry.process(), entry.slot());
    let statement = &entry.assignment.statement;
    let named = match batch.process(log, &process)? {
        Some(Ok(named)) => named,
        Some(Err(cause)) => return Ok(Err(cause.into())),
        None if slot > 0 => return Ok(Ok(Accepted::Ahead)),
        None => match Process::read(&entry.item) {
            Ok(named) => Arc::new(named),
            Err(cause) => return Ok(Err(cause.into())),
        },
    };
    match statement.epoch.cmp(&named.epoch_at(slot)) {
        Ordering::Less => return Ok(Ok(Accepted::Superseded)),
        Ordering::Greater => return Ok(Ok(Accepted::Unresumed)),
        Ordering::Equal => {}
    }
    if entry.assignment.item.address() != named.scheduler_at(slot) {
        if statement.epoch > 0 {
            // Its owner may have signed two with one sequence, of which this node has the other.
            return Ok(Ok(Accepted::Unresumed));
        }
        return Ok(Err(WrongEntry::Signer { process, slot }));
    }
    // Only a process that was resumed has more than one branch; slot 0 may have been taken back with all others.
    if (slot == 0 || !named.resumes.is_empty())
        && log.on_branch(&process, slot)?.is_some_and(|only| only != entry.assignment.id())
    {
        return Ok(Ok(Accepted::Superseded));
    }
    if let Some(firing) = &statement.cron
        && !named.crons.iter().any(|cron| cron.id == firing.cron)
    {
        return Ok(Err(WrongEntry::Cron { process, slot }));
    }
    let (next, link, time) = match batch.tip(log, &process)? {
        None => (0, first_link(&process), 0),
        Some(tip) => (tip.slot + 1, tip.next_link, tip.timestamp_ms),
    };
    if slot > next {
        return Ok(Ok(Accepted::Ahead));
    }
    if slot < next {
        let Some(ours) = batch.entry(log, &process, slot)? else { return Ok(Ok(Accepted::Known)) };
        if ours.assignment.id() == entry.assignment.id() {
            return Ok(Ok(Accepted::Known));
        }
        if evidence::is_settled(log, &named, slot)? {
            return Ok(Ok(Accepted::Superseded));
        }
        batch.push(evidence::between(&ours, &entry));
        return Ok(Ok(Accepted::Evidence));
    }
    if statement.hash_chain != link {
        return Ok(Err(WrongEntry::Chain { process, slot }));
    }
    if statement.timestamp_ms < time {
        return Ok(Err(WrongEntry::Time { process, slot }));
    }
    batch.push(Write::Entry(Box::new(entry)));
    Ok(Ok(Accepted::New))
}

/// Entries to be asked of a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetch<Peer> {
    /// Whom to ask.
    pub peer: Peer,
    /// Which process.
    pub process: Id,
    /// First slot wanted.
    pub from: u64,
}

/// Who has what this node lacks. `Peer` is whatever names a peer.
///
/// Input: [`Repair::on_claim`], [`Repair::on_progress`], [`Repair::on_failure`], [`Repair::on_disconnected`]. Output:
/// [`Repair::fetches`], each answered by `on_progress` or `on_failure`.
pub struct Repair<Peer> {
    gaps: BTreeMap<Id, Gap<Peer>>,
    under_way: usize,
    /// The last process that was asked for: the others have their turn before it has again.
    last: Option<Id>,
}

struct Gap<Peer> {
    /// Highest slot that each peer claims to have.
    claims: BTreeMap<Peer, u64>,
    asked: Option<Peer>,
    backoff: Backoff,
    not_before_ms: u64,
}

impl<Peer: Ord + Clone> Default for Repair<Peer> {
    fn default() -> Repair<Peer> {
        Repair { gaps: BTreeMap::new(), under_way: 0, last: None }
    }
}

impl<Peer: Ord + Clone> Repair<Peer> {
    /// Knows of no gap yet.
    pub fn new() -> Repair<Peer> {
        Repair::default()
    }

    /// A peer says, or shows by an entry, that it has a process up to this slot.
    pub fn on_claim(&mut self, log: &dyn Log, peer: &Peer, process: &Id, slot: u64) -> Result<(), LogError> {
        if log.tip(process)?.is_some_and(|tip| tip.slot >= slot) {
            return Ok(());
        }
        if !self.gaps.contains_key(process) && self.gaps.len() >= MAX_GAPS {
            return Ok(());
        }
        let gap = self.gaps.entry(*process).or_insert_with(|| Gap {
            claims: BTreeMap::new(),
            asked: None,
            backoff: Backoff::new(FIRST_RETRY_MS, LAST_RETRY_MS),
            not_before_ms: 0,
        });
        if gap.claims.len() < MAX_CLAIMS || gap.claims.contains_key(peer) {
            let claim = gap.claims.entry(peer.clone()).or_insert(slot);
            *claim = slot.max(*claim);
        }
        Ok(())
    }

    /// What to ask for now; at most [`MAX_FETCHES`] are under way and one per process.
    pub fn fetches(&mut self, log: &dyn Log, now_ms: u64) -> Result<Vec<Fetch<Peer>>, LogError> {
        let mut fetches = Vec::new();
        let mut closed = Vec::new();
        let turn = |range: (Bound<Id>, Bound<Id>)| self.gaps.range(range).map(|(process, _)| *process);
        let (above, below) = match self.last {
            Some(last) => ((Bound::Excluded(last), Bound::Unbounded), (Bound::Unbounded, Bound::Included(last))),
            None => ((Bound::Unbounded, Bound::Unbounded), (Bound::Unbounded, Bound::Excluded(Id::from([0; 32])))),
        };
        let order: Vec<Id> = turn(above).chain(turn(below)).take(MAX_LOOKED_AT).collect();
        for process in &order {
            if self.under_way >= MAX_FETCHES {
                break;
            }
            self.last = Some(*process);
            let Some(gap) = self.gaps.get_mut(process) else { continue };
            if gap.asked.is_some() || now_ms < gap.not_before_ms {
                continue;
            }
            let from = log.tip(process)?.map_or(0, |tip| tip.slot + 1);
            gap.claims.retain(|_, slot| *slot >= from);
            // The one that claims most; which of equals is spread by the process, so that not one peer serves all.
            let most = gap.claims.values().max().copied();
            let best: Vec<&Peer> =
                gap.claims.iter().filter(|(_, slot)| Some(**slot) == most).map(|(peer, _)| peer).collect();
            let spread = usize::from(process.as_ref().last().copied().unwrap_or(0));
            let Some(peer) = best.get(spread % best.len().max(1)).map(|peer| (*peer).clone()) else {
                closed.push(*process);
                continue;
            };
            gap.asked = Some(peer.clone());
            self.under_way += 1;
            fetches.push(Fetch { peer, process: *process, from });
        }
        for process in closed {
            self.gaps.remove(&process);
        }
        Ok(fetches)
    }

    /// A fetch brought entries, which are committed by now.
    pub fn on_progress(&mut self, process: &Id) {
        if let Some(gap) = self.gaps.get_mut(process)
            && gap.asked.take().is_some()
        {
            self.under_way = self.under_way.saturating_sub(1);
            gap.backoff.reset();
            gap.not_before_ms = 0;
        }
    }

    /// A fetch brought nothing that could be used: the peer's claim is forgotten, another is asked after a while.
    pub fn on_failure(&mut self, process: &Id, now_ms: u64) {
        if let Some(gap) = self.gaps.get_mut(process)
            && let Some(peer) = gap.asked.take()
        {
            self.under_way = self.under_way.saturating_sub(1);
            gap.claims.remove(&peer);
            gap.not_before_ms = now_ms.saturating_add(gap.backoff.next_ms());
        }
    }

    /// A peer is gone. What was asked of it fails by itself.
    pub fn on_disconnected(&mut self, peer: &Peer) {
        for gap in self.gaps.values_mut() {
            if gap.asked.as_ref() != Some(peer) {
                gap.claims.remove(peer);
            }
        }
    }

    /// How many processes are known to lack entries.
    pub fn gaps(&self) -> usize {
        self.gaps.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::assignment::Statement;
    use crate::item::{ItemBuilder, VerifiedItem};
    use crate::log::{Durability, MemoryLog};
    use crate::wallet::{Signer, Wallet};

    fn unit() -> Wallet {
        Wallet::ed25519_from_seed([1; 32])
    }

    fn spawn() -> VerifiedItem {
        let item = ItemBuilder::new()
            .tag("Type", "Process")
            .tag("Module", Id::from([9; 32]).to_string())
            .tag("Scheduler", unit().address().to_string());
        item.sign(&unit()).unwrap()
    }

    /// The entry of a slot after `before`, changed by `change` before it is signed.
    fn entry(before: Option<&Entry>, n: u8, signer: &Wallet, change: impl Fn(&mut Statement)) -> Entry {
        let process = spawn().id();
        let item = match before {
            None => spawn(),
            Some(_) => ItemBuilder::new().target(process).anchor([n; 32]).sign(&unit()).unwrap(),
        };
        let mut statement = Statement {
            process,
            epoch: 0,
            slot: before.map_or(0, |before| before.slot() + 1),
            hash_chain: before.map_or_else(|| first_link(&process), |before| before.assignment.next_link()),
            block_height: 0,
            timestamp_ms: 100,
            message: before.map(|_| item.id()),
            messenger: None,
            depth: 0,
            root: None,
            origin: None,
            sent_by: None,
            assign: None,
            certificate: None,
            authorities: Vec::new(),
            cron: None,
        };
        change(&mut statement);
        Entry { assignment: statement.sign(signer).unwrap(), item, proof: None, certificate: None }
    }

    fn take(log: &MemoryLog, entry: &Entry) -> Result<Accepted, WrongEntry> {
        let mut batch = Batch::new();
        let accepted = accept(log, &mut batch, Entry::verify(&entry.to_bytes()).unwrap()).unwrap();
        log.commit(batch, Durability::Synced).unwrap();
        accepted
    }

    #[test]
    fn entries_are_taken_in_order_and_once() {
        let log = MemoryLog::new();
        let first = entry(None, 0, &unit(), |_| ());
        let second = entry(Some(&first), 1, &unit(), |_| ());
        let third = entry(Some(&second), 2, &unit(), |_| ());
        assert_eq!(take(&log, &third).unwrap(), Accepted::Ahead);
        assert_eq!(take(&log, &first).unwrap(), Accepted::New);
        assert_eq!(take(&log, &third).unwrap(), Accepted::Ahead);
        assert_eq!(take(&log, &second).unwrap(), Accepted::New);
        assert_eq!(take(&log, &second).unwrap(), Accepted::Known);
        assert_eq!(take(&log, &third).unwrap(), Accepted::New);
    }

    #[test]
    fn what_is_wrong_in_itself_is_refused() {
        let log = MemoryLog::new();
        let first = entry(None, 0, &unit(), |_| ());
        let stranger = Wallet::ed25519_from_seed([7; 32]);
        assert!(matches!(take(&log, &entry(None, 0, &stranger, |_| ())), Err(WrongEntry::Signer { .. })));
        take(&log, &first).unwrap();
        let wrong = entry(Some(&first), 1, &stranger, |_| ());
        assert!(matches!(take(&log, &wrong), Err(WrongEntry::Signer { .. })));
        let wrong = entry(Some(&first), 1, &unit(), |statement| statement.hash_chain = [0; 32].into());
        assert!(matches!(take(&log, &wrong), Err(WrongEntry::Chain { .. })));
        let wrong = entry(Some(&first), 1, &unit(), |statement| statement.timestamp_ms = 99);
        assert!(matches!(take(&log, &wrong), Err(WrongEntry::Time { .. })));
        assert_eq!(log.tip(&first.process()).unwrap().unwrap().slot, 0);
    }

    #[test]
    fn a_slot_given_twice_is_evidence_and_halts_the_process() {
        let log = MemoryLog::new();
        let first = entry(None, 0, &unit(), |_| ());
        let (one, other) = (entry(Some(&first), 1, &unit(), |_| ()), entry(Some(&first), 2, &unit(), |_| ()));
        take(&log, &first).unwrap();
        take(&log, &one).unwrap();
        assert_eq!(crate::compute::next(&log, &first.process(), 10).unwrap().len(), 2);
        assert_eq!(take(&log, &other).unwrap(), Accepted::Evidence);
        let (ours, theirs) = log.evidence(&first.process()).unwrap().unwrap();
        let assignments = [&one, &other].map(|entry| entry.to_bytes().assignment);
        assert_eq!([ours.assignment, theirs.assignment], assignments);
        assert!(ours.item.is_none() && theirs.item.is_none(), "evidence stays small");
        assert_eq!(crate::compute::next(&log, &first.process(), 10).unwrap().len(), 1, "only what is below it");
    }

    #[test]
    fn parts_that_do_not_belong_together_are_no_entry() {
        let first = entry(None, 0, &unit(), |_| ());
        let second = entry(Some(&first), 1, &unit(), |_| ());
        let mut swapped = second.to_bytes();
        swapped.item = first.to_bytes().item;
        assert!(Entry::verify(&swapped).is_err());
        let mut bare = second.to_bytes();
        bare.item = None;
        assert!(matches!(Entry::verify(&bare), Err(crate::entry::EntryError::WithoutItem { slot: 1, .. })));
        let mut damaged = second.to_bytes();
        if let Some(byte) = damaged.assignment.0.last_mut() {
            *byte ^= 1;
        }
        assert!(Entry::verify(&damaged).is_err());
    }

    #[test]
    fn a_gap_is_fetched_from_who_claims_it_and_another_is_asked_after_a_failure() {
        let log = MemoryLog::new();
        let process = Id::from([4; 32]);
        let mut repair = Repair::new();
        for peer in ["a", "b"] {
            repair.on_claim(&log, &peer, &process, 9).unwrap();
        }
        let first = repair.fetches(&log, 0).unwrap();
        assert_eq!((first.len(), first[0].from), (1, 0));
        assert!(repair.fetches(&log, 0).unwrap().is_empty(), "one at a time");
        repair.on_failure(&process, 0);
        assert!(repair.fetches(&log, FIRST_RETRY_MS - 1).unwrap().is_empty());
        let second = repair.fetches(&log, FIRST_RETRY_MS).unwrap();
        assert_ne!(first[0].peer, second[0].peer);
        repair.on_failure(&process, FIRST_RETRY_MS);
        assert!(repair.fetches(&log, 100_000).unwrap().is_empty(), "nobody is left who claims it");
        assert_eq!(repair.gaps(), 0);
    }
}
