//! What every log must do, as a test suite: each implementation's tests call [`all`] with a way to make an empty log.
//!
//! # Panics
//! Each law panics when it is broken: this module is called by tests only.

mod taken_back;

use super::{Batch, Delivery, DeliveryState, Durability, Log, Place, Tip, Write};
use crate::assignment::Statement;
use crate::attestation::{Attestation, Claim, Seen};
use crate::cron::Firing;
use crate::dissent::{Dissent, Perjury};
use crate::entry::Entry;
use crate::id::{Digest, Id};
use crate::item::ItemBuilder;
use crate::module::LUA_FORMAT;
use crate::network::Network;
use crate::origin::{DeliveryId, Origin, OutboxIndex, OutboxKind};
use crate::outcome::{Outcome, OutcomeRecord, first_chain};
use crate::race::Account;
use crate::scheduler::{Moment, Submission, assign};
use crate::trust::Trust;
use crate::wallet::{Signer, Wallet};

/// Checks all laws on fresh logs.
pub fn all<L: Log>(make: &dyn Fn() -> L) {
    an_empty_log_knows_nothing(&make());
    entries_and_their_indexes_appear_together(&make());
    firings_are_found_and_their_last_is_known(&make());
    pages_are_in_order_and_bounded(&make());
    outcomes_move_the_cursor(&make());
    attestations_are_found_by_unit_and_slot(&make());
    what_is_known_of_units_stays(&make());
    deliveries_keep_their_latest_state(&make());
    what_waits_for_a_process_is_found_by_it(&make());
    of_two_slots_the_last_is_found(&make());
    the_first_evidence_of_the_lowest_slot_stays(&make());
    taken_back::slots_are_taken_back_with_what_came_of_them(&make());
    taken_back::a_process_says_how_it_was_resumed(&make());
    taken_back::a_log_begins_with_a_checkpoint_and_is_filled_from_there(&make());
    taken_back::checkpoints_are_found_by_slot(&make());
    a_batch_sees_itself(&make());
}

/// Unwraps with the law's name in the message.
fn must<T, E: std::fmt::Debug>(result: Result<T, E>) -> T {
    match result {
        Ok(value) => value,
        Err(cause) => panic!("a law needs this to work: {cause:?}"),
    }
}

fn wallet(n: u8) -> Wallet {
    Wallet::ed25519_from_seed([n; 32])
}

/// Commits a new process of `length` slots; `n` makes it different from others.
fn schedule(log: &dyn Log, n: u8, length: u64) -> Vec<Entry> {
    let signer = wallet(1);
    let trust = Trust { network: Network::open("laws").into(), announced: Vec::new() };
    let spawn = ItemBuilder::new()
        .anchor([n; 32])
        .tag("Data-Protocol", "ao")
        .tag("Type", "Process")
        .tag("Module", Id::from([9; 32]).to_string())
        .tag("Scheduler", signer.address().to_string());
    let spawn = must(spawn.sign(&wallet(2)));
    let mut entries = Vec::new();
    for slot in 0..length {
        let item = match slot {
            0 => spawn.clone(),
            _ => {
                let anchor = *blake3::hash(&slot.to_le_bytes()).as_bytes();
                let message = ItemBuilder::new().target(spawn.id()).anchor(anchor);
                must(message.tag("Data-Protocol", "ao").tag("Type", "Message").sign(&wallet(2)))
            }
        };
        let submission = Submission::new(item, signer.address());
        let mut batch = Batch::new();
        let moment = Moment { now_ms: slot, block_height: 0 };
        let receipt = must(must(assign(log, &mut batch, &submission, moment, &trust, &signer)));
        must(log.commit(batch, Durability::Synced));
        entries.push(receipt.entry);
    }
    entries
}

fn an_empty_log_knows_nothing(log: &dyn Log) {
    let id = Id::from([1; 32]);
    assert_eq!(must(log.tip(&id)), None);
    assert_eq!(must(log.tips(None, 10)), []);
    assert_eq!(must(log.entry_bytes(&id, 0)), None);
    assert_eq!(must(log.slot_of_item(&id, &id)), None);
    assert_eq!(must(log.item(&id)), None);
    assert_eq!(must(log.computed(&id)), None);
    assert_eq!(must(log.outcome(&id, 0)), None);
    assert_eq!(must(log.delivered(&id)), 0);
    assert!(must(log.evidence(&id)).is_none());
}

