//! `ao-node log`: the slots of a process.

use std::process::ExitCode;

use anyhow::Result;
use ao_protocol::id::Id;
use clap::Args;
use comfy_table::Table;
use comfy_table::presets::NOTHING;
use serde_json::Value;

use super::client::{Client, id};
use super::{Remote, output};

const EXAMPLES: &str = "\
Examples:
  ao-node log PROCESS
  ao-node log PROCESS --from 1000 --limit 10 --json";

/// Show the log of a process
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Log {
    /// The process
    #[arg(value_parser = id)]
    process: Id,
    /// First slot to show
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// How many slots to show at most
    #[arg(long, default_value_t = 100)]
    limit: u32,
    #[command(flatten)]
    remote: Remote,
}

impl Log {
    pub(super) async fn run(self) -> Result<ExitCode> {
        let client = Client::new(&self.remote)?;
        let after = i64::try_from(self.from).unwrap_or(i64::MAX) - 1;
        let path = format!("/su/{}?from-nonce={after}&limit={}", self.process, self.limit);
        let page = client.get(&path).await?;
        if self.remote.json {
            output::json(&page);
            return Ok(ExitCode::SUCCESS);
        }
        let mut table = Table::new();
        table.load_preset(NOTHING).set_header(["slot", "message", "from", "action", "data", "hash chain"]);
        let edges = page.get("edges").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        for edge in edges {
            table.add_row(row(edge));
        }
        println!("{table}");
        if page.pointer("/page_info/has_next_page") == Some(&Value::Bool(true)) {
            println!("there is more: --from {}", self.from + edges.len() as u64);
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn row(edge: &Value) -> [String; 6] {
    let part = |name: &str| edge.pointer(&format!("/node/{name}")).cloned().unwrap_or_default();
    let (message, assignment) = (part("message"), part("assignment"));
    let tag = |item: &Value, name: &str| {
        let tags = item.get("tags").and_then(Value::as_array).into_iter().flatten();
        let mut named = tags.filter(|tag| tag.get("name").and_then(Value::as_str) == Some(name));
        named.next().and_then(|tag| tag.get("value")).and_then(Value::as_str).unwrap_or_default().to_string()
    };
    let field = |pointer: &str| message.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_string();
    let from = tag(&message, "From-Process");
    let from = if from.is_empty() { field("/owner/address") } else { from };
    let action = tag(&message, "Action");
    let action = if action.is_empty() { tag(&message, "Type") } else { action };
    [
        tag(&assignment, "Nonce"),
        short(&field("/id"), 10),
        short(&from, 10),
        short(&action, 20),
        short(&field("/data"), 40),
        short(&tag(&assignment, "Hash-Chain"), 10),
    ]
}

/// One line of at most so many characters.
fn short(text: &str, most: usize) -> String {
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    match line.chars().count() > most {
        true => line.chars().take(most - 1).chain(['…']).collect(),
        false => line,
    }
}
