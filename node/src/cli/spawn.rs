//! `ao-node spawn`: makes a process.

use std::process::ExitCode;

use anyhow::{Context, Result};
use ao_protocol::id::{Address, Id};
use ao_protocol::wallet::Wallet;
use clap::Args;
use serde_json::{Value, json};

use super::client::{Client, address, id, new_item, tag};
use super::{Remote, Signing, output};

const EXAMPLES: &str = "\
Examples:
  ao-node spawn --name neo
  ao-node spawn --tag Team=Zion --on-boot \"Balances = {}\"

Prints the id of the process. It belongs to your wallet: only you can eval in it.";

/// Spawn a process
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Spawn {
    /// Its name, shown in its prompt
    #[arg(long)]
    name: Option<String>,
    /// The module it runs. Without it: this node's Lua runtime
    #[arg(long, value_parser = id)]
    module: Option<Id>,
    /// Address of its scheduler. Without it: the first that the network names or that announced itself
    #[arg(long, value_name = "ADDRESS", value_parser = address)]
    scheduler: Option<Address>,
    /// Further tags
    #[arg(long = "tag", value_name = "NAME=VALUE", value_parser = tag)]
    tags: Vec<(String, String)>,
    /// Lua that runs when the process boots (On-Boot=Data)
    #[arg(long, value_name = "LUA")]
    on_boot: Option<String>,
    #[command(flatten)]
    signing: Signing,
    #[command(flatten)]
    remote: Remote,
}

impl Spawn {
    pub(super) async fn run(self) -> Result<ExitCode> {
        let client = Client::new(&self.remote)?;
        let mut tags = self.tags;
        if self.on_boot.is_some() {
            tags.push(("On-Boot".into(), "Data".into()));
        }
        let plan = Plan {
            name: self.name,
            module: self.module,
            scheduler: self.scheduler,
            tags,
            data: self.on_boot.map(String::into_bytes),
        };
        let (process, result) = plan.spawn(&client, &self.signing.wallet()?).await?;
        if self.remote.json {
            output::json(&json!({ "process": process, "result": result }));
            return Ok(ExitCode::from(u8::from(output::error_text(&result).is_some())));
        }
        println!("{process}");
        Ok(ExitCode::from(u8::from(!output::result(&result))))
    }
}

/// A process to be made.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// Its name.
    pub(crate) name: Option<String>,
    /// The module that it runs; none: the node's Lua runtime.
    pub(crate) module: Option<Id>,
    /// Its scheduler; none: the first that is known.
    pub(crate) scheduler: Option<Address>,
    /// Further tags.
    pub(crate) tags: Vec<(String, String)>,
    /// Its data.
    pub(crate) data: Option<Vec<u8>>,
}

impl Plan {
    /// Makes it; its id and the result of its first slot.
    pub(crate) async fn spawn(self, client: &Client, wallet: &Wallet) -> Result<(String, Value)> {
        let peers = client.get("/ao/peers").await?;
        let module = match self.module {
            Some(module) => module.to_string(),
            None => text(&peers, "module").context("the node does not name its module")?,
        };
        let scheduler = match self.scheduler {
            Some(scheduler) => scheduler.to_string(),
            None => first(&peers, "schedulers", "su")
                .context("no scheduler is known: start a node with the role su, or name one with --scheduler")?,
        };
        let mut item = new_item()
            .tag("Data-Protocol", "ao")
            .tag("Variant", "ao.TN.1")
            .tag("Type", "Process")
            .tag("Module", module)
            .tag("Scheduler", scheduler)
            .data(self.data.unwrap_or_else(|| b" ".to_vec()));
        if let Some(name) = &self.name {
            item = item.tag("Name", name);
        }
        // The runtime trusts messages from other processes only if their messenger is named here.
        if !self.tags.iter().any(|(name, _)| name == "Authority") {
            let messengers = all(&peers, "messengers", "mu");
            if !messengers.is_empty() {
                item = item.tag("Authority", messengers.join(","));
            }
        }
        for (name, value) in &self.tags {
            item = item.tag(name, value);
        }
        let process = client.submit(&item.sign(wallet)?).await?.to_string();
        let result = client.result(&process, &process).await?;
        Ok((process, result))
    }
}

fn text(value: &Value, name: &str) -> Option<String> {
    value.get(name)?.as_str().map(str::to_string)
}

/// Units of a role: those of the network file, or in an open network those that announced it.
fn all(peers: &Value, listed: &str, role: &str) -> Vec<String> {
    let listed = peers.get("network").and_then(|network| network.get(listed)).and_then(Value::as_array);
    let listed: Vec<String> =
        listed.into_iter().flatten().filter_map(|unit| unit.as_str().map(str::to_string)).collect();
    if !listed.is_empty() {
        return listed;
    }
    let units = peers.get("units").and_then(Value::as_array).into_iter().flatten();
    let plays = |unit: &&Value| {
        let roles = unit.get("roles").and_then(Value::as_array).into_iter().flatten();
        roles.filter_map(Value::as_str).any(|found| found == role)
    };
    // The node that is asked comes first: it is the one that surely answers.
    std::iter::once(peers).chain(units).filter(plays).filter_map(|unit| text(unit, "address")).collect()
}

fn first(peers: &Value, listed: &str, role: &str) -> Option<String> {
    all(peers, listed, role).into_iter().next()
}
