//! The compute unit's driver: one task per process that has slots to evaluate, one worker per hot process. All of them
//! evaluate at once: the system shares the processors among workers, so that each process has its part and a slow one
//! delays nobody; the node's own threads go before them.
//!
//! An evaluation that takes too much processor time is tried again with ten times of it, one such at a time. If that is
//! not enough the process is *stalled at slot n*: never an outcome, as that may not depend on how fast a machine is.

mod data;
mod evaluate;
mod join;
mod program;
mod record;
mod resume;
mod room;
mod stall;

pub(super) use join::{Fetched, fetch_checkpoint};
pub use room::half_of_memory;
pub use stall::Stalled;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ao_protocol::backoff::Backoff;
use ao_protocol::compute;
use ao_protocol::evidence::disputed_from;
use ao_protocol::id::Id;
use ao_protocol::log::{Log, LogError};
use ao_protocol::message::Message;
use ao_protocol::outcome::Outcome;
use tokio::sync::{Mutex as AsyncMutex, Notify, Semaphore, broadcast, oneshot};
use tracing::{debug, warn};

use super::attestations::judge_checkpoints;
use super::dry_run::{Answers, DryRun, DryRunError, DryRuns, Question, View};
use super::repair::Follower;
use super::room::MIN_FREE_BYTES_TO_FOLLOW;
use super::{Change, World};
use crate::vm::{Launcher, Worker};
use evaluate::grown;
use room::{MAX_WORKERS, Room};
use stall::Stall;

/// How long a worker without work is kept.
const IDLE: Duration = Duration::from_secs(60);
/// Most slots that are sent to a worker at once.
const MAX_BATCH: usize = compute::MAX_SLOTS_PER_ATTESTATION as usize;
/// First wait before a process that could not be computed is tried again, in milliseconds.
const FIRST_RETRY_MS: u64 = 1000;
/// Longest wait, in milliseconds: each try may replay much.
const LAST_RETRY_MS: u64 = 5 * 60 * 1000;
/// Wait before a slot that took too long, also with patience, is tried again.
const STUCK_RETRY: Duration = Duration::from_secs(60 * 60);
/// Why a process stands still for which data has to go that it reads.
const TOO_LITTLE_ROOM: &str = "it reads more data at once than this node keeps (--data-bytes)";

/// Evaluates what this node follows, until the log fails. A handle; cloning is cheap.
#[derive(Clone)]
pub struct Computer(Arc<Inner>);

struct Inner {
    world: World,
    launcher: Launcher,
    room: Arc<Room>,
    /// Held by the one evaluation that is given more time.
    patience: AsyncMutex<()>,
    tasks: Mutex<BTreeMap<Id, Arc<Task>>>,
    stalled: Mutex<BTreeMap<Id, Stalled>>,
    /// Takes on checkpoints; none: every slot is evaluated here.
    join: Option<Follower>,
    /// Processes whose checkpoints could not be used: all of them is evaluated.
    unjoined: Mutex<BTreeSet<Id>>,
    /// Held by who fetches a checkpoint.
    joining: Semaphore,
}

/// What the task of one process listens to.
#[derive(Default)]
struct Task {
    /// Told of new slots and dry-runs.
    news: Notify,
    dry_runs: DryRuns,
    /// Of dry-runs of the newest state. Used by one at a time.
    answers: AsyncMutex<Answers>,
    /// What the last worker's heap had grown to when it had to give up its place.
    heap_bytes: AtomicU64,
    /// How often slots had been taken back when the answers were given.
    rewinds: AtomicU64,
}

/// What came of looking for a question.
enum Asked {
    Nothing,
    Answered,
    /// The worker did not survive it.
    Lost,
}

impl Computer {
    /// A computer that evaluates nothing yet.
    ///
    /// Its workers hold at most so many bytes of memory together. With `join` it begins with checkpoints of others
    /// where it is far behind.
    pub fn new(world: World, launcher: Launcher, workers_memory: u64, join: Option<Follower>) -> Computer {
        launcher.warm_up();
        Computer(Arc::new(Inner {
            world,
            launcher,
            room: Room::new(MAX_WORKERS, workers_memory),
            patience: AsyncMutex::new(()),
            tasks: Mutex::default(),
            stalled: Mutex::default(),
            join,
            unjoined: Mutex::default(),
            joining: Semaphore::new(join::MAX_JOINING),
        }))
    }

