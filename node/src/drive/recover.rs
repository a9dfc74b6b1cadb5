//! A scheduler that lost its disk, or some of it: before it gives a further slot to a process whose log it had to get
//! back, it asks everybody who may have followed it. What it acknowledged and did not mirror is there, or nowhere.
//!
//! A process is held from the moment at which slots come in that this node signed and does not have, or since
//! `ao-node restore` brought it, until all followers that are known have said how far they have it, and it is here.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ao_protocol::id::{Address, Id};
use ao_protocol::log::{Log, LogError};
use ao_protocol::wire::{Request, Response, TipBytes};
use tokio::time::Instant;
use tracing::{info, warn};

use super::World;
use super::repair::Follower;
use crate::net::PeerId;

/// Time that followers have to be found and to answer.
pub const FOLLOWERS_LIMIT: Duration = Duration::from_secs(60);
/// The same where a tip is accepted though some are gone.
const ACCEPTED_LIMIT: Duration = Duration::from_secs(10);
/// Longest wait for slots that a follower says that it has.
const CLAIM_LIMIT: Duration = Duration::from_secs(20);
/// Time between two looks.
const LOOK: Duration = Duration::from_millis(200);
/// Most pages of tips that are asked of one follower.
const MAX_TIP_PAGES: usize = 1000;

/// A tip that the operator accepts, whoever can't be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AcceptedTip {
    /// Of which process; none: of the only one that is held.
    pub process: Option<Id>,
    /// The slot.
    pub slot: u64,
}

/// Which processes are held. Cloning is cheap.
#[derive(Clone, Default)]
pub struct Recovery(Arc<Mutex<BTreeMap<Id, String>>>);

/// How far followers say that they have the processes that are held.
#[derive(Default)]
struct Heard {
    /// Who answered.
    answered: BTreeSet<Address>,
    /// The highest slot of each process that somebody claims.
    claims: BTreeMap<Id, u64>,
}

impl Recovery {
    fn held(&self) -> MutexGuard<'_, BTreeMap<Id, String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why nothing is scheduled of a process, if so.
    pub fn holds(&self, process: &Id) -> Option<String> {
        self.held().get(process).cloned()
    }

    /// All processes that are held, and why.
    pub fn all(&self) -> Vec<(Id, String)> {
        self.held().iter().map(|(process, why)| (*process, why.clone())).collect()
    }

    /// Holds a process from now on.
    pub fn hold(&self, process: Id) {
        self.held().entry(process).or_insert_with(|| "its followers are asked how far they have it".to_string());
    }
}

/// Notes that a slot of a process comes back which this node had signed. Blocks; before it is written.
pub fn lost(world: &World, process: &Id, slot: u64) -> Result<(), LogError> {
    // Where its owner said on which branch it goes on, and up to which slot, nobody else need be asked.
    let read = world.log().process(process)?;
    let said = read.is_some_and(|read| read.resumes.last().is_some_and(|resume| slot <= resume.slot));
    if !said && world.recovery().holds(process).is_none() {
        warn!(%process, "slots that this node signed come from a peer: its log was lost; the process is held");
        world.log().note_recovering(process, &[])?;
        world.recovery().hold(*process);
    }
    Ok(())
}

/// Holds what is to be recovered. Before anything is scheduled.
pub fn begin(world: &World) -> Result<(), LogError> {
    for (process, _) in world.log().recovering()? {
        match world.log().process(&process)? {
            Some(read) if read.scheduler() == world.address() => world.recovery().hold(process),
            // Another's.
            _ => world.log().recovered(&process)?,
        }
    }
    Ok(())
}

/// Recovers what is held, and what will be, until the log fails.
pub async fn run(world: World, follower: Follower, accepted: Vec<AcceptedTip>, joins: bool) {
    while world.goes_on(recover(&world, &follower, &accepted, joins).await).await {}
}

