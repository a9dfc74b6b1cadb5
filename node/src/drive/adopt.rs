//! How a node that does not compute a process knows its outcomes: it takes those over that a trusted unit attested,
//! after checking that they add up to what was signed.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use ao_protocol::attestation::Attestation;
use ao_protocol::attested::AttestedBytes;
use ao_protocol::backoff::Backoff;
use ao_protocol::compute::{self, AdoptError};
use ao_protocol::id::Id;
use ao_protocol::log::{Batch, Durability, Log, LogError};
use ao_protocol::outcome::OutcomeRecord;
use ao_protocol::process::Process;
use ao_protocol::wire::{Request, Response};
use tokio::sync::{broadcast, mpsc};
use tokio::time::Instant;
use tracing::debug;

use super::compute::Computer;
use super::inbound::take_attestations;
use super::{Change, World, room};
use crate::net::{PeerId, Verdict};

/// Most processes whose outcomes are fetched at once.
const MAX_FETCHES: usize = 32;
/// First wait before what is missing is asked for, in milliseconds: most comes by gossip before that.
const FIRST_RETRY_MS: u64 = 500;
/// Longest wait, in milliseconds: it may be that nobody computes the process.
const LAST_RETRY_MS: u64 = 60_000;
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
                    Ok(Change::Outcome { .. } | Change::Stalled { .. }) => {}
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
        if self.computer.as_ref().is_some_and(|computer| computer.stalled(&process).is_none()) {
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

    /// Wants all processes with slots that have no outcome here.
    fn want_all(&mut self) -> Result<(), LogError> {
        let log = self.world.log();
        let mut behind = Vec::new();
        for process in self.world.processes()? {
            let computed = log.computed(&process)?.map(|computed| computed.slot);
            if computed < log.tip(&process)?.map(|tip| tip.slot) && !self.later.contains_key(&process) {
                behind.push(process);
            }
        }
        behind.into_iter().for_each(|process| self.want(process, true));
        Ok(())
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
            let (world, done) = (self.world.clone(), done.clone());
            tokio::spawn(async move {
                let result = catch_up(&world, &process, ask).await;
                let _ = done.send((process, result)).await;
            });
        }
    }
}

/// Takes over what is attested beyond this node's outcomes; true when there is more that could not be had yet.
async fn catch_up(world: &World, process: &Id, ask: bool) -> Result<bool, LogError> {
    let log = world.log();
    if world.lack_of_room(room::MIN_FREE_BYTES_TO_FOLLOW).is_some() {
        return Ok(true);
    }
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
        if !take_over(world, &attestation, next).await? {
            return Ok(true);
        }
    }
}

/// Takes over the outcomes from `first` up to the attested slot, from the unit that attested them or from any other
/// compute unit: whoever sends them, the attestation proves them, and who sends something else is passed over.
async fn take_over(world: &World, attestation: &Attestation, first: u64) -> Result<bool, LogError> {
    let claim = attestation.claim();
    if let Some(records) = world.handed().take(&claim.outcome_chain, claim.slot, first)
        && let Ok(batch) = compute::adopt(world.log(), &records, first, attestation)?
    {
        return keep(world, attestation, batch);
    }
    let mut peers = compute_peers(world);
    if let Some(unit) = world.net().directory().unit(&attestation.unit()) {
        peers.retain(|peer| *peer != unit.peer);
        peers.insert(0, unit.peer);
    }
    for peer in peers {
        let Some(records) = fetch(world, &peer, attestation, first).await else { continue };
        match compute::adopt(world.log(), &records, first, attestation)? {
            Ok(batch) => return keep(world, attestation, batch),
            // Somebody was faster: this node's own unit, or another attestation.
            Err(AdoptError::Gap { .. }) => return Ok(true),
            Err(cause) => debug!(process = %claim.process, %peer, %cause, "outcomes were not taken over"),
        }
    }
    Ok(false)
}

fn keep(world: &World, attestation: &Attestation, batch: Batch) -> Result<bool, LogError> {
    let claim = attestation.claim();
    world.log().commit(batch, Durability::Relaxed)?;
    world.changed(Change::Outcome { process: claim.process, slot: claim.slot });
    Ok(true)
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

/// Attestations are gossiped once; who missed one asks the compute units. True when one came that counts.
async fn ask_for_attestation(world: &World, process: &Id, from: u64) -> Result<bool, LogError> {
    for peer in compute_peers(world) {
        let request = Request::Attestations { process: *process, from };
        if let Ok(Response::Attestations(attestations)) = world.net().request(&peer, &request).await
            && !attestations.is_empty()
            && take_attestations(world, attestations.into_iter().map(AttestedBytes::bare).collect())? == Verdict::Accept
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
