//! `ao-node peers`: the node that is asked, its network, and who else is there.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use comfy_table::Table;
use comfy_table::presets::NOTHING;
use serde_json::Value;

use super::client::Client;
use super::{Remote, output};

/// Show this node, its network and its peers
#[derive(Debug, Args)]
pub(super) struct Peers {
    #[command(flatten)]
    remote: Remote,
}

impl Peers {
    pub(super) async fn run(self) -> Result<ExitCode> {
        let peers = Client::new(&self.remote)?.get("/ao/peers").await?;
        if self.remote.json {
            output::json(&peers);
            return Ok(ExitCode::SUCCESS);
        }
        let text = |pointer: &str| peers.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let open = match peers.pointer("/network/open") {
            Some(Value::Bool(true)) => " (open: every announced unit counts; for development only)",
            _ => "",
        };
        println!("network   {}{open}", text("/network/name"));
        println!("          {}", text("/network/hash"));
        println!("this node {}", text("/address"));
        for address in peers.get("multiaddrs").and_then(Value::as_array).into_iter().flatten() {
            println!("          {}", address.as_str().unwrap_or_default());
        }
        println!("module    {}", text("/module"));
        let mut table = Table::new();
        table.load_preset(NOTHING).set_header(["unit", "roles", "peer", "connected", "http"]);
        for unit in peers.get("units").and_then(Value::as_array).into_iter().flatten() {
            let text = |name: &str| unit.get(name).and_then(Value::as_str).unwrap_or_default().to_string();
            let roles = unit.get("roles").and_then(Value::as_array).into_iter().flatten();
            let roles: Vec<&str> = roles.filter_map(Value::as_str).collect();
            let connected = unit.get("connected") == Some(&Value::Bool(true));
            let connected = if connected { "yes" } else { "no" }.to_string();
            table.add_row([text("address"), roles.join(","), text("peer_id"), connected, text("http_url")]);
        }
        println!("{table}");
        Ok(ExitCode::SUCCESS)
    }
}
