//! The scheduler's API: scheduling by POST, and reading the log in the JSON shapes of ao's schedulers.

use ao_protocol::entry::Entry;
use ao_protocol::id::{Id, encode_base64url};
use ao_protocol::item::VerifiedItem;
use ao_protocol::log::{Log, LogError};
use ao_protocol::process::Process;
use ao_protocol::scheduler::Submission;
use ao_protocol::wire::ItemBytes;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use super::error::ApiError;
use super::{Api, ENTRY_WAIT};
use crate::drive::inbound::verify_or_say;
use crate::drive::{lookup, now_ms};

/// Entries in a page when the client does not say.
const DEFAULT_LIMIT: usize = 100;
/// Most entries in a page; equal timestamps at its end may make it longer.
const MAX_LIMIT: usize = 1000;
/// Bytes of items after which a page ends, equal timestamps or not; one entry always fits.
const MAX_PAGE_BYTES: usize = 16 * 1024 * 1024;

pub(super) fn router() -> Router<Api> {
    Router::new().route("/", get(root).post(post)).route("/{id}", get(read))
}

async fn root(State(api): State<Api>) -> Json<Value> {
    Json(json!({ "timestamp": now_ms().to_string(), "address": api.world.address().to_string() }))
}

/// Schedules an item; on a node that is not its scheduler it goes to the one that is.
async fn post(State(api): State<Api>, body: Bytes) -> Result<(StatusCode, Json<Value>), ApiError> {
    let item = verify_or_say(ItemBytes(body.to_vec())).await.map_err(ApiError::BadRequest)?;
    let id = item.id();
    let scheduler = match (item.tag("Type"), item.target()) {
        (Some("Process"), _) => {
            Process::read(&item).map_err(|cause| ApiError::BadRequest(cause.to_string()))?.scheduler
        }
        (_, Some(target)) => lookup::process(&api.world, &target).await??.scheduler,
        // It can't be scheduled by anybody: this node's own rule says why.
        _ => api.world.address(),
    };
    let submission = Submission { item, messenger: api.world.address(), depth: 0 };
    let receipts = api.submitter.submit(scheduler, &[submission]).await?;
    let receipt =
        receipts.into_iter().next().ok_or_else(|| ApiError::Upstream("the scheduler gave no answer".into()))?;
    let timestamp: u64 = receipt?.tag("Timestamp").and_then(|text| text.parse().ok()).unwrap_or_default();
    Ok((StatusCode::CREATED, Json(json!({ "timestamp": timestamp, "id": id.to_string() }))))
}

/// What of a log is wanted. Clients send odd values (`limit=undefined`), so everything is read leniently.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
struct Range {
    process_id: Option<String>,
    from: Option<String>,
    to: Option<String>,
    from_nonce: Option<String>,
    to_nonce: Option<String>,
    limit: Option<String>,
    show_anchor: Option<String>,
}

fn number<T: std::str::FromStr>(text: &Option<String>) -> Option<T> {
    text.as_deref().and_then(|text| text.parse().ok())
}

/// A process's log, or with another `process-id` one entry by the id of its message or assignment.
async fn read(
    State(api): State<Api>,
    Path(id): Path<String>,
    Query(range): Query<Range>,
) -> Result<Json<Value>, ApiError> {
    let parse = |text: &str| text.parse::<Id>().map_err(|cause| ApiError::BadRequest(cause.to_string()));
    let id = parse(&id)?;
    let process = range.process_id.as_deref().map(parse).transpose()?.unwrap_or(id);
    let log = api.world.log();
    let unknown = || ApiError::NotFound("Message or Process not found".into());
    let anchors = range.show_anchor.is_some();
    if process == id {
        api.world.wait_for(ENTRY_WAIT, || log.tip(&process)).await?.ok_or_else(unknown)?;
        return Ok(Json(page(log, &process, &range, anchors)?));
    }
    let find = || match log.slot_of_item(&process, &id)? {
        Some(slot) => log.entry(&process, slot),
        None => by_assignment(log, &process, &id),
    };
    let entry = api.world.wait_for(ENTRY_WAIT, find).await?.ok_or_else(unknown)?;
    Ok(Json(node(&entry, anchors)))
}

