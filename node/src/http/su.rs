//! The scheduler's API: scheduling by POST, and reading the log in the JSON shapes of ao's schedulers.

use ao_protocol::announcement::Role;
use ao_protocol::entry::Entry;
use ao_protocol::id::Id;
use ao_protocol::log::{Log, LogError};
use ao_protocol::process::Process;
use ao_protocol::scheduler::Submission;
use ao_protocol::wire::{Call, ItemBytes};
use axum::body::Bytes;
use axum::extract::{OriginalUri, Path, Query, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::error::ApiError;
use super::log_page::{self, Wanted};
use super::mu::Assigning;
use super::outcome::Patience;
use super::passed_on::{FromPeer, with_query};
use super::{Api, query};
use crate::drive::{assign, lookup, now_ms};

pub(super) fn router() -> Router<Api> {
    Router::new()
        .route("/", get(root).post(post))
        .route("/timestamp", get(timestamp))
        .route("/processes/{process}", get(process))
        .route("/{id}", get(read))
        .route("/{id}/latest", get(latest))
}

async fn root(State(api): State<Api>) -> Json<Value> {
    Json(json!({ "timestamp": now_ms().to_string(), "address": api.world.address().to_string() }))
}

/// The clock and the height that the next slot would be stamped with.
async fn timestamp(State(api): State<Api>) -> Json<Value> {
    let height = format!("{:012}", api.world.newest_block().height);
    Json(json!({ "timestamp": now_ms().to_string(), "block_height": height }))
}

/// Schedules an item, or with `assign` an item from elsewhere; on a node that is not its scheduler it goes to the one
/// that is.
async fn post(
    State(api): State<Api>,
    Query(assigning): Query<Assigning>,
    body: Bytes,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let (assignment, id) = match assigning.read()? {
        Some((process, assigned)) => {
            let assignment = assign::assign(&api.world, &api.submitter, &process, &assigned).await?;
            let id = assignment.id();
            (assignment, id)
        }
        None => {
            let item =
                api.world.verified().verify_or_say(ItemBytes(body.to_vec())).await.map_err(ApiError::BadRequest)?;
            let id = item.id();
            let scheduler = match (item.tag("Type"), item.target()) {
                (Some("Process"), _) => {
                    Process::read(&item).map_err(|cause| ApiError::BadRequest(cause.to_string()))?.scheduler()
                }
                (_, Some(target)) => lookup::process(&api.world, &target).await??.scheduler(),
                // It can't be scheduled by anybody: this node's own rule says why.
                _ => api.world.address(),
            };
            let submission = Submission::new(item, api.world.address());
            let receipts = api.submitter.submit(scheduler, &[submission]).await?;
            let silent = || ApiError::Upstream("the scheduler gave no answer".into());
            (receipts.into_iter().next().ok_or_else(silent)??, id)
        }
    };
    let timestamp: u64 = assignment.tag("Timestamp").and_then(|text| text.parse().ok()).unwrap_or_default();
    Ok((StatusCode::CREATED, Json(json!({ "timestamp": timestamp, "id": id.to_string() }))))
}

/// What of a log is wanted.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub(super) struct Range {
    process_id: Option<String>,
    pub(super) from: Option<String>,
    pub(super) to: Option<String>,
    pub(super) from_nonce: Option<String>,
    pub(super) to_nonce: Option<String>,
    pub(super) limit: Option<String>,
    pub(super) show_anchor: Option<String>,
}

fn unknown() -> ApiError {
    ApiError::NotFound("Message or Process not found".into())
}

/// A process's log, or with another `process-id` one entry by the id of its message or assignment.
async fn read(
    State(api): State<Api>,
    Path(id): Path<String>,
    Query(range): Query<Range>,
    OriginalUri(uri): OriginalUri,
    passed: FromPeer,
) -> Result<Response, ApiError> {
    let id = query::id("path", &id)?;
    let process = match &range.process_id {
        Some(process) => query::id("process-id", process)?,
        None => id,
    };
    let wanted = Wanted::read(&range)?;
    if !api.world.follows(&process) && !passed.0 {
        let path = with_query(format!("/su/{id}"), &uri);
        return api.pass_on(Role::Su, &process, Call { path, body: None }).await;
    }
    let (log, patience) = (api.world.log(), Patience::new(passed));
    if process == id {
        api.world.wait_for(&process, patience.for_entry(), || log.tip(&process)).await?.ok_or_else(unknown)?;
        let world = api.world.clone();
        let page = tokio::task::spawn_blocking(move || log_page::page(world.log(), &process, &wanted)).await;
        let stopping = |_| ApiError::Internal("the node is stopping".into());
        let body = page.map_err(stopping)??.to_json(Map::new());
        return Ok(([(CONTENT_TYPE, "application/json")], body).into_response());
    }
    let find = || match log.slot_of_item(&process, &id)? {
        Some(slot) => log.entry(&process, slot),
        None => by_assignment(log, &process, &id),
    };
    let entry = api.world.wait_for(&process, patience.for_entry(), find).await?.ok_or_else(unknown)?;
    Ok(Json(log_page::node(&entry, range.show_anchor.is_some())).into_response())
}

fn by_assignment(log: &dyn Log, process: &Id, id: &Id) -> Result<Option<Entry>, LogError> {
    let Some(item) = log.item(id)? else { return Ok(None) };
    let nonce = item.tag("Nonce").and_then(|nonce| nonce.parse().ok());
    let Some(slot) = nonce else { return Ok(None) };
    Ok(log.entry(process, slot)?.filter(|entry| entry.assignment.id() == *id))
}

/// The newest entry of a process; that of the process itself when nothing came after it.
async fn latest(
    State(api): State<Api>,
    Path(process): Path<String>,
    Query(range): Query<Range>,
    OriginalUri(uri): OriginalUri,
    passed: FromPeer,
) -> Result<Response, ApiError> {
    let process = query::id("process", &process)?;
    if !api.world.follows(&process) && !passed.0 {
        let path = with_query(format!("/su/{process}/latest"), &uri);
        return api.pass_on(Role::Su, &process, Call { path, body: None }).await;
    }
    let tip = api.known(&process, Patience::new(passed)).await?;
    let entry = api.world.log().entry(&process, tip)?.ok_or_else(unknown)?;
    Ok(Json(log_page::node(&entry, range.show_anchor.is_some())).into_response())
}

/// What is known of a process.
async fn process(State(api): State<Api>, Path(process): Path<String>, passed: FromPeer) -> Result<Response, ApiError> {
    let process = query::id("process", &process)?;
    if !api.world.follows(&process) && !passed.0 {
        return api.pass_on(Role::Su, &process, Call { path: format!("/su/processes/{process}"), body: None }).await;
    }
    api.known(&process, Patience::new(passed)).await?;
    let first = api.world.log().entry(&process, 0)?.ok_or_else(unknown)?;
    Ok(Json(log_page::process(&first)).into_response())
}
