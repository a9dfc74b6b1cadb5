//! A paused copy of the host process: the state to go back to when an evaluation fails.
//!
//! A fork costs more than a small evaluation, so a twin is kept while going back to it is cheap: it is told the good
//! messages since the fork and evaluates them again. How long it is kept depends on the clock, what it computes does
//! not.

use std::fs::File;
use std::io;
use std::os::fd::FromRawFd;
use std::time::{Duration, Instant};

use ao_protocol::message::Message;
use ao_protocol::reference::Named;
use libc::pid_t;
use serde::{Deserialize, Serialize};

use super::confine::{self, check};
use super::frame::{self, MAX_BATCH_BYTES, message_bytes};

/// A new twin is made when the work to repeat is this many times what the last one cost.
const WORK_PER_FORK: u32 = 20;
/// About what the first write to a page takes after a fork: it is copied.
const FAULT_TIME: Duration = Duration::from_nanos(700);
/// But never after less work than this, nor after more than the other: pages that are copied when they are first
/// written cost as well, and an error late in a long batch would be dear.
const MIN_WORK: Duration = Duration::from_millis(10);
const MAX_WORK: Duration = Duration::from_secs(1);

/// The original's hold on its twin.
pub(super) struct Twin {
    process: pid_t,
    /// Its end tells the twin that it is not needed.
    pipe: File,
    fork_time: Duration,
    /// Page faults of the original until the fork: those that came after it are part of what the twin costs.
    faults: u64,
    /// The good messages since the fork, and what they took.
    messages: Vec<Message>,
    bytes: usize,
    work: Duration,
}

/// What a twin is told when it takes over.
#[derive(Serialize, Deserialize)]
pub(super) struct Promotion {
    /// The good messages since the fork.
    pub(super) messages: Vec<Message>,
    /// The slot after the failed one.
    pub(super) next_slot: u64,
    /// The message that ended in an error; none: it was given up for lack of data, and comes again.
    pub(super) failed: Option<Failed>,
}

/// What stays of a message that ended in an error.
#[derive(Serialize, Deserialize)]
pub(super) struct Failed {
    /// What it charged.
    pub(super) charged: u64,
    /// Its time in milliseconds.
    pub(super) timestamp: u64,
    /// Data that may be read from then on: that follows from the log, not from what came of the message.
    pub(super) named: Vec<Named>,
}

/// Which copy of the process goes on after a fork.
pub(super) enum Fork {
    /// The one from before.
    Original(Twin),
    /// The twin, after the original gave up.
    Promoted(Promotion),
}

/// Forks a twin and lets it wait. Returns in it only when it is promoted; it has so many seconds of processor time
/// then.
pub(super) fn fork(seconds: u64) -> io::Result<Fork> {
    let mut ends = [0; 2];
    check(unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) }.into())?;
    let (mut reader, writer) = unsafe { (File::from_raw_fd(ends[0]), File::from_raw_fd(ends[1])) };
    let started = Instant::now();
    let process = unsafe { libc::fork() };
    check(process.into())?;
    if process > 0 {
        return Ok(Fork::Original(Twin {
            process,
            pipe: writer,
            fork_time: started.elapsed(),
            faults: faults()?,
            messages: Vec::new(),
            bytes: 0,
            work: Duration::ZERO,
        }));
    }
    drop(writer);
    match frame::read(&mut reader) {
        Ok(Some(promotion)) => {
            confine::renew_processor_time(seconds)?;
            Ok(Fork::Promoted(promotion))
        }
        // Not needed: all went well, or the original is dead and with it the worker.
        Ok(None) | Err(_) => unsafe { libc::_exit(0) },
    }
}

impl Twin {
    /// Keeps messages that were evaluated without an error, for the twin to repeat.
    pub(super) fn remember(&mut self, messages: impl Iterator<Item = Message>, work: Duration) {
        for message in messages {
            self.bytes += message_bytes(&message);
            self.messages.push(message);
        }
        self.work += work;
    }

    /// Whether repeating what is remembered is cheaper than a new fork.
    pub(super) fn is_worth_keeping(&self) -> io::Result<bool> {
        let faults = u32::try_from(faults()?.saturating_sub(self.faults)).unwrap_or(u32::MAX);
        let cost = self.fork_time + FAULT_TIME * faults;
        let most = (cost * WORK_PER_FORK).clamp(MIN_WORK, MAX_WORK);
        Ok(self.work < most && self.bytes < MAX_BATCH_BYTES)
    }

    /// Lets the twin take over; the calling process must end then.
    pub(super) fn promote(mut self, next_slot: u64, failed: Option<Failed>) -> io::Result<()> {
        frame::write(&mut self.pipe, &Promotion { messages: self.messages, next_slot, failed })
    }

    /// Ends the twin.
    pub(super) fn end(self) -> io::Result<()> {
        drop(self.pipe);
        wait_for(self.process).map(drop)
    }
}

/// Page faults of this process so far that needed no disk.
fn faults() -> io::Result<u64> {
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    check(unsafe { libc::getrusage(libc::RUSAGE_SELF, &mut usage) }.into())?;
    Ok(u64::try_from(usage.ru_minflt).unwrap_or(0))
}

/// Waits until a child ended; its status.
pub(super) fn wait_for(child: pid_t) -> io::Result<i32> {
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
