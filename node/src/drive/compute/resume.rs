//! How a new worker comes to the state after the last recorded outcome: by the newest snapshot at a rebuild point, and
//! the slots since. And how snapshots are kept: those of rebuild points, and that of a worker that ends because nothing
//! happens, which is one if the next slot turns out to be late enough.

use ao_protocol::compute;
use ao_protocol::id::Id;
use ao_protocol::log::{Batch, Durability, Log, LogError, Write};
use tracing::{debug, error, info, warn};

use super::{Change, Computer, MAX_BATCH, Stall, judge_checkpoints};
use crate::store::SnapshotPlace;
use crate::vm::{IDLE_MS, VmError, Worker};

impl Computer {
    /// Brings a new worker up. Where it began with a snapshot that is only good if the next slot is late enough, and
    /// there is none yet: that snapshot's slot.
    pub(super) async fn bring_up(&self, process: &Id, worker: &mut Worker, rewinds: u64) -> Result<Option<u64>, Stall> {
        let log = self.0.world.log();
        let Some(computed) = log.computed(process)? else { return Ok(None) };
        let began = std::time::Instant::now();
        let (first, pause) = match self.restore(process, computed.slot, worker).await? {
            Some((slot, is_sure)) => (slot + 1, (!is_sure).then_some(slot)),
            None => (0, None),
        };
        self.replay(process, first, computed.slot, worker, rewinds).await?;
        let Some(_steady) = self.steady(process, rewinds)? else { return Err(Stall::TakenBack) };
        let before = log.evaluated(process)?;
        if before < Some(computed.slot) {
            // What was taken over from others was now evaluated, too, and can be attested.
            let mut batch = Batch::new();
            batch.push(Write::Evaluated { process: *process, slot: computed.slot });
            log.commit(batch, Durability::Relaxed)?;
            let evaluated = computed.slot + 1 - before.map_or(0, |before| before + 1);
            self.0.world.changed(Change::Outcome { process: *process, slot: computed.slot, evaluated });
        }
        if computed.slot > 0 {
            info!(%process, from = first, to = computed.slot, took = ?began.elapsed(), "brought up");
        }
        Ok(pause)
    }

    /// Restores the newest snapshot that may be gone on from; its slot, and whether it is sure to be a rebuild point.
    async fn restore(&self, process: &Id, computed: u64, worker: &mut Worker) -> Result<Option<(u64, bool)>, Stall> {
        let log = self.0.world.log();
        for SnapshotPlace { slot, at_pause } in log.snapshots(process)? {
            if slot > computed {
                continue;
            }
            let mut is_sure = true;
            if at_pause {
                match log.entry(process, slot + 1)? {
                    Some(next) if !self.confirm(process, slot, compute::message(log, &next)?.timestamp)? => continue,
                    next => is_sure = next.is_some(),
                }
            }
            let Some(snapshot) = log.snapshot(process, slot)? else {
                warn!(%process, slot, "a snapshot is damaged; an older one is taken");
                log.forget_snapshot(process, slot)?;
                continue;
            };
            match worker.restore(&snapshot).await {
                Ok(()) => return Ok(Some((slot, is_sure))),
                Err(VmError::Refused(cause)) => {
                    warn!(%process, slot, %cause, "a snapshot can't be restored; an older one is taken");
                    log.forget_snapshot(process, slot)?;
                }
                Err(cause) => {
                    // Whatever it is, it may be in the bytes: the next worker does without them.
                    warn!(%process, slot, %cause, "a worker did not survive a snapshot; the next one takes an older one");
                    log.forget_snapshot(process, slot)?;
                    return Err(cause.into());
                }
            }
        }
        Ok(None)
    }

    /// Whether what was saved at a slot may be gone on from, given the time of the next one: else it is forgotten, and
    /// if so that slot is a rebuild point.
    pub(super) fn confirm(&self, process: &Id, slot: u64, next_ms: u64) -> Result<bool, LogError> {
        let log = self.0.world.log();
        if !self.was_pause(process, slot, next_ms)? {
            log.forget_snapshot(process, slot)?;
            return Ok(false);
        }
        log.keep_pause(process, slot)?;
        judge_checkpoints(&self.0.world, process, slot)?;
        self.0.world.changed(Change::Rebuilt { process: *process });
        Ok(true)
    }

