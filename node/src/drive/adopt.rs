//! How a node that does not compute a process knows its outcomes: it takes those over that as many units attested as
//! the process asks for, after checking that they add up to what was signed.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use ao_protocol::agreement::{certain, counted, last_attestation, next_attestation};
use ao_protocol::attestation::Attestation;
use ao_protocol::attested::AttestedBytes;
use ao_protocol::backoff::Backoff;
use ao_protocol::compute::{self, AdoptError};
use ao_protocol::id::Id;
use ao_protocol::log::{Durability, Log, LogError};
use ao_protocol::outcome::OutcomeRecord;
use ao_protocol::process::Process;
use ao_protocol::trust::Trust;
use ao_protocol::wire::{Request, Response};
use tokio::sync::{broadcast, mpsc};
use tokio::time::Instant;
use tracing::debug;

use super::compute::Computer;
use super::{Change, World, attestations, room};
use crate::net::PeerId;

/// Most processes whose outcomes are fetched at once.
const MAX_FETCHES: usize = 32;
/// First wait before what is missing is asked for, in milliseconds: most comes by gossip before that.
const FIRST_RETRY_MS: u64 = 500;
/// Longest wait, in milliseconds: it may be that nobody computes the process.
const LAST_RETRY_MS: u64 = 60_000;
/// Most slots whose outcomes are fetched before they are checked. Units attest more often than that.
const MAX_SPAN: u64 = 2 * compute::MAX_SLOTS_PER_ATTESTATION;
/// How often all processes are looked at, though nothing was heard.
const SWEEP: Duration = Duration::from_secs(30);

/// Takes over outcomes until the log fails. A compute unit does it for what it can't compute itself.
pub async fn run(world: World, computer: Option<Computer>) {
    loop {
        let adoption = Adoption {
            world: world.clone(),
            computer: computer.clone(),
            queue: VecDeque::new(),
            wanted: BTreeMap::new(),
            later: BTreeMap::new(),
            busy: BTreeSet::new(),
        };
        if !world.goes_on(adoption.follow().await).await {
            return;
        }
    }
}

/// Which processes are to be looked at, in what order and when.
struct Adoption {
    world: World,
    computer: Option<Computer>,
    /// First come, first served: a process that nobody computes does not hold up others.
    queue: VecDeque<Id>,
    /// What is in the queue. True: also ask for attestations, for their gossip may have been missed.
    wanted: BTreeMap<Id, bool>,
    later: BTreeMap<Id, (Instant, Backoff)>,
    busy: BTreeSet<Id>,
}

