//! What comes in from peers: gossip gets its verdict, requests get their answers. Everything is verified before it is
//! stored, forwarded or evaluated.

use std::sync::Arc;

use ao_protocol::announcement::Role;
use ao_protocol::id::Id;
use ao_protocol::log::{Batch, Durability, Log, LogError, Write};
use ao_protocol::outcome::OutcomeRecord;
use ao_protocol::resume::Resume;
use ao_protocol::scheduler::{Refusal, Submission};
use ao_protocol::wire::{
    self, EntryBytes, Gossip, ItemBytes, MAX_OUTCOMES, MAX_RANGE_BYTES, MAX_RANGE_ENTRIES, MAX_SUBMISSIONS, MAX_TIPS,
    Request, Response, SubmissionBytes, TipBytes,
};
use tokio::sync::{Semaphore, mpsc};
use tracing::{debug, warn};

use super::attestations::{self, shown_below};
use super::branches::{self, TakenUp};
use super::item_budget::ItemBudget;
use super::location;
use super::repair::{Follower, compare_tips};
use super::scheduler::Scheduler;
use super::unbundle;
use super::{World, permaweb, room};
use crate::http::PassedOn;
use crate::net::{NetEvent, PeerId, Verdict};
use crate::store::DataRoot;

/// Most messages from peers that are worked on at once.
const MAX_AT_ONCE: usize = 256;

/// Handles what peers send.
#[derive(Clone)]
pub struct Inbound {
    world: World,
    follower: Follower,
    scheduler: Option<Scheduler>,
    api: PassedOn,
    item_budget: Arc<ItemBudget>,
}

impl Inbound {
    /// With the parts that take things in.
    pub(crate) fn new(world: World, follower: Follower, scheduler: Option<Scheduler>, api: PassedOn) -> Inbound {
        Inbound { world, follower, scheduler, api, item_budget: Arc::default() }
    }

    /// Handles events until the network layer ends.
    pub async fn run(self, mut events: mpsc::Receiver<NetEvent>) {
        let places = Arc::new(Semaphore::new(MAX_AT_ONCE));
        while let Some(event) = events.recv().await {
            let Ok(place) = places.clone().acquire_owned().await else { return };
            let inbound = self.clone();
            tokio::spawn(async move {
                inbound.handle(event).await;
                drop(place);
            });
        }
    }

    async fn handle(&self, event: NetEvent) {
        match event {
            NetEvent::Gossip { from, gossip, ticket } => {
                let verdict = match self.gossip(&from, gossip).await {
                    Ok(verdict) => verdict,
                    Err(cause) => {
                        self.failed(&cause);
                        Verdict::Ignore
                    }
                };
                self.world.verdicts().count(verdict);
                self.world.net().verdict(ticket, verdict);
            }
            NetEvent::Request { from, request, reply } => match self.answer(&from, request).await {
                Ok(response) => reply.send(response),
                Err(cause) => {
                    self.failed(&cause);
                    reply.send(Response::Busy("the database of this node failed".into()));
                }
            },
            // Beside this: a peer that answers slowly must not take the places of others.
            NetEvent::Connected(peer) => {
                tokio::spawn(compare_tips(self.world.clone(), self.follower.clone(), peer));
            }
            NetEvent::Disconnected(peer) => {
                self.item_budget.forget_rested();
                self.follower.gone(peer);
            }
            NetEvent::NetworkLearned(_) => {}
        }
    }

    /// The log failed; without room it will do again.
    fn failed(&self, cause: &LogError) {
        match cause {
            LogError::Full(cause) => debug!(%cause, "something of a peer was not kept"),
            cause => self.world.fail(cause),
        }
    }

