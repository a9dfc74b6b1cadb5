//! The branches of a process as this node and its peers have them, and resuming it on one of them.

use std::collections::BTreeMap;

use ao_protocol::assignment::Assignment;
use ao_protocol::evidence::disputed_from;
use ao_protocol::id::Id;
use ao_protocol::log::{Log, LogError};
use ao_protocol::process::Process;
use ao_protocol::resume::{Resume, owner};
use ao_protocol::wire::{EntryBytes, ItemBytes, Request, Response};
use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use futures::future::join_all;
use serde_json::{Value, json};

use super::error::ApiError;
use super::outcome::Patience;
use super::passed_on::FromPeer;
use super::{Api, query};
use crate::drive::World;
use crate::drive::branches::{self, TakenUp};
use crate::net::PeerId;

/// The end of a branch: slot and assignment, and what is at the slot from which on it is disputed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct End {
    slot: u64,
    assignment: Id,
    epoch: u64,
    at_dispute: Option<Id>,
}

/// `GET /ao/branches/{process}`
pub(super) async fn list(
    State(api): State<Api>,
    Path(process): Path<String>,
    passed: FromPeer,
) -> Result<Json<Value>, ApiError> {
    let id = query::id("process", &process)?;
    api.known(&id, Patience::new(passed)).await?;
    let (world, log) = (&api.world, api.world.log());
    let process = log.process(&id)?.ok_or_else(|| ApiError::NotFound(format!("process {id} is not known")))?;
    let disputed = disputed_from(log, &id)?;
    let mut ends: BTreeMap<End, Vec<Value>> = BTreeMap::new();
    if let Some(end) = own(log, &id, disputed)? {
        ends.entry(end).or_default().push(json!({ "address": world.address().to_string(), "this": true }));
    }
    let directory = world.net().directory();
    let units = directory.units();
    let named = &process;
    let asked = join_all(directory.connected().into_iter().map(|peer| async move {
        let end = theirs(world, &peer, named, disputed).await;
        (peer, end)
    }));
    for (peer, end) in asked.await {
        // An end that can't count here is none: signed by somebody else, or void since a resume.
        let Some(end) = end.filter(|end| end.epoch == process.epoch_at(end.slot)) else { continue };
        let address = units.iter().find(|unit| unit.peer == peer).map(|unit| unit.address.to_string());
        ends.entry(end).or_default().push(json!({ "address": address, "peer_id": peer.to_string(), "this": false }));
    }
    let branch = |(end, nodes): (End, Vec<Value>)| {
        json!({
            "slot": end.slot,
            "branch": end.assignment.to_string(),
            "epoch": end.epoch,
            "at_dispute": end.at_dispute.map(|id| id.to_string()),
            "nodes": nodes,
        })
    };
    let scheduler = process.scheduler();
    let resumes = process.resumes.iter().map(|resume| {
        json!({
            "slot": resume.slot,
            "branch": resume.branch.to_string(),
            "scheduler": resume.scheduler.to_string(),
            "sequence": resume.sequence,
            "item": resume.item.id().to_string(),
        })
    });
    Ok(Json(json!({
        "process": id.to_string(),
        "owner": owner(log, &id)?.map(|owner| owner.to_string()),
        "scheduler": scheduler.to_string(),
        "scheduler_connected": scheduler == world.address()
            || directory.unit(&scheduler).is_some_and(|unit| directory.is_connected(&unit.peer)),
        "epoch": process.epoch(),
        "disputed_from": disputed,
        "branches": ends.into_iter().rev().map(branch).collect::<Vec<_>>(),
        "resumes": resumes.collect::<Vec<_>>(),
    })))
}

fn own(log: &dyn Log, process: &Id, disputed: Option<u64>) -> Result<Option<End>, LogError> {
    let Some(tip) = log.tip(process)? else { return Ok(None) };
    let at = disputed.map(|slot| log.entry(process, slot)).transpose()?.flatten();
    let last = log.entry(process, tip.slot)?;
    Ok(Some(End {
        slot: tip.slot,
        assignment: tip.assignment,
        epoch: last.map_or(0, |last| last.assignment.statement.epoch),
        at_dispute: at.map(|entry| entry.assignment.id()),
    }))
}

async fn theirs(world: &World, peer: &PeerId, named: &Process, disputed: Option<u64>) -> Option<End> {
    let process = &named.id();
    let ask = async |below: u64| {
        let request = Request::Below { process: *process, below, most: 1, bare: true };
        match world.net().request(peer, &request).await {
            Ok(Response::Range(entries)) => entries.first().and_then(|first| read(world, named, first)),
            _ => None,
        }
    };
    let last = ask(u64::MAX).await?;
    let at = match disputed {
        Some(slot) => ask(slot + 1).await.filter(|at| at.statement.slot == slot),
        None => None,
    };
    Some(End {
        slot: last.statement.slot,
        assignment: last.id(),
        epoch: last.statement.epoch,
        at_dispute: at.map(|at| at.id()),
    })
}

/// An assignment that a peer sent of the process that it was asked for, by its scheduler.
fn read(world: &World, process: &Process, entry: &EntryBytes) -> Option<Assignment> {
    let item = world.verified().verify(entry.assignment.0.clone()).ok()?;
    let signer = item.address();
    let assignment = Assignment::read(item).ok()?;
    let statement = &assignment.statement;
    let its = statement.process == process.id() && signer == process.scheduler_at(statement.slot);
    its.then_some(assignment)
}

/// `POST /ao/resume`: takes the owner's signed `Resume`.
pub(super) async fn resume(State(api): State<Api>, body: Bytes) -> Result<Json<Value>, ApiError> {
    api.needs_room()?;
    let bytes = ItemBytes(body.to_vec());
    let item = api.world.verified().verify_or_say(bytes.clone()).await.map_err(ApiError::BadRequest)?;
    let read = Resume::read(item).map_err(|cause| ApiError::BadRequest(cause.to_string()))?;
    let new = match branches::take(&api.world, &api.follower, bytes).await? {
        TakenUp::New => true,
        TakenUp::Known => false,
        TakenUp::Refused(cause) => return Err(ApiError::Forbidden(cause)),
        TakenUp::Unknown(cause) => return Err(ApiError::NotFound(cause)),
        TakenUp::TooSoon => return Err(ApiError::Crowded("it was resumed a moment ago; try again".into())),
    };
    Ok(Json(json!({
        "id": read.item.id().to_string(),
        "process": read.process.to_string(),
        "slot": read.slot,
        "branch": read.branch.to_string(),
        "scheduler": read.scheduler.to_string(),
        "sequence": read.sequence,
        "new": new,
    })))
}
