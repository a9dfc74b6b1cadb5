//! The race of a process: who resolved which slots first, who confirmed it, who lied, and what each unit won, as this
//! node saw it.

use ao_protocol::agreement::{agreement, counted, fits};
use ao_protocol::attestation::{Attestation, Seen};
use ao_protocol::evidence;
use ao_protocol::id::{Address, Id};
use ao_protocol::log::{Log, LogError};
use ao_protocol::process::Process;
use ao_protocol::race::{Finish, Lap, lap};
use axum::Json;
use axum::extract::{Path, Query, State};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::{Value, json};

use super::error::ApiError;
use super::outcome::Patience;
use super::passed_on::FromPeer;
use super::{Api, query};
use crate::drive::World;

/// Laps that are shown when nothing is said, and at most.
const LAPS: usize = 20;
const MAX_LAPS: usize = 200;

#[derive(Debug, Deserialize)]
pub(super) struct Which {
    /// The first slot; without it: the last laps.
    from: Option<String>,
    /// How many laps at most.
    limit: Option<String>,
}

/// `GET /race/{process}`
pub(super) async fn get(
    State(api): State<Api>,
    Path(process): Path<String>,
    Query(which): Query<Which>,
    passed: FromPeer,
) -> Result<Json<Value>, ApiError> {
    let id = query::id("process", &process)?;
    let limit = query::limit(&which.limit, LAPS, MAX_LAPS)?;
    let wrong = |_| ApiError::BadRequest("from must be a slot number".into());
    let from = which.from.as_deref().map(|from| from.parse::<u64>().map_err(wrong)).transpose()?;
    api.known(&id, Patience::new(passed)).await?;
    let world = api.world.clone();
    let shown = tokio::task::spawn_blocking(move || show(&world, &id, from, limit)).await;
    Ok(Json(shown.map_err(|_| ApiError::Internal("the node is stopping".into()))??))
}

fn show(world: &World, id: &Id, from: Option<u64>, limit: usize) -> Result<Value, ApiError> {
    let log = world.log();
    let process = log.process(id)?.ok_or_else(|| ApiError::NotFound(format!("process {id} is not known")))?;
    let trust = world.trust();
    let computed = log.computed(id)?.map(|computed| computed.slot);
    let standing = agreement(log, &process, &trust)?;
    let counted = counted(log, &process, &trust)?;
    let mut units = Vec::new();
    for unit in trust.compute_units(&process) {
        let account = log.race_account(&unit)?;
        let until = |list: &[(Address, u64)]| list.iter().find(|(one, _)| *one == unit).map(|(_, slot)| *slot);
        units.push(json!({
            "unit": unit.to_string(),
            "agrees_up_to": until(&standing.agree),
            "differs_at": until(&standing.differ),
            "counts": counted.contains(&unit),
            "laps_won": account.laps_won,
            "slots_won": account.slots_won,
            "laps_confirmed": account.laps_confirmed,
            "laps_wrong": account.laps_wrong,
        }));
    }
    let mut laps: Vec<Lap> = Vec::new();
    let mut next = from.unwrap_or_else(|| computed.unwrap_or(0).saturating_sub(limit as u64 - 1));
    while laps.len() < limit
        && let Some(lap) = lap(log, &process, &trust, next)?
    {
        next = lap.to + 1;
        laps.push(lap);
    }
    let lies = lies(log, &process, &trust.compute_units(&process))?;
    Ok(json!({
        "process": id.to_string(),
        "quorum": process.compute_quorum,
        "computed": computed,
        "certain": standing.certain(process.compute_quorum),
        "disputed_from": evidence::disputed_from(log, id)?,
        "epoch": process.epoch(),
        "scheduler": process.scheduler().to_string(),
        "credited_below": log.credited(id)?,
        "began_with": log.base(id)?,
        "missing": log.hole(id)?.map(|hole| {
            let (entries, outcomes) = hole.missing();
            json!({ "entries": entries, "outcomes": outcomes })
        }),
        "checkpoint": log.last_rebuilt(id, u64::MAX)?.map(|(slot, hash)| {
            json!({ "slot": slot, "hash": hash.to_string() })
        }),
        "units": units,
        "laps": laps.iter().map(show_lap).collect::<Vec<_>>(),
        "lies": lies,
    }))
}

fn show_lap(lap: &Lap) -> Value {
    let finish = |finish: &Finish| {
        json!({
            "unit": finish.unit.to_string(),
            "slot": finish.slot,
            "seen_ms": finish.seen_ms,
            "committed_ms": finish.committed_ms,
            "agrees": finish.agrees,
        })
    };
    json!({
        "from": lap.from,
        "to": lap.to,
        "winner": lap.winner.map(|winner| winner.to_string()),
        "shown_ms": lap.shown_ms,
        "finishes": lap.finishes.iter().map(finish).collect::<Vec<_>>(),
    })
}

/// What is on record against the units that a process trusts, each with what was signed.
fn lies(log: &dyn Log, process: &Process, units: &[Address]) -> Result<Vec<Value>, LogError> {
    let signed = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let mut lies = Vec::new();
    for dissent in log.dissents(&process.id())? {
        // Whoever agrees, as evidence of what is right.
        let mut others = Vec::new();
        for unit in units.iter().filter(|unit| **unit != dissent.unit) {
            let Some(seen) = log.next_attestation(&process.id(), unit, dissent.slot)? else { continue };
            if fits(log, &seen.attestation)? == Some(true) {
                others.push(attestation(log, &seen)?);
            }
        }
        let attested = Attestation::from_own_store(&dissent.attestation).ok();
        let checkpoint = attested.as_ref().and_then(|one| one.claim().checkpoint);
        let claimed = checkpoint.or_else(|| attested.as_ref().map(|one| one.claim().outcome_chain));
        lies.push(json!({
            "kind": "dissent",
            "about": if checkpoint.is_some() { "checkpoint" } else { "outcome" },
            "unit": dissent.unit.to_string(),
            "slot": dissent.slot,
            "found_ms": dissent.found_ms,
            "claimed": claimed.map(|claimed| claimed.to_string()),
            "right": dissent.right.to_string(),
            "attestation": signed(&dissent.attestation),
            "against": others,
        }));
    }
    for unit in units {
        let Some(perjury) = log.perjury(unit)? else { continue };
        let about = Attestation::from_own_store(&perjury.one).ok();
        lies.push(json!({
            "kind": "perjury",
            "unit": unit.to_string(),
            "process": about.as_ref().map(|one| one.claim().process.to_string()),
            "slot": about.as_ref().map(|one| one.claim().slot),
            "attestations": [signed(&perjury.one), signed(&perjury.other)],
        }));
    }
    Ok(lies)
}

/// An attestation as a node shows it.
pub(super) fn attestation(log: &dyn Log, seen: &Seen) -> Result<Value, LogError> {
    let claim = seen.attestation.claim();
    Ok(json!({
        "unit": seen.attestation.unit().to_string(),
        "slot": claim.slot,
        "outcome_chain": claim.outcome_chain.to_string(),
        "agrees": fits(log, &seen.attestation)?,
        "seen_ms": seen.seen_ms,
        "committed_ms": seen.committed_ms,
        "signed": URL_SAFE_NO_PAD.encode(seen.attestation.to_bytes()),
    }))
}
