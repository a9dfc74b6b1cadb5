//! The laws of logs from which slots are taken back, and of those that begin with a checkpoint.

use super::{attestation, fire, must, schedule, seen, wallet};
use crate::attestation::Attestation;
use crate::backfill::Hole;
use crate::id::{Digest, Id};
use crate::log::{Batch, Delivery, DeliveryState, Durability, Log, Place, Tip, Write};
use crate::origin::{DeliveryId, Origin, OutboxKind};
use crate::outcome::{Outcome, OutcomeRecord, first_chain};
use crate::resume::Resume;
use crate::wallet::Signer;
use crate::wire::ItemBytes;

fn rewind(log: &dyn Log, process: Id, from: u64, path: Vec<Id>) {
    let mut batch = Batch::new();
    batch.push(Write::Rewind { process, from, path });
    must(log.commit(batch, Durability::Synced));
}

pub(super) fn slots_are_taken_back_with_what_came_of_them(log: &dyn Log) {
    let other = schedule(log, 2, 3);
    let entries = fire(log);
    let (process, unit) = (entries[0].process(), wallet(3));
    let mut batch = Batch::new();
    let record = |slot: u64| OutcomeRecord {
        outcome: Outcome { output: slot.to_string(), ..Outcome::default() },
        chain_before: first_chain(&process),
        assignment: entries[slot as usize].assignment.id(),
    };
    let delivery = |slot| {
        let id = DeliveryId { origin: Origin::at(process, slot, OutboxKind::Message, 0), target: Some(process) };
        Delivery { id, item: None, depth: 1, state: DeliveryState::NoProcess }
    };
    for slot in 0..5 {
        batch.push(Write::Outcome { process, slot, record: Box::new(record(slot)) });
        batch.push(Write::Attestation(Box::new(seen(attestation(process, slot, &unit), 9))));
        batch.push(Write::Checkpoint(Box::new(attestation(process, slot, &unit))));
        batch.push(Write::Rebuilt { process, slot, hash: Digest::from([7; 32]) });
        batch.push(Write::Delivery(Box::new(delivery(slot))));
    }
    // What another process had sent: to a slot that stays, to one that goes, and to one that is on no branch here.
    let source = other[0].process();
    let to = |slot: u64, assignment| {
        let id = DeliveryId { origin: Origin::at(source, slot, OutboxKind::Message, 0), target: Some(process) };
        let item = Some(ItemBytes(other[1].item.bytes().to_vec()));
        let state = DeliveryState::Scheduled(Place { process, slot: slot - 2, assignment });
        Delivery { id, item, depth: 1, state }
    };
    for (slot, assignment) in [(3, entries[1].assignment.id()), (4, source), (6, entries[4].assignment.id())] {
        batch.push(Write::Delivery(Box::new(to(slot, assignment))));
    }
    batch.push(Write::Delivered { process: source, next: 7 });
    batch.push(Write::Evaluated { process, slot: 4 });
    batch.push(Write::Delivered { process, next: 4 });
    batch.push(Write::Credited { process, next: 2 });
    batch.push(Write::Evidence { process, entries: Box::new((entries[3].to_bytes(), entries[4].to_bytes())) });
    must(log.commit(batch, Durability::Synced));
    let before = (log.rewound(), must(log.process(&process)).map_or(9, |process| process.rewinds));
    let path = vec![Id::from([5; 32]), Id::from([6; 32])];
    rewind(log, process, 3, path.clone());

    assert_eq!(must(log.tip(&process)), entries.get(2).map(Tip::after));
    assert_eq!(must(log.computed(&process)).map(|computed| computed.slot), Some(2));
    assert_eq!(must(log.evaluated(&process)), Some(2));
    for slot in 0..5 {
        let entry = &entries[slot as usize];
        let kept = slot < 3;
        assert_eq!(must(log.entry_bytes(&process, slot)).is_some(), kept);
        assert_eq!(must(log.outcome(&process, slot)).is_some(), kept);
        assert_eq!(must(log.slot_of_item(&process, &entry.item.id())).is_some(), kept);
        assert_eq!(must(log.attestation(&process, &unit.address(), slot)).is_some(), kept);
        assert_eq!(must(log.checkpoints(&process, slot)).len(), usize::from(kept));
        assert_eq!(must(log.rebuilt(&process, slot)).is_some(), kept);
        assert_eq!(must(log.deliveries(&process, slot)).len(), usize::from(kept));
        assert_eq!(must(log.item(&entry.item.id())), Some(entry.item.clone()), "items stay");
        assert_eq!(must(log.item(&entry.assignment.id())), Some(entry.assignment.item.clone()));
    }
    assert_eq!(must(log.waiting(&process, None)).len(), 3);
    assert_eq!((must(log.delivered(&process)), must(log.credited(&process))), (3, 2));
    for (slot, pending) in [(3, false), (4, true), (6, true)] {
        let states: Vec<_> = must(log.deliveries(&source, slot)).into_iter().map(|one| one.state).collect();
        assert_eq!(states.len(), 1);
        assert_eq!(states[0] == DeliveryState::Pending, pending, "what was sent from slot {slot}");
    }
    assert_eq!(must(log.delivered(&source)), 4);
    assert_eq!(must(log.fired(&process, "0-1-second")), Some(5));
    assert_eq!(must(log.fired(&process, "1-7-seconds")), None);
    assert_eq!(must(log.firings(&process, 0, 9)), [2]);
    assert!(must(log.evidence(&process)).is_none());
    let on = |slot| must(log.on_branch(&process, slot));
    assert_eq!([on(2), on(3), on(4), on(5)], [None, Some(path[0]), Some(path[1]), None]);
    let after = (log.rewound(), must(log.process(&process)).map_or(9, |process| process.rewinds));
    assert_eq!(after, (before.0 + 1, before.1 + 1));
    assert_eq!(must(log.tip(&other[0].process())), other.last().map(Tip::after), "others stay as they are");

    // The log goes on from there, and can be taken back to nothing.
    let mut batch = Batch::new();
    batch.push(Write::Entry(Box::new(entries[3].clone())));
    must(log.commit(batch, Durability::Synced));
    assert_eq!(must(log.fired(&process, "0-1-second")), Some(6));
    rewind(log, process, 0, Vec::new());
    assert_eq!(
        (must(log.tip(&process)), must(log.computed(&process)), must(log.evaluated(&process))),
        (None, None, None)
    );
    assert!(must(log.process(&process)).is_none() && on(3).is_none());
    assert_eq!(must(log.tips(None, 9)).len(), 1);
}

