//! The Lua VM: processes of ao, each in an operating system process of its own.
//!
//! ```text
//!  node ── Launcher ── files ──▶ zygote                has run our runtime; its copies become keepers
//!  node ── Worker ──┬─ life (a socket) ─▶ keeper       waits for the others; kills them when the socket ends
//!                   │                      └─ host    one Lua interpreter, evaluates messages
//!                   └─ requests (a socket) ───┘ ├─ twin   paused copy from before the batch, takes over on an error
//!                                               └─ dry    copy that evaluates once and is forgotten
//! ```
//!
//! A [`Worker`] is the node's own executable in worker mode ([`run_worker`]), or a copy of one that is ready
//! ([`run_zygote`]), so a process that crashes, hangs or exhausts its memory takes nothing else with it. Inside,
//! everything is single-threaded, which is what makes `fork` sound: the state to go back to is a paused copy of the
//! whole process, whatever it holds.
//!
//! - [`interpreter`]: one Lua state; [`host`]: its limits; [`arena`]: its heap; [`sandbox`]: its library, with
//!   [`order`] (`pairs`, `next`), [`places`], [`sort`], [`search`] over [`pattern`] (`find`, `gsub`), [`text`]
//!   (`tostring`), [`debug`], [`math`], [`random`], [`list`], [`crypto`], [`protected`] (`pcall`, coroutines), [`data`]
//!   (`io.open`).
//! - [`values`], [`canonical`]: messages into Lua, results out of it; [`view`]: the variables, to be looked at.
//! - [`snapshot`]: the state as bytes and back, with [`chunks`], [`prototype`] and [`permanent`] for functions;
//!   [`rebuild`]: when the state is replaced by its own snapshot.
//! - [`host_process`], [`twin`], [`keeper`], [`zygote`], [`confine`], [`system_calls`], [`frame`], [`passing`]: the
//!   worker from inside; [`worker`], [`launcher`]: from the node.
//! - [`runtime`]: our aos-compatible process runtime, a module like any other.
//!
//! What an evaluation gives depends on the module, the messages before it, and nothing else: no clock, no addresses, no
//! processor. One gap is known: what happens within one instruction may take longer than it is charged for; a limit of
//! processor time then ends the worker ([`VmError::Overrun`]) and nothing is concluded.

mod arena;
mod buffer;
mod canonical;
mod chunks;
mod confine;
mod crypto;
mod data;
mod debug;
mod frame;
mod host;
mod host_process;
mod interpreter;
mod keeper;
mod launcher;
mod list;
mod math;
mod order;
mod passing;
mod pattern;
mod permanent;
mod places;
mod protected;
mod prototype;
mod random;
mod rebuild;
pub mod runtime;
mod sandbox;
mod search;
mod self_test;
mod snapshot;
mod sort;
mod system_calls;
mod text;
mod twin;
mod values;
mod view;
mod worker;
mod zygote;

use thiserror::Error;

pub use ao_protocol::message::{Env, Message, Unit};
pub use ao_protocol::module::Limits;
pub use ao_protocol::outcome::{OutboxEntry, Outcome};
use ao_protocol::reference::Named;
pub use data::{DataSource, MAX_NAMED};
pub use frame::MAX_SNAPSHOT_BYTES;
pub use keeper::{WORKER_ARGUMENT, run_worker};
pub use launcher::Launcher;
pub use rebuild::IDLE_MS;
pub use self_test::self_test;
pub use view::MAX_VIEW_BYTES;
pub use worker::{Snapshot, Worker};
pub use zygote::{ZYGOTE_ARGUMENT, run_zygote};

/// Everything a process is made from: fixed for its life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// The module's Lua text, which defines `handle(msg, env)`.
    pub source: String,
    /// The second argument of `handle`.
    pub env: Env,
    /// What an evaluation may use.
    pub limits: Limits,
}

/// Why there is no outcome. None of these says anything about the process: they are this machine's troubles, and
/// another node, or this one later, may evaluate the same messages.
#[derive(Debug, Error)]
pub enum VmError {
    /// The worker could not be started.
    #[error("the worker process can't be started: {0}")]
    Start(std::io::Error),
    /// The worker ended on its own.
    #[error("the worker process ended ({status}){diagnostics}; start another one")]
    Crashed {
        /// How it ended.
        status: String,
        /// The end of what it wrote to its standard error, after a colon, or nothing.
        diagnostics: String,
    },
    /// The evaluation took more processor time than it may; the worker was ended.
    #[error("no answer within {seconds} s of processor time; the worker process was ended")]
    Overrun {
        /// The limit.
        seconds: u64,
    },
    /// The heap needed more of this machine's memory than it was granted; the worker ended.
    #[error("more than the granted {granted} bytes of memory are needed")]
    Outgrown {
        /// What it was granted.
        granted: u64,
    },
    /// Data that the evaluation reads is not here.
    #[error("the data of {} ({} bytes) is not here", .0.id, .0.size)]
    Missing(Named),
    /// The worker can't do what it was asked to, and lives on.
    #[error("the worker process refused: {0}")]
    Refused(String),
    /// The worker is gone since an earlier error or an interrupted call.
    #[error("this worker is gone; start another one")]
    Gone,
    /// A message exceeds what fits a frame.
    #[error("{bytes} bytes do not fit a frame of {} bytes", frame::MAX_FRAME_BYTES)]
    Oversize {
        /// Its size.
        bytes: usize,
    },
    /// The build or the machine computes differently from others.
    #[error("this build does not compute what others do: {0}; it can't be a compute unit")]
    SelfTest(String),
}
