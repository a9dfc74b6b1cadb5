//! The process inside a worker that holds the Lua state and answers the node's requests.
//!
//! Before it evaluates it has a *twin* ([`super::twin`]): a paused copy from some messages ago. When a message ends in
//! an error, the state is spoilt: the process answers what it has, gives the twin the good messages since the fork,
//! and ends. The twin evaluates them again and goes on in its place.

use std::io;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use ao_protocol::message::Message;
use ao_protocol::module::Limits;
use ao_protocol::outcome::Outcome;

use super::confine::{self, check};
use super::frame::{self, MAX_BATCH_BYTES, OwnedRequest, Reply, Request};
use super::interpreter::Interpreter;
use super::twin::{self, Fork, Promotion, Twin};

/// A batch is answered early after this long, so that an error late in it does not cost much to repeat.
const MAX_BATCH_TIME: Duration = Duration::from_secs(1);

struct Host {
    requests: UnixStream,
    interpreter: Interpreter,
    /// The slot that comes next; unknown before the first.
    next_slot: Option<u64>,
    twin: Option<Twin>,
}

/// Answers requests until the node closes the socket.
pub(super) fn serve(mut requests: UnixStream) -> io::Result<()> {
    let interpreter = match frame::read::<OwnedRequest>(&mut requests)? {
        None => return Ok(()),
        Some(Request::Start { source, env, memory_bytes, instructions }) => {
            confine::limit_memory()?;
            confine::renew_processor_time()?;
            Interpreter::new(&source, env, Limits { memory_bytes, instructions })?
        }
        Some(_) => return Err(io::Error::other("the first request must be the program")),
    };
    if !interpreter.is_in_place() {
        return Err(io::Error::other("the addresses of the heap are taken: this system gives programs too few"));
    }
    frame::write(&mut requests, &Reply::Ready)?;
    let mut host = Host { requests, interpreter, next_slot: None, twin: None };
    while let Some(request) = frame::read::<OwnedRequest>(&mut host.requests)? {
        confine::renew_processor_time()?;
        match request {
            Request::Start { .. } => host.refuse("it is running a program already")?,
            Request::Apply { messages, .. } if messages.is_empty() => host.refuse("there is no message to apply")?,
            Request::Apply { first_slot, messages } => host.apply(first_slot, messages)?,
            Request::Dry { message } => host.dry_run(&message)?,
            Request::View { name } => host.view(name.as_deref())?,
        }
    }
    Ok(())
}

impl Host {
    fn apply(&mut self, first_slot: u64, messages: Vec<Message>) -> io::Result<()> {
        if let Some(expected) = self.next_slot.filter(|expected| *expected != first_slot) {
            return self.refuse(&format!("slot {first_slot} is not the next one, which is {expected}"));
        }
        let mut twin = match self.twin.take() {
            Some(twin) => twin,
            None => match twin::fork()? {
                Fork::Original(twin) => twin,
                Fork::Promoted(promotion) => return self.take_over(promotion),
            },
        };
        let started = Instant::now();
        let outcomes = self.evaluate(&messages);
        let next_slot = first_slot + outcomes.len() as u64;
        let failed = outcomes.last().is_some_and(|last| last.error.is_some());
        let good = outcomes.len() - usize::from(failed);
        self.reply(&Reply::Outcomes(outcomes))?;
        twin.remember(messages.into_iter().take(good), started.elapsed());
        if failed {
            twin.promote(next_slot)?;
            // The twin is the process from now on. Nothing is torn down in order: the memory is shared with it.
            unsafe { libc::_exit(0) };
        }
        self.next_slot = Some(next_slot);
        if twin.is_worth_keeping()? {
            self.twin = Some(twin);
        } else {
            twin.end()?;
        }
        Ok(())
    }

    /// In the twin: brings the state to where the original's was before the error.
    fn take_over(&mut self, promotion: Promotion) -> io::Result<()> {
        for message in &promotion.messages {
            self.interpreter.evaluate(message);
        }
        self.next_slot = Some(promotion.next_slot);
        Ok(())
    }

    /// Evaluates up to the first error, the time limit or the size limit, at least one message.
    fn evaluate(&mut self, messages: &[Message]) -> Vec<Outcome> {
        let started = Instant::now();
        let (mut outcomes, mut bytes) = (Vec::new(), 0);
        for message in messages {
            let outcome = self.interpreter.evaluate(message);
            bytes += outcome.len();
            let failed = outcome.error.is_some();
            outcomes.push(outcome);
            if failed || bytes > MAX_BATCH_BYTES || started.elapsed() > MAX_BATCH_TIME {
                break;
            }
        }
        outcomes
    }

    fn dry_run(&mut self, messages: &[Message]) -> io::Result<()> {
        let Some(message) = messages.first() else { return self.refuse("there is no message to evaluate") };
        self.in_a_copy(|copy| Reply::Outcomes(vec![copy.evaluate(message)]))
    }

    /// In a copy as well: what the text takes is given back when it ends.
    fn view(&mut self, name: Option<&str>) -> io::Result<()> {
        self.in_a_copy(|copy| copy.view(name).map_or_else(Reply::Refused, Reply::View))
    }

    /// Lets a copy of this process make the answer, and forgets what that changed.
    fn in_a_copy(&mut self, answer: impl FnOnce(&mut Interpreter) -> Reply) -> io::Result<()> {
        let child = unsafe { libc::fork() };
        check(child.into())?;
        if child == 0 {
            let answer = answer(&mut self.interpreter);
            let done = self.reply(&answer);
            unsafe { libc::_exit(i32::from(done.is_err())) };
        }
        match twin::wait_for(child)? {
            0 => Ok(()),
            status => self.refuse(&format!("the copy that was to answer ended with status {status}")),
        }
    }

    fn reply(&mut self, reply: &Reply) -> io::Result<()> {
        frame::write(&mut self.requests, reply)
    }

    fn refuse(&mut self, reason: &str) -> io::Result<()> {
        self.reply(&Reply::Refused(reason.to_string()))
    }
}
