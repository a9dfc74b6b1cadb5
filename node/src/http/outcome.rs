//! The outcome of a slot: waited for here, and asked of a compute unit where this node does not compute and it does not
//! come by itself.

use std::time::Duration;

use ao_protocol::agreement::agreement;
use ao_protocol::announcement::Role;
use ao_protocol::evidence::disputed_from;
use ao_protocol::id::{Address, Id};
use ao_protocol::log::{Log, LogError};
use ao_protocol::outcome::OutcomeRecord;
use ao_protocol::wire::Call;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::error::ApiError;
use super::passed_on::FromPeer;
use super::{Api, ENTRY_WAIT, disputed};
use crate::drive::adopt;
use crate::drive::attestations::shown_below;
use crate::drive::compute::Stalled;

/// Longest wait for the outcome of a slot.
const RESULT_WAIT: Duration = Duration::from_secs(30);
/// The same when a peer passed the call on: its own request ends after 10 s.
const PASSED_ON_WAIT: Duration = Duration::from_secs(8);
/// How long a node that does not compute waits for the outcome to come by itself before it asks a compute unit.
const HEAD_START: Duration = Duration::from_secs(2);

/// How long a request may wait, over all that it waits for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    until: Instant,
    passed: FromPeer,
}

impl Patience {
    /// From now on.
    pub(super) fn new(passed: FromPeer) -> Patience {
        let limit = if passed.0 { PASSED_ON_WAIT } else { RESULT_WAIT };
        Patience { until: Instant::now() + limit, passed }
    }

    /// What is left of it.
    pub(super) fn left(&self) -> Duration {
        self.until.saturating_duration_since(Instant::now())
    }

    /// What is left of it to wait for an entry.
    pub(super) fn for_entry(&self) -> Duration {
        self.left().min(ENTRY_WAIT)
    }
}

/// An outcome, or what a compute unit answered to the call that asks for it.
pub(super) enum Resolved {
    Here(Box<OutcomeRecord>),
    There(Response),
}

impl Api {
    /// The outcome of a slot. A node that does not compute asks a compute unit by `call` if it has to wait for long:
    /// perhaps it knows why there is none.
    pub(super) async fn resolve(
        &self,
        process: &Id,
        slot: u64,
        patience: Patience,
        call: Call,
    ) -> Result<Resolved, ApiError> {
        let here = |record| Resolved::Here(Box::new(record));
        // Where one unit's word is not enough, nor is one unit's answer.
        let one_is_enough = self.world.log().process(process)?.is_none_or(|process| process.compute_quorum <= 1);
        if self.computer.is_some() || patience.passed.0 || !one_is_enough {
            return self.outcome(process, slot, patience.left()).await.map(here);
        }
        match self.outcome(process, slot, HEAD_START.min(patience.left())).await {
            Err(ApiError::NotYet(_)) => {}
            known => return known.map(here),
        }
        let comes = self.outcome(process, slot, patience.left());
        let mut comes = std::pin::pin!(comes);
        let said = tokio::select! {
            known = &mut comes => return known.map(here),
            said = self.pass_on(Role::Cu, process, call) => said,
        };
        match said {
            Ok(answer) if [StatusCode::OK, StatusCode::UNPROCESSABLE_ENTITY].contains(&answer.status()) => {
                Ok(Resolved::There(answer))
            }
            said => match (comes.await, said) {
                (Err(ApiError::NotYet(_)), Ok(answer)) if answer.status() == StatusCode::GATEWAY_TIMEOUT => {
                    Ok(Resolved::There(answer))
                }
                (Err(ApiError::NotYet(text)), Err(ApiError::Upstream(cause))) => {
                    Err(ApiError::NotYet(format!("{text}: {cause}")))
                }
                (known, _) => known.map(here),
            },
        }
    }

    /// Waits until so many units agree on a slot whose outcome is known here; who does, as it is shown.
    pub(super) async fn agreed(
        &self,
        process: &Id,
        slot: u64,
        quorum: u32,
        limit: Duration,
    ) -> Result<Value, ApiError> {
        let (world, log) = (&self.world, self.world.log());
        let spawn = log.process(process)?;
        let spawn = spawn.ok_or_else(|| ApiError::NotFound(format!("process {process} is not known")))?;
        let units = world.trust().compute_units(&spawn).len();
        if quorum as usize > units {
            let text = format!("quorum is {quorum}, and process {process} trusts {units} compute units");
            return Err(ApiError::BadRequest(text));
        }
        let stand = || agreement(log, &spawn, &world.trust());
        let enough = || Ok(Some(stand()?).filter(|stand| stand.on(slot).count() >= quorum as usize));
        if enough()?.is_none() {
            // What was attested while this node was away does not come by itself.
            let (world, process) = (world.clone(), *process);
            tokio::spawn(async move { adopt::ask_for_attestations(&world, &process, slot).await });
        }
        let found = world.wait_for(process, limit, enough).await?;
        let reached = found.is_some();
        let stand = found.map_or_else(stand, Ok)?;
        let (agree, differ): (Vec<Address>, Vec<Address>) =
            (stand.on(slot).collect(), stand.differ.iter().map(|(unit, _)| *unit).collect());
        let units = stand.agree.len() + stand.differ.len() + stand.silent.len();
        if !reached {
            let text = format!(
                "{} of the {quorum} compute units that were asked for agree on slot {slot} of process {process}; \
                 {} of all {units} attested something else",
                agree.len(),
                differ.len()
            );
            return Err(ApiError::NotYet(text));
        }
        let names = |units: &[Address]| units.iter().map(Address::to_string).collect::<Vec<_>>();
        Ok(json!({ "asked": quorum, "agree": names(&agree), "differ": names(&differ), "of": units }))
    }

    /// The outcome of a slot, waited for at most this long.
    pub(super) async fn outcome(&self, process: &Id, slot: u64, limit: Duration) -> Result<OutcomeRecord, ApiError> {
        let (world, log) = (&self.world, self.world.log());
        let disputed =
            || -> Result<Option<u64>, LogError> { Ok(disputed_from(log, process)?.filter(|from| slot >= *from)) };
        let stalled = || self.computer.as_ref().and_then(|computer| computer.stalled(process));
        let ready = || {
            let shown = shown_below(world, process)?.is_none_or(|below| slot < below);
            let record = log.outcome(process, slot)?.filter(|_| shown).map(Ok);
            let never = || {
                let text = |stalled: Stalled| format!("process {process} can't be computed: {}", stalled.reason);
                stalled().filter(|stalled| stalled.for_good).map(|stalled| Err(ApiError::Unprocessable(text(stalled))))
            };
            let unsure = disputed()?.map(|from| Err(disputed::error(process, from)));
            Ok(record.or(unsure).or_else(never))
        };
        match world.wait_for(process, limit, ready).await? {
            Some(known) => known,
            None => {
                let missing = log
                    .hole(process)?
                    .filter(|hole| slot < hole.outcomes_below)
                    .map(|_| ": this node began with a later checkpoint, and fills in what was before".to_string());
                let stalled = || stalled().map(|stalled| format!(": {}", stalled.reason));
                let reason = missing.or_else(stalled).unwrap_or_default();
                Err(ApiError::NotYet(format!("slot {slot} of process {process} is not computed yet{reason}")))
            }
        }
    }
}
