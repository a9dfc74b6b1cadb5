//! Counting requests for `/metrics`: by method, route and status, with their times.

use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::Response;

use crate::metrics::Metrics;

/// What a path without a route counts as.
const NO_ROUTE: &str = "other";

/// Counts the request when it is answered.
pub(super) async fn count(State(metrics): State<Metrics>, request: Request, next: Next) -> Response {
    // The route, not the path: there are as many paths as ids.
    let route = request.extensions().get::<MatchedPath>().cloned();
    let method = known(request.method());
    let began = Instant::now();
    let response = next.run(request).await;
    let route = route.as_ref().map_or(NO_ROUTE, MatchedPath::as_str);
    metrics.answered(method, route, response.status().as_u16(), began.elapsed());
    response
}

/// Clients may invent methods; their number must not grow with that.
fn known(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}
