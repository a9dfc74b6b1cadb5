//! The follower's driver: takes in entries from gossip and from peers' answers, in one thread and in order, and asks
//! for what is missing.

use std::time::Duration;

use ao_protocol::announcement::Role;
use ao_protocol::assignment::{Assignment, Statement};
use ao_protocol::entry::{Entry, EntryError};
use ao_protocol::id::Id;
use ao_protocol::log::{Batch, Durability, Log, LogError};
use ao_protocol::repair::{Accepted, Fetch, Repair, WrongEntry, accept};
use ao_protocol::resume::Resume;
use ao_protocol::wire::{EntryBytes, Gossip, Request, Response, TipBytes, shard};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tracing::{debug, warn};

use super::{Change, World, branches, now_ms, recover, room};
use crate::net::{PeerId, Verdict};

/// Most groups of entries that wait to be checked.
const QUEUE: usize = 1024;
/// Most groups in one commit.
const MAX_BATCH: usize = 64;
/// How often tips are compared with some peer, though nothing was heard.
const COMPARE: Duration = Duration::from_secs(5);
/// Most pages of tips that are asked of one peer in one go: a peer that makes up processes does not hold this up.
const MAX_TIP_PAGES: usize = 1000;
/// Longest time that one comparison may take.
const COMPARISON_LIMIT: Duration = Duration::from_secs(60);
/// Shortest time between two looks at what is to be fetched.
const TICK: Duration = Duration::from_millis(100);

/// What became of a group of entries.
#[derive(Clone, Debug)]
pub struct Taken {
    /// How gossip goes on with it.
    pub verdict: Verdict,
    /// How many were new.
    pub new: usize,
    /// Process and slot that the sender has beyond what could be taken in.
    pub beyond: Option<(Id, u64)>,
    /// A slot that the scheduler signed, and that does not continue what this node has: the sender follows another
    /// branch, so what it has of the slot before is evidence.
    pub forked: Option<(Id, u64)>,
    /// A process that its owner resumed, which this node has not heard yet.
    pub unresumed: Option<Id>,
}

struct Group {
    entries: Vec<EntryBytes>,
    answer: oneshot::Sender<Taken>,
}

/// What the thread does.
enum Task {
    /// Takes in entries.
    TakeIn(Group),
    /// Something that must not happen while entries are taken in.
    Alone(Box<dyn FnOnce(&World) + Send>),
}

/// A handle to the thread that takes in entries. Cloning is cheap.
#[derive(Clone)]
pub struct Follower {
    tasks: mpsc::Sender<Task>,
    claims: mpsc::Sender<Claim>,
}

/// What was heard of a peer.
enum Claim {
    /// It has a process up to a slot.
    Has(PeerId, Id, u64),
    /// It is gone.
    Gone(PeerId),
}

impl Follower {
    /// Starts the thread, and the task that asks for what is missing.
    pub fn start(world: World) -> std::io::Result<Follower> {
        let (tasks, queue) = mpsc::channel(QUEUE);
        let (claims, claimed) = mpsc::channel(QUEUE);
        let follower = Follower { tasks, claims };
        let (follows, runtime) = (world.clone(), Handle::current());
        std::thread::Builder::new().name("follower".into()).spawn(move || take_in(queue, &follows, &runtime))?;
        let repairs = follower.clone();
        tokio::spawn(async move {
            if let Err(cause) = repair(&world, repairs, claimed).await {
                world.fail(&cause);
            }
        });
        Ok(follower)
    }

    /// Verifies entries of one process and appends what fits. None when too much waits already: repair fetches it
    /// later.
    pub async fn take(&self, entries: Vec<EntryBytes>) -> Option<Taken> {
        let (answer, taken) = oneshot::channel();
        self.tasks.try_send(Task::TakeIn(Group { entries, answer })).ok()?;
        taken.await.ok()
    }

    /// As [`Follower::take`], but waits for room.
    async fn take_patiently(&self, entries: Vec<EntryBytes>) -> Option<Taken> {
        let (answer, taken) = oneshot::channel();
        self.tasks.send(Task::TakeIn(Group { entries, answer })).await.ok()?;
        taken.await.ok()
    }

    /// Does something with the log while no entries are taken in. None when the node is stopping.
    pub async fn alone<T: Send + 'static>(&self, work: impl FnOnce(&World) -> T + Send + 'static) -> Option<T> {
        let (answer, done) = oneshot::channel();
        let task = Task::Alone(Box::new(move |world| drop(answer.send(work(world)))));
        self.tasks.send(task).await.ok()?;
        done.await.ok()
    }

    /// A peer has a process up to a slot.
    pub fn claim(&self, peer: PeerId, process: Id, slot: u64) {
        // Lost when too many wait: tips are compared again.
        let _ = self.claims.try_send(Claim::Has(peer, process, slot));
    }

    /// A peer is gone: what it claimed to have can't be asked of it.
    pub fn gone(&self, peer: PeerId) {
        let _ = self.claims.try_send(Claim::Gone(peer));
    }
}

