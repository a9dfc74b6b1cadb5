//! Load: how many requests are answered at once, and how long one may take.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use tokio::sync::Semaphore;

use super::error::ApiError;

/// Most requests under way; below the number of connections, so that what is over it hears so.
pub(crate) const MAX_HTTP_REQUESTS: usize = 768;
/// Longest time that a request may take; longer than any wait for a result.
pub(crate) const REQUEST_LIMIT: Duration = Duration::from_secs(60);

/// Places for requests. Cloning is cheap.
#[derive(Clone)]
pub(super) struct Places(Arc<Semaphore>);

impl Places {
    pub(super) fn new(count: usize) -> Places {
        Places(Arc::new(Semaphore::new(count)))
    }
}

/// Answers in time, or says that it can't.
pub(super) async fn limit(State(places): State<Places>, request: Request, next: Next) -> Result<Response, ApiError> {
    let _place = places.0.try_acquire().map_err(|_| ApiError::Overloaded)?;
    let late = |_| ApiError::NotYet(format!("not done within {} s; try again", REQUEST_LIMIT.as_secs()));
    tokio::time::timeout(REQUEST_LIMIT, next.run(request)).await.map_err(late)
}
