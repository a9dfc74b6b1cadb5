//! One simulated node: the real rules of the protocol, driven by packets and ticks instead of tasks and sockets.

mod adopt;
mod branches;
mod packets;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ao_protocol::announcement::Role;
use ao_protocol::attestation::Claim;
use ao_protocol::attested::AttestedBytes;
use ao_protocol::attesting::{Act, AttestError, Attesting};
use ao_protocol::branch::Trace;
use ao_protocol::compute::{self, Attestor};
use ao_protocol::dissent;
use ao_protocol::id::{Address, Digest, Id};
use ao_protocol::item::VerifiedItem;
use ao_protocol::log::{Batch, Durability, Log, LogError, MAX_PAGE, Write};
use ao_protocol::messenger::{Messenger, Submit};
use ao_protocol::process::Process;
use ao_protocol::race::{self, Commits};
use ao_protocol::repair::Repair;
use ao_protocol::resume::Resume;
use ao_protocol::scheduler::Submission;
use ao_protocol::trust::Trust;
use ao_protocol::wallet::{Signer, Wallet};
use ao_protocol::wire::{Gossip, ItemBytes, Request, Response, SubmissionBytes};

use super::disk::Disk;
use super::liar::{Lie, stolen};
use super::machine::Machines;

/// Longest wait for the answer to a request, in milliseconds.
const REQUEST_LIMIT_MS: u64 = 1000;
/// Slots evaluated in one go.
const BATCH: usize = 4;

/// What a node sends. Users are addressed by the number of their message.
#[derive(Clone, Debug)]
pub(super) enum Packet {
    /// To one node.
    Request(u64, Request),
    /// The answer.
    Response(u64, Response),
    /// To all nodes.
    Gossip(Gossip),
    /// A user's message, to a messenger.
    User(usize, ItemBytes),
}

/// What comes of handling something.
#[derive(Debug)]
pub(super) enum Effect {
    /// A packet to one node.
    Send(usize, Packet),
    /// A packet to all other nodes.
    Publish(Gossip),
    /// A user hears that a message has its slot.
    Acknowledge(usize, Id, u64),
}

/// A simulated node. Everything but the disk is lost in a crash.
pub(super) struct Node {
    /// Its number.
    pub index: usize,
    /// Its disk.
    pub disk: Disk,
    /// Whether it runs.
    pub up: bool,
    roles: Vec<Role>,
    wallet: Arc<Wallet>,
    trust: Trust,
    /// All nodes by address.
    addresses: Arc<Vec<(Address, Vec<Role>)>>,
    volatile: Volatile,
    /// For showing that the checks notice: the messenger's cursor moves too early.
    early_cursor: bool,
    /// How its compute unit lies, if it does.
    pub lie: Option<Lie>,
    /// For showing that the checks notice: it does not hear of resumes.
    pub deaf: bool,
}

#[derive(Default)]
struct Volatile {
    machines: Machines,
    messenger: Messenger,
    repair: Repair<usize>,
    attesting: Attesting,
    commits: Commits,
    /// Processes that were looked at for what is not attested since this node started.
    begun: BTreeSet<Id>,
    waiting: BTreeMap<u64, (u64, Waiting)>,
    next_request: u64,
    compared: usize,
}

/// What an answer is for.
enum Waiting {
    Delivery(Box<Submit>),
    User {
        number: usize,
        item: Box<VerifiedItem>,
        scheduler: Address,
    },
    Range {
        process: Id,
        peer: usize,
    },
    Tips {
        peer: usize,
    },
    Outcomes {
        process: Id,
        first: u64,
    },
    Attestations,
    Resumes,
    /// A branch on its way in.
    Branch {
        peer: usize,
        resume: Box<Resume>,
        trace: Box<Trace>,
    },
    /// Where two branches part.
    Difference {
        process: Id,
    },
}

type Done = Result<Vec<Effect>, LogError>;

impl Node {
    /// A node with an empty disk.
    pub(super) fn new(
        index: usize,
        roles: Vec<Role>,
        wallet: Arc<Wallet>,
        trust: Trust,
        addresses: Arc<Vec<(Address, Vec<Role>)>>,
        disk: Disk,
        early_cursor: bool,
    ) -> Node {
        let volatile = Volatile::default();
        Node { index, disk, up: true, roles, wallet, trust, addresses, volatile, early_cursor, lie: None, deaf: false }
    }

    /// The machine crashes.
    pub(super) fn crash(&mut self) {
        self.up = false;
        self.disk = std::mem::take(&mut self.disk).crashed();
        self.volatile = Volatile::default();
    }

