//! HyperBEAM's paths, as far as its clients use them by default: `aos` and `@permaweb/aoconnect` in mainnet mode. They
//! are read before the router sees them, for `{process}~process@1.0` is no segment that it can match. Behind them are
//! the same processes and the same log as behind `/mu`, `/su` and `/cu`.
//!
//! Bodies are signed ANS-104 items. Those of `push` and `schedule` get a slot; those of anything else only say who
//! asks, and the client signs them because it signs everything.

mod dry_run;
mod node;
mod path;
mod reading;
mod scheduling;

use axum::body::Bytes;
use axum::extract::{FromRequest, Request, State};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use self::path::{Asked, What};
use super::Api;
use super::error::ApiError;
use super::passed_on::FromPeer;

/// Whether a call that a peer passed on is one of those that only read.
pub(super) fn is_reading(path: &str, posted: bool) -> bool {
    path::read(path, None).is_some_and(|asked| asked.is_reading(posted))
}

/// Answers a request if its path is one of HyperBEAM's.
pub(super) async fn or_else(State(api): State<Api>, request: Request, next: Next) -> Response {
    match path::read(request.uri().path(), request.uri().query()) {
        Some(asked) if [Method::GET, Method::HEAD, Method::POST].contains(request.method()) => {
            let mut response = answer(&api, asked, request).await.unwrap_or_else(ApiError::into_response);
            response.extensions_mut().insert(Served);
            response
        }
        _ => next.run(request).await,
    }
}

/// Marks answers of these paths, which have no route of the router.
#[derive(Clone, Copy, Debug)]
pub(super) struct Served;

async fn answer(api: &Api, asked: Asked, request: Request) -> Result<Response, ApiError> {
    let posted = request.method() == Method::POST;
    let headers = request.headers().clone();
    let passed = FromPeer(request.extensions().get::<FromPeer>().is_some_and(|passed| passed.0));
    let uri = request.uri().clone();
    let body = Bytes::from_request(request, &()).await.map_err(|cause| ApiError::BadRequest(cause.to_string()))?;
    let call = path::Call { uri, body: posted.then(|| body.clone()), passed };
    let Asked { process, what, arguments } = asked;
    let named = || process.ok_or_else(|| ApiError::BadRequest("the path names no process".into()));
    match what {
        What::Info(keys) => node::info(api, &keys),
        What::Push if posted => scheduling::push(api, process, &arguments, &headers, body).await,
        What::Schedule if posted => scheduling::schedule(api, process, &headers, body).await,
        What::Push => Err(ApiError::BadRequest("push takes a signed item by POST".into())),
        What::Schedule => scheduling::log(api, named()?, &arguments, call).await,
        What::Slot(keys) => reading::slot(api, named()?, &keys, call).await,
        What::Results { slot, keys } => reading::results(api, named()?, slot.as_deref(), &keys, call).await,
        What::DryRun(keys) => dry_run::run(api, named()?, arguments, &keys, call).await,
    }
}
