//! What must hold after every run, whatever happened in it.

use std::collections::BTreeMap;

use ao_protocol::entry::Entry;
use ao_protocol::id::Id;
use ao_protocol::log::Log;
use ao_protocol::origin::{DeliveryId, Origin, OutboxIndex, OutboxKind};
use ao_protocol::outcome::Outcome;
use ao_protocol::repair::{Accepted, accept};
use serde_json::Value;

use super::world::World;

/// Checks a finished run; the text says what is broken.
pub(super) fn all(world: &World) -> Result<(), String> {
    let logs = logs(world)?;
    logs_are_equal(&logs)?;
    slots_are_dense_and_chained(&logs)?;
    acknowledged_messages_have_their_slot(world, &logs)?;
    outcomes_are_complete_and_equal(world)?;
    outboxes_are_scheduled_exactly_once(world, &logs)
}

type Logs = Vec<BTreeMap<Id, Vec<Entry>>>;

/// Every node's entries, read until the first slot that is missing.
fn logs(world: &World) -> Result<Logs, String> {
    let text = |cause: ao_protocol::log::LogError| cause.to_string();
    let mut logs = Vec::new();
    for node in &world.nodes {
        let mut log = BTreeMap::new();
        for (process, tip) in node.disk.tips(None, 1000).map_err(text)? {
            let mut entries = Vec::new();
            for slot in 0..=tip.slot {
                let entry = node.disk.entry(&process, slot).map_err(text)?;
                entries.push(entry.ok_or_else(|| format!("node {}: slot {slot} of {process} is missing", node.index))?);
            }
            log.insert(process, entries);
        }
        logs.push(log);
    }
    Ok(logs)
}

fn logs_are_equal(logs: &Logs) -> Result<(), String> {
    let ids = |log: &BTreeMap<Id, Vec<Entry>>| -> BTreeMap<Id, Vec<Id>> {
        let of = |entries: &[Entry]| entries.iter().map(|entry| entry.assignment.id()).collect();
        log.iter().map(|(process, entries)| (*process, of(entries))).collect()
    };
    let first = logs.first().map(ids).unwrap_or_default();
    for (index, log) in logs.iter().enumerate() {
        let other = ids(log);
        if other != first {
            let lengths = |log: &BTreeMap<Id, Vec<Id>>| -> Vec<usize> { log.values().map(Vec::len).collect() };
            let (a, b) = (lengths(&first), lengths(&other));
            return Err(format!("node {index} has another log than node 0: {b:?} slots, not {a:?}"));
        }
    }
    Ok(())
}

/// A fresh follower takes the whole log, slot by slot: dense, chained, signed by the scheduler, never back in time.
fn slots_are_dense_and_chained(logs: &Logs) -> Result<(), String> {
    let log = ao_protocol::log::MemoryLog::new();
    for entries in logs.first().into_iter().flat_map(BTreeMap::values) {
        for entry in entries {
            let mut batch = ao_protocol::log::Batch::new();
            let bytes = entry.to_bytes();
            let entry = Entry::verify(&bytes).map_err(|cause| cause.to_string())?;
            match accept(&log, &mut batch, entry).map_err(|cause| cause.to_string())? {
                Ok(Accepted::New) => {
                    log.commit(batch, ao_protocol::log::Durability::Relaxed).map_err(|cause| cause.to_string())?
                }
                other => return Err(format!("a fresh follower does not take a slot: {other:?}")),
            }
        }
    }
    Ok(())
}

fn acknowledged_messages_have_their_slot(world: &World, logs: &Logs) -> Result<(), String> {
    let log = logs.first().ok_or("no nodes")?;
    for (item, process, slot) in &world.acknowledged {
        let entries = log.get(process).ok_or_else(|| format!("acknowledged process {process} is gone"))?;
        let slots: Vec<u64> = entries.iter().filter(|entry| entry.item.id() == *item).map(Entry::slot).collect();
        if slots != [*slot] {
            return Err(format!("message {item} was acknowledged in slot {slot} and is in slots {slots:?}"));
        }
    }
    if world.acknowledged.len() < world.expected_acknowledged {
        let (got, expected) = (world.acknowledged.len(), world.expected_acknowledged);
        return Err(format!("only {got} of {expected} messages were ever acknowledged"));
    }
    Ok(())
}

