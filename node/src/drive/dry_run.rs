//! Dry-runs that wait: evaluations on a process's current state that leave no trace. They run on the worker that hosts
//! the process, between its slots.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use ao_protocol::message::Message;
use ao_protocol::outcome::Outcome;
use thiserror::Error;
use tokio::sync::oneshot;

/// Most dry-runs of one process that wait.
pub const MAX_DRY_RUNS: usize = 256;

/// Why there is no outcome of a dry-run.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum DryRunError {
    /// Too many wait already.
    #[error("{MAX_DRY_RUNS} dry-runs of this process wait already; try again")]
    Crowded,
    /// The process is not computed here; the text says why.
    #[error("the process is not computed here: {0}")]
    NotComputed(String),
    /// The evaluation was cut off.
    #[error("the dry-run was cut off: {0}")]
    CutOff(String),
}

/// One that waits.
pub(super) struct DryRun {
    /// What is evaluated; its time and height are those of the last evaluated slot.
    pub(super) message: Message,
    /// The slot that must have been evaluated before.
    pub(super) after: u64,
    /// Who wants to know.
    pub(super) answer: oneshot::Sender<Result<Outcome, DryRunError>>,
}

/// The dry-runs of one process, in the order in which they came.
#[derive(Default)]
pub(super) struct DryRuns(Mutex<VecDeque<DryRun>>);

impl DryRuns {
    /// Adds one; answers it at once when too many wait.
    pub(super) fn push(&self, dry_run: DryRun) {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.retain(|waiting| !waiting.answer.is_closed());
        if waiting.len() >= MAX_DRY_RUNS {
            let _ = dry_run.answer.send(Err(DryRunError::Crowded));
        } else {
            waiting.push_back(dry_run);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// Takes out those that may run when this slot is the last evaluated one.
    pub(super) fn ready(&self, evaluated: u64) -> VecDeque<DryRun> {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let all = std::mem::take(&mut *waiting);
        let (ready, later) = all.into_iter().partition(|dry_run| dry_run.after <= evaluated);
        *waiting = later;
        ready
    }

    /// Answers all that wait.
    pub(super) fn fail(&self, cause: &DryRunError) {
        let waiting = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        for dry_run in waiting {
            let _ = dry_run.answer.send(Err(cause.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(waiting: &DryRuns, after: u64) -> oneshot::Receiver<Result<Outcome, DryRunError>> {
        let (answer, answered) = oneshot::channel();
        waiting.push(DryRun { message: Message::default(), after, answer });
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
