//! What a scheduler looks up before it gives a slot: the item that an `Assign` names, and what is known of data that is
//! not in logs ([`ao_protocol::reference`]).

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ao_protocol::id::Id;
use ao_protocol::item::{DataItem, VerifiedItem};
use ao_protocol::log::{Log, LogError};
use ao_protocol::process::Process;
use ao_protocol::reference::{self, BASE_LAYER, BY_REFERENCE, MAX_REFERENCED_BYTES, Reference};
use ao_protocol::scheduler::{Refusal, Submission};
use futures::future::join_all;
use tokio::sync::Semaphore;

use super::chain::{self, Looked};
use crate::drive::World;
use crate::drive::lookup::{self, Found};
use crate::drive::scheduler::{Receipts, Scheduler};

/// Tag of a process: blocks after which a transaction counts as there for good.
const SETTLEMENT_DEPTH: &str = "Settlement-Depth";
/// The same where the process does not say it: as ao's schedulers have it.
const DEPTH: u64 = 20;
/// The same on a local network, whose chain has no forks.
const LOCAL_DEPTH: u64 = 1;
/// Lookups at once.
const AT_ONCE: usize = 8;
/// How long whoever submits waits for a lookup; it goes on, and the next try has it.
const PATIENCE: Duration = Duration::from_secs(6);
/// How long what was found is known, and that nothing was.
const FOUND_TIME: Duration = Duration::from_secs(10 * 60);
const FAILED_TIME: Duration = Duration::from_secs(2);
/// Most of them that are remembered.
const MAX_REMEMBERED: usize = 1000;

/// What came of looking something up: a reference, or why there is none.
type Looking = Result<Reference, Refusal>;

/// What is looked up, and what came of it. By id, and whether it may be an item.
pub(super) struct Lookups {
    places: Semaphore,
    known: Mutex<HashMap<(Id, bool), (Instant, Looking)>>,
}

impl Default for Lookups {
    fn default() -> Lookups {
        Lookups { places: Semaphore::new(AT_ONCE), known: Mutex::default() }
    }
}

impl Lookups {
    fn known(&self) -> MutexGuard<'_, HashMap<(Id, bool), (Instant, Looking)>> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, (since, found)| since.elapsed() < if found.is_ok() { FOUND_TIME } else { FAILED_TIME });
        known
    }
}

