//! `.trace`: what became of a message, what it caused, and what became of that, as a tree.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use serde_json::{Value, json};

use super::session::Session;
use crate::cli::client::Client;
use crate::cli::output;

/// How far effects are followed, and how many messages are shown.
const MAX_DEPTH: usize = 8;
const MAX_SHOWN: usize = 200;
/// Entries of one outbox that are looked up.
const PAGE: usize = 100;

const CAUSED: &str = "query ($process: String!, $slot: String!, $first: Int!) {
  transactions(first: $first, tags: [
    { name: \"From-Process\", values: [$process] }, { name: \"Origin-Slot\", values: [$slot] }
  ]) { edges { node { id recipient tags { name value } } } }
}";

/// Shows the trace of a message to the session's process, or of the last one sent; false if there is none.
pub(super) async fn show(session: &Session, message: Option<&str>) -> Result<bool> {
    let Some(message) = message.or(session.last_message()) else {
        eprintln!("nothing was sent from here yet: .trace MESSAGE");
        return Ok(false);
    };
    let mut tracer = Tracer { client: session.client(), lines: Vec::new() };
    if let Err(cause) = tracer.message(message, session.process(), 0, String::new()).await {
        eprintln!("{cause:#}");
        return Ok(false);
    }
    let colours = output::colours(&std::io::stdout());
    tracer.lines.iter().for_each(|line| println!("{}", output::shown(line, colours)));
    Ok(true)
}

struct Tracer<'a> {
    client: &'a Client,
    lines: Vec<String>,
}

impl Tracer<'_> {
    /// A message with its slot, what it came to, and what it sent.
    async fn message(&mut self, id: &str, process: &str, depth: usize, head: String) -> Result<()> {
        let margin = "  ".repeat(depth);
        let entry = match self.client.get(&format!("/su/{id}?process-id={process}")).await {
            Ok(entry) => entry,
            Err(cause) if depth == 0 => return Err(cause),
            Err(cause) => {
                self.lines.push(format!("{margin}{head}{id} to {process}: not scheduled ({cause})"));
                return Ok(());
            }
        };
        let Some(slot) = slot_of(&entry) else { bail!("the node gave no slot for {id}") };
        let action = tag(entry.get("message"), "Action").map_or(String::new(), |action| format!(" {action}"));
        self.lines.push(format!("{margin}{head}{id}{action}: slot {slot} of {process}"));
        let result = match self.client.result(process, id).await {
            Ok(result) => result,
            Err(cause) => {
                self.lines.push(format!("{margin}  no result: {cause}"));
                return Ok(());
            }
        };
        match output::error_text(&result) {
            Some(error) => self.lines.extend(indented(&margin, "error: ", error.trim())),
            None => self.lines.extend(indented(&margin, "output: ", output::output_text(&result).trim())),
        }
        if depth + 1 == MAX_DEPTH {
            self.lines.push(format!("{margin}  (not followed any further)"));
            return Ok(());
        }
        self.outbox(&result, process, &slot, depth).await
    }

    /// The entries of an outbox, each with what was made of it.
    async fn outbox(&mut self, result: &Value, process: &str, slot: &str, depth: usize) -> Result<()> {
        let margin = "  ".repeat(depth + 1);
        let lists = [("Messages", 'm', "sent "), ("Spawns", 's', "spawned "), ("Assignments", 'a', "assigned ")];
        let entries = |list: &str| result.get(list).and_then(Value::as_array).cloned().unwrap_or_default();
        if lists.iter().all(|(list, ..)| entries(list).is_empty()) {
            return Ok(());
        }
        let delivered = self.delivered(process, slot).await?;
        for (list, letter, word) in lists {
            for (place, entry) in entries(list).iter().enumerate() {
                if self.lines.len() > MAX_SHOWN {
                    self.lines.push(format!("{margin}(and more)"));
                    return Ok(());
                }
                let target = entry.get("Target").and_then(Value::as_str).unwrap_or_default();
                let action = tag(Some(entry), "Action").map_or(String::new(), |action| format!(" {action}"));
                match delivered.get(&format!("{letter}{place}")) {
                    Some((id, _)) if letter == 's' => {
                        Box::pin(self.message(id, id, depth + 1, word.to_string())).await?;
                    }
                    Some((id, recipient)) => {
                        Box::pin(self.message(id, recipient, depth + 1, word.to_string())).await?;
                    }
                    None if letter == 'a' => self.lines.push(format!("{margin}{word}{entry}")),
                    None => self.lines.push(format!("{margin}{word}{target}{action}: not delivered yet")),
                }
            }
        }
        Ok(())
    }

    /// What messengers made of a slot's outbox, by place: ids, and for whom.
    async fn delivered(&self, process: &str, slot: &str) -> Result<BTreeMap<String, (String, String)>> {
        let variables = json!({ "process": process, "slot": slot, "first": PAGE });
        let answer = self.client.post("/graphql", &json!({ "query": CAUSED, "variables": variables })).await?;
        let edges = answer.pointer("/data/transactions/edges").and_then(Value::as_array).into_iter().flatten();
        let read = |edge: &Value| {
            let node = edge.get("node")?;
            let text = |name: &str| Some(node.get(name)?.as_str()?.to_string());
            Some((tag_of_list(node.get("tags")?, "Origin-Index")?, (text("id")?, text("recipient")?)))
        };
        Ok(edges.filter_map(read).collect())
    }
}

/// The text of an output or error, several lines below each other.
fn indented(margin: &str, head: &str, text: &str) -> Vec<String> {
    let lines = text.lines().enumerate();
    lines.map(|(at, line)| format!("{margin}  {}{line}", if at == 0 { head } else { "        " })).collect()
}

/// The slot of an entry as `/su` gives it.
fn slot_of(entry: &Value) -> Option<String> {
    tag(entry.get("assignment"), "Nonce")
}

fn tag(item: Option<&Value>, name: &str) -> Option<String> {
    let item = item?;
    tag_of_list(item.get("tags").or_else(|| item.get("Tags"))?, name)
}

fn tag_of_list(tags: &Value, name: &str) -> Option<String> {
    let found = tags.as_array()?.iter().find(|tag| tag.get("name").and_then(Value::as_str) == Some(name))?;
    found.get("value")?.as_str().map(str::to_string)
}
