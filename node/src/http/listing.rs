//! Lists of a process's outcomes, as `/results` and `/cron` give them: pages between two bounds, in either order,
//! without those that ended in an error unless they are asked for.

use ao_protocol::id::Id;
use ao_protocol::log::{Log, LogError, MAX_PAGE};
use ao_protocol::wire::MAX_RESPONSE_BYTES;
use serde::Deserialize;
use serde_json::json;
use thiserror::Error;

use super::cursor::{Bound, Cursor, Sort};
use super::error::ApiError;
use super::{outcome_json, query};

/// Slots that are looked at for one page; then it ends early and says that more follow. A page without an edge has no
/// cursor to go on from: it looks further, up to the second number.
const MAX_LOOKED_AT: [usize; 2] = [10_000, 200_000];
/// Bytes of JSON after which a page ends; one outcome always fits. A page can be passed on.
const MAX_PAGE_BYTES: usize = MAX_RESPONSE_BYTES / 2;

/// What of a list is wanted.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Range {
    /// A cursor or a time; exclusive, always the older bound.
    from: Option<String>,
    /// A cursor or a time; inclusive.
    to: Option<String>,
    sort: Option<String>,
    limit: Option<String>,
    /// `true`: errors too, and of each outcome which message it is of. Only this implementation has it.
    errors: Option<String>,
}

/// A range whose values were read.
#[derive(Clone, Debug)]
pub(super) struct Listing {
    from: Option<Bound>,
    to: Option<Bound>,
    sort: Sort,
    limit: usize,
    /// Only the firings of crons.
    firings: bool,
    /// Errors too.
    errors: bool,
}

impl Range {
    /// A list of all outcomes. The order that a cursor carries wins over the query's.
    pub(super) fn results(&self) -> Result<Listing, ApiError> {
        let mut listing = self.read(25)?;
        let carried = [&listing.from, &listing.to].into_iter().flatten().find_map(Bound::sort);
        listing.sort = carried.or(Sort::read(&self.sort)?).unwrap_or_default();
        Ok(listing)
    }

    /// A list of the firings of crons, the oldest first.
    pub(super) fn firings(&self) -> Result<Listing, ApiError> {
        Ok(Listing { firings: true, ..self.read(500)? })
    }

    fn read(&self, default_limit: usize) -> Result<Listing, ApiError> {
        Ok(Listing {
            from: Bound::read("from", &self.from)?,
            to: Bound::read("to", &self.to)?,
            sort: Sort::Asc,
            limit: query::limit(&self.limit, default_limit, MAX_PAGE)?,
            firings: false,
            errors: self.errors.as_deref() == Some("true"),
        })
    }
}

impl Listing {
    /// The page, as JSON, of slots below one, if there is a bound.
    pub(super) fn page(&self, log: &dyn Log, process: &Id, below: Option<u64>) -> Result<String, ListError> {
        let mut edges = String::new();
        let mut count = 0;
        let mut more = false;
        if let Some(computed) = log.computed(process)? {
            let behind = |bound: &Bound| bound.behind(log, process, computed.slot);
            let first = self.from.as_ref().map(behind).transpose()?.unwrap_or(0);
            let end = self.to.as_ref().map(behind).transpose()?.unwrap_or(u64::MAX);
            let end = end.min(computed.slot + 1).min(below.unwrap_or(u64::MAX));
            let mut slots = Slots { log, process, first, end, sort: self.sort, firings: self.firings };
            let mut looked_at = 0;
            while let Some(slot) = slots.next()? {
                let Some(record) = log.outcome(process, slot)? else {
                    // It is still to be filled in below a checkpoint.
                    more = log.hole(process)?.is_some();
                    if more && count == 0 {
                        return Err(ListError::Missing(slot));
                    }
                    break;
                };
                looked_at += 1;
                if looked_at > MAX_LOOKED_AT[usize::from(count == 0)] {
                    if count == 0 {
                        return Err(ListError::OnlyErrors(slot));
                    }
                    more = true;
                    break;
                }
                if record.outcome.error.is_some() && !self.errors {
                    continue;
                }
                let Some(entry) = log.entry(process, slot)? else { break };
                let statement = &entry.assignment.statement;
                let cursor = Cursor {
                    // Of a firing the time that it was due, as ao has it: it may have got its slot later.
                    timestamp: statement.cron.as_ref().map_or(statement.timestamp_ms, |firing| firing.time_ms),
                    ordinate: slot.to_string(),
                    cron: statement.cron.as_ref().map(|firing| firing.cron.clone()),
                    sort: self.sort,
                };
                let mut edge = json!({ "node": outcome_json::node(&record.outcome), "cursor": cursor.encode() });
                if self.errors {
                    edge["message"] = json!(entry.message_id().to_string());
                    edge["action"] = json!(entry.item.tag("Action"));
                }
                let edge = edge.to_string();
                if count >= self.limit || (count > 0 && edges.len() + edge.len() > MAX_PAGE_BYTES) {
                    more = true;
                    break;
                }
                if count > 0 {
                    edges.push(',');
                }
                edges.push_str(&edge);
                count += 1;
            }
        }
        Ok(format!("{{\"pageInfo\":{{\"hasNextPage\":{more}}},\"edges\":[{edges}]}}"))
    }
}

/// Why there is no page.
#[derive(Debug, Error)]
pub(super) enum ListError {
    /// The client would have no cursor to go on from.
    #[error("too many slots up to {0} ended in errors, which are not listed: ask with a time as from or to")]
    OnlyErrors(u64),
    /// This node began with a checkpoint.
    #[error("slot {0} is still to be filled in here, below the checkpoint that this node began with; try again")]
    Missing(u64),
    /// The database failed.
    #[error(transparent)]
    Log(#[from] LogError),
}

impl From<ListError> for ApiError {
    fn from(cause: ListError) -> ApiError {
        match cause {
            ListError::OnlyErrors(_) => ApiError::Unprocessable(cause.to_string()),
            ListError::Missing(_) => ApiError::NotYet(cause.to_string()),
            ListError::Log(cause) => cause.into(),
        }
    }
}

/// The slots of a list, one after the other.
struct Slots<'a> {
    log: &'a dyn Log,
    process: &'a Id,
    first: u64,
    end: u64,
    sort: Sort,
    firings: bool,
}

impl Slots<'_> {
    fn next(&mut self) -> Result<Option<u64>, LogError> {
        if self.firings {
            let next = self.log.firings(self.process, self.first, 1)?.first().copied().filter(|slot| *slot < self.end);
            self.first = next.map_or(self.end, |slot| slot + 1);
            return Ok(next);
        }
        if self.first >= self.end {
            return Ok(None);
        }
        Ok(Some(match self.sort {
            Sort::Asc => {
                self.first += 1;
                self.first - 1
            }
            Sort::Desc => {
                self.end -= 1;
                self.end
            }
        }))
    }
}
