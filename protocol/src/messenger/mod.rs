//! The messenger's rule: deliver what processes send, each entry once, in order, through crashes and takeovers.
//!
//! A state machine over the log. Its work is the log plus a cursor per process; everything in memory can be made again
//! from there, so after a failed commit or a restart a new value takes over. Call order for a driver:
//!
//! 1. [`Messenger::wake`] for every process at start and whenever an outcome was recorded, or attested where the
//!    process asks for a quorum; [`Messenger::revive`] for every target that is waited for at start, and whenever a
//!    process appears.
//! 2. [`Messenger::expand`] → commit the batch synced. Only then
//! 3. [`Messenger::submissions`] → submit each; answer each with [`Messenger::on_receipts`] (commit what it returns) or
//!    [`Messenger::on_failure`].
//! 4. [`Messenger::lookups`] → find each target; answer with [`Messenger::on_lookup`] or [`Messenger::lookup_later`].
//! 5. [`Messenger::settle`] → commit relaxed: it only spares work after a restart.
//!
//! Slots of one process are expanded strictly in order: a slot whose outbox another messenger delivers is waited for
//! until this node's log shows its entries or its time to take over has come. Entries to different targets do not wait
//! for each other: a target that can't be reached holds up nobody else.

mod dead_letters;
mod expansion;
mod lane;
pub(crate) mod outbox;
mod pace;
mod taken_back;
mod targets;
mod work;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use crate::agreement::certain;
use crate::evidence;
use crate::id::{Address, Id};
use crate::log::{Batch, Delivery, DeliveryState, Log, LogError, Place, Write};
use crate::origin::{DeliveryId, OutboxKind};
use crate::scheduler::Refusal;
use crate::trust::{Trust, rank_delay_ms};
use crate::wallet::Signer;
use lane::{Lane, LaneKey};
use outbox::{Sender, Source};
use work::Work;

pub use dead_letters::MAX_REDRIVEN_BYTES;
pub use expansion::{Traced, trace};
pub use lane::{Retry, Submit};
pub use pace::{MAX_OWN_BURST, OWN_PER_SECOND};
pub use targets::MAX_LOOKUPS;
pub use work::MAX_OPEN_SLOTS;

/// Most writes of one expansion, and slots that it looks at; the rest comes with the next.
const EXPANSION_WRITES: usize = 4096;
const EXPANSION_SLOTS: usize = 4096;

/// The messenger of one node.
#[derive(Default)]
pub struct Messenger {
    works: BTreeMap<Id, Work>,
    /// Processes that may have a slot to be expanded.
    awake: BTreeSet<Id>,
    lanes: BTreeMap<LaneKey, Lane>,
    /// Targets whose scheduler must be found before their lanes can go on, and not before when.
    unknown: BTreeMap<Id, u64>,
    /// Targets that are being looked for.
    sought: BTreeSet<Id>,
    /// Processes that wait because they send to themselves too fast, and until when.
    slowed: BTreeMap<Id, u64>,
    /// Slots whose entries lack attestations to be certified, by process.
    uncertified: BTreeMap<Id, u64>,
    /// The process at which the last expansion stopped before all was looked at, if it did.
    unfinished: Option<Id>,
    /// The number of the last submission.
    submitted: u64,
    /// How often slots were taken back when that was last looked at.
    rewound: u64,
}

/// How an attempt to expand the next slot of a process ended.
enum Step {
    /// It was expanded.
    Done,
    /// Its time has not come.
    NotYet,
    /// Nothing is to be done until the process is woken again.
    Asleep,
}

impl Messenger {
    /// A messenger that knows of no work yet.
    pub fn new() -> Messenger {
        Messenger::default()
    }

    /// Tells that a process may have outcomes, or units that agree on them, so that an outbox can be delivered.
    pub fn wake(&mut self, log: &dyn Log, trust: &Trust, process: &Id, now_ms: u64) -> Result<(), LogError> {
        self.forget_what_was_taken_back(log)?;
        let Some(read) = log.process(process)? else {
            return Ok(());
        };
        if !self.works.contains_key(process) {
            self.works.insert(*process, Work::new(log.delivered(process)?, (read.rewinds, read.sent_again)));
        }
        if let (Some(work), Some(certain)) = (self.works.get_mut(process), certain(log, &read, trust)?) {
            work.certain_until(certain, now_ms);
        }
        self.awake.insert(*process);
        Ok(())
    }

