//! How a node that does not compute a process knows its outcomes: it takes those over that a trusted unit attested,
//! after checking that they add up to what was signed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ao_protocol::attestation::Attestation;
use ao_protocol::compute::{self, AdoptError};
use ao_protocol::id::Id;
use ao_protocol::log::{Durability, Log, LogError};
use ao_protocol::outcome::OutcomeRecord;
use ao_protocol::process::Process;
use ao_protocol::wire::{Request, Response};
use tokio::sync::{broadcast, mpsc};
use tokio::time::Instant;
use tracing::debug;

use super::{Change, World};
use crate::net::{PeerId, Verdict};

/// Most processes whose outcomes are fetched at once.
const MAX_FETCHES: usize = 32;
/// Wait before what is missing is asked for: most comes by gossip before that.
const RETRY: Duration = Duration::from_millis(500);
/// How often all processes are looked at, though nothing was heard.
const SWEEP: Duration = Duration::from_secs(5);

/// Takes over outcomes until the log fails.
pub async fn run(world: World) {
    if let Err(cause) = follow(&world).await {
        world.fail(&cause);
    }
}

async fn follow(world: &World) -> Result<(), LogError> {
    let mut changes = world.changes();
    // True: also ask for attestations, for their gossip may have been missed.
    let mut wanted: BTreeMap<Id, bool> = world.processes()?.into_iter().map(|process| (process, true)).collect();
    let mut later: BTreeMap<Id, Instant> = BTreeMap::new();
    let mut busy: BTreeSet<Id> = BTreeSet::new();
    let (done, mut finished) = mpsc::channel::<(Id, Result<bool, LogError>)>(MAX_FETCHES);
    let mut sweep = tokio::time::interval(SWEEP);
    loop {
        while busy.len() < MAX_FETCHES
            && let Some((process, ask)) =
                wanted.iter().find(|(process, _)| !busy.contains(*process)).map(|(process, ask)| (*process, *ask))
        {
            wanted.remove(&process);
            busy.insert(process);
            let (world, done) = (world.clone(), done.clone());
            tokio::spawn(async move {
                let result = catch_up(&world, &process, ask).await;
                let _ = done.send((process, result)).await;
            });
        }
        let due = later.values().min().copied();
        let wait = async {
            match due {
                Some(due) => tokio::time::sleep_until(due).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            change = changes.recv() => match change {
                // Entries too: an attestation may have come before the entry that it is about.
                Ok(Change::Attestation { process, .. } | Change::Entry { process, .. }) => {
                    wanted.entry(process).or_insert(false);
                }
                Ok(Change::Outcome { .. }) => {}
                Err(broadcast::error::RecvError::Lagged(_)) => wanted.extend(behind(world)?),
                Err(broadcast::error::RecvError::Closed) => return Ok(()),
            },
            Some((process, unfinished)) = finished.recv() => {
                busy.remove(&process);
                match unfinished? {
                    true => drop(later.insert(process, Instant::now() + RETRY)),
                    false => drop(later.remove(&process)),
                }
            }
            () = wait => {
                let now = Instant::now();
                let due: Vec<Id> = later.iter().filter(|(_, at)| **at <= now).map(|(process, _)| *process).collect();
                for process in due {
                    later.remove(&process);
                    wanted.insert(process, true);
                }
            }
            _ = sweep.tick() => wanted.extend(behind(world)?),
        }
    }
}

/// Processes with slots that have no outcome here.
fn behind(world: &World) -> Result<Vec<(Id, bool)>, LogError> {
    let log = world.log();
    let mut behind = Vec::new();
    for process in world.processes()? {
        if log.computed(&process)?.map(|computed| computed.slot) < log.tip(&process)?.map(|tip| tip.slot) {
            behind.push((process, true));
        }
    }
    Ok(behind)
}

/// Takes over what is attested beyond this node's outcomes; true when there is more that could not be had yet.
async fn catch_up(world: &World, process: &Id, ask: bool) -> Result<bool, LogError> {
    let log = world.log();
    let Some(entry) = log.entry(process, 0)? else { return Ok(false) };
    let Ok(spawn) = Process::read(&entry.item) else { return Ok(false) };
    loop {
        let next = log.computed(process)?.map_or(0, |computed| computed.slot + 1);
        let trust = world.trust();
        let units = trust.compute_units(&spawn);
        let Some(attestation) = log.next_attestation(process, next, &units)? else {
            if ask && ask_for_attestation(world, process, next).await? {
                continue;
            }
            return Ok(log.tip(process)?.is_some_and(|tip| tip.slot >= next));
        };
        if !compute::counts(&spawn, &attestation, &trust) {
            return Ok(false);
        }
        let slot = attestation.claim().slot;
        if log.tip(process)?.is_none_or(|tip| tip.slot < slot) {
            // The entries come first; their arrival wakes this again.
            return Ok(false);
        }
        let Some(records) = fetch(world, &attestation, next).await else { return Ok(true) };
        match compute::adopt(log, &records, next, &attestation)? {
            Ok(batch) => {
                log.commit(batch, Durability::Relaxed)?;
                world.changed(Change::Outcome { process: *process, slot });
            }
            Err(AdoptError::Gap { .. }) => {}
            Err(cause) => {
                debug!(%process, %cause, "outcomes were not taken over");
                return Ok(true);
            }
        }
    }
}

/// The outcomes from `first` up to the attested slot, from the unit that attested them or from any other compute unit:
/// whoever sends them, the attestation proves them.
async fn fetch(world: &World, attestation: &Attestation, first: u64) -> Option<Vec<OutcomeRecord>> {
    let claim = attestation.claim();
    let mut peers = compute_peers(world);
    if let Some(unit) = world.net().directory().unit(&attestation.unit()) {
        peers.retain(|peer| *peer != unit.peer);
        peers.insert(0, unit.peer);
    }
    for peer in peers {
        let mut records = Vec::new();
        while first + records.len() as u64 <= claim.slot {
            let request =
                Request::Outcomes { process: claim.process, from: first + records.len() as u64, to: claim.slot };
            match world.net().request(&peer, &request).await {
                Ok(Response::Outcomes(more)) if !more.is_empty() => records.extend(more),
                _ => break,
            }
        }
        if first + records.len() as u64 == claim.slot + 1 {
            return Some(records);
        }
    }
    None
}

/// Attestations are gossiped once; who missed one asks the compute units. True when one came that counts.
async fn ask_for_attestation(world: &World, process: &Id, from: u64) -> Result<bool, LogError> {
    for peer in compute_peers(world) {
        let request = Request::Attestations { process: *process, from };
        if let Ok(Response::Attestations(attestations)) = world.net().request(&peer, &request).await
            && !attestations.is_empty()
            && super::inbound::take_attestations(world, &attestations)? == Verdict::Accept
        {
            return Ok(true);
        }
    }
    Ok(false)
}

fn compute_peers(world: &World) -> Vec<PeerId> {
    let directory = world.net().directory();
    let units = directory.units_with(ao_protocol::announcement::Role::Cu);
    units.into_iter().filter(|unit| unit.address != world.address()).map(|unit| unit.peer).collect()
}