    /// Whether a slot is followed by a pause that makes it a rebuild point. Times are those of the messages, as workers
    /// see them: a cron's is when it was due.
    fn was_pause(&self, process: &Id, slot: u64, next_ms: u64) -> Result<bool, LogError> {
        let log = self.0.world.log();
        let Some(entry) = log.entry(process, slot)? else { return Ok(false) };
        Ok(next_ms.saturating_sub(compute::message(log, &entry)?.timestamp) >= IDLE_MS)
    }

    /// Evaluates slots again. The state follows from the log alone, so what they give must be what was recorded.
    async fn replay(
        &self,
        process: &Id,
        first: u64,
        last: u64,
        worker: &mut Worker,
        rewinds: u64,
    ) -> Result<(), Stall> {
        let log = self.0.world.log();
        let mut slot = first;
        while slot <= last {
            let mut messages = Vec::new();
            let mut bytes = 0;
            for at in (slot..=last).take(MAX_BATCH) {
                let Some(entry) = log.entry(process, at)? else { break };
                bytes += entry.item.bytes().len();
                if bytes > compute::MAX_JOB_BYTES && !messages.is_empty() {
                    break;
                }
                messages.push(compute::message(log, &entry)?);
            }
            if messages.is_empty() {
                return Err(self.lost(process, slot, rewinds).await?);
            }
            // They ended before.
            let outcomes = worker.apply_patiently(slot, &messages).await;
            let outcomes = outcomes?;
            for outcome in outcomes {
                let recorded = log.outcome(process, slot)?.map(|record| record.outcome.root());
                if recorded.is_none() {
                    return Err(self.lost(process, slot, rewinds).await?);
                }
                if recorded != Some(outcome.bounded().root()) {
                    error!(%process, slot, "replaying gave another outcome than was recorded");
                    let reason = format!("replaying slot {slot} gave another outcome than was recorded before");
                    return Err(Stall::Reason(reason));
                }
                slot += 1;
            }
            if !self.keep_rebuilt(process, worker, rewinds)? {
                return Err(Stall::TakenBack);
            }
        }
        Ok(())
    }

    /// It began with a checkpoint that can't be used, and what was before it is not here; unless it was just taken
    /// back.
    async fn lost(&self, process: &Id, slot: u64, rewinds: u64) -> Result<Stall, Stall> {
        if self.rewinds(process)? != rewinds {
            return Ok(Stall::TakenBack);
        }
        self.leave_checkpoint(process).await?;
        let text = format!("its state before slot {slot} is lost here; all of it is fetched and evaluated again");
        Ok(Stall::Reason(text))
    }

    /// Keeps the snapshot of a rebuild point, if the worker just passed one. False when slots were taken back since.
    pub(super) fn keep_rebuilt(&self, process: &Id, worker: &mut Worker, rewinds: u64) -> Result<bool, LogError> {
        let Some(snapshot) = worker.take_snapshot() else { return Ok(true) };
        let Some(_steady) = self.steady(process, rewinds)? else { return Ok(false) };
        let world = &self.0.world;
        debug!(%process, slot = snapshot.slot, bytes = snapshot.bytes.len(), "rebuilt");
        world.log().keep_snapshot(process, &snapshot, false)?;
        judge_checkpoints(world, process, snapshot.slot)?;
        world.changed(Change::Rebuilt { process: *process });
        Ok(true)
    }

    /// Keeps the state of a worker that is about to end because nothing happens.
    pub(super) async fn save(&self, process: &Id, worker: &mut Worker, rewinds: u64) -> Result<(), Stall> {
        match worker.save().await {
            Ok(snapshot) => {
                if let Some(_steady) = self.steady(process, rewinds)? {
                    self.0.world.log().keep_snapshot(process, &snapshot, true)?;
                }
                Ok(())
            }
            Err(cause) => {
                // It is made again from what there is.
                debug!(%process, %cause, "the state of an idle process was not saved");
                Ok(())
            }
        }
    }
}
