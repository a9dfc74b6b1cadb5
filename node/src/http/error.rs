//! The one table from what went wrong to a status code. Bodies are `{"error": text}`, as ao's clients expect.

use ao_protocol::item::ItemError;
use ao_protocol::log::LogError;
use ao_protocol::scheduler::Refusal;
use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::drive::lookup::NoProcess;
use crate::drive::submit::SubmitError;

/// What a client is told.
#[derive(Debug)]
pub(super) enum ApiError {
    /// The request itself is wrong.
    BadRequest(String),
    /// What it asks for is not known.
    NotFound(String),
    /// The bytes that it asks for are not there.
    Range(String),
    /// It is not there yet and was waited for.
    NotYet(String),
    /// Somebody else that is needed does not answer.
    Upstream(String),
    /// This node failed.
    Internal(String),
}

impl From<ItemError> for ApiError {
    fn from(cause: ItemError) -> ApiError {
        ApiError::BadRequest(cause.to_string())
    }
}

impl From<LogError> for ApiError {
    fn from(cause: LogError) -> ApiError {
        // What the client reads says less than the log of this node.
        tracing::error!(%cause, "a request failed");
        ApiError::Internal("the database of this node failed".into())
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> ApiError {
        match refusal {
            Refusal::Busy(_) | Refusal::UnprovenOrigin(_) => ApiError::Upstream(refusal.to_string()),
            Refusal::UnknownProcess(_) => ApiError::NotFound(refusal.to_string()),
            _ => ApiError::BadRequest(refusal.to_string()),
        }
    }
}

impl From<NoProcess> for ApiError {
    fn from(cause: NoProcess) -> ApiError {
        match cause {
            NoProcess::Unknown(text) => ApiError::NotFound(text),
            NoProcess::Unsure(text) => ApiError::Upstream(text),
        }
    }
}

impl From<SubmitError> for ApiError {
    fn from(cause: SubmitError) -> ApiError {
        ApiError::Upstream(cause.to_string())
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let (status, text) = match self {
            ApiError::BadRequest(text) => (StatusCode::BAD_REQUEST, text),
            ApiError::NotFound(text) => (StatusCode::NOT_FOUND, text),
            ApiError::Range(text) => (StatusCode::RANGE_NOT_SATISFIABLE, text),
            ApiError::NotYet(text) => (StatusCode::GATEWAY_TIMEOUT, text),
            ApiError::Upstream(text) => (StatusCode::BAD_GATEWAY, text),
            ApiError::Internal(text) => (StatusCode::INTERNAL_SERVER_ERROR, text),
        };
        (status, Json(json!({ "error": text }))).into_response()
    }
}
