//! `push` and `schedule`: items that get a slot, and the log that they are in.

use ao_protocol::id::Id;
use ao_protocol::item::{DataItem, VerifiedItem};
use ao_protocol::log::Log;
use ao_protocol::wire;
use axum::Json;
use axum::body::{Bytes, to_bytes};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use super::super::body::may_be_item;
use super::super::error::ApiError;
use super::super::log_page::{self, Wanted};
use super::super::outcome::{Patience, Resolved};
use super::super::outcome_json;
use super::super::passed_on::FromPeer;
use super::super::su::Range;
use super::super::{Api, MAX_BODY_BYTES};
use super::path::Call;
use super::reading;

/// Headers of messages that are signed as HTTP messages.
const HTTP_SIGNATURES: [&str; 2] = ["signature", "signature-input"];
/// The format of pages that legacy units read.
const AOS_2: &str = "application/aos-2";

/// Schedules an item. Its outbox is delivered whether somebody waits or not; with a `result-depth` above 0, or
/// `push-mode=sync`, the answer holds the result.
pub(super) async fn push(
    api: &Api,
    process: Option<Id>,
    arguments: &[(String, String)],
    headers: &HeaderMap,
    body: Bytes,
) -> Result<Response, ApiError> {
    let (id, assignment) = accept(api, process, headers, body).await?;
    let option = |name: &str| {
        let said = arguments.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str());
        said.or_else(|| headers.get(name).and_then(|value| value.to_str().ok()))
    };
    let wanted = option("result-depth").is_some_and(|depth| depth != "0") || option("push-mode") == Some("sync");
    let (slot, mut answer) = receipt(&id, &assignment);
    if wanted && let (Some(slot), Some(of)) = (slot, assignment.tag("Process").and_then(|text| text.parse().ok())) {
        match result(api, &of, slot, &id).await? {
            Ok(raw) => answer.extend(reading::results_of(raw)),
            Err(other) => return Ok(other),
        }
    }
    Ok(scheduled(&assignment, answer))
}

/// The legacy result of a slot that was just given, or what a compute unit says instead.
async fn result(api: &Api, process: &Id, slot: u64, item: &Id) -> Result<Result<Value, Response>, ApiError> {
    let call = wire::Call { path: format!("/cu/result/{item}?process-id={process}"), body: None };
    match api.resolve(process, slot, Patience::new(FromPeer(false)), call).await? {
        Resolved::Here(record) => Ok(Ok(outcome_json::result(&record.outcome))),
        Resolved::There(answer) if answer.status().is_success() => {
            let odd = || ApiError::Upstream("a compute unit gave no result".into());
            let bytes = to_bytes(answer.into_body(), MAX_BODY_BYTES).await.map_err(|_| odd())?;
            serde_json::from_slice(&bytes).map(Ok).map_err(|_| odd())
        }
        Resolved::There(answer) => Ok(Err(answer)),
    }
}

/// Schedules an item.
pub(super) async fn schedule(
    api: &Api,
    process: Option<Id>,
    headers: &HeaderMap,
    body: Bytes,
) -> Result<Response, ApiError> {
    let (id, assignment) = accept(api, process, headers, body).await?;
    Ok(scheduled(&assignment, receipt(&id, &assignment).1))
}

async fn accept(
    api: &Api,
    process: Option<Id>,
    headers: &HeaderMap,
    body: Bytes,
) -> Result<(Id, VerifiedItem), ApiError> {
    if HTTP_SIGNATURES.iter().any(|name| headers.contains_key(*name)) {
        // Clients take this as the sign to send an ANS-104 item instead.
        let text = "messages signed with httpsig@1.0 are not taken: send an ANS-104 item (codec-device: ans104@1.0)";
        return Err(ApiError::Unprocessable(text.into()));
    }
    may_be_item(headers)?;
    if let Some(process) = process {
        let item = DataItem::decode(body.to_vec())?;
        if item.target() != Some(process) {
            return Err(ApiError::BadRequest(format!("the item's target is not process {process} of the path")));
        }
    }
    api.accept(body).await
}

/// Slot and fields of an answer about a scheduled item.
fn receipt(id: &Id, assignment: &VerifiedItem) -> (Option<u64>, Map<String, Value>) {
    let slot: Option<u64> = assignment.tag("Nonce").and_then(|nonce| nonce.parse().ok());
    let mut fields = Map::new();
    fields.insert("id".into(), json!(id.to_string()));
    fields.insert("slot".into(), json!(slot));
    fields.insert("process".into(), json!(assignment.tag("Process")));
    fields.insert("timestamp".into(), json!(assignment.tag("Timestamp")));
    fields.insert("hash-chain".into(), json!(assignment.tag("Hash-Chain")));
    fields.insert("assignment".into(), json!(assignment.id().to_string()));
    (slot, fields)
}

/// The answer, with the assignment's keys as headers too: a spawn's client reads `process` there.
fn scheduled(assignment: &VerifiedItem, answer: Map<String, Value>) -> Response {
    let id = answer.get("id").and_then(Value::as_str).unwrap_or_default().to_string();
    let mut response = Json(Value::Object(answer)).into_response();
    let tags = [("process", "Process"), ("slot", "Nonce"), ("timestamp", "Timestamp"), ("hash-chain", "Hash-Chain")];
    let values = tags.into_iter().filter_map(|(name, tag)| Some((name, assignment.tag(tag)?)));
    for (name, value) in values.chain([("id", id.as_str())]) {
        if let Ok(value) = HeaderValue::from_str(value) {
            response.headers_mut().insert(HeaderName::from_static(name), value);
        }
    }
    response
}

/// The log of a process by slots, `from` and `to` inclusive.
pub(super) async fn log(
    api: &Api,
    process: Id,
    arguments: &[(String, String)],
    call: Call,
) -> Result<Response, ApiError> {
    if let Some(answer) = reading::elsewhere(api, &process, &call).await? {
        return Ok(answer);
    }
    let argument = |name: &str| arguments.iter().find(|(found, _)| found == name).map(|(_, value)| value.clone());
    let tip = api.known(&process, Patience::new(call.passed)).await?;
    let mut range = Range::default();
    // The legacy bound is exclusive.
    range.from_nonce = Some(match argument("from").and_then(|from| from.parse::<i64>().ok()) {
        Some(from) => from.saturating_sub(1).to_string(),
        None => "-1".into(),
    });
    range.to_nonce = argument("to");
    range.limit = argument("limit");
    let wanted = Wanted::read(&range)?;
    let world = api.world.clone();
    let page = tokio::task::spawn_blocking(move || log_page::page(world.log(), &process, &wanted)).await;
    let page = page.map_err(|_| ApiError::Internal("the node is stopping".into()))??;
    let mut info = Map::new();
    if let Some(newest) = api.world.log().entry(&process, tip)? {
        let statement = &newest.assignment.statement;
        info.insert("process".into(), json!(process.to_string()));
        info.insert("timestamp".into(), json!(statement.timestamp_ms.to_string()));
        info.insert("block-height".into(), json!(statement.block_height.to_string()));
    }
    let kind = [(CONTENT_TYPE, HeaderValue::from_static(AOS_2)), (CACHE_CONTROL, HeaderValue::from_static("no-store"))];
    Ok((kind, page.to_json(info)).into_response())
}