    /// Why a process is not computed here, if it is not.
    pub fn stalled(&self, process: &Id) -> Option<Stalled> {
        self.0.stalled.lock().unwrap_or_else(PoisonError::into_inner).get(process).cloned()
    }

    /// Processes that are followed by a task, and those of them that can't be computed for now.
    pub fn counts(&self) -> (usize, usize) {
        let tasks = self.0.tasks.lock().unwrap_or_else(PoisonError::into_inner).len();
        (tasks, self.0.stalled.lock().unwrap_or_else(PoisonError::into_inner).len())
    }

    fn stall(&self, process: &Id, why: Option<Stalled>) {
        let mut stalled = self.0.stalled.lock().unwrap_or_else(PoisonError::into_inner);
        match why {
            Some(why) => drop(stalled.insert(*process, why)),
            None => drop(stalled.remove(process)),
        }
    }

    /// Evaluates a message on the state of a process as it is after its newest slot in this log, and keeps nothing.
    /// Its time and height become those of the last evaluated slot.
    pub async fn dry_run(&self, process: &Id, message: Message) -> Result<Outcome, DryRunError> {
        self.ask(process, |answer| Question::Evaluate(Box::new(message), answer)).await
    }

    /// The variables of a process as they are after its newest slot in this log, or the one with this name.
    pub async fn view(&self, process: &Id, name: Option<String>) -> Result<View, DryRunError> {
        self.ask(process, |answer| Question::View(name, answer)).await
    }

    async fn ask<T>(
        &self,
        process: &Id,
        question: impl FnOnce(oneshot::Sender<Result<T, DryRunError>>) -> Question,
    ) -> Result<T, DryRunError> {
        if let Some(stalled) = self.stalled(process) {
            return Err(DryRunError::NotComputed(stalled.reason));
        }
        let tip = self.0.world.log().tip(process).map_err(|cause| DryRunError::NotComputed(cause.to_string()))?;
        let tip = tip.ok_or_else(|| DryRunError::NotComputed("its first slot is missing".into()))?.slot;
        // What is disputed is not evaluated: the state is that before it.
        let disputed = disputed_from(self.0.world.log(), process);
        let disputed = disputed.map_err(|cause| DryRunError::NotComputed(cause.to_string()))?;
        let after = disputed.map_or(tip, |from| tip.min(from.saturating_sub(1)));
        let (answer, answered) = oneshot::channel();
        self.wake(*process, Some(DryRun { after, question: question(answer) }));
        answered.await.map_err(|_| DryRunError::CutOff("the node is stopping".into()))?
    }

    /// Follows the log.
    pub async fn run(self) {
        let world = self.0.world.clone();
        let mut changes = world.changes();
        if let Err(cause) = self.wake_all() {
            return world.fail(&cause);
        }
        loop {
            match changes.recv().await {
                Ok(Change::Entry { process, .. } | Change::Branches { process }) => self.wake(process, None),
                Ok(_) => {}
                Err(broadcast::error::RecvError::Lagged(_)) => {
                    if let Err(cause) = self.wake_all() {
                        return world.fail(&cause);
                    }
                }
                Err(broadcast::error::RecvError::Closed) => return,
            }
        }
    }

    fn wake_all(&self) -> Result<(), LogError> {
        let log = self.0.world.log();
        for process in self.0.world.processes()? {
            if log.computed(&process)?.map(|computed| computed.slot) < log.tip(&process)?.map(|tip| tip.slot) {
                self.wake(process, None);
            }
        }
        Ok(())
    }

