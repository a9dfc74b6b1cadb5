//! Beginning with a checkpoint: a unit that lacks many slots of a process takes over the state that enough other units
//! attested, from whichever peer has it, and evaluates what comes after it. What is before it is filled in later; see
//! [`super::super::backfill`].

use std::sync::PoisonError;
use std::time::Duration;

use ao_protocol::backfill;
use ao_protocol::checkpoint::{self, Certified, MIN_SKIPPED_SLOTS, Manifest, begin_with};
use ao_protocol::entry::Entry;
use ao_protocol::evidence::disputed_from;
use ao_protocol::id::Id;
use ao_protocol::log::{Durability, Log, LogError};
use ao_protocol::outcome::OutcomeRecord;
use ao_protocol::process::Process;
use ao_protocol::wire::{self, Request, Response};
use futures::future::join_all;
use tracing::{debug, info, warn};

use super::super::adopt::compute_peers;
use super::super::repair::Follower;
use super::super::{Change, World, attestations};
use super::{Computer, Stall};
use crate::net::PeerId;
use crate::vm::{MAX_SNAPSHOT_BYTES, Snapshot};

/// How long peers may take to say which checkpoints there are.
const ASK_LIMIT: Duration = Duration::from_secs(3);
/// How often they are asked where what they tell of is by nobody that counts, and the time between.
const MAX_TURNS: usize = 3;
const BETWEEN_TURNS: Duration = Duration::from_millis(300);
/// Most peers that are tried for one join.
const MAX_TRIES: usize = 6;
/// Most processes that join at once.
pub(super) const MAX_JOINING: usize = 2;
/// Longest time that fetching a checkpoint takes, and a second more for each of its pieces.
const FETCH_LIMIT: Duration = Duration::from_secs(10);
/// What the score of a peer becomes that sends a checkpoint which is not the one that was attested.
const SCORE_OF_WRONG_CHECKPOINT: f64 = -100.0;

/// What came of asking a peer for a checkpoint.
pub(in crate::drive) enum Fetched {
    Whole(Box<(Entry, OutcomeRecord, Snapshot)>),
    /// It does not have it, or not all of it.
    Not,
    /// What it sent is wrong.
    Wrong(&'static str),
}

impl Computer {
    /// Begins with the newest certified checkpoint, where that spares many slots.
    pub(super) async fn join(&self, id: &Id) -> Result<(), Stall> {
        let world = &self.0.world;
        let log = world.log();
        if self.0.join.is_none() || self.0.unjoined.lock().unwrap_or_else(PoisonError::into_inner).contains(id) {
            return Ok(());
        }
        let next = log.computed(id)?.map_or(0, |computed| computed.slot + 1);
        let Some(tip) = log.tip(id)? else { return Ok(()) };
        let Some(process) = log.process(id)? else { return Ok(()) };
        if tip.slot < next + MIN_SKIPPED_SLOTS
            || log.hole(id)?.is_some()
            // Its scheduler needs all of it.
            || process.scheduler() == world.address()
            || disputed_from(log, id)?.is_some()
        {
            return Ok(());
        }
        if self.begin_with_restored(&process, next + MIN_SKIPPED_SLOTS).await? {
            return Ok(());
        }
        // One or two at a time: what they fetch is held in memory.
        let _place = self.0.joining.acquire().await;
        let mut tries = 0;
        let least = next + MIN_SKIPPED_SLOTS;
        for turn in 0..MAX_TURNS {
            if turn > 0 {
                tokio::time::sleep(BETWEEN_TURNS).await;
            }
            let told = ask(world, id, least).await?;
            let mut peers = compute_peers(world);
            for certified in checkpoint::certified(log, &process, &world.trust(), &world.address(), least)? {
                // Who attested it made it.
                let directory = world.net().directory();
                let of = |unit| directory.unit(unit).map(|unit| unit.peer);
                let makers: Vec<PeerId> = certified.units.iter().filter_map(of).collect();
                peers.sort_by_key(|peer| !makers.contains(peer));
                for peer in &peers {
                    tries += 1;
                    if tries > MAX_TRIES || self.join_with(&process, &certified, peer).await? {
                        return Ok(());
                    }
                }
            }
            // Just started, a node may not know yet which units there are.
            if told == 0 {
                break;
            }
        }
        Ok(())
    }

