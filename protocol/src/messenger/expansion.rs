//! From an outcome to deliveries: one for each outbox entry and receiver, less what already has its slot.

use std::collections::{BTreeMap, BTreeSet};

use super::outbox::{self, OutboxError, Sender, Source};
use crate::id::Id;
use crate::item::ItemBuilder;
use crate::log::{Delivery, DeliveryState, Log, LogError};
use crate::origin::{DeliveryId, Origin, OutboxKind};
use crate::outcome::{MAX_OUTBOX_ENTRIES, OutboxEntry, Outcome};
use crate::process::Process;
use crate::wallet::Signer;
use crate::wire::ItemBytes;

/// An outbox entry and one of its receivers.
struct Draft<'a> {
    id: DeliveryId,
    part: Part<'a>,
}

enum Part<'a> {
    Message(&'a OutboxEntry, Id),
    Spawn(&'a OutboxEntry, usize),
    Assign(Id, Id),
    /// Addressed to what can't be a process, such as an Ethereum wallet.
    NoProcess,
    Unreadable(OutboxError),
}

/// The deliveries of a slot: those that are known, and a new one for each entry that has none and that this node's
/// log does not show as scheduled. A spawn that somebody delivered still needs its Spawned notice.
pub(super) fn deliveries(
    log: &dyn Log,
    sender: &Sender<'_>,
    outcome: &Outcome,
    known: Vec<Delivery>,
) -> Result<Vec<Delivery>, LogError> {
    let ids: BTreeSet<DeliveryId> = known.iter().map(|delivery| delivery.id).collect();
    let sent_by = sender.source.entry.assignment.id();
    let mut deliveries = known;
    for draft in drafts(sender.source.process, sender.source.entry.slot(), outcome) {
        let scheduled = log.scheduled(&draft.id, &sent_by)?;
        if let (Part::Spawn(spawn, position), Some(child)) = (&draft.part, scheduled) {
            let notice = notice_of(sender, spawn, *position, &child.process);
            if !ids.contains(&notice.id) && log.scheduled(&notice.id, &sent_by)?.is_none() {
                deliveries.push(notice);
            }
        }
        if !ids.contains(&draft.id) && scheduled.is_none() {
            deliveries.push(delivery(sender, draft));
        }
    }
    Ok(deliveries)
}

/// Whether this node's log shows every entry of an outbox as scheduled, Spawned notices included.
pub(super) fn all_scheduled(log: &dyn Log, sender: &Sender<'_>, outcome: &Outcome) -> Result<bool, LogError> {
    let (process, slot) = (sender.source.process, sender.source.entry.slot());
    let sent_by = sender.source.entry.assignment.id();
    for draft in drafts(process, slot, outcome) {
        // What can't be delivered by anybody is never scheduled.
        if matches!(draft.part, Part::NoProcess | Part::Unreadable(_)) {
            continue;
        }
        if log.scheduled(&draft.id, &sent_by)?.is_none() {
            return Ok(false);
        }
        if let Part::Spawn(_, position) = draft.part
            && log.scheduled(&notice_id(process, slot, position), &sent_by)?.is_none()
        {
            return Ok(false);
        }
    }
    Ok(true)
}

/// What is known in this log of an outbox entry and one of its receivers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Traced<'a> {
    /// The entry, and to whom.
    pub id: DeliveryId,
    /// The entry itself; none for the notice that tells a parent of its child.
    pub entry: Option<&'a OutboxEntry>,
    /// What became of it; none when neither this node's messenger nor the receiver's log here says.
    pub state: Option<DeliveryState>,
}

/// What is known of everything that a slot of a process sent, in the order of its outbox. A spawn's notice follows it.
pub fn trace<'a>(
    log: &dyn Log,
    process: &Process,
    slot: u64,
    outcome: &'a Outcome,
) -> Result<Vec<Traced<'a>>, LogError> {
    let known: BTreeMap<DeliveryId, DeliveryState> =
        log.deliveries(&process.id(), slot)?.into_iter().map(|delivery| (delivery.id, delivery.state)).collect();
    let sent_by = log.entry(&process.id(), slot)?.map(|entry| entry.assignment.id());
    let state = |id: &DeliveryId| -> Result<Option<DeliveryState>, LogError> {
        // The receiver's log is there sooner than the receipt.
        let place = sent_by.map(|sent_by| log.scheduled(id, &sent_by)).transpose()?.flatten();
        Ok(place.map(DeliveryState::Scheduled).or_else(|| known.get(id).cloned()))
    };
    let mut traced = Vec::new();
    for Draft { id, part } in drafts(process, slot, outcome) {
        let lists = [&outcome.messages, &outcome.spawns, &outcome.assignments];
        let list = match id.origin.index.kind {
            OutboxKind::Message => lists[0],
            OutboxKind::Spawn | OutboxKind::Spawned => lists[1],
            OutboxKind::Assignment => lists[2],
        };
        let position = id.origin.index.position as usize;
        let state_of_it = match &part {
            Part::NoProcess => Some(DeliveryState::NoProcess),
            Part::Unreadable(cause) => Some(DeliveryState::Dead { reason: cause.to_string() }),
            _ => state(&id)?,
        };
        traced.push(Traced { id, entry: list.get(position), state: state_of_it });
        if let Part::Spawn(_, position) = part {
            let id = notice_id(process, slot, position);
            traced.push(Traced { id, entry: None, state: state(&id)? });
        }
    }
    Ok(traced)
}