    /// A commit found no room: what was in memory ahead of the log is gone.
    pub(super) fn begin_again(&mut self) {
        self.volatile = Volatile { next_request: self.volatile.next_request, ..Volatile::default() };
    }

    /// Somebody asks the messenger to drive all dead letters again.
    pub(super) fn redrive(&mut self) -> Done {
        let dead: Vec<_> = self.disk.dead(None, None, MAX_PAGE)?.into_iter().map(|letter| letter.id).collect();
        let (batch, _) = self.volatile.messenger.redrive(&self.disk, &dead)?;
        if !batch.is_empty() {
            self.disk.commit(batch, Durability::Synced)?;
        }
        Ok(Vec::new())
    }

    /// Its unit's address.
    pub(super) fn address(&self) -> Address {
        self.wallet.address()
    }

    fn plays(&self, role: Role) -> bool {
        self.roles.contains(&role)
    }

    fn node_of(&self, address: &Address) -> Option<usize> {
        self.addresses.iter().position(|(other, _)| other == address)
    }

    fn processes(&self) -> Result<Vec<Id>, LogError> {
        Ok(self.disk.tips(None, MAX_PAGE)?.into_iter().map(|(process, _)| process).collect())
    }

    fn ask(&mut self, to: usize, request: Request, now: u64, waiting: Waiting, effects: &mut Vec<Effect>) {
        self.volatile.next_request += 1;
        let id = self.volatile.next_request;
        self.volatile.waiting.insert(id, (now + REQUEST_LIMIT_MS, waiting));
        effects.push(Effect::Send(to, Packet::Request(id, request)));
    }

    /// Time passes: what is due is done.
    pub(super) fn tick(&mut self, now: u64) -> Done {
        let mut effects = Vec::new();
        let late: Vec<u64> =
            self.volatile.waiting.iter().filter(|(_, (limit, _))| *limit <= now).map(|(id, _)| *id).collect();
        for id in late {
            match self.volatile.waiting.remove(&id) {
                Some((_, Waiting::Delivery(submit))) => self.volatile.messenger.on_failure(&submit, now),
                Some((_, Waiting::Range { process, .. })) => self.volatile.repair.on_failure(&process, now),
                _ => {}
            }
        }
        self.volatile.compared += 1;
        if self.volatile.compared.is_multiple_of(10) {
            let peer = (self.index + 1 + self.volatile.compared / 10) % self.addresses.len();
            if peer != self.index {
                self.ask(peer, Request::Tips { after: None }, now, Waiting::Tips { peer }, &mut effects);
            }
        }
        for process in self.processes()? {
            self.judge(&process, now)?;
            self.look_at_branches(&process, now, &mut effects)?;
            self.ask_for_attestations(&process, now, &mut effects)?;
        }
        self.pump(now, &mut effects)?;
        Ok(effects)
    }

    /// Does whatever the log asks for.
    fn pump(&mut self, now: u64, effects: &mut Vec<Effect>) -> Result<(), LogError> {
        for fetch in self.volatile.repair.fetches(&self.disk, now)? {
            let request = Request::Range { process: fetch.process, from: fetch.from };
            let waiting = Waiting::Range { process: fetch.process, peer: fetch.peer };
            self.ask(fetch.peer, request, now, waiting, effects);
        }
        for process in self.processes()? {
            match self.plays(Role::Cu) {
                true => self.compute(&process)?,
                false => self.adopt(&process, now, effects)?,
            }
            if self.plays(Role::Mu) {
                self.volatile.messenger.wake(&self.disk, &self.trust, &process, now)?;
            }
        }
        self.attest(now, effects)?;
        if self.plays(Role::Mu) {
            self.deliver(now, effects)?;
        }
        Ok(())
    }

    fn compute(&mut self, process: &Id) -> Result<(), LogError> {
        if self.volatile.begun.insert(*process) {
            self.volatile.attesting.evaluated(*process, 0);
        }
        loop {
            let mut evaluated = Vec::new();
            for job in compute::next(&self.disk, process, BATCH)? {
                let mut outcome = self.volatile.machines.evaluate(&self.disk, process, job.slot)?;
                match self.lie {
                    Some(Lie::Output) => outcome.output = "\"a lie\"".into(),
                    Some(Lie::Outbox) => outcome.messages.push(stolen(process)),
                    Some(Lie::Perjury | Lie::Silence) | None => {}
                }
                evaluated.push((job, outcome));
            }
            if evaluated.is_empty() {
                return Ok(());
            }
            self.volatile.attesting.evaluated(*process, evaluated.len() as u64);
            self.disk.commit(compute::record(evaluated), Durability::Relaxed)?;
        }
    }