fn entries_and_their_indexes_appear_together(log: &dyn Log) {
    let entries = schedule(log, 1, 5);
    let process = entries[0].process();
    for entry in &entries {
        let slot = entry.slot();
        assert_eq!(must(log.entry_bytes(&process, slot)), Some(entry.to_bytes()));
        assert_eq!(must(log.slot_of_item(&process, &entry.item.id())), Some(slot));
        assert_eq!(must(log.item(&entry.item.id())), Some(entry.item.clone()));
        assert_eq!(must(log.item(&entry.assignment.id())), Some(entry.assignment.item.clone()));
    }
    assert_eq!(must(log.tip(&process)), entries.last().map(Tip::after));
    assert_eq!(must(log.entry_bytes(&process, 5)), None);
    let other = Id::from([7; 32]);
    assert_eq!(must(log.slot_of_item(&other, &entries[1].item.id())), None, "the index is per process");
    must(log.commit(Batch::new(), Durability::Synced));
    assert_eq!(must(log.tip(&process)), entries.last().map(Tip::after), "an empty batch changes nothing");
}

/// A process with a message and the firings of two crons.
fn fire(log: &dyn Log) -> Vec<Entry> {
    let mut entries = schedule(log, 1, 2);
    let process = entries[0].process();
    assert_eq!(must(log.fired(&process, "0-1-second")), None);
    for (slot, time_ms) in [(2, 5_000), (3, 6_000), (4, 7_000)] {
        let tip = must(log.tip(&process).map_err(|cause| cause.to_string()).and_then(|tip| tip.ok_or("no tip".into())));
        let cron = if slot == 4 { "1-7-seconds" } else { "0-1-second" };
        let statement = Statement {
            process,
            epoch: 0,
            slot,
            hash_chain: tip.next_link,
            block_height: 0,
            timestamp_ms: tip.timestamp_ms,
            message: None,
            messenger: None,
            depth: 0,
            root: None,
            origin: None,
            sent_by: None,
            assign: None,
            certificate: None,
            authorities: Vec::new(),
            cron: Some(Firing { cron: cron.into(), time_ms, block: None, missed: 0 }),
        };
        entries.push(Entry::of_firing(must(statement.sign(&wallet(1)))));
        let mut batch = Batch::new();
        batch.push(Write::Entry(Box::new(entries[slot as usize].clone())));
        must(log.commit(batch, Durability::Synced));
    }
    entries
}

fn firings_are_found_and_their_last_is_known(log: &dyn Log) {
    let entries = fire(log);
    let process = entries[0].process();
    for entry in &entries {
        assert_eq!(must(log.entry_bytes(&process, entry.slot())), Some(entry.to_bytes()));
        assert_eq!(must(log.item(&entry.assignment.id())), Some(entry.assignment.item.clone()));
    }
    assert_eq!(must(log.fired(&process, "0-1-second")), Some(6));
    assert_eq!(must(log.fired(&process, "1-7-seconds")), Some(7));
    assert_eq!(must(log.firings(&process, 0, 2)), [2, 3]);
    assert_eq!(must(log.firings(&process, 3, 9)), [3, 4]);
    assert!(must(log.firings(&Id::from([7; 32]), 0, 9)).is_empty());
}

fn pages_are_in_order_and_bounded(log: &dyn Log) {
    let mut ids: Vec<Id> = (1..=5).map(|n| schedule(log, n, 2)[0].process()).collect();
    ids.sort();
    let page = must(log.tips(None, 3));
    assert_eq!(page.iter().map(|(id, _)| *id).collect::<Vec<_>>(), ids[..3]);
    let rest = must(log.tips(Some(&ids[2]), 3));
    assert_eq!(rest.iter().map(|(id, _)| *id).collect::<Vec<_>>(), ids[3..]);
    assert!(rest.iter().all(|(_, tip)| tip.slot == 1));
}

