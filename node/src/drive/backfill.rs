//! Fills in what is missing of logs below the checkpoints that this node began with, a page at a time, from any peer.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ao_protocol::backfill::{self, Hole, WrongFill};
use ao_protocol::entry::Entry;
use ao_protocol::id::Id;
use ao_protocol::log::{Durability, Log, LogError};
use ao_protocol::wire::{EntryBytes, Request, Response};
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::time::Instant;
use tracing::{debug, info, warn};

use super::compute::Computer;
use super::{Change, World, room};
use crate::net::PeerId;

/// Wait after nobody had what is missing.
const RETRY: Duration = Duration::from_secs(1);

/// Fills in until the log fails.
pub async fn run(world: World, computer: Computer) {
    while world.goes_on(follow(&world, &computer).await).await {}
}

async fn follow(world: &World, computer: &Computer) -> Result<(), LogError> {
    let mut changes = world.changes();
    let everything = || -> Result<BTreeSet<Id>, LogError> {
        let mut open = BTreeSet::new();
        for process in world.processes()? {
            if world.log().hole(&process)?.is_some() {
                open.insert(process);
            }
        }
        Ok(open)
    };
    let mut open = everything()?;
    let mut began: BTreeMap<Id, (Instant, Hole)> = BTreeMap::new();
    let mut turn = 0usize;
    loop {
        if open.is_empty() {
            match changes.recv().await {
                Ok(Change::Hole { process }) => drop(open.insert(process)),
                Ok(_) => {}
                Err(RecvError::Lagged(_)) => open = everything()?,
                Err(RecvError::Closed) => return Ok(()),
            }
            continue;
        }
        loop {
            match changes.try_recv() {
                Ok(Change::Hole { process }) => drop(open.insert(process)),
                Ok(_) => {}
                Err(TryRecvError::Lagged(_)) => open = everything()?,
                Err(TryRecvError::Empty | TryRecvError::Closed) => break,
            }
        }
        world.wait_for_room(room::MIN_FREE_BYTES_TO_FOLLOW).await;
        let (mut progress, mut missing) = (false, 0);
        for process in open.clone() {
            let Some(hole) = world.log().hole(&process)? else {
                open.remove(&process);
                if let Some((since, hole)) = began.remove(&process) {
                    let (entries, outcomes) = hole.missing();
                    info!(%process, entries, outcomes, took = ?since.elapsed(), "what was before its checkpoint is here");
                }
                tell(world, &process)?;
                continue;
            };
            began.entry(process).or_insert((Instant::now(), hole));
            let peers = world.net().directory().connected();
            turn = turn.wrapping_add(1);
            if let Some(peer) = peers.get(turn % peers.len().max(1)) {
                progress |= page(world, computer, &process, hole, peer).await?;
            }
            let (entries, outcomes) = hole.missing();
            missing += entries + outcomes;
        }
        world.tally().set_missing(missing);
        if !progress && !open.is_empty() {
            tokio::time::sleep(RETRY).await;
        }
    }
}

/// Who waited for what was missing goes on.
fn tell(world: &World, process: &Id) -> Result<(), LogError> {
    if let (Some(tip), Some(computed)) = (world.log().tip(process)?, world.log().computed(process)?) {
        world.changed(Change::Entry { process: *process, slot: tip.slot });
        world.changed(Change::Outcome { process: *process, slot: computed.slot, evaluated: 0 });
    }
    Ok(())
}

/// Fills in one page; whether it brought anything.
async fn page(world: &World, computer: &Computer, process: &Id, hole: Hole, peer: &PeerId) -> Result<bool, LogError> {
    let filled = match hole.missing() {
        (0, _) => {
            let request = Request::OutcomesBelow { process: *process, below: hole.outcomes_below };
            let Ok(Response::Outcomes(records)) = world.net().request(peer, &request).await else { return Ok(false) };
            let _steady = world.log().steady();
            let (batch, filled) = backfill::outcomes(world.log(), process, records)?;
            let brought = !batch.is_empty();
            world.log().commit(batch, Durability::Relaxed)?;
            filled.map(|()| brought)
        }
        (entries, _) => {
            let most = u32::try_from(entries).unwrap_or(u32::MAX);
            let request = Request::Below { process: *process, below: hole.entries_below, most, bare: false };
            let Ok(Response::Range(entries)) = world.net().request(peer, &request).await else { return Ok(false) };
            let Some(entries) = verified(world, entries).await else { return Ok(false) };
            let _steady = world.log().steady();
            let (batch, filled) = backfill::entries(world.log(), process, entries)?;
            let brought = !batch.is_empty();
            world.log().commit(batch, Durability::Relaxed)?;
            filled.map(|()| brought)
        }
    };
    match filled {
        Ok(brought) => Ok(brought),
        Err(cause @ WrongFill::Link(_)) => {
            debug!(%peer, %process, %cause, "what a peer sent does not fit below a checkpoint");
            Ok(false)
        }
        Err(cause @ (WrongFill::Forked(_) | WrongFill::Differs(_))) => {
            // Whoever is wrong: this unit finds out by itself, when it has no dispute to wait for.
            warn!(%process, %cause, "what was here before is not what the checkpoint goes on from");
            computer.leave_checkpoint(process).await?;
            Ok(world.log().hole(process)?.is_none())
        }
    }
}

/// Verifies entries on threads that may take their time.
async fn verified(world: &World, entries: Vec<EntryBytes>) -> Option<Vec<Entry>> {
    let world = world.clone();
    let verify = move || -> Vec<Entry> {
        let read = entries.iter().map(|entry| Entry::verify_with(entry, |item| world.verified().verify(item)).ok());
        read.map_while(|entry| entry).collect()
    };
    // It can't be joined when the node is stopping.
    tokio::task::spawn_blocking(verify).await.ok()
}
