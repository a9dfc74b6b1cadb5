//! When crons fire: the scheduler is told at the second, or at the block, for which a process that it schedules has a
//! firing. What was missed while the node was down is due at once when it starts.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ao_protocol::cron::{Cron, Every, next_at};
use ao_protocol::evidence;
use ao_protocol::id::Id;
use ao_protocol::log::{Log, LogError};
use tokio::sync::broadcast::error::RecvError;

use super::scheduler::Scheduler;
use super::{Change, World, now_ms, room};

/// Longest time between two looks at the clock, which may be set.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// Fires what is due until the log fails.
pub async fn run(world: World, scheduler: Scheduler) {
    while world.goes_on(follow(&world, &scheduler).await).await {}
}

/// Processes with crons, in the order in which they are due.
#[derive(Default)]
struct Timetable {
    crons: BTreeMap<Id, Vec<Cron>>,
    /// The next second, and the process that has a firing then.
    seconds: BTreeSet<(u64, Id)>,
    /// The same by height.
    blocks: BTreeSet<(u64, Id)>,
}

async fn follow(world: &World, scheduler: &Scheduler) -> Result<(), LogError> {
    let mut changes = world.changes();
    let mut blocks = world.blocks();
    let mut timetable = Timetable::default();
    timetable.look_at_everything(world)?;
    loop {
        // What can't be scheduled now would be due again at once.
        world.wait_for_room(room::MIN_FREE_BYTES).await;
        let mut due = timetable.take_due(now_ms() / 1000, world.newest_block().height);
        while let Some(process) = due.pop_first() {
            if !scheduler.fire(process).await {
                tokio::time::sleep(LONGEST_WAIT).await;
            }
            timetable.enter(world, &process)?;
        }
        let next_ms = timetable.seconds.first().map(|(second, _)| second.saturating_mul(1000));
        let wait = next_ms.map_or(LONGEST_WAIT, |next| Duration::from_millis(next.saturating_sub(now_ms())));
        tokio::select! {
            change = changes.recv() => match change {
                Ok(Change::Entry { process, slot: 0 }) => timetable.add(world, &process)?,
                // It may be for this node to schedule it, from now on or no more.
                Ok(Change::Branches { process }) => timetable.look_again(world, &process)?,
                Ok(_) => {}
                Err(RecvError::Lagged(_)) => timetable.look_at_everything(world)?,
                Err(RecvError::Closed) => return Ok(()),
            },
            _ = blocks.changed() => {}
            () = tokio::time::sleep(wait.min(LONGEST_WAIT)) => {}
        }
    }
}

impl Timetable {
    fn look_at_everything(&mut self, world: &World) -> Result<(), LogError> {
        for process in world.processes()? {
            self.add(world, &process)?;
        }
        Ok(())
    }

    fn look_again(&mut self, world: &World, id: &Id) -> Result<(), LogError> {
        self.crons.remove(id);
        self.seconds.retain(|(_, other)| other != id);
        self.blocks.retain(|(_, other)| other != id);
        self.add(world, id)
    }

    /// Enters a process if it has crons and this node schedules it, unless it is disputed: nothing fires then.
    fn add(&mut self, world: &World, id: &Id) -> Result<(), LogError> {
        if self.crons.contains_key(id) {
            return Ok(());
        }
        match world.log().process(id)? {
            Some(process)
                if process.scheduler() == world.address()
                    && !process.crons.is_empty()
                    && evidence::disputed_from(world.log(), id)?.is_none() =>
            {
                self.crons.insert(*id, process.crons.clone());
                self.enter(world, id)
            }
            _ => Ok(()),
        }
    }

    /// Enters when a process is due next.
    fn enter(&mut self, world: &World, id: &Id) -> Result<(), LogError> {
        let Some(first) = world.log().entry(id, 0)? else { return Ok(()) };
        for cron in self.crons.get(id).into_iter().flatten() {
            let last = world.log().fired(id, &cron.id)?;
            let at = next_at(cron, &first.assignment.statement, last);
            match cron.every {
                Every::Seconds(_) => self.seconds.insert((at, *id)),
                Every::Blocks(_) => self.blocks.insert((at, *id)),
            };
        }
        Ok(())
    }

    /// Takes out the processes that are due.
    fn take_due(&mut self, second: u64, height: u64) -> BTreeSet<Id> {
        let mut due = BTreeSet::new();
        for (table, now) in [(&mut self.seconds, second), (&mut self.blocks, height)] {
            let later = table.split_off(&(now.saturating_add(1), Id::from([0; 32])));
            due.extend(std::mem::replace(table, later).into_iter().map(|(_, id)| id));
        }
        // What is left of them is entered again when they have fired.
        self.seconds.retain(|(_, id)| !due.contains(id));
        self.blocks.retain(|(_, id)| !due.contains(id));
        due
    }
}