    async fn gossip(&self, from: &PeerId, gossip: Gossip) -> Result<Verdict, LogError> {
        let world = &self.world;
        match gossip {
            Gossip::Message { messenger, item } => {
                let Ok(item) = world.verified().verify_or_say(item).await else { return Ok(Verdict::Reject) };
                // A messenger gossips what it accepts before it submits it: should it be gone in between, the scheduler
                // has it from here.
                if let Some(scheduler) = &self.scheduler
                    && item.tag("Origin-Slot").is_none()
                {
                    let submission = Submission::new(item, messenger);
                    for refusal in
                        permaweb::submit_gossiped(scheduler, submission).await.iter().filter_map(|r| r.as_ref().err())
                    {
                        debug!(%refusal, "a gossiped message was not scheduled");
                    }
                }
                Ok(Verdict::Accept)
            }
            Gossip::Entries(entries) => {
                let Some(taken) = self.follower.take(entries).await else { return Ok(Verdict::Ignore) };
                if let Some((process, slot)) = taken.beyond {
                    self.follower.claim(from.clone(), process, slot);
                }
                if let Some(process) = taken.unresumed {
                    let (world, follower, from) = (world.clone(), self.follower.clone(), from.clone());
                    tokio::spawn(async move { branches::ask(&world, &follower, &from, &process).await });
                }
                Ok(taken.verdict)
            }
            Gossip::Attestations(attested) => Ok(attestations::take(world, attested)?.verdict),
            Gossip::Commits(commits) => attestations::take_commits(world, &commits),
            Gossip::Perjury(perjury) => attestations::take_perjury(world, &perjury),
            Gossip::Evidence(ours, theirs) => match branches::take_evidence(world, (ours, theirs))? {
                Ok(true) => Ok(Verdict::Accept),
                Ok(false) => Ok(Verdict::Ignore),
                Err(cause) => {
                    debug!(%cause, "what was called evidence is none");
                    Ok(Verdict::Reject)
                }
            },
            Gossip::Resume(bytes) => match branches::take(world, &self.follower, bytes).await? {
                TakenUp::New => Ok(Verdict::Accept),
                TakenUp::Known | TakenUp::Unknown(_) | TakenUp::TooSoon => Ok(Verdict::Ignore),
                TakenUp::Refused(cause) => {
                    debug!(%cause, "a resume was refused");
                    Ok(Verdict::Reject)
                }
            },
            Gossip::Item(bytes) => {
                let room = world.lack_of_room(room::MIN_FREE_BYTES).is_none();
                if !room || !self.item_budget.takes(from, bytes.0.len()) {
                    return Ok(Verdict::Ignore);
                }
                let Ok(item) = world.verified().verify_or_say(bytes).await else { return Ok(Verdict::Reject) };
                if location::is_outdated(world, &item) {
                    return Ok(Verdict::Ignore);
                }
                let mut batch = Batch::new();
                batch.push(Write::Item(item.clone()));
                world.log().commit(batch, Durability::Relaxed)?;
                unbundle::unpack_item(world, &item).await?;
                Ok(Verdict::Accept)
            }
            // The network layer keeps the directory itself.
            Gossip::Announcement(_) => Ok(Verdict::Ignore),
        }
    }

    async fn answer(&self, from: &PeerId, request: Request) -> Result<Response, LogError> {
        let log = self.world.log();
        Ok(match request {
            Request::Submit(submissions) => self.submit(submissions).await,
            Request::Tips { after } => {
                let tips = log.tips(after.as_ref(), MAX_TIPS)?;
                let mut known = Vec::with_capacity(tips.len());
                for (process, tip) in tips {
                    let epoch = log.process(&process)?.map_or(0, |process| process.epoch());
                    known.push(TipBytes { process, slot: tip.slot, epoch });
                }
                Response::Tips(known)
            }
            Request::Range { process, from } => Response::Range(range(log, &process, from)?),
            Request::Below { process, below, most, bare } => {
                let most = MAX_RANGE_ENTRIES.min(most as usize);
                Response::Range(entries_below(log, &process, below, most, bare)?)
            }
            Request::OutcomesBelow { process, below } => {
                let below = shown_below(&self.world, &process)?.unwrap_or(u64::MAX).min(below);
                Response::Outcomes(outcomes(log, &process, (0..below).rev())?)
            }
            Request::Resumes(process) => {
                let known = log.process(&process)?;
                let bytes = |resume: &Resume| ItemBytes(resume.item.bytes().to_vec());
                Response::Resumes(known.map_or_else(Vec::new, |known| known.resumes.iter().map(bytes).collect()))
            }
            Request::Checkpoints(process) => attestations::newest_checkpoints(&self.world, &process)?,
            Request::Checkpoint { process, slot, piece } => Response::Checkpoint(match piece {
                None => log.snapshot_manifest(&process, slot)?.map(|manifest| wire::encode(&manifest)),
                Some(number) => log.snapshot_piece(&process, slot, number)?,
            }),
            Request::Item(id) => Response::Item(log.item(&id)?.map(|item| ItemBytes(item.bytes().to_vec()))),
            Request::Outcomes { process, from, to } => {
                // Before this unit shows its result nobody gets it: it would be copied.
                let below = shown_below(&self.world, &process)?.unwrap_or(u64::MAX).min(to.saturating_add(1));
                Response::Outcomes(outcomes(log, &process, from..below)?)
            }
            Request::Attestations { process, from } => attestations::answer(&self.world, &process, from)?,
            Request::Call(call) => Response::Answer(self.api.answer(call).await),
            Request::Data { root, size, offset } => {
                let world = self.world.clone();
                let read = move || permaweb::answer(&world, &DataRoot { root, size }, offset);
                let stopping = |_| Ok(None);
                Response::Data(tokio::task::spawn_blocking(read).await.unwrap_or_else(stopping)?)
            }
            Request::Location(scheduler) => {
                let newest = location::newest(log, &scheduler)?;
                Response::Item(newest.map(|item| ItemBytes(item.bytes().to_vec())))
            }
            Request::Hello { .. } => {
                warn!(%from, "a second Hello on one connection");
                Response::Busy("this connection has said Hello before".into())
            }
        })
    }

