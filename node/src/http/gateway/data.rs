//! Data by id, with ranges (RFC 9110, section 14). What an id stands for never changes, so it is its own version.

use std::ops::Range;

use ao_protocol::id::Id;
use ao_protocol::item::VerifiedItem;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderName, HeaderValue,
    IF_NONE_MATCH, IF_RANGE, RANGE, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::chain::ChainData;
use crate::drive::lookup::{self, Found};
use crate::http::Api;
use crate::http::error::ApiError;

/// The type of data that does not say of what type it is.
const DEFAULT_TYPE: HeaderValue = HeaderValue::from_static("application/octet-stream");
/// What an id stands for never changes.
const FOREVER: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");

/// Data at the root: for nodes whose root has no other use for ids.
pub(super) fn at_root() -> Router<Api> {
    Router::new().route("/{id}", get(by_id))
}

/// Data where every node has it.
pub(super) fn raw() -> Router<Api> {
    Router::new().route("/raw/{id}", get(by_id))
}

async fn by_id(State(api): State<Api>, Path(id): Path<String>, headers: HeaderMap) -> Result<Response, ApiError> {
    let id: Id = id.parse().map_err(|_| ApiError::NotFound(format!("no path /{id}")))?;
    if let Some(data) = ChainData::of(&api, &id)? {
        let kind = data.kind.as_ref().and_then(|kind| HeaderValue::from_str(kind).ok());
        let body = |part| data.body(&api.world, part);
        return Ok(respond(&id, kind.unwrap_or(DEFAULT_TYPE), data.size(), body, &headers));
    }
    match lookup::item(&api.world, &id).await? {
        Found::Item(item) => {
            let kind = item.tag("Content-Type").and_then(|kind| HeaderValue::from_str(kind).ok());
            let data = data(item);
            let size = data.len() as u64;
            // A part of the data is within it, so it fits.
            let body = |part: Part| Body::from(data.slice(part.start as usize..part.end as usize));
            Ok(respond(&id, kind.unwrap_or(DEFAULT_TYPE), size, body, &headers))
        }
        Found::Nowhere => Err(ApiError::NotFound(format!("item {id} is not known here or at peers"))),
        Found::Unsure => Err(ApiError::Upstream(format!("item {id} was not found, but not every peer answered"))),
    }
}

/// The data of an item, without copying it.
fn data(item: VerifiedItem) -> Bytes {
    struct Data(VerifiedItem);
    impl AsRef<[u8]> for Data {
        fn as_ref(&self) -> &[u8] {
            self.0.data()
        }
    }
    Bytes::from_owner(Data(item))
}

/// Bytes from one up to another that is not part of it.
type Part = Range<u64>;

/// Data as the request wants it: whole, a range, or not at all if the client has it.
fn respond(id: &Id, kind: HeaderValue, size: u64, body: impl FnOnce(Part) -> Body, headers: &HeaderMap) -> Response {
    let tag = format!("\"{id}\"");
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let mut response = Response::new(Body::empty());
    let has_it = |tags: &str| {
        tags.split(',')
            .any(|held| matches!(held.trim().trim_start_matches("W/"), found if found == tag || found == "*"))
    };
    let part = if text(IF_NONE_MATCH).is_some_and(has_it) {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        None
    } else {
        let range = text(RANGE).filter(|_| text(IF_RANGE).is_none_or(|held| held == tag));
        match range.map_or(Wanted::Whole, |range| wanted(range, size)) {
            Wanted::Whole => Some(0..size),
            Wanted::Part(first, last) => {
                *response.status_mut() = StatusCode::PARTIAL_CONTENT;
                let part = format!("bytes {first}-{last}/{size}");
                insert(&mut response, CONTENT_RANGE, HeaderValue::try_from(part).ok());
                Some(first..last + 1)
            }
            Wanted::Nothing => {
                let length = format!("bytes */{size}");
                let text = format!("item {id} has {size} bytes; the range begins behind them");
                let mut response = ApiError::Range(text).into_response();
                insert(&mut response, CONTENT_RANGE, HeaderValue::try_from(length).ok());
                return response;
            }
        }
    };
    insert(&mut response, ETAG, HeaderValue::try_from(tag).ok());
    insert(&mut response, CACHE_CONTROL, Some(FOREVER));
    insert(&mut response, ACCEPT_RANGES, Some(HeaderValue::from_static("bytes")));
    // Browsers must not take data for something that its uploader did not say it is.
    insert(&mut response, X_CONTENT_TYPE_OPTIONS, Some(HeaderValue::from_static("nosniff")));
    if let Some(part) = part {
        insert(&mut response, CONTENT_TYPE, Some(kind));
        insert(&mut response, CONTENT_LENGTH, Some(HeaderValue::from(part.end - part.start)));
        *response.body_mut() = body(part);
    }
    response
}