fn by_assignment(log: &dyn Log, process: &Id, id: &Id) -> Result<Option<Entry>, LogError> {
    let Some(item) = log.item(id)? else { return Ok(None) };
    let nonce = item.tag("Nonce").and_then(|nonce| nonce.parse().ok());
    let Some(slot) = nonce else { return Ok(None) };
    Ok(log.entry(process, slot)?.filter(|entry| entry.assignment.id() == *id))
}

/// A page of a log: by nonce if a nonce bound is given, else by time. Lower bounds are exclusive, upper ones inclusive.
fn page(log: &dyn Log, process: &Id, range: &Range, anchors: bool) -> Result<Value, LogError> {
    let Some(tip) = log.tip(process)? else {
        return Ok(json!({ "page_info": { "has_next_page": false }, "edges": [] }));
    };
    let limit = number(&range.limit).unwrap_or(DEFAULT_LIMIT).clamp(1, MAX_LIMIT);
    let by_nonce = range.from_nonce.is_some() || range.to_nonce.is_some();
    let (first, end) = if by_nonce {
        let from: i64 = number(&range.from_nonce).unwrap_or(-1);
        let to: i64 = number(&range.to_nonce).unwrap_or(i64::MAX);
        (u64::try_from(from.saturating_add(1)).unwrap_or(0), u64::try_from(to).map_or(0, |to| to.saturating_add(1)))
    } else {
        let after = |time: u64| first_after(log, process, tip.slot, time);
        let from = number(&range.from).map(after).transpose()?.unwrap_or(0);
        (from, number(&range.to).map(after).transpose()?.unwrap_or(u64::MAX))
    };
    let end = end.min(tip.slot + 1);
    let mut edges: Vec<Value> = Vec::new();
    let mut last_ms = None;
    let mut slot = first;
    let mut bytes = 0;
    while slot < end {
        let Some(entry) = log.entry(process, slot)? else { break };
        bytes += entry.item.bytes().len();
        if bytes > MAX_PAGE_BYTES && !edges.is_empty() {
            break;
        }
        let time = entry.assignment.statement.timestamp_ms;
        // The next page starts after this one's last time: entries of the same time must not be cut apart.
        if edges.len() >= limit && (by_nonce || last_ms != Some(time)) {
            break;
        }
        let cursor = if by_nonce { slot.to_string() } else { time.to_string() };
        edges.push(json!({ "cursor": cursor, "node": node(&entry, anchors) }));
        last_ms = Some(time);
        slot += 1;
    }
    Ok(json!({ "page_info": { "has_next_page": slot < end }, "edges": edges }))
}

/// The first slot whose time is after this one; times never decrease.
fn first_after(log: &dyn Log, process: &Id, tip: u64, time: u64) -> Result<u64, LogError> {
    let (mut low, mut high) = (0, tip + 1);
    while low < high {
        let middle = low + (high - low) / 2;
        let at = log.entry(process, middle)?.map_or(u64::MAX, |entry| entry.assignment.statement.timestamp_ms);
        if at > time { high = middle } else { low = middle + 1 }
    }
    Ok(low)
}

/// Message and assignment of a slot.
fn node(entry: &Entry, anchors: bool) -> Value {
    let message = match &entry.proof {
        // An item from elsewhere is named by the assignment only, as in ao.
        Some(_) => Value::Null,
        None => {
            let mut message = item(&entry.item, anchors);
            if let Some(fields) = message.as_object_mut() {
                let text = match entry.slot() {
                    0 => std::str::from_utf8(entry.item.data()).ok().map(str::to_string),
                    _ => Some(String::from_utf8_lossy(entry.item.data()).into_owned()),
                };
                fields.insert("data".into(), json!(text));
            }
            message
        }
    };
    json!({ "message": message, "assignment": item(&entry.assignment.item, anchors) })
}

fn item(item: &VerifiedItem, anchors: bool) -> Value {
    let anchor = item.anchor().map(|anchor| match anchors {
        true => encode_base64url(anchor),
        false => String::from_utf8_lossy(anchor).into_owned(),
    });
    json!({
        "id": item.id().to_string(),
        "owner": { "address": item.address().to_string(), "key": encode_base64url(item.owner()) },
        "tags": item.tags(),
        "signature": encode_base64url(item.signature()),
        "anchor": anchor,
        "target": item.target().map(|target| target.to_string()).unwrap_or_default(),
    })
}