    /// Prepares what is due: signs the items of new outbox entries and queues them. The batch holds them and must be
    /// committed synced before the next call of [`Messenger::submissions`].
    pub fn expand(
        &mut self,
        log: &dyn Log,
        trust: &Trust,
        signer: &dyn Signer,
        now_ms: u64,
    ) -> Result<Batch, LogError> {
        self.forget_what_was_taken_back(log)?;
        let mut batch = Batch::new();
        let mut slots = 0;
        // After a process with much to do it is the others' turn.
        let last = self.unfinished.take().unwrap_or(Id::from([0xff; 32]));
        let after = self.awake.range((Bound::Excluded(last), Bound::Unbounded));
        let turns: Vec<Id> = after.chain(self.awake.range(..=last)).copied().collect();
        for process in turns {
            loop {
                slots += 1;
                if batch.len() >= EXPANSION_WRITES || slots > EXPANSION_SLOTS {
                    self.unfinished = Some(process);
                    return Ok(batch);
                }
                match self.expand_next(log, trust, signer, now_ms, &process, &mut batch)? {
                    Step::Done => {}
                    Step::NotYet => break,
                    Step::Asleep => {
                        self.awake.remove(&process);
                        break;
                    }
                }
            }
        }
        Ok(batch)
    }

    fn expand_next(
        &mut self,
        log: &dyn Log,
        trust: &Trust,
        signer: &dyn Signer,
        now_ms: u64,
        id: &Id,
        batch: &mut Batch,
    ) -> Result<Step, LogError> {
        let Some(work) = self.works.get_mut(id) else { return Ok(Step::Asleep) };
        if work.is_full() {
            // It wakes when one of its slots is settled.
            return Ok(Step::Asleep);
        }
        let slot = work.next();
        if !work.is_certain(slot) {
            return Ok(Step::Asleep);
        }
        let Some(record) = log.outcome(id, slot)? else { return Ok(Step::Asleep) };
        if evidence::disputed_from(log, id)?.is_some_and(|from| slot >= from) {
            return Ok(Step::Asleep);
        }
        let (Some(entry), Some(process)) = (log.entry(id, slot)?, log.process(id)?) else { return Ok(Step::Asleep) };
        let seen_ms = work.seen_ms(slot).unwrap_or(now_ms);
        let (mut deliveries, mut pending) = (Vec::new(), Vec::new());
        if record.outcome.entries() > 0
            && let Some(rank) = trust.rank(&process, slot, entry.assignment.statement.messenger, &signer.address())
        {
            let sender = Sender { source: Source { process: &process, entry: &entry }, signer };
            let known = log.deliveries(id, slot)?;
            // Nothing is signed for another messenger's slot before its turn has passed.
            if rank > 0 && known.is_empty() && now_ms < seen_ms + rank_delay_ms(rank) {
                if !expansion::all_scheduled(log, &sender, &record.outcome)? {
                    return Ok(Step::NotYet);
                }
            } else {
                let before = known.len();
                deliveries = expansion::deliveries(log, &sender, &record.outcome, known)?;
                // What is known is in the log as it is.
                for delivery in deliveries.drain(..before) {
                    if delivery.state == DeliveryState::Pending {
                        pending.push(delivery.id);
                    }
                }
            }
        }
        work.open(slot);
        for delivery in deliveries {
            if delivery.state == DeliveryState::Pending {
                pending.push(delivery.id);
            }
            batch.push(Write::Delivery(Box::new(delivery)));
        }
        pending.into_iter().for_each(|id| self.enqueue(id));
        Ok(Step::Done)
    }

    /// Puts a delivery into its lane; its item stays in the log.
    fn enqueue(&mut self, id: DeliveryId) {
        let Some(target) = id.target else { return };
        let spawn = id.origin.index.kind == OutboxKind::Spawn;
        let key = LaneKey { source: id.origin.process, target, spawn };
        let lane = self.lanes.entry(key).or_default();
        if spawn {
            lane.scheduler = Some(Address::from(target.to_bytes()));
        }
        if !lane.push(id) {
            return;
        }
        if lane.scheduler.is_none() && !self.sought.contains(&target) {
            self.unknown.entry(target).or_insert(0);
        }
        let parked = lane.is_parked();
        if let Some(work) = self.works.get_mut(&id.origin.process) {
            work.add(id.origin.slot, parked);
        }
    }

    /// What is to be submitted now. Each must be answered.
    pub fn submissions(&mut self, log: &dyn Log, trust: &Trust, now_ms: u64) -> Result<Vec<Submit>, LogError> {
        self.forget_what_was_taken_back(log)?;
        let mut submits = Vec::new();
        for (key, lane) in &mut self.lanes {
            // Its owner may have resumed it under another scheduler.
            if let (false, Some(scheduler)) = (key.spawn, &mut lane.scheduler)
                && let Some(target) = log.process(&key.target)?
            {
                *scheduler = target.scheduler();
            }
            let mut own = match key.source == key.target {
                true => self.works.get_mut(&key.source).map(|work| &mut work.own),
                false => None,
            };
            let most = own.as_ref().map_or(usize::MAX, |own| own.free(now_ms));
            if let (0, Some(own), true) = (most, &own, lane.is_ready(now_ms) && lane.begins_with_sent()) {
                lane.wait_until(own.next_ms());
                self.slowed.insert(key.source, own.next_ms());
                continue;
            }
            if let Some((scheduler, submissions)) = lane.take(log, trust, now_ms, most)? {
                if let Some(own) = &mut own {
                    own.spend(lane.sent_under_way(), now_ms);
                }
                self.submitted += 1;
                lane.number = self.submitted;
                submits.push(Submit { lane: *key, number: self.submitted, scheduler, submissions });
            }
            if let Some(slot) = lane.take_uncertified() {
                self.uncertified.insert(key.source, slot);
            }
        }
        Ok(submits)
    }

