//! A conversation with one process: lines in, what they came to out.

use anyhow::Result;
use ao_protocol::wallet::{Signer, Wallet};
use serde_json::{Value, json};

use super::chunk;
use super::commands::Command;
use super::connect::Found;
use crate::cli::client::{Client, new_item};
use crate::cli::output;

/// The prompt where a process has none of its own.
const PLAIN_PROMPT: &str = "> ";

/// A process, and who talks to it.
pub(super) struct Session {
    client: Client,
    wallet: Wallet,
    process: String,
    name: String,
    owner: Option<String>,
    spawned: Option<Value>,
    others: usize,
    json: bool,
    prompt: Option<String>,
    last_message: Option<String>,
    /// Whether lines are evaluated without being kept.
    pub(super) dry: bool,
}

impl Session {
    /// Begins.
    pub(super) fn new(client: Client, wallet: Wallet, found: Found, json: bool) -> Session {
        let Found { process, name, owner, spawned, others } = found;
        let (prompt, last_message) = (None, None);
        Session { client, wallet, process, name, owner, spawned, others, json, prompt, last_message, dry: false }
    }

    /// The process's id.
    pub(super) fn process(&self) -> &str {
        &self.process
    }

    /// Its name.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The node.
    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// The last message that was sent from here.
    pub(super) fn last_message(&self) -> Option<&str> {
        self.last_message.as_deref()
    }

    /// Why the process did not boot, if it was made now and did not.
    pub(super) fn boot_error(&self) -> Option<String> {
        output::error_text(self.spawned.as_ref()?)
    }

    /// Says where the user is.
    pub(super) fn greet(&self) {
        let made = if self.spawned.is_some() { "Made" } else { "Back in" };
        println!("{made} process {} at {}", self.process, self.client.base());
        if let Some(first) = &self.spawned {
            output::result(first);
        }
        if self.others > 0 {
            println!("You have {} more of this name; this is the newest. Others: ao-node console PROCESS", self.others);
        }
        if self.owner.as_ref().is_some_and(|owner| *owner != self.wallet.address().to_string()) {
            println!("It belongs to somebody else: what you type arrives as a message, and is not evaluated.");
        }
        println!("Type Lua, or .help; leave with .exit or Ctrl-D.");
    }

    /// Evaluates Lua in the process and shows what it gave; whether it was without error.
    pub(super) async fn evaluate(&mut self, lua: &str) -> Result<bool> {
        if self.dry {
            return self.dry_run(lua).await;
        }
        let item = new_item()
            .target(self.process.parse()?)
            .tag("Action", "Eval")
            .tag("Data-Protocol", "ao")
            .tag("Variant", "ao.TN.1")
            .tag("Type", "Message")
            .data(lua);
        let message = self.client.submit(&item.sign(&self.wallet)?).await?.to_string();
        self.last_message = Some(message.clone());
        let result = self.client.result(&self.process, &message).await?;
        self.remember_prompt(&result);
        Ok(self.show(&result, Some(&message)))
    }

    /// Evaluates Lua on the current state, shows what it gave, and keeps nothing.
    pub(super) async fn dry_run(&mut self, lua: &str) -> Result<bool> {
        let result = self.evaluate_dry(lua).await?;
        if !self.json && output::error_text(&result).is_none() {
            output::dry_result(&result);
            return Ok(true);
        }
        Ok(self.show(&result, None))
    }

    async fn evaluate_dry(&self, lua: &str) -> Result<Value> {
        dry_run(&self.client, &self.process, &self.wallet.address().to_string(), lua).await
    }

    /// The text that Lua returns, evaluated without being kept.
    pub(super) async fn ask(&self, lua: &str) -> Result<String> {
        let result = self.evaluate_dry(lua).await?;
        match output::error_text(&result) {
            Some(cause) => anyhow::bail!("{}", output::shown(&cause, false).trim()),
            None => Ok(output::output_text(&result)),
        }
    }

    /// What a completer needs to ask the process by itself.
    pub(super) fn asker(&self) -> Asker {
        Asker { client: self.client.clone(), process: self.process.clone(), owner: self.wallet.address().to_string() }
    }

    fn show(&self, result: &Value, message: Option<&str>) -> bool {
        if self.json {
            output::json(&json!({ "process": self.process, "message": message, "result": result }));
            return output::error_text(result).is_none();
        }
        output::result(result)
    }

    fn remember_prompt(&mut self, result: &Value) {
        let places = ["/Output/prompt", "/Output/data/prompt"];
        let prompt = places.iter().find_map(|place| result.pointer(place)?.as_str());
        if let Some(prompt) = prompt {
            self.prompt = Some(prompt.to_string());
        }
    }

    /// The process's prompt: without colours, and with them if they are wanted.
    pub(super) async fn prompt(&mut self) -> (String, String) {
        if self.prompt.is_none()
            && let Ok(result) = self.evaluate_dry("nil").await
        {
            self.remember_prompt(&result);
        }
        let prompt = self.prompt.as_deref().unwrap_or(PLAIN_PROMPT);
        let dry = if self.dry { "(dry-run) " } else { "" };
        let styled = output::shown(prompt, output::colours(&std::io::stdout()));
        (format!("{dry}{}", output::shown(prompt, false)), format!("{dry}{styled}"))
    }

    /// What arrived may have changed the prompt.
    pub(super) fn forget_prompt(&mut self) {
        self.prompt = None;
    }

    /// Whether what was typed so far goes on in another line.
    pub(super) fn collects(&self, text: &str) -> bool {
        collects(text)
    }
}

/// Whether what was typed so far goes on in another line.
pub(super) fn collects(text: &str) -> bool {
    match Command::parse(text) {
        Some(Ok(command)) => command.collects(),
        Some(Err(_)) => false,
        None => chunk::is_incomplete(text),
    }
}

/// Asks a process beside the conversation.
pub(super) struct Asker {
    client: Client,
    process: String,
    owner: String,
}

impl Asker {
    /// The text that Lua returns, evaluated without being kept.
    pub(super) async fn ask(&self, lua: &str) -> Result<String> {
        Ok(output::output_text(&dry_run(&self.client, &self.process, &self.owner, lua).await?))
    }
}

async fn dry_run(client: &Client, process: &str, owner: &str, lua: &str) -> Result<Value> {
    let message = json!({
        "Id": "dry-run", "Target": process, "Owner": owner, "From": owner, "Anchor": "0", "Data": lua,
        "Tags": [{ "name": "Action", "value": "Eval" }],
    });
    client.post(&format!("/cu/dry-run?process-id={process}"), &message).await
}
