//! Reading a receipt that came from elsewhere.

use crate::assignment::Assignment;
use crate::id::Address;
use crate::item::VerifiedItem;
use crate::log::Log;
use crate::origin::Origin;

/// Reads a receipt: it counts only when it is the assignment, signed by the scheduler that was asked or that gave the
/// slot before the process was resumed, of the submitted item or, for a pushed item, of its origin.
pub fn read_receipt(
    log: &dyn Log,
    assignment: VerifiedItem,
    submitted: &VerifiedItem,
    scheduler: &Address,
) -> Result<Assignment, String> {
    let signer = assignment.address();
    let assignment = Assignment::read(assignment).map_err(|cause| format!("the receipt is no assignment: {cause}"))?;
    let statement = &assignment.statement;
    let process = log.process(&statement.process).map_err(|cause| cause.to_string())?;
    let gave = process.as_ref().is_some_and(|process| process.scheduler_at(statement.slot) == signer);
    if signer != *scheduler && !gave {
        return Err(format!("the receipt is signed by {signer}, not by scheduler {scheduler}"));
    }
    if let Some(process) = process.filter(|process| !process.resumes.is_empty()) {
        let ours = log.entry(&process.id(), statement.slot).map_err(|cause| cause.to_string())?;
        // That slot of the branch may be known, and not yet be here.
        let coming = log.on_branch(&process.id(), statement.slot).map_err(|cause| cause.to_string())?;
        let known = ours.map(|ours| ours.assignment.id()).or(coming);
        let void = known.is_some_and(|known| known != assignment.id());
        if void || statement.epoch != process.epoch_at(statement.slot) {
            return Err(format!("the receipt is of slot {} as it was before the process was resumed", statement.slot));
        }
    }
    let named = statement.message.unwrap_or(statement.process);
    let wanted = match submitted.tag("Type") {
        Some("Assign") => submitted.tag("Message").and_then(|id| id.parse().ok()),
        _ => Some(submitted.id()),
    };
    let origin = Origin::read(submitted.tags()).ok().flatten();
    let sent_by = match origin {
        Some(origin) => log.entry(&origin.process, origin.slot).map_err(|cause| cause.to_string())?,
        None => None,
    };
    // That slot may have been given anew since.
    let same_slot = sent_by.is_none_or(|sent_by| statement.sent_by == Some(sent_by.assignment.id()));
    let same_origin = origin.is_some() && statement.origin == origin && same_slot;
    if Some(named) != wanted && !same_origin {
        return Err(format!("the receipt is for item {named}, not for {}", submitted.id()));
    }
    Ok(assignment)
}
