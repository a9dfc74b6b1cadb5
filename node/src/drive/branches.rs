//! Where a scheduler gave slots twice, or an owner resumed a process: finds where branches part, hears of resumes, and
//! brings this node's log to the branch on which a process goes on.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use ao_protocol::assignment::Assignment;
use ao_protocol::branch::{Compared, Trace, Traced, first_difference, take_on};
use ao_protocol::evidence::{self, disputed_from};
use ao_protocol::id::Id;
use ao_protocol::item::VerifiedItem;
use ao_protocol::log::{Batch, Durability, Log, LogError};
use ao_protocol::resume::{self, NoResume, Resume, unsettled};
use ao_protocol::wire::{EntryBytes, Gossip, ItemBytes, Request, Response, shard};
use tokio::sync::broadcast::error::RecvError;
use tracing::{debug, info, warn};

use super::repair::Follower;
use super::{Change, World};
use crate::net::PeerId;

/// Time between two looks at processes that are not settled.
const LOOK: Duration = Duration::from_secs(2);
/// Shortest time between two resumes of one process: each may make much work. What comes sooner is heard of again.
const BETWEEN_RESUMES: Duration = Duration::from_secs(1);
/// Most processes whose last resumes are remembered.
const MAX_RESUMED: usize = 10_000;
/// How long one peer may take for one branch.
const PEER_LIMIT: Duration = Duration::from_secs(20);
/// Peers that are asked for resumes at once.
pub(super) const MAX_ASKED: usize = 8;
/// Assignments that are compared at once.
const COMPARED: u32 = 128;
/// Most requests for one branch of one peer.
const MAX_PAGES: usize = 1000;

/// What became of a resume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TakenUp {
    /// It counts from now on.
    New,
    /// It was known, or a later one counts.
    Known,
    /// It does not count here.
    Refused(String),
    /// Whether it counts can't be told here.
    Unknown(String),
    /// The process was resumed a moment ago.
    TooSoon,
}

/// When processes were resumed here.
#[derive(Debug, Default)]
pub struct Resumed(Mutex<HashMap<Id, Instant>>);

impl Resumed {
    /// Whether a process may be resumed now; then it was.
    fn may(&self, process: Id) -> bool {
        let mut resumed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if resumed.len() >= MAX_RESUMED {
            resumed.retain(|_, at| at.elapsed() < BETWEEN_RESUMES);
        }
        let may = resumed.get(&process).is_none_or(|at| at.elapsed() >= BETWEEN_RESUMES);
        if may && resumed.len() < MAX_RESUMED {
            resumed.insert(process, Instant::now());
        }
        may
    }
}

/// Verifies a resume and follows it; tells others when it is new.
pub async fn take(world: &World, follower: &Follower, bytes: ItemBytes) -> Result<TakenUp, LogError> {
    take_all(world, follower, vec![bytes]).await
}

/// The same of several of one process, in the order of their slots; what became of the last one.
async fn take_all(world: &World, follower: &Follower, all: Vec<ItemBytes>) -> Result<TakenUp, LogError> {
    let mut resumes = Vec::with_capacity(all.len());
    for bytes in all {
        let item = match world.verified().verify_or_say(bytes).await {
            Ok(item) => item,
            Err(cause) => return Ok(TakenUp::Refused(cause)),
        };
        match Resume::read(item) {
            Ok(resume) => resumes.push(resume),
            Err(cause) => return Ok(TakenUp::Refused(cause.to_string())),
        }
    }
    let taken = follower.alone(move |world| take_alone(world, resumes)).await;
    taken.unwrap_or(Ok(TakenUp::Known))
}