fn take_in(mut queue: mpsc::Receiver<Task>, world: &World, runtime: &Handle) {
    while let Some(first) = queue.blocking_recv() {
        let (mut groups, mut alone) = (Vec::new(), None);
        let mut next = Some(first);
        while let Some(task) = next.take() {
            match task {
                Task::TakeIn(group) => groups.push(group),
                Task::Alone(work) => alone = Some(work),
            }
            if alone.is_none() && groups.len() < MAX_BATCH {
                next = queue.try_recv().ok();
            }
        }
        if !groups.is_empty() && !take_in_groups(groups, world, runtime) {
            return;
        }
        if let Some(work) = alone {
            work(world);
        }
    }
}

/// False when the log failed.
fn take_in_groups(groups: Vec<Group>, world: &World, runtime: &Handle) -> bool {
    // What is not taken in is asked for again; the senders see their channels closed.
    if world.lack_of_room(room::MIN_FREE_BYTES_TO_FOLLOW).is_some() {
        return true;
    }
    match take_in_batch(groups, world, runtime) {
        Ok(()) => {}
        Err(LogError::Full(cause)) => warn!(%cause, "entries of peers wait"),
        Err(cause) => {
            world.fail(&cause);
            return false;
        }
    }
    true
}

fn take_in_batch(groups: Vec<Group>, world: &World, runtime: &Handle) -> Result<(), LogError> {
    let mut batch = Batch::new();
    let mut answers = Vec::with_capacity(groups.len());
    let mut changes: Vec<(Id, u64)> = Vec::new();
    let mut durability = Durability::Relaxed;
    let mut disputed: Vec<Id> = Vec::new();
    for group in groups {
        let mut taken = Taken { verdict: Verdict::Accept, new: 0, beyond: None, forked: None, unresumed: None };
        for bytes in &group.entries {
            let entry = match Entry::verify_with(bytes, |item| world.verified().verify(item)) {
                Ok(entry) => entry,
                Err(EntryError::WithoutItem { process, slot }) => {
                    taken.verdict = judge_bare(world, &process, bytes)?;
                    taken.beyond = (taken.verdict != Verdict::Reject).then_some((process, slot));
                    break;
                }
                Err(cause) => {
                    debug!(%cause, "an entry was refused");
                    taken.verdict = Verdict::Reject;
                    break;
                }
            };
            let (process, slot) = (entry.process(), entry.slot());
            let own = world.plays(Role::Su) && entry.assignment.item.address() == world.address();
            match accept(world.log(), &mut batch, entry)? {
                Ok(Accepted::New) => {
                    if own {
                        recover::lost(world, &process, slot)?;
                    }
                    taken.new += 1;
                    changes.push((process, slot));
                }
                Ok(Accepted::Known) => {}
                // Who has it will hear of the resume, too.
                Ok(Accepted::Superseded) => {
                    taken.verdict = Verdict::Ignore;
                    break;
                }
                Ok(Accepted::Unresumed) => {
                    taken.verdict = Verdict::Ignore;
                    taken.unresumed = Some(process);
                    break;
                }
                Ok(Accepted::Ahead) => {
                    // Of a process that is not known here it can't be told whether its scheduler signed it.
                    if batch.tip(world.log(), &process)?.is_none() {
                        taken.verdict = Verdict::Ignore;
                    }
                    taken.beyond = Some((process, slot));
                    break;
                }
                Ok(Accepted::Evidence) => {
                    warn!(%process, slot, "its scheduler gave this slot twice: the process is disputed from there on");
                    durability = Durability::Synced;
                    disputed.push(process);
                }
                Err(WrongEntry::Chain { .. }) => {
                    taken.verdict = Verdict::Ignore;
                    taken.forked = Some((process, slot));
                    break;
                }
                Err(cause) => {
                    debug!(%cause, "an entry was refused");
                    taken.verdict = Verdict::Reject;
                    break;
                }
            }
        }
        answers.push((group.answer, taken));
    }
    if !batch.is_empty() {
        world.log().commit(batch, durability)?;
    }
    for (process, slot) in changes {
        world.changed(Change::Entry { process, slot });
        let settles = |resume: &Resume| resume.slot == slot;
        if world.log().process(&process)?.is_some_and(|process| process.resumes.last().is_some_and(settles)) {
            world.changed(Change::Branches { process });
        }
    }
    for process in disputed {
        world.changed(Change::Branches { process });
        if let Some((ours, theirs)) = world.log().evidence(&process)? {
            let (net, shard) = (world.net().clone(), shard(&process));
            runtime.spawn(async move {
                if let Err(cause) = net.publish(shard, &Gossip::Evidence(ours, theirs)).await {
                    debug!(%cause, "evidence was not gossiped");
                }
            });
        }
    }
    for (answer, taken) in answers {
        let _ = answer.send(taken);
    }
    Ok(())
}