    async fn join_with(&self, process: &Process, certified: &Certified, peer: &PeerId) -> Result<bool, Stall> {
        let Some(follower) = &self.0.join else { return Ok(false) };
        let (world, id, slot) = (&self.0.world, process.id(), certified.slot);
        let began = std::time::Instant::now();
        let (entry, record, snapshot) = match fetch_checkpoint(world, &id, certified, peer).await {
            Fetched::Whole(whole) => *whole,
            Fetched::Not => return Ok(false),
            Fetched::Wrong(what) => {
                warn!(%peer, process = %id, slot, what, "a wrong checkpoint was refused");
                // Others may have another branch, and say so in good faith.
                let directory = world.net().directory();
                if certified.units.iter().any(|unit| directory.unit(unit).is_some_and(|unit| unit.peer == *peer)) {
                    world.tally().accused();
                    world.net().accuse(peer, SCORE_OF_WRONG_CHECKPOINT).await;
                }
                return Ok(false);
            }
        };
        let bytes = snapshot.bytes.len();
        // As if it were saved at a pause: it counts when the process begins with it.
        let keeping = world.clone();
        let kept = tokio::task::spawn_blocking(move || keeping.log().keep_snapshot(&id, &snapshot, true)).await;
        if kept.ok().transpose()?.is_none() || !begin(follower, process, certified, entry, record).await? {
            return Ok(false);
        }
        info!(process = %id, slot, bytes, %peer, took = ?began.elapsed(), "began with a checkpoint");
        Ok(true)
    }

    /// Begins with the state that came from Arweave with the log, if enough units that the process trusts attested it.
    async fn begin_with_restored(&self, process: &Process, least: u64) -> Result<bool, Stall> {
        let (world, log, id) = (&self.0.world, self.0.world.log(), process.id());
        let (Some(follower), Some((slot, record))) = (&self.0.join, log.restored_checkpoint(&id)?) else {
            return Ok(false);
        };
        if slot < least {
            log.forget_restored_checkpoint(&id)?;
            return Ok(false);
        }
        let own = world.address();
        let certified = checkpoint::certified(log, process, &world.trust(), &own, least)?;
        let certified = certified.into_iter().find(|certified| certified.slot == slot);
        let (Some(certified), Some(entry)) = (certified, log.entry(&id, slot)?) else { return Ok(false) };
        let (keeping, expected) = (world.clone(), certified.hash);
        // Only now it is known to be what they attested.
        let kept = tokio::task::spawn_blocking(move || {
            let log = keeping.log();
            let snapshot = log.restored_state(&id, slot)?;
            let fits = Manifest::of(&snapshot.bytes).hash() == expected;
            if fits {
                log.keep_snapshot(&id, &snapshot, true)?;
            }
            log.forget_restored_checkpoint(&id)?;
            Ok::<_, LogError>(fits.then_some(snapshot.bytes.len()))
        });
        let Some(bytes) = kept.await.unwrap_or(Ok(None))? else { return Ok(false) };
        let begun = begin(follower, process, &certified, entry, record).await?;
        if begun {
            info!(process = %id, slot, bytes, "began with a checkpoint from Arweave");
        }
        Ok(begun)
    }

