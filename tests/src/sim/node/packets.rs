//! What a simulated node does with packets: users' messages, gossip, requests and answers.

use ao_protocol::agreement::counted;
use ao_protocol::announcement::Role;
use ao_protocol::attestation::Attestation;
use ao_protocol::attested::AttestedBytes;
use ao_protocol::commit::Commit;
use ao_protocol::compute;
use ao_protocol::dissent::{self, Perjury, Taken};
use ao_protocol::entry::Entry;
use ao_protocol::id::Address;
use ao_protocol::item::{DataItem, VerifiedItem};
use ao_protocol::log::{Batch, Durability, Log, LogError, MAX_PAGE, Place};
use ao_protocol::outcome::OutcomeRecord;
use ao_protocol::process::Process;
use ao_protocol::repair::{Accepted, WrongEntry, accept};
use ao_protocol::scheduler::{Moment, Refusal, Submission, assign, read_receipt};
use ao_protocol::wallet::Signer;
use ao_protocol::wire::{EntryBytes, Gossip, ItemBytes, Request, Response, SubmissionBytes, TipBytes};

use super::{Done, Effect, Node, Packet, Waiting};

impl Node {
    /// A packet arrives.
    pub(in crate::sim) fn on_packet(&mut self, from: usize, packet: Packet, now: u64) -> Done {
        let mut effects = Vec::new();
        match packet {
            Packet::User(number, bytes) => self.on_user(number, bytes, now, &mut effects)?,
            Packet::Gossip(gossip) => self.on_gossip(from, gossip, now, &mut effects)?,
            Packet::Request(id, request) => {
                let response = self.answer(request, now, &mut effects)?;
                effects.push(Effect::Send(from, Packet::Response(id, response)));
            }
            Packet::Response(id, response) => {
                // An answer that comes twice, or too late, is for nobody.
                if let Some((_, waiting)) = self.volatile.waiting.remove(&id) {
                    self.on_response(waiting, response, now, &mut effects)?;
                }
            }
        }
        self.pump(now, &mut effects)?;
        Ok(effects)
    }

    fn on_user(
        &mut self,
        number: usize,
        bytes: ItemBytes,
        now: u64,
        effects: &mut Vec<Effect>,
    ) -> Result<(), LogError> {
        let Some(item) = verified(bytes) else { return Ok(()) };
        let scheduler = match item.target() {
            None => Process::read(&item).ok().map(|process| process.scheduler()),
            Some(target) => match self.disk.process(&target)? {
                Some(process) => Some(process.scheduler()),
                None => self.disk.item(&target)?.and_then(|item| Process::read(&item).ok()).map(|one| one.scheduler()),
            },
        };
        let Some(scheduler) = scheduler else { return Ok(()) };
        let Some(peer) = self.node_of(&scheduler) else { return Ok(()) };
        let messenger = self.wallet.address();
        let bytes = ItemBytes(item.bytes().to_vec());
        let request = Request::Submit(vec![SubmissionBytes { item: bytes, messenger, certificate: None }]);
        let waiting = Waiting::User { number, item: Box::new(item), scheduler };
        self.ask(peer, request, now, waiting, effects);
        Ok(())
    }

    fn on_gossip(&mut self, from: usize, gossip: Gossip, now: u64, effects: &mut Vec<Effect>) -> Result<(), LogError> {
        match gossip {
            Gossip::Entries(entries) => self.take(from, &entries, now, effects).map(drop),
            Gossip::Attestations(attested) => self.take_attestations(attested, now, effects),
            Gossip::Commits(commits) => {
                for commit in commits.iter().filter_map(|bytes| Commit::verify(bytes).ok()) {
                    if let Some(process) = self.process(&commit.process())?
                        && counted(&self.disk, &process, &self.trust)?.contains(&commit.unit())
                    {
                        self.volatile.commits.put(commit, now);
                    }
                }
                Ok(())
            }
            Gossip::Perjury(perjury) => self.take_perjury(&perjury),
            Gossip::Evidence(one, other) => self.take_evidence(&(one, other)),
            Gossip::Resume(bytes) => self.take_resume(bytes, effects),
            _ => Ok(()),
        }
    }

    fn take_perjury(&mut self, perjury: &Perjury) -> Result<(), LogError> {
        let mut batch = Batch::new();
        match dissent::accept(&self.disk, &mut batch, perjury)? {
            Ok(true) => self.disk.commit(batch, Durability::Synced),
            _ => Ok(()),
        }
    }

