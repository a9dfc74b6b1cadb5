//! What must hold after every run, whatever happened in it.

use std::collections::BTreeMap;

use ao_protocol::entry::Entry;
use ao_protocol::id::Id;
use ao_protocol::item::VerifiedItem;
use ao_protocol::log::{Batch, DeliveryState, Durability, Log, LogError, MemoryLog};
use ao_protocol::origin::{DeliveryId, Origin, OutboxIndex, OutboxKind};
use ao_protocol::outcome::Outcome;
use ao_protocol::repair::{Accepted, accept};
use ao_protocol::resume::{self, Resume};
use serde_json::Value;

use super::world::World;

/// Checks a finished run; the text says what is broken.
pub(super) fn all(world: &World) -> Result<(), String> {
    let logs = logs(world)?;
    logs_are_equal(&logs)?;
    slots_are_dense_and_chained(world, &logs)?;
    acknowledged_messages_have_their_slot(world, &logs)?;
    outcomes_are_complete_and_equal(world)?;
    no_forged_origin_is_honoured(world, &logs)?;
    outboxes_are_settled_exactly_once(world, &logs)
}

/// Whether an entry was sent by a slot that is no more: its source was resumed on another branch.
fn is_void(log: &BTreeMap<Id, Vec<Entry>>, entry: &Entry) -> bool {
    let statement = &entry.assignment.statement;
    let Some(origin) = statement.origin else { return false };
    let source = log.get(&origin.process);
    let resumed = source.is_some_and(|entries| entries.last().is_some_and(|last| last.assignment.statement.epoch > 0));
    let sent_by = source.and_then(|entries| entries.get(origin.slot as usize)).map(|entry| entry.assignment.id());
    // A process that was resumed and got no slot since has no epoch to show yet.
    statement.sent_by != sent_by && (resumed || sent_by.is_none())
}

type Logs = Vec<BTreeMap<Id, Vec<Entry>>>;

