//! From an outcome to deliveries: one for each outbox entry and receiver, less what already has its slot.

use std::collections::BTreeSet;

use super::outbox::{self, OutboxError, Sender};
use crate::id::Id;
use crate::item::VerifiedItem;
use crate::log::{Delivery, DeliveryState, Log, LogError};
use crate::origin::{DeliveryId, OutboxKind};
use crate::outcome::{MAX_OUTBOX_ENTRIES, OutboxEntry, Outcome};
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
    let mut deliveries = known;
    for draft in drafts(sender, outcome) {
        let scheduled = log.slot_of_delivery(&draft.id)?;
        if let (Part::Spawn(spawn, position), Some((child, _))) = (&draft.part, scheduled) {
            let notice = spawned_notice(sender, spawn, *position, &child);
            if !ids.contains(&notice.id) && log.slot_of_delivery(&notice.id)?.is_none() {
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
    for draft in drafts(sender, outcome) {
        // What can't be delivered by anybody is never scheduled.
        if matches!(draft.part, Part::NoProcess | Part::Unreadable(_)) {
            continue;
        }
        if log.slot_of_delivery(&draft.id)?.is_none() {
            return Ok(false);
        }
        if let Part::Spawn(_, position) = draft.part
            && log.slot_of_delivery(&notice_id(sender, position))?.is_none()
        {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The notice to the parent that its spawn became `child`.
pub(super) fn spawned_notice(sender: &Sender<'_>, spawn: &OutboxEntry, position: usize, child: &Id) -> Delivery {
    let id = notice_id(sender, position);
    with_item(id, sender, sender.spawned(spawn, child, &id.origin))
}

fn notice_id(sender: &Sender<'_>, position: usize) -> DeliveryId {
    let origin = sender.origin(OutboxKind::Spawned, position);
    DeliveryId { origin, target: Some(sender.process.id()) }
}

fn drafts<'a>(sender: &Sender<'_>, outcome: &'a Outcome) -> Vec<Draft<'a>> {
    let mut drafts = Vec::with_capacity(outcome.entries());
    let mut draft = |kind, position, target, part| {
        drafts.push(Draft { id: DeliveryId { origin: sender.origin(kind, position), target }, part });
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
        let (target, part) = match outbox::scheduler(entry, &sender.process.scheduler) {
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
        Part::Message(entry, target) => sender.message(entry, target, &id.origin),
        Part::Spawn(entry, _) => sender.spawn(entry, &id.origin),
        Part::Assign(message, receiver) => sender.assign(message, receiver, &id.origin),
        Part::Unreadable(cause) => Err(cause),
        Part::NoProcess => {
            return Delivery { id, item: None, depth: sender.depth(), state: DeliveryState::NoProcess };
        }
    };
    with_item(id, sender, item)
}

/// A delivery of an item, or a dead letter when it can't be made.
fn with_item(id: DeliveryId, sender: &Sender<'_>, item: Result<VerifiedItem, OutboxError>) -> Delivery {
    let depth = sender.depth();
    match item {
        Ok(item) => {
            let item = Some(ItemBytes(item.bytes().to_vec()));
            Delivery { id, item, depth, state: DeliveryState::Pending }
        }
        Err(cause) => Delivery { id, item: None, depth, state: DeliveryState::Dead { reason: cause.to_string() } },
    }
}
