//! The variables of a process after its newest slot, as JSON.

use ao_protocol::wire::Call;
use axum::extract::{OriginalUri, Path, Query, State};
use axum::http::{Uri, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use super::dry_run::NotHere;
use super::error::ApiError;
use super::passed_on::{FromPeer, with_query};
use super::{Api, query};

#[derive(Debug, Deserialize)]
pub(super) struct Of {
    /// One variable instead of all.
    name: Option<String>,
    /// The newest time that the state may have, in milliseconds since 1970.
    to: Option<String>,
}

/// Answers `{Process, Slot, Timestamp, Block-Height, State}`.
pub(super) async fn get(
    State(api): State<Api>,
    Path(process): Path<String>,
    Query(of): Query<Of>,
    OriginalUri(uri): OriginalUri,
    passed: FromPeer,
) -> Result<Response, ApiError> {
    let process = query::id("process", &process)?;
    let to: Option<u64> = query::number("to", &of.to)?;
    let call = |uri: &Uri| Call { path: with_query(format!("/cu/state/{process}"), uri), body: None };
    let asked = api.ask(&process, passed, |computer| async move { computer.view(&process, of.name).await }).await;
    let view = match asked {
        Ok(view) => view,
        Err(NotHere::Elsewhere(reason)) => return api.ask_elsewhere(&process, call(&uri), reason).await,
        Err(NotHere::Error(cause)) => return Err(cause),
    };
    if to.is_some_and(|to| to < view.timestamp) {
        let text = format!(
            "the state is that after slot {} at {}, newer than what was asked for; older ones are not kept",
            view.slot, view.timestamp
        );
        return Err(ApiError::TooEarly(text));
    }
    // The view is JSON already, and may be large.
    let body = format!(
        "{{\"Process\":\"{process}\",\"Slot\":{},\"Timestamp\":{},\"Block-Height\":{},\"State\":{}}}",
        view.slot, view.timestamp, view.block_height, view.json
    );
    Ok(([(header::CONTENT_TYPE, "application/json")], body).into_response())
}
