//! What other units say of outcomes: their attestations, their commits to those, and proof that one of them lies. Only
//! what counts for a process of this log is kept.

use ao_protocol::agreement::{certain, counted, last_attestation, next_attestation};
use ao_protocol::announcement::Role;
use ao_protocol::attestation::{Attestation, Seen};
use ao_protocol::attested::AttestedBytes;
use ao_protocol::checkpoint;
use ao_protocol::commit::Commit;
use ao_protocol::compute;
use ao_protocol::dissent::{self, Perjury, Taken};
use ao_protocol::id::{Address, Id};
use ao_protocol::log::{Batch, Durability, Log, LogError};
use ao_protocol::process::Process;
use ao_protocol::wire::{Gossip, MAX_ATTESTATIONS, Response, shard};
use tracing::{debug, warn};

use super::{Change, World, now_ms, room};
use crate::net::Verdict;

/// An attestation may be about slots that this node does not have yet, but not further ahead of its log than this.
const MAX_AHEAD: u64 = 10_000;
/// The same of a commit: who commits has the slots, and just now.
const MAX_COMMITTED_AHEAD: u64 = 1_000;
/// What a peer's score becomes whose unit attested something wrong, and whose unit contradicts itself. The first keeps
/// gossip from it, with the second it is not listened to either.
const SCORE_OF_DISSENT: f64 = -100.0;
const SCORE_OF_PERJURY: f64 = -200.0;

/// What taking in attestations came to.
pub struct TakenIn {
    /// What the gossip is to be judged.
    pub verdict: Verdict,
    /// How many were new and count.
    pub new: usize,
}

/// Verifies attestations and keeps those of units that the process trusts. The outcomes that came along wait for
/// [`super::adopt`].
pub fn take(world: &World, attested: Vec<AttestedBytes>) -> Result<TakenIn, LogError> {
    take_up_to(world, attested, MAX_AHEAD)
}

/// The same of what this node asked for to join: it may be about slots far behind those that it has.
pub fn take_far(world: &World, attestations: Vec<Vec<u8>>) -> Result<TakenIn, LogError> {
    take_up_to(world, attestations.into_iter().map(AttestedBytes::bare).collect(), u64::MAX)
}

fn take_up_to(world: &World, attested: Vec<AttestedBytes>, ahead: u64) -> Result<TakenIn, LogError> {
    let nothing = |verdict| Ok(TakenIn { verdict, new: 0 });
    if world.lack_of_room(room::MIN_FREE_BYTES_TO_FOLLOW).is_some() {
        return nothing(Verdict::Ignore);
    }
    let mut read = Vec::with_capacity(attested.len());
    for bytes in attested {
        match bytes.read() {
            Ok(attested) => read.push(attested),
            Err(cause) => {
                debug!(%cause, "an attestation was refused");
                return nothing(Verdict::Reject);
            }
        }
    }
    let log = world.log();
    let trust = world.trust();
    let (mut new, mut lies) = (0, 0);
    for attested in read {
        let attestation = attested.attestation().clone();
        let (unit, claim) = (attestation.unit(), attestation.claim());
        let (process, slot, chain) = (claim.process, claim.slot, claim.outcome_chain);
        let tip = log.tip(&process)?.map_or(0, |tip| tip.slot);
        let Some(spawn) = log.process(&process)? else { continue };
        if !compute::counts(&spawn, &attestation, &trust)
            || slot.saturating_sub(tip) > ahead
            || unit == world.address()
            || log.perjury(&unit)?.is_some()
        {
            continue;
        }
        // One at a time: of two that contradict each other the second has to see the first.
        let _alone = world.taking_attestations();
        let mut batch = Batch::new();
        let of_state = claim.checkpoint.is_some();
        let taken = match of_state {
            true => checkpoint::take(log, &mut batch, &attestation)?,
            false => dissent::take(log, &mut batch, world.commits().seen(attestation.clone(), now_ms()))?,
        };
        let wrong = taken == Taken::New
            && knows_what_is_right(world, &spawn)?
            && (dissent::judge_one(log, &mut batch, &attestation, now_ms())?
                || checkpoint::judge(log, &mut batch, &attestation, now_ms())?);
        if !batch.is_empty() {
            let durability = if wrong || taken != Taken::New { Durability::Synced } else { Durability::Relaxed };
            log.commit(batch, durability)?;
        }
        match taken {
            Taken::New => {
                new += 1;
                if of_state {
                    continue;
                }
                // Compute units have their own.
                if !world.plays(Role::Cu) {
                    world.handed().put(chain, attested.into_outcomes());
                }
                world.changed(Change::Attestation { process, slot });
            }
            Taken::Known => {}
            Taken::Perjury(perjury) => {
                lies += 1;
                accuse_of_perjury(world, &process, slot, &unit);
                spread(world, &process, Gossip::Perjury(*perjury));
            }
        }
        if wrong {
            accuse_of_dissent(world, &process, &unit);
        }
    }
    // What tells nothing new is not passed on: anybody could repeat it for ever.
    Ok(TakenIn { verdict: if new + lies > 0 { Verdict::Accept } else { Verdict::Ignore }, new })
}

