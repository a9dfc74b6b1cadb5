//! Dead letters over HTTP: of this node's messenger, and of all others that can be asked.

use std::time::Duration;

use ao_protocol::announcement::Role;
use ao_protocol::id::{Address, Id};
use ao_protocol::log::{DeadLetter, MAX_PAGE};
use ao_protocol::origin::DeliveryId;
use ao_protocol::wire::{Call, Request, Response};
use axum::Json;
use axum::extract::{Query, State};
use futures::future::join_all;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::error::ApiError;
use super::passed_on::FromPeer;
use super::{Api, query};
use crate::net::Unit;

/// Most messengers that are asked.
const MAX_MESSENGERS_ASKED: usize = 8;
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

/// Whose dead letters are meant.
struct Meant {
    process: Option<Id>,
    messenger: Option<Address>,
    after: Option<DeliveryId>,
}

impl Meant {
    fn read(process: Option<&str>, messenger: Option<&str>, after: Option<&str>) -> Result<Meant, ApiError> {
        let wrong = |name: &str, cause: String| ApiError::BadRequest(format!("{name}: {cause}"));
        let messenger = messenger.map(str::parse::<Address>).transpose();
        let after = after.map(str::parse::<DeliveryId>).transpose();
        let meant = Meant {
            process: process.map(|text| query::id("process", text)).transpose()?,
            messenger: messenger.map_err(|cause| wrong("messenger", cause.to_string()))?,
            after: after.map_err(|cause| wrong("after", cause.to_string()))?,
        };
        match (meant.after, meant.messenger) {
            (Some(_), None) => {
                Err(ApiError::BadRequest("after goes with messenger: each has a list of its own".into()))
            }
            _ => Ok(meant),
        }
    }

    /// Whether this node is to answer for itself.
    fn is_here(&self, api: &Api) -> bool {
        api.world.plays(Role::Mu) && self.messenger.is_none_or(|messenger| messenger == api.world.address())
    }

    /// The other messengers that are to be asked: those that the process, or the network, trusts.
    fn others(&self, api: &Api) -> Vec<Unit> {
        let network = api.world.network();
        let trusted = |unit: &Unit| network.open || network.messengers.contains(&unit.address);
        let mut units = api.world.net().directory().units_with(Role::Mu);
        units.retain(|unit| {
            let wanted = self.messenger.map_or_else(|| trusted(unit), |messenger| messenger == unit.address);
            wanted && unit.address != api.world.address()
        });
        units.truncate(MAX_MESSENGERS_ASKED);
        units
    }
}

/// `GET /ao/dead-letters`: what could not be delivered, and why.
pub(super) async fn list(
    State(api): State<Api>,
    Query(of): Query<Of>,
    from_peer: FromPeer,
) -> Result<Json<Value>, ApiError> {
    let meant = Meant::read(of.process_id.as_deref(), of.messenger.as_deref(), of.after.as_deref())?;
    let limit = query::limit(&of.limit, DEFAULT_LIMIT, MAX_PAGE)?;
    let (mut letters, mut messengers) = (Vec::new(), Vec::new());
    if meant.is_here(&api) {
        let own = api.world.address();
        let page = api.dead_letters.list(meant.process.as_ref(), meant.after.as_ref(), limit)?;
        let next = page.last().filter(|_| page.len() == limit).map(|last| last.id.to_string());
        messengers.push(json!({ "address": own.to_string(), "next": next }));
        letters.extend(page.iter().map(|letter| told(&own, letter)));
    }
    if !from_peer.0 {
        let mut path = format!("/ao/dead-letters?limit={limit}");
        for (name, value) in [
            ("process-id", meant.process.map(|process| process.to_string())),
            ("messenger", meant.messenger.map(|messenger| messenger.to_string())),
            ("after", meant.after.map(|after| after.to_string())),
        ] {
            path.extend(value.map(|value| format!("&{name}={value}")));
        }
        for (unit, answer) in ask_all(&api, meant.others(&api), &Call { path, body: None }).await {
            match answer {
                Ok(mut answer) => {
                    letters.extend(take_list(&mut answer, "dead_letters").into_iter().take(limit));
                    messengers.extend(take_list(&mut answer, "messengers").into_iter().take(1));
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
    /// Only those of this messenger.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    messenger: Option<String>,
    /// Only those above this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    after: Option<String>,
}

/// `POST /ao/dead-letters`: drives dead letters again, here and at all other messengers. What has its slot meanwhile
/// keeps it, so this can do no harm.
pub(super) async fn redrive(
    State(api): State<Api>,
    from_peer: FromPeer,
    Json(which): Json<Which>,
) -> Result<Json<Value>, ApiError> {
    let one = which.id.as_deref().map(str::parse::<DeliveryId>).transpose();
    let one = one.map_err(|cause| ApiError::BadRequest(format!("id: {cause}")))?;
    let meant = Meant::read(which.process.as_deref(), which.messenger.as_deref(), which.after.as_deref())?;
    let mut messengers = Vec::new();
    if meant.is_here(&api) {
        let driven = match one {
            Some(one) => api.dead_letters.redrive_one(one).await?,
            None => api.dead_letters.redrive_all(meant.process.as_ref(), meant.after.as_ref()).await?,
        };
        let (address, next) = (api.world.address().to_string(), driven.next.map(|next| next.to_string()));
        messengers.push(json!({ "address": address, "driven": driven.count, "next": next }));
    }
    if !from_peer.0 {
        let body = serde_json::to_vec(&which).map_err(|cause| ApiError::Internal(cause.to_string()))?;
        let call = Call { path: "/ao/dead-letters".into(), body: Some(body) };
        for (unit, answer) in ask_all(&api, meant.others(&api), &call).await {
            match answer {
                Ok(mut answer) => messengers.extend(take_list(&mut answer, "messengers").into_iter().take(1)),
                Err(cause) => messengers.push(json!({ "address": unit.address.to_string(), "error": cause })),
            }
        }
    }
    Ok(Json(json!({ "messengers": messengers })))
}

/// Makes a call to several units at once.
async fn ask_all(api: &Api, units: Vec<Unit>, call: &Call) -> Vec<(Unit, Result<Value, String>)> {
    let ask = |unit: Unit| async move {
        let answer = ask(api, &unit, call.clone()).await;
        (unit, answer)
    };
    join_all(units.into_iter().map(ask)).await
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

fn told(messenger: &Address, letter: &DeadLetter) -> Value {
    let origin = &letter.id.origin;
    json!({
        "messenger": messenger.to_string(),
        "id": letter.id.to_string(),
        "process": origin.process.to_string(),
        "slot": origin.slot,
        "index": origin.index.to_string(),
        "target": letter.id.target.map(|target| target.to_string()),
        "action": letter.action,
        "item": letter.item.map(|item| item.to_string()),
        "depth": letter.depth,
        "reason": letter.reason,
        "can_be_driven": letter.item.is_some(),
    })
}
