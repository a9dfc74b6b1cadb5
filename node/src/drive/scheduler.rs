//! The scheduler's driver: a thread that drains what waits, gives slots, writes one batch with one fsync, and only then
//! answers everybody. What bounds it is signing and hashing, not the disk, once enough senders wait at once.

use std::sync::{Arc, PoisonError, RwLock};

use ao_protocol::cron;
use ao_protocol::id::Id;
use ao_protocol::item::VerifiedItem;
use ao_protocol::log::{Batch, Durability, Log, LogError};
use ao_protocol::scheduler::{self, Moment, Refusal, Submission};
use ao_protocol::trust::Trust;
use ao_protocol::wallet::Signer;
use tokio::sync::{mpsc, oneshot};
use tracing::warn;

use super::now_ms;

/// Most requests that wait.
const QUEUE: usize = 4096;
/// Most submissions in one batch: bounds how long the first of them waits for the others.
const MAX_BATCH: usize = 512;

/// What a sender hears for each submission, in order.
pub type Receipts = Vec<Result<VerifiedItem, Refusal>>;

enum Request {
    /// Give these their slots.
    Submit { submissions: Vec<Submission>, answer: oneshot::Sender<Receipts> },
    /// Append the firings of a process's crons that are due.
    Fire { process: Id, answer: oneshot::Sender<bool> },
}

impl Request {
    fn count(&self) -> usize {
        match self {
            Request::Submit { submissions, .. } => submissions.len(),
            Request::Fire { .. } => 1,
        }
    }
}

/// A handle to the scheduler of this node. Cloning is cheap.
#[derive(Clone)]
pub struct Scheduler {
    requests: mpsc::Sender<Request>,
}

/// Says why nothing of a process may be scheduled now, if so.
pub type Held = Box<dyn Fn(&Id) -> Option<String> + Send>;

/// What the scheduler needs of the world around it.
pub struct Surroundings {
    /// The log that it appends to.
    pub log: Arc<dyn Log>,
    /// Held while slots are given, so that none is taken back meanwhile.
    pub rewinds: Arc<RwLock<()>>,
    /// Who it is.
    pub signer: Arc<dyn Signer>,
    /// Whom to trust, asked once per batch.
    pub trust: Box<dyn Fn() -> Trust + Send>,
    /// Arweave's height, asked once per batch.
    pub block_height: Box<dyn Fn() -> u64 + Send>,
    /// The time of a block in seconds since 1970, if it is known.
    pub block_time: Box<dyn Fn(u64) -> Option<u64> + Send>,
    /// Why nothing of a process may be scheduled now, if so.
    pub held: Held,
    /// Why there is no room on the disk, if so, asked once per batch.
    pub lack_of_room: Box<dyn Fn() -> Option<String> + Send>,
    /// Told of new entries after they are on disk, in the order of their slots.
    pub scheduled: Box<dyn FnMut(Vec<ao_protocol::entry::Entry>) + Send>,
    /// Told when the log failed: nothing is scheduled from then on.
    pub failed: Box<dyn Fn(&ao_protocol::log::LogError) + Send>,
}

impl Scheduler {
    /// Starts the scheduler's thread. It ends when the last handle is gone.
    pub fn start(surroundings: Surroundings) -> std::io::Result<Scheduler> {
        let (requests, queue) = mpsc::channel(QUEUE);
        std::thread::Builder::new().name("scheduler".into()).spawn(move || run(queue, surroundings))?;
        Ok(Scheduler { requests })
    }

    /// Requests that wait for their slots.
    pub fn waiting(&self) -> usize {
        self.requests.max_capacity() - self.requests.capacity()
    }

    /// Gives verified submissions their slots, in order; after a temporary refusal the rest is refused temporarily too,
    /// so that their order is kept. Answers when the slots are on disk.
    pub async fn submit(&self, submissions: Vec<Submission>) -> Receipts {
        let count = submissions.len();
        let (answer, receipts) = oneshot::channel();
        let stopped = || vec![Err(Refusal::Busy("the scheduler has stopped".into())); count];
        if self.requests.send(Request::Submit { submissions, answer }).await.is_err() {
            return stopped();
        }
        receipts.await.unwrap_or_else(|_| stopped())
    }

    /// Appends the firings of a process's crons that are due. Returns when they are on disk; false when there is no
    /// room for them, so that they are still due.
    pub async fn fire(&self, process: Id) -> bool {
        let (answer, done) = oneshot::channel();
        if self.requests.send(Request::Fire { process, answer }).await.is_err() {
            // A scheduler that stopped fires when it starts again.
            return false;
        }
        done.await.unwrap_or(false)
    }
}

