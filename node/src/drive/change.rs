//! What drivers tell each other: that the log changed, and where.

use ao_protocol::id::Id;

/// Something new in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// A process has a new slot.
    Entry {
        /// Which process.
        process: Id,
        /// Its highest slot.
        slot: u64,
    },
    /// A process has a new outcome.
    Outcome {
        /// Which process.
        process: Id,
        /// The highest slot with an outcome.
        slot: u64,
        /// How many slots this node evaluated itself; 0: they were taken over.
        evaluated: u64,
    },
    /// This node can't compute a process.
    Stalled {
        /// Which process.
        process: Id,
    },
    /// What is known of the branches of a process changed: its scheduler gave a slot twice, or its owner resumed it, or
    /// slots were taken back.
    Branches {
        /// Which process.
        process: Id,
    },
    /// The log of a process began with a checkpoint, so that slots below it are missing.
    Hole {
        /// Which process.
        process: Id,
    },
    /// The state of a process was rebuilt, so that it can be attested.
    Rebuilt {
        /// Which process.
        process: Id,
    },
    /// A unit committed to an attestation that it will show.
    Commit {
        /// Which process.
        process: Id,
    },
    /// A unit's attestation came in, or it was found that a unit lies.
    Attestation {
        /// Which process.
        process: Id,
        /// The attested slot.
        slot: u64,
    },
}

impl Change {
    /// The process that it is about.
    pub fn process(&self) -> &Id {
        match self {
            Change::Entry { process, .. }
            | Change::Outcome { process, .. }
            | Change::Attestation { process, .. }
            | Change::Commit { process }
            | Change::Branches { process }
            | Change::Hole { process }
            | Change::Rebuilt { process }
            | Change::Stalled { process } => process,
        }
    }
}