    async fn submit(&self, submissions: Vec<SubmissionBytes>) -> Response {
        let Some(scheduler) = &self.scheduler else {
            return Response::Busy("this node is no scheduler".into());
        };
        if submissions.len() > MAX_SUBMISSIONS {
            return Response::Busy(format!("{} submissions; at most {MAX_SUBMISSIONS} are taken", submissions.len()));
        }
        let mut verified = Vec::with_capacity(submissions.len());
        let mut refusals = Vec::new();
        for (place, submission) in submissions.into_iter().enumerate() {
            match self.world.verified().verify_or_say(submission.item.clone()).await {
                Ok(item) => {
                    let SubmissionBytes { messenger, certificate, .. } = submission;
                    verified.push(Submission { certificate, ..Submission::new(item, messenger) });
                }
                Err(cause) => refusals.push((place, Refusal::Invalid(cause))),
            }
        }
        if let Some(cause) = self.world.lack_of_room(room::MIN_FREE_BYTES) {
            return Response::Receipts(verified.iter().map(|_| Err(Refusal::Busy(cause.clone()))).collect());
        }
        let receipts = permaweb::submit(&self.world, scheduler, verified).await;
        let mut answers: Vec<Result<ItemBytes, Refusal>> =
            receipts.into_iter().map(|receipt| receipt.map(|item| ItemBytes(item.bytes().to_vec()))).collect();
        for (place, refusal) in refusals {
            answers.insert(place.min(answers.len()), Err(refusal));
        }
        Response::Receipts(answers)
    }
}

/// Entries from a slot on, as many as one response may hold.
fn range(log: &dyn Log, process: &Id, from: u64) -> Result<Vec<EntryBytes>, LogError> {
    let mut entries = Vec::new();
    let mut bytes = 0;
    for slot in (from..u64::MAX).take(MAX_RANGE_ENTRIES) {
        let Some(entry) = log.entry_bytes(process, slot)? else { break };
        bytes += entry.len();
        if bytes > MAX_RANGE_BYTES && !entries.is_empty() {
            break;
        }
        entries.push(entry);
    }
    Ok(entries)
}

/// Entries below a slot, downwards from it or from the tip, as many as one response may hold.
fn entries_below(
    log: &dyn Log,
    process: &Id,
    below: u64,
    most: usize,
    bare: bool,
) -> Result<Vec<EntryBytes>, LogError> {
    let mut entries = Vec::new();
    let mut bytes = 0;
    let below = log.tip(process)?.map_or(0, |tip| tip.slot + 1).min(below);
    for slot in (0..below).rev().take(most) {
        let Some(mut entry) = log.entry_bytes(process, slot)? else { break };
        if bare {
            (entry.item, entry.proof, entry.certificate) = (None, None, None);
        }
        bytes += entry.len();
        if bytes > MAX_RANGE_BYTES && !entries.is_empty() {
            break;
        }
        entries.push(entry);
    }
    Ok(entries)
}

/// Outcomes of these slots, as many as are known and one response may hold.
fn outcomes(log: &dyn Log, process: &Id, slots: impl Iterator<Item = u64>) -> Result<Vec<OutcomeRecord>, LogError> {
    let mut records = Vec::new();
    let mut bytes = 0;
    for slot in slots.take(MAX_OUTCOMES) {
        let Some(record) = log.outcome(process, slot)? else { break };
        bytes += record.outcome.len();
        if bytes > MAX_RANGE_BYTES && !records.is_empty() {
            break;
        }
        records.push(record);
    }
    Ok(records)
}

/// The roles of a unit as text, for people.
pub fn roles_text(roles: &[Role]) -> String {
    let names: Vec<String> = roles.iter().map(Role::to_string).collect();
    if names.is_empty() { "none".into() } else { names.join(",") }
}
