//! What a scheduler looks up before it gives a slot: the item that an `Assign` names, and what is known of data that is
//! not in logs ([`ao_protocol::reference`]).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ao_protocol::id::Id;
use ao_protocol::item::{DataItem, VerifiedItem};
use ao_protocol::log::{Log, LogError};
use ao_protocol::process::Process;
use ao_protocol::reference::{self, BASE_LAYER, BY_REFERENCE, MAX_REFERENCED_BYTES, Reference};
use ao_protocol::scheduler::{Refusal, Submission};
use futures::future::join_all;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

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
/// Lookups at once; of more the sender is told to try again.
const AT_ONCE: usize = 32;
/// Large items whose data comes at once.
const LARGE_AT_ONCE: usize = 2;
/// How long whoever submits waits for a lookup; it goes on, and the next try has it.
const PATIENCE: Duration = Duration::from_secs(6);
/// How long what was found is known, and that nothing was.
const FOUND_TIME: Duration = Duration::from_secs(10 * 60);
const FAILED_TIME: Duration = Duration::from_secs(2);
/// Most of them that are remembered; then the oldest are forgotten.
const MAX_REMEMBERED: usize = 1000;

/// What was found.
#[derive(Clone, Debug)]
enum Resolved {
    /// An item that this node holds.
    Held(Box<VerifiedItem>),
    /// An item that no node can hold.
    Large(Box<Reference>),
    /// A transaction, with blocks from its own on, and whether blocks are final there.
    Mined { reference: Box<Reference>, confirmations: u64, local: bool },
}

/// What came of looking something up. That nobody knows it is an unknown process here.
type Looking = Result<Resolved, Refusal>;

/// What is looked up, by id and whether it may be an item: when it was asked for, and what came of it.
type Known = HashMap<(Id, bool), (Instant, watch::Receiver<Option<Looking>>)>;

/// What is looked up, and what came of it.
pub(super) struct Lookups {
    places: Arc<Semaphore>,
    large: Arc<Semaphore>,
    known: Mutex<Known>,
}

impl Default for Lookups {
    fn default() -> Lookups {
        let (places, large) = (Arc::new(Semaphore::new(AT_ONCE)), Arc::new(Semaphore::new(LARGE_AT_ONCE)));
        Lookups { places, large, known: Mutex::default() }
    }
}

impl Lookups {
    fn known(&self) -> MutexGuard<'_, Known> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, (since, found)| match &*found.borrow() {
            // It is under way, or its task is gone.
            None => found.has_changed().is_ok(),
            Some(Ok(_)) => since.elapsed() < FOUND_TIME,
            Some(Err(_)) => since.elapsed() < FAILED_TIME,
        });
        while known.len() >= MAX_REMEMBERED
            && let Some(oldest) = known.iter().min_by_key(|(_, (since, _))| *since).map(|(key, _)| *key)
        {
            known.remove(&oldest);
        }
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
    let Some((process, spawn, wanted)) = wanted(world, &item)? else { return Ok(Ok(submission)) };
    let depth = spawn.tag(SETTLEMENT_DEPTH).and_then(|depth| depth.parse().ok());
    let is_spawn = item.tag("Type") == Some("Process");
    let by_value = !is_spawn && item.tag(BASE_LAYER).is_none() && item.tag(BY_REFERENCE).is_none();
    let mut references = Vec::with_capacity(wanted.len());
    for id in wanted {
        match reference_to(world, &item, &id, depth, by_value).await {
            Ok(Some(reference)) => references.push(reference),
            Ok(None) => return Ok(Ok(submission)),
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
fn wanted(world: &World, item: &VerifiedItem) -> Result<Option<(Id, VerifiedItem, Vec<Id>)>, LogError> {
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
            Ok(Some((process, read.item.clone(), vec![named])))
        }
        _ => Ok(None),
    }
}

fn unknown(id: &Id) -> String {
    format!("{id} is no item that is known here or at peers, and no transaction of Arweave")
}

