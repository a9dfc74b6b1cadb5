//! Load: how many requests are answered at once, how many of them for one address, how long one may take, and what the
//! answers take in memory until they are read.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody, to_bytes};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::error::ApiError;
use super::rate::Rates;
use super::share::Shares;

/// Most requests under way; below the number of connections, so that what is over it hears so.
pub(crate) const MAX_HTTP_REQUESTS: usize = 768;
/// Most of them from one address that is not this machine's.
pub(crate) const MAX_REQUESTS_PER_ADDRESS: usize = 192;
/// Longest time that a request may take; longer than any wait for a result.
pub(crate) const REQUEST_LIMIT: Duration = Duration::from_secs(60);
/// Most bytes of answers that wait to be read by their clients.
pub(crate) const MAX_ANSWERS_BYTES: usize = 256 * 1024 * 1024;
/// Answers below this are not counted: all connections' together are few.
const SMALL_ANSWER_BYTES: u64 = 64 * 1024;

/// Places for requests and room for answers. Cloning is cheap.
#[derive(Clone)]
pub(super) struct Places {
    all: Arc<Semaphore>,
    shares: Shares,
    answers: Arc<Semaphore>,
    rates: Rates,
}

impl Places {
    /// So many at once.
    pub(super) fn new(count: usize, rates: Rates) -> Places {
        let (all, answers) = (Arc::new(Semaphore::new(count)), Arc::new(Semaphore::new(MAX_ANSWERS_BYTES)));
        Places { all, shares: Shares::new(MAX_REQUESTS_PER_ADDRESS), answers, rates }
    }
}

/// Answers in time, or says that it can't.
pub(super) async fn limit(State(places): State<Places>, request: Request, next: Next) -> Result<Response, ApiError> {
    let _place = places.all.try_acquire().map_err(|_| ApiError::Overloaded)?;
    let limited = places.rates.client(&request).filter(|address| !places.rates.is_free(*address));
    let _share = limited.map(|address| places.shares.take(address).ok_or(ApiError::Overloaded)).transpose()?;
    let late = |_| ApiError::NotYet(format!("not done within {} s; try again", REQUEST_LIMIT.as_secs()));
    let response = tokio::time::timeout(REQUEST_LIMIT, next.run(request)).await.map_err(late)?;
    counted(response, &places.answers).await
}

/// Counts a large answer until its last byte is sent. One without a known size is made while it is sent.
async fn counted(response: Response, room: &Arc<Semaphore>) -> Result<Response, ApiError> {
    let Some(size) = response.body().size_hint().exact().filter(|size| *size > SMALL_ANSWER_BYTES) else {
        return Ok(response);
    };
    let size = u32::try_from(size).map_err(|_| ApiError::Overloaded)?;
    let permit = room.clone().try_acquire_many_owned(size).map_err(|_| ApiError::Overloaded)?;
    let (parts, body) = response.into_parts();
    let failed = |_| ApiError::Internal("the answer could not be made".into());
    let bytes = to_bytes(body, size as usize).await.map_err(failed)?;
    Ok(Response::from_parts(parts, Body::from(Bytes::from_owner(Counted { bytes, _permit: permit }))))
}

struct Counted {
    bytes: Bytes,
    _permit: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_not_read_yet_takes_room() {
        let room = Arc::new(Semaphore::new(300_000));
        let answer = || Response::new(Body::from(vec![7; 200_000]));
        let first = counted(answer(), &room).await.unwrap();
        assert!(counted(answer(), &room).await.is_err());
        assert!(counted(Response::new(Body::from("small")), &room).await.is_ok());
        let bytes = to_bytes(first.into_body(), usize::MAX).await.unwrap();
        assert_eq!((bytes.len(), room.available_permits()), (200_000, 100_000));
        drop(bytes);
        assert!(counted(answer(), &room).await.is_ok());
    }
}
