//! The one table from what went wrong to a status code. Bodies are `{"error": text}`, as ao's clients expect.

use ao_protocol::item::ItemError;
use ao_protocol::log::LogError;
use ao_protocol::scheduler::Refusal;
use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::drive::assign::AssignError;
use crate::drive::lookup::NoProcess;
use crate::drive::submit::SubmitError;

/// What a client is told.
#[derive(Debug)]
pub(super) enum ApiError {
    /// The request itself is wrong.
    BadRequest(String),
    /// What it asks for is not known.
    NotFound(String),
    /// Who asks may not do it.
    Forbidden(String),
    /// It exists and can't be computed.
    Unprocessable(String),
    /// What is asked for is older than what this node keeps.
    TooEarly(String),
    /// Too many ask for the same.
    Crowded(String),
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

impl From<AssignError> for ApiError {
    fn from(cause: AssignError) -> ApiError {
        match cause {
            AssignError::NoProcess(cause) => cause.into(),
            AssignError::NoItem(_) => ApiError::NotFound(cause.to_string()),
            AssignError::Item(_) => ApiError::BadRequest(cause.to_string()),
            AssignError::Unsure(_) => ApiError::Upstream(cause.to_string()),
            AssignError::Submit(cause) => cause.into(),
            AssignError::Refused(cause) => cause.into(),
            AssignError::Log(cause) => cause.into(),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let (status, text) = match self {
            ApiError::BadRequest(text) => (StatusCode::BAD_REQUEST, text),
            ApiError::NotFound(text) => (StatusCode::NOT_FOUND, text),
            ApiError::Forbidden(text) => (StatusCode::FORBIDDEN, text),
            ApiError::Unprocessable(text) => (StatusCode::UNPROCESSABLE_ENTITY, text),
            ApiError::TooEarly(text) => (StatusCode::TOO_EARLY, text),
            ApiError::Crowded(text) => (StatusCode::TOO_MANY_REQUESTS, text),
            ApiError::NotYet(text) => (StatusCode::GATEWAY_TIMEOUT, text),
            ApiError::Upstream(text) => (StatusCode::BAD_GATEWAY, text),
            ApiError::Internal(text) => (StatusCode::INTERNAL_SERVER_ERROR, text),
        };
        (status, Json(json!({ "error": text }))).into_response()
    }
}
