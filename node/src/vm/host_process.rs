//! The process inside a worker that holds the Lua state and answers the node's requests.
//!
//! Before a batch it forks a *twin*, which waits on a pipe. When a message ends in an error, the state is spoilt: the
//! process answers what it has, tells the twin how many messages were good, and ends. The twin evaluates those again
//! and goes on in its place. When all went well the pipe is closed and the twin ends.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::FromRawFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use ao_protocol::message::Message;
use ao_protocol::module::Limits;
use ao_protocol::outcome::Outcome;
use libc::pid_t;

use super::confine::{self, check};
use super::frame::{self, MAX_BATCH_BYTES, OwnedRequest, Reply, Request};
use super::interpreter::Interpreter;

/// A batch is answered early after this long, so that an error late in it does not cost much to repeat.
const MAX_BATCH_TIME: Duration = Duration::from_secs(1);

struct Host {
    requests: UnixStream,
    interpreter: Interpreter,
    /// The slot that comes next; unknown before the first.
    next_slot: Option<u64>,
    /// A twin that was let go and not yet waited for.
    ended_twin: Option<pid_t>,
}

/// Answers requests until the node closes the socket.
pub(super) fn serve(mut requests: UnixStream) -> io::Result<()> {
    let interpreter = match frame::read::<OwnedRequest>(&mut requests)? {
        None => return Ok(()),
        Some(Request::Start { source, env, memory_bytes, instructions }) => {
            confine::limit_memory(memory_bytes)?;
            confine::renew_processor_time()?;
            Interpreter::new(&source, env, Limits { memory_bytes, instructions })
        }
        Some(_) => return Err(io::Error::other("the first request must be the program")),
    };
    frame::write(&mut requests, &Reply::Ready)?;
    let mut host = Host { requests, interpreter, next_slot: None, ended_twin: None };
    while let Some(request) = frame::read::<OwnedRequest>(&mut host.requests)? {
        confine::renew_processor_time()?;
        host.collect_twin()?;
        match request {
            Request::Start { .. } => host.refuse("it is running a program already")?,
            Request::Apply { messages, .. } if messages.is_empty() => host.refuse("there is no message to apply")?,
            Request::Apply { first_slot, messages } => host.apply(first_slot, &messages)?,
            Request::Dry { message } => host.dry_run(&message)?,
        }
    }
    Ok(())
}

/// Which copy of the process goes on after a fork.
enum Fork {
    /// The one from before; the twin waits at the other end.
    Original { twin: pid_t, pipe: File },
    /// The twin, after the original gave up with this many good messages.
    Promoted { good: u64 },
}

impl Host {
    fn apply(&mut self, first_slot: u64, messages: &[Message]) -> io::Result<()> {
        if let Some(expected) = self.next_slot.filter(|expected| *expected != first_slot) {
            return self.refuse(&format!("slot {first_slot} is not the next one, which is {expected}"));
        }
        let (twin, mut pipe) = match fork_twin()? {
            Fork::Original { twin, pipe } => (twin, pipe),
            Fork::Promoted { good } => {
                let good = usize::try_from(good).unwrap_or(usize::MAX).min(messages.len());
                for message in &messages[..good] {
                    self.interpreter.evaluate(message);
                }
                self.next_slot = Some(first_slot + good as u64 + 1);
                return Ok(());
            }
        };
        let outcomes = self.evaluate(messages);
        self.next_slot = Some(first_slot + outcomes.len() as u64);
        let failed = outcomes.last().is_some_and(|last| last.error.is_some());
        let good = outcomes.len() as u64 - u64::from(failed);
        self.reply(&Reply::Outcomes(outcomes))?;
        if failed {
            pipe.write_all(&good.to_le_bytes())?;
            // The twin is the process from now on. Nothing is torn down in order: the memory is shared with it.
            unsafe { libc::_exit(0) };
        }
        drop(pipe);
        self.ended_twin = Some(twin);
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
        let child = unsafe { libc::fork() };
        check(child.into())?;
        if child == 0 {
            let outcome = self.interpreter.evaluate(message);
            let done = self.reply(&Reply::Outcomes(vec![outcome]));
            unsafe { libc::_exit(i32::from(done.is_err())) };
        }
        match wait_for(child)? {
            0 => Ok(()),
            status => self.refuse(&format!("the copy that evaluated without keeping ended with status {status}")),
        }
    }

    fn reply(&mut self, reply: &Reply) -> io::Result<()> {
        frame::write(&mut self.requests, reply)
    }

    fn refuse(&mut self, reason: &str) -> io::Result<()> {
        self.reply(&Reply::Refused(reason.to_string()))
    }

    fn collect_twin(&mut self) -> io::Result<()> {
        match self.ended_twin.take() {
            Some(twin) => wait_for(twin).map(drop),
            None => Ok(()),
        }
    }
}

/// Forks a twin and lets it wait. Returns in it only when it is promoted.
fn fork_twin() -> io::Result<Fork> {
    let mut ends = [0; 2];
    check(unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) }.into())?;
    let (mut reader, writer) = unsafe { (File::from_raw_fd(ends[0]), File::from_raw_fd(ends[1])) };
    let twin = unsafe { libc::fork() };
    check(twin.into())?;
    if twin > 0 {
        return Ok(Fork::Original { twin, pipe: writer });
    }
    drop(writer);
    let mut good = [0; 8];
    if reader.read_exact(&mut good).is_err() {
        // Not needed: all went well, or the original is dead and with it the worker.
        unsafe { libc::_exit(0) };
    }
    confine::renew_processor_time()?;
    Ok(Fork::Promoted { good: u64::from_le_bytes(good) })
}

fn wait_for(child: pid_t) -> io::Result<i32> {
    let mut status = 0;
    loop {
        if unsafe { libc::waitpid(child, &mut status, 0) } == child {
            return Ok(status);
        }
        let cause = io::Error::last_os_error();
        if cause.kind() != io::ErrorKind::Interrupted {
            return Err(cause);
        }
    }
}
