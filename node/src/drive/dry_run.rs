//! Questions about a process's current state that leave no trace: what a message would come to (a dry-run) and what the
//! variables are (a view). They wait here, and are answered by the worker that hosts the process, between its slots.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use ao_protocol::message::Message;
use ao_protocol::outcome::Outcome;
use thiserror::Error;
use tokio::sync::oneshot;

use crate::vm::{VmError, Worker};

/// Most questions about one process that wait.
pub const MAX_DRY_RUNS: usize = 256;

/// Why there is no answer.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum DryRunError {
    /// Too many wait already.
    #[error("{MAX_DRY_RUNS} questions about this process wait already; try again")]
    Crowded,
    /// The process is not computed here; the text says why.
    #[error("the process is not computed here: {0}")]
    NotComputed(String),
    /// The evaluation was cut off.
    #[error("the dry-run was cut off: {0}")]
    CutOff(String),
    /// The worker can't show what was asked for.
    #[error("{0}")]
    Refused(String),
}

/// The variables of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// After this slot.
    pub slot: u64,
    /// The time of that slot, in milliseconds since 1970.
    pub timestamp: u64,
    /// The height of Arweave's chain at that slot.
    pub block_height: u64,
    /// A JSON object of them all, or the value of the one that was asked for.
    pub json: String,
}

/// Where an answer goes.
type Answer<T> = oneshot::Sender<Result<T, DryRunError>>;

/// What is asked, and who wants to know.
pub(super) enum Question {
    /// What would this message come to? Its time and height are those of the last evaluated slot.
    Evaluate(Box<Message>, Answer<Outcome>),
    /// What are the variables, or what is the one with this name?
    View(Option<String>, Answer<View>),
}

impl Question {
    fn is_abandoned(&self) -> bool {
        match self {
            Question::Evaluate(_, answer) => answer.is_closed(),
            Question::View(_, answer) => answer.is_closed(),
        }
    }

    /// Answers that there is no answer.
    pub(super) fn fail(self, cause: DryRunError) {
        // Who asked may be gone.
        match self {
            Question::Evaluate(_, answer) => drop(answer.send(Err(cause))),
            Question::View(_, answer) => drop(answer.send(Err(cause))),
        }
    }

    /// Asks the worker, whose state is that after the slot of `last`. An error means that the worker is of no use any
    /// more.
    pub(super) async fn ask(self, worker: &mut Worker, slot: u64, last: &Message) -> Result<(), DryRunError> {
        let (timestamp, block_height) = (last.timestamp, last.block_height);
        let cut_off = |cause: VmError| DryRunError::CutOff(cause.to_string());
        match self {
            Question::Evaluate(message, answer) => {
                let message = Message { timestamp, block_height, ..*message };
                let outcome = worker.evaluate_without_keeping(&message).await.map_err(cut_off);
                let survived = outcome.as_ref().map(drop).map_err(Clone::clone);
                let _ = answer.send(outcome.map(Outcome::bounded));
                survived
            }
            Question::View(name, answer) => {
                let view = match worker.view(name.as_deref()).await {
                    Ok(json) => Ok(View { slot, timestamp, block_height, json }),
                    Err(VmError::Refused(cause)) => Err(DryRunError::Refused(cause)),
                    Err(cause) => Err(cut_off(cause)),
                };
                let survived = match &view {
                    Err(cause @ DryRunError::CutOff(_)) => Err(cause.clone()),
                    _ => Ok(()),
                };
                let _ = answer.send(view);
                survived
            }
        }
    }
}

/// One that waits.
pub(super) struct DryRun {
    /// The slot that must have been evaluated before.
    pub(super) after: u64,
    /// What is asked.
    pub(super) question: Question,
}

/// The questions about one process, in the order in which they came.
#[derive(Default)]
pub(super) struct DryRuns(Mutex<VecDeque<DryRun>>);

impl DryRuns {
    /// Adds one; answers it at once when too many wait.
    pub(super) fn push(&self, dry_run: DryRun) {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.retain(|waiting| !waiting.question.is_abandoned());
        if waiting.len() >= MAX_DRY_RUNS {
            dry_run.question.fail(DryRunError::Crowded);
        } else {
            waiting.push_back(dry_run);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// Takes out those that may be asked when this slot is the last evaluated one, and that somebody still waits for.
    pub(super) fn ready(&self, evaluated: u64) -> VecDeque<DryRun> {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let all = std::mem::take(&mut *waiting);
        let (ready, later) = all.into_iter().partition(|dry_run| dry_run.after <= evaluated);
        *waiting = later;
        let mut ready: VecDeque<DryRun> = ready;
        ready.retain(|dry_run| !dry_run.question.is_abandoned());
        ready
    }

    /// Answers all that wait.
    pub(super) fn fail(&self, cause: &DryRunError) {
        let waiting = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        for dry_run in waiting {
            dry_run.question.fail(cause.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(waiting: &DryRuns, after: u64) -> oneshot::Receiver<Result<Outcome, DryRunError>> {
        let (answer, answered) = oneshot::channel();
        waiting.push(DryRun { after, question: Question::Evaluate(Box::default(), answer) });
        answered
    }

    #[test]
    fn each_waits_for_its_slot_and_the_number_is_bounded() {
        let waiting = DryRuns::default();
        let mut receivers: Vec<_> = [5, 2, 3].into_iter().map(|after| push(&waiting, after)).collect();
        let ready: Vec<u64> = waiting.ready(3).iter().map(|dry_run| dry_run.after).collect();
        assert_eq!(ready, [2, 3]);
        assert!(!waiting.is_empty());
        receivers.extend((1..MAX_DRY_RUNS).map(|_| push(&waiting, 9)));
        assert_eq!(push(&waiting, 9).try_recv().unwrap(), Err(DryRunError::Crowded));
        // Who went away makes room.
        receivers.truncate(100);
        push(&waiting, 1).close();
        let mut last = push(&waiting, 9);
        waiting.fail(&DryRunError::NotComputed("no module".into()));
        assert_eq!(last.try_recv().unwrap(), Err(DryRunError::NotComputed("no module".into())));
        assert!(waiting.is_empty());
    }
}