/// What is to be thought of an assignment that came without its item.
fn judge_bare(world: &World, process: &Id, bytes: &EntryBytes) -> Result<Verdict, LogError> {
    let Some(known) = world.log().process(process)? else { return Ok(Verdict::Ignore) };
    let read = world.verified().verify(bytes.assignment.0.clone()).ok().and_then(|item| Assignment::read(item).ok());
    let Some(assignment) = read else { return Ok(Verdict::Reject) };
    let Statement { slot, epoch, .. } = assignment.statement;
    if epoch != known.epoch_at(slot) {
        // One of the two nodes has not heard of a resume.
        return Ok(Verdict::Ignore);
    }
    let signed = assignment.item.address() == known.scheduler_at(slot);
    Ok(if signed { Verdict::Accept } else { Verdict::Reject })
}

/// Asks for what is missing, until the log fails.
async fn repair(world: &World, follower: Follower, mut claimed: mpsc::Receiver<Claim>) -> Result<(), LogError> {
    let mut repair = Repair::<PeerId>::new();
    let (done, mut fetched) = mpsc::channel::<(Id, bool)>(QUEUE);
    let mut compare = tokio::time::interval(COMPARE);
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    let mut turn = 0usize;
    loop {
        tokio::select! {
            Some(claim) = claimed.recv() => match claim {
                Claim::Has(peer, process, slot) => repair.on_claim(world.log(), &peer, &process, slot)?,
                Claim::Gone(peer) => repair.on_disconnected(&peer),
            },
            Some((process, progress)) = fetched.recv() => match progress {
                true => repair.on_progress(&process),
                false => repair.on_failure(&process, now_ms()),
            },
            _ = compare.tick() => {
                let peers = world.net().directory().connected();
                if let Some(peer) = peers.get(turn % peers.len().max(1)) {
                    turn = turn.wrapping_add(1);
                    tokio::spawn(compare_tips(world.clone(), follower.clone(), peer.clone()));
                }
            }
            _ = tick.tick(), if repair.gaps() > 0 => {}
        }
        // What there is no room for is not fetched.
        if world.lack_of_room(room::MIN_FREE_BYTES_TO_FOLLOW).is_some() {
            tokio::time::sleep(TICK).await;
            continue;
        }
        for fetch in repair.fetches(world.log(), now_ms())? {
            let (world, follower, done) = (world.clone(), follower.clone(), done.clone());
            tokio::spawn(async move {
                let process = fetch.process;
                let progress = fetch_range(&world, &follower, fetch).await;
                let _ = done.send((process, progress)).await;
            });
        }
    }
}

/// Fetches one range; true when it brought something new.
async fn fetch_range(world: &World, follower: &Follower, fetch: Fetch<PeerId>) -> bool {
    let Fetch { peer, process, from } = fetch;
    match world.net().request(&peer, &Request::Range { process, from }).await {
        Ok(Response::Range(entries)) if !entries.is_empty() => {
            let Some(taken) = follower.take_patiently(entries).await else { return false };
            if let Some(process) = taken.unresumed
                && branches::ask(world, follower, &peer, &process).await
            {
                return true;
            }
            if let Some((process, slot)) = taken.forked {
                // Its slot before that one contradicts ours.
                let request = Request::Range { process, from: slot.saturating_sub(1) };
                if let Ok(Response::Range(entries)) = world.net().request(&peer, &request).await {
                    follower.take_patiently(entries).await;
                }
            }
            taken.new > 0
        }
        Ok(_) => false,
        Err(cause) => {
            debug!(%peer, %process, %cause, "a range could not be fetched");
            false
        }
    }
}

/// Asks a peer for all its tips and notes what it has beyond this node.
pub async fn compare_tips(world: World, follower: Follower, peer: PeerId) {
    let comparison = ask_for_tips(&world, &follower, peer);
    if tokio::time::timeout(COMPARISON_LIMIT, comparison).await.is_err() {
        debug!("comparing tips took too long; the rest is compared another time");
    }
}

async fn ask_for_tips(world: &World, follower: &Follower, peer: PeerId) {
    let mut after = None;
    for _ in 0..MAX_TIP_PAGES {
        let tips = match world.net().request(&peer, &Request::Tips { after }).await {
            Ok(Response::Tips(tips)) if !tips.is_empty() => tips,
            _ => return,
        };
        for TipBytes { process, slot, epoch } in tips.iter().filter(|tip| world.follows(&tip.process)) {
            let Ok(known) = world.log().process(process) else { return };
            let ours = known.map_or(0, |known| known.epoch());
            if *epoch > ours {
                branches::ask(world, follower, &peer, process).await;
            }
            // Who has not heard of a resume counts slots that are void.
            if *epoch >= ours {
                follower.claim(peer.clone(), *process, *slot);
            }
        }
        let last = tips.last().map(|tip| tip.process);
        // Pages go upwards; a peer that does not keep to it is not followed for ever.
        if last <= after {
            return;
        }
        after = last;
    }
}
