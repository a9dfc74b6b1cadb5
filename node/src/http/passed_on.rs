//! Calls that a node passes on to a peer because it does not do itself what is asked for, and those that peers pass
//! on to it. A call is passed on once: whoever gets it answers it or says that it can't.

use std::sync::LazyLock;

use ao_protocol::announcement::Role;
use ao_protocol::id::{Address, Id};
use ao_protocol::wire::{Answer, Call, MAX_RESPONSE_BYTES, Request as PeerRequest, Response as PeerResponse};
use axum::body::{Body, to_bytes};
use axum::extract::{FromRequestParts, Request};
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::{Router, http};
use tower::ServiceExt;

use super::Api;
use super::error::ApiError;
use super::hyperbeam;
use crate::drive::lookup;

/// Most units that are tried for one call.
const MAX_TRIED: usize = 3;
/// Largest body of an answer: it must fit a response to a peer.
const MAX_ANSWER_BYTES: usize = MAX_RESPONSE_BYTES - 1024;
/// What may be passed on by POST, beside what HyperBEAM's paths read; everything else is a GET.
const POSTED: [&str; 4] = ["/cu/dry-run", "/ao/dead-letters", "/tx", "/chunk"];
/// What may be passed on by GET.
const READ: [&str; 11] = [
    "/cu/",
    "/su/",
    "/ao/deliveries/",
    "/ao/dead-letters",
    "/block/",
    "/price/",
    "/tx_anchor",
    "/tx/",
    "/chunk/",
    "/wallet/",
    "/info",
];

/// The part of this node's API that peers may call.
#[derive(Clone)]
pub(crate) struct PassedOn(Router);

/// Whether a request was passed on by a peer: then it goes no further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FromPeer(pub(super) bool);

impl<S: Sync> FromRequestParts<S> for FromPeer {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<FromPeer, Self::Rejection> {
        Ok(parts.extensions.get().copied().unwrap_or(FromPeer(false)))
    }
}

impl PassedOn {
    /// Over a router with `/cu` and `/su`.
    pub(super) fn new(router: Router) -> PassedOn {
        PassedOn(router)
    }

    /// Answers a call of a peer.
    pub(crate) async fn answer(&self, call: Call) -> Answer {
        let error = |status: StatusCode, text: &str| Answer {
            status: status.as_u16(),
            kind: "application/json".into(),
            body: serde_json::json!({ "error": text }).to_string().into_bytes(),
        };
        let path = call.path.split('?').next().unwrap_or_default();
        let allowed = match call.body {
            None => READ.iter().any(|allowed| path.starts_with(allowed)) || hyperbeam::is_reading(path, false),
            Some(_) => POSTED.contains(&path) || hyperbeam::is_reading(path, true),
        };
        if !allowed {
            return error(StatusCode::FORBIDDEN, "this call may not be passed on");
        }
        let method = if call.body.is_some() { Method::POST } else { Method::GET };
        let body = Body::from(call.body.unwrap_or_default());
        let mut request = Request::builder().method(method).uri(&call.path).extension(FromPeer(true));
        if POSTED.contains(&path) {
            request = request.header(CONTENT_TYPE, JSON.clone());
        }
        let request = request.body(body);
        let Ok(request) = request else { return error(StatusCode::BAD_REQUEST, "the path is no path") };
        let Ok(response) = self.0.clone().oneshot(request).await;
        let status = response.status().as_u16();
        let kind = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let kind = kind.to_string();
        match to_bytes(response.into_body(), MAX_ANSWER_BYTES).await {
            Ok(body) => Answer { status, kind, body: body.to_vec() },
            Err(_) => error(StatusCode::BAD_GATEWAY, "the answer is too large to be passed on; ask for less"),
        }
    }
}

impl Api {
    /// Passes a call on to a unit that does what this node does not: for `cu` a compute unit that the process trusts,
    /// for `su` its scheduler.
    pub(super) async fn pass_on(&self, role: Role, process: &Id, call: Call) -> Result<Response, ApiError> {
        let world = &self.world;
        let named = lookup::process(world, process).await??;
        let trusted: Vec<Address> = match role {
            Role::Su => vec![named.scheduler()],
            _ => world.trust().compute_units(&named),
        };
        let directory = world.net().directory();
        let mut units = directory.units_with(role);
        units.retain(|unit| unit.address != world.address() && trusted.contains(&unit.address));
        units.sort_by_key(|unit| !directory.is_connected(&unit.peer));
        let mut last = format!("no unit with the role {role} that process {process} trusts is known");
        for unit in units.iter().take(MAX_TRIED) {
            match world.net().request(&unit.peer, &PeerRequest::Call(call.clone())).await {
                Ok(PeerResponse::Answer(answer)) if answer.status < 500 || answer.status == 504 => {
                    return Ok(response(answer));
                }
                Ok(PeerResponse::Answer(answer)) => last = String::from_utf8_lossy(&answer.body).into_owned(),
                Ok(PeerResponse::Busy(cause)) => last = cause,
                Ok(_) => last = format!("unit {} gave another answer than was asked for", unit.address),
                Err(cause) => last = format!("unit {} can't be reached: {cause}", unit.address),
            }
        }
        Err(ApiError::Upstream(last))
    }
}

/// A path with the query of another.
pub(super) fn with_query(path: String, uri: &Uri) -> String {
    match uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path,
    }
}

impl Api {
    /// Passes a call on to the unit that plays the network's chain.
    pub(super) async fn pass_to_chain(&self, call: Call) -> Result<Response, ApiError> {
        let world = &self.world;
        let unit = world.chain_unit().ok_or_else(|| {
            ApiError::Upstream("no unit of this network plays a chain: start a node with --dev-chain".into())
        })?;
        match world.net().request(&unit.peer, &PeerRequest::Call(call)).await {
            Ok(PeerResponse::Answer(answer)) => Ok(response(answer)),
            Ok(PeerResponse::Busy(cause)) => Err(ApiError::Upstream(cause)),
            Ok(_) => Err(ApiError::Upstream(format!("unit {} gave another answer than was asked for", unit.address))),
            Err(cause) => {
                Err(ApiError::Upstream(format!("the chain's unit {} can't be reached: {cause}", unit.address)))
            }
        }
    }
}

static JSON: LazyLock<HeaderValue> = LazyLock::new(|| HeaderValue::from_static("application/json"));

fn response(answer: Answer) -> Response {
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::BAD_GATEWAY);
    let kind = HeaderValue::from_str(&answer.kind).unwrap_or_else(|_| JSON.clone());
    (status, [(http::header::CONTENT_TYPE, kind)], answer.body).into_response()
}
