//! The node's side of a worker: starting it, asking it, ending it.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde::Serialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::process::{Child, ChildStderr, ChildStdin, Command};
use tokio::task::JoinHandle;

use super::frame::{self, MAX_BATCH_BYTES, Reply, Request};
use super::keeper::{WORKER_ARGUMENT, describe_exit};
use super::{Message, Outcome, Program, VmError};

/// How long one request may take before the worker is killed.
const WALL_CLOCK: Duration = Duration::from_secs(60);
/// How long a worker may take to end after its socket did.
const END_TIME: Duration = Duration::from_secs(5);
/// The end of its standard error that is kept, in bytes.
const MAX_DIAGNOSTICS: usize = 4096;

/// Which executable is run as a worker, and how long its answers may take.
#[derive(Clone, Debug)]
pub struct Launcher {
    executable: PathBuf,
    wall_clock: Duration,
}

/// A worker that hosts one process of ao. Dropping it kills it, whatever it is doing.
pub struct Worker {
    stream: UnixStream,
    keeper: Child,
    /// Open as long as the worker is wanted; its end makes the keeper kill everything.
    life: Option<ChildStdin>,
    /// Gives the end of the worker's standard error when the worker is gone.
    diagnostics: Option<JoinHandle<String>>,
    wall_clock: Duration,
    /// False from the start of a request until its answer: a call that was interrupted leaves it so.
    in_step: bool,
}

impl Launcher {
    /// Runs the executable of the calling process, also when its file was replaced meanwhile.
    pub fn this_executable() -> Launcher {
        Launcher::new("/proc/self/exe")
    }

    /// Runs an executable whose `main` calls [`super::run_worker`].
    pub fn new(executable: impl AsRef<Path>) -> Launcher {
        Launcher { executable: executable.as_ref().to_path_buf(), wall_clock: WALL_CLOCK }
    }

    /// With another limit for one request than the usual 60 s.
    pub fn with_wall_clock(self, wall_clock: Duration) -> Launcher {
        Launcher { wall_clock, ..self }
    }
}

impl Worker {
    /// Starts a worker and loads a program into it. A module that can't be run is no error here: then every message
    /// ends in an error that says so.
    pub async fn start(launcher: &Launcher, program: &Program) -> Result<Worker, VmError> {
        let mut worker = Worker::spawn(launcher).map_err(VmError::Start)?;
        let request = Request::<_, _, &[Message]>::Start {
            source: program.source.as_str(),
            env: &program.env,
            memory_bytes: program.limits.memory_bytes,
            instructions: program.limits.instructions,
        };
        match worker.ask(&request).await? {
            Reply::Ready => Ok(worker),
            other => Err(unexpected(other)),
        }
    }

    fn spawn(launcher: &Launcher) -> io::Result<Worker> {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let mut keeper = Command::new(&launcher.executable)
            .arg0("ao-node")
            .arg(WORKER_ARGUMENT)
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(OwnedFd::from(theirs))
            .stderr(Stdio::piped())
            // Signals from the node's terminal are for the node.
            .process_group(0)
            .spawn()?;
        let diagnostics = keeper.stderr.take().map(|stderr| tokio::spawn(end_of(stderr)));
        Ok(Worker {
            stream: UnixStream::from_std(ours)?,
            life: keeper.stdin.take(),
            keeper,
            diagnostics,
            wall_clock: launcher.wall_clock,
            in_step: true,
        })
    }

    /// Applies messages of consecutive slots in order. Answers at least one outcome and at most one for each
    /// message: an answer ends with the first error, or early when it took long or became large, and the caller
    /// sends the rest again.
    pub async fn apply(&mut self, first_slot: u64, messages: &[Message]) -> Result<Vec<Outcome>, VmError> {
        let messages = &messages[..batch_length(messages)];
        match self.ask(&Request::<&str, (), _>::Apply { first_slot, messages }).await? {
            Reply::Outcomes(outcomes) if (1..=messages.len()).contains(&outcomes.len()) => Ok(outcomes),
            other => Err(unexpected(other)),
        }
    }

    /// Evaluates a message on the current state and leaves the state as it is.
    pub async fn evaluate_without_keeping(&mut self, message: &Message) -> Result<Outcome, VmError> {
        let message = std::slice::from_ref(message);
        match self.ask(&Request::<&str, (), _>::Dry { message }).await? {
            Reply::Outcomes(mut outcomes) if outcomes.len() == 1 => Ok(outcomes.remove(0)),
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

    /// The operating system's id of the worker's first process; none when it ended.
    pub fn pid(&self) -> Option<u32> {
        self.keeper.id()
    }

    async fn ask(&mut self, request: &impl Serialize) -> Result<Reply, VmError> {
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
        match tokio::time::timeout(self.wall_clock, exchange(&mut self.stream, &frame)).await {
            Ok(Ok(reply)) => {
                self.in_step = true;
                Ok(reply)
            }
            Ok(Err(cause)) => Err(self.crashed(cause).await),
            Err(_) => {
                self.life = None;
                Err(VmError::Overrun { seconds: self.wall_clock.as_secs() })
            }
        }
    }

    async fn crashed(&mut self, cause: io::Error) -> VmError {
        self.life = None;
        let status = match tokio::time::timeout(END_TIME, self.keeper.wait()).await {
            Ok(Ok(status)) => describe_exit(status.code()),
            Ok(Err(_)) | Err(_) => cause.to_string(),
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

async fn exchange(stream: &mut UnixStream, frame: &[u8]) -> io::Result<Reply> {
    stream.write_all(frame).await?;
    let mut header = [0; 4];
    stream.read_exact(&mut header).await?;
    let mut body = vec![0; frame::body_length(header)?];
    stream.read_exact(&mut body).await?;
    frame::decode(&body)
}

/// Reads to the end and gives the last [`MAX_DIAGNOSTICS`] bytes.
async fn end_of(mut stderr: ChildStderr) -> String {
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
        Reply::Ready | Reply::Outcomes(_) | Reply::View(_) => "an answer that does not fit the question".to_string(),
    })
}
