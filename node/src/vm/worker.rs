//! The node's side of a worker: asking it, ending it.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::sync::{Arc, Once};
use std::time::Duration;

use ao_protocol::reference::Named;
use serde::Serialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::UnixStream;
use tokio::net::unix::pipe::Receiver;
use tokio::task::JoinHandle;
use tracing::warn;

use super::data::{DataSource, HERE};
use super::frame::{self, MAX_BATCH_BYTES, MAX_SNAPSHOT_BYTES, Reply, Request, Saved};
use super::host_process::PATIENCE;
use super::keeper::{describe_exit, outgrew, overran};
use super::launcher::{Files, Launcher};
use super::{Message, Outcome, Program, VmError, passing};

/// How many times as long a request may take by the clock, when many workers share the processors; then something
/// hangs.
const CLOCK_FACTOR: u32 = 20;
/// How long a worker's keeper may take to say that it is there.
const START_TIME: Duration = Duration::from_secs(20);
/// How long a worker may take to end after its socket did.
const END_TIME: Duration = Duration::from_secs(5);
/// The end of its standard error that is kept, in bytes.
const MAX_DIAGNOSTICS: usize = 4096;

/// Says once that workers can't be confined.
static UNCONFINED: Once = Once::new();

/// A worker that hosts one process of ao. Dropping it kills it, whatever it is doing.
pub struct Worker {
    stream: UnixStream,
    /// The operating system's id of its first process, the keeper.
    pid: u32,
    /// Open as long as the worker is wanted; its end makes the keeper kill everything, and say how it ended.
    life: Option<UnixStream>,
    /// Gives the end of the worker's standard error when the worker is gone.
    diagnostics: Option<JoinHandle<String>>,
    processor_time: Duration,
    /// What the interpreter's heap took, as far as is known.
    heap_bytes: u64,
    /// What it may take.
    granted: u64,
    /// False from the start of a request until its answer: a call that was interrupted leaves it so.
    in_step: bool,
    /// What came with the last outcomes.
    snapshot: Option<Snapshot>,
    /// Where it gets the files of data that programs read.
    data: Option<Arc<dyn DataSource>>,
}

/// A process's state after a slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The slot.
    pub slot: u64,
    /// The state.
    pub bytes: Vec<u8>,
}

impl Worker {
    /// Starts a worker and loads a program into it. A module that can't be run is no error here: then every message
    /// ends in an error that says so.
    pub async fn start(launcher: &Launcher, program: &Program) -> Result<Worker, VmError> {
        let mut worker = Worker::spawn(launcher, program).await?;
        let request = Request::<_, _, &[Message]>::Start {
            source: program.source.as_str(),
            env: &program.env,
            memory_bytes: program.limits.memory_bytes,
            instructions: program.limits.instructions,
            seconds: worker.processor_time.as_secs().max(1),
        };
        match worker.ask(&request).await? {
            Reply::Ready { confined, heap_bytes } => {
                worker.heap_bytes = heap_bytes;
                if !confined {
                    UNCONFINED.call_once(|| {
                        warn!(
                            "this kernel has no filter of system calls (seccomp): workers are confined by limits only"
                        );
                    });
                }
                Ok(worker)
            }
            other => Err(unexpected(other)),
        }
    }

    async fn spawn(launcher: &Launcher, program: &Program) -> Result<Worker, VmError> {
        let Files { life, requests, errors } = launcher.launch(program).map_err(VmError::Start)?;
        let mut worker = Worker {
            stream: requests,
            pid: 0,
            life: Some(life),
            diagnostics: Some(tokio::spawn(end_of(errors))),
            processor_time: launcher.processor_time(),
            heap_bytes: 0,
            granted: u64::MAX,
            in_step: true,
            snapshot: None,
            data: launcher.data(),
        };
        match tokio::time::timeout(START_TIME, worker.said()).await {
            Ok(Ok(pid)) => worker.pid = pid,
            Ok(Err(cause)) => return Err(worker.crashed(cause, 0).await),
            Err(_) => return Err(worker.crashed(io::ErrorKind::TimedOut.into(), 0).await),
        }
        Ok(worker)
    }

