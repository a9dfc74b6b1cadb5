//! `ao-node trace`: where a message is, and what became of all that it caused, as a tree.

use std::io::IsTerminal;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Result;
use ao_protocol::id::Id;
use clap::Args;
use serde_json::Value;

use super::client::{Client, id};
use super::{Remote, output};

/// Time between two looks with `--watch`.
const INTERVAL: Duration = Duration::from_millis(500);
/// Clears a terminal and goes to its first line.
const CLEAR: &str = "\u{1b}[2J\u{1b}[H";

/// Show where a message is, and what became of all that it caused
#[derive(Debug, Args)]
pub(super) struct Trace {
    /// The message, or a process: then what its spawn caused
    #[arg(value_parser = id)]
    message: Id,
    /// The process that it was sent to, if the message does not say
    #[arg(long, value_parser = id)]
    process: Option<Id>,
    /// Follow it until all is settled
    #[arg(long)]
    watch: bool,
    #[command(flatten)]
    remote: Remote,
}

impl Trace {
    pub(super) async fn run(self) -> Result<ExitCode> {
        let client = Client::new(&self.remote)?;
        let process = self.process.map(|process| process.to_string());
        let mut last = Value::Null;
        loop {
            let trace = ask(&client, &self.message.to_string(), process.as_deref()).await?;
            if trace != last {
                self.show(&trace);
            }
            if !self.watch || is_settled(&trace) {
                return Ok(ExitCode::SUCCESS);
            }
            last = trace;
            tokio::time::sleep(INTERVAL).await;
        }
    }

    fn show(&self, trace: &Value) {
        if self.remote.json {
            return output::json(trace);
        }
        if self.watch && std::io::stdout().is_terminal() {
            print!("{CLEAR}");
        }
        let colours = output::colours(&std::io::stdout());
        lines(trace).iter().for_each(|line| println!("{}", output::shown(line, colours)));
    }
}

/// The trace of a message as a node tells it.
pub(crate) async fn ask(client: &Client, message: &str, process: Option<&str>) -> Result<Value> {
    let process = process.map_or_else(String::new, |process| format!("?process-id={process}"));
    client.get(&format!("/trace/{message}{process}")).await
}

/// Whether nothing more will come of it by itself.
fn is_settled(trace: &Value) -> bool {
    let text = |value: &Value, name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default().to_string();
    let outbox = trace.get("outbox").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let entry_is_settled = |entry: &Value| match entry.get("trace") {
        Some(trace) => is_settled(trace),
        None => ["dead", "no process yet", "scheduled"].contains(&text(entry, "state").as_str()),
    };
    text(trace, "state") == "scheduled" && trace.get("not_computed").is_none() && outbox.iter().all(entry_is_settled)
}

/// A trace as lines for people.
pub(crate) fn lines(trace: &Value) -> Vec<String> {
    let mut lines = Vec::new();
    message(trace, "", String::new(), &mut lines);
    lines
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// Like ` Transfer`, if there is an action.
fn action(value: &Value) -> String {
    let name = ["action", "cron"].map(|name| text(value, name)).into_iter().find(|name| !name.is_empty());
    name.map_or_else(String::new, |name| format!(" {name}"))
}

fn message(trace: &Value, margin: &str, head: String, lines: &mut Vec<String>) {
    let (id, process) = (text(trace, "id"), text(trace, "process"));
    let Some(slot) = trace.get("slot") else {
        lines.push(format!("{margin}{head}{id}{} to {process}: {}", action(trace), text(trace, "state")));
        return;
    };
    lines.push(format!("{margin}{head}{id}{}: slot {slot} of {process}", action(trace)));
    let inner = format!("{margin}  ");
    if trace.get("state").is_some_and(|state| state != "scheduled") {
        return lines.push(format!("{inner}{}", text(trace, "state")));
    }
    if let Some(reason) = trace.get("not_computed").and_then(Value::as_str) {
        return lines.push(format!("{inner}not computed: {reason}"));
    }
    if let Some(units) = computed_by(trace) {
        lines.push(format!("{inner}{units}"));
    }
    match trace.get("error").and_then(Value::as_str) {
        Some(error) => indented(&inner, "error: ", error.trim(), lines),
        None => indented(&inner, "output: ", text(trace, "output").trim(), lines),
    }
    if let Some(count) = trace.get("cut_off") {
        lines.push(format!("{inner}({count} sent; not followed any further)"));
    }
    for entry in trace.get("outbox").and_then(Value::as_array).into_iter().flatten() {
        outbox_entry(entry, &inner, lines);
    }
}

fn outbox_entry(entry: &Value, margin: &str, lines: &mut Vec<String>) {
    let word = match text(entry, "kind") {
        "message" => "sent",
        "spawn" => "spawned",
        "assignment" => "assigned",
        _ => "told of it",
    };
    if let Some(trace) = entry.get("trace") {
        return message(trace, margin, format!("{word} "), lines);
    }
    let state = match text(entry, "state") {
        "scheduled" => {
            format!("slot {} of {}", entry.get("slot").unwrap_or(&Value::Null), text(entry, "process"))
        }
        "dead" => format!("dead: {}", text(entry, "reason")),
        "no process yet" => "waits: no process of this id is known".to_string(),
        "pending" => pending(entry),
        other => other.to_string(),
    };
    lines.push(format!("{margin}{word}{} to {}: {state}", action(entry), text(entry, "target")));
}

/// Like `pending, tried 3 times, again in 4 s: the scheduler can't be reached`.
fn pending(entry: &Value) -> String {
    let number = |name: &str| entry.get(name).and_then(Value::as_u64);
    let mut said = "pending".to_string();
    if let (Some(attempts), Some(next_ms)) = (number("attempts"), number("next_ms")) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let seconds = u128::from(next_ms).saturating_sub(now).div_ceil(1000);
        said += &match attempts {
            0 => String::new(),
            1 => ", tried once".to_string(),
            more => format!(", tried {more} times"),
        };
        said += &format!(", again in {seconds} s");
    }
    match entry.get("cause").and_then(Value::as_str) {
        Some(cause) => format!("{said}: {cause}"),
        None => said,
    }
}

