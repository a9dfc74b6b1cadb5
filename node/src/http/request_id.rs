//! Request ids: every answer carries one, and so does every line that is logged about the request.

use std::time::Instant;

use axum::extract::Request;
use axum::http::HeaderValue;
use axum::middleware::Next;
use axum::response::Response;
use tracing::{Instrument, Level, error_span, event};

use super::error::Reason;

const REQUEST_ID: &str = "x-request-id";
/// Longest id that is taken from a client, in characters.
const MAX_REQUEST_ID: usize = 64;

/// Names the request and logs how it failed, if it did: once, and louder if this node is to blame.
pub(super) async fn name(request: Request, next: Next) -> Response {
    let id = request.headers().get(REQUEST_ID).filter(|id| is_plain(id)).cloned().unwrap_or_else(make);
    let text = id.to_str().unwrap_or_default();
    // The level of the loudest line in it, so that no filter that shows the line hides its id.
    let span = error_span!("request", id = text, method = %request.method(), path = request.uri().path());
    let began = Instant::now();
    let mut response = next.run(request).instrument(span.clone()).await;
    let status = response.status();
    let reason = response.extensions().get::<Reason>().map(|reason| reason.0.as_str()).unwrap_or_default();
    let took = began.elapsed();
    span.in_scope(|| match status.as_u16() {
        500 => event!(Level::WARN, status = 500, reason, ?took, "a request failed"),
        status @ 400.. => event!(Level::INFO, status, reason, ?took, "a request failed"),
        status => event!(Level::DEBUG, status, ?took, "answered"),
    });
    response.headers_mut().insert(REQUEST_ID, id);
    response
}

/// Whether an id may stand in a log as it is.
fn is_plain(id: &HeaderValue) -> bool {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.".contains(byte);
    (1..=MAX_REQUEST_ID).contains(&id.len()) && id.as_bytes().iter().all(plain)
}

fn make() -> HeaderValue {
    let id = format!("{:016x}", rand::random::<u64>());
    HeaderValue::from_str(&id).unwrap_or_else(|_| HeaderValue::from_static("none"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_short_plain_ids_are_taken() {
        let plain = |text: &str| is_plain(&HeaderValue::from_str(text).unwrap());
        assert!(plain("0a1b-Z_9.x") && plain(&"x".repeat(MAX_REQUEST_ID)));
        assert!(!plain("") && !plain("a b") && !plain("a\"b") && !plain(&"x".repeat(MAX_REQUEST_ID + 1)));
        assert!(is_plain(&make()) && make() != make());
    }
}
