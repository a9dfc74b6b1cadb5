//! Evaluating slots by a worker, and what is done when it lacks something.

use std::sync::atomic::Ordering;

use ao_protocol::compute::Job;
use ao_protocol::id::Id;
use ao_protocol::message::Message;
use ao_protocol::outcome::Outcome;
use tracing::debug;

use super::room::Place;
use super::{Computer, Stall, Task};
use crate::vm::{VmError, Worker};

/// Most times that a worker waits for data that one message reads.
const MAX_WAITS: usize = 64;

impl Computer {
    /// Outcomes of the first jobs, at least one. Data that the first one lacks and that comes soon is waited for.
    pub(super) async fn evaluate_with_data(
        &self,
        process: &Id,
        jobs: &[Job],
        worker: &mut Worker,
        patiently: bool,
        rewinds: u64,
    ) -> Result<Vec<Outcome>, Stall> {
        let mut waits = 0;
        loop {
            match self.evaluate(jobs, worker, patiently).await {
                Err(Stall::Missing(named)) => {
                    waits += 1;
                    // The worker may have passed a rebuild point before.
                    let kept = self.keep_rebuilt(process, worker, rewinds)?;
                    if !kept || waits > MAX_WAITS || !self.is_there_soon(&named).await {
                        return Err(Stall::Missing(named));
                    }
                }
                evaluated => return evaluated,
            }
        }
    }

    /// Outcomes of the first jobs, at least one.
    async fn evaluate(&self, jobs: &[Job], worker: &mut Worker, patiently: bool) -> Result<Vec<Outcome>, Stall> {
        let (first, last) = (jobs.first().map_or(0, |job| job.slot), jobs.last().map_or(0, |job| job.slot));
        let messages: Vec<Message> = jobs.iter().map(|job| job.message.clone()).collect();
        let evaluated = match patiently {
            true => worker.apply_patiently(first, &messages[..1]).await,
            false => worker.apply(first, &messages).await,
        };
        evaluated.map_err(|cause| match cause {
            VmError::Overrun { seconds } => Stall::Overrun { first, last, patiently, seconds },
            other => other.into(),
        })
    }
}

/// Where a worker needs more memory than its place has, and there are larger ones: the next try asks for one.
pub(super) fn grown<T>(result: Result<T, Stall>, task: &Task, place: &Place) -> Result<Option<T>, Stall> {
    match result {
        Err(Stall::Outgrown { granted }) if !place.is_all() => {
            debug!(granted, "a worker needs a larger place");
            task.heap_bytes.store(granted.saturating_mul(2), Ordering::Relaxed);
            Ok(None)
        }
        result => result.map(Some),
    }
}
