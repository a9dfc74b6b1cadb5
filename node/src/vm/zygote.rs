//! The process that workers for our runtime are copies of: it has run the runtime once, so that they need not.
//!
//! The node sends it the files of a worker, as often as it wants one; the copy that gets them is that worker's keeper
//! ([`super::keeper`]), and hands what has run to the host process. The zygote itself never sees a message and runs
//! nothing but our own runtime: what a process does can't reach it. It ends when the node closes its socket.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;

use ao_protocol::message::Env;
use ao_protocol::module::Limits;

use super::confine::{self, check};
use super::interpreter::Interpreter;
use super::{keeper, passing, runtime};

/// The first argument that makes the executable a zygote.
pub const ZYGOTE_ARGUMENT: &str = "worker-zygote";
/// The files of a worker: the life line, the requests, what is written about errors.
pub(super) const FILES: usize = passing::MAX_FILES;
/// The socket that the node sends files by.
const NODE: RawFd = 0;
/// What the runtime may use while it is loaded: enough for it. Processes that may use less get workers of their own.
const LIMITS: Limits = Limits { memory_bytes: 16 << 20, instructions: 10_000_000 };

/// Zygote mode: to be called from `main` before anything else, when the first argument is [`ZYGOTE_ARGUMENT`]. Needs a
/// stream socket as standard input. Does not return.
pub fn run_zygote() -> ! {
    let code = match serve() {
        Ok(()) => 0,
        Err(cause) => {
            eprintln!("worker zygote: {cause}");
            1
        }
    };
    std::process::exit(code)
}

fn serve() -> io::Result<()> {
    confine::confine()?;
    // Nobody waits for keepers: they tell the node themselves how they end.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
    let ready = Interpreter::new(&runtime::source(), Env::default(), LIMITS)?;
    if !ready.is_in_place() {
        return Err(io::Error::other("the addresses of the heap are taken: this system gives programs too few"));
    }
    let node = unsafe { UnixStream::from_raw_fd(NODE) };
    while let Some(files) = receive(&node)? {
        let copy = unsafe { libc::fork() };
        check(copy.into())?;
        if copy == 0 {
            drop(node);
            become_keeper(files)?;
            keeper::run(Some(ready));
        }
    }
    Ok(())
}

/// The files of the next worker; none when the node is gone.
fn receive(node: &UnixStream) -> io::Result<Option<[OwnedFd; FILES]>> {
    let Some((_, files)) = passing::receive(node)? else { return Ok(None) };
    match files.try_into() {
        Ok(files) => Ok(Some(files)),
        Err(_) => Err(io::Error::other("the files of a worker are not whole")),
    }
}

/// Puts the files to where a keeper has them, and undoes what only the zygote wants.
fn become_keeper(files: [OwnedFd; FILES]) -> io::Result<()> {
    let places = [keeper::LIFE, keeper::REQUESTS, libc::STDERR_FILENO];
    for (file, place) in files.iter().zip(places) {
        check(unsafe { libc::dup2(file.as_raw_fd(), place) }.into())?;
    }
    unsafe {
        libc::signal(libc::SIGCHLD, libc::SIG_DFL);
        check(libc::setpgid(0, 0).into())
    }
}