    /// Makes sure that a task looks at this process.
    fn wake(&self, process: Id, dry_run: Option<DryRun>) {
        let mut tasks = self.0.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        let known = tasks.get(&process).cloned();
        let task = known.clone().unwrap_or_default();
        if let Some(dry_run) = dry_run {
            task.dry_runs.push(dry_run);
        }
        task.news.notify_one();
        if known.is_none() {
            tasks.insert(process, task.clone());
            drop(tasks);
            tokio::spawn(self.clone().follow(process, task));
        }
    }

    /// Computes one process until nothing happened for a while.
    async fn follow(self, process: Id, task: Arc<Task>) {
        let mut backoff = Backoff::new(FIRST_RETRY_MS, LAST_RETRY_MS);
        // Up to this slot one at a time is evaluated, with patience.
        let mut slow = None;
        // Data that was fetched since something was computed.
        let mut lacked = BTreeSet::new();
        loop {
            let mut computed = self.compute(&process, &task, slow).await;
            if let Err(Stall::Missing(named)) = computed {
                computed = match self.wait_for_data(&process, &task, named).await {
                    Ok(()) if lacked.insert(named) => continue,
                    // It came, and had to go again for other data that is read with it.
                    Ok(()) => Err(Stall::Reason(TOO_LITTLE_ROOM.into())),
                    Err(cause) => Err(cause),
                };
                lacked.insert(named);
            }
            let is_about_data = !std::mem::take(&mut lacked).is_empty();
            let stalled = match computed {
                Ok(()) => None,
                Err(Stall::Log(LogError::Full(cause))) => {
                    warn!(%process, %cause, "nothing is computed without room on the disk");
                    self.stall(&process, Some(Stall::Reason(cause).shown()));
                    self.0.world.changed(Change::Stalled { process });
                    self.0.world.wait_for_room(MIN_FREE_BYTES_TO_FOLLOW).await;
                    tokio::time::sleep(Duration::from_millis(FIRST_RETRY_MS)).await;
                    continue;
                }
                Err(Stall::TakenBack) => continue,
                Err(Stall::Log(cause)) => return self.0.world.fail(&cause),
                Err(Stall::Overrun { first, last, patiently: false, seconds }) => {
                    warn!(%process, first, last, seconds, "an evaluation takes too long; it is given more time");
                    slow = Some(last);
                    continue;
                }
                Err(other) => Some(other.shown()),
            };
            match stalled {
                None => {
                    backoff.reset();
                    self.stall(&process, None);
                    match self.0.world.log().computed(&process) {
                        Ok(computed) => {
                            slow = slow.filter(|slow| computed.is_none_or(|computed| computed.slot < *slow))
                        }
                        Err(cause) => return self.0.world.fail(&cause),
                    }
                }
                Some(stalled) => {
                    let reason = &stalled.reason;
                    warn!(%process, %reason, "a process is not computed here");
                    let cause = DryRunError::NotComputed(reason.clone());
                    self.stall(&process, Some(stalled));
                    task.dry_runs.fail(&cause);
                    // Whoever waits for a result is told.
                    self.0.world.changed(Change::Stalled { process });
                    // Time may bring what is missing. New slots do not, and anybody can make them come fast.
                    let wait = Duration::from_millis(backoff.next_ms());
                    tokio::time::sleep(if slow.is_some() && !is_about_data { STUCK_RETRY } else { wait }).await;
                    continue;
                }
            }
            let mut tasks = self.0.tasks.lock().unwrap_or_else(PoisonError::into_inner);
            // News that came after the last look keep the task going.
            match compute::next(self.0.world.log(), &process, 1) {
                Ok(jobs) if jobs.is_empty() && task.dry_runs.is_empty() => {
                    tasks.remove(&process);
                    return;
                }
                Ok(_) => {}
                Err(cause) => return self.0.world.fail(&cause),
            }
        }
    }

