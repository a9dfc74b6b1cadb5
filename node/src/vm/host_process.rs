//! The process inside a worker that holds the Lua state and answers the node's requests.
//!
//! Before it evaluates it has a *twin* ([`super::twin`]): a paused copy from some messages ago. When a message ends in
//! an error, the state is spoilt: the process answers what it has, gives the twin the good messages since the fork,
//! and ends. The twin evaluates them again and goes on in its place.

use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use ao_protocol::message::Message;
use ao_protocol::module::Limits;
use ao_protocol::outcome::Outcome;
use ao_protocol::reference::Named;

use super::arena::OUTGROWN;
use super::confine::{self, check};
use super::frame::{self, MAX_BATCH_BYTES, MAX_SNAPSHOT_BYTES, OwnedRequest, Reply, Request, Saved};
use super::interpreter::Interpreter;
use super::rebuild::SinceRebuild;
use super::snapshot::{FIRST_SEED, Form, RestoreError, Waiting};
use super::twin::{self, Failed, Fork, Promotion, Twin};
use super::{Program, system_calls};

/// A batch is answered early after this long, so that an error late in it does not cost much to repeat.
const MAX_BATCH_TIME: Duration = Duration::from_secs(1);
/// How many times the usual processor time a request has that is to be patient.
pub(super) const PATIENCE: u64 = 10;

/// What a copy that answers a question may take of a request's processor time: slots wait for it.
const COPY_PART: u64 = 4;
/// What a copy that was to save begins with: that bytes of a state follow, or a reason.
const SAVED: u8 = 1;
const REFUSED: u8 = 0;

struct Host {
    requests: UnixStream,
    confined: bool,
    /// Processor time for a request.
    seconds: u64,
    /// The module.
    source: String,
    interpreter: Interpreter,
    /// The slot that comes next; unknown before the first.
    next_slot: Option<u64>,
    since_rebuild: SinceRebuild,
    twin: Option<Twin>,
}

/// Answers requests until the node closes the socket. `ready` has run our runtime, if there is one.
pub(super) fn serve(mut requests: UnixStream, ready: Option<Interpreter>) -> io::Result<()> {
    let (program, seconds) = match frame::read::<OwnedRequest>(&mut requests)? {
        None => return Ok(()),
        Some(Request::Start { source, env, memory_bytes, instructions, seconds }) => {
            (Program { source, env, limits: Limits { memory_bytes, instructions } }, seconds)
        }
        Some(_) => return Err(io::Error::other("the first request must be the program")),
    };
    confine::limit_memory()?;
    confine::renew_processor_time(seconds)?;
    let confined = system_calls::confine()?;
    let mut interpreter = interpreter(&program, ready)?;
    interpreter.files().ask_by(requests.as_raw_fd());
    let heap_bytes = interpreter.heap_bytes();
    frame::write(&mut requests, &Reply::Ready { confined, heap_bytes })?;
    let since_rebuild = SinceRebuild::new(0);
    let mut host = Host {
        requests,
        confined,
        seconds,
        source: program.source,
        interpreter,
        next_slot: None,
        since_rebuild,
        twin: None,
    };
    while let Some(request) = frame::read::<OwnedRequest>(&mut host.requests)? {
        let patiently = matches!(request, Request::Apply { patiently: true, .. });
        confine::renew_processor_time(seconds.saturating_mul(if patiently { PATIENCE } else { 1 }))?;
        match request {
            Request::Start { .. } => host.refuse("it is running a program already")?,
            Request::Apply { messages, .. } if messages.is_empty() => host.refuse("there is no message to apply")?,
            Request::Apply { first_slot, messages, granted, .. } => {
                host.interpreter.grant(granted);
                host.apply(first_slot, messages)?;
            }
            Request::Dry { message } => host.dry_run(&message)?,
            Request::View { name } => host.view(name.as_deref())?,
            Request::Restore { slot, bytes } => host.restore(slot, bytes)?,
            Request::Save => host.save()?,
        }
    }
    Ok(())
}

/// An interpreter that has run the module: the one that is ready, if it can be had.
fn interpreter(program: &Program, ready: Option<Interpreter>) -> io::Result<Interpreter> {
    let Program { source, env, limits } = program;
    if let Some(mut ready) = ready
        && *source == super::runtime::source()
        && ready.hand_over(env.clone(), *limits)
    {
        return Ok(ready);
    }
    // The heap of the other one is gone: the new one's is at the same place.
    let interpreter = Interpreter::new(source, env.clone(), *limits)?;
    match interpreter.is_in_place() {
        true => Ok(interpreter),
        false => Err(io::Error::other("the addresses of the heap are taken: this system gives programs too few")),
    }
}

