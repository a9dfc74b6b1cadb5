//! The compute unit's API: what a message came to.

use ao_protocol::id::Id;
use ao_protocol::log::Log;
use ao_protocol::outcome::{OutboxEntry, Outcome};
use axum::extract::{Path, Query, State};
use axum::routing::get;
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::error::ApiError;
use super::{Api, ENTRY_WAIT, RESULT_WAIT};
use crate::drive::now_ms;

pub(super) fn router() -> Router<Api> {
    Router::new().route("/", get(root)).route("/result/{id}", get(result))
}

async fn root(State(api): State<Api>) -> Json<Value> {
    Json(json!({ "address": api.world.address().to_string(), "timestamp": now_ms() }))
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Of {
    process_id: Option<String>,
}

/// The result of a message, waited for if it is not there yet. The id may be that of the process: its first slot.
async fn result(State(api): State<Api>, Path(id): Path<String>, Query(of): Query<Of>) -> Result<Json<Value>, ApiError> {
    let parse = |text: &str| text.parse::<Id>().map_err(|cause| ApiError::BadRequest(cause.to_string()));
    let id = parse(&id)?;
    let process = of.process_id.as_deref().ok_or_else(|| {
        ApiError::BadRequest("query parameter process-id is missing: the process that the message was sent to".into())
    })?;
    let process = parse(process)?;
    let (world, log) = (&api.world, api.world.log());
    let slot = world.wait_for(ENTRY_WAIT, || log.slot_of_item(&process, &id)).await?;
    let unknown = || ApiError::NotFound(format!("message {id} is not in the log of process {process}"));
    let slot = slot.ok_or_else(unknown)?;
    let record = world.wait_for(RESULT_WAIT, || log.outcome(&process, slot)).await?;
    let late = || {
        let reason = api.computer.as_ref().and_then(|computer| computer.stalled(&process));
        let reason = reason.map_or_else(String::new, |reason| format!(": {reason}"));
        ApiError::NotYet(format!("slot {slot} of process {process} is not computed yet{reason}"))
    };
    let record = record.ok_or_else(late)?;
    Ok(Json(outcome_json(&record.outcome)))
}

/// An outcome in the shape of ao's compute units.
pub(super) fn outcome_json(outcome: &Outcome) -> Value {
    let list = |entries: &[OutboxEntry]| Value::Array(entries.iter().map(entry_json).collect());
    let mut result = Map::new();
    result.insert("Messages".into(), list(&outcome.messages));
    result.insert("Assignments".into(), list(&outcome.assignments));
    result.insert("Spawns".into(), list(&outcome.spawns));
    result.insert("Output".into(), serde_json::from_str(&outcome.output).unwrap_or_else(|_| json!("")));
    if let Some(error) = &outcome.error {
        result.insert("Error".into(), json!(error));
    }
    result.insert("GasUsed".into(), json!(outcome.gas_used));
    Value::Object(result)
}

fn entry_json(entry: &OutboxEntry) -> Value {
    let mut fields: Value = serde_json::from_str(&entry.fields).unwrap_or_else(|_| json!({}));
    if let (Some(fields), Some(data)) = (fields.as_object_mut(), &entry.data) {
        fields.insert("Data".into(), json!(String::from_utf8_lossy(data)));
    }
    fields
}