/// What units attested of the newest checkpoints, for who joins.
pub fn newest_checkpoints(world: &World, process: &Id) -> Result<Response, LogError> {
    let attestations = checkpoint::newest(world.log(), process)?.iter().map(Attestation::to_bytes).collect();
    Ok(Response::Attestations { attestations, perjuries: Vec::new() })
}

/// Judges what units attested of the state after a slot, now that this node rebuilt it itself.
pub fn judge_checkpoints(world: &World, process: &Id, slot: u64) -> Result<(), LogError> {
    let log = world.log();
    for attestation in log.checkpoints(process, slot)? {
        let mut batch = Batch::new();
        if checkpoint::judge(log, &mut batch, &attestation, now_ms())? {
            log.commit(batch, Durability::Synced)?;
            accuse_of_dissent(world, process, &attestation.unit());
        }
    }
    Ok(())
}

/// Whether this node can tell what is right of a process: it computed it itself; else only a quorum can.
pub fn knows_what_is_right(world: &World, process: &Process) -> Result<bool, LogError> {
    let log = world.log();
    let computed = log.computed(&process.id())?.map(|computed| computed.slot);
    if process.compute_quorum > 1 {
        return Ok(true);
    }
    // What it began with others computed.
    Ok(computed.is_some() && log.evaluated(&process.id())? >= computed && log.base(&process.id())?.is_none())
}

/// Remembers commits of units that the process trusts.
pub fn take_commits(world: &World, commits: &[Vec<u8>]) -> Result<Verdict, LogError> {
    let log = world.log();
    let mut read = Vec::with_capacity(commits.len());
    for bytes in commits {
        match Commit::verify(bytes) {
            Ok(commit) => read.push(commit),
            Err(cause) => {
                debug!(%cause, "a commit was refused");
                return Ok(Verdict::Reject);
            }
        }
    }
    let mut verdict = Verdict::Ignore;
    for commit in read {
        let (process, unit, slot) = (commit.process(), commit.unit(), commit.slot());
        let Some(spawn) = log.process(&process)? else { continue };
        let tip = log.tip(&process)?.map_or(0, |tip| tip.slot);
        let shown = log.last_attestation(&process, &unit, u64::MAX)?;
        let is_old = shown.is_some_and(|shown| shown.attestation.claim().slot >= slot);
        if is_old
            || slot.saturating_sub(tip) > MAX_COMMITTED_AHEAD
            || !counted(log, &spawn, &world.trust())?.contains(&unit)
        {
            continue;
        }
        if world.commits().put(commit, now_ms()) {
            verdict = Verdict::Accept;
            world.changed(Change::Commit { process });
        }
    }
    Ok(verdict)
}