/// Submits to this node's own scheduler, in order, after having looked up what the submissions need. One that lacks
/// something for now holds up those behind it.
pub async fn submit(world: &World, scheduler: &Scheduler, submissions: Vec<Submission>) -> Receipts {
    let count = submissions.len();
    let prepared = join_all(submissions.into_iter().map(|submission| prepare(world, submission))).await;
    let (mut ready, mut refused) = (Vec::with_capacity(count), Vec::new());
    for (place, prepared) in prepared.into_iter().enumerate() {
        let prepared = prepared.unwrap_or_else(|cause| {
            if !matches!(cause, LogError::Full(_)) {
                world.fail(&cause);
            }
            Err(Refusal::Busy("the database of this node failed".into()))
        });
        match prepared {
            Ok(submission) => ready.push(submission),
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
    receipts.resize_with(count, || Err(Refusal::Busy("one before it waits".into())));
    receipts
}

/// The same for what came by gossip, for which nothing is looked up: whoever sends it sends it to its scheduler, too.
pub async fn submit_gossiped(scheduler: &Scheduler, submission: Submission) -> Receipts {
    let names_data = !reference::of_spawn(&submission.item).is_ok_and(|named| named.is_empty());
    if submission.item.tag("Type") == Some("Assign") || (submission.item.tag("Type") == Some("Process") && names_data) {
        return vec![Err(Refusal::Busy("nothing is looked up for gossip".into()))];
    }
    scheduler.submit(vec![submission]).await
}

async fn prepare(world: &World, mut submission: Submission) -> Result<Result<Submission, Refusal>, LogError> {
    let item = submission.item.clone();
    // What is wrong with it, the scheduler's rule says.
    let Some((process, spawn, wanted)) = wanted(world, &item).await? else { return Ok(Ok(submission)) };
    let depth = spawn.tag(SETTLEMENT_DEPTH).and_then(|depth| depth.parse().ok());
    let is_spawn = item.tag("Type") == Some("Process");
    let mut references = Vec::with_capacity(wanted.len());
    for id in wanted {
        match look_up(world, &item, &id, depth).await {
            Ok(reference) => references.push(reference),
            // A spawn waits for nothing: it can be made again.
            Err(Refusal::UnknownProcess(_)) if is_spawn => return Ok(Err(Refusal::Invalid(unknown(&id)))),
            Err(Refusal::UnknownProcess(_)) => return Ok(Err(Refusal::Busy(unknown(&id)))),
            Err(refusal) => return Ok(Err(refusal)),
        }
    }
    match reference::write(process, item.id(), &references, &**world.wallet()) {
        Ok(references) => submission.references = Some(references),
        Err(cause) => return Ok(Err(Refusal::Invalid(cause.to_string()))),
    }
    Ok(Ok(submission))
}

/// The process that a submission is for, its spawn, and what has to be looked up; none if nothing has.
async fn wanted(world: &World, item: &VerifiedItem) -> Result<Option<(Id, VerifiedItem, Vec<Id>)>, LogError> {
    let log = world.log();
    match item.tag("Type") {
        Some("Process") => {
            let own = Process::read(item).is_ok_and(|process| process.first_scheduler == world.address());
            let named = reference::of_spawn(item).unwrap_or_default();
            if !own || named.is_empty() || log.tip(&item.id())?.is_some() {
                return Ok(None);
            }
            Ok(Some((item.id(), item.clone(), named)))
        }
        Some("Assign") => {
            let named = item.tag("Message").and_then(|id| id.parse::<Id>().ok());
            let (Some(process), Some(named)) = (item.target(), named) else { return Ok(None) };
            let Some(read) = log.process(&process)?.filter(|read| read.scheduler() == world.address()) else {
                return Ok(None);
            };
            if log.slot_of_item(&process, &named)?.is_some() {
                return Ok(None);
            }
            let by_value = item.tag(BASE_LAYER).is_none() && item.tag(BY_REFERENCE).is_none();
            if by_value && matches!(lookup::item_or_on_arweave(world, &named).await?, Found::Item(_)) {
                return Ok(None);
            }
            Ok(Some((process, read.item.clone(), vec![named])))
        }
        _ => Ok(None),
    }
}

fn unknown(id: &Id) -> String {
    format!("{id} is no item that is known here or at peers, and no transaction of Arweave")
}

/// What is known of data, by a task that goes on when this takes too long.
async fn look_up(world: &World, asks: &DataItem, id: &Id, depth: Option<u64>) -> Looking {
    let (key, lookups) = ((*id, asks.tag(BASE_LAYER).is_none()), &world.permaweb().0.lookups);
    if let Some((_, known)) = lookups.known().get(&key) {
        return known.clone();
    }
    let (world, id) = (world.clone(), *id);
    let looking = tokio::spawn(async move {
        let lookups = &world.permaweb().0.lookups;
        let Ok(_place) = lookups.places.acquire().await else { return Err(Refusal::Busy("stopping".into())) };
        let found = resolve(&world, key.1, &id, depth).await.unwrap_or_else(|cause| {
            if !matches!(cause, LogError::Full(_)) {
                world.fail(&cause);
            }
            Err(Refusal::Busy("the database of this node failed".into()))
        });
        let mut known = lookups.known();
        if known.len() < MAX_REMEMBERED {
            known.insert(key, (Instant::now(), found.clone()));
        }
        found
    });
    let slow = || Err(Refusal::Busy(format!("{id} is being looked up")));
    tokio::time::timeout(PATIENCE, looking).await.map_or_else(|_| slow(), |found| found.unwrap_or_else(|_| slow()))
}

/// What is known of data: of an item that is here or at peers, or of a transaction of Arweave. That nobody knows it is
/// an unknown process here.
async fn resolve(world: &World, may_be_item: bool, id: &Id, depth: Option<u64>) -> Result<Looking, LogError> {
    if may_be_item && let Found::Item(item) = lookup::item_or_on_arweave(world, id).await? {
        return Ok(Reference::of_item(&item).map_err(|cause| Refusal::Invalid(cause.to_string())));
    }
    let busy = |text: String| Ok(Err(Refusal::Busy(text)));
    match chain::transaction(world, id).await? {
        Looked::Found { transaction, .. } if transaction.data_size > MAX_REFERENCED_BYTES => {
            let size = transaction.data_size;
            let text = format!("transaction {id} has {size} bytes of data; at most {MAX_REFERENCED_BYTES} are read");
            Ok(Err(Refusal::Invalid(text)))
        }
        Looked::Found { transaction, confirmations, local } => {
            let depth = depth.unwrap_or(if local { LOCAL_DEPTH } else { DEPTH });
            if confirmations < depth {
                return busy(format!("Not enough confirmations to assign {id}: it has {confirmations} of {depth}"));
            }
            Ok(Ok(Reference::of_transaction(*transaction)))
        }
        Looked::Unsupported(cause) => Ok(Err(Refusal::Invalid(cause))),
        Looked::Unknown | Looked::Failed(_) if may_be_item && world.permaweb().gateway().is_some() => {
            let found = world.permaweb().large_item(world, id).await;
            Ok(found.ok_or(Refusal::UnknownProcess(*id)))
        }
        Looked::Unknown => Ok(Err(Refusal::UnknownProcess(*id))),
        Looked::Failed(cause) => busy(cause),
    }
}
