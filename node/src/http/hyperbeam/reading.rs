//! `slot`, `compute` and `now`: how far a process is, and what its slots came to.

use ao_protocol::announcement::Role;
use ao_protocol::id::Id;
use ao_protocol::log::Log;
use axum::Json;
use axum::http::HeaderValue;
use axum::http::header::CACHE_CONTROL;
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use super::super::error::ApiError;
use super::super::outcome::{Patience, Resolved};
use super::super::{Api, outcome_json};
use super::path::Call;

/// The answer of a compute unit, where this node does not follow the process itself.
pub(super) async fn elsewhere(api: &Api, process: &Id, call: &Call) -> Result<Option<Response>, ApiError> {
    if api.world.follows(process) || call.passed.0 {
        return Ok(None);
    }
    pass_on(api, process, call).await.map(Some)
}

/// Passes a reading call on to a compute unit.
pub(super) async fn pass_on(api: &Api, process: &Id, call: &Call) -> Result<Response, ApiError> {
    api.pass_on(Role::Cu, process, call.for_peer()).await
}

/// The newest slot of a process: `current` is its number.
pub(super) async fn slot(api: &Api, process: Id, keys: &[String], call: Call) -> Result<Response, ApiError> {
    if let Some(answer) = elsewhere(api, &process, &call).await? {
        return Ok(answer);
    }
    let tip = api.known(&process, Patience::new(call.passed)).await?;
    let entry = api.world.log().entry(&process, tip)?;
    let entry = entry.ok_or_else(|| ApiError::Internal(format!("slot {tip} of process {process} is missing")))?;
    let statement = &entry.assignment.statement;
    let state = json!({
        "process": process.to_string(),
        "current": tip,
        "timestamp": statement.timestamp_ms,
        "block-height": statement.block_height,
        "hash-chain": statement.hash_chain.to_string(),
        "wallet-address": entry.assignment.item.address().to_string(),
    });
    let mut response = shown(find(&state, keys)?)?;
    let headers = response.headers_mut();
    headers.insert("slot", HeaderValue::from(tip));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// What a slot came to: the whole state, or the keys of it that are wanted.
pub(super) async fn results(
    api: &Api,
    process: Id,
    slot: Option<&str>,
    keys: &[String],
    call: Call,
) -> Result<Response, ApiError> {
    if let Some(answer) = elsewhere(api, &process, &call).await? {
        return Ok(answer);
    }
    let patience = Patience::new(call.passed);
    let tip = api.known(&process, patience).await?;
    let log = api.world.log();
    let slot = match slot {
        None => tip,
        Some(text) => match (text.parse::<u64>(), text.parse::<Id>()) {
            (Ok(slot), _) => {
                let entry = api.world.wait_for(&process, patience.for_entry(), || log.entry(&process, slot)).await?;
                let unknown = || ApiError::NotFound(format!("process {process} has no slot {slot}"));
                entry.ok_or_else(unknown)?.slot()
            }
            (_, Ok(message)) => {
                let find = || log.slot_of_item(&process, &message);
                let slot = api.world.wait_for(&process, patience.for_entry(), find).await?;
                let unknown = || ApiError::NotFound(format!("message {message} is not in the log of {process}"));
                slot.ok_or_else(unknown)?
            }
            _ => return Err(ApiError::BadRequest(format!("{text:?} is no slot and no id of a message"))),
        },
    };
    let record = match api.resolve(&process, slot, patience, call.for_peer()).await? {
        Resolved::Here(record) => record,
        Resolved::There(answer) => return Ok(answer),
    };
    let state = json!({
        "process": process.to_string(),
        "at-slot": slot,
        "results": results_of(outcome_json::result(&record.outcome)),
    });
    let mut response = shown(find(&state, keys)?)?;
    response.headers_mut().insert("slot", HeaderValue::from(slot));
    Ok(response)
}

/// A legacy result as the results of HyperBEAM's execution device: itself under `raw`, and as text in `json/body`.
pub(super) fn results_of(raw: Value) -> Map<String, Value> {
    let mut outbox = Map::new();
    let sent = raw["Messages"].as_array().into_iter().flatten();
    for (number, message) in sent.enumerate() {
        outbox.insert((number + 1).to_string(), message.clone());
    }
    let mut results = Map::new();
    results.insert("outbox".into(), Value::Object(outbox));
    let data = match &raw["Output"] {
        Value::Object(output) => output.get("data").cloned().unwrap_or_default(),
        other => other.clone(),
    };
    results.insert("data".into(), data);
    results.insert("json".into(), json!({ "body": raw.to_string() }));
    results.insert("raw".into(), raw);
    results
}

/// What keys lead to.
pub(super) fn find<'a>(state: &'a Value, keys: &[String]) -> Result<&'a Value, ApiError> {
    let missing = |key: &String| ApiError::NotFound(format!("there is no key {key:?}"));
    keys.iter().try_fold(state, |state, key| state.get(key.as_str()).ok_or_else(|| missing(key)))
}

/// Texts and numbers as they are, the rest as JSON.
pub(super) fn shown(value: &Value) -> Result<Response, ApiError> {
    Ok(match value {
        Value::String(text) => text.clone().into_response(),
        Value::Number(number) => number.to_string().into_response(),
        other => Json(other).into_response(),
    })
}
