//! The first process of a worker: starts the host process and waits.
//!
//! It holds the socket that the node keeps open as long as it wants the worker, and begins with writing its process id
//! there. When the socket ends (the worker was dropped, or the node is gone, however it ended) it kills the host and
//! all its copies at once, busy or not. It is the subreaper of all of them, so it collects those that end; after the
//! last it writes the status of the last one that failed, and ends itself. It runs no Lua.

use std::fs::File;
use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;

use libc::{c_int, pid_t};

use super::arena::OUTGROWN;
use super::confine::{self, check};
use super::host_process;
use super::interpreter::Interpreter;

/// The first argument that makes the executable a worker.
pub const WORKER_ARGUMENT: &str = "worker-process";
/// The socket that the node holds open.
pub(super) const LIFE: RawFd = 0;
/// The socket with the node's requests.
pub(super) const REQUESTS: RawFd = 1;
/// The exit code of a worker that could not even start.
const FAILED_TO_START: c_int = 100;
/// Added to a signal's number to make an exit code of it, as shells do.
const SIGNAL_BASE: c_int = 128;

/// Worker mode: to be called from `main` before anything else, when the first argument is [`WORKER_ARGUMENT`]. Needs
/// stream sockets as standard input and output. Does not return.
pub fn run_worker() -> ! {
    if let Err(cause) = confine::confine() {
        std::process::exit(failed(&cause));
    }
    run(None)
}

/// Is the keeper of a worker from now on, with what [`run_worker`] needs in place. `ready` has run our runtime.
pub(super) fn run(ready: Option<Interpreter>) -> ! {
    let code = match start(ready) {
        Ok((host, signals)) => keep(host, signals).unwrap_or_else(|cause| failed(&cause)),
        Err(cause) => failed(&cause),
    };
    tell(code);
    std::process::exit(code)
}

/// Tells the node a number. If it is gone it can't be told.
fn tell(number: i32) {
    let bytes = number.to_le_bytes();
    unsafe { libc::send(LIFE, bytes.as_ptr().cast(), bytes.len(), libc::MSG_NOSIGNAL) };
}

fn failed(cause: &io::Error) -> c_int {
    eprintln!("worker: {cause}");
    FAILED_TO_START
}

/// Starts the host process; returns in the keeper only, with the host's id and a file that is readable when a child
/// ended.
fn start(ready: Option<Interpreter>) -> io::Result<(pid_t, OwnedFd)> {
    // Orphans become the keeper's children, so that it can wait for them.
    check(unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) }.into())?;
    tell(unsafe { libc::getpid() });
    let mut ended: libc::sigset_t = unsafe { std::mem::zeroed() };
    let signals = unsafe {
        libc::sigemptyset(&mut ended);
        libc::sigaddset(&mut ended, libc::SIGCHLD);
        check(libc::sigprocmask(libc::SIG_BLOCK, &ended, std::ptr::null_mut()).into())?;
        let file = libc::signalfd(-1, &ended, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK);
        check(file.into())?;
        OwnedFd::from_raw_fd(file)
    };
    let host = unsafe { libc::fork() };
    check(host.into())?;
    if host == 0 {
        drop(signals);
        unsafe {
            libc::setpgid(0, 0);
            libc::close(LIFE);
        }
        let requests = unsafe { UnixStream::from_raw_fd(REQUESTS) };
        let code = match host_process::serve(requests, ready) {
            Ok(()) => 0,
            Err(cause) => failed(&cause),
        };
        std::process::exit(code)
    }
    // Both sides set the group, so that it exists whichever runs first. The keeper stays outside of it.
    unsafe {
        libc::setpgid(host, host);
        libc::close(REQUESTS);
    }
    drop(ready);
    Ok((host, signals))
}

/// Whether an exit code says that the processor time was used up.
pub(super) fn overran(code: u32) -> bool {
    code == (SIGNAL_BASE + libc::SIGXCPU) as u32
}

/// Waits until all are gone; kills them when the node lets go.
fn keep(host: pid_t, signals: OwnedFd) -> io::Result<c_int> {
    use std::io::Read;
    use std::os::fd::AsRawFd;

    let mut signals = File::from(signals);
    let mut code = 0;
    let mut life = LIFE;
    loop {
        let watched = |fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
        let mut files = [watched(life), watched(signals.as_raw_fd())];
        if unsafe { libc::poll(files.as_mut_ptr(), files.len() as libc::nfds_t, -1) } < 0 {
            let cause = io::Error::last_os_error();
            if cause.kind() != io::ErrorKind::Interrupted {
                return Err(cause);
            }
            continue;
        }
        if files[0].revents != 0 {
            // Twins and dry-runs are in the host's group. Negative files are not watched.
            unsafe { libc::kill(-host, libc::SIGKILL) };
            life = -1;
        }
        // What was read only says that somebody ended; the loop below finds out who.
        let mut record = [0; size_of::<libc::signalfd_siginfo>()];
        while signals.read(&mut record).is_ok_and(|read| read > 0) {}
        loop {
            let mut status = 0;
            match unsafe { libc::waitpid(-1, &mut status, libc::WNOHANG) } {
                0 => break,
                -1 => return Ok(code),
                _ if libc::WIFSIGNALED(status) => code = SIGNAL_BASE + libc::WTERMSIG(status),
                _ => code = if libc::WEXITSTATUS(status) != 0 { libc::WEXITSTATUS(status) } else { code },
            }
        }
    }
}

/// Whether an exit code says that more memory was needed than was granted.
pub(super) fn outgrew(code: u32) -> bool {
    code == OUTGROWN as u32
}

/// What the keeper's number at the end says about the processes it kept.
pub(super) fn describe_exit(code: u32) -> String {
    match code {
        0 => "without an error".to_string(),
        code @ 129..=192 => format!("by signal {}", code - SIGNAL_BASE as u32),
        code => format!("with exit code {code}"),
    }
}