    /// Starts a worker, brings it to where the outcomes end, and goes on from there until it is idle.
    async fn compute(&self, process: &Id, task: &Task, slow: Option<u64>) -> Result<(), Stall> {
        let log = self.0.world.log();
        self.join(process).await?;
        if compute::next(log, process, 1)?.is_empty() && task.dry_runs.is_empty() {
            return Ok(());
        }
        let rewinds = self.rewinds(process)?;
        if task.rewinds.swap(rewinds, Ordering::Relaxed) != rewinds {
            *task.answers.lock().await = Answers::default();
        }
        let program = self.program(process).await?;
        // Waited for before there is a place: nobody else's work waits meanwhile.
        let mut patience = match slow {
            Some(_) => Some(self.0.patience.lock().await),
            None => None,
        };
        let mut place = self.0.room.clone().take(task.heap_bytes.load(Ordering::Relaxed)).await;
        let mut worker = Worker::start(&self.0.launcher, &program).await?;
        worker.grant(place.granted());
        let Some(mut pause) = grown(self.bring_up(process, &mut worker, rewinds).await, task, &place)? else {
            return Ok(());
        };
        let mut batch = 1;
        loop {
            if !place.is_kept(worker.heap_bytes()) {
                debug!(%process, heap = worker.heap_bytes(), "a worker gives up its place for others");
                task.heap_bytes.store(worker.heap_bytes(), Ordering::Relaxed);
                return Ok(());
            }
            worker.grant(place.granted());
            if self.rewinds(process)? != rewinds {
                // What this worker holds is no state of the process any more.
                return Ok(());
            }
            // One between slots: neither waits for all of the others.
            let asked = match self.dry_run_of(process, task, &mut worker).await? {
                Asked::Nothing => false,
                Asked::Answered => true,
                // The worker is of no use any more. The next look at the process starts another one.
                Asked::Lost => return Ok(()),
            };
            let jobs = compute::next(log, process, batch)?;
            let Some(first) = jobs.first() else {
                if asked {
                    continue;
                }
                tokio::select! {
                    () = task.news.notified() => continue,
                    () = tokio::time::sleep(IDLE) => self.save(process, &mut worker, rewinds).await?,
                    () = self.0.room.wanted() => {}
                }
                return Ok(());
            };
            if let Some(slot) = pause.take()
                && !self.confirm(process, slot, first.message.timestamp)?
            {
                return Ok(());
            }
            if let Some(cause) = self.0.world.lack_of_room(MIN_FREE_BYTES_TO_FOLLOW) {
                return Err(LogError::Full(cause).into());
            }
            let patiently = slow.is_some_and(|slow| first.slot <= slow);
            if !patiently {
                drop(patience.take());
            }
            let evaluated = self.evaluate_with_data(process, &jobs, &mut worker, patiently, rewinds).await;
            let Some(outcomes) = grown(evaluated, task, &place)? else { return Ok(()) };
            // After an error the worker starts over from what went well: one slot at a time, then more again.
            let clean = outcomes.iter().all(|outcome| outcome.error.is_none());
            batch = if clean { (batch * 2).min(MAX_BATCH) } else { 1 };
            if !self.record(jobs, outcomes, rewinds)? || !self.keep_rebuilt(process, &mut worker, rewinds)? {
                // Slots were taken back: what this worker holds is no state of the process any more.
                return Ok(());
            }
            self.stall(process, None);
        }
    }

    /// Answers a question that waits for no further slot.
    async fn dry_run_of(&self, process: &Id, task: &Task, worker: &mut Worker) -> Result<Asked, Stall> {
        let log = self.0.world.log();
        let Some(computed) = log.computed(process)? else { return Ok(Asked::Nothing) };
        let Some(question) = task.dry_runs.ready(computed.slot) else { return Ok(Asked::Nothing) };
        let Some(last) = log.entry(process, computed.slot)? else { return Ok(Asked::Nothing) };
        let last = compute::message(log, &last)?;
        let mut answers = task.answers.lock().await;
        match question.ask(worker, &mut answers, computed.slot, &last).await {
            Ok(missing) => {
                missing.into_iter().for_each(|named| self.fetch_aside(process, named));
                Ok(Asked::Answered)
            }
            Err(cause) => {
                debug!(%process, %cause, "a question ended its worker");
                Ok(Asked::Lost)
            }
        }
    }
}
