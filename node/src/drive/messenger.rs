//! The messenger's driver: turns the state machine's wishes into commits, lookups and submissions.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ao_protocol::assignment::Assignment;
use ao_protocol::id::Id;
use ao_protocol::item::VerifiedItem;
use ao_protocol::log::{Batch, Durability, Log, LogError, MAX_PAGE, Place, Write};
use ao_protocol::messenger::{MAX_OWN_BURST, Messenger, OWN_PER_SECOND, Retry, Submit};
use ao_protocol::scheduler::Refusal;
use ao_protocol::wallet::Signer;
use tokio::sync::{broadcast, mpsc};
use tracing::{debug, warn};

use super::adopt::ask_for_attestations;
use super::dead_letters::Redrive;
use super::lookup::{self, Found};
use super::retries::Waiting;
use super::submit::{SubmitError, Submitter};
use super::{Change, World, now_ms, room};

/// Longest time between two looks at the log: notices the end of another messenger's turn.
const IDLE: Duration = Duration::from_millis(250);
/// Most answers that wait to be taken in.
const ANSWERS: usize = 1024;

/// How long an answer that nobody knows a target is good, at least; twice as long at most.
const NOWHERE_TIME: Duration = Duration::from_secs(30);
/// Most such targets that are remembered.
const MAX_NOWHERE: usize = 10_000;

/// Where a submission got its slot, or why it got none.
type Placed = Result<Place, Refusal>;

/// What came back from work outside.
enum Answer {
    Receipts(Submit, Result<Vec<Placed>, SubmitError>),
    Found(Id, Result<Found, LogError>),
}

/// Delivers outboxes until the log fails.
pub async fn run(world: World, submitter: Submitter, mut redrives: mpsc::Receiver<Redrive>) {
    while world.goes_on(deliver(&world, &submitter, &mut redrives).await).await {}
}

async fn deliver(world: &World, submitter: &Submitter, redrives: &mut mpsc::Receiver<Redrive>) -> Result<(), LogError> {
    let signer: Arc<dyn Signer> = world.wallet().clone();
    let mut changes = world.changes();
    let mut messenger = Messenger::new();
    let (answers, mut answered) = mpsc::channel::<Answer>(ANSWERS);
    let mut nowhere = Nowhere::default();
    look_at_everything(world, &mut messenger)?;
    loop {
        if let Some(cause) = world.lack_of_room(room::MIN_FREE_BYTES_TO_FOLLOW) {
            return Err(LogError::Full(cause));
        }
        {
            let _steady = world.log().steady();
            let batch = messenger.expand(world.log(), &world.trust(), &*signer, now_ms())?;
            commit(world, batch, Durability::Synced)?;
        }
        for target in messenger.lookups(now_ms()) {
            if nowhere.holds(&target) && world.follows(&target) && world.log().item(&target)?.is_none() {
                let _steady = world.log().steady();
                let batch = messenger.on_lookup(world.log(), &target, None)?;
                commit(world, batch, Durability::Synced)?;
                continue;
            }
            let (world, answers) = (world.clone(), answers.clone());
            tokio::spawn(async move {
                let found = lookup::item(&world, &target).await;
                let _ = answers.send(Answer::Found(target, found)).await;
            });
        }
        let submits = {
            let _steady = world.log().steady();
            messenger.submissions(world.log(), &world.trust(), now_ms())?
        };
        for submit in submits {
            let (submitter, answers) = (submitter.clone(), answers.clone());
            tokio::spawn(async move {
                let receipts = submitter.submit(submit.scheduler, &submit.submissions).await;
                let places = receipts.map(|receipts| receipts.into_iter().map(place).collect());
                let _ = answers.send(Answer::Receipts(submit, places)).await;
            });
        }
        for (process, slot) in messenger.uncertified() {
            debug!(%process, slot, "what it sent waits for attestations");
            let world = world.clone();
            tokio::spawn(async move { ask_for_attestations(&world, &process, slot).await });
        }
        note_slowed(world, &mut messenger);
        {
            let _steady = world.log().steady();
            commit(world, messenger.settle(world.log())?, Durability::Relaxed)?;
        }

        let due = messenger.next_due_ms().map(|due| Duration::from_millis(due.saturating_sub(now_ms())));
        let wait = due.unwrap_or(IDLE).clamp(Duration::from_millis(1), IDLE);
        tokio::select! {
            change = changes.recv() => match change {
                Ok(Change::Outcome { process, .. } | Change::Branches { process }) => {
                    wake(world, &mut messenger, &process)?;
                }
                // It may be what was missing for enough units to agree.
                Ok(Change::Attestation { process, .. })
                    if world.log().process(&process)?.is_some_and(|process| process.compute_quorum > 1) =>
                {
                    wake(world, &mut messenger, &process)?;
                }
                Ok(Change::Entry { process, slot: 0 }) => messenger.revive(world.log(), &process)?,
                Ok(_) => {}
                Err(broadcast::error::RecvError::Lagged(_)) => look_at_everything(world, &mut messenger)?,
                Err(broadcast::error::RecvError::Closed) => return Ok(()),
            },
            Some(Redrive { letters, answer }) = redrives.recv() => {
                let driven = {
                    let _steady = world.log().steady();
                    let (batch, driven) = messenger.redrive(world.log(), &letters)?;
                    commit(world, batch, Durability::Synced)?;
                    driven
                };
                // Who asked may be gone; what they asked for is done all the same.
                let _ = answer.send(driven);
            }
            Some(answer) = answered.recv() => take_in(world, &mut messenger, &mut nowhere, answer, &*signer)?,
            () = tokio::time::sleep(wait) => {}
        }
        // What else has come in meanwhile is taken in at once.
        while let Ok(answer) = answered.try_recv() {
            take_in(world, &mut messenger, &mut nowhere, answer, &*signer)?;
        }
    }
}