pub(super) fn a_process_says_how_it_was_resumed(log: &dyn Log) {
    let entries = schedule(log, 1, 3);
    let process = entries[0].process();
    let resumed = || must(log.process(&process)).map(|process| (process.epoch_at(1), process.epoch_at(2)));
    assert_eq!(resumed(), Some((0, 0)));
    let item = must(Resume::item(process, 1, (process, 0), wallet(4).address(), 7).sign(&wallet(2)));
    let mut batch = Batch::new();
    batch.push(Write::Resumes { process, resumes: vec![ItemBytes(item.bytes().to_vec())] });
    must(log.commit(batch, Durability::Synced));
    assert_eq!(resumed(), Some((0, 7)), "also where it was read before");
    rewind(log, process, 2, Vec::new());
    assert_eq!(resumed(), Some((0, 7)));
    let read = must(log.process(&process));
    assert_eq!(read.map(|read| (read.scheduler(), read.rewinds)), Some((wallet(4).address(), 1)));
}

pub(super) fn a_log_begins_with_a_checkpoint_and_is_filled_from_there(log: &dyn Log) {
    let entries = schedule(log, 1, 6);
    let process = entries[0].process();
    rewind(log, process, 2, Vec::new());
    let record = |slot: usize| {
        let assignment = entries[slot].assignment.id();
        Box::new(OutcomeRecord { outcome: Outcome::default(), chain_before: first_chain(&process), assignment })
    };
    let commit = |write| {
        let mut batch = Batch::new();
        batch.push(write);
        must(log.commit(batch, Durability::Relaxed));
    };
    assert_eq!((must(log.base(&process)), must(log.hole(&process))), (None, None));
    commit(Write::Outcome { process, slot: 0, record: record(0) });
    commit(Write::Begin { entry: Box::new(entries[5].clone()), record: record(5) });
    assert_eq!(must(log.tip(&process)), entries.get(5).map(Tip::after));
    assert_eq!(must(log.computed(&process)).map(|computed| computed.slot), Some(5));
    assert_eq!((must(log.evaluated(&process)), must(log.base(&process))), (Some(5), Some(5)));
    let hole =
        |entries_below, outcomes_below| Hole { entries_from: 2, entries_below, outcomes_from: 1, outcomes_below };
    assert_eq!(must(log.hole(&process)), Some(hole(5, 5)));
    for slot in (2..5).rev() {
        assert_eq!(must(log.entry_bytes(&process, slot)), None);
        commit(Write::Fill(Box::new(entries[slot as usize].clone())));
        assert_eq!(must(log.entry_bytes(&process, slot)), Some(entries[slot as usize].to_bytes()));
        assert_eq!(must(log.slot_of_item(&process, &entries[slot as usize].item.id())), Some(slot));
        assert_eq!(must(log.hole(&process)), Some(hole(slot, 5)));
    }
    assert_eq!(must(log.tip(&process)), entries.get(5).map(Tip::after), "the tip stays");
    for slot in (1..5).rev() {
        commit(Write::FillOutcome { process, slot, record: record(slot as usize) });
        assert!(must(log.outcome(&process, slot)).is_some());
    }
    assert_eq!(must(log.computed(&process)).map(|computed| computed.slot), Some(5), "so does what is computed");
    assert_eq!((must(log.hole(&process)), must(log.base(&process))), (None, Some(5)));
    rewind(log, process, 5, Vec::new());
    assert_eq!((must(log.base(&process)), must(log.computed(&process)).map(|computed| computed.slot)), (None, Some(4)));
    // Where the log is there already, only outcomes are missing.
    commit(Write::Begin { entry: Box::new(entries[4].clone()), record: record(4) });
    assert_eq!(must(log.hole(&process)), None, "nothing is");
    assert_eq!(must(log.base(&process)), Some(4));
}

