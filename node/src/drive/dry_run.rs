//! Questions about a process's current state that leave no trace: what a message would come to (a dry-run) and what the
//! variables are (a view). They wait here, and are answered by the worker that hosts the process, between its slots.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use ao_protocol::message::Message;
use ao_protocol::outcome::Outcome;
use ao_protocol::reference::Named;
use thiserror::Error;
use tokio::sync::oneshot;

use crate::vm::{VmError, Worker};

/// Most questions about one process that wait.
pub const MAX_DRY_RUNS: usize = 256;
/// Most answers about one process that are remembered, and their bytes.
const MAX_ANSWERS: usize = 32;
const MAX_ANSWERS_BYTES: usize = 4 * 1024 * 1024;

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

    /// Asks the worker, whose state is that after the slot of `last`, unless the answer is known; gives data that is
    /// lacking for an answer. An error means that the worker is of no use any more.
    pub(super) async fn ask(
        self,
        worker: &mut Worker,
        known: &mut Answers,
        slot: u64,
        last: &Message,
    ) -> Result<Option<Named>, DryRunError> {
        let (timestamp, block_height) = (last.timestamp, last.block_height);
        let failed = |cause: VmError| match cause {
            VmError::Refused(cause) => DryRunError::Refused(cause),
            VmError::Missing(_) => DryRunError::NotComputed(format!("{cause}; it is fetched, try again")),
            cause => DryRunError::CutOff(cause.to_string()),
        };
        match self {
            Question::Evaluate(message, answer) => {
                let message = Message { timestamp, block_height, ..*message };
                let outcome = match known.find(slot, &message) {
                    Some(outcome) => Ok(outcome),
                    None => worker.evaluate_without_keeping(&message).await.map(Outcome::bounded),
                };
                let missing = match &outcome {
                    Err(VmError::Missing(named)) => Some(*named),
                    _ => None,
                };
                let outcome = outcome.map_err(failed);
                if let Ok(outcome) = &outcome {
                    known.keep(slot, message, outcome);
                }
                finish(answer, outcome).map(|()| missing)
            }
            Question::View(name, answer) => {
                let view = worker.view(name.as_deref()).await.map_err(failed);
                finish(answer, view.map(|json| View { slot, timestamp, block_height, json })).map(|()| None)
            }
        }
    }
}

/// Sends an answer; an error if the worker did not survive the question.
fn finish<T>(answer: Answer<T>, result: Result<T, DryRunError>) -> Result<(), DryRunError> {
    let survived = match &result {
        Err(cause @ DryRunError::CutOff(_)) => Err(cause.clone()),
        _ => Ok(()),
    };
    // Who asked may be gone.
    let _ = answer.send(result);
    survived
}

/// What was asked of the newest state and answered: whoever asks the same then, or waits with the same question, gets
/// the same.
#[derive(Default)]
pub(super) struct Answers {
    slot: u64,
    known: VecDeque<(Message, Outcome)>,
    bytes: usize,
}

impl Answers {
    fn find(&self, slot: u64, message: &Message) -> Option<Outcome> {
        let mut known = self.known.iter().filter(|_| slot == self.slot);
        known.find(|(asked, _)| asked == message).map(|(_, outcome)| outcome.clone())
    }

    fn keep(&mut self, slot: u64, message: Message, outcome: &Outcome) {
        if slot != self.slot {
            *self = Answers { slot, ..Answers::default() };
        }
        if self.find(slot, &message).is_some() {
            return;
        }
        let bytes = |message: &Message, outcome: &Outcome| message.data.as_ref().map_or(0, Vec::len) + outcome.len();
        self.bytes += bytes(&message, outcome);
        self.known.push_back((message, outcome.clone()));
        while self.known.len() > MAX_ANSWERS || self.bytes > MAX_ANSWERS_BYTES {
            let Some((message, outcome)) = self.known.pop_front() else { break };
            self.bytes -= bytes(&message, &outcome);
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

    /// Takes out the next one that may be asked when this slot is the last evaluated one, and that somebody still waits
    /// for.
    pub(super) fn ready(&self, evaluated: u64) -> Option<Question> {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.retain(|waiting| !waiting.question.is_abandoned());
        let place = waiting.iter().position(|waiting| waiting.after <= evaluated)?;
        waiting.remove(place).map(|waiting| waiting.question)
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
        assert!(waiting.ready(1).is_none());
        for slot in [2, 3] {
            waiting.ready(3).unwrap().fail(DryRunError::Refused(slot.to_string()));
        }
        assert!(waiting.ready(4).is_none());
        assert_eq!(receivers[2].try_recv().unwrap(), Err(DryRunError::Refused("3".into())));
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

    #[test]
    fn answers_are_those_of_the_newest_state() {
        let (mut known, outcome) = (Answers::default(), Outcome::failed("no"));
        let message = |data: &str| Message { data: Some(data.into()), ..Message::default() };
        known.keep(3, message("a"), &outcome);
        assert_eq!(known.find(3, &message("a")), Some(outcome.clone()));
        assert_eq!((known.find(4, &message("a")), known.find(3, &message("b"))), (None, None));
        known.keep(4, message("b"), &outcome);
        assert_eq!((known.find(4, &message("a")), known.known.len()), (None, 1));
        for place in 0..2 * MAX_ANSWERS {
            known.keep(4, message(&place.to_string()), &outcome);
        }
        assert_eq!(known.known.len(), MAX_ANSWERS);
        known.keep(4, message(&"x".repeat(MAX_ANSWERS_BYTES)), &outcome);
        assert_eq!((known.known.len(), known.bytes), (0, 0), "it is larger than all that is kept");
    }
}
