//! Looks after the races: finds units that attested something wrong, and credits the laps that are over.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use ao_protocol::dissent::judge;
use ao_protocol::id::Id;
use ao_protocol::log::{Batch, Durability, Log, LogError};
use ao_protocol::race::{SETTLED_AFTER_MS, settle};
use tokio::sync::broadcast;
use tokio::time::{Instant, MissedTickBehavior};

use super::attestations::{accuse_of_dissent, knows_what_is_right};
use super::{Change, World, now_ms, room};

/// Time between two looks at what happened.
const LOOK: Duration = Duration::from_millis(500);
/// A process is looked at for so long after something happened: laps are credited some time after they were run.
const WATCHED: Duration = Duration::from_millis(SETTLED_AFTER_MS + 2_000);

/// Looks after the races until the log fails.
pub async fn run(world: World) {
    while world.goes_on(watch(&world).await).await {}
}

async fn watch(world: &World) -> Result<(), LogError> {
    let mut changes = world.changes();
    let mut looks = tokio::time::interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let everything = || -> Result<BTreeMap<Id, Instant>, LogError> {
        Ok(world.processes()?.into_iter().map(|process| (process, Instant::now() + WATCHED)).collect())
    };
    let mut watched = everything()?;
    // Below this slot of a process all that was there was judged; what comes later is when it is taken in.
    let mut judged: HashMap<Id, u64> = HashMap::new();
    loop {
        tokio::select! {
            change = changes.recv() => match change {
                Ok(Change::Outcome { process, .. } | Change::Attestation { process, .. }) => {
                    watched.insert(process, Instant::now() + WATCHED);
                }
                Ok(Change::Branches { process }) => {
                    judged.remove(&process);
                    watched.insert(process, Instant::now() + WATCHED);
                }
                Ok(_) => {}
                Err(broadcast::error::RecvError::Lagged(_)) => watched = everything()?,
                Err(broadcast::error::RecvError::Closed) => return Ok(()),
            },
            _ = looks.tick() => {
                if world.lack_of_room(room::MIN_FREE_BYTES_TO_FOLLOW).is_some() {
                    continue;
                }
                let now = Instant::now();
                for process in watched.keys() {
                    look(world, process, judged.entry(*process).or_default())?;
                }
                watched.retain(|_, until| *until > now);
            }
        }
    }
}

fn look(world: &World, id: &Id, judged: &mut u64) -> Result<(), LogError> {
    let log = world.log();
    let _steady = log.steady();
    let Some(process) = log.process(id)? else { return Ok(()) };
    let Some(computed) = log.computed(id)? else { return Ok(()) };
    let trust = world.trust();
    if knows_what_is_right(world, &process)? {
        let mut batch = Batch::new();
        let liars = judge(log, &mut batch, &process, &trust, *judged, now_ms())?;
        if !liars.is_empty() {
            log.commit(batch, Durability::Synced)?;
        }
        liars.iter().for_each(|unit| accuse_of_dissent(world, id, unit));
        *judged = computed.slot + 1;
    }
    let batch = settle(log, &process, &trust, now_ms())?;
    if batch.is_empty() { Ok(()) } else { log.commit(batch, Durability::Relaxed) }
}
