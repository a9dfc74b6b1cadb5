//! Whether an item comes from the outbox that it says it comes from, and what follows from that. Nothing of it is taken
//! from whoever submits the item: a true one may be submitted by anybody, again and again.

use super::{Refusal, Submission};
use crate::assignment::ORIGIN_ASSIGNMENT;
use crate::certificate::{MAX_CERTIFICATE_BYTES, Uncertified};
use crate::evidence;
use crate::id::{Address, Id};
use crate::log::{Batch, Log, LogError};
use crate::origin::{Origin, OutboxKind};
use crate::trust::Trust;

/// What is known of an outbox entry whose origin is proven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pushed {
    /// Where it comes from.
    pub(super) origin: Origin,
    /// One more than the slot that sent it.
    pub(super) depth: u32,
    /// The user's message, or the cron's firing, at the root of the chain.
    pub(super) root: Id,
    /// The messenger that delivers it: the one that signed it.
    pub(super) messenger: Address,
    /// The scheduler that gave the slot that sent it.
    pub(super) by: Address,
    /// The assignment of that slot.
    pub(super) sent_by: Id,
}

/// Whether an item may claim its origin: it must be signed by a messenger that the source process trusts, and be what
/// that list of an outbox holds. Where the source asks for a quorum, a certificate must prove that it sent it.
pub(super) fn pushed(
    log: &dyn Log,
    batch: &Batch,
    submission: &Submission,
    origin: Origin,
    kind: &str,
    trust: &Trust,
) -> Result<Result<Pushed, Refusal>, LogError> {
    let item = &submission.item;
    let false_origin = |reason: &str| Refusal::FalseOrigin { origin: origin.to_string(), reason: reason.to_string() };
    let fits = match origin.index.kind {
        OutboxKind::Message => kind == "Message",
        OutboxKind::Spawn => kind == "Process",
        OutboxKind::Assignment => kind == "Assign",
        OutboxKind::Spawned => kind == "Message" && item.target() == Some(origin.process),
    };
    if !fits {
        return Ok(Err(false_origin(&format!("a {kind} can't be entry {} of an outbox", origin.index))));
    }
    let (Some(source), Some(sent_by)) =
        (batch.process(log, &origin.process)?, batch.entry(log, &origin.process, origin.slot)?)
    else {
        return Ok(Err(Refusal::UnprovenOrigin(origin.to_string())));
    };
    let source = match source {
        Ok(source) => source,
        Err(cause) => return Ok(Err(false_origin(&cause.to_string()))),
    };
    // What it sent may be void tomorrow.
    if evidence::disputed_from(log, &origin.process)?.is_some_and(|from| origin.slot >= from) {
        return Ok(Err(Refusal::UnprovenOrigin(origin.to_string())));
    }
    if !trust.messengers(&source).contains(&item.address()) {
        if trust.network.open && source.authorities.is_empty() {
            // Anybody may be a messenger there, and this one may be about to announce itself.
            return Ok(Err(Refusal::UnprovenOrigin(origin.to_string())));
        }
        let reason = format!("{} is no messenger that process {} trusts", item.address(), origin.process);
        return Ok(Err(false_origin(&reason)));
    }
    let own = sent_by.assignment.id();
    match item.tag(ORIGIN_ASSIGNMENT).map(str::parse::<Id>) {
        Some(Ok(said)) if said == own => {}
        // A foreign messenger's item, which says nothing of it, can be meant for one branch only.
        None if source.resumes.is_empty() => {}
        // One of the two has not heard yet how that process goes on.
        Some(Ok(said)) => {
            let slot = origin.slot;
            let cause = format!("slot {slot} of process {} is {own} here and not {said}", origin.process);
            return Ok(Err(Refusal::Busy(cause)));
        }
        None | Some(Err(_)) => {
            return Ok(Err(false_origin(&format!("its tag {ORIGIN_ASSIGNMENT} does not say which slot sent it"))));
        }
    }
    if source.compute_quorum > 1 {
        let Some(certificate) = &submission.certificate else {
            let quorum = source.compute_quorum;
            return Ok(Err(false_origin(&format!("it comes without a certificate by {quorum} compute units"))));
        };
        if certificate.size() > MAX_CERTIFICATE_BYTES {
            return Ok(Err(false_origin(&format!("its certificate has more than {MAX_CERTIFICATE_BYTES} bytes"))));
        }
        match certificate.verify(log, &source, &sent_by, trust, &origin, item)? {
            Ok(()) => {}
            Err(Uncertified::NotYet(cause)) => return Ok(Err(Refusal::Busy(cause))),
            Err(Uncertified::False(cause)) => return Ok(Err(false_origin(&cause))),
        }
    }
    let depth = sent_by.assignment.statement.depth.saturating_add(1);
    let by = source.scheduler_at(origin.slot);
    let (root, sent_by) = (sent_by.root(), sent_by.assignment.id());
    Ok(Ok(Pushed { origin, depth, root, messenger: item.address(), by, sent_by }))
}
