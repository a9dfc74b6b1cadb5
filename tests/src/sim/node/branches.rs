//! What a simulated node does where a scheduler gave slots twice, and when an owner resumes a process.

use ao_protocol::branch::{Compared, Trace, Traced, first_difference, take_on};
use ao_protocol::evidence;
use ao_protocol::id::Id;
use ao_protocol::log::{Batch, Durability, Log, LogError};
use ao_protocol::resume::{self, Resume, unsettled};
use ao_protocol::wire::{EntryBytes, Gossip, ItemBytes, Request};

use super::packets::verified;
use super::{Effect, Node, Waiting};

/// Most entries in an answer.
const PAGE: u64 = 3;

impl Node {
    pub(super) fn spread_evidence(&mut self, process: &Id, effects: &mut Vec<Effect>) -> Result<(), LogError> {
        if let Some((ours, theirs)) = self.disk.evidence(process)? {
            effects.push(Effect::Publish(Gossip::Evidence(ours, theirs)));
        }
        Ok(())
    }

    pub(super) fn take_evidence(&mut self, pair: &(EntryBytes, EntryBytes)) -> Result<(), LogError> {
        let mut batch = Batch::new();
        match evidence::accept(&self.disk, &mut batch, pair)? {
            Ok(Some(_)) => self.disk.commit(batch, Durability::Synced),
            _ => Ok(()),
        }
    }

    pub(super) fn take_resume(&mut self, bytes: ItemBytes, effects: &mut Vec<Effect>) -> Result<(), LogError> {
        let Some(Ok(resume)) = verified(bytes.clone()).filter(|_| !self.deaf).map(Resume::read) else { return Ok(()) };
        let process = resume.process;
        if let Ok(Some(batch)) = resume::accept(&self.disk, resume)? {
            self.disk.commit(batch, Durability::Synced)?;
            self.volatile.attesting.evaluated(process, 0);
            effects.push(Effect::Publish(Gossip::Resume(bytes)));
        }
        Ok(())
    }

    pub(super) fn below(&self, process: &Id, below: u64) -> Result<Vec<EntryBytes>, LogError> {
        let below = self.disk.tip(process)?.map_or(0, |tip| tip.slot + 1).min(below);
        let mut entries = Vec::new();
        for slot in (below.saturating_sub(PAGE)..below).rev() {
            let Some(entry) = self.disk.entry_bytes(process, slot)? else { break };
            entries.push(entry);
        }
        Ok(entries)
    }

    /// Asks for the branch on which a process goes on, or for where branches part.
    pub(super) fn look_at_branches(&mut self, id: &Id, now: u64, effects: &mut Vec<Effect>) -> Result<(), LogError> {
        let busy = |(_, waiting): &(u64, Waiting)| match waiting {
            Waiting::Branch { resume, .. } => resume.process == *id,
            Waiting::Difference { process } => process == id,
            _ => false,
        };
        let peer = (self.index + 1 + self.volatile.compared) % self.addresses.len();
        if peer == self.index || self.volatile.waiting.values().any(busy) {
            return Ok(());
        }
        let Some(process) = self.disk.process(id)? else { return Ok(()) };
        let evidence = self.disk.evidence(id)?;
        if let Some(resume) = unsettled(&self.disk, &process)? {
            if evidence.is_some() || self.disk.entry(id, resume.slot)?.is_some() {
                let below = resume.slot + 1;
                let (resume, trace) = (Box::new(resume.clone()), Box::new(Trace::of(resume)));
                let waiting = Waiting::Branch { peer, resume, trace };
                let request = Request::Below { process: *id, below, most: u32::MAX, bare: true };
                self.ask(peer, request, now, waiting, effects);
            }
        } else if evidence.is_some()
            && let Some(below) = evidence::disputed_from(&self.disk, id)?
        {
            let request = Request::Below { process: *id, below, most: u32::MAX, bare: true };
            self.ask(peer, request, now, Waiting::Difference { process: *id }, effects);
        }
        Ok(())
    }

    pub(super) fn follow_branch(
        &mut self,
        (peer, resume, mut trace): (usize, Box<Resume>, Box<Trace>),
        entries: &[EntryBytes],
        now: u64,
        effects: &mut Vec<Effect>,
    ) -> Result<(), LogError> {
        if entries.is_empty() {
            return Ok(());
        }
        match trace.take(&self.disk, entries)? {
            Ok(Traced::Below(below)) => {
                let request = Request::Below { process: resume.process, below, most: u32::MAX, bare: true };
                self.ask(peer, request, now, Waiting::Branch { peer, resume, trace }, effects);
            }
            Ok(joined) => {
                if let Some(batch) = take_on(&self.disk, &resume, joined)? {
                    self.disk.commit(batch, Durability::Synced)?;
                    self.volatile.attesting.evaluated(resume.process, 0);
                }
            }
            Err(_) => {}
        }
        Ok(())
    }

    pub(super) fn compare_branch(
        &mut self,
        process: &Id,
        entries: &[EntryBytes],
        effects: &mut Vec<Effect>,
    ) -> Result<(), LogError> {
        let Ok(Compared { evidence: Some(found), .. }) = first_difference(&self.disk, process, entries)? else {
            return Ok(());
        };
        let mut batch = Batch::new();
        batch.push(found);
        self.disk.commit(batch, Durability::Synced)?;
        self.spread_evidence(process, effects)
    }
}