    fn attest(&mut self, now: u64, effects: &mut Vec<Effect>) -> Result<(), LogError> {
        if !self.plays(Role::Cu) || self.lie == Some(Lie::Silence) {
            return Ok(());
        }
        let attestor = Attestor { network: self.trust.network.hash(), signer: &*self.wallet };
        let Volatile { attesting, commits, .. } = &mut self.volatile;
        let (batch, acts) = match attesting.act(&self.disk, &self.trust, &attestor, commits, now) {
            Ok(acted) => acted,
            Err(AttestError::Log(cause)) => return Err(cause),
            Err(AttestError::Wallet(cause)) => return Err(LogError::Database(cause.to_string())),
        };
        if !batch.is_empty() {
            self.disk.commit(batch, Durability::Relaxed)?;
        }
        for act in acts {
            let gossip = match act {
                Act::Commit(commit) => Gossip::Commits(vec![commit.to_bytes()]),
                Act::Show { attested, first } => {
                    let mut shown = vec![attested.to_bytes(first)];
                    if self.lie == Some(Lie::Perjury) {
                        let claim = attested.attestation().claim().clone();
                        let other = Claim { outcome_chain: Digest::from([0xaa; 32]), ..claim }.sign(&*self.wallet);
                        shown.extend(other.map(|other| AttestedBytes::bare(other.to_bytes())));
                    }
                    Gossip::Attestations(shown)
                }
            };
            effects.push(Effect::Publish(gossip));
        }
        Ok(())
    }

    /// Looks for units that attested something wrong, and credits what they won.
    fn judge(&mut self, id: &Id, now: u64) -> Result<(), LogError> {
        let Some(process) = self.process(id)? else { return Ok(()) };
        let mut batch = Batch::new();
        if self.plays(Role::Cu) || process.compute_quorum > 1 {
            dissent::judge(&self.disk, &mut batch, &process, &self.trust, 0, now)?;
        }
        batch.append(race::settle(&self.disk, &process, &self.trust, now)?);
        if batch.is_empty() { Ok(()) } else { self.disk.commit(batch, Durability::Relaxed) }
    }

    fn process(&self, id: &Id) -> Result<Option<Arc<Process>>, LogError> {
        self.disk.process(id)
    }

    /// What no messenger may do.
    fn move_cursors(&self) -> Result<(), LogError> {
        let mut batch = Batch::new();
        for process in self.processes()? {
            if let Some(computed) = self.disk.computed(&process)? {
                batch.push(Write::Delivered { process, next: computed.slot + 1 });
            }
        }
        self.disk.commit(batch, Durability::Synced)
    }

    fn deliver(&mut self, now: u64, effects: &mut Vec<Effect>) -> Result<(), LogError> {
        let batch = self.volatile.messenger.expand(&self.disk, &self.trust, &*self.wallet, now)?;
        if !batch.is_empty() {
            self.disk.commit(batch, Durability::Synced)?;
        }
        if self.early_cursor {
            self.move_cursors()?;
        }
        for target in self.disk.waited_for(None, MAX_PAGE)? {
            if self.disk.tip(&target)?.is_some() {
                self.volatile.messenger.revive(&self.disk, &target)?;
            }
        }
        for target in self.volatile.messenger.lookups(now) {
            let item = self.disk.item(&target)?;
            let batch = self.volatile.messenger.on_lookup(&self.disk, &target, item.as_ref())?;
            if !batch.is_empty() {
                self.disk.commit(batch, Durability::Synced)?;
            }
        }
        for submit in self.volatile.messenger.submissions(&self.disk, &self.trust, now)? {
            let Some(peer) = self.node_of(&submit.scheduler) else { continue };
            let bytes = |submission: &Submission| SubmissionBytes {
                item: ItemBytes(submission.item.bytes().to_vec()),
                messenger: submission.messenger,
                certificate: submission.certificate.clone(),
            };
            let request = Request::Submit(submit.submissions.iter().map(bytes).collect());
            self.ask(peer, request, now, Waiting::Delivery(Box::new(submit)), effects);
        }
        for (process, from) in self.volatile.messenger.uncertified() {
            let units = self.process(&process)?.map(|read| self.trust.compute_units(&read)).unwrap_or_default();
            let own = self.index;
            let peers: Vec<usize> = units.iter().filter_map(|unit| self.node_of(unit)).collect();
            for peer in peers.into_iter().filter(|peer| *peer != own) {
                self.ask(peer, Request::Attestations { process, from }, now, Waiting::Attestations, effects);
            }
        }
        let batch = self.volatile.messenger.settle(&self.disk)?;
        if !batch.is_empty() {
            self.disk.commit(batch, Durability::Relaxed)?;
        }
        Ok(())
    }
}