fn insert(response: &mut Response, name: HeaderName, value: Option<HeaderValue>) {
    value.and_then(|value| response.headers_mut().insert(name, value));
}

/// What a `Range` header asks for.
#[derive(Debug, PartialEq, Eq)]
enum Wanted {
    /// All: there is no range, or one of a kind that may be ignored.
    Whole,
    /// From the first to the last of these, both included.
    Part(u64, u64),
    /// Bytes that are not there.
    Nothing,
}

/// Reads a `Range` header. Several ranges at once, or what is no range, are answered with all, as the standard allows.
fn wanted(range: &str, length: u64) -> Wanted {
    let Some((first, last)) = range.trim().strip_prefix("bytes=").and_then(|range| range.split_once('-')) else {
        return Wanted::Whole;
    };
    let number = |text: &str| text.trim().parse::<u64>().ok().filter(|_| !text.contains('+'));
    let (first, last) = match (first.trim(), last.trim()) {
        ("", suffix) => match number(suffix) {
            Some(0) => return Wanted::Nothing,
            Some(suffix) => (length.saturating_sub(suffix), length.saturating_sub(1)),
            None => return Wanted::Whole,
        },
        (first, "") => match number(first) {
            Some(first) => (first, length.saturating_sub(1)),
            None => return Wanted::Whole,
        },
        (first, last) => match (number(first), number(last)) {
            (Some(first), Some(last)) if first <= last => (first, last.min(length.saturating_sub(1))),
            _ => return Wanted::Whole,
        },
    };
    if first < length { Wanted::Part(first, last) } else { Wanted::Nothing }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_the_standard_has_them() {
        for (range, length, expected) in [
            ("bytes=0-0", 10, Wanted::Part(0, 0)),
            ("bytes=2-4", 10, Wanted::Part(2, 4)),
            ("bytes=2-", 10, Wanted::Part(2, 9)),
            ("bytes=-3", 10, Wanted::Part(7, 9)),
            ("bytes=-30", 10, Wanted::Part(0, 9)),
            ("bytes=8-99", 10, Wanted::Part(8, 9)),
            ("bytes=0-18446744073709551615", 10, Wanted::Part(0, 9)),
            ("bytes=10-", 10, Wanted::Nothing),
            ("bytes=-0", 10, Wanted::Nothing),
            ("bytes=0-", 0, Wanted::Nothing),
            ("bytes=-1", 0, Wanted::Nothing),
            ("bytes=4-2", 10, Wanted::Whole),
            ("bytes=0-1,3-4", 10, Wanted::Whole),
            ("bytes=+1-4", 10, Wanted::Whole),
            ("bytes=x-", 10, Wanted::Whole),
            ("bytes=-", 10, Wanted::Whole),
            ("lines=1-2", 10, Wanted::Whole),
            ("bytes=99999999999999999999999-", 10, Wanted::Whole),
        ] {
            assert_eq!(wanted(range, length), expected, "{range} of {length}");
        }
    }

    #[test]
    fn who_has_it_is_not_sent_it_again() {
        let id = Id::from([1; 32]);
        let answer = |name: HeaderName, value: &str, more: Option<(HeaderName, &str)>| {
            let mut headers = HeaderMap::new();
            for (name, value) in [(name, value)].into_iter().chain(more) {
                headers.insert(name, value.parse().unwrap());
            }
            respond(&id, DEFAULT_TYPE, 10, |part| Body::from(vec![0; (part.end - part.start) as usize]), &headers)
        };
        let tag = format!("\"{id}\"");
        assert_eq!(answer(IF_NONE_MATCH, &format!("\"x\", {tag}"), None).status(), StatusCode::NOT_MODIFIED);
        assert_eq!(answer(IF_NONE_MATCH, "*", None).status(), StatusCode::NOT_MODIFIED);
        assert_eq!(answer(IF_NONE_MATCH, "\"x\"", None).status(), StatusCode::OK);
        let part = answer(RANGE, "bytes=2-4", Some((IF_RANGE, &tag)));
        assert_eq!(part.status(), StatusCode::PARTIAL_CONTENT);
        assert_eq!(part.headers()[CONTENT_RANGE], "bytes 2-4/10");
        assert_eq!(part.headers()[CONTENT_LENGTH], "3");
        assert_eq!(answer(RANGE, "bytes=2-4", Some((IF_RANGE, "\"x\""))).status(), StatusCode::OK);
        let nothing = answer(RANGE, "bytes=10-", None);
        assert_eq!(nothing.status(), StatusCode::RANGE_NOT_SATISFIABLE);
        assert_eq!(nothing.headers()[CONTENT_RANGE], "bytes */10");
    }
}
