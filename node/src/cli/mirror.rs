//! `ao-node mirror`: how far a node's log is on Arweave.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use serde_json::Value;

use super::client::Client;
use super::{Remote, output};

/// Bundles on their way that are listed for people.
const LISTED: usize = 20;

/// Show how far a node's log is on Arweave: what waits, what is on its way, and what is there for good
#[derive(Debug, Args)]
pub(super) struct Mirror {
    #[command(flatten)]
    remote: Remote,
}

fn number(value: &Value, name: &str) -> u64 {
    value.get(name).and_then(Value::as_u64).unwrap_or(0)
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

impl Mirror {
    pub(super) async fn run(self) -> Result<ExitCode> {
        let client = Client::new(&self.remote)?;
        let mirror = client.get("/ao/mirror").await?;
        if self.remote.json {
            output::json(&mirror);
            return Ok(ExitCode::SUCCESS);
        }
        let colours = output::colours(&std::io::stdout());
        lines(&mirror).iter().for_each(|line| println!("{}", output::shown(line, colours)));
        Ok(ExitCode::SUCCESS)
    }
}

/// The mirror as lines for people.
fn lines(mirror: &Value) -> Vec<String> {
    if mirror.get("mirrors") != Some(&Value::Bool(true)) {
        return vec!["this node mirrors nothing: start it with --arweave URL --arweave-wallet FILE".into()];
    }
    let nothing = Value::Null;
    let part = |name| mirror.get(name).unwrap_or(&nothing);
    let (waiting, landed) = (part("waiting"), part("landed"));
    let mut lines = vec![
        format!("to {} with wallet {}", text(mirror, "url"), text(mirror, "wallet")),
        format!("  waiting     {} slots of {} processes", number(waiting, "slots"), number(waiting, "processes")),
    ];
    let bundles = part("bundles").as_array().map(Vec::as_slice).unwrap_or_default();
    let slots: u64 = bundles.iter().map(|bundle| number(bundle, "slots")).sum();
    lines.push(format!("  on its way  {slots} slots in {} bundles", bundles.len()));
    for bundle in bundles.iter().take(LISTED) {
        let state = match (text(bundle, "state"), bundle.get("confirmations").and_then(Value::as_u64)) {
            (_, Some(confirmations)) => format!("{confirmations} confirmations"),
            ("signed", None) => "to be posted".to_string(),
            _ => "waits for a block".to_string(),
        };
        lines.push(format!(
            "    {}  {} slots, {} bytes, {state}",
            text(bundle, "id"),
            number(bundle, "slots"),
            number(bundle, "bytes")
        ));
        lines.extend(bundle.get("error").and_then(Value::as_str).map(|error| format!("      last failure: {error}")));
    }
    if bundles.len() > LISTED {
        lines.push(format!("    and {} more", bundles.len() - LISTED));
    }
    lines.push(format!(
        "  on Arweave  {} slots in {} bundles, {} bytes",
        number(landed, "slots"),
        number(landed, "bundles"),
        number(landed, "bytes")
    ));
    let error = part("error");
    lines.extend(error.get("text").and_then(Value::as_str).map(|text| format!("  last failure: {text}")));
    lines
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_shown_is_what_the_node_says() {
        assert!(lines(&json!({ "mirrors": false }))[0].contains("--arweave-wallet"));
        let mirror = json!({
            "mirrors": true,
            "url": "http://gateway",
            "wallet": "W",
            "waiting": { "slots": 3, "processes": 2 },
            "bundles": [
                { "id": "A", "slots": 5, "bytes": 900, "state": "signed", "confirmations": null, "error": "it is away" },
                { "id": "B", "slots": 6, "bytes": 800, "state": "posted", "confirmations": 4, "error": null },
            ],
            "landed": { "slots": 70, "bundles": 8, "bytes": 9000 },
            "error": null,
        });
        assert_eq!(
            lines(&mirror),
            [
                "to http://gateway with wallet W",
                "  waiting     3 slots of 2 processes",
                "  on its way  11 slots in 2 bundles",
                "    A  5 slots, 900 bytes, to be posted",
                "      last failure: it is away",
                "    B  6 slots, 800 bytes, 4 confirmations",
                "  on Arweave  70 slots in 8 bundles, 9000 bytes",
            ]
        );
    }
}