impl Adoption {
    async fn follow(mut self) -> Result<(), LogError> {
        let mut changes = self.world.changes();
        let (done, mut finished) = mpsc::channel::<(Id, Result<bool, LogError>)>(MAX_FETCHES);
        let mut sweep = tokio::time::interval(SWEEP);
        loop {
            self.start(&done);
            let due = self.later.values().map(|(at, _)| *at).min();
            let wait = async {
                match due {
                    Some(due) => tokio::time::sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                change = changes.recv() => match change {
                    // News of a process: it is worth asking soon.
                    Ok(Change::Attestation { process, .. }) => {
                        self.later.remove(&process);
                        self.want(process, false);
                    }
                    // Entries too: an attestation may have come before the entry that it is about.
                    Ok(Change::Entry { process, .. }) => self.want(process, false),
                    Ok(Change::Branches { process }) => self.want(process, true),
                    Ok(_) => {}
                    Err(broadcast::error::RecvError::Lagged(_)) => self.want_all()?,
                    Err(broadcast::error::RecvError::Closed) => return Ok(()),
                },
                Some((process, unfinished)) = finished.recv() => {
                    self.busy.remove(&process);
                    match unfinished? {
                        true => self.wait(process),
                        false => drop(self.later.remove(&process)),
                    }
                }
                () = wait => {
                    let now = Instant::now();
                    let due = self.later.iter().filter(|(_, (at, _))| *at <= now).map(|(process, _)| *process);
                    for process in due.collect::<Vec<Id>>() {
                        // The backoff stays until something was had.
                        if let Some((at, _)) = self.later.get_mut(&process) {
                            *at = now + Duration::from_millis(LAST_RETRY_MS);
                        }
                        self.want(process, true);
                    }
                }
                _ = sweep.tick() => self.want_all()?,
            }
        }
    }

    fn want(&mut self, process: Id, ask: bool) {
        // What is computed here needs nobody's word but where a quorum is asked for; that is looked at by and by.
        if !ask && self.computer.as_ref().is_some_and(|computer| computer.stalled(&process).is_none()) {
            return;
        }
        match self.wanted.get_mut(&process) {
            Some(asked) => *asked |= ask,
            None => {
                self.wanted.insert(process, ask);
                self.queue.push_back(process);
            }
        }
    }

    /// Wants all processes with slots that have no outcome here, or that too few units agree on.
    fn want_all(&mut self) -> Result<(), LogError> {
        let log = self.world.log();
        let mut behind = Vec::new();
        for process in self.world.processes()? {
            if self.later.contains_key(&process) {
                continue;
            }
            let computed = log.computed(&process)?.map(|computed| computed.slot);
            if computed < log.tip(&process)?.map(|tip| tip.slot) || self.is_uncertain(&process)? {
                behind.push(process);
            }
        }
        behind.into_iter().for_each(|process| self.want(process, true));
        Ok(())
    }

    fn is_uncertain(&self, process: &Id) -> Result<bool, LogError> {
        let log = self.world.log();
        let spawn = log.process(process)?;
        let Some(spawn) = spawn.filter(|spawn| spawn.compute_quorum > 1) else { return Ok(false) };
        Ok(certain(log, &spawn, &self.world.trust())? < log.computed(process)?.map(|computed| computed.slot))
    }

    fn wait(&mut self, process: Id) {
        let fresh = || (Instant::now(), Backoff::new(FIRST_RETRY_MS, LAST_RETRY_MS));
        let (at, backoff) = self.later.entry(process).or_insert_with(fresh);
        *at = Instant::now() + Duration::from_millis(backoff.next_ms());
    }

    /// Starts as many as there are places.
    fn start(&mut self, done: &mpsc::Sender<(Id, Result<bool, LogError>)>) {
        let mut turns = self.queue.len();
        while self.busy.len() < MAX_FETCHES && turns > 0 {
            turns -= 1;
            let Some(process) = self.queue.pop_front() else { return };
            if self.busy.contains(&process) {
                self.queue.push_back(process);
                continue;
            }
            let ask = self.wanted.remove(&process).unwrap_or(false);
            self.busy.insert(process);
            let (world, computer, done) = (self.world.clone(), self.computer.clone(), done.clone());
            tokio::spawn(async move {
                let result = catch_up(&world, computer.as_ref(), &process, ask).await;
                let _ = done.send((process, result)).await;
            });
        }
    }
}

/// Takes over what enough units attested beyond this node's outcomes; true when there is more that could not be had
/// yet.
async fn catch_up(world: &World, computer: Option<&Computer>, process: &Id, ask: bool) -> Result<bool, LogError> {
    let log = world.log();
    if world.lack_of_room(room::MIN_FREE_BYTES_TO_FOLLOW).is_some() {
        return Ok(true);
    }
    let Some(spawn) = log.process(process)? else { return Ok(false) };
    // Each time that it went on, more may be had.
    let mut may_ask = ask;
    loop {
        let Some(tip) = log.tip(process)?.map(|tip| tip.slot) else { return Ok(false) };
        let next = log.computed(process)?.map_or(0, |computed| computed.slot + 1);
        let computes = computer.is_some_and(|computer| computer.stalled(process).is_none());
        let trust = world.trust();
        if next > tip || computes {
            // Nothing is to be taken over; but who delivers for it needs to know that enough units agree.
            let until = certain(log, &spawn, &trust)?.map_or(0, |slot| slot + 1);
            if until >= next || spawn.compute_quorum <= 1 {
                return Ok(false);
            }
            if std::mem::take(&mut may_ask) && ask_for_attestations(world, process, until).await? {
                continue;
            }
            return Ok(true);
        }
        let attested = attested(log, &spawn, &trust, next, tip)?;
        match take_over(world, &spawn, &attested, next).await? {
            true => may_ask = ask,
            false if std::mem::take(&mut may_ask) && ask_for_attestations(world, process, next).await? => continue,
            false => return Ok(true),
        }
    }
}

/// What units that count attested of the next slots from `first` on: the nearest and the furthest of each unit, the
/// nearest first.
fn attested(log: &dyn Log, spawn: &Process, trust: &Trust, first: u64, tip: u64) -> Result<Vec<Attestation>, LogError> {
    let mut attested = Vec::new();
    for unit in counted(log, spawn, trust)? {
        let nearest = next_attestation(log, &spawn.id(), &unit, first)?;
        let newest = last_attestation(log, &spawn.id(), &unit, tip.min(first + MAX_SPAN))?;
        for seen in nearest.into_iter().chain(newest) {
            let slot = seen.attestation.claim().slot;
            if (first..=tip.min(first + MAX_SPAN)).contains(&slot) && compute::counts(spawn, &seen.attestation, trust) {
                attested.push(seen.attestation);
            }
        }
    }
    attested.sort_by_key(|attestation| (attestation.claim().slot, attestation.unit()));
    attested.dedup();
    Ok(attested)
}

/// Takes over the outcomes from `first` on, as far as enough units attested the same, from a unit that attested them or
/// from any other compute unit: whoever sends them, the attestations prove them, and who sends something else is passed
/// over.
async fn take_over(world: &World, spawn: &Process, attested: &[Attestation], first: u64) -> Result<bool, LogError> {
    let mut units = BTreeSet::new();
    for (place, candidate) in attested.iter().enumerate() {
        units.insert(candidate.unit());
        // Fewer than enough say anything up to there.
        if units.len() < spawn.compute_quorum as usize {
            continue;
        }
        // Of several that attested the same, one is enough.
        let claim = candidate.claim();
        let same = |other: &Attestation| {
            other.claim().slot == claim.slot && other.claim().outcome_chain == claim.outcome_chain
        };
        if attested.iter().take(place).any(same) && attested.iter().skip(place + 1).any(same) {
            continue;
        }
        if let Some(records) = world.handed().get(&claim.outcome_chain, claim.slot, first)
            && keep(world, spawn, &records, first, attested)?.is_ok()
        {
            world.handed().forget(&claim.outcome_chain);
            return Ok(true);
        }
        let mut peers = compute_peers(world);
        if let Some(unit) = world.net().directory().unit(&candidate.unit()) {
            peers.retain(|peer| *peer != unit.peer);
            peers.insert(0, unit.peer);
        }
        for peer in peers {
            let Some(records) = fetch(world, &peer, candidate, first).await else { continue };
            match keep(world, spawn, &records, first, attested)? {
                Ok(()) => return Ok(true),
                // Somebody was faster: this node's own unit, or another attestation.
                Err(AdoptError::Gap { .. }) => return Ok(true),
                Err(cause @ AdoptError::Few { .. }) => {
                    debug!(process = %claim.process, %peer, %cause, "outcomes were not taken over");
                    // Others would send the same.
                    if records.last().map(OutcomeRecord::chain) == Some(claim.outcome_chain) {
                        break;
                    }
                }
                Err(cause) => debug!(process = %claim.process, %peer, %cause, "outcomes were not taken over"),
            }
        }
    }
    Ok(false)
}

/// Takes over outcomes as far as they are attested.
fn keep(
    world: &World,
    spawn: &Process,
    records: &[OutcomeRecord],
    first: u64,
    attested: &[Attestation],
) -> Result<Result<(), AdoptError>, LogError> {
    let _steady = world.log().steady();
    match compute::adopt(world.log(), spawn, records, first, attested)? {
        Ok((batch, last)) => {
            world.log().commit(batch, Durability::Relaxed)?;
            world.changed(Change::Outcome { process: spawn.id(), slot: last, evaluated: 0 });
            Ok(Ok(()))
        }
        Err(cause) => Ok(Err(cause)),
    }
}

/// All outcomes from `first` up to the attested slot, as one peer has them.
async fn fetch(world: &World, peer: &PeerId, attestation: &Attestation, first: u64) -> Option<Vec<OutcomeRecord>> {
    let claim = attestation.claim();
    let mut records: Vec<OutcomeRecord> = Vec::new();
    loop {
        let from = first + records.len() as u64;
        if from > claim.slot {
            return Some(records);
        }
        let request = Request::Outcomes { process: claim.process, from, to: claim.slot };
        match world.net().request(peer, &request).await {
            Ok(Response::Outcomes(more)) if !more.is_empty() => records.extend(more),
            _ => return None,
        }
    }
}

/// Attestations are gossiped once; who missed them asks the compute units. True when some came that count.
pub async fn ask_for_attestations(world: &World, process: &Id, from: u64) -> Result<bool, LogError> {
    let mut new = 0;
    for peer in compute_peers(world) {
        let request = Request::Attestations { process: *process, from };
        if let Ok(Response::Attestations { attestations, perjuries }) = world.net().request(&peer, &request).await {
            for perjury in &perjuries {
                attestations::take_perjury(world, perjury)?;
            }
            new += attestations::take(world, attestations.into_iter().map(AttestedBytes::bare).collect())?.new;
        }
    }
    Ok(new > 0)
}

pub(super) fn compute_peers(world: &World) -> Vec<PeerId> {
    let directory = world.net().directory();
    let units = directory.units_with(ao_protocol::announcement::Role::Cu);
    units.into_iter().filter(|unit| unit.address != world.address()).map(|unit| unit.peer).collect()
}