/// Keeps the proof that a unit lies.
pub fn take_perjury(world: &World, perjury: &Perjury) -> Result<Verdict, LogError> {
    let mut batch = Batch::new();
    match dissent::accept(world.log(), &mut batch, perjury)? {
        Err(cause) => {
            debug!(%cause, "what was called perjury is none");
            Ok(Verdict::Reject)
        }
        Ok(false) => Ok(Verdict::Ignore),
        Ok(true) => {
            // Whoever it is: only units that some process of this node trusts are worth a record.
            let Ok((unit, process, slot)) = perjury.verify() else { return Ok(Verdict::Reject) };
            let spawn = world.log().process(&process)?;
            if !spawn.is_some_and(|spawn| world.trust().compute_units(&spawn).contains(&unit)) {
                return Ok(Verdict::Ignore);
            }
            world.log().commit(batch, Durability::Synced)?;
            accuse_of_perjury(world, &process, slot, &unit);
            Ok(Verdict::Accept)
        }
    }
}

/// Below which slot this node's own results of a process may be shown: where several units must agree, no further than
/// it attested them, or they would be copied. None: all of them.
pub fn shown_below(world: &World, process: &Id) -> Result<Option<u64>, LogError> {
    let log = world.log();
    let Some(spawn) = log.process(process)?.filter(|spawn| spawn.compute_quorum > 1) else { return Ok(None) };
    // What was taken over is known to others.
    if log.evaluated(process)?.is_none() || !world.trust().compute_units(&spawn).contains(&world.address()) {
        return Ok(None);
    }
    let own = log.last_attestation(process, &world.address(), u64::MAX)?;
    let certain = certain(log, &spawn, &world.trust())?;
    let last = own.map(|own| own.attestation.claim().slot).max(certain);
    Ok(Some(last.map_or(0, |last| last + 1)))
}

/// What this node has of the units that a process trusts, for who missed it.
pub fn answer(world: &World, process: &Id, from: u64) -> Result<Response, LogError> {
    let log = world.log();
    let (mut attestations, mut perjuries) = (Vec::new(), Vec::new());
    let spawn = log.process(process)?;
    for unit in spawn.map(|spawn| world.trust().compute_units(&spawn)).unwrap_or_default() {
        perjuries.extend(log.perjury(&unit)?);
        let mut next = from;
        for _ in 0..MAX_ATTESTATIONS {
            let Some(nearest) = next_attestation(log, process, &unit, next)? else { break };
            // The furthest that covers what the nearest does: few cover many slots.
            let until = next.saturating_add(compute::MAX_SLOTS_PER_ATTESTATION - 1);
            let furthest = last_attestation(log, process, &unit, until)?;
            let Seen { attestation, .. } =
                furthest.filter(|furthest| furthest.attestation.claim().slot >= next).unwrap_or(nearest);
            next = attestation.claim().slot.saturating_add(1);
            attestations.push(attestation.to_bytes());
        }
        match last_attestation(log, process, &unit, u64::MAX)? {
            Some(Seen { attestation, .. }) if attestation.claim().slot >= next => {
                attestations.push(attestation.to_bytes())
            }
            _ => {}
        }
    }
    Ok(Response::Attestations { attestations, perjuries })
}

/// A unit attested something that is known to be wrong: its node's score falls.
pub fn accuse_of_dissent(world: &World, process: &Id, unit: &Address) {
    warn!(%process, %unit, "a compute unit attested a wrong outcome: its word on this process counts no more");
    accuse(world, process, unit, SCORE_OF_DISSENT);
}

fn accuse_of_perjury(world: &World, process: &Id, slot: u64, unit: &Address) {
    warn!(%process, slot, %unit, "a compute unit attested two outcomes of one slot: its word counts no more");
    accuse(world, process, unit, SCORE_OF_PERJURY);
}

fn accuse(world: &World, process: &Id, unit: &Address, score: f64) {
    world.tally().accused();
    // Who waits for units to agree looks again.
    world.changed(Change::Attestation { process: *process, slot: 0 });
    if let Some(unit) = world.net().directory().unit(unit) {
        let net = world.net().clone();
        tokio::spawn(async move { net.accuse(&unit.peer, score).await });
    }
}

/// Tells everybody who follows the process.
fn spread(world: &World, process: &Id, gossip: Gossip) {
    let (net, shard) = (world.net().clone(), shard(process));
    tokio::spawn(async move {
        if let Err(cause) = net.publish(shard, &gossip).await {
            debug!(%cause, "proof of a lie was not gossiped");
        }
    });
}
