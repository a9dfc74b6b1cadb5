//! Panics of handlers: one request ends in 500, the node goes on. Everywhere else a panic ends the node.

use std::any::Any;

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::error::ApiError;

tokio::task_local! {
    static ANSWERING: ();
}

/// Whether the running task is answering a request, so that its panic is caught.
pub(crate) fn are_caught() -> bool {
    ANSWERING.try_with(|()| ()).is_ok()
}

/// Marks the task as answering.
pub(super) async fn mark(request: Request, next: Next) -> Response {
    ANSWERING.scope((), next.run(request)).await
}

/// What the client is told; what happened is in the log of this node.
pub(super) fn answer(_: Box<dyn Any + Send>) -> Response {
    ApiError::Internal("this node failed at this request: please report it".into()).into_response()
}
