//! What others cause in the process while the user is in it: results that are to be printed, as they come.

use std::time::Duration;

use anyhow::Result;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;

use crate::cli::client::Client;
use crate::cli::output;

/// Time between two looks.
const INTERVAL: Duration = Duration::from_millis(500);
/// Longest time between two looks while the node does not answer.
const MAX_INTERVAL: Duration = Duration::from_secs(10);
/// Results that are taken at once.
const PAGE: usize = 50;

/// Follows the results of a process.
pub(super) struct Live {
    client: Client,
    process: String,
    cursor: Option<String>,
    interval: Duration,
}

impl Live {
    /// Begins with what comes from now on.
    pub(super) async fn new(client: Client, process: String) -> Result<Live> {
        let newest = client.get(&format!("/cu/results/{process}?sort=DESC&errors=true&limit=1")).await?;
        let cursor = newest.pointer("/edges/0/cursor").and_then(Value::as_str).and_then(ascending);
        Ok(Live { client, process, cursor, interval: INTERVAL })
    }

    /// Waits for the next texts to be shown. Dropping it while it waits loses nothing.
    pub(super) async fn next(&mut self) -> Vec<String> {
        loop {
            tokio::time::sleep(self.interval).await;
            let from = self.cursor.as_ref().map_or(String::new(), |cursor| format!("&from={cursor}"));
            let path = format!("/cu/results/{}?sort=ASC&errors=true&limit={PAGE}{from}", self.process);
            let Ok(page) = self.client.get(&path).await else {
                // The user learns it from the next line that is typed.
                self.interval = (self.interval * 2).min(MAX_INTERVAL);
                continue;
            };
            self.interval = INTERVAL;
            let edges: Vec<&Value> = page.get("edges").and_then(Value::as_array).into_iter().flatten().collect();
            if let Some(cursor) = edges.last().and_then(|edge| edge.get("cursor")?.as_str()) {
                self.cursor = Some(cursor.to_string());
            }
            let shown: Vec<String> = edges.into_iter().filter_map(text_to_print).collect();
            if !shown.is_empty() {
                return shown;
            }
        }
    }
}

/// The same cursor for a list in ascending order: a list goes the way of the one that its cursor came from.
fn ascending(cursor: &str) -> Option<String> {
    let mut fields: Value = serde_json::from_slice(&BASE64_STANDARD.decode(cursor).ok()?).ok()?;
    *fields.get_mut("sort")? = "ASC".into();
    Some(BASE64_STANDARD.encode(fields.to_string()))
}

/// The text of a result that asks to be printed, or that is an error: not those of lines that were typed, which their
/// console shows.
fn text_to_print(edge: &Value) -> Option<String> {
    let result = edge.get("node")?;
    if let Some(error) = output::error_text(result) {
        let is_line = edge.get("action").and_then(Value::as_str) == Some("Eval");
        let message = edge.get("message").and_then(Value::as_str).unwrap_or_default();
        return (!is_line).then(|| format!("{}\n(.trace {message} tells where it came from)", error.trim()));
    }
    let prints = result.pointer("/Output/print").and_then(Value::as_bool).unwrap_or(false);
    let text = output::output_text(result);
    (prints && !text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_asks_for_it_is_printed() {
        let said = |output: Value| text_to_print(&json!({ "node": { "Output": output } }));
        assert_eq!(said(json!({ "data": "hi", "print": true })), Some("hi".into()));
        assert_eq!(said(json!({ "data": "hi" })), None);
        assert_eq!(said(json!({ "data": "", "print": true })), None);
        let failed = |action: &str| json!({ "node": { "Error": "x\n" }, "message": "M", "action": action });
        assert_eq!(text_to_print(&failed("Eval")), None);
        assert!(text_to_print(&failed("Boom")).is_some_and(|text| text.starts_with("x\n(.trace M")));
    }

    #[test]
    fn a_cursor_is_turned_round() {
        let cursor =
            |sort: &str| BASE64_STANDARD.encode(format!(r#"{{"timestamp":1,"ordinate":"12","sort":"{sort}"}}"#));
        assert_eq!(ascending(&cursor("DESC")), Some(cursor("ASC")));
        assert_eq!(ascending("nonsense"), None);
    }
}
