//! Why a process is not computed here for now. That is this node's trouble and never an outcome: nothing is attested.

use ao_protocol::log::LogError;
use ao_protocol::reference::Named;

use crate::vm::VmError;

/// Why a process is not computed here.
#[derive(Clone, Debug)]
pub struct Stalled {
    /// The reason, for people.
    pub reason: String,
    /// Whether it can't change: nothing will come of waiting.
    pub for_good: bool,
}

/// What stopped the task of a process.
pub(super) enum Stall {
    /// Something this node lacks for now.
    Reason(String),
    /// Something that this node never does.
    ForGood(String),
    /// Slots of which one took more processor time than it may; with patience too, if that is so.
    Overrun { first: u64, last: u64, patiently: bool, seconds: u64 },
    /// More memory is needed than the worker was granted.
    Outgrown { granted: u64 },
    /// Data that it reads is not here.
    Missing(Named),
    /// Slots were taken back meanwhile.
    TakenBack,
    /// The log failed.
    Log(LogError),
}

impl From<LogError> for Stall {
    fn from(cause: LogError) -> Stall {
        Stall::Log(cause)
    }
}

impl From<VmError> for Stall {
    fn from(cause: VmError) -> Stall {
        match cause {
            VmError::Outgrown { granted } => Stall::Outgrown { granted },
            VmError::Missing(named) => Stall::Missing(named),
            other => Stall::Reason(other.to_string()),
        }
    }
}

impl Stall {
    /// For people.
    pub(super) fn shown(self) -> Stalled {
        let (reason, for_good) = match self {
            Stall::Reason(reason) => (reason, false),
            Stall::ForGood(reason) => (reason, true),
            Stall::Overrun { first, seconds, .. } => {
                let limit = format!("evaluating it takes more than {seconds} s of processor time here");
                (format!("stalled at slot {first}: {limit}"), true)
            }
            Stall::Outgrown { granted } => {
                let limit = format!("workers may hold no more here than {granted} bytes of it (--worker-memory)");
                (format!("it needs more memory: {limit}"), false)
            }
            Stall::Missing(Named { id, size, .. }) => {
                (format!("it reads the data of {id} ({size} bytes), which is on its way here"), false)
            }
            Stall::TakenBack => ("slots of it were taken back".into(), false),
            Stall::Log(cause) => (cause.to_string(), false),
        };
        Stalled { reason, for_good }
    }
}
