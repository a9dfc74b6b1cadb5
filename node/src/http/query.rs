//! Values of queries and paths, read with errors that say what was wrong.

use std::fmt::Display;
use std::str::FromStr;

use ao_protocol::id::Id;

use super::error::ApiError;

/// An id in a path or query.
pub(super) fn id(name: &str, text: &str) -> Result<Id, ApiError> {
    text.parse().map_err(|cause| ApiError::BadRequest(format!("{name}: {cause}")))
}

/// The process that a query names.
pub(super) fn process_id(text: &Option<String>) -> Result<Id, ApiError> {
    let missing = || {
        ApiError::BadRequest("query parameter process-id is missing: the process that the message was sent to".into())
    };
    id("process-id", text.as_deref().ok_or_else(missing)?)
}

/// A number, if there is one. `undefined` is none: clients in JavaScript write that.
pub(super) fn number<T: FromStr<Err: Display>>(name: &str, text: &Option<String>) -> Result<Option<T>, ApiError> {
    let wrong = |text: &str| {
        let shown: String = text.chars().take(64).collect();
        ApiError::BadRequest(format!("query parameter {name} is {shown:?}; expected a whole number"))
    };
    match text.as_deref() {
        None | Some("" | "undefined") => Ok(None),
        Some(text) => text.parse().map(Some).map_err(|_| wrong(text)),
    }
}

/// How many things a page may hold: `default` if the client does not say, `most` at most.
pub(super) fn limit(text: &Option<String>, default: usize, most: usize) -> Result<usize, ApiError> {
    match number::<i64>("limit", text)? {
        None => Ok(default),
        Some(limit @ 1..) => Ok(usize::try_from(limit).unwrap_or(most).min(most)),
        Some(limit) => Err(ApiError::BadRequest(format!("query parameter limit is {limit}; expected 1 to {most}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Option<String> {
        Some(text.into())
    }

    #[test]
    fn limits_are_bounded_and_wrong_ones_refused() {
        assert_eq!(limit(&None, 25, 1000).unwrap(), 25);
        assert_eq!(limit(&text("undefined"), 25, 1000).unwrap(), 25);
        assert_eq!(limit(&text("7"), 25, 1000).unwrap(), 7);
        assert_eq!(limit(&text("99999999"), 25, 1000).unwrap(), 1000);
        for wrong in ["0", "-5", "many", "1.5", "99999999999999999999"] {
            assert!(limit(&text(wrong), 25, 1000).is_err(), "{wrong}");
        }
    }
}