/// Every node's entries, read until the first slot that is missing.
fn logs(world: &World) -> Result<Logs, String> {
    let text = |cause: LogError| cause.to_string();
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
fn slots_are_dense_and_chained(world: &World, logs: &Logs) -> Result<(), String> {
    let log = MemoryLog::new();
    let text = |cause: LogError| cause.to_string();
    let commit = |batch| log.commit(batch, Durability::Relaxed).map_err(text);
    // First slots first: who owns a spawned process follows from that of the one that spawned it.
    let all = || logs.first().into_iter().flat_map(BTreeMap::values);
    let first = all().flat_map(|entries| entries.iter().take(1));
    for entry in first.chain(all().flat_map(|entries| entries.iter().skip(1))) {
        let bytes = entry.to_bytes();
        let read = || Entry::verify(&bytes).map_err(|cause| cause.to_string());
        let mut batch = Batch::new();
        let mut accepted = accept(&log, &mut batch, read()?).map_err(text)?;
        if matches!(accepted, Ok(Accepted::Unresumed))
            && let Some(node) = world.nodes.first()
        {
            for item in node.disk.resumption(&entry.process()).map_err(text)?.resumes {
                let item = VerifiedItem::from_own_store(item.0).map_err(|cause| cause.to_string())?;
                let resume = Resume::read(item).map_err(|cause| cause.to_string())?;
                match resume::accept(&log, resume).map_err(text)? {
                    Ok(Some(batch)) => commit(batch)?,
                    other => return Err(format!("a fresh follower does not follow a resume: {other:?}")),
                }
            }
            accepted = accept(&log, &mut batch, read()?).map_err(text)?;
        }
        match accepted {
            Ok(Accepted::New) => commit(batch)?,
            other => return Err(format!("a fresh follower does not take a slot: {other:?}")),
        }
    }
    Ok(())
}

fn acknowledged_messages_have_their_slot(world: &World, logs: &Logs) -> Result<(), String> {
    let log = logs.first().ok_or("no nodes")?;
    for (item, process, slot) in &world.acknowledged {
        let entries = log.get(process).ok_or_else(|| format!("acknowledged process {process} is gone"))?;
        let slots: Vec<u64> = entries.iter().filter(|entry| entry.item.id() == *item).map(Entry::slot).collect();
        // One that was void has another by now.
        let again = slots.len() == 1 && was_resumed(world, process);
        if slots != [*slot] && !again {
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
    // What a unit says that lies is not what others have.
    for node in world.nodes.iter().filter(|node| node.lie.is_none()) {
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

/// Whatever claims to come from a process was signed by a messenger that it trusts, and what the scheduler says of its
/// chain is what the log of its source says.
fn no_forged_origin_is_honoured(world: &World, logs: &Logs) -> Result<(), String> {
    let log = logs.first().ok_or("no nodes")?;
    for entry in log.values().flatten() {
        let statement = &entry.assignment.statement;
        let name = || format!("slot {} of {}", entry.slot(), entry.process());
        if entry.item.tag("Action") == Some("Forged") {
            return Err(format!("{} is forged", name()));
        }
        let Some(origin) = statement.origin.filter(|_| !is_void(log, entry)) else { continue };
        let carrier = entry.proof.as_ref().unwrap_or(&entry.item);
        if !world.messengers.contains(&carrier.address()) {
            return Err(format!("{} has an origin and is signed by {}", name(), carrier.address()));
        }
        let source = log.get(&origin.process).and_then(|entries| entries.get(origin.slot as usize));
        let source = source.ok_or_else(|| format!("{} comes from a slot that is not there", name()))?;
        let expected = (source.assignment.statement.depth + 1, Some(source.root()), Some(carrier.address()));
        if (statement.depth, statement.root, statement.messenger) != expected {
            return Err(format!("{} states another depth, root or messenger than its source", name()));
        }
    }
    Ok(())
}

/// What must become of an outbox entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// It gets one slot.
    Scheduled,
    /// It is no message to a process.
    NoProcess,
    /// It can't be made, or the scheduler refuses it.
    Dead,
}

/// Counts in the logs what the outcomes sent: every entry to a process once, nothing that nobody sent, and of all
/// others a messenger knows why they have no slot. Scheduled, no process yet and dead are all there is.
fn outboxes_are_settled_exactly_once(world: &World, logs: &Logs) -> Result<(), String> {
    let log = logs.first().ok_or("no nodes")?;
    let mut scheduled: BTreeMap<DeliveryId, Vec<u64>> = BTreeMap::new();
    let mut void: BTreeMap<DeliveryId, Vec<&Entry>> = BTreeMap::new();
    for entry in log.values().flatten() {
        match entry.delivery() {
            Some(delivery) if is_void(log, entry) => void.entry(delivery).or_default().push(entry),
            Some(delivery) => scheduled.entry(delivery).or_default().push(entry.slot()),
            None => {}
        }
    }
    let node = world.nodes.first().ok_or("no nodes")?;
    let mut counts = [0; 3];
    for (process, entries) in log {
        let mut last: BTreeMap<Id, u64> = BTreeMap::new();
        for slot in 0..entries.len() as u64 {
            let record = node.disk.outcome(process, slot).map_err(|cause| cause.to_string())?;
            let Some(record) = record else { continue };
            for (delivery, fate) in sent(*process, slot, &record.outcome) {
                counts[fate as usize] += 1;
                let slots = scheduled.remove(&delivery).unwrap_or_default();
                if fate != Fate::Scheduled {
                    has_state(world, &delivery, fate)?;
                }
                match (fate, &slots[..]) {
                    (Fate::Scheduled, [at]) => {
                        // Entries from one process to another arrive in order.
                        if let Some(target) = delivery.target
                            && delivery.origin.index.kind == OutboxKind::Message
                            && last.insert(target, *at).is_some_and(|before| before > *at)
                            // What was void is sent again after what was not.
                            && !was_resumed(world, &target)
                        {
                            return Err(format!("{} overtook an earlier entry to {target}", delivery.origin));
                        }
                    }
                    (Fate::NoProcess | Fate::Dead, []) => {}
                    (Fate::Scheduled, []) if is_there(world, log, &record.outcome, &delivery, void.get(&delivery)) => {}
                    // A scheduler that forgot a child makes another one of the next messenger's item.
                    (Fate::Scheduled, [_, ..]) if world.restored && is_spawn(&delivery) => {}
                    _ => return Err(format!("{} to {:?} is in slots {slots:?}", delivery.origin, delivery.target)),
                }
            }
        }
    }
    if let Some((delivery, _)) = scheduled.pop_first() {
        return Err(format!("{} was scheduled and nobody sent it", delivery.origin));
    }
    nothing_is_pending(world)?;
    let [scheduled, no_process, dead] = counts;
    if scheduled < world.expected_deliveries || no_process + dead == 0 {
        return Err(format!("{scheduled} entries, {no_process} to nobody, {dead} dead: the run tests nothing"));
    }
    Ok(())
}

/// Whether what a slot sends that was given anew is what it had sent before: then it is there already.
fn is_there(
    world: &World,
    log: &BTreeMap<Id, Vec<Entry>>,
    outcome: &Outcome,
    delivery: &DeliveryId,
    void: Option<&Vec<&Entry>>,
) -> bool {
    if delivery.origin.index.kind == OutboxKind::Assignment {
        // An item is assigned once, whoever asks for it.
        let entry = outcome.assignments.get(delivery.origin.index.position as usize);
        let fields: Value = entry.and_then(|entry| serde_json::from_str(&entry.fields).ok()).unwrap_or_default();
        let item = fields["Message"].as_str().and_then(|id| id.parse::<Id>().ok());
        let entries = delivery.target.and_then(|target| log.get(&target));
        return entries.is_some_and(|entries| entries.iter().any(|entry| Some(entry.item.id()) == item));
    }
    let known = |node: &super::node::Node| node.disk.delivery(delivery).ok().flatten()?.item;
    let sent: Vec<Id> = world
        .nodes
        .iter()
        .filter_map(|node| VerifiedItem::from_own_store(known(node)?.0).ok())
        .map(|item| item.id())
        .collect();
    void.into_iter().flatten().any(|entry| sent.contains(&entry.item.id()))
}

fn was_resumed(world: &World, process: &Id) -> bool {
    let epoch = |log: &dyn Log| log.process(process).ok().flatten().map_or(0, |process| process.epoch());
    world.nodes.first().is_some_and(|node| epoch(&node.disk) > 0)
}

fn is_spawn(delivery: &DeliveryId) -> bool {
    delivery.origin.index.kind == OutboxKind::Spawn
}

/// Some messenger that may deliver it knows what became of an entry without a slot.
fn has_state(world: &World, delivery: &DeliveryId, fate: Fate) -> Result<(), String> {
    for node in &world.nodes {
        let known = node.disk.delivery(delivery).map_err(|cause| cause.to_string())?;
        let fits = known.is_some_and(|known| match known.state {
            DeliveryState::NoProcess => fate == Fate::NoProcess,
            DeliveryState::Dead { reason } => fate == Fate::Dead && !reason.is_empty(),
            DeliveryState::Scheduled(_) | DeliveryState::Pending => false,
        });
        if fits {
            return Ok(());
        }
    }
    Err(format!("no messenger knows that {} is {fate:?}", delivery.origin))
}

fn nothing_is_pending(world: &World) -> Result<(), String> {
    for node in &world.nodes {
        for (process, tip) in node.disk.tips(None, 1000).map_err(|cause| cause.to_string())? {
            for slot in 0..=tip.slot {
                let deliveries = node.disk.deliveries(&process, slot).map_err(|cause| cause.to_string())?;
                if let Some(pending) = deliveries.iter().find(|one| one.state == DeliveryState::Pending) {
                    return Err(format!("node {} still has to deliver {}", node.index, pending.id.origin));
                }
            }
        }
    }
    Ok(())
}

/// What an outcome sends, and what must become of it; read here without the messenger's code.
fn sent(process: Id, slot: u64, outcome: &Outcome) -> Vec<(DeliveryId, Fate)> {
    let id = |kind, position: usize, target| {
        let index = OutboxIndex { kind, position: position as u32 };
        DeliveryId { origin: Origin { process, slot, index }, target }
    };
    let mut sent = Vec::new();
    for (position, entry) in outcome.messages.iter().enumerate() {
        let fields: Value = serde_json::from_str(&entry.fields).unwrap_or_default();
        let target: Option<Id> = fields["Target"].as_str().and_then(|target| target.parse().ok());
        let tags = fields["Tags"].as_array();
        let refused = |tags: &Vec<Value>| tags.iter().any(|tag| tag["value"].as_str() == Some("b+link"));
        let fate = match (target, tags) {
            (None, _) => Fate::NoProcess,
            (_, None) => Fate::Dead,
            (Some(target), _) if target == Id::from([88; 32]) => Fate::NoProcess,
            (_, Some(tags)) if refused(tags) => Fate::Dead,
            _ => Fate::Scheduled,
        };
        sent.push((id(OutboxKind::Message, position, target), fate));
    }
    for (position, entry) in outcome.spawns.iter().enumerate() {
        let fields: Value = serde_json::from_str(&entry.fields).unwrap_or_default();
        let tags = fields["Tags"].as_array().map(Vec::as_slice).unwrap_or_default();
        let scheduler = tags.iter().find(|tag| tag["name"] == "Scheduler").and_then(|tag| tag["value"].as_str());
        let scheduler = scheduler.and_then(|scheduler| scheduler.parse().ok());
        sent.push((id(OutboxKind::Spawn, position, scheduler), Fate::Scheduled));
        sent.push((id(OutboxKind::Spawned, position, Some(process)), Fate::Scheduled));
    }
    for (position, entry) in outcome.assignments.iter().enumerate() {
        let fields: Value = serde_json::from_str(&entry.fields).unwrap_or_default();
        let target = fields["Processes"][0].as_str().and_then(|target| target.parse().ok());
        sent.push((id(OutboxKind::Assignment, position, target), Fate::Scheduled));
    }
    sent
}
