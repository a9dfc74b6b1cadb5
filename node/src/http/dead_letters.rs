//! Dead letters over HTTP: of this node's messenger, and of all others that can be asked.

use std::time::Duration;

use ao_protocol::announcement::Role;
use ao_protocol::id::{Address, Id};
use ao_protocol::item::VerifiedItem;
use ao_protocol::log::{Delivery, DeliveryState, MAX_PAGE};
use ao_protocol::origin::DeliveryId;
use ao_protocol::wire::{Call, Request, Response};
use axum::Json;
use axum::extract::{Query, State};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::error::ApiError;
use super::passed_on::FromPeer;
use super::{Api, query};
use crate::net::Unit;

/// Most messengers that are asked.
const MAX_ASKED: usize = 16;
/// How long each may take.
const ASK_TIME: Duration = Duration::from_secs(5);
/// Dead letters of a messenger that are listed when the client does not say how many.
const DEFAULT_LIMIT: usize = 100;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Of {
    process_id: Option<String>,
    messenger: Option<String>,
    after: Option<String>,
    limit: Option<String>,
}

/// `GET /ao/dead-letters`: what could not be delivered, and why.
pub(super) async fn list(
    State(api): State<Api>,
    Query(of): Query<Of>,
    from_peer: FromPeer,
) -> Result<Json<Value>, ApiError> {
    let process = of.process_id.as_deref().map(|text| query::id("process-id", text)).transpose()?;
    let wrong = |name: &str, cause: String| ApiError::BadRequest(format!("query parameter {name}: {cause}"));
    let after = of.after.as_deref().map(|text| text.parse::<DeliveryId>()).transpose();
    let after = after.map_err(|cause| wrong("after", cause.to_string()))?;
    let messenger = of.messenger.as_deref().map(|text| text.parse::<Address>()).transpose();
    let messenger = messenger.map_err(|cause| wrong("messenger", cause.to_string()))?;
    if after.is_some() && messenger.is_none() && !from_peer.0 {
        return Err(ApiError::BadRequest("after goes with messenger: each has a list of its own".into()));
    }
    let limit = query::limit(&of.limit, DEFAULT_LIMIT, MAX_PAGE)?;
    let (mut letters, mut messengers) = (Vec::new(), Vec::new());
    let wanted = |address: &Address| messenger.is_none_or(|messenger| messenger == *address);
    let own = api.world.address();
    if wanted(&own) && api.world.plays(Role::Mu) {
        let page = api.dead_letters.list(process.as_ref(), after.as_ref(), limit)?;
        messengers.push(json!({ "address": own.to_string(), "next": next(&page, limit) }));
        letters.extend(page.iter().map(|letter| told(&own, letter)));
    }
    if !from_peer.0 {
        let mut path = format!("/ao/dead-letters?limit={limit}");
        if let Some(process) = process {
            path.push_str(&format!("&process-id={process}"));
        }
        if let Some(after) = after {
            path.push_str(&format!("&after={after}"));
        }
        for unit in others(&api).into_iter().filter(|unit| wanted(&unit.address)) {
            match ask(&api, &unit, Call { path: path.clone(), body: None }).await {
                Ok(mut answer) => {
                    letters.extend(take_list(&mut answer, "dead_letters"));
                    messengers.extend(take_list(&mut answer, "messengers"));
                }
                Err(cause) => messengers.push(json!({ "address": unit.address.to_string(), "error": cause })),
            }
        }
    }
    Ok(Json(json!({ "dead_letters": letters, "messengers": messengers })))
}

/// Which dead letters are to be driven again.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Which {
    /// One.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    /// All that this process sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    process: Option<String>,
}

/// `POST /ao/dead-letters`: drives dead letters again, here and at all other messengers. What has its slot meanwhile
/// keeps it, so this can do no harm.
pub(super) async fn redrive(
    State(api): State<Api>,
    from_peer: FromPeer,
    Json(which): Json<Which>,
) -> Result<Json<Value>, ApiError> {
    let one = which.id.as_deref().map(|text| text.parse::<DeliveryId>()).transpose();
    let one = one.map_err(|cause| ApiError::BadRequest(format!("id: {cause}")))?;
    let process = which.process.as_deref().map(|text| query::id("process", text)).transpose()?;
    let mut messengers = Vec::new();
    if api.world.plays(Role::Mu) {
        let driven = api.dead_letters.redrive(process.as_ref(), one).await?;
        messengers.push(json!({ "address": api.world.address().to_string(), "driven": driven }));
    }
    if !from_peer.0 {
        let body = serde_json::to_vec(&which).map_err(|cause| ApiError::Internal(cause.to_string()))?;
        for unit in others(&api) {
            let call = Call { path: "/ao/dead-letters".into(), body: Some(body.clone()) };
            match ask(&api, &unit, call).await {
                Ok(mut answer) => messengers.extend(take_list(&mut answer, "messengers")),
                Err(cause) => messengers.push(json!({ "address": unit.address.to_string(), "error": cause })),
            }
        }
    }
    Ok(Json(json!({ "messengers": messengers })))
}

/// Messengers but this node.
fn others(api: &Api) -> Vec<Unit> {
    let mut units = api.world.net().directory().units_with(Role::Mu);
    units.retain(|unit| unit.address != api.world.address());
    units.truncate(MAX_ASKED);
    units
}

async fn ask(api: &Api, unit: &Unit, call: Call) -> Result<Value, String> {
    let request = Request::Call(call);
    let asked = api.world.net().request(&unit.peer, &request);
    let answer = match tokio::time::timeout(ASK_TIME, asked).await {
        Err(_) => return Err(format!("it did not answer within {} s", ASK_TIME.as_secs())),
        Ok(Err(cause)) => return Err(cause.to_string()),
        Ok(Ok(Response::Answer(answer))) => answer,
        Ok(Ok(_)) => return Err("it gave another answer than was asked for".into()),
    };
    let value: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    match (answer.status, value.get("error").and_then(Value::as_str)) {
        (200, _) => Ok(value),
        (_, Some(error)) => Err(error.to_string()),
        (status, None) => Err(format!("it answered {status}")),
    }
}

fn take_list(answer: &mut Value, name: &str) -> Vec<Value> {
    match answer.get_mut(name).map(Value::take) {
        Some(Value::Array(list)) => list,
        _ => Vec::new(),
    }
}

/// After which id the list goes on, if it does.
fn next(page: &[Delivery], limit: usize) -> Option<String> {
    page.last().filter(|_| page.len() == limit).map(|last| last.id.to_string())
}

fn told(messenger: &Address, letter: &Delivery) -> Value {
    let item = letter.item.as_ref().and_then(|item| VerifiedItem::from_own_store(item.0.clone()).ok());
    let reason = match &letter.state {
        DeliveryState::Dead { reason } => reason.as_str(),
        // It was driven again while this list was made.
        _ => "",
    };
    let origin = &letter.id.origin;
    let id = |id: Id| id.to_string();
    json!({
        "messenger": messenger.to_string(),
        "id": letter.id.to_string(),
        "process": origin.process.to_string(),
        "slot": origin.slot,
        "index": origin.index.to_string(),
        "target": letter.id.target.map(id),
        "action": item.as_ref().and_then(|item| item.tag("Action")),
        "item": item.as_ref().map(|item| item.id().to_string()),
        "depth": letter.depth,
        "reason": reason,
        "can_be_driven": letter.item.is_some(),
    })
}