fn outcomes_are_complete_and_equal(world: &World) -> Result<(), String> {
    let mut first: BTreeMap<(Id, u64), Id> = BTreeMap::new();
    for node in &world.nodes {
        for (process, tip) in node.disk.tips(None, 1000).map_err(|cause| cause.to_string())? {
            for slot in 0..=tip.slot {
                let record = node.disk.outcome(&process, slot).map_err(|cause| cause.to_string())?;
                let record =
                    record.ok_or_else(|| format!("node {} has no outcome of slot {slot} of {process}", node.index))?;
                let chain = Id::from(record.chain().to_bytes());
                if *first.entry((process, slot)).or_insert(chain) != chain {
                    return Err(format!("node {} has another outcome of slot {slot} of {process}", node.index));
                }
            }
        }
    }
    Ok(())
}

/// Counts in the logs what the outcomes sent: every entry to a process once, and nothing that nobody sent.
fn outboxes_are_scheduled_exactly_once(world: &World, logs: &Logs) -> Result<(), String> {
    let log = logs.first().ok_or("no nodes")?;
    let mut scheduled: BTreeMap<DeliveryId, Vec<u64>> = BTreeMap::new();
    for entry in log.values().flatten() {
        if let Some(delivery) = entry.delivery() {
            scheduled.entry(delivery).or_default().push(entry.slot());
        }
    }
    let node = world.nodes.first().ok_or("no nodes")?;
    let mut expected = 0;
    for (process, entries) in log {
        let mut last: BTreeMap<Id, u64> = BTreeMap::new();
        for slot in 0..entries.len() as u64 {
            let record = node.disk.outcome(process, slot).map_err(|cause| cause.to_string())?;
            let Some(record) = record else { continue };
            for delivery in sent(*process, slot, &record.outcome) {
                expected += 1;
                let slots = scheduled.remove(&delivery).unwrap_or_default();
                let [at] = slots[..] else {
                    return Err(format!("{} to {:?} is in slots {slots:?}", delivery.origin, delivery.target));
                };
                // Entries from one process to another arrive in order.
                if let Some(target) = delivery.target
                    && delivery.origin.index.kind == OutboxKind::Message
                    && last.insert(target, at).is_some_and(|before| before > at)
                {
                    return Err(format!("{} overtook an earlier entry to {target}", delivery.origin));
                }
            }
        }
    }
    if let Some((delivery, _)) = scheduled.pop_first() {
        return Err(format!("{} was scheduled and nobody sent it", delivery.origin));
    }
    if expected < world.expected_deliveries {
        return Err(format!("only {expected} entries were sent; the run tests nothing"));
    }
    Ok(())
}

/// What an outcome sends to processes, read here without the messenger's code.
fn sent(process: Id, slot: u64, outcome: &Outcome) -> Vec<DeliveryId> {
    let id = |kind, position: usize, target| {
        let index = OutboxIndex { kind, position: position as u32 };
        DeliveryId { origin: Origin { process, slot, index }, target }
    };
    let mut sent = Vec::new();
    for (position, entry) in outcome.messages.iter().enumerate() {
        let fields: Value = serde_json::from_str(&entry.fields).unwrap_or_default();
        let target = fields["Target"].as_str().and_then(|target| target.parse().ok());
        if let (Some(target), true) = (target, fields["Tags"].is_array()) {
            sent.push(id(OutboxKind::Message, position, Some(target)));
        }
    }
    for (position, entry) in outcome.spawns.iter().enumerate() {
        let fields: Value = serde_json::from_str(&entry.fields).unwrap_or_default();
        let tags = fields["Tags"].as_array().map(Vec::as_slice).unwrap_or_default();
        let scheduler = tags.iter().find(|tag| tag["name"] == "Scheduler").and_then(|tag| tag["value"].as_str());
        sent.push(id(OutboxKind::Spawn, position, scheduler.and_then(|scheduler| scheduler.parse().ok())));
        sent.push(id(OutboxKind::Spawned, position, Some(process)));
    }
    for (position, entry) in outcome.assignments.iter().enumerate() {
        let fields: Value = serde_json::from_str(&entry.fields).unwrap_or_default();
        let target = fields["Processes"][0].as_str().and_then(|target| target.parse().ok());
        sent.push(id(OutboxKind::Assignment, position, target));
    }
    sent
}
