//! This implementation's own words: who the peers are, and what is known of a slot.

use ao_protocol::agreement::next_of_each;
use ao_protocol::evidence::disputed_from;
use ao_protocol::id::Id;
use ao_protocol::log::Log;
use axum::extract::{Path, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};

use super::error::ApiError;
use super::{Api, ENTRY_WAIT, branches, dead_letters, mirror, race, trace};

pub(super) fn router() -> Router<Api> {
    Router::new()
        .route("/peers", get(peers))
        .route("/slots/{process}/{slot}", get(slot))
        .route("/deliveries/{process}/{slot}", get(trace::deliveries))
        .route("/branches/{process}", get(branches::list))
        .route("/resume", post(branches::resume))
        .route("/mirror", get(mirror::get))
        .route("/dead-letters", get(dead_letters::list).post(dead_letters::redrive))
}

/// This node, its network, and the units that announced themselves.
async fn peers(State(api): State<Api>) -> Json<Value> {
    let world = &api.world;
    let directory = world.net().directory();
    let connected = directory.connected();
    let units: Vec<Value> = directory
        .units()
        .into_iter()
        .filter(|unit| unit.address != world.address())
        .map(|unit| {
            json!({
                "address": unit.address.to_string(),
                "peer_id": unit.peer.to_string(),
                "roles": unit.roles,
                "multiaddrs": unit.multiaddrs,
                "http_url": unit.http_url,
                "dev_chain": unit.dev_chain,
                "connected": connected.contains(&unit.peer),
                "expires_ms": unit.expires_ms,
            })
        })
        .collect();
    let network = world.network();
    Json(json!({
        "address": world.address().to_string(),
        "peer_id": world.net().peer_id().to_string(),
        "roles": world.roles(),
        "multiaddrs": world.net().listen_addresses().await,
        "connected": connected.len(),
        "module": crate::runtime::module_id().to_string(),
        "network": {
            "name": network.name,
            "hash": network.hash().to_string(),
            "open": network.open,
            "schedulers": network.schedulers,
            "messengers": network.messengers,
            "compute_units": network.compute_units,
        },
        "units": units,
    }))
}

/// A slot: its assignment, its outcome chain, and what units attested that covers it, the nearest first.
async fn slot(State(api): State<Api>, Path((process, slot)): Path<(String, u64)>) -> Result<Json<Value>, ApiError> {
    let process: Id = process.parse().map_err(|cause| ApiError::BadRequest(format!("{cause}")))?;
    let (world, log) = (&api.world, api.world.log());
    let entry = world.wait_for(&process, ENTRY_WAIT, || log.entry(&process, slot)).await?;
    let entry = entry.ok_or_else(|| ApiError::NotFound(format!("process {process} has no slot {slot}")))?;
    let statement = &entry.assignment.statement;
    let record = log.outcome(&process, slot)?;
    let spawn = log.process(&process)?;
    let units = spawn.as_ref().map(|spawn| world.trust().compute_units(spawn)).unwrap_or_default();
    let mut attestations = Vec::new();
    for seen in next_of_each(log, &process, &units, slot)? {
        attestations.push(race::attestation(log, &seen)?);
    }
    Ok(Json(json!({
        "process": process.to_string(),
        "slot": slot,
        "item": entry.message_id().to_string(),
        "assignment": entry.assignment.id().to_string(),
        "hash_chain": statement.hash_chain.to_string(),
        "timestamp": statement.timestamp_ms,
        "scheduler": entry.assignment.item.address().to_string(),
        "messenger": statement.messenger.map(|messenger| messenger.to_string()),
        "depth": statement.depth,
        "cron": statement.cron.as_ref().map(|firing| firing.cron.clone()),
        "origin": statement.origin.map(|origin| origin.to_string()),
        "from": ao_protocol::compute::message(log, &entry)?.from,
        "outcome_chain": record.as_ref().map(|record| record.chain().to_string()),
        "error": record.as_ref().and_then(|record| record.outcome.error.clone()),
        "attestations": attestations,
        "epoch": statement.epoch,
        "disputed": disputed_from(log, &process)?.is_some_and(|from| slot >= from),
    })))
}