/// What a copy that was to save wrote: kind and bytes.
fn read_copy(reader: &mut impl Read) -> io::Result<(u8, Vec<u8>)> {
    let mut header = [0; 9];
    reader.read_exact(&mut header)?;
    let [kind, length @ ..] = header;
    // Exactly so much memory, where it may be gigabytes.
    let length = u64::from_le_bytes(length);
    let mut bytes = Vec::with_capacity(usize::try_from(length).map_err(io::Error::other)?);
    match reader.take(length).read_to_end(&mut bytes)? as u64 == length {
        true => Ok((kind, bytes)),
        false => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

impl Host {
    fn apply(&mut self, first_slot: u64, messages: Vec<Message>) -> io::Result<()> {
        if let Some(expected) = self.next_slot.filter(|expected| *expected != first_slot) {
            return self.refuse(&format!("slot {first_slot} is not the next one, which is {expected}"));
        }
        let saved = match messages.first() {
            Some(first) if self.since_rebuild.is_due(first.timestamp) => self.rebuild()?,
            _ => None,
        };
        let mut twin = match self.twin.take() {
            Some(twin) => twin,
            None => match twin::fork(self.seconds.saturating_mul(PATIENCE))? {
                Fork::Original(twin) => twin,
                Fork::Promoted(promotion) => return self.take_over(promotion),
            },
        };
        let started = Instant::now();
        let (outcomes, missing) = self.evaluate(&messages);
        let next_slot = first_slot + outcomes.len() as u64;
        let failed = outcomes.last().filter(|last| last.error.is_some()).map(|last| last.gas_used);
        let good = outcomes.len() - usize::from(failed.is_some());
        let failed = failed.zip(messages.get(good)).map(|(charged, message)| {
            let Message { timestamp, named, .. } = message;
            Failed { charged, timestamp: *timestamp, named: named.clone() }
        });
        let about = saved.as_ref().map(|bytes| Saved { slot: first_slot.saturating_sub(1), bytes: bytes.len() as u64 });
        let heap_bytes = self.interpreter.heap_bytes();
        self.reply(&Reply::Outcomes { outcomes, missing, saved: about, heap_bytes })?;
        self.requests.write_all(saved.as_deref().unwrap_or_default())?;
        drop(saved);
        twin.remember(messages.into_iter().take(good), started.elapsed());
        if failed.is_some() || missing.is_some() {
            twin.promote(next_slot, failed)?;
            // The twin is the process from now on. Nothing is torn down in order: the memory is shared with it.
            unsafe { libc::_exit(0) };
        }
        self.next_slot = Some(next_slot);
        // It does not have the files that were opened since.
        if !self.interpreter.files().opened() && twin.is_worth_keeping()? {
            self.twin = Some(twin);
        } else {
            twin.end()?;
        }
        Ok(())
    }

    /// In the twin: brings the state to where the original's was before the error.
    fn take_over(&mut self, promotion: Promotion) -> io::Result<()> {
        for message in &promotion.messages {
            let outcome = self.interpreter.evaluate(message);
            if let Some(named) = self.interpreter.missing() {
                return Err(io::Error::other(format!("the data of {} was here, and is not any more", named.id)));
            }
            self.since_rebuild.evaluated(outcome.gas_used, message.timestamp);
        }
        if let Some(Failed { charged, timestamp, named }) = promotion.failed {
            self.interpreter.name(&named);
            self.since_rebuild.evaluated(charged, timestamp);
        }
        self.next_slot = Some(promotion.next_slot);
        Ok(())
    }

    /// Evaluates up to the first error, a rebuild point, the time limit or the size limit, at least one message; or up
    /// to one that reads data which is not here. One that opens files is the last one, too: the twin has none of them.
    fn evaluate(&mut self, messages: &[Message]) -> (Vec<Outcome>, Option<Named>) {
        let started = Instant::now();
        let (mut outcomes, mut bytes) = (Vec::new(), 0);
        for message in messages {
            if !outcomes.is_empty() && self.since_rebuild.is_due(message.timestamp) {
                break;
            }
            let outcome = self.interpreter.evaluate(message);
            let missing = self.interpreter.missing();
            if missing.is_some() {
                return (outcomes, missing);
            }
            self.since_rebuild.evaluated(outcome.gas_used, message.timestamp);
            bytes += outcome.len();
            let failed = outcome.error.is_some();
            outcomes.push(outcome);
            if failed
                || self.interpreter.files().opened()
                || bytes > MAX_BATCH_BYTES
                || started.elapsed() > MAX_BATCH_TIME
            {
                break;
            }
        }
        (outcomes, None)
    }

    /// Replaces the interpreter by the restore of its own state, which is returned; none if the state has no form now.
    fn rebuild(&mut self) -> io::Result<Option<Vec<u8>>> {
        if let Some(twin) = self.twin.take() {
            twin.end()?;
        }
        let waiting = if self.since_rebuild.is_overdue() { Waiting::Ended } else { Waiting::Refused };
        match self.saved(waiting)? {
            Ok(bytes) => {
                self.replace(&bytes).map_err(io::Error::other)?;
                Ok(Some(bytes))
            }
            Err(_) => {
                self.since_rebuild.postponed();
                Ok(None)
            }
        }
    }

    /// Makes the interpreter one that has a state and nothing else.
    fn replace(&mut self, bytes: &[u8]) -> Result<(), RestoreError> {
        self.since_rebuild = SinceRebuild::new(bytes.len());
        self.interpreter.restore(&self.source, bytes)
    }

    /// The state, or why it has no form. A copy makes it: that takes memory, and what it does to the heap must not
    /// stay.
    fn saved(&mut self, waiting: Waiting) -> io::Result<Result<Vec<u8>, String>> {
        let (mut reader, writer) = io::pipe()?;
        let child = unsafe { libc::fork() };
        check(child.into())?;
        if child == 0 {
            let mut writer = writer;
            let mut write = |kind: u8, parts: [&[u8]; 2]| {
                writer.write_all(&[kind])?;
                writer.write_all(&((parts[0].len() + parts[1].len()) as u64).to_le_bytes())?;
                parts.into_iter().try_for_each(|part| writer.write_all(part))
            };
            let done = match self.interpreter.save(waiting) {
                Ok(Form { head, records }) => write(SAVED, [&head, &records]),
                Err(cause) => write(REFUSED, [cause.to_string().as_bytes(), b""]),
            };
            unsafe { libc::_exit(i32::from(done.is_err())) };
        }
        drop(writer);
        let read = read_copy(&mut reader);
        match (twin::wait_for(child)?, read) {
            (0, Ok((SAVED, bytes))) => Ok(Ok(bytes)),
            (0, Ok((_, cause))) => Ok(Err(String::from_utf8_lossy(&cause).into_owned())),
            (status, _) => Err(io::Error::other(format!("the copy that was to save ended with status {status}"))),
        }
    }

    fn save(&mut self) -> io::Result<()> {
        let Some(slot) = self.next_slot.and_then(|next| next.checked_sub(1)) else {
            return self.refuse("nothing was evaluated yet");
        };
        match self.saved(Waiting::Refused)? {
            Ok(bytes) => {
                self.reply(&Reply::Saved(Saved { slot, bytes: bytes.len() as u64 }))?;
                self.requests.write_all(&bytes)
            }
            Err(cause) => self.refuse(&cause),
        }
    }

    fn restore(&mut self, slot: u64, bytes: u64) -> io::Result<()> {
        if bytes > MAX_SNAPSHOT_BYTES {
            return Err(io::Error::other(format!("a state of {bytes} bytes; at most {MAX_SNAPSHOT_BYTES} are taken")));
        }
        let mut state = Vec::new();
        (&mut self.requests).take(bytes).read_to_end(&mut state)?;
        if self.next_slot.is_some() || state.len() as u64 != bytes {
            return self.refuse("a state is taken on whole, and before the first message");
        }
        match self.replace(&state) {
            Ok(()) => {
                self.next_slot = Some(slot + 1);
                let heap_bytes = self.interpreter.heap_bytes();
                self.reply(&Reply::Ready { confined: self.confined, heap_bytes })
            }
            Err(cause) => {
                self.interpreter.begin_again(&self.source, FIRST_SEED);
                self.since_rebuild = SinceRebuild::new(0);
                self.refuse(&cause.to_string())
            }
        }
    }

    fn dry_run(&mut self, messages: &[Message]) -> io::Result<()> {
        let Some(message) = messages.first() else { return self.refuse("there is no message to evaluate") };
        self.in_a_copy(|copy| {
            let outcome = copy.evaluate(message);
            let missing = copy.missing();
            let outcomes = if missing.is_some() { Vec::new() } else { vec![outcome] };
            Reply::Outcomes { outcomes, missing, saved: None, heap_bytes: copy.heap_bytes() }
        })
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
            let seconds = (self.seconds / COPY_PART).max(1);
            let done = confine::renew_processor_time(seconds).and_then(|()| {
                let answer = answer(&mut self.interpreter);
                self.reply(&answer)
            });
            unsafe { libc::_exit(i32::from(done.is_err())) };
        }
        match twin::wait_for(child)? {
            0 => Ok(()),
            status if libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == OUTGROWN => {
                self.refuse("it needs more memory than there is for this process now")
            }
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