    /// Slots from which on attestations of a process are to be asked for, since this was last asked: what they sent
    /// waits for them.
    pub fn uncertified(&mut self) -> BTreeMap<Id, u64> {
        std::mem::take(&mut self.uncertified)
    }

    /// Processes that were slowed since this was last asked because they send to themselves without end, and when each
    /// goes on, in milliseconds.
    pub fn slowed(&mut self) -> BTreeMap<Id, u64> {
        std::mem::take(&mut self.slowed)
    }

    /// The scheduler answered: one result for each submission, in order, or fewer. Returns what to commit synced.
    pub fn on_receipts(
        &mut self,
        log: &dyn Log,
        submit: &Submit,
        results: &[Result<Place, Refusal>],
        signer: &dyn Signer,
        now_ms: u64,
    ) -> Result<Batch, LogError> {
        self.forget_what_was_taken_back(log)?;
        let mut batch = Batch::new();
        if !self.is_under_way(submit) {
            return Ok(batch);
        }
        // A scheduler to which it moved may not have heard of that yet.
        let moved = log.process(&submit.lane.target)?.is_some_and(|target| !target.resumes.is_empty());
        let mut settled = 0;
        let parked = self.lanes.get(&submit.lane).is_some_and(Lane::is_parked);
        for result in results.iter().take(submit.submissions.len()) {
            let state = match result {
                Ok(place) => DeliveryState::Scheduled(*place),
                Err(refusal) if refusal.is_temporary() => break,
                Err(Refusal::Elsewhere { .. }) if moved => break,
                Err(refusal) => DeliveryState::Dead { reason: refusal.to_string() },
            };
            settled += 1;
            let Some(id) = self.lanes.get_mut(&submit.lane).and_then(Lane::pop) else { break };
            // The parent of a spawn hears which process it became.
            if let (OutboxKind::Spawn, DeliveryState::Scheduled(Place { process, .. })) = (id.origin.index.kind, &state)
                && let Some(notice) = expansion::spawned_notice(log, &id, process, signer)?
            {
                if notice.state == DeliveryState::Pending {
                    self.enqueue(notice.id);
                }
                batch.push(Write::Delivery(Box::new(notice)));
            }
            self.close(log, &id, state, parked, &mut batch)?;
        }
        self.answered(&submit.lane, settled == submit.submissions.len(), now_ms);
        if self.lanes.get(&submit.lane).is_some_and(Lane::is_empty) {
            self.lanes.remove(&submit.lane);
        }
        Ok(batch)
    }

    /// When what was submitted is tried again, if it is.
    pub fn retry(&self, submit: &Submit) -> Option<Retry> {
        self.lanes.get(&submit.lane).and_then(Lane::retry)
    }

    /// The scheduler could not be reached, or its answer can't be trusted.
    pub fn on_failure(&mut self, submit: &Submit, now_ms: u64) {
        if self.is_under_way(submit) {
            self.answered(&submit.lane, false, now_ms);
        }
    }

    /// A lane may be parked after this, or no more: its slots then count differently.
    fn answered(&mut self, key: &LaneKey, all: bool, now_ms: u64) {
        let Some(lane) = self.lanes.get_mut(key) else { return };
        let before = lane.is_parked();
        lane.answered(all, now_ms);
        let parked = lane.is_parked();
        if parked == before {
            return;
        }
        if let Some(work) = self.works.get_mut(&key.source) {
            for id in lane.ids() {
                work.park(id.origin.slot, parked);
            }
            self.awake.insert(key.source);
        }
    }

    fn close(
        &mut self,
        log: &dyn Log,
        id: &DeliveryId,
        state: DeliveryState,
        parked: bool,
        batch: &mut Batch,
    ) -> Result<(), LogError> {
        if let Some(work) = self.works.get_mut(&id.origin.process) {
            work.remove(id.origin.slot, parked);
            self.awake.insert(id.origin.process);
        }
        if let Some(delivery) = log.delivery(id)? {
            batch.push(Write::Delivery(Box::new(Delivery { state, ..delivery })));
        }
        Ok(())
    }

    /// Moves the cursors over what is settled.
    pub fn settle(&mut self, log: &dyn Log) -> Result<Batch, LogError> {
        self.forget_what_was_taken_back(log)?;
        let mut batch = Batch::new();
        for (process, work) in &mut self.works {
            if let Some(next) = work.settle() {
                batch.push(Write::Delivered { process: *process, next });
            }
        }
        Ok(batch)
    }

