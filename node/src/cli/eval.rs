//! `ao-node eval`: types a line of Lua into a process and shows what it said.

use std::process::ExitCode;

use anyhow::Result;
use ao_protocol::id::Id;
use clap::Args;
use serde_json::json;

use super::client::{Client, id, new_item};
use super::{Remote, Signing, output};

const EXAMPLES: &str = "\
Examples:
  ao-node eval PROCESS 'x = 1'
  ao-node eval PROCESS 'Send({ Target = \"OTHER\", Data = \"Hi\" })'
  ao-node eval PROCESS 'Inbox[#Inbox].Data'

Prints what the process answers; the exit code is 1 when it answers with an error.";

/// Evaluate Lua in a process that you own
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Eval {
    /// The process
    #[arg(value_parser = id)]
    process: Id,
    /// The Lua to evaluate, such as 'x = 1' or '#Inbox'
    #[arg(allow_hyphen_values = true)]
    lua: String,
    #[command(flatten)]
    signing: Signing,
    #[command(flatten)]
    remote: Remote,
}

impl Eval {
    pub(super) async fn run(self) -> Result<ExitCode> {
        let client = Client::new(&self.remote)?;
        let item = new_item()
            .target(self.process)
            .tag("Action", "Eval")
            .tag("Data-Protocol", "ao")
            .tag("Variant", "ao.TN.1")
            .tag("Type", "Message")
            .data(self.lua);
        let message = client.submit(&item.sign(&self.signing.wallet()?)?).await?.to_string();
        let result = client.result(&self.process.to_string(), &message).await?;
        if self.remote.json {
            output::json(&json!({ "message": message, "result": result }));
            return Ok(ExitCode::from(u8::from(output::error_text(&result).is_some())));
        }
        Ok(ExitCode::from(u8::from(!output::result(&result))))
    }
}
