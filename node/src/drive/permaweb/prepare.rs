//! What a scheduler looks up before it gives a slot: the item that an `Assign` names, and what is known of data that is
//! not in logs ([`ao_protocol::reference`]).

use ao_protocol::id::Id;
use ao_protocol::item::DataItem;
use ao_protocol::log::{Log, LogError};
use ao_protocol::reference::{self, BASE_LAYER, BY_REFERENCE, MAX_REFERENCED_BYTES, Reference};
use ao_protocol::scheduler::{Refusal, Submission};

use super::chain::{self, Looked};
use crate::drive::World;
use crate::drive::lookup::{self, Found};
use crate::drive::scheduler::{Receipts, Scheduler};

/// Tag of a process: blocks after which a transaction counts as there for good.
const SETTLEMENT_DEPTH: &str = "Settlement-Depth";
/// The same where the process does not say it: as ao's schedulers have it.
const DEPTH: u64 = 20;
/// The same on a local network, whose chain has no forks.
const DEV_CHAIN_DEPTH: u64 = 1;

/// Submits to this node's own scheduler, in order, after having looked up what the submissions need. One that lacks
/// something for now holds up those behind it.
pub async fn submit(world: &World, scheduler: &Scheduler, submissions: Vec<Submission>) -> Receipts {
    let count = submissions.len();
    let (mut ready, mut refused) = (Vec::with_capacity(count), Vec::new());
    for (place, mut submission) in submissions.into_iter().enumerate() {
        let prepared = prepare(world, &mut submission).await.unwrap_or_else(|cause| {
            if !matches!(cause, LogError::Full(_)) {
                world.fail(&cause);
            }
            Err(Refusal::Busy("the database of this node failed".into()))
        });
        match prepared {
            Ok(()) => ready.push(submission),
            Err(refusal) => {
                let holds = refusal.is_temporary();
                refused.push((place, refusal));
                if holds {
                    break;
                }
            }
        }
    }
    let mut receipts = match ready.is_empty() {
        true => Vec::new(),
        false => scheduler.submit(ready).await,
    };
    for (place, refusal) in refused {
        receipts.insert(place.min(receipts.len()), Err(refusal));
    }
    let waits = || Err(Refusal::Busy("one before it waits".into()));
    receipts.resize_with(count, waits);
    receipts
}

async fn prepare(world: &World, submission: &mut Submission) -> Result<Result<(), Refusal>, LogError> {
    let item = submission.item.clone();
    let (process, wanted) = match item.tag("Type") {
        Some("Process") => match reference::of_spawn(&item) {
            Ok(named) if named.is_empty() || world.log().tip(&item.id())?.is_some() => return Ok(Ok(())),
            Ok(named) => (item.id(), named),
            Err(cause) => return Ok(Err(Refusal::Invalid(cause.to_string()))),
        },
        Some("Assign") => {
            // What is wrong with it, the scheduler's rule says.
            let named = item.tag("Message").and_then(|id| id.parse::<Id>().ok());
            let (Some(process), Some(named)) = (item.target(), named) else { return Ok(Ok(())) };
            if world.log().slot_of_item(&process, &item.id())?.is_some() || !is_scheduled_here(world, &process)? {
                return Ok(Ok(()));
            }
            let by_value = item.tag(BASE_LAYER).is_none() && item.tag(BY_REFERENCE).is_none();
            if by_value && matches!(lookup::item_or_on_arweave(world, &named).await?, Found::Item(_)) {
                return Ok(Ok(()));
            }
            (process, vec![named])
        }
        _ => return Ok(Ok(())),
    };
    let spawn = match world.log().item(&process)? {
        Some(spawn) => spawn,
        None => item.clone(),
    };
    let depth = spawn.tag(SETTLEMENT_DEPTH).and_then(|depth| depth.parse().ok()).unwrap_or_else(|| usual_depth(world));
    let mut references = Vec::with_capacity(wanted.len());
    for id in wanted {
        match resolve(world, &item, &id, depth).await? {
            Ok(reference) => references.push(reference),
            Err(refusal) => return Ok(Err(refusal)),
        }
    }
    match reference::write(process, &references, &**world.wallet()) {
        Ok(references) => submission.references = Some(references),
        Err(cause) => return Ok(Err(Refusal::Invalid(cause.to_string()))),
    }
    Ok(Ok(()))
}

fn is_scheduled_here(world: &World, process: &Id) -> Result<bool, LogError> {
    Ok(world.log().process(process)?.is_some_and(|process| process.scheduler() == world.address()))
}

fn usual_depth(world: &World) -> u64 {
    let plays = world.network().dev_chain.is_some_and(|address| address == world.address());
    if plays || world.chain_unit().is_some() { DEV_CHAIN_DEPTH } else { DEPTH }
}

/// What is known of data: of an item that is here or at peers, or of a transaction of Arweave.
async fn resolve(world: &World, asks: &DataItem, id: &Id, depth: u64) -> Result<Result<Reference, Refusal>, LogError> {
    if asks.tag(BASE_LAYER).is_none()
        && let Found::Item(item) = lookup::item_or_on_arweave(world, id).await?
    {
        return Ok(Reference::of_item(&item).map_err(|cause| Refusal::Invalid(cause.to_string())));
    }
    if asks.tag(BASE_LAYER).is_none()
        && let Some(reference) = world.permaweb().large_item(id).await
    {
        return Ok(Ok(reference));
    }
    let busy = |text: String| Ok(Err(Refusal::Busy(text)));
    match chain::transaction(world, id).await? {
        Looked::Found(transaction, _) if transaction.data_size > MAX_REFERENCED_BYTES => {
            let size = transaction.data_size;
            let text = format!("transaction {id} has {size} bytes of data; at most {MAX_REFERENCED_BYTES} are read");
            Ok(Err(Refusal::Invalid(text)))
        }
        Looked::Found(_, confirmations) if confirmations < depth => {
            busy(format!("Not enough confirmations to assign {id}: it has {confirmations} of {depth}"))
        }
        Looked::Found(transaction, _) => Ok(Ok(Reference::of_transaction(*transaction))),
        Looked::Unknown => {
            busy(format!("{id} is no item that is known here or at peers, and no transaction of Arweave"))
        }
        Looked::Failed(cause) => busy(cause),
    }
}
