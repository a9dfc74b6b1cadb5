//! What a gateway serves: the data of any item by its id.

use ao_protocol::id::Id;
use axum::Router;
use axum::extract::{Path, State};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::Api;
use super::error::ApiError;
use crate::drive::lookup::{self, Found};

/// The root of a node that serves no single role.
pub(super) fn root() -> Router<Api> {
    Router::new().route("/", get(async || "ao-node: see /ao/peers, /mu, /su, /cu"))
}

/// Data by id.
pub(super) fn data() -> Router<Api> {
    Router::new().route("/{id}", get(by_id))
}

async fn by_id(State(api): State<Api>, Path(id): Path<String>) -> Result<Response, ApiError> {
    let id: Id = id.parse().map_err(|_| ApiError::NotFound(format!("no path /{id}")))?;
    match lookup::item(&api.world, &id).await? {
        Found::Item(item) => {
            let kind = item.tag("Content-Type").and_then(|kind| HeaderValue::from_str(kind).ok());
            let kind = kind.unwrap_or_else(|| HeaderValue::from_static("application/octet-stream"));
            let length = HeaderValue::from(item.data().len());
            Ok(([(CONTENT_TYPE, kind), (CONTENT_LENGTH, length)], item.data().to_vec()).into_response())
        }
        Found::Nowhere => Err(ApiError::NotFound(format!("item {id} is not known here or at peers"))),
        Found::Unsure => Err(ApiError::Upstream(format!("item {id} was not found, but not every peer answered"))),
    }
}