fn outcomes_move_the_cursor(log: &dyn Log) {
    let entries = schedule(log, 1, 2);
    let process = entries[0].process();
    let mut chain = first_chain(&process);
    for entry in &entries {
        let outcome = Outcome { output: format!("{}", entry.slot()), ..Outcome::default() };
        let record = OutcomeRecord { outcome, chain_before: chain, assignment: entry.assignment.id() };
        chain = record.chain();
        let write = Write::Outcome { process, slot: entry.slot(), record: Box::new(record.clone()) };
        let mut batch = Batch::new();
        batch.push(write);
        must(log.commit(batch, Durability::Relaxed));
        assert_eq!(must(log.outcome(&process, entry.slot())), Some(record));
        let computed = must(log.computed(&process));
        assert_eq!(computed.map(|computed| (computed.slot, computed.chain)), Some((entry.slot(), chain)));
    }
}

fn attestation(process: Id, slot: u64, unit: &Wallet) -> Attestation {
    let claim = Claim {
        network: Digest::from([1; 32]),
        format: LUA_FORMAT.into(),
        process,
        slot,
        assignment: process,
        outcome_chain: Digest::from([2; 32]),
        checkpoint: None,
    };
    must(claim.sign(unit))
}

fn seen(attestation: Attestation, seen_ms: u64) -> Seen {
    Seen { attestation, seen_ms, committed_ms: seen_ms.checked_sub(10) }
}

fn attestations_are_found_by_unit_and_slot(log: &dyn Log) {
    let (process, other) = (Id::from([1; 32]), Id::from([2; 32]));
    let (near, far) = (wallet(3), wallet(4));
    let mut batch = Batch::new();
    for (n, attestation) in [
        attestation(process, 3, &far),
        attestation(process, 3, &near),
        attestation(process, 300, &near),
        attestation(other, 4, &near),
    ]
    .into_iter()
    .enumerate()
    {
        batch.push(Write::Attestation(Box::new(seen(attestation, 8 + n as u64))));
    }
    must(log.commit(batch, Durability::Relaxed));
    let (near_unit, far_unit) = (near.address(), far.address());
    let expected = |slot, unit: &Wallet, at| Some(seen(attestation(process, slot, unit), at));
    assert_eq!(must(log.attestation(&process, &near_unit, 3)), expected(3, &near, 9));
    assert_eq!(must(log.attestation(&process, &near_unit, 4)), None);
    let next = |unit, from| must(log.next_attestation(&process, unit, from));
    assert_eq!(next(&far_unit, 0), expected(3, &far, 8));
    assert_eq!(next(&near_unit, 4), expected(300, &near, 10));
    assert_eq!(next(&far_unit, 4), None, "not another unit's");
    assert_eq!(next(&near_unit, 301), None, "not another process's");
    let last = |unit, until| must(log.last_attestation(&process, unit, until));
    assert_eq!(last(&near_unit, u64::MAX), expected(300, &near, 10));
    assert_eq!(last(&near_unit, 299), expected(3, &near, 9), "slots are in the order of numbers");
    assert_eq!(last(&near_unit, 2), None);
    assert_eq!(must(log.last_attestation(&other, &far_unit, u64::MAX)), None);
}

