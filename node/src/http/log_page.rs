//! The log in the JSON shapes of ao's schedulers: pages, single entries, processes.

use ao_protocol::entry::Entry;
use ao_protocol::id::{Id, encode_base64url};
use ao_protocol::item::VerifiedItem;
use ao_protocol::log::{Log, LogError};
use ao_protocol::wire::MAX_RESPONSE_BYTES;
use serde_json::{Map, Value, json};

use super::cursor::first_after;
use super::error::ApiError;
use super::query;

/// Entries in a page when the client does not say.
const DEFAULT_LIMIT: usize = 100;
/// Most entries in a page; equal timestamps at its end may make it longer.
const MAX_LIMIT: usize = 1000;
/// Bytes of JSON after which a page ends, equal timestamps or not; one entry always fits. A page can be passed on.
const MAX_PAGE_BYTES: usize = MAX_RESPONSE_BYTES / 2;

/// Which part of a log is wanted. Lower bounds are exclusive, upper ones inclusive.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    bounds: Bounds,
    limit: usize,
    anchors: bool,
}

#[derive(Clone, Debug)]
enum Bounds {
    Nonce(Option<i64>, Option<i64>),
    Time(Option<u64>, Option<u64>),
}

impl Wanted {
    /// Reads a query: by nonce if a nonce bound is given, else by time.
    pub(super) fn read(range: &super::su::Range) -> Result<Wanted, ApiError> {
        let bounds = if range.from_nonce.is_some() || range.to_nonce.is_some() {
            let nonce = |name, text| query::number(name, text);
            Bounds::Nonce(nonce("from-nonce", &range.from_nonce)?, nonce("to-nonce", &range.to_nonce)?)
        } else {
            Bounds::Time(query::number("from", &range.from)?, query::number("to", &range.to)?)
        };
        let limit = query::limit(&range.limit, DEFAULT_LIMIT, MAX_LIMIT)?;
        Ok(Wanted { bounds, limit, anchors: range.show_anchor.is_some() })
    }
}

/// Part of a log. Its entries are JSON already: as values they take many times the memory.
#[derive(Debug, Default)]
pub(super) struct Page {
    edges: String,
    has_next: bool,
}

impl Page {
    /// The page as JSON, with what else is to be known of it.
    pub(super) fn to_json(&self, more: Map<String, Value>) -> String {
        let mut info = more;
        info.insert("has_next_page".into(), json!(self.has_next));
        format!("{{\"page_info\":{},\"edges\":[{}]}}", Value::Object(info), self.edges)
    }
}

/// A page of a log.
pub(super) fn page(log: &dyn Log, process: &Id, wanted: &Wanted) -> Result<Page, LogError> {
    let mut page = Page::default();
    let Some(tip) = log.tip(process)? else { return Ok(page) };
    let by_nonce = matches!(wanted.bounds, Bounds::Nonce(..));
    let (first, end) = match wanted.bounds {
        Bounds::Nonce(from, to) => {
            let from = from.unwrap_or(-1).saturating_add(1);
            let to = to.unwrap_or(i64::MAX).saturating_add(1);
            (u64::try_from(from).unwrap_or(0), u64::try_from(to).unwrap_or(0))
        }
        Bounds::Time(from, to) => {
            let after = |time: u64| first_after(log, process, tip.slot, time);
            (from.map(after).transpose()?.unwrap_or(0), to.map(after).transpose()?.unwrap_or(u64::MAX))
        }
    };
    let end = end.min(tip.slot + 1);
    let mut last_ms = None;
    let mut slot = first;
    let mut count = 0;
    while slot < end {
        let Some(entry) = log.entry(process, slot)? else { break };
        let time = entry.assignment.statement.timestamp_ms;
        // The next page starts after this one's last time: entries of the same time must not be cut apart.
        if count >= wanted.limit && (by_nonce || last_ms != Some(time)) {
            break;
        }
        let cursor = if by_nonce { slot.to_string() } else { time.to_string() };
        let edge = json!({ "cursor": cursor, "node": node(&entry, wanted.anchors) }).to_string();
        if count > 0 && page.edges.len() + edge.len() > MAX_PAGE_BYTES {
            break;
        }
        if count > 0 {
            page.edges.push(',');
        }
        page.edges.push_str(&edge);
        last_ms = Some(time);
        slot += 1;
        count += 1;
    }
    page.has_next = slot < end;
    Ok(page)
}

/// Message and assignment of a slot.
pub(super) fn node(entry: &Entry, anchors: bool) -> Value {
    let own = !entry.is_from_elsewhere() && entry.assignment.statement.cron.is_none();
    let message = match own {
        // An item from elsewhere is named by the assignment only, as in ao; a cron's firing has none.
        false => Value::Null,
        true => {
            let mut message = item(&entry.item, anchors);
            if let Some(fields) = message.as_object_mut() {
                let text = match entry.slot() {
                    0 => std::str::from_utf8(entry.item.data()).ok().map(str::to_string),
                    _ => Some(String::from_utf8_lossy(entry.item.data()).into_owned()),
                };
                fields.insert("data".into(), json!(text));
            }
            message
        }
    };
    json!({ "message": message, "assignment": item(&entry.assignment.item, anchors) })
}

fn item(item: &VerifiedItem, anchors: bool) -> Value {
    let anchor = item.anchor().map(|anchor| match anchors {
        true => encode_base64url(anchor),
        false => String::from_utf8_lossy(anchor).into_owned(),
    });
    json!({
        "id": item.id().to_string(),
        "owner": { "address": item.address().to_string(), "key": encode_base64url(item.owner()) },
        "tags": item.tags(),
        "signature": encode_base64url(item.signature()),
        "anchor": anchor,
        "target": item.target().map(|target| target.to_string()).unwrap_or_default(),
    })
}

/// What is known of a process from its first slot.
pub(super) fn process(entry: &Entry) -> Value {
    let mut process = item(&entry.item, true);
    if let Some(fields) = process.as_object_mut() {
        let statement = &entry.assignment.statement;
        fields.shift_remove("id");
        fields.insert("process_id".into(), json!(entry.process().to_string()));
        fields.insert("block".into(), json!(format!("{:012}", statement.block_height)));
        fields.insert("timestamp".into(), json!(statement.timestamp_ms));
        fields.insert("data".into(), json!(std::str::from_utf8(entry.item.data()).ok()));
        if entry.item.target().is_none() {
            fields.insert("target".into(), Value::Null);
        }
    }
    process
}