pub(super) fn checkpoints_are_found_by_slot(log: &dyn Log) {
    let (process, other) = (Id::from([1; 32]), Id::from([2; 32]));
    let mut batch = Batch::new();
    for (process, slot, unit) in [(process, 3, 3), (process, 3, 4), (process, 300, 3), (other, 9, 3)] {
        batch.push(Write::Checkpoint(Box::new(attestation(process, slot, &wallet(unit)))));
    }
    for (slot, n) in [(3, 1), (300, 2)] {
        batch.push(Write::Rebuilt { process, slot, hash: Digest::from([n; 32]) });
    }
    must(log.commit(batch, Durability::Relaxed));
    let mut units: Vec<_> = [3, 4].into_iter().map(|unit| wallet(unit).address()).collect();
    units.sort();
    let found: Vec<_> = must(log.checkpoints(&process, 3)).iter().map(Attestation::unit).collect();
    assert_eq!(found, units);
    let last = |until| must(log.last_checkpoint(&process, until));
    assert_eq!([last(2), last(3), last(299), last(u64::MAX)], [None, Some(3), Some(3), Some(300)]);
    assert_eq!(must(log.rebuilt(&process, 3)), Some(Digest::from([1; 32])));
    assert_eq!(must(log.rebuilt(&process, 4)), None);
    assert_eq!(must(log.last_rebuilt(&process, 299)), Some((3, Digest::from([1; 32]))));
    assert_eq!(must(log.last_rebuilt(&process, u64::MAX)), Some((300, Digest::from([2; 32]))));
    assert_eq!(must(log.last_rebuilt(&other, u64::MAX)), None);
}
