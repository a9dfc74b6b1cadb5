//! Reading a receipt that came from elsewhere.

use crate::assignment::Assignment;
use crate::id::Address;
use crate::item::VerifiedItem;
use crate::origin::Origin;

/// Reads a receipt: it counts only when it is the assignment, signed by the scheduler that was asked, of the submitted
/// item or, for a pushed item, of its origin.
pub fn read_receipt(
    assignment: VerifiedItem,
    submitted: &VerifiedItem,
    scheduler: &Address,
) -> Result<Assignment, String> {
    if assignment.address() != *scheduler {
        return Err(format!("the receipt is signed by {}, not by scheduler {scheduler}", assignment.address()));
    }
    let assignment = Assignment::read(assignment).map_err(|cause| format!("the receipt is no assignment: {cause}"))?;
    let statement = &assignment.statement;
    let named = statement.message.unwrap_or(statement.process);
    let wanted = match submitted.tag("Type") {
        Some("Assign") => submitted.tag("Message").and_then(|id| id.parse().ok()),
        _ => Some(submitted.id()),
    };
    let origin = Origin::read(submitted.tags()).ok().flatten();
    let same_origin = origin.is_some() && statement.origin == origin;
    if Some(named) != wanted && !same_origin {
        return Err(format!("the receipt is for item {named}, not for {}", submitted.id()));
    }
    Ok(assignment)
}
