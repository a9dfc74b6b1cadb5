//! `ao-node result`: what a message came to.

use std::process::ExitCode;

use anyhow::{Result as Done, bail};
use ao_protocol::id::Id;
use clap::Args;
use serde_json::Value;

use super::client::{Client, id};
use super::{Remote, output};

/// Show what a message came to
#[derive(Debug, Args)]
pub(super) struct Result {
    /// The process that the message was sent to
    #[arg(value_parser = id)]
    process: Id,
    /// The message; without it the spawn itself
    #[arg(value_parser = id)]
    message: Option<Id>,
    /// Wait until so many compute units agree, and say who does
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    quorum: Option<u32>,
    #[command(flatten)]
    remote: Remote,
}

impl Result {
    pub(super) async fn run(self) -> Done<ExitCode> {
        let client = Client::new(&self.remote)?;
        let message = self.message.unwrap_or(self.process);
        let (process, message) = (self.process.to_string(), message.to_string());
        let result = match self.quorum {
            Some(quorum) => client.agreed_result(&process, &message, quorum).await?,
            None => client.result(&process, &message).await?,
        };
        let agree = result["Quorum"]["agree"].as_array().map_or(0, Vec::len);
        if self.quorum.is_some_and(|quorum| agree < quorum as usize) {
            bail!("the node gave a result without the units that were asked for: {agree} of them agree");
        }
        if self.remote.json {
            output::json(&result);
            return Ok(ExitCode::from(u8::from(output::error_text(&result).is_some())));
        }
        let good = output::result(&result);
        if let Some(quorum) = result.get("Quorum") {
            let list = |name: &str| quorum.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
            let of = quorum.get("of").and_then(Value::as_u64).unwrap_or(0);
            println!("  {} of {of} compute units agree:", list("agree").len());
            list("agree").iter().filter_map(Value::as_str).for_each(|unit| println!("    {unit}"));
            list("differ")
                .iter()
                .filter_map(Value::as_str)
                .for_each(|unit| println!("    {unit} attested something else"));
        }
        Ok(ExitCode::from(u8::from(!good)))
    }
}