    /// Takes entries in; gives how many were new.
    fn take(
        &mut self,
        from: usize,
        entries: &[EntryBytes],
        now: u64,
        effects: &mut Vec<Effect>,
    ) -> Result<usize, LogError> {
        let mut batch = Batch::new();
        let (mut new, mut disputed) = (0, None);
        for bytes in entries {
            let Ok(entry) = Entry::verify(bytes) else { break };
            let (process, slot) = (entry.process(), entry.slot());
            match accept(&self.disk, &mut batch, entry)? {
                Ok(Accepted::New) => new += 1,
                Ok(Accepted::Ahead) => {
                    self.volatile.repair.on_claim(&self.disk, &from, &process, slot)?;
                    break;
                }
                Ok(Accepted::Known) => {}
                Ok(Accepted::Evidence) => disputed = Some(process),
                Ok(Accepted::Superseded) => break,
                Ok(Accepted::Unresumed) => {
                    if from < self.addresses.len() && from != self.index {
                        self.ask(from, Request::Resumes(process), now, Waiting::Resumes, effects);
                    }
                    break;
                }
                Err(WrongEntry::Chain { .. }) if slot > 0 && from < self.addresses.len() && from != self.index => {
                    // Its slot before that one contradicts ours.
                    let request = Request::Range { process, from: slot - 1 };
                    self.ask(from, request, now, Waiting::Range { process, peer: from }, effects);
                    break;
                }
                Err(_) => break,
            }
        }
        if !batch.is_empty() {
            let durability = if disputed.is_some() { Durability::Synced } else { Durability::Relaxed };
            self.disk.commit(batch, durability)?;
        }
        if let Some(process) = disputed {
            self.spread_evidence(&process, effects)?;
        }
        Ok(new)
    }

    fn take_attestations(
        &mut self,
        attested: Vec<AttestedBytes>,
        now: u64,
        effects: &mut Vec<Effect>,
    ) -> Result<(), LogError> {
        for bytes in attested {
            let Ok(attested) = bytes.read() else { continue };
            let attestation = attested.attestation().clone();
            let (id, slot) = (attestation.claim().process, attestation.claim().slot);
            let Some(process) = self.process(&id)? else { continue };
            if !compute::counts(&process, &attestation, &self.trust) || attestation.unit() == self.wallet.address() {
                continue;
            }
            let mut batch = Batch::new();
            let seen = self.volatile.commits.seen(attestation, now);
            if let Taken::Perjury(perjury) = dissent::take(&self.disk, &mut batch, seen)? {
                effects.push(Effect::Publish(Gossip::Perjury(*perjury)));
            }
            if !batch.is_empty() {
                self.disk.commit(batch, Durability::Relaxed)?;
            }
            let outcomes = attested.into_outcomes();
            let first = (slot + 1).saturating_sub(outcomes.len() as u64);
            if !self.plays(Role::Cu) {
                self.take_over(&process, &outcomes, first)?;
            }
        }
        Ok(())
    }

    fn take_over(&mut self, process: &Process, outcomes: &[OutcomeRecord], first: u64) -> Result<(), LogError> {
        let attested = self.attested(process, first)?;
        match compute::adopt(&self.disk, process, outcomes, first, &attested)? {
            Ok((batch, _)) => self.disk.commit(batch, Durability::Relaxed),
            Err(_) => Ok(()),
        }
    }

    fn answer(&mut self, request: Request, now: u64, effects: &mut Vec<Effect>) -> Result<Response, LogError> {
        Ok(match request {
            Request::Submit(submissions) => self.schedule(submissions, now, effects)?,
            Request::Tips { after } => {
                let tips = self.disk.tips(after.as_ref(), MAX_PAGE)?;
                let mut known = Vec::new();
                for (process, tip) in tips {
                    let epoch = self.disk.process(&process)?.map_or(0, |process| process.epoch());
                    known.push(TipBytes { process, slot: tip.slot, epoch });
                }
                Response::Tips(known)
            }
            Request::Range { process, from } => {
                let mut entries = Vec::new();
                for slot in from..from + 8 {
                    let Some(entry) = self.disk.entry_bytes(&process, slot)? else { break };
                    entries.push(entry);
                }
                Response::Range(entries)
            }
            Request::Below { process, below, .. } => Response::Range(self.below(&process, below)?),
            Request::Resumes(process) => Response::Resumes(self.disk.resumption(&process)?.resumes),
            Request::Outcomes { process, from, to } => {
                let mut records = Vec::new();
                for slot in from..=to {
                    let Some(record) = self.disk.outcome(&process, slot)? else { break };
                    records.push(record);
                }
                Response::Outcomes(records)
            }
            Request::Attestations { process, from } => {
                let (mut attestations, mut perjuries) = (Vec::new(), Vec::new());
                if let Some(read) = self.process(&process)? {
                    attestations = self.attested(&read, from)?.iter().map(Attestation::to_bytes).collect();
                    for unit in self.trust.compute_units(&read) {
                        perjuries.extend(self.disk.perjury(&unit)?);
                    }
                }
                Response::Attestations { attestations, perjuries }
            }
            _ => Response::Busy("not asked here".into()),
        })
    }