fn take_alone(world: &World, resumes: Vec<Resume>) -> Result<TakenUp, LogError> {
    let rewinds = world.log().rewinds();
    let _writing = rewinds.write().unwrap_or_else(PoisonError::into_inner);
    let (mut taken, mut may) = (TakenUp::Known, false);
    for resume in resumes {
        let (process, slot, scheduler) = (resume.process, resume.slot, resume.scheduler);
        let bytes = ItemBytes(resume.item.bytes().to_vec());
        taken = match resume::accept(world.log(), resume)? {
            // Those that come together are one.
            Ok(Some(_)) if !may && !world.resumed().may(process) => return Ok(TakenUp::TooSoon),
            Ok(Some(batch)) => {
                may = true;
                info!(%process, slot, %scheduler, "its owner resumed a process");
                commit(world, &process, batch)?;
                spread(world, &process, Gossip::Resume(bytes));
                TakenUp::New
            }
            Ok(None) => TakenUp::Known,
            Err(cause @ (NoResume::Unknown(_) | NoResume::TooMany(_))) => TakenUp::Unknown(cause.to_string()),
            Err(cause) => TakenUp::Refused(cause.to_string()),
        };
    }
    Ok(taken)
}

fn commit(world: &World, process: &Id, batch: Batch) -> Result<(), LogError> {
    world.log().commit(batch, Durability::Synced)?;
    world.changed(Change::Branches { process: *process });
    Ok(())
}

/// Asks a peer how a process was resumed; whether that was news.
pub async fn ask(world: &World, follower: &Follower, peer: &PeerId, process: &Id) -> bool {
    // Anybody can say that there is something to be heard of.
    let Ok(_place) = world.asking().try_acquire() else { return false };
    let Ok(Response::Resumes(mut resumes)) = world.net().request(peer, &Request::Resumes(*process)).await else {
        return false;
    };
    resumes.truncate(resume::MAX_RESUMES);
    match take_all(world, follower, resumes).await {
        Ok(TakenUp::New) => true,
        Ok(other) => {
            debug!(%peer, %process, ?other, "resumes were asked for");
            false
        }
        Err(cause) => {
            world.fail(&cause);
            false
        }
    }
}

fn spread(world: &World, process: &Id, gossip: Gossip) {
    let (net, shard) = (world.net().clone(), shard(process));
    world.runtime().spawn(async move {
        if let Err(cause) = net.publish(shard, &gossip).await {
            debug!(%cause, "what is known of a branch was not gossiped");
        }
    });
}

/// Takes in evidence that a peer sent; none when it is not to be judged, or nothing new.
pub fn take_evidence(
    world: &World,
    pair: (EntryBytes, EntryBytes),
) -> Result<Result<bool, evidence::NoEvidence>, LogError> {
    let mut batch = Batch::new();
    let _steady = world.log().steady();
    match evidence::accept(world.log(), &mut batch, &pair)? {
        Ok(Some(found)) => {
            warn!(process = %found.process, slot = found.slot, "its scheduler gave this slot twice");
            commit(world, &found.process, batch)?;
            Ok(Ok(true))
        }
        Ok(None) => Ok(Ok(false)),
        Err(cause) => Ok(Err(cause)),
    }
}

/// Looks after processes that are disputed or not settled, until the log fails.
pub async fn run(world: World, follower: Follower) {
    while world.goes_on(watch(&world, &follower).await).await {}
}

async fn watch(world: &World, follower: &Follower) -> Result<(), LogError> {
    let mut changes = world.changes();
    let everything = || -> Result<BTreeSet<Id>, LogError> {
        let mut open = BTreeSet::new();
        for process in world.processes()? {
            if disputed_from(world.log(), &process)?.is_some() {
                open.insert(process);
            }
        }
        Ok(open)
    };
    let mut open = everything()?;
    let mut looks = tokio::time::interval(LOOK);
    loop {
        tokio::select! {
            change = changes.recv() => match change {
                Ok(Change::Branches { process }) => {
                    open.insert(process);
                    looks.reset_immediately();
                }
                Ok(_) => {}
                Err(RecvError::Lagged(_)) => open = everything()?,
                Err(RecvError::Closed) => return Ok(()),
            },
            _ = looks.tick(), if !open.is_empty() => {
                for process in open.clone() {
                    if disputed_from(world.log(), &process)?.is_none() {
                        open.remove(&process);
                    } else {
                        look(world, follower, &process).await?;
                    }
                }
            }
        }
    }
}

