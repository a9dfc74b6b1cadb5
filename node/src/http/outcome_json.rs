//! An outcome in the JSON shape of ao's compute units.

use ao_protocol::outcome::{OutboxEntry, Outcome};
use serde_json::{Map, Value, json};

/// What `/result` and `/dry-run` answer. Lists are lists even when they are empty; `Error` is there only when there
/// is one.
pub(super) fn result(outcome: &Outcome) -> Value {
    let mut result = node(outcome);
    if let Some(fields) = result.as_object_mut() {
        fields.insert("GasUsed".into(), json!(outcome.gas_used));
    }
    result
}

/// What the edges of `/results` and `/cron` hold.
pub(super) fn node(outcome: &Outcome) -> Value {
    let list = |entries: &[OutboxEntry]| Value::Array(entries.iter().map(entry).collect());
    let mut node = Map::new();
    node.insert("Messages".into(), list(&outcome.messages));
    node.insert("Assignments".into(), list(&outcome.assignments));
    node.insert("Spawns".into(), list(&outcome.spawns));
    node.insert("Output".into(), serde_json::from_str(&outcome.output).unwrap_or_else(|_| json!("")));
    if let Some(error) = &outcome.error {
        node.insert("Error".into(), json!(error));
    }
    Value::Object(node)
}

fn entry(entry: &OutboxEntry) -> Value {
    let mut fields: Value = serde_json::from_str(&entry.fields).unwrap_or_else(|_| json!({}));
    if let (Some(fields), Some(data)) = (fields.as_object_mut(), &entry.data) {
        fields.insert("Data".into(), json!(String::from_utf8_lossy(data)));
    }
    fields
}
