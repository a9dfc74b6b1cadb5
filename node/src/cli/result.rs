//! `ao-node result`: what a message came to.

use std::process::ExitCode;

use anyhow::Result as Done;
use ao_protocol::id::Id;
use clap::Args;

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
    #[command(flatten)]
    remote: Remote,
}

impl Result {
    pub(super) async fn run(self) -> Done<ExitCode> {
        let client = Client::new(&self.remote)?;
        let message = self.message.unwrap_or(self.process);
        let result = client.result(&self.process.to_string(), &message.to_string()).await?;
        if self.remote.json {
            output::json(&result);
            return Ok(ExitCode::from(u8::from(output::error_text(&result).is_some())));
        }
        Ok(ExitCode::from(u8::from(!output::result(&result))))
    }
}
