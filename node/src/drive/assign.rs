//! Assigning an item from elsewhere to a process: the messenger's signed request, and what a scheduler needs to have
//! before it can grant one.

use ao_protocol::id::Id;
use ao_protocol::item::{ItemBuilder, ItemError, VerifiedItem};
use ao_protocol::log::{Log, LogError};
use ao_protocol::message::EXCLUDE;
use ao_protocol::scheduler::{Refusal, Submission};
use thiserror::Error;

use super::World;
use super::lookup::{self, Found, NoProcess};
use super::submit::{SubmitError, Submitter};

/// Why an item was not assigned.
#[derive(Debug, Error)]
pub enum AssignError {
    /// The process can't be found.
    #[error(transparent)]
    NoProcess(#[from] NoProcess),
    /// The item can't be found.
    #[error("item {0} is not known here or at peers")]
    NoItem(Id),
    /// The item may exist.
    #[error("item {0} was not found, but not every peer answered; try again")]
    Unsure(Id),
    /// The request for it can't be signed.
    #[error("the assignment can't be asked for: {0}")]
    Item(#[from] ItemError),
    /// No scheduler answered.
    #[error(transparent)]
    Submit(#[from] SubmitError),
    /// The scheduler refused.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The log failed.
    #[error(transparent)]
    Log(#[from] LogError),
}

/// Gives an item a slot of a process that it is not addressed to, without the excluded fields; gives the assignment.
/// Asked again, it gives the same one.
pub async fn assign(
    world: &World,
    submitter: &Submitter,
    process: &Id,
    item: &Id,
    exclude: &[String],
) -> Result<VerifiedItem, AssignError> {
    let named = lookup::process(world, process).await??;
    let found = match lookup::item(world, item).await? {
        Found::Item(found) => found,
        Found::Nowhere => return Err(AssignError::NoItem(*item)),
        Found::Unsure => return Err(AssignError::Unsure(*item)),
    };
    // What is addressed to the process anyway is scheduled as it is.
    let submitted = if found.target() == Some(*process) || item == process {
        found
    } else {
        let mut request = ItemBuilder::new()
            .target(*process)
            .tag("Data-Protocol", "ao")
            .tag("Variant", "ao.TN.1")
            .tag("Type", "Assign")
            .tag("Message", item.to_string());
        for field in exclude {
            request = request.tag(EXCLUDE, field.clone());
        }
        request.sign(&**world.wallet())?
    };
    let submission = Submission::new(submitted, world.address());
    let receipts = submitter.submit(named.scheduler(), &[submission]).await?;
    let receipt = receipts.into_iter().next().unwrap_or_else(|| Err(Refusal::Busy("it gave no answer".into())));
    Ok(receipt?)
}

/// Makes sure that the item which an `Assign` names is in this node's log, if anybody has it. Other items name none.
pub async fn fetch_assigned(world: &World, submitted: &VerifiedItem) -> Result<(), LogError> {
    if submitted.tag("Type") != Some("Assign") {
        return Ok(());
    }
    let Some(named) = submitted.tag("Message").and_then(|id| id.parse::<Id>().ok()) else { return Ok(()) };
    if world.log().item(&named)?.is_none() {
        lookup::item(world, &named).await?;
    }
    Ok(())
}
