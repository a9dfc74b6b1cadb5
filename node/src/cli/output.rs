//! What commands print: text for people, or JSON.

use std::io::IsTerminal;

use serde_json::Value;

/// Prints JSON.
pub(crate) fn json(value: &Value) {
    println!("{value:#}");
}

/// The text of a result's output: aos puts it into `data`, other modules return a string.
pub(crate) fn output_text(result: &Value) -> String {
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
pub(crate) fn error_text(result: &Value) -> Option<String> {
    match result.get("Error") {
        None | Some(Value::Null) => None,
        Some(Value::String(text)) => Some(text.clone()),
        Some(other) => Some(other.to_string()),
    }
}

/// Prints a result for people; gives whether it was without error.
pub(crate) fn result(result: &Value) -> bool {
    if let Some(error) = error_text(result) {
        eprintln!("{}", shown(&error, colours(&std::io::stderr())).trim_start_matches('\n'));
        return false;
    }
    good_result(result, "sent");
    true
}

/// Prints for people what a message would come to that was without error.
pub(crate) fn dry_result(result: &Value) {
    good_result(result, "would be sent");
}

fn good_result(result: &Value, done: &str) {
    let text = shown(&output_text(result), colours(&std::io::stdout()));
    if !text.is_empty() {
        println!("{text}");
    }
    for (list, word) in [("Messages", "message"), ("Spawns", "spawn"), ("Assignments", "assignment")] {
        let count = result.get(list).and_then(Value::as_array).map_or(0, Vec::len);
        if count > 0 {
            println!("  → {count} {word}{} {done}", if count == 1 { "" } else { "s" });
        }
    }
}

/// Whether colours are wanted there; `NO_COLOR` is the convention of no-color.org.
pub(crate) fn colours(stream: &impl IsTerminal) -> bool {
    stream.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// A process's text as it is safe to show: of all control sequences only those for colours may reach a terminal, for
/// others can do what the process wants there.
pub(crate) fn shown(text: &str, colours: bool) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(letter) = rest.chars().next() {
        let next = &rest[letter.len_utf8()..];
        rest = match colour_sequence(rest) {
            Some(sequence) => {
                if colours {
                    shown.push_str(sequence);
                }
                &rest[sequence.len()..]
            }
            None => {
                if !letter.is_control() || letter == '\n' || letter == '\t' {
                    shown.push(letter);
                }
                next
            }
        };
    }
    shown
}

/// The sequence that sets colours or weight, if the text begins with one: `ESC [ numbers m`.
fn colour_sequence(text: &str) -> Option<&str> {
    let numbers = text.strip_prefix("\u{1b}[")?;
    let end = numbers.find(|letter: char| !letter.is_ascii_digit() && letter != ';')?;
    numbers[end..].starts_with('m').then(|| &text[..text.len() - numbers.len() + end + 1])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_control_sequences_only_colours_are_shown_and_only_where_wanted() {
        let text = "\u{1b}[31;1mred\u{1b}[0m\ttab\nline \u{1b}]52;c;aGk=\u{7}\u{1b}[2J\u{9b}5n é";
        assert_eq!(shown(text, true), "\u{1b}[31;1mred\u{1b}[0m\ttab\nline ]52;c;aGk=[2J5n é");
        assert_eq!(shown(text, false), "red\ttab\nline ]52;c;aGk=[2J5n é");
        assert_eq!(shown("\u{1b}[", true), "[");
    }

    #[test]
    fn output_is_read_from_all_shapes() {
        let text = |output: Value| output_text(&serde_json::json!({ "Output": output }));
        assert_eq!(text(serde_json::json!({ "data": "a", "prompt": "b" })), "a");
        assert_eq!(text(serde_json::json!({ "data": { "output": "c", "json": "undefined" } })), "c");
        assert_eq!(text(serde_json::json!("d")), "d");
        assert_eq!(text(serde_json::json!(5)), "5");
        assert_eq!(text(Value::Null), "");
    }
}
