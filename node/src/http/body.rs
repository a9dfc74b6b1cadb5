//! Bodies: read whole before a handler sees them, bounded in size, in time, and in what all of them take together.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use axum::middleware::Next;
use axum::response::Response;
use futures::StreamExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::MAX_BODY_BYTES;
use super::error::ApiError;

/// Longest time until a body is there.
pub(crate) const BODY_LIMIT: Duration = Duration::from_secs(20);
/// Most bytes that the bodies of all requests under way take.
pub(crate) const MAX_BODIES_BYTES: usize = 256 * 1024 * 1024;
/// Bytes over the limit that are read and thrown away: a client that is still sending when its connection ends would
/// not see the answer.
const DRAIN_BYTES: usize = 16 * 1024 * 1024;

/// What all bodies may still take. Cloning is cheap.
#[derive(Clone)]
pub(super) struct Bodies(Arc<Semaphore>);

impl Bodies {
    pub(super) fn new() -> Bodies {
        Bodies(Arc::new(Semaphore::new(MAX_BODIES_BYTES)))
    }
}

/// Reads the body, or refuses it.
pub(super) async fn read(State(bodies): State<Bodies>, request: Request, next: Next) -> Result<Response, ApiError> {
    let (parts, body) = request.into_parts();
    if body.is_end_stream() {
        return Ok(next.run(Request::from_parts(parts, body)).await);
    }
    if body.size_hint().lower() > (MAX_BODY_BYTES + DRAIN_BYTES) as u64 {
        return Err(ApiError::TooLarge);
    }
    let read = tokio::time::timeout(BODY_LIMIT, collect(body, &bodies)).await;
    let (bytes, _room) = read.map_err(|_| ApiError::TooSlow)??;
    Ok(next.run(Request::from_parts(parts, Body::from(bytes))).await)
}

async fn collect(body: Body, bodies: &Bodies) -> Result<(Vec<u8>, Option<OwnedSemaphorePermit>), ApiError> {
    let mut bytes = Vec::new();
    let mut length = 0;
    let mut room: Option<OwnedSemaphorePermit> = None;
    let mut chunks = body.into_data_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|cause| ApiError::BadRequest(format!("the body did not come whole: {cause}")))?;
        length += chunk.len();
        if length > MAX_BODY_BYTES + DRAIN_BYTES {
            break;
        }
        if length > MAX_BODY_BYTES {
            (bytes, room) = (Vec::new(), None);
            continue;
        }
        let size = u32::try_from(chunk.len()).map_err(|_| ApiError::TooLarge)?;
        let more = bodies.0.clone().try_acquire_many_owned(size).map_err(|_| ApiError::Overloaded)?;
        match &mut room {
            Some(room) => room.merge(more),
            None => room = Some(more),
        }
        bytes.extend_from_slice(&chunk);
    }
    if length > MAX_BODY_BYTES { Err(ApiError::TooLarge) } else { Ok((bytes, room)) }
}

/// Types that say that a body is no item. Others pass: clients send `application/octet-stream`, or nothing.
const NO_ITEMS: [&str; 3] = ["application/json", "application/x-www-form-urlencoded", "multipart/form-data"];

/// For paths that take items: refuses bodies that are said to be something else.
pub(super) async fn items_only(request: Request, next: Next) -> Result<Response, ApiError> {
    if !request.body().is_end_stream() {
        may_be_item(request.headers())?;
    }
    Ok(next.run(request).await)
}

/// Refuses a content type that no item has.
pub(super) fn may_be_item(headers: &HeaderMap) -> Result<(), ApiError> {
    match content_type(headers).filter(|kind| NO_ITEMS.contains(&kind.as_str())) {
        Some(kind) => Err(ApiError::WrongType(kind)),
        None => Ok(()),
    }
}

/// The content type without its parameters, in small letters.
pub(super) fn content_type(headers: &HeaderMap) -> Option<String> {
    let text = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    Some(text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
}