/// What is known of data; none where it is a part of the message.
async fn reference_to(
    world: &World,
    asks: &DataItem,
    id: &Id,
    depth: Option<u64>,
    by_value: bool,
) -> Result<Option<Reference>, Refusal> {
    match look_up(world, asks.tag(BASE_LAYER).is_none(), id).await? {
        Resolved::Held(_) if by_value => Ok(None),
        Resolved::Held(item) => {
            Reference::of_item(&item).map(Some).map_err(|cause| Refusal::Invalid(cause.to_string()))
        }
        Resolved::Large(reference) => Ok(Some(*reference)),
        Resolved::Mined { reference, confirmations, local } => {
            let depth = depth.unwrap_or(if local { LOCAL_DEPTH } else { DEPTH });
            if confirmations < depth {
                let key = (*id, asks.tag(BASE_LAYER).is_none());
                // It may have more by the next try.
                world.permaweb().0.lookups.known().remove(&key);
                let text = format!("Not enough confirmations to assign {id}: it has {confirmations} of {depth}");
                return Err(Refusal::Busy(text));
            }
            Ok(Some(*reference))
        }
    }
}

/// What is known of data, by a task that goes on when this takes too long. Who asks for the same waits for the same.
async fn look_up(world: &World, may_be_item: bool, id: &Id) -> Looking {
    let lookups = &world.permaweb().0.lookups;
    let key = (*id, may_be_item);
    let mut found = {
        let mut known = lookups.known();
        match known.get(&key) {
            Some((_, found)) => found.clone(),
            None => {
                let Ok(place) = lookups.places.clone().try_acquire_owned() else {
                    return Err(Refusal::Busy(format!("{AT_ONCE} others are being looked up")));
                };
                let (tell, found) = watch::channel(None);
                known.insert(key, (Instant::now(), found.clone()));
                let (world, id) = (world.clone(), *id);
                tokio::spawn(async move {
                    let looking = resolve(&world, may_be_item, &id, place).await.unwrap_or_else(|cause| {
                        if !matches!(cause, LogError::Full(_)) {
                            world.fail(&cause);
                        }
                        Err(Refusal::Busy("the database of this node failed".into()))
                    });
                    tell.send_replace(Some(looking));
                });
                found
            }
        }
    };
    let slow = || Err(Refusal::Busy(format!("{id} is being looked up")));
    match tokio::time::timeout(PATIENCE, found.wait_for(Option::is_some)).await {
        Ok(Ok(found)) => found.clone().unwrap_or_else(slow),
        _ => slow(),
    }
}

/// Looks for an item here and at peers, for a transaction of Arweave, and for an item there.
async fn resolve(world: &World, may_be_item: bool, id: &Id, place: OwnedSemaphorePermit) -> Result<Looking, LogError> {
    if may_be_item && let Found::Item(item) = lookup::item(world, id).await? {
        return Ok(Ok(Resolved::Held(Box::new(item))));
    }
    match chain::transaction(world, id).await? {
        Looked::Found { transaction, .. } if transaction.data_size > MAX_REFERENCED_BYTES => {
            let size = transaction.data_size;
            let text = format!("transaction {id} has {size} bytes of data; at most {MAX_REFERENCED_BYTES} are read");
            Ok(Err(Refusal::Invalid(text)))
        }
        Looked::Found { transaction, confirmations, local } => {
            let reference = Box::new(Reference::of_transaction(*transaction));
            Ok(Ok(Resolved::Mined { reference, confirmations, local }))
        }
        Looked::Unsupported(cause) => Ok(Err(Refusal::Invalid(cause))),
        Looked::Failed(cause) => Ok(Err(Refusal::Busy(cause))),
        Looked::Unknown if may_be_item => {
            if let Found::Item(item) = lookup::item_or_on_arweave(world, id).await? {
                return Ok(Ok(Resolved::Held(Box::new(item))));
            }
            // That may take hours.
            drop(place);
            let Ok(_large) = world.permaweb().0.lookups.large.clone().try_acquire_owned() else {
                return Ok(Err(Refusal::Busy(format!("{LARGE_AT_ONCE} large items are on their way here"))));
            };
            Ok(match world.permaweb().large_item(world, id).await {
                Ok(Some(reference)) => Ok(Resolved::Large(Box::new(reference))),
                Ok(None) => Err(Refusal::UnknownProcess(*id)),
                Err(cause) => Err(Refusal::Busy(cause.to_string())),
            })
        }
        Looked::Unknown => Ok(Err(Refusal::UnknownProcess(*id))),
    }
}