fn what_is_known_of_units_stays(log: &dyn Log) {
    let (process, unit, honest) = (Id::from([1; 32]), wallet(3).address(), wallet(4).address());
    let dissent = |slot, unit| Dissent {
        process,
        unit,
        slot,
        attestation: vec![1, 2],
        right: Digest::from([7; 32]),
        found_ms: 5,
    };
    let perjury = |n: u8| Perjury { one: vec![n], other: vec![2] };
    assert_eq!(must(log.evaluated(&process)), None);
    for n in 1..=2u8 {
        let mut batch = Batch::new();
        batch.push(Write::Dissent(Box::new(dissent(u64::from(n), unit))));
        batch.push(Write::Perjury { unit, perjury: Box::new(perjury(n)) });
        batch.push(Write::Account { unit, account: Account { slots_won: n.into(), ..Account::default() } });
        batch.push(Write::Credited { process, next: n.into() });
        batch.push(Write::Evaluated { process, slot: n.into() });
        must(log.commit(batch, Durability::Relaxed));
    }
    assert_eq!(must(log.dissents(&process)), [dissent(1, unit)], "the first stays");
    assert_eq!(must(log.dissents(&Id::from([2; 32]))), []);
    assert_eq!((must(log.perjury(&unit)), must(log.perjury(&honest))), (Some(perjury(1)), None));
    assert_eq!(must(log.race_account(&unit)).slots_won, 2, "the latest counts");
    assert_eq!(must(log.race_account(&honest)), Account::default());
    assert_eq!((must(log.credited(&process)), must(log.evaluated(&process))), (2, Some(2)));
}

fn place(process: Id, slot: u64) -> Place {
    Place { process, slot, assignment: Id::from([3; 32]) }
}

fn deliveries_keep_their_latest_state(log: &dyn Log) {
    let source = Id::from([1; 32]);
    let id = |slot, kind, position| DeliveryId {
        origin: Origin { process: source, slot, index: OutboxIndex { kind, position } },
        target: Some(Id::from([2; 32])),
    };
    let pending = |id| Delivery { id, item: None, depth: 1, state: DeliveryState::Pending };
    let order = [
        id(1, OutboxKind::Message, 0),
        id(1, OutboxKind::Message, 2),
        id(1, OutboxKind::Message, 10),
        id(1, OutboxKind::Assignment, 0),
    ];
    let mut batch = Batch::new();
    for id in order.iter().rev().chain([&id(2, OutboxKind::Message, 0)]) {
        batch.push(Write::Delivery(Box::new(pending(*id))));
    }
    batch.push(Write::Delivered { process: source, next: 1 });
    must(log.commit(batch, Durability::Synced));
    let ids: Vec<_> = must(log.deliveries(&source, 1)).iter().map(|delivery| delivery.id).collect();
    assert_eq!(ids, order);
    assert_eq!(must(log.delivered(&source)), 1);
    let settled = Delivery { state: DeliveryState::Scheduled(place(source, 7)), ..pending(order[1]) };
    let mut batch = Batch::new();
    batch.push(Write::Delivery(Box::new(settled.clone())));
    must(log.commit(batch, Durability::Synced));
    assert_eq!(must(log.deliveries(&source, 1))[1], settled);
}

fn what_waits_for_a_process_is_found_by_it(log: &dyn Log) {
    let (near, far) = (Id::from([2; 32]), Id::from([3; 32]));
    let id = |slot, target| DeliveryId {
        origin: Origin {
            process: Id::from([1; 32]),
            slot,
            index: OutboxIndex { kind: OutboxKind::Message, position: 0 },
        },
        target,
    };
    let write = |id, state| {
        let mut batch = Batch::new();
        batch.push(Write::Delivery(Box::new(Delivery { id, item: None, depth: 1, state })));
        must(log.commit(batch, Durability::Synced));
    };
    for slot in [300, 2] {
        write(id(slot, Some(near)), DeliveryState::NoProcess);
    }
    write(id(5, Some(far)), DeliveryState::NoProcess);
    write(id(6, Some(far)), DeliveryState::Pending);
    // A wallet waits for nothing.
    write(id(7, None), DeliveryState::NoProcess);
    assert_eq!(must(log.waited_for(None, 10)), [near, far]);
    assert_eq!(must(log.waited_for(Some(&near), 10)), [far]);
    assert_eq!(must(log.waited_for(None, 1)), [near]);
    assert_eq!(must(log.waiting(&near, None)), [id(2, Some(near)), id(300, Some(near))]);
    assert_eq!(must(log.waiting(&near, Some(&id(2, Some(near))))), [id(300, Some(near))]);
    assert_eq!(must(log.waiting(&far, None)), [id(5, Some(far))]);
    write(id(2, Some(near)), DeliveryState::Scheduled(place(near, 1)));
    write(id(5, Some(far)), DeliveryState::Dead { reason: "refused".into() });
    assert_eq!(must(log.waiting(&near, None)), [id(300, Some(near))]);
    assert_eq!(must(log.waited_for(None, 10)), [near]);
    let dead = |process: Option<&Id>, after: Option<&DeliveryId>, limit: usize| -> Vec<DeliveryId> {
        must(log.dead(process, after, limit)).into_iter().map(|letter| letter.id).collect()
    };
    assert_eq!(must(log.dead(None, None, 10))[0].reason, "refused");
    assert_eq!(dead(None, None, 10), [id(5, Some(far))]);
    write(id(3, Some(near)), DeliveryState::Dead { reason: "refused, too".into() });
    let source = Id::from([1; 32]);
    assert_eq!(dead(Some(&source), None, 10), [id(3, Some(near)), id(5, Some(far))]);
    assert_eq!(dead(Some(&source), None, 1), [id(3, Some(near))]);
    assert_eq!(dead(None, Some(&id(3, Some(near))), 10), [id(5, Some(far))]);
    assert_eq!(dead(Some(&near), None, 10), [], "the sender counts");
    write(id(5, Some(far)), DeliveryState::Pending);
    assert_eq!(dead(None, None, 10), [id(3, Some(near))], "one that is driven again is dead no more");
    let state = must(log.delivery(&id(2, Some(near)))).map(|delivery| delivery.state);
    assert_eq!(state, Some(DeliveryState::Scheduled(place(near, 1))));
    assert!(must(log.delivery(&id(9, Some(near)))).is_none());
}

