//! Whatever is read of a disputed process says so, in a header; and what is not sure is refused.

use std::collections::BTreeSet;

use ao_protocol::evidence::disputed_from;
use ao_protocol::id::Id;
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::Response;

use super::Api;
use super::error::ApiError;

/// The first slot from which on the process that was asked for is disputed.
pub(crate) const DISPUTED_FROM: HeaderName = HeaderName::from_static("x-ao-disputed-from");

/// Most ids of a path and its query that are looked at.
const MAX_IDS: usize = 4;

/// Why a slot of a disputed process has no outcome.
pub(super) fn error(process: &Id, from: u64) -> ApiError {
    ApiError::Disputed(format!(
        "process {process} is disputed from slot {from} on: its scheduler gave that slot twice, or its owner resumed it \
         on a branch that is not here yet; nothing from there on is computed or delivered. Its owner can end a dispute \
         with: ao-node resume {process}"
    ))
}

/// Adds the header.
pub(super) async fn say(State(api): State<Api>, request: Request, next: Next) -> Response {
    let path = request.uri().path_and_query().map(|path| path.as_str().to_string()).unwrap_or_default();
    let mut response = next.run(request).await;
    let words = path.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-' || c == '_'));
    let ids: BTreeSet<Id> = words.filter_map(|word| word.parse().ok()).take(MAX_IDS).collect();
    for id in ids {
        // An error of the log is told by what was asked for itself.
        if let Ok(Some(from)) = disputed_from(api.world.log(), &id) {
            response.headers_mut().insert(DISPUTED_FROM, HeaderValue::from(from));
        }
    }
    response
}