fn run(mut queue: mpsc::Receiver<Request>, mut world: Surroundings) {
    while let Some(first) = queue.blocking_recv() {
        let mut count = first.count();
        let mut requests = vec![first];
        while count < MAX_BATCH
            && let Ok(request) = queue.try_recv()
        {
            count += request.count();
            requests.push(request);
        }
        if !run_batch(requests, &mut world) {
            return;
        }
    }
}

/// Tells all that nothing can be taken now. A cron that was to fire is looked at again later.
fn refuse(requests: Vec<Request>, cause: &str) {
    for request in requests {
        match request {
            Request::Submit { submissions, answer } => {
                let refusals = submissions.iter().map(|_| Err(Refusal::Busy(cause.to_string())));
                let _ = answer.send(refusals.collect());
            }
            Request::Fire { answer, .. } => drop(answer.send(false)),
        }
    }
}

/// Schedules one batch; false when the log failed.
fn run_batch(requests: Vec<Request>, world: &mut Surroundings) -> bool {
    if let Some(cause) = (world.lack_of_room)() {
        refuse(requests, &cause);
        return true;
    }
    let rewinds = world.rewinds.clone();
    let _steady = rewinds.read().unwrap_or_else(PoisonError::into_inner);
    let log = &*world.log;
    let trust = (world.trust)();
    let moment = Moment { now_ms: now_ms(), block_height: (world.block_height)() };
    let mut batch = Batch::new();
    let mut entries = Vec::new();
    let mut answers = Vec::with_capacity(requests.len());
    let mut fired = Vec::new();
    for request in requests {
        let (submissions, answer) = match request {
            Request::Submit { submissions, answer } => (submissions, answer),
            Request::Fire { process, answer } if (world.held)(&process).is_some() => {
                let _ = answer.send(false);
                continue;
            }
            Request::Fire { process, answer } => {
                match cron::fire(log, &mut batch, &process, moment, &*world.block_time, &*world.signer) {
                    Ok(firings) => entries.extend(firings),
                    Err(cause) => {
                        (world.failed)(&cause);
                        return false;
                    }
                }
                fired.push(answer);
                continue;
            }
        };
        let mut receipts: Receipts = Vec::with_capacity(submissions.len());
        for submission in &submissions {
            if let Some(Err(refusal)) = receipts.last()
                && refusal.is_temporary()
            {
                receipts.push(Err(Refusal::Busy("the one before it has to go first".into())));
                continue;
            }
            let process = submission.item.target().unwrap_or_else(|| submission.item.id());
            if let Some(cause) = (world.held)(&process) {
                receipts.push(Err(Refusal::Busy(cause)));
                continue;
            }
            match scheduler::assign(log, &mut batch, submission, moment, &trust, &*world.signer) {
                Ok(Ok(receipt)) => {
                    receipts.push(Ok(receipt.entry.assignment.item.clone()));
                    if receipt.new {
                        entries.push(receipt.entry);
                    }
                }
                Ok(Err(refusal)) => receipts.push(Err(refusal)),
                Err(cause) => {
                    (world.failed)(&cause);
                    return false;
                }
            }
        }
        answers.push((answer, receipts));
    }
    // Also when nothing is new: a receipt for a slot of the batch before must not outrun its fsync, and did not, for
    // that batch was committed before this one began.
    if !batch.is_empty() {
        match log.commit(batch, Durability::Synced) {
            Ok(()) => {}
            // No slot was given: RocksDB takes no further write before all that it holds is in files and a new log of
            // its own begins, so that what may be left of this one is never read.
            Err(LogError::Full(cause)) => {
                warn!(%cause, "nothing is scheduled: the disk is full");
                for (answer, receipts) in answers {
                    let busy = || Err(Refusal::Busy(format!("its disk is full: {cause}")));
                    let _ = answer.send(receipts.iter().map(|_| busy()).collect());
                }
                return true;
            }
            Err(cause) => {
                (world.failed)(&cause);
                return false;
            }
        }
    }
    for (answer, receipts) in answers {
        // A sender that went away asks again and gets the same slot.
        let _ = answer.send(receipts);
    }
    for answer in fired {
        let _ = answer.send(true);
    }
    if !entries.is_empty() {
        (world.scheduled)(entries);
    }
    true
}