    /// A checkpoint that the process began with can't be used: all of it is evaluated, once its log is here.
    pub(in crate::drive) async fn leave_checkpoint(&self, id: &Id) -> Result<(), LogError> {
        let Some(follower) = &self.0.join else { return Ok(()) };
        warn!(process = %id, "its checkpoint can't be used: all of it is evaluated");
        self.0.unjoined.lock().unwrap_or_else(PoisonError::into_inner).insert(*id);
        let id = *id;
        let done = follower.alone(move |world| start_over(world, &id)).await;
        done.unwrap_or(Ok(()))
    }
}

/// Lets the log of a process go on behind a checkpoint whose state is kept as if it were saved at a pause.
async fn begin(
    follower: &Follower,
    process: &Process,
    certified: &Certified,
    entry: Entry,
    record: OutcomeRecord,
) -> Result<bool, LogError> {
    let (process, certified) = (process.clone(), certified.clone());
    let begun = follower.alone(move |world| -> Result<bool, LogError> {
        let (log, id, slot) = (world.log(), process.id(), certified.slot);
        let _steady = log.steady();
        let Some(batch) = begin_with(log, &process, &certified, entry, record)? else {
            log.forget_snapshot(&id, slot)?;
            return Ok(false);
        };
        log.commit(batch, Durability::Relaxed)?;
        log.keep_pause(&id, slot)?;
        world.changed(Change::Entry { process: id, slot });
        world.changed(Change::Outcome { process: id, slot, evaluated: 0 });
        world.changed(Change::Hole { process: id });
        Ok(true)
    });
    begun.await.unwrap_or(Ok(false))
}

/// Asks all peers which checkpoints units attested, and how far units came; how many attestations they told of.
async fn ask(world: &World, id: &Id, from: u64) -> Result<usize, LogError> {
    // Any peer has what was attested; the state itself only who computes.
    let connected = world.net().directory().connected();
    let requests = [Request::Checkpoints(*id), Request::Attestations { process: *id, from }];
    let asked = connected.iter().flat_map(|peer| requests.iter().map(move |request| (peer, request)));
    let asked = asked.map(|(peer, request)| tokio::time::timeout(ASK_LIMIT, world.net().request(peer, request)));
    let (mut told, mut new) = (0, 0);
    for answer in join_all(asked).await {
        if let Ok(Ok(Response::Attestations { attestations, .. })) = answer {
            told += attestations.len();
            new += attestations::take_far(world, attestations)?.new;
        }
    }
    debug!(process = %id, told, new, "asked for checkpoints");
    Ok(told)
}

/// Takes back what is around a hole in a log, so that it comes again from below.
pub(in crate::drive) fn start_over(world: &World, id: &Id) -> Result<(), LogError> {
    let rewinds = world.log().rewinds();
    let _writing = rewinds.write().unwrap_or_else(PoisonError::into_inner);
    // Its scheduler would give slots again that it gave before.
    let own = world.log().process(id)?.is_some_and(|process| process.scheduler() == world.address());
    let batch = backfill::start_over(world.log(), id)?;
    if !batch.is_empty() && !own {
        world.log().commit(batch, Durability::Synced)?;
        world.changed(Change::Branches { process: *id });
    }
    Ok(())
}

/// The checkpoint, the slot's entry and its outcome, as a peer has them.
pub(in crate::drive) async fn fetch_checkpoint(
    world: &World,
    id: &Id,
    certified: &Certified,
    peer: &PeerId,
) -> Fetched {
    let (net, slot) = (world.net(), certified.slot);
    let ask = |piece| async move {
        match net.request(peer, &Request::Checkpoint { process: *id, slot, piece }).await {
            Ok(Response::Checkpoint(found)) => found,
            _ => None,
        }
    };
    let Some(manifest) = ask(None).await else { return Fetched::Not };
    let Ok(manifest) = wire::decode::<Manifest>(&manifest) else { return Fetched::Wrong("its manifest can't be read") };
    let pieces = manifest.pieces().filter(|_| manifest.bytes() <= MAX_SNAPSHOT_BYTES);
    let Some(pieces) = pieces.filter(|_| manifest.hash() == certified.hash) else {
        return Fetched::Wrong("its manifest is not the one that was attested");
    };
    let request = Request::Below { process: *id, below: slot + 1, most: 1, bare: false };
    let entry = match net.request(peer, &request).await {
        Ok(Response::Range(entries)) => entries.into_iter().next(),
        _ => None,
    };
    let Some(Ok(entry)) = entry.map(|entry| Entry::verify_with(&entry, |item| world.verified().verify(item))) else {
        return Fetched::Not;
    };
    let record = match net.request(peer, &Request::OutcomesBelow { process: *id, below: slot + 1 }).await {
        Ok(Response::Outcomes(records)) => records.into_iter().next(),
        _ => None,
    };
    let Some(record) = record else { return Fetched::Not };
    if (entry.assignment.id(), record.chain()) != (certified.assignment, certified.chain) {
        return Fetched::Wrong("the slot's entry or outcome is not the one that was attested");
    }
    let all = async {
        let mut bytes = Vec::new();
        for number in 0..pieces {
            match ask(Some(number)).await {
                Some(piece) if manifest.is_piece(number, &piece) => bytes.extend_from_slice(&piece),
                Some(_) => return Err(Fetched::Wrong("a piece of it is not what its manifest says")),
                None => return Err(Fetched::Not),
            }
        }
        Ok(bytes)
    };
    // A peer that is slower than a mebibyte a second holds nobody up.
    let limit = FETCH_LIMIT + Duration::from_secs(u64::from(pieces));
    let bytes = match tokio::time::timeout(limit, all).await {
        Ok(Ok(bytes)) => bytes,
        Ok(Err(cause)) => return cause,
        Err(_) => return Fetched::Not,
    };
    Fetched::Whole(Box::new((entry, record, Snapshot { slot, bytes })))
}
