//! Recording what was evaluated, unless the slots were taken back meanwhile.

use std::sync::RwLockReadGuard;

use ao_protocol::compute::{self, Job};
use ao_protocol::id::Id;
use ao_protocol::log::{Durability, Log, LogError};
use ao_protocol::outcome::Outcome;

use super::super::Change;
use super::{Computer, Stall};

impl Computer {
    /// How often slots of a process were taken back.
    pub(super) fn rewinds(&self, process: &Id) -> Result<u64, LogError> {
        Ok(self.0.world.log().process(process)?.map_or(u64::MAX, |process| process.rewinds))
    }

    /// Held while something is written of a process, so that no slots are taken back meanwhile; none when they were.
    pub(super) fn steady(&self, process: &Id, rewinds: u64) -> Result<Option<RwLockReadGuard<'_, ()>>, LogError> {
        let steady = self.0.world.log().steady();
        Ok((self.rewinds(process)? == rewinds).then_some(steady))
    }

    /// False when slots were taken back since the worker began.
    pub(super) fn record(&self, jobs: Vec<Job>, outcomes: Vec<Outcome>, rewinds: u64) -> Result<bool, Stall> {
        let world = &self.0.world;
        let evaluated: Vec<(Job, Outcome)> = jobs.into_iter().zip(outcomes).collect();
        let count = evaluated.len();
        let Some((process, slot)) = evaluated.last().map(|(job, _)| (job.process, job.slot)) else { return Ok(true) };
        let Some(_steady) = self.steady(&process, rewinds)? else { return Ok(false) };
        world.log().commit(compute::record(evaluated), Durability::Relaxed)?;
        world.tally().evaluated(count);
        world.changed(Change::Outcome { process, slot, evaluated: count as u64 });
        Ok(true)
    }
}
