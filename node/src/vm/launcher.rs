//! How workers are started: as copies of a zygote that has run our runtime, or else as a new run of the node's own
//! executable.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::unix::pipe::Receiver;
use tokio::process::{Child, Command};
use tracing::warn;

use super::data::DataSource;
use super::keeper::WORKER_ARGUMENT;
use super::passing::send;
use super::zygote::{FILES, ZYGOTE_ARGUMENT};
use super::{Program, runtime};

/// Processor time that one request may take before the worker is ended.
const PROCESSOR_TIME: Duration = Duration::from_secs(60);

/// Starts workers, and says how much processor time their answers may take. Cloning is cheap; clones share a zygote.
#[derive(Clone)]
pub struct Launcher {
    executable: PathBuf,
    processor_time: Duration,
    zygote: Option<Arc<Mutex<Option<Zygote>>>>,
    data: Option<Arc<dyn DataSource>>,
}

/// The node's hold on a zygote.
struct Zygote {
    /// Its end ends the zygote.
    socket: UnixStream,
    /// Waited for when it is dropped.
    _process: Child,
}

/// The node's ends of what connects it to a worker.
pub(super) struct Files {
    /// Ends the worker by its end; the keeper writes its id and how it ended.
    pub(super) life: tokio::net::UnixStream,
    pub(super) requests: tokio::net::UnixStream,
    pub(super) errors: Receiver,
}

impl Launcher {
    /// Runs the executable of the calling process, also when its file was replaced meanwhile.
    pub fn this_executable() -> Launcher {
        Launcher::new("/proc/self/exe")
    }

    /// Runs an executable whose `main` calls [`super::run_worker`] and [`super::run_zygote`].
    pub fn new(executable: impl AsRef<Path>) -> Launcher {
        let executable = executable.as_ref().to_path_buf();
        Launcher { executable, processor_time: PROCESSOR_TIME, zygote: Some(Arc::default()), data: None }
    }

    /// With another limit for one request than the usual 60 s; of a second at least.
    pub fn with_processor_time(self, processor_time: Duration) -> Launcher {
        Launcher { processor_time, ..self }
    }

    /// Programs read data from there; without it none is at hand.
    pub fn with_data(self, data: Arc<dyn DataSource>) -> Launcher {
        Launcher { data: Some(data), ..self }
    }

    /// Each worker is a new run of the executable.
    pub fn without_zygote(self) -> Launcher {
        Launcher { zygote: None, ..self }
    }

    /// The limit for one request.
    pub(super) fn processor_time(&self) -> Duration {
        self.processor_time
    }

    /// Where programs read data from.
    pub(super) fn data(&self) -> Option<Arc<dyn DataSource>> {
        self.data.clone()
    }

    /// Starts the zygote now, so that it is ready when it is needed.
    pub fn warm_up(&self) {
        if let Some(zygote) = &self.zygote {
            let mut zygote = zygote.lock().unwrap_or_else(PoisonError::into_inner);
            if zygote.is_none() {
                *zygote = self.zygote();
            }
        }
    }

    /// Starts a worker for a program; to be called within a tokio runtime.
    pub(super) fn launch(&self, program: &Program) -> io::Result<Files> {
        let (life, worker_life) = UnixStream::pair()?;
        let (requests, worker_requests) = UnixStream::pair()?;
        let (errors, worker_errors) = io::pipe()?;
        let theirs = [worker_life.into(), worker_requests.into(), worker_errors.into()];
        if program.source != runtime::source() || !self.copied(&theirs) {
            self.run(theirs)?;
        }
        let stream = |stream: UnixStream| {
            stream.set_nonblocking(true)?;
            tokio::net::UnixStream::from_std(stream)
        };
        Ok(Files { life: stream(life)?, requests: stream(requests)?, errors: Receiver::from_owned_fd(errors.into())? })
    }

    /// Gives a worker's files to a copy of the zygote; false if there is none.
    fn copied(&self, files: &[OwnedFd; FILES]) -> bool {
        self.warm_up();
        let Some(zygote) = &self.zygote else { return false };
        let mut zygote = zygote.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(ready) = zygote.as_ref() else { return false };
        match send(&ready.socket, 0, &files.each_ref().map(AsFd::as_fd)) {
            Ok(()) => true,
            Err(cause) => {
                warn!(%cause, "the worker zygote is gone; the next worker starts another one");
                *zygote = None;
                false
            }
        }
    }

    fn zygote(&self) -> Option<Zygote> {
        let start = || {
            let (socket, theirs) = UnixStream::pair()?;
            socket.set_nonblocking(true)?;
            let process = self.command(ZYGOTE_ARGUMENT).stdin(OwnedFd::from(theirs)).stdout(Stdio::null()).spawn()?;
            Ok(Zygote { socket, _process: process })
        };
        start().inspect_err(|cause: &io::Error| warn!(%cause, "no worker zygote; workers start slower")).ok()
    }

    fn run(&self, [life, requests, errors]: [OwnedFd; FILES]) -> io::Result<()> {
        let mut command = self.command(WORKER_ARGUMENT);
        // The process tells how it ends; tokio waits for it when this is dropped.
        command.stdin(life).stdout(requests).stderr(errors).spawn().map(drop)
    }

    fn command(&self, argument: &str) -> Command {
        let mut command = Command::new(&self.executable);
        // Signals from the node's terminal are for the node.
        command.arg0("ao-node").arg(argument).env_clear().current_dir("/").process_group(0);
        command
    }
}