async fn recover(world: &World, follower: &Follower, accepted: &[AcceptedTip], joins: bool) -> Result<(), LogError> {
    let mut looks = tokio::time::interval(LOOK);
    loop {
        looks.tick().await;
        if world.recovery().held().is_empty() {
            continue;
        }
        let (began, heard) = (Instant::now(), Arc::new(Mutex::new(Heard::default())));
        let marked: BTreeSet<Address> = world.log().recovering()?.into_iter().flat_map(|(_, marked)| marked).collect();
        let mut asked: BTreeSet<Address> = BTreeSet::new();
        let mut told = false;
        // Until none is left; one that comes later begins from the start.
        loop {
            looks.tick().await;
            let held = world.recovery().all();
            if held.is_empty() {
                break;
            }
            let known = followers(world, &marked);
            for unit in &known {
                if let Some(peer) = reached(world, unit)
                    && asked.insert(*unit)
                {
                    tokio::spawn(ask(world.clone(), follower.clone(), (*unit, peer), heard.clone()));
                }
            }
            let (answered, claims) = {
                let heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
                (heard.answered.clone(), heard.claims.clone())
            };
            // Who did not answer is asked again when it is reached again.
            asked.retain(|unit| answered.contains(unit) || reached(world, unit).is_some());
            let missing: Vec<Address> = known.iter().filter(|unit| !answered.contains(unit)).copied().collect();
            let nobody = joins && answered.is_empty();
            for (process, _) in &held {
                let tip = world.log().tip(process)?.map(|tip| tip.slot);
                let behind = claims.get(process).is_some_and(|claim| tip.is_none_or(|tip| tip < *claim));
                if behind && began.elapsed() < CLAIM_LIMIT.max(ACCEPTED_LIMIT) {
                    continue;
                }
                let accepts = |accepted: &&AcceptedTip| match accepted.process {
                    Some(named) => named == *process,
                    None => held.len() == 1,
                };
                let accept = accepted.iter().find(accepts);
                match accept {
                    _ if missing.is_empty() && !nobody => release(world, process, tip)?,
                    Some(accept) if began.elapsed() >= ACCEPTED_LIMIT && Some(accept.slot) == tip => {
                        warn!(%process, slot = accept.slot, "this tip is accepted: slots behind it that only a \
                              follower has who is gone are given again, which makes the process disputed");
                        release(world, process, tip)?;
                    }
                    _ if began.elapsed() < FOLLOWERS_LIMIT && accept.is_none() => {}
                    _ => {
                        let cause = why(&missing, tip, accept);
                        if !told {
                            warn!(%process, %cause, "nothing of it is scheduled");
                        }
                        world.recovery().held().entry(*process).and_modify(|why| *why = cause);
                    }
                }
            }
            told |= began.elapsed() >= FOLLOWERS_LIMIT;
        }
    }
}

fn why(missing: &[Address], tip: Option<u64>, accept: Option<&AcceptedTip>) -> String {
    let tip = tip.map_or_else(|| "none".to_string(), |tip| tip.to_string());
    let names: Vec<String> = missing.iter().map(Address::to_string).collect();
    let who = match names.is_empty() {
        true => "no peer is reached".to_string(),
        false => format!("{} can't be reached", names.join(", ")),
    };
    let said = accept.map(|accept| format!(" It was told to accept tip {}, which it is not.", accept.slot));
    format!(
        "its log was lost, and {who}: slots that only they have would be given twice. The highest slot that is known is \
         {tip}; bring them back, or start this scheduler with --accept-tip {tip}.{}",
        said.unwrap_or_default()
    )
}

fn release(world: &World, process: &Id, tip: Option<u64>) -> Result<(), LogError> {
    world.log().recovered(process)?;
    world.recovery().held().remove(process);
    info!(%process, ?tip, "its log is back: it goes on behind this slot");
    Ok(())
}

/// Everybody who may have followed: the network's members, those that announced themselves, and those that were known
/// when the log was mirrored last.
fn followers(world: &World, marked: &BTreeSet<Address>) -> BTreeSet<Address> {
    let network = world.network();
    let members = [&network.schedulers, &network.messengers, &network.compute_units];
    let mut known: BTreeSet<Address> = members.into_iter().flatten().copied().collect();
    known.extend(network.dev_chain);
    known.extend(world.net().directory().units().iter().map(|unit| unit.address));
    known.extend(marked);
    known.remove(&world.address());
    known
}

fn reached(world: &World, unit: &Address) -> Option<PeerId> {
    let directory = world.net().directory();
    directory.unit(unit).map(|unit| unit.peer).filter(|peer| directory.is_connected(peer))
}

/// Asks one follower for its tips of what is held.
async fn ask(world: World, follower: Follower, (unit, peer): (Address, PeerId), heard: Arc<Mutex<Heard>>) {
    let mut after = None;
    for _ in 0..MAX_TIP_PAGES {
        let Ok(Response::Tips(tips)) = world.net().request(&peer, &Request::Tips { after }).await else { return };
        let last = tips.last().map(|tip| tip.process);
        for TipBytes { process, slot, epoch } in tips {
            let ours = world.log().process(&process).ok().flatten().map_or(0, |known| known.epoch());
            if world.recovery().holds(&process).is_none() || epoch < ours {
                continue;
            }
            follower.claim(peer.clone(), process, slot);
            let mut heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
            heard.claims.entry(process).and_modify(|claim| *claim = slot.max(*claim)).or_insert(slot);
        }
        // Pages go upwards, to one that is empty.
        if last.is_none() || last <= after {
            break;
        }
        after = last;
    }
    heard.lock().unwrap_or_else(PoisonError::into_inner).answered.insert(unit);
}