fn wake(world: &World, messenger: &mut Messenger, process: &Id) -> Result<(), LogError> {
    let _steady = world.log().steady();
    messenger.wake(world.log(), &world.trust(), process, now_ms())
}

/// Wakes all processes, and what waits for targets that are processes by now.
fn look_at_everything(world: &World, messenger: &mut Messenger) -> Result<(), LogError> {
    for process in world.processes()? {
        wake(world, messenger, &process)?;
    }
    let mut last = None;
    loop {
        let targets = world.log().waited_for(last.as_ref(), MAX_PAGE)?;
        let Some(end) = targets.last() else { return Ok(()) };
        last = Some(*end);
        for target in targets {
            if world.log().tip(&target)?.is_some() {
                messenger.revive(world.log(), &target)?;
            }
        }
    }
}

/// Targets that nobody knew a moment ago. Much that processes send goes to wallets: peers need not be asked each time.
/// Should one become a process that this node follows, the log says so.
#[derive(Default)]
struct Nowhere {
    young: HashSet<Id>,
    old: HashSet<Id>,
    since: Option<Instant>,
}

impl Nowhere {
    fn holds(&mut self, target: &Id) -> bool {
        self.age();
        self.young.contains(target) || self.old.contains(target)
    }

    fn add(&mut self, target: Id) {
        self.age();
        if self.young.len() < MAX_NOWHERE {
            self.young.insert(target);
        }
    }

    /// After a while the young are the old, and the old are forgotten.
    fn age(&mut self) {
        let since = *self.since.get_or_insert_with(Instant::now);
        if since.elapsed() > NOWHERE_TIME {
            (self.old, self.since) = (std::mem::take(&mut self.young), None);
        }
    }
}

fn take_in(
    world: &World,
    messenger: &mut Messenger,
    nowhere: &mut Nowhere,
    answer: Answer,
    signer: &dyn Signer,
) -> Result<(), LogError> {
    let _steady = world.log().steady();
    match answer {
        Answer::Receipts(submit, Ok(receipts)) => {
            for refusal in receipts.iter().filter_map(|receipt| receipt.as_ref().err()) {
                debug!(%refusal, "an outbox entry was refused");
            }
            let batch = messenger.on_receipts(world.log(), &submit, &receipts, signer, now_ms())?;
            let temporary = |refusal: &&Refusal| refusal.is_temporary();
            let refusal = receipts.iter().filter_map(|receipt| receipt.as_ref().err()).find(temporary);
            note_retry(world, messenger, &submit, refusal.map_or_else(String::new, ToString::to_string));
            commit(world, batch, Durability::Synced)
        }
        Answer::Receipts(submit, Err(cause)) => {
            warn!(%cause, "an outbox entry waits");
            messenger.on_failure(&submit, now_ms());
            note_retry(world, messenger, &submit, cause.to_string());
            Ok(())
        }
        Answer::Found(target, Ok(Found::Item(item))) => {
            let batch = messenger.on_lookup(world.log(), &target, Some(&item))?;
            commit(world, batch, Durability::Synced)
        }
        Answer::Found(target, Ok(Found::Nowhere)) => {
            debug!(%target, "no process yet");
            nowhere.add(target);
            let batch = messenger.on_lookup(world.log(), &target, None)?;
            commit(world, batch, Durability::Synced)
        }
        Answer::Found(target, Ok(Found::Unsure)) => {
            messenger.lookup_later(&target, now_ms());
            Ok(())
        }
        Answer::Found(_, Err(cause)) => Err(cause),
    }
}

/// Lets people see what is tried again.
fn note_retry(world: &World, messenger: &Messenger, submit: &Submit, cause: String) {
    let waiting = messenger.retry(submit).map(|retry| Waiting { retry, cause });
    world.retries().note(submit.way(), waiting);
}

/// Lets people see which processes are slowed.
fn note_slowed(world: &World, messenger: &mut Messenger) {
    for (process, at_ms) in messenger.slowed() {
        world.tally().slowed();
        let cause = format!(
            "it sends to itself without end: after {MAX_OWN_BURST} at once it may do so {OWN_PER_SECOND} times a second"
        );
        debug!(%process, %cause, "a process is slowed");
        world.retries().note((process, process), Some(Waiting { retry: Retry { attempts: 0, at_ms }, cause }));
    }
}

fn commit(world: &World, batch: Batch, durability: Durability) -> Result<(), LogError> {
    for write in batch.writes() {
        if let Write::Delivery(delivery) = write {
            world.tally().delivery(&delivery.state);
        }
    }
    if batch.is_empty() { Ok(()) } else { world.log().commit(batch, durability) }
}

/// The slot that a receipt names.
fn place(receipt: Result<VerifiedItem, Refusal>) -> Placed {
    let assignment =
        Assignment::read(receipt?).map_err(|cause| Refusal::Busy(format!("the receipt can't be read: {cause}")))?;
    let (process, slot) = (assignment.statement.process, assignment.statement.slot);
    Ok(Place { process, slot, assignment: assignment.id() })
}