/// Like `computed by two units after 12 ms`: times are those at which the asked node saw it.
fn computed_by(trace: &Value) -> Option<String> {
    let units = trace.get("computed_by")?.as_array().filter(|units| !units.is_empty())?;
    let timestamp = trace.get("timestamp").and_then(Value::as_u64)?;
    let told = units.iter().map(|unit| {
        let seen = unit.get("seen_ms").and_then(Value::as_u64);
        let after = seen.map(|seen| format!(" after {} ms", seen.saturating_sub(timestamp)));
        format!("{}{}", text(unit, "unit"), after.unwrap_or_default())
    });
    Some(format!("computed by {}", told.collect::<Vec<String>>().join(", ")))
}

/// The text of an output or error, several lines below each other.
fn indented(margin: &str, head: &str, text: &str, lines: &mut Vec<String>) {
    let texts = text.lines().enumerate();
    lines.extend(texts.map(|(at, line)| format!("{margin}{}{line}", if at == 0 { head } else { "        " })));
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn trace() -> Value {
        json!({
            "id": "M", "process": "P", "slot": 4, "state": "scheduled", "action": "Eval", "timestamp": 1000,
            "computed_by": [{ "unit": "A", "seen_ms": 1012 }, { "unit": "B", "seen_ms": null }],
            "output": "one\ntwo",
            "outbox": [
                { "index": "m0", "kind": "message", "target": "Q", "action": "Ping", "state": "scheduled",
                  "process": "Q", "slot": 2, "trace": {
                    "id": "N", "process": "Q", "slot": 2, "state": "scheduled", "action": "Ping",
                    "timestamp": 1020, "error": "no\n" } },
                { "index": "m1", "kind": "message", "target": "0xabc", "action": null, "state": "no process yet" },
                { "index": "s0", "kind": "spawn", "target": "S", "state": "dead", "reason": "no module" },
            ],
        })
    }

    #[test]
    fn a_trace_is_a_tree() {
        let expected = [
            "M Eval: slot 4 of P",
            "  computed by A after 12 ms, B",
            "  output: one",
            "          two",
            "  sent N Ping: slot 2 of Q",
            "    error: no",
            "  sent to 0xabc: waits: no process of this id is known",
            "  spawned to S: dead: no module",
        ];
        assert_eq!(lines(&trace()), expected);
        assert!(is_settled(&trace()));
    }

    #[test]
    fn what_waits_says_why() {
        let mut trace = trace();
        trace["outbox"][1] = json!({ "kind": "message", "target": "Q", "state": "pending", "attempts": 3, "next_ms": 5,
                                     "cause": "unit U can't be reached" });
        assert!(!is_settled(&trace));
        let said = lines(&trace).join("\n");
        assert!(said.contains("sent to Q: pending, tried 3 times, again in 0 s: unit U can't be reached"), "{said}");
        let waiting = json!({ "id": "M", "process": "P", "state": "has no slot here yet" });
        assert_eq!(lines(&waiting), ["M to P: has no slot here yet"]);
        assert!(!is_settled(&waiting));
    }
}
