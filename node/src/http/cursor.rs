//! Cursors of a compute unit's lists: standard base64 of JSON with a time and an ordinate, as ao's clients take them
//! apart. The ordinate is the slot.

use ao_protocol::id::Id;
use ao_protocol::log::{Log, LogError};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::error::ApiError;

/// The order of a list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(super) enum Sort {
    /// The oldest first.
    #[default]
    Asc,
    /// The newest first.
    Desc,
}

impl Sort {
    /// Reads a query's `sort`.
    pub(super) fn read(text: &Option<String>) -> Result<Option<Sort>, ApiError> {
        match text.as_deref().map(str::to_ascii_uppercase).as_deref() {
            None | Some("" | "UNDEFINED") => Ok(None),
            Some("ASC") => Ok(Some(Sort::Asc)),
            Some("DESC") => Ok(Some(Sort::Desc)),
            Some(other) => {
                let shown: String = other.chars().take(64).collect();
                Err(ApiError::BadRequest(format!("query parameter sort is {shown:?}; expected ASC or DESC")))
            }
        }
    }
}

/// One place in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Cursor {
    /// Milliseconds since 1970.
    pub(super) timestamp: u64,
    /// The slot.
    pub(super) ordinate: String,
    /// The cron, of a firing.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(super) cron: Option<String>,
    /// The order of the list that it came from.
    pub(super) sort: Sort,
}

impl Cursor {
    /// As text.
    pub(super) fn encode(&self) -> String {
        STANDARD.encode(serde_json::to_vec(self).unwrap_or_default())
    }
}

/// A bound of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Bound {
    /// A slot, by cursor, with the order that the cursor has.
    Slot(u64, Sort),
    /// A time in milliseconds since 1970.
    Time(u64),
}

impl Bound {
    /// Reads `from` or `to`: a cursor, else a time.
    pub(super) fn read(name: &str, text: &Option<String>) -> Result<Option<Bound>, ApiError> {
        let text = match text.as_deref() {
            None | Some("" | "undefined") => return Ok(None),
            Some(text) => text,
        };
        if let Ok(time) = text.parse() {
            return Ok(Some(Bound::Time(time)));
        }
        // A plus sign that a client did not escape has become a space.
        let decoded = STANDARD.decode(text.replace(' ', "+")).ok();
        let cursor: Option<Cursor> = decoded.and_then(|json| serde_json::from_slice(&json).ok());
        let bound = cursor.and_then(|cursor| Some(Bound::Slot(cursor.ordinate.parse().ok()?, cursor.sort)));
        let wrong = || {
            let shown: String = text.chars().take(64).collect();
            let expected = "expected a cursor of an earlier answer or a time in milliseconds since 1970";
            ApiError::BadRequest(format!("query parameter {name} is {shown:?}; {expected}"))
        };
        bound.map(Some).ok_or_else(wrong)
    }

    /// The order that a cursor carries.
    pub(super) fn sort(&self) -> Option<Sort> {
        match self {
            Bound::Slot(_, sort) => Some(*sort),
            Bound::Time(_) => None,
        }
    }

    /// The first slot behind the bound.
    pub(super) fn behind(&self, log: &dyn Log, process: &Id, tip: u64) -> Result<u64, LogError> {
        match self {
            Bound::Slot(slot, _) => Ok(slot.saturating_add(1)),
            Bound::Time(time) => first_after(log, process, tip, *time),
        }
    }
}

/// The first slot whose time is after this one; times never decrease.
pub(super) fn first_after(log: &dyn Log, process: &Id, tip: u64, time: u64) -> Result<u64, LogError> {
    let (mut low, mut high) = (0, tip + 1);
    while low < high {
        let middle = low + (high - low) / 2;
        let at = log.entry(process, middle)?.map_or(u64::MAX, |entry| entry.assignment.statement.timestamp_ms);
        if at > time { high = middle } else { low = middle + 1 }
    }
    Ok(low)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_base64_of_json_that_clients_read() {
        let cursor = Cursor { timestamp: 1_700_000_000_123, ordinate: "12".into(), cron: None, sort: Sort::Desc };
        let json = STANDARD.decode(cursor.encode()).unwrap();
        assert_eq!(String::from_utf8(json).unwrap(), r#"{"timestamp":1700000000123,"ordinate":"12","sort":"DESC"}"#);
        assert_eq!(Bound::read("from", &Some(cursor.encode())).unwrap(), Some(Bound::Slot(12, Sort::Desc)));
    }

    #[test]
    fn what_is_neither_cursor_nor_time_is_refused() {
        assert_eq!(Bound::read("to", &Some("1700000000123".into())).unwrap(), Some(Bound::Time(1_700_000_000_123)));
        assert_eq!(Bound::read("to", &None).unwrap(), None);
        let no_slot = STANDARD.encode(r#"{"timestamp":1,"ordinate":"x","sort":"ASC"}"#);
        for wrong in ["garbage", "e30=", "-1", &no_slot] {
            assert!(Bound::read("to", &Some(wrong.into())).is_err(), "{wrong}");
        }
    }
}
