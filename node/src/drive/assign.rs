//! Assigning an item from elsewhere to a process: the messenger's signed request.

use ao_protocol::id::Id;
use ao_protocol::item::{ItemBuilder, ItemError, VerifiedItem};
use ao_protocol::log::LogError;
use ao_protocol::message::EXCLUDE;
use ao_protocol::reference::{BASE_LAYER, BY_REFERENCE};
use ao_protocol::scheduler::{Refusal, Submission};
use thiserror::Error;

use super::World;
use super::lookup::{self, Found, NoProcess};
use super::permaweb::{self, Looked};
use super::submit::{SubmitError, Submitter};

/// Why an item was not assigned.
#[derive(Debug, Error)]
pub enum AssignError {
    /// The process can't be found.
    #[error(transparent)]
    NoProcess(#[from] NoProcess),
    /// The item can't be found.
    #[error("item {0} is not known here or at peers, nor is it a transaction of Arweave")]
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

/// What is to be assigned, and how.
#[derive(Clone, Debug)]
pub struct Assigned {
    /// The item, or a transaction of Arweave.
    pub id: Id,
    /// Whether it is a transaction; else an item is looked for, and then a transaction.
    pub base_layer: bool,
    /// Whether its data is to be read and not to be a part of the message, as with all transactions.
    pub by_reference: bool,
    /// Fields that are left out.
    pub exclude: Vec<String>,
}

impl Assigned {
    /// All of an item.
    pub fn item(id: Id) -> Assigned {
        Assigned { id, base_layer: false, by_reference: false, exclude: Vec::new() }
    }
}

/// Gives an item a slot of a process that it is not addressed to, without the excluded fields; gives the assignment.
/// Asked again, it gives the same one.
pub async fn assign(
    world: &World,
    submitter: &Submitter,
    process: &Id,
    assigned: &Assigned,
) -> Result<VerifiedItem, AssignError> {
    let named = lookup::process(world, process).await??;
    let item = &assigned.id;
    let found = match assigned.base_layer {
        true => None,
        false => match lookup::item(world, item).await? {
            Found::Item(found) => Some(found),
            // It may be a transaction: the scheduler looks for it.
            Found::Nowhere if chain_is_known(world) => None,
            Found::Nowhere => return Err(AssignError::NoItem(*item)),
            Found::Unsure => return Err(AssignError::Unsure(*item)),
        },
    };
    // Where this node asks the network's own chain, that is all there is; else the scheduler finds out.
    if found.is_none() && (assigned.base_layer || world.permaweb().gateway().is_none()) {
        match permaweb::transaction(world, item).await? {
            Looked::Unknown => return Err(AssignError::NoItem(*item)),
            Looked::Unsupported(cause) => return Err(Refusal::Invalid(cause).into()),
            Looked::Found { .. } | Looked::Failed(_) => {}
        }
    }
    let own = found.filter(|found| found.target() == Some(*process) || item == process);
    // What is addressed to the process anyway is scheduled as it is.
    let submitted = if let Some(own) = own {
        own
    } else {
        let mut request = ItemBuilder::new()
            .target(*process)
            .tag("Data-Protocol", "ao")
            .tag("Variant", "ao.TN.1")
            .tag("Type", "Assign")
            .tag("Message", item.to_string());
        for (tag, wanted) in [(BASE_LAYER, assigned.base_layer), (BY_REFERENCE, assigned.by_reference)] {
            if wanted {
                request = request.tag(tag, "true");
            }
        }
        for field in &assigned.exclude {
            request = request.tag(EXCLUDE, field.clone());
        }
        request.sign(&**world.wallet())?
    };
    let submission = Submission::new(submitted, world.address());
    let receipts = submitter.submit(named.scheduler(), &[submission]).await?;
    let receipt = receipts.into_iter().next().unwrap_or_else(|| Err(Refusal::Busy("it gave no answer".into())));
    Ok(receipt?)
}

/// Whether transactions can be looked for in this network, as far as this node knows.
fn chain_is_known(world: &World) -> bool {
    world.permaweb().gateway().is_some() || world.chain_unit().is_some() || world.network().dev_chain.is_some()
}
