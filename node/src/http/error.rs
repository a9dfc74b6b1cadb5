//! The one table from what went wrong to a status code. Bodies are `{"error": text}`, as ao's clients expect.

use ao_protocol::item::ItemError;
use ao_protocol::log::LogError;
use ao_protocol::scheduler::Refusal;
use std::net::IpAddr;

use axum::Json;
use axum::body::to_bytes;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::http::header::{ALLOW, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::MAX_BODY_BYTES;
use super::body::BODY_LIMIT;
use crate::drive::assign::AssignError;
use crate::drive::dead_letters::RedriveError;
use crate::drive::lookup::NoProcess;
use crate::drive::submit::SubmitError;

/// Seconds after which a client may try an overloaded node again.
const BREATHER_SECONDS: u64 = 1;
/// Longest text of an error that is made JSON.
const MAX_PLAIN_ERROR_BYTES: usize = 16 * 1024;

/// Goes with a failed answer, for the log.
#[derive(Clone, Debug)]
pub(super) struct Reason(pub(super) String);

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
    /// The bytes that it asks for are not there.
    Range(String),
    /// Nothing is sure of it: its process is disputed.
    Disputed(String),
    /// It is not there yet and was waited for.
    NotYet(String),
    /// Somebody else that is needed does not answer.
    Upstream(String),
    /// This node failed.
    Internal(String),
    /// There is no room on the disk.
    Full(String),
    /// The body is over the limit.
    TooLarge,
    /// The body did not come in time.
    TooSlow,
    /// The body is said to be something that this path does not take.
    WrongType(String),
    /// This client asks too often.
    TooMany {
        /// Who.
        address: IpAddr,
        /// When to come again.
        seconds: u64,
    },
    /// This node has as much to do as it can.
    Overloaded,
}

impl From<ItemError> for ApiError {
    fn from(cause: ItemError) -> ApiError {
        ApiError::BadRequest(cause.to_string())
    }
}

impl From<LogError> for ApiError {
    fn from(cause: LogError) -> ApiError {
        if let LogError::Full(cause) = cause {
            return ApiError::Full(format!("the disk of this node is full: {cause}"));
        }
        // What the client reads says less than the log of this node.
        tracing::error!(%cause, "a request failed");
        ApiError::Internal("the database of this node failed".into())
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> ApiError {
        match refusal {
            Refusal::Busy(_) | Refusal::UnprovenOrigin(_) | Refusal::Moved { .. } => {
                ApiError::Upstream(refusal.to_string())
            }
            Refusal::Disputed { .. } => ApiError::Disputed(refusal.to_string()),
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

impl From<RedriveError> for ApiError {
    fn from(cause: RedriveError) -> ApiError {
        match cause {
            RedriveError::TooSoon => ApiError::Crowded(cause.to_string()),
            RedriveError::Full(cause) => ApiError::Full(cause),
            RedriveError::Stopped => ApiError::Upstream(cause.to_string()),
            RedriveError::Log(cause) => cause.into(),
        }
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
        let retry_after = match &self {
            ApiError::TooMany { seconds, .. } => Some(*seconds),
            ApiError::Overloaded => Some(BREATHER_SECONDS),
            _ => None,
        };
        let (status, text) = match self {
            ApiError::BadRequest(text) => (StatusCode::BAD_REQUEST, text),
            ApiError::NotFound(text) => (StatusCode::NOT_FOUND, text),
            ApiError::Forbidden(text) => (StatusCode::FORBIDDEN, text),
            ApiError::Unprocessable(text) => (StatusCode::UNPROCESSABLE_ENTITY, text),
            ApiError::TooEarly(text) => (StatusCode::TOO_EARLY, text),
            ApiError::Disputed(text) => (StatusCode::CONFLICT, text),
            ApiError::Crowded(text) => (StatusCode::TOO_MANY_REQUESTS, text),
            ApiError::Range(text) => (StatusCode::RANGE_NOT_SATISFIABLE, text),
            ApiError::NotYet(text) => (StatusCode::GATEWAY_TIMEOUT, text),
            ApiError::Upstream(text) => (StatusCode::BAD_GATEWAY, text),
            ApiError::Internal(text) => (StatusCode::INTERNAL_SERVER_ERROR, text),
            ApiError::Full(text) => (StatusCode::INSUFFICIENT_STORAGE, text),
            ApiError::TooLarge => {
                (StatusCode::PAYLOAD_TOO_LARGE, format!("the body is larger than {MAX_BODY_BYTES} bytes"))
            }
            ApiError::TooSlow => {
                let seconds = BODY_LIMIT.as_secs();
                (StatusCode::REQUEST_TIMEOUT, format!("the body was not there within {seconds} s"))
            }
            ApiError::WrongType(kind) => {
                let text = format!("{kind} is not taken here: send a signed ANS-104 item as application/octet-stream");
                (StatusCode::UNSUPPORTED_MEDIA_TYPE, text)
            }
            ApiError::TooMany { address, seconds } => {
                let text = format!("too many requests from {address}; try again in {seconds} s");
                (StatusCode::TOO_MANY_REQUESTS, text)
            }
            ApiError::Overloaded => {
                (StatusCode::SERVICE_UNAVAILABLE, "this node has too much to do; try again".to_string())
            }
        };
        let mut response = json_error(status, &text);
        if let Some(seconds) = retry_after {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

fn json_error(status: StatusCode, text: &str) -> Response {
    let mut response = (status, Json(json!({ "error": text }))).into_response();
    response.extensions_mut().insert(Reason(text.to_string()));
    response
}

/// Makes JSON of the errors that axum itself answers as plain text: bad queries and paths, wrong methods.
pub(super) async fn as_json(request: Request, next: Next) -> Response {
    let (method, path) = (request.method().clone(), request.uri().path().to_string());
    let response = next.run(request).await;
    let status = response.status();
    let kind = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let plain = kind.is_none_or(|kind| kind.starts_with("text/plain"));
    if !(status.is_client_error() || status.is_server_error()) || !plain {
        return response;
    }
    let (parts, body) = response.into_parts();
    let text = to_bytes(body, MAX_PLAIN_ERROR_BYTES).await.unwrap_or_default();
    let text = match (status, String::from_utf8_lossy(&text)) {
        (StatusCode::METHOD_NOT_ALLOWED, _) => format!("{method} is not possible on {path}"),
        (_, text) if text.is_empty() => status.canonical_reason().unwrap_or("failed").to_lowercase(),
        (_, text) => text.into_owned(),
    };
    let mut response = json_error(status, &text);
    for name in [ALLOW, RETRY_AFTER] {
        if let Some(value) = parts.headers.get(&name) {
            response.headers_mut().insert(name, value.clone());
        }
    }
    response
}
