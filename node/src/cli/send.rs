//! `ao-node send`: sends a message to a process.

use std::process::ExitCode;

use anyhow::Result;
use ao_protocol::id::Id;
use clap::Args;
use serde_json::json;

use super::client::{Client, id, new_item, tag};
use super::{Remote, Signing, output};

const EXAMPLES: &str = "\
Examples:
  ao-node send PROCESS \"Hello\"
  ao-node send PROCESS --action Transfer --tag Recipient=ADDRESS --tag Quantity=5";

/// Send a message to a process
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Send {
    /// The process
    #[arg(value_parser = id)]
    process: Id,
    /// Its data
    #[arg(default_value = " ")]
    data: String,
    /// The tag Action, which most handlers look at
    #[arg(long)]
    action: Option<String>,
    /// Further tags
    #[arg(long = "tag", value_name = "NAME=VALUE", value_parser = tag)]
    tags: Vec<(String, String)>,
    /// Do not wait for the result
    #[arg(long)]
    no_wait: bool,
    #[command(flatten)]
    signing: Signing,
    #[command(flatten)]
    remote: Remote,
}

impl Send {
    pub(super) async fn run(self) -> Result<ExitCode> {
        let client = Client::new(&self.remote)?;
        let mut item = new_item().target(self.process).data(self.data);
        if let Some(action) = &self.action {
            item = item.tag("Action", action);
        }
        for (name, value) in &self.tags {
            item = item.tag(name, value);
        }
        let item = item.tag("Data-Protocol", "ao").tag("Variant", "ao.TN.1").tag("Type", "Message");
        let message = client.submit(&item.sign(&self.signing.wallet()?)?).await?.to_string();
        if self.no_wait {
            if self.remote.json {
                output::json(&json!({ "message": message }));
            } else {
                println!("{message}");
            }
            return Ok(ExitCode::SUCCESS);
        }
        let result = client.result(&self.process.to_string(), &message).await?;
        if self.remote.json {
            output::json(&json!({ "message": message, "result": result }));
            return Ok(ExitCode::from(u8::from(output::error_text(&result).is_some())));
        }
        println!("{message}");
        Ok(ExitCode::from(u8::from(!output::result(&result))))
    }
}
