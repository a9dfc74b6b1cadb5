//! What commands print: text for people, or JSON.

use serde_json::Value;

/// Prints JSON.
pub(super) fn json(value: &Value) {
    println!("{value:#}");
}

/// The text of a result's output: aos puts it into `data`, other modules return a string.
pub(super) fn output_text(result: &Value) -> String {
    let output = result.get("Output").unwrap_or(&Value::Null);
    match output.get("data").unwrap_or(output) {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        Value::Object(fields) => match fields.get("output") {
            Some(Value::String(text)) => text.clone(),
            _ => Value::Object(fields.clone()).to_string(),
        },
        other => other.to_string(),
    }
}

/// The error of a result, if it has one.
pub(super) fn error_text(result: &Value) -> Option<String> {
    match result.get("Error") {
        None | Some(Value::Null) => None,
        Some(Value::String(text)) => Some(text.clone()),
        Some(other) => Some(other.to_string()),
    }
}

/// Prints a result for people; gives whether it was without error.
pub(super) fn result(result: &Value) -> bool {
    if let Some(error) = error_text(result) {
        eprintln!("{error}");
        return false;
    }
    let text = output_text(result);
    if !text.is_empty() {
        println!("{text}");
    }
    for (list, word) in [("Messages", "message"), ("Spawns", "spawn"), ("Assignments", "assignment")] {
        let count = result.get(list).and_then(Value::as_array).map_or(0, Vec::len);
        if count > 0 {
            println!("  → {count} {word}{} sent", if count == 1 { "" } else { "s" });
        }
    }
    true
}