async fn look(world: &World, follower: &Follower, id: &Id) -> Result<(), LogError> {
    let log = world.log();
    let Some(process) = log.process(id)? else { return Ok(()) };
    let evidence = log.evidence(id)?;
    let peers = world.net().directory().connected();
    if let Some(resume) = unsettled(log, &process)? {
        // Below the end of its branch a log may simply be on the way there.
        let next = log.tip(id)?.map_or(0, |tip| tip.slot + 1);
        let elsewhere = evidence.is_some() || log.entry(id, resume.slot)?.is_some();
        if !elsewhere && log.on_branch(id, next)?.is_none() {
            return Ok(());
        }
        for peer in &peers {
            let followed = tokio::time::timeout(PEER_LIMIT, follow(world, follower, resume, peer)).await;
            if followed.unwrap_or(Ok(false))? {
                return Ok(());
            }
        }
        return Ok(());
    }
    let Some((ours, theirs)) = evidence else { return Ok(()) };
    // Where both continue the same slot it is the first that differs.
    if parted_before(&ours, &theirs) {
        for peer in &peers {
            tokio::time::timeout(PEER_LIMIT, find_first(world, id, peer)).await.unwrap_or(Ok(()))?;
        }
    }
    Ok(())
}

/// Whether two assignments of one slot continue different ones.
fn parted_before(ours: &EntryBytes, theirs: &EntryBytes) -> bool {
    let link = |bytes: &EntryBytes| {
        let item = VerifiedItem::from_own_store(bytes.assignment.0.clone()).ok()?;
        Some(Assignment::read(item).ok()?.statement.hash_chain)
    };
    link(ours) != link(theirs)
}

/// Follows the branch that a resume names down to where this log left it, and takes it on.
async fn follow(world: &World, follower: &Follower, resume: &Resume, peer: &PeerId) -> Result<bool, LogError> {
    let mut trace = Trace::of(resume);
    let mut below = resume.slot + 1;
    for _ in 0..MAX_PAGES {
        let request = Request::Below { process: resume.process, below, most: u32::MAX, bare: true };
        let Ok(Response::Range(entries)) = world.net().request(peer, &request).await else { return Ok(false) };
        if entries.is_empty() {
            return Ok(false);
        }
        match trace.take(world.log(), &entries)? {
            Ok(Traced::Below(next)) => below = next,
            Ok(joined) => {
                let (resume, process, end) = (resume.clone(), resume.process, resume.slot);
                let done = follower.alone(move |world| take_on_alone(world, &resume, joined)).await;
                done.unwrap_or(Ok(()))?;
                follower.claim(peer.clone(), process, end);
                return Ok(true);
            }
            Err(cause) => {
                debug!(%peer, process = %resume.process, %cause, "a branch could not be followed");
                return Ok(false);
            }
        }
    }
    Ok(false)
}

fn take_on_alone(world: &World, resume: &Resume, traced: Traced) -> Result<(), LogError> {
    let rewinds = world.log().rewinds();
    let _writing = rewinds.write().unwrap_or_else(PoisonError::into_inner);
    match take_on(world.log(), resume, traced)? {
        Some(batch) => {
            info!(process = %resume.process, slot = resume.slot, "another branch of a process is taken on");
            commit(world, &resume.process, batch)
        }
        None => Ok(()),
    }
}

/// Looks for the first slot of a process that a peer has otherwise.
async fn find_first(world: &World, process: &Id, peer: &PeerId) -> Result<(), LogError> {
    let Some(mut below) = disputed_from(world.log(), process)? else { return Ok(()) };
    for _ in 0..MAX_PAGES {
        let request = Request::Below { process: *process, below, most: COMPARED, bare: true };
        let Ok(Response::Range(entries)) = world.net().request(peer, &request).await else { return Ok(()) };
        if entries.is_empty() {
            return Ok(());
        }
        let _steady = world.log().steady();
        match first_difference(world.log(), process, &entries)? {
            Ok(Compared { evidence, below: next }) => {
                if let Some(found) = evidence {
                    let mut batch = Batch::new();
                    batch.push(found);
                    commit(world, process, batch)?;
                    if let Some((ours, theirs)) = world.log().evidence(process)? {
                        spread(world, process, Gossip::Evidence(ours, theirs));
                    }
                }
                match next {
                    Some(next) => below = next,
                    None => return Ok(()),
                }
            }
            Err(cause) => {
                debug!(%peer, %process, %cause, "a branch could not be compared");
                return Ok(());
            }
        }
    }
    Ok(())
}
