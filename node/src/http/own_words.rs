//! A node's words about itself, which come first on every node: whether it works, its numbers, its paths, and where
//! messages are.

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};

use super::error::ApiError;
use super::{Api, openapi, race, trace};
use crate::drive::room;
use crate::metrics;

pub(super) fn router() -> Router<Api> {
    Router::new()
        .route("/health", get(health))
        .route("/metrics", get(numbers))
        .route("/openapi.json", get(async || Json(openapi::document())))
        .route("/trace/{id}", get(trace::get))
        .route("/race/{process}", get(race::get))
}

/// Whether this node works: 200, or 503 with the reason. With a full disk it still serves what it has: 200, and `full`.
async fn health(State(api): State<Api>) -> (StatusCode, Json<Value>) {
    let world = &api.world;
    let failure = world.failure();
    let status = if failure.is_none() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let network = world.network();
    let mut health = json!({
        "status": if failure.is_none() { "ok" } else { "failed" },
        "version": env!("CARGO_PKG_VERSION"),
        "address": world.address().to_string(),
        "roles": world.roles(),
        "network": { "name": network.name, "hash": network.hash().to_string() },
        "peers": world.net().directory().connected().len(),
        "log_writable": failure.is_none(),
    });
    if let Some(reason) = world.lack_of_room(room::MIN_FREE_BYTES) {
        health["full"] = json!(reason);
        health["log_writable"] = json!(false);
    }
    if let Some(reason) = failure {
        health["error"] = json!(format!("the log can't be written: {reason}"));
    }
    (status, Json(health))
}

async fn numbers(State(api): State<Api>) -> Result<impl IntoResponse, ApiError> {
    let text = api.metrics.text().map_err(|_| ApiError::Internal("the metrics can't be written".into()))?;
    Ok(([(CONTENT_TYPE, metrics::CONTENT_TYPE)], text))
}