    fn schedule(
        &mut self,
        submissions: Vec<SubmissionBytes>,
        now: u64,
        effects: &mut Vec<Effect>,
    ) -> Result<Response, LogError> {
        if !self.plays(Role::Su) {
            return Ok(Response::Busy("no scheduler".into()));
        }
        let mut batch = Batch::new();
        let mut receipts: Vec<Result<ItemBytes, Refusal>> = Vec::new();
        let mut entries = Vec::new();
        for bytes in submissions {
            if matches!(receipts.last(), Some(Err(refusal)) if refusal.is_temporary()) {
                receipts.push(Err(Refusal::Busy("the one before it has to go first".into())));
                continue;
            }
            let Some(item) = verified(bytes.item) else {
                receipts.push(Err(Refusal::Invalid("not verified".into())));
                continue;
            };
            let submission = Submission { certificate: bytes.certificate, ..Submission::new(item, bytes.messenger) };
            let moment = Moment { now_ms: now, block_height: now / 1000 };
            let receipt = assign(&self.disk, &mut batch, &submission, moment, &self.trust, &*self.wallet)?;
            receipts.push(receipt.map(|receipt| {
                let bytes = ItemBytes(receipt.entry.assignment.item.bytes().to_vec());
                if receipt.new {
                    entries.push(receipt.entry.to_bytes());
                }
                bytes
            }));
        }
        // Nothing leaves before it is synced.
        if !batch.is_empty() {
            self.disk.commit(batch, Durability::Synced)?;
        }
        effects.extend(entries.into_iter().map(|entry| Effect::Publish(Gossip::Entries(vec![entry]))));
        Ok(Response::Receipts(receipts))
    }

    fn on_response(
        &mut self,
        waiting: Waiting,
        response: Response,
        now: u64,
        effects: &mut Vec<Effect>,
    ) -> Result<(), LogError> {
        match (waiting, response) {
            (Waiting::Delivery(submit), Response::Receipts(receipts)) => {
                let read = |(submission, receipt): (&Submission, Result<ItemBytes, Refusal>)| {
                    receipt.and_then(|bytes| place(&self.disk, bytes, &submission.item, &submit.scheduler))
                };
                let places: Vec<_> = submit.submissions.iter().zip(receipts).map(read).collect();
                let batch = self.volatile.messenger.on_receipts(&self.disk, &submit, &places, &*self.wallet, now)?;
                if !batch.is_empty() {
                    self.disk.commit(batch, Durability::Synced)?;
                }
            }
            (Waiting::Delivery(submit), _) => self.volatile.messenger.on_failure(&submit, now),
            (Waiting::User { number, item, scheduler }, Response::Receipts(receipts)) => {
                if let Some(Ok(bytes)) = receipts.into_iter().next()
                    && let Ok(Place { process, slot, .. }) = place(&self.disk, bytes, &item, &scheduler)
                {
                    effects.push(Effect::Acknowledge(number, process, slot));
                }
            }
            (Waiting::Range { process, peer }, Response::Range(entries)) => {
                match self.take(peer, &entries, now, effects)? {
                    0 => self.volatile.repair.on_failure(&process, now),
                    _ => self.volatile.repair.on_progress(&process),
                }
            }
            (Waiting::Range { process, .. }, _) => self.volatile.repair.on_failure(&process, now),
            (Waiting::Tips { peer }, Response::Tips(tips)) => {
                for TipBytes { process, slot, epoch } in tips {
                    let ours = self.disk.process(&process)?.map_or(0, |process| process.epoch());
                    if epoch > ours {
                        self.ask(peer, Request::Resumes(process), now, Waiting::Resumes, effects);
                    }
                    if epoch >= ours {
                        self.volatile.repair.on_claim(&self.disk, &peer, &process, slot)?;
                    }
                }
            }
            (Waiting::Resumes, Response::Resumes(resumes)) => {
                for bytes in resumes {
                    self.take_resume(bytes, effects)?;
                }
            }
            (Waiting::Branch { peer, resume, trace }, Response::Range(entries)) => {
                self.follow_branch((peer, resume, trace), &entries, now, effects)?
            }
            (Waiting::Difference { process }, Response::Range(entries)) => {
                self.compare_branch(&process, &entries, effects)?
            }
            (Waiting::Outcomes { process, first }, Response::Outcomes(records)) => {
                if let Some(process) = self.process(&process)? {
                    self.take_over(&process, &records, first)?;
                }
            }
            (Waiting::Attestations, Response::Attestations { attestations, perjuries }) => {
                for perjury in &perjuries {
                    self.take_perjury(perjury)?;
                }
                let attested = attestations.into_iter().map(AttestedBytes::bare).collect();
                self.take_attestations(attested, now, effects)?
            }
            _ => {}
        }
        Ok(())
    }
}

pub(super) fn verified(bytes: ItemBytes) -> Option<VerifiedItem> {
    DataItem::decode(bytes.0).ok()?.verify().ok()
}

/// Process and slot of a receipt that counts.
fn place(log: &dyn Log, bytes: ItemBytes, submitted: &VerifiedItem, scheduler: &Address) -> Result<Place, Refusal> {
    let busy = |cause: String| Refusal::Busy(cause);
    let item = verified(bytes).ok_or_else(|| busy("not verified".into()))?;
    let assignment = read_receipt(log, item, submitted, scheduler).map_err(busy)?;
    let (process, slot) = (assignment.statement.process, assignment.statement.slot);
    Ok(Place { process, slot, assignment: assignment.id() })
}