/// The notice to its parent that a spawn became `child`; none where the log does not have the spawn.
pub(super) fn spawned_notice(
    log: &dyn Log,
    spawn: &DeliveryId,
    child: &Id,
    signer: &dyn Signer,
) -> Result<Option<Delivery>, LogError> {
    let Origin { process: parent, slot, index } = spawn.origin;
    let (Some(entry), Some(process)) = (log.entry(&parent, slot)?, log.process(&parent)?) else { return Ok(None) };
    let position = index.position as usize;
    let record = log.outcome(&parent, slot)?;
    let sent = record.as_ref().and_then(|record| record.outcome.spawns.get(position));
    let sender = Sender { source: Source { process: &process, entry: &entry }, signer };
    Ok(sent.map(|sent| notice_of(&sender, sent, position, child)))
}

fn notice_of(sender: &Sender<'_>, spawn: &OutboxEntry, position: usize, child: &Id) -> Delivery {
    let id = notice_id(sender.source.process, sender.source.entry.slot(), position);
    with_item(id, sender, sender.source.spawned(spawn, child, &id.origin))
}

fn notice_id(process: &Process, slot: u64, position: usize) -> DeliveryId {
    let origin = Origin::at(process.id(), slot, OutboxKind::Spawned, position);
    DeliveryId { origin, target: Some(process.id()) }
}

fn drafts<'a>(process: &Process, slot: u64, outcome: &'a Outcome) -> Vec<Draft<'a>> {
    let mut drafts = Vec::with_capacity(outcome.entries());
    let mut draft = |kind, position, target, part| {
        let origin = Origin::at(process.id(), slot, kind, position);
        drafts.push(Draft { id: DeliveryId { origin, target }, part });
    };
    for (position, entry) in outcome.messages.iter().enumerate() {
        let (target, part) = match outbox::target(entry).map(|target| target.parse::<Id>()) {
            Ok(Ok(target)) => (Some(target), Part::Message(entry, target)),
            Ok(Err(_)) => (None, Part::NoProcess),
            Err(cause) => (None, Part::Unreadable(cause)),
        };
        draft(OutboxKind::Message, position, target, part);
    }
    for (position, entry) in outcome.spawns.iter().enumerate() {
        let (target, part) = match outbox::scheduler(entry, &process.scheduler_at(slot)) {
            Ok(scheduler) => (Some(Id::from(scheduler.to_bytes())), Part::Spawn(entry, position)),
            Err(cause) => (None, Part::Unreadable(cause)),
        };
        draft(OutboxKind::Spawn, position, target, part);
    }
    let mut receivers_left = MAX_OUTBOX_ENTRIES;
    for (position, entry) in outcome.assignments.iter().enumerate() {
        match outbox::assignment(entry) {
            Ok((_, receivers)) if receivers.len() > receivers_left => {
                let text = format!("assignments of one slot to more than {MAX_OUTBOX_ENTRIES} processes");
                draft(OutboxKind::Assignment, position, None, Part::Unreadable(OutboxError::Field(text)));
            }
            Ok((message, receivers)) => {
                receivers_left -= receivers.len();
                for receiver in receivers {
                    draft(OutboxKind::Assignment, position, Some(receiver), Part::Assign(message, receiver));
                }
            }
            Err(cause) => draft(OutboxKind::Assignment, position, None, Part::Unreadable(cause)),
        }
    }
    drafts
}

fn delivery(sender: &Sender<'_>, draft: Draft<'_>) -> Delivery {
    let Draft { id, part } = draft;
    let item = match part {
        Part::Message(entry, target) => sender.source.message(entry, target, &id.origin),
        Part::Spawn(entry, _) => sender.source.spawn(entry, &id.origin),
        Part::Assign(message, receiver) => Ok(sender.source.assign(message, receiver, &id.origin)),
        Part::Unreadable(cause) => Err(cause),
        Part::NoProcess => {
            return Delivery { id, item: None, depth: sender.source.depth(), state: DeliveryState::NoProcess };
        }
    };
    with_item(id, sender, item)
}

/// A delivery of an item, or a dead letter when it can't be made.
fn with_item(id: DeliveryId, sender: &Sender<'_>, item: Result<ItemBuilder, OutboxError>) -> Delivery {
    let depth = sender.source.depth();
    match item.and_then(|item| sender.sign(item)) {
        Ok(item) => {
            let item = Some(ItemBytes(item.bytes().to_vec()));
            Delivery { id, item, depth, state: DeliveryState::Pending }
        }
        Err(cause) => Delivery { id, item: None, depth, state: DeliveryState::Dead { reason: cause.to_string() } },
    }
}