    /// When something may be due, in milliseconds; none when all waits for events.
    pub fn next_due_ms(&self) -> Option<u64> {
        if self.unfinished.is_some() { Some(0) } else { self.lanes.values().filter_map(Lane::due_ms).min() }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::compute;
    use crate::entry::Entry;
    use crate::id::Address;
    use crate::item::ItemBuilder;
    use crate::log::{Durability, MemoryLog};
    use crate::network::Network;
    use crate::outcome::{OutboxEntry, Outcome};
    use crate::scheduler::{Moment, Submission, assign};
    use crate::wallet::Wallet;

    /// One log with a scheduler, and processes whose outcomes the test makes up.
    struct Setting {
        log: MemoryLog,
        trust: Trust,
        scheduler: Wallet,
        processes: Vec<Id>,
    }

    fn unit(n: u8) -> Wallet {
        Wallet::ed25519_from_seed([n; 32])
    }

    /// The messenger that submits everything, and another one.
    const MESSENGERS: [u8; 2] = [3, 4];

    impl Setting {
        fn new(processes: u8) -> Setting {
            let messengers: Vec<Address> = MESSENGERS.iter().map(|n| unit(*n).address()).collect();
            let announced = messengers.iter().map(|unit| (*unit, vec![crate::announcement::Role::Mu])).collect();
            let network = Network { open: false, messengers, ..Network::open("test") };
            let trust = Trust { network: Arc::new(network), announced };
            let mut setting = Setting { log: MemoryLog::new(), trust, scheduler: unit(1), processes: Vec::new() };
            for n in 0..processes {
                let item = ItemBuilder::new()
                    .anchor([n; 32])
                    .tag("Data-Protocol", "ao")
                    .tag("Type", "Process")
                    .tag("Module", Id::from([9; 32]).to_string())
                    .tag("Scheduler", setting.scheduler.address().to_string());
                let item = item.sign(&unit(2)).unwrap();
                setting.processes.push(item.id());
                let submission = Submission::new(item, unit(MESSENGERS[0]).address());
                setting.assign(&submission).unwrap();
            }
            setting
        }

        fn assign(&self, submission: &Submission) -> Result<Place, Refusal> {
            let mut batch = Batch::new();
            let moment = Moment { now_ms: 1, block_height: 0 };
            let receipt = assign(&self.log, &mut batch, submission, moment, &self.trust, &self.scheduler).unwrap()?;
            self.log.commit(batch, Durability::Synced).unwrap();
            let (process, slot) = (receipt.entry.process(), receipt.entry.slot());
            Ok(Place { process, slot, assignment: receipt.entry.assignment.id() })
        }

        /// The next slot of the first process has this outcome.
        fn sends(&self, outcome: Outcome) {
            let jobs = compute::next(&self.log, &self.processes[0], 1).unwrap();
            let evaluated = jobs.into_iter().map(|job| (job, outcome.clone())).collect();
            self.log.commit(compute::record(evaluated), Durability::Relaxed).unwrap();
        }

        /// One round of a messenger against the scheduler; gives how many items were submitted.
        fn round(&self, messenger: &mut Messenger, signer: &Wallet, now_ms: u64) -> usize {
            messenger.wake(&self.log, &self.trust, &self.processes[0], now_ms).unwrap();
            let batch = messenger.expand(&self.log, &self.trust, signer, now_ms).unwrap();
            self.log.commit(batch, Durability::Synced).unwrap();
            for target in messenger.lookups(now_ms) {
                let item = self.log.item(&target).unwrap();
                let batch = messenger.on_lookup(&self.log, &target, item.as_ref()).unwrap();
                self.log.commit(batch, Durability::Synced).unwrap();
            }
            let mut submitted = 0;
            for submit in messenger.submissions(&self.log, &self.trust, now_ms).unwrap() {
                assert_eq!(submit.scheduler, self.scheduler.address());
                submitted += submit.submissions.len();
                let places: Vec<_> = submit.submissions.iter().map(|submission| self.assign(submission)).collect();
                let batch = messenger.on_receipts(&self.log, &submit, &places, signer, now_ms).unwrap();
                self.log.commit(batch, Durability::Synced).unwrap();
            }
            self.log.commit(messenger.settle(&self.log).unwrap(), Durability::Relaxed).unwrap();
            submitted
        }

        /// A lookup finds a process.
        fn finds(&self, messenger: &mut Messenger, process: usize) {
            let id = self.processes[process];
            let item = self.log.item(&id).unwrap();
            assert!(messenger.on_lookup(&self.log, &id, item.as_ref()).unwrap().is_empty());
        }

        fn entries(&self, process: &Id) -> Vec<Entry> {
            (1..).map_while(|slot| self.log.entry(process, slot).unwrap()).collect()
        }

        fn dead(&self) -> Vec<DeliveryId> {
            let letters = self.log.dead(Some(&self.processes[0]), None, 10).unwrap();
            letters.into_iter().map(|letter| letter.id).collect()
        }

        fn states(&self) -> Vec<DeliveryState> {
            let deliveries = self.log.deliveries(&self.processes[0], 0).unwrap();
            deliveries.into_iter().map(|delivery| delivery.state).collect()
        }
    }

    fn entry(fields: serde_json::Value) -> OutboxEntry {
        OutboxEntry { fields: fields.to_string(), data: None }
    }

    fn to(target: &str, tags: &[(&str, &str)]) -> OutboxEntry {
        let tags: Vec<_> =
            tags.iter().map(|(name, value)| serde_json::json!({ "name": name, "value": value })).collect();
        entry(serde_json::json!({ "Target": target, "Tags": tags }))
    }

    fn messages(messages: Vec<OutboxEntry>) -> Outcome {
        Outcome { output: "\"\"".into(), messages, ..Outcome::default() }
    }

    #[test]
    fn messages_arrive_once_and_in_order_with_their_origin_and_no_other() {
        let setting = Setting::new(2);
        let target = setting.processes[1];
        let forged = [("N", "0"), ("From-Process", "me"), ("Origin-Slot", "99"), ("Type", "Process")];
        let sent = [to(&target.to_string(), &forged), to(&target.to_string(), &[("N", "1")])];
        setting.sends(messages(sent.to_vec()));
        let mut messenger = Messenger::new();
        assert_eq!(setting.round(&mut messenger, &unit(3), 0), 2);
        assert_eq!(setting.round(&mut messenger, &unit(3), 60_000), 0, "nothing goes out twice");
        let source = setting.processes[0].to_string();
        for (n, received) in setting.entries(&target).iter().enumerate() {
            let tags = |name: &str| {
                let named = received.item.tags().iter().filter(|tag| tag.name == name);
                named.map(|tag| tag.value.clone()).collect::<Vec<_>>()
            };
            assert_eq!(tags("N"), [n.to_string()]);
            assert_eq!(tags("From-Process").join(","), source);
            assert_eq!(tags("Origin-Slot"), ["0"]);
            assert_eq!(tags("Origin-Index"), [format!("m{n}")]);
            assert_eq!(tags("Type"), ["Message"]);
            assert_eq!(received.assignment.statement.depth, 1);
        }
        assert_eq!(setting.entries(&target).len(), 2);
        assert_eq!(setting.log.delivered(&setting.processes[0]).unwrap(), 1);
    }

    #[test]
    fn a_messenger_that_starts_again_sends_the_same_items() {
        let setting = Setting::new(2);
        setting.sends(messages(vec![to(&setting.processes[1].to_string(), &[])]));
        // It gets as far as the submission, and is gone before the receipt.
        let mut first = Messenger::new();
        first.wake(&setting.log, &setting.trust, &setting.processes[0], 0).unwrap();
        let batch = first.expand(&setting.log, &setting.trust, &unit(3), 0).unwrap();
        setting.log.commit(batch, Durability::Synced).unwrap();
        setting.finds(&mut first, 1);
        let lost = first.submissions(&setting.log, &setting.trust, 0).unwrap();
        let place = setting.assign(&lost[0].submissions[0]).unwrap();
        assert_eq!((place.process, place.slot), (setting.processes[1], 1));

        assert_eq!(setting.round(&mut Messenger::new(), &unit(3), 0), 1);
        assert_eq!(setting.entries(&setting.processes[1]).len(), 1, "the scheduler knows it by its id");
        assert!(matches!(setting.states()[..], [DeliveryState::Scheduled(Place { slot: 1, .. })]));
    }

    #[test]
    fn another_messenger_takes_over_when_its_turn_has_come_and_not_before() {
        let setting = Setting::new(2);
        setting.sends(messages(vec![to(&setting.processes[1].to_string(), &[])]));
        let mut second = Messenger::new();
        assert_eq!(setting.round(&mut second, &unit(4), 1000), 0);
        assert_eq!(setting.round(&mut second, &unit(4), 1000 + rank_delay_ms(1) - 1), 0);
        assert_eq!(setting.round(&mut second, &unit(4), 1000 + rank_delay_ms(1)), 1);
        // The first comes back: its item is another one, but the origin is the same.
        setting.round(&mut Messenger::new(), &unit(3), 0);
        assert_eq!(setting.entries(&setting.processes[1]).len(), 1);
        let stranger = setting.round(&mut Messenger::new(), &unit(8), 1_000_000);
        assert_eq!(stranger, 0, "nobody trusts this one");
    }

    #[test]
    fn what_can_not_be_delivered_says_why_and_holds_nothing_up() {
        let setting = Setting::new(2);
        let target = setting.processes[1].to_string();
        let nobody = Id::from([8; 32]).to_string();
        let bad_tag = entry(serde_json::json!({ "Target": target, "Tags": [{ "name": "N", "value": 5 }] }));
        let sent = vec![
            entry(serde_json::json!({ "Tags": [] })),
            bad_tag,
            to("0x0123", &[]),
            to(&nobody, &[]),
            OutboxEntry { fields: "garbage".into(), data: None },
            to(&target, &[]),
        ];
        setting.sends(messages(sent));
        setting.round(&mut Messenger::new(), &unit(3), 0);
        let mut states = setting.states();
        states.sort_by_key(|state| format!("{state:?}"));
        let dead = |part: &str| {
            states.iter().any(|state| matches!(state, DeliveryState::Dead { reason } if reason.contains(part)))
        };
        assert!(dead("Target") && dead("tag N is 5") && dead("no JSON"), "{states:?}");
        assert_eq!(states.iter().filter(|state| **state == DeliveryState::NoProcess).count(), 2);
        assert_eq!(setting.entries(&setting.processes[1]).len(), 1);
        assert_eq!(setting.log.delivered(&setting.processes[0]).unwrap(), 1);
    }

    #[test]
    fn a_spawn_is_told_to_its_parent() {
        let setting = Setting::new(1);
        let tags = serde_json::json!([
            { "name": "Module", "value": Id::from([9; 32]).to_string() },
            { "name": "Reference", "value": "7" },
        ]);
        let spawn = entry(serde_json::json!({ "Tags": tags }));
        setting.sends(Outcome { output: "\"\"".into(), spawns: vec![spawn], ..Outcome::default() });
        let mut messenger = Messenger::new();
        assert_eq!(setting.round(&mut messenger, &unit(3), 0), 1, "the child");
        assert_eq!(setting.round(&mut messenger, &unit(3), 0), 1, "the notice");
        let notice = &setting.entries(&setting.processes[0])[0].item;
        let child: Id = notice.tag("Process").unwrap().parse().unwrap();
        assert_eq!((notice.tag("Action"), notice.tag("Reference")), (Some("Spawned"), Some("7")));
        assert_eq!(notice.tag("Origin-Index"), Some("n0"));
        let born = setting.log.entry(&child, 0).unwrap().unwrap();
        assert_eq!(born.item.tag("From-Process"), Some(setting.processes[0].to_string().as_str()));
    }

    #[test]
    fn a_scheduler_that_is_away_is_asked_again_ever_more_slowly() {
        let setting = Setting::new(2);
        setting.sends(messages(vec![to(&setting.processes[1].to_string(), &[])]));
        let mut messenger = Messenger::new();
        messenger.wake(&setting.log, &setting.trust, &setting.processes[0], 0).unwrap();
        let batch = messenger.expand(&setting.log, &setting.trust, &unit(3), 0).unwrap();
        setting.log.commit(batch, Durability::Synced).unwrap();
        setting.finds(&mut messenger, 1);
        let mut now = 0;
        let mut waits = Vec::new();
        for _ in 0..12 {
            let submit = messenger.submissions(&setting.log, &setting.trust, now).unwrap().remove(0);
            assert!(
                messenger.submissions(&setting.log, &setting.trust, now).unwrap().is_empty(),
                "one request at a time"
            );
            messenger.on_failure(&submit, now);
            let due = messenger.next_due_ms().unwrap();
            assert!(messenger.submissions(&setting.log, &setting.trust, due - 1).unwrap().is_empty());
            waits.push(due - now);
            now = due;
        }
        assert!(waits.windows(2).all(|pair| pair[0] <= pair[1]), "{waits:?}");
        assert!(waits[0] < waits[11] && waits[11] <= 30_000, "{waits:?}");
        let submit = messenger.submissions(&setting.log, &setting.trust, now).unwrap().remove(0);
        let place = setting.assign(&submit.submissions[0]);
        messenger.on_receipts(&setting.log, &submit, &[place], &unit(3), now).unwrap();
        assert_eq!(messenger.next_due_ms(), None);
    }

    #[test]
    fn a_target_that_can_not_be_reached_holds_up_no_other() {
        let setting = Setting::new(2);
        let (dead, alive) = (Id::from([8; 32]).to_string(), setting.processes[1].to_string());
        setting.sends(messages(vec![to(&dead, &[])]));
        let user = |n: u64| {
            let anchor = *blake3::hash(&n.to_le_bytes()).as_bytes();
            let item = ItemBuilder::new().target(setting.processes[0]).anchor(anchor).tag("Data-Protocol", "ao");
            let item = item.tag("Type", "Message").sign(&unit(2)).unwrap();
            setting.assign(&Submission::new(item, unit(3).address())).unwrap();
        };
        let mut messenger = Messenger::new();
        let mut now = 0;
        let slots = 3 * MAX_OPEN_SLOTS as u64;
        for n in 0..slots {
            user(n);
            // Every slot sends to the dead one, too; it is found, but its scheduler never answers.
            setting.sends(messages(vec![to(&dead, &[]), to(&alive, &[])]));
            messenger.wake(&setting.log, &setting.trust, &setting.processes[0], now).unwrap();
            for _ in 0..12 {
                let batch = messenger.expand(&setting.log, &setting.trust, &unit(3), now).unwrap();
                setting.log.commit(batch, Durability::Synced).unwrap();
                for target in messenger.lookups(now) {
                    // Any process item will do for the dead one.
                    let item = setting.log.item(&setting.processes[1]).unwrap();
                    messenger.on_lookup(&setting.log, &target, item.as_ref()).unwrap();
                }
                for submit in messenger.submissions(&setting.log, &setting.trust, now).unwrap() {
                    if submit.submissions[0].item.target() == Some(setting.processes[1]) {
                        let places: Vec<_> = submit.submissions.iter().map(|one| setting.assign(one)).collect();
                        let batch = messenger.on_receipts(&setting.log, &submit, &places, &unit(3), now).unwrap();
                        setting.log.commit(batch, Durability::Synced).unwrap();
                    } else {
                        messenger.on_failure(&submit, now);
                    }
                }
                now += 100;
            }
        }
        assert_eq!(setting.entries(&setting.processes[1]).len() as u64, slots);
        assert!(messenger.settle(&setting.log).unwrap().is_empty(), "the cursor waits for the dead one");
    }

    #[test]
    fn what_was_sent_before_a_process_was_there_is_delivered_first_when_it_is() {
        let mut setting = Setting::new(1);
        let spawn = ItemBuilder::new()
            .anchor([77; 32])
            .tag("Data-Protocol", "ao")
            .tag("Type", "Process")
            .tag("Module", Id::from([9; 32]).to_string())
            .tag("Scheduler", setting.scheduler.address().to_string());
        let spawn = spawn.sign(&unit(2)).unwrap();
        let late = spawn.id();
        setting.sends(messages(vec![to(&late.to_string(), &[("N", "0")]), to(&late.to_string(), &[("N", "1")])]));
        let mut messenger = Messenger::new();
        assert_eq!(setting.round(&mut messenger, &unit(3), 0), 0);
        assert_eq!(setting.states(), [DeliveryState::NoProcess, DeliveryState::NoProcess]);
        assert_eq!(setting.log.delivered(&setting.processes[0]).unwrap(), 1, "it holds up nothing");
        assert_eq!(messenger.next_due_ms(), None, "and needs no timer");

        // It appears, and a later message to it is sent before anybody told the messenger.
        setting.assign(&Submission::new(spawn, unit(3).address())).unwrap();
        let user = ItemBuilder::new().target(setting.processes[0]).tag("Data-Protocol", "ao").tag("Type", "Message");
        let item = user.sign(&unit(2)).unwrap();
        setting.assign(&Submission::new(item, unit(3).address())).unwrap();
        setting.processes.push(late);
        setting.sends(messages(vec![to(&late.to_string(), &[("N", "2")])]));
        setting.round(&mut messenger, &unit(3), 0);
        let numbers: Vec<_> =
            setting.entries(&late).iter().map(|entry| entry.item.tag("N").unwrap_or_default().to_string()).collect();
        assert_eq!(numbers, ["0", "1", "2"]);

        // A messenger that starts again knows what waits.
        assert_eq!(setting.log.waited_for(None, 10).unwrap(), []);
        messenger.revive(&setting.log, &late).unwrap();
        assert_eq!(setting.round(&mut messenger, &unit(3), 0), 0, "nothing is left");
    }

    #[test]
    fn the_turn_of_a_whole_backlog_comes_at_once() {
        let setting = Setting::new(2);
        for n in 0..20u8 {
            setting.sends(messages(vec![to(&setting.processes[1].to_string(), &[]), to("0xwallet", &[])]));
            let item = ItemBuilder::new().target(setting.processes[0]).anchor([n; 32]).tag("Data-Protocol", "ao");
            let item = item.tag("Type", "Message").sign(&unit(2)).unwrap();
            setting.assign(&Submission::new(item, unit(3).address())).unwrap();
        }
        let mut second = Messenger::new();
        assert_eq!(setting.round(&mut second, &unit(4), 0), 0);
        assert_eq!(setting.round(&mut second, &unit(4), rank_delay_ms(1)), 20);
    }

    #[test]
    fn a_dead_letter_is_driven_again_and_found_after_a_restart() {
        let setting = Setting::new(2);
        let source = setting.processes[0];
        setting.sends(messages(vec![to(&setting.processes[1].to_string(), &[]), entry(serde_json::json!({}))]));
        let mut messenger = Messenger::new();
        messenger.wake(&setting.log, &setting.trust, &source, 0).unwrap();
        let batch = messenger.expand(&setting.log, &setting.trust, &unit(3), 0).unwrap();
        setting.log.commit(batch, Durability::Synced).unwrap();
        setting.finds(&mut messenger, 1);
        let submit = messenger.submissions(&setting.log, &setting.trust, 0).unwrap().remove(0);
        let refused = [Err(Refusal::Invalid("not today".into()))];
        let batch = messenger.on_receipts(&setting.log, &submit, &refused, &unit(3), 0).unwrap();
        setting.log.commit(batch, Durability::Synced).unwrap();
        setting.log.commit(messenger.settle(&setting.log).unwrap(), Durability::Relaxed).unwrap();
        let dead = setting.dead();
        assert_eq!((dead.len(), setting.log.delivered(&source).unwrap()), (2, 1), "it holds nothing up");

        let (batch, driven) = messenger.redrive(&setting.log, &dead).unwrap();
        assert_eq!(driven, dead[..1], "what makes no item stays dead");
        setting.log.commit(batch, Durability::Synced).unwrap();
        assert_eq!(setting.log.delivered(&source).unwrap(), 0, "the cursor went back with it");
        let (batch, driven) = messenger.redrive(&setting.log, &dead).unwrap();
        assert!(driven.is_empty() && batch.is_empty(), "it is under way already");

        // The machine ends here; another value takes over.
        let mut messenger = Messenger::new();
        assert_eq!(setting.round(&mut messenger, &unit(3), 0), 1);
        assert_eq!(setting.entries(&setting.processes[1]).len(), 1);
        assert_eq!((setting.log.dead(None, None, 10).unwrap().len(), setting.log.delivered(&source).unwrap()), (1, 1));
    }

    #[test]
    fn a_dead_letter_of_a_messenger_that_runs_is_driven_in_its_place() {
        let setting = Setting::new(2);
        let source = setting.processes[0];
        setting.sends(messages(vec![to(&setting.processes[1].to_string(), &[("x+link", "")]), to("0x1", &[])]));
        let mut messenger = Messenger::new();
        assert_eq!(setting.round(&mut messenger, &unit(3), 0), 1);
        for _ in 0..3 {
            assert_eq!(setting.log.delivered(&source).unwrap(), 1);
            let dead = setting.dead();
            let (batch, driven) = messenger.redrive(&setting.log, &dead).unwrap();
            setting.log.commit(batch, Durability::Synced).unwrap();
            assert_eq!((driven.len(), setting.log.delivered(&source).unwrap()), (1, 0));
            setting.log.commit(messenger.settle(&setting.log).unwrap(), Durability::Relaxed).unwrap();
            assert_eq!(setting.log.delivered(&source).unwrap(), 0, "it is not settled");
            assert_eq!(setting.round(&mut messenger, &unit(3), 0), 1, "and refused again");
        }
    }

    #[test]
    fn a_process_that_sends_to_itself_without_end_is_slowed() {
        let setting = Setting::new(2);
        let (own, other) = (setting.processes[0].to_string(), setting.processes[1].to_string());
        let mut sent = vec![to(&own, &[]); 200];
        sent.extend(vec![to(&other, &[]); 100]);
        setting.sends(messages(sent));
        let mut messenger = Messenger::new();
        setting.round(&mut messenger, &unit(3), 0);
        let mut now = 0;
        let mut counts = Vec::new();
        while setting.entries(&setting.processes[0]).len() < 200 {
            setting.round(&mut messenger, &unit(3), now);
            counts.push(setting.entries(&setting.processes[0]).len());
            let slowed = messenger.slowed();
            assert!(counts.len() < 4 || counts[counts.len() - 1] == 200 || slowed.contains_key(&setting.processes[0]));
            now += 1000;
        }
        assert_eq!(counts[0], 64, "a burst is free");
        assert!(counts.windows(2).all(|pair| pair[1] - pair[0] <= 50), "{counts:?}");
        assert_eq!(setting.entries(&setting.processes[1]).len(), 100, "others do not wait for it");
    }

    #[test]
    fn a_long_backlog_does_not_hold_up_other_processes() {
        let mut setting = Setting::new(2);
        setting.processes.sort();
        let target = setting.processes[1].to_string();
        for n in 0..EXPANSION_SLOTS {
            setting.sends(messages(Vec::new()));
            let anchor = *blake3::hash(&n.to_le_bytes()).as_bytes();
            let item = ItemBuilder::new().target(setting.processes[0]).anchor(anchor).tag("Data-Protocol", "ao");
            let item = item.tag("Type", "Message").sign(&unit(2)).unwrap();
            setting.assign(&Submission::new(item, unit(3).address())).unwrap();
        }
        let mut messenger = Messenger::new();
        setting.processes.reverse();
        setting.sends(messages(vec![to(&target, &[])]));
        for process in setting.processes.clone() {
            messenger.wake(&setting.log, &setting.trust, &process, 0).unwrap();
        }
        let first = messenger.expand(&setting.log, &setting.trust, &unit(3), 0).unwrap();
        let second = messenger.expand(&setting.log, &setting.trust, &unit(3), 0).unwrap();
        assert!(first.is_empty() && messenger.next_due_ms() != Some(0));
        assert_eq!(second.len(), 1, "the other one comes next");
    }
}
