//! How a simulated node that does not compute comes to know outcomes, and who agrees.

use std::collections::BTreeSet;

use ao_protocol::agreement::{certain, counted, last_attestation, next_attestation};
use ao_protocol::attestation::Attestation;
use ao_protocol::id::{Address, Id};
use ao_protocol::log::{Log, LogError};
use ao_protocol::process::Process;
use ao_protocol::wire::Request;

use super::{Effect, Node, Waiting};

impl Node {
    /// What units that count attested of the slots from `first` on.
    pub(in crate::sim) fn attested(&self, process: &Process, first: u64) -> Result<Vec<Attestation>, LogError> {
        let units = counted(&self.disk, process, &self.trust)?;
        let mut attested = Vec::new();
        for unit in &units {
            let next = next_attestation(&self.disk, &process.id(), unit, first)?;
            let last = last_attestation(&self.disk, &process.id(), unit, u64::MAX)?;
            attested.extend(next.into_iter().chain(last).map(|seen| seen.attestation));
        }
        attested.retain(|attestation| attestation.claim().slot >= first);
        Ok(attested)
    }

    pub(super) fn adopt(&mut self, id: &Id, now: u64, effects: &mut Vec<Effect>) -> Result<(), LogError> {
        let busy = self.volatile.waiting.values().any(|(_, waiting)| match waiting {
            Waiting::Outcomes { process, .. } => process == id,
            _ => false,
        });
        let Some(tip) = self.disk.tip(id)? else { return Ok(()) };
        let first = self.disk.computed(id)?.map_or(0, |computed| computed.slot + 1);
        let Some(process) = self.process(id)? else { return Ok(()) };
        if busy || first > tip.slot {
            return Ok(());
        }
        let mut attested = self.attested(&process, first)?;
        attested.retain(|attestation| attestation.claim().slot <= tip.slot);
        // Another one each time: some may lie.
        let candidate = self.volatile.compared % attested.len().max(1);
        let units: BTreeSet<Address> = attested.iter().map(Attestation::unit).collect();
        if units.len() < process.compute_quorum as usize {
            return Ok(());
        }
        if let Some(attestation) = attested.get(candidate)
            && let Some(peer) = self.node_of(&attestation.unit())
        {
            let request = Request::Outcomes { process: *id, from: first, to: attestation.claim().slot };
            self.ask(peer, request, now, Waiting::Outcomes { process: *id, first }, effects);
        }
        Ok(())
    }

    /// Gossip may have been lost: asks the units in turn where too few are known to agree.
    pub(super) fn ask_for_attestations(
        &mut self,
        id: &Id,
        now: u64,
        effects: &mut Vec<Effect>,
    ) -> Result<(), LogError> {
        let (Some(tip), Some(process)) = (self.disk.tip(id)?, self.process(id)?) else { return Ok(()) };
        let sure = certain(&self.disk, &process, &self.trust)?;
        let asked = |(_, waiting): &(u64, Waiting)| matches!(waiting, Waiting::Attestations);
        if sure >= Some(tip.slot) || self.volatile.waiting.values().any(asked) {
            return Ok(());
        }
        let units = self.trust.compute_units(&process);
        if let Some(unit) = units.get(self.volatile.compared % units.len().max(1))
            && let Some(peer) = self.node_of(unit).filter(|peer| *peer != self.index)
        {
            let request = Request::Attestations { process: *id, from: sure.map_or(0, |sure| sure + 1) };
            self.ask(peer, request, now, Waiting::Attestations, effects);
        }
        Ok(())
    }
}