    /// What the keeper says next: its id, then how it ended.
    async fn said(&mut self) -> io::Result<u32> {
        match &mut self.life {
            Some(life) => life.read_u32_le().await,
            None => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    /// Applies messages of consecutive slots in order. Answers at least one outcome and at most one for each
    /// message: an answer ends with the first error, or early when it took long or became large, and the caller
    /// sends the rest again. [`VmError::Missing`] when the first one reads data that is not here.
    pub async fn apply(&mut self, first_slot: u64, messages: &[Message]) -> Result<Vec<Outcome>, VmError> {
        self.apply_within(first_slot, messages, false).await
    }

    /// The same within ten times the processor time.
    pub async fn apply_patiently(&mut self, first_slot: u64, messages: &[Message]) -> Result<Vec<Outcome>, VmError> {
        self.apply_within(first_slot, messages, true).await
    }

    async fn apply_within(
        &mut self,
        first_slot: u64,
        messages: &[Message],
        patiently: bool,
    ) -> Result<Vec<Outcome>, VmError> {
        let messages = &messages[..batch_length(messages)];
        let granted = self.granted;
        match self.ask(&Request::<&str, (), _>::Apply { first_slot, messages, patiently, granted }).await? {
            Reply::Outcomes { outcomes, heap_bytes, .. } if (1..=messages.len()).contains(&outcomes.len()) => {
                self.heap_bytes = heap_bytes;
                Ok(outcomes)
            }
            Reply::Outcomes { missing: Some(named), .. } => Err(VmError::Missing(named)),
            other => Err(unexpected(other)),
        }
    }

    /// Evaluates a message on the current state and leaves the state as it is.
    pub async fn evaluate_without_keeping(&mut self, message: &Message) -> Result<Outcome, VmError> {
        let message = std::slice::from_ref(message);
        match self.ask(&Request::<&str, (), _>::Dry { message }).await? {
            Reply::Outcomes { mut outcomes, .. } if outcomes.len() == 1 => Ok(outcomes.remove(0)),
            Reply::Outcomes { missing: Some(named), .. } => Err(VmError::Missing(named)),
            other => Err(unexpected(other)),
        }
    }

    /// The state after the slot before the last outcomes, if that was a rebuild point and nobody took it yet.
    pub fn take_snapshot(&mut self) -> Option<Snapshot> {
        self.snapshot.take()
    }

    /// Sets how many bytes the heap may take while messages are applied; a worker that needs more ends with
    /// [`VmError::Outgrown`]. A few MiB it may take in any case.
    pub fn grant(&mut self, bytes: u64) {
        self.granted = bytes;
    }

    /// What the heap of the process took so far, in bytes.
    pub fn heap_bytes(&self) -> u64 {
        self.heap_bytes
    }

    /// The state after the last slot; an error that the worker lives on after if it has no form now.
    pub async fn save(&mut self) -> Result<Snapshot, VmError> {
        match self.ask(&Request::<&str, (), &[Message]>::Save).await? {
            Reply::Saved(_) => self.snapshot.take().ok_or(VmError::Gone),
            other => Err(unexpected(other)),
        }
    }

    /// Takes on a state instead of evaluating messages from the first one on.
    pub async fn restore(&mut self, snapshot: &Snapshot) -> Result<(), VmError> {
        let (slot, bytes) = (snapshot.slot, snapshot.bytes.len() as u64);
        let request = Request::<&str, (), &[Message]>::Restore { slot, bytes };
        match self.ask_with(&request, &snapshot.bytes).await? {
            Reply::Ready { heap_bytes, .. } => {
                self.heap_bytes = heap_bytes;
                Ok(())
            }
            other => Err(unexpected(other)),
        }
    }

    /// The variables of the current state as JSON, without those of the library; or one of them, `null` when there is
    /// none of this name.
    pub async fn view(&mut self, name: Option<&str>) -> Result<String, VmError> {
        match self.ask(&Request::<&str, (), &[Message]>::View { name }).await? {
            Reply::View(view) => Ok(view),
            other => Err(unexpected(other)),
        }
    }

    /// The operating system's id of the worker's first process.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    async fn ask<E: Serialize, B: Serialize>(&mut self, request: &Request<&str, E, B>) -> Result<Reply, VmError> {
        self.ask_with(request, &[]).await
    }

    /// Asks, with bytes behind the frame.
    async fn ask_with<E: Serialize, B: Serialize>(
        &mut self,
        request: &Request<&str, E, B>,
        more: &[u8],
    ) -> Result<Reply, VmError> {
        let patiently = matches!(request, Request::Apply { patiently: true, .. });
        if !std::mem::replace(&mut self.in_step, false) {
            return Err(VmError::Gone);
        }
        let frame = match frame::encode(request) {
            Ok(frame) => frame,
            Err(cause) => {
                self.in_step = true;
                return Err(VmError::Refused(cause.to_string()));
            }
        };
        let patience = if patiently { PATIENCE } else { 1 };
        let seconds = self.processor_time.as_secs().max(1).saturating_mul(patience);
        let clock = Duration::from_secs(seconds) * CLOCK_FACTOR;
        match tokio::time::timeout(clock, exchange(&mut self.stream, &frame, more, self.data.as_deref())).await {
            Ok(Ok((reply, snapshot))) => {
                self.in_step = true;
                if snapshot.is_some() {
                    self.snapshot = snapshot;
                }
                Ok(reply)
            }
            Ok(Err(cause)) => Err(self.crashed(cause, seconds).await),
            Err(_) => {
                self.life = None;
                Err(VmError::Overrun { seconds })
            }
        }
    }

    async fn crashed(&mut self, cause: io::Error, seconds: u64) -> VmError {
        if let Some(life) = &mut self.life {
            // It goes on reading: the keeper ends what is left and says how it was. If it can't, it is gone.
            let _ = life.shutdown().await;
        }
        let code = tokio::time::timeout(END_TIME, self.said()).await;
        self.life = None;
        let status = match code {
            Ok(Ok(code)) if overran(code) => return VmError::Overrun { seconds },
            Ok(Ok(code)) if outgrew(code) => return VmError::Outgrown { granted: self.granted },
            Ok(Ok(code)) => describe_exit(code),
            Ok(Err(_)) | Err(_) => format!("with its keeper: {cause}"),
        };
        let written = match self.diagnostics.take() {
            Some(reader) => tokio::time::timeout(END_TIME, reader).await.ok().and_then(Result::ok).unwrap_or_default(),
            None => String::new(),
        };
        let diagnostics = if written.is_empty() { written } else { format!(": {written}") };
        VmError::Crashed { status, diagnostics }
    }
}

/// How many messages fit one frame together, at least one.
fn batch_length(messages: &[Message]) -> usize {
    let mut bytes = 0;
    let fit = messages.iter().take_while(|message| {
        bytes += frame::message_bytes(message);
        bytes <= MAX_BATCH_BYTES
    });
    fit.count().max(1).min(messages.len())
}

/// Sends a frame and what follows it; the answer, and the state that followed it. Files that are asked for meanwhile
/// are sent.
async fn exchange(
    stream: &mut UnixStream,
    frame: &[u8],
    more: &[u8],
    data: Option<&dyn DataSource>,
) -> io::Result<(Reply, Option<Snapshot>)> {
    stream.write_all(frame).await?;
    stream.write_all(more).await?;
    let reply = loop {
        let mut header = [0; 4];
        stream.read_exact(&mut header).await?;
        let mut body = vec![0; frame::body_length(header)?];
        stream.read_exact(&mut body).await?;
        match frame::decode(&body)? {
            Reply::Wants(named) => give(stream, data, &named).await?,
            reply => break reply,
        }
    };
    let (Reply::Saved(Saved { slot, bytes }) | Reply::Outcomes { saved: Some(Saved { slot, bytes }), .. }) = &reply
    else {
        return Ok((reply, None));
    };
    if *bytes > MAX_SNAPSHOT_BYTES {
        return Err(io::Error::other(format!("a state of {bytes} bytes; at most {MAX_SNAPSHOT_BYTES} are taken")));
    }
    let (slot, bytes) = (*slot, *bytes);
    let mut state = Vec::new();
    stream.take(bytes).read_to_end(&mut state).await?;
    if state.len() as u64 != bytes {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok((reply, Some(Snapshot { slot, bytes: state })))
}

/// Answers a worker that asks for the file of data.
async fn give(stream: &UnixStream, data: Option<&dyn DataSource>, named: &Named) -> io::Result<()> {
    let file: Option<File> = data.and_then(|data| data.open(named));
    let files: Vec<_> = file.iter().map(AsFd::as_fd).collect();
    let byte = if files.is_empty() { !HERE } else { HERE };
    stream.async_io(Interest::WRITABLE, || passing::send(stream, byte, &files)).await
}

/// Reads to the end and gives the last [`MAX_DIAGNOSTICS`] bytes.
async fn end_of(mut stderr: Receiver) -> String {
    let (mut kept, mut buffer) = (Vec::new(), [0; 1024]);
    while let Ok(read @ 1..) = stderr.read(&mut buffer).await {
        kept.extend_from_slice(&buffer[..read]);
        let excess = kept.len().saturating_sub(MAX_DIAGNOSTICS);
        kept.drain(..excess);
    }
    String::from_utf8_lossy(&kept).trim_end().to_string()
}

fn unexpected(reply: Reply) -> VmError {
    VmError::Refused(match reply {
        Reply::Refused(reason) => reason,
        Reply::Ready { .. } | Reply::Outcomes { .. } | Reply::Wants(_) | Reply::View(_) | Reply::Saved(_) => {
            "an answer that does not fit the question".to_string()
        }
    })
}