fn of_two_slots_the_last_is_found(log: &dyn Log) {
    // No scheduler that keeps the rules gives an item two; every log must answer the same when one did.
    let entries = schedule(log, 1, 2);
    let mut again = entries[1].clone();
    again.assignment.statement.slot = 2;
    let again = must(again.assignment.statement.clone().sign(&wallet(1)));
    let entry = Entry { assignment: again, item: entries[1].item.clone(), proof: None, certificate: None };
    let mut batch = Batch::new();
    batch.push(Write::Entry(Box::new(entry)));
    must(log.commit(batch, Durability::Synced));
    assert_eq!(must(log.slot_of_item(&entries[0].process(), &entries[1].item.id())), Some(2));
}

fn the_first_evidence_of_the_lowest_slot_stays(log: &dyn Log) {
    let entries = schedule(log, 1, 3);
    let process = entries[0].process();
    let pair = |one: usize, other: usize| Box::new((entries[one].to_bytes(), entries[other].to_bytes()));
    for (one, other, kept) in [(1, 2, (1, 2)), (1, 0, (1, 2)), (2, 1, (1, 2)), (0, 1, (0, 1)), (0, 2, (0, 1))] {
        let mut batch = Batch::new();
        batch.push(Write::Evidence { process, entries: pair(one, other) });
        must(log.commit(batch, Durability::Synced));
        assert_eq!(must(log.evidence(&process)), Some(*pair(kept.0, kept.1)));
    }
}

fn a_batch_sees_itself(log: &dyn Log) {
    let signer = wallet(1);
    let entries = schedule(log, 1, 1);
    let process = entries[0].process();
    let trust = Trust { network: Network::open("laws").into(), announced: Vec::new() };
    let mut batch = Batch::new();
    let mut slots = Vec::new();
    for n in [1u8, 2, 1] {
        let item = ItemBuilder::new().target(process).anchor([n; 32]).tag("Data-Protocol", "ao").tag("Type", "Message");
        let submission = Submission::new(must(item.sign(&wallet(2))), signer.address());
        let moment = Moment { now_ms: 1, block_height: 0 };
        let receipt = must(must(assign(log, &mut batch, &submission, moment, &trust, &signer)));
        slots.push((receipt.entry.slot(), receipt.new));
    }
    assert_eq!(slots, [(1, true), (2, true), (1, false)]);
    must(log.commit(batch, Durability::Synced));
    assert_eq!(must(log.tip(&process)).map(|tip| tip.slot), Some(2));
}
