//! `ao-node dead-letters`: what could not be delivered and why, and driving it again.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, bail};
use ao_protocol::id::Id;
use ao_protocol::origin::DeliveryId;
use clap::Args;
use serde_json::{Value, json};

use super::client::{Client, id};
use super::{Remote, output};

/// A messenger takes no more requests at once than this.
const BETWEEN_REQUESTS: Duration = Duration::from_millis(300);

/// List what could not be delivered, and why; or drive it again
///
/// A dead letter is a message, spawn or assignment of a process that the receiver's scheduler refused for good. Once
/// that is mended it can be driven again; what has its slot meanwhile keeps it.
#[derive(Debug, Args)]
pub(super) struct DeadLetters {
    /// One dead letter, as the list names it: PROCESS/SLOT/INDEX/TARGET. Without it: all
    #[arg(value_name = "LETTER", value_parser = letter, conflicts_with = "process")]
    letter: Option<DeliveryId>,
    /// Only what this process sent
    #[arg(long, value_parser = id)]
    process: Option<Id>,
    /// Drive them again
    #[arg(long)]
    redrive: bool,
    #[command(flatten)]
    remote: Remote,
}

fn letter(text: &str) -> Result<DeliveryId, String> {
    text.trim().parse().map_err(|cause: ao_protocol::origin::OriginError| cause.to_string())
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

impl DeadLetters {
    pub(super) async fn run(self) -> Result<ExitCode> {
        let client = Client::new(&self.remote)?;
        if self.redrive { self.drive(&client).await } else { self.list(&client).await }
    }

    async fn drive(&self, client: &Client) -> Result<ExitCode> {
        let mut which = match (self.letter, self.process) {
            (Some(letter), _) => json!({ "id": letter.to_string() }),
            (None, Some(process)) => json!({ "process": process.to_string() }),
            (None, None) => json!({}),
        };
        let answer = client.post("/ao/dead-letters", &which).await?;
        let (mut driven, mut told) = (0, Vec::new());
        let mut open = list(&answer, "messengers").to_vec();
        while let Some(messenger) = open.pop() {
            driven += messenger.get("driven").and_then(Value::as_u64).unwrap_or(0);
            if let Some(error) = messenger.get("error").and_then(Value::as_str) {
                eprintln!("messenger {}: {error}", text(&messenger, "address"));
            }
            if let Some(next) = further(&messenger, text(&which, "after"))? {
                which["messenger"] = json!(text(&messenger, "address"));
                which["after"] = json!(next);
                tokio::time::sleep(BETWEEN_REQUESTS).await;
                let answer = client.post("/ao/dead-letters", &which).await?;
                open.extend(list(&answer, "messengers").iter().take(1).cloned());
            } else {
                which["after"] = Value::Null;
            }
            told.push(messenger);
        }
        if self.remote.json {
            output::json(&json!({ "driven": driven, "messengers": told }));
            return Ok(if driven == 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS });
        }
        if driven == 0 {
            bail!("no dead letter was driven again: there is none, or it can never be delivered (see the list)");
        }
        println!("{driven} driven again; see what became of them with: ao-node dead-letters, ao-node trace");
        Ok(ExitCode::SUCCESS)
    }

    async fn list(&self, client: &Client) -> Result<ExitCode> {
        let of = self.process.map(|process| format!("&process-id={process}")).unwrap_or_default();
        let answer = client.get(&format!("/ao/dead-letters?limit=1000{of}")).await?;
        let mut letters = list(&answer, "dead_letters").to_vec();
        for messenger in list(&answer, "messengers") {
            let address = text(messenger, "address");
            if let Some(error) = messenger.get("error").and_then(Value::as_str) {
                eprintln!("messenger {address} does not say what it has: {error}");
            }
            let (mut messenger, mut after) = (messenger.clone(), String::new());
            while let Some(next) = further(&messenger, &after)? {
                let path = format!("/ao/dead-letters?limit=1000{of}&messenger={address}&after={next}");
                let answer = client.get(&path).await?;
                letters.extend_from_slice(list(&answer, "dead_letters"));
                messenger = list(&answer, "messengers").first().cloned().unwrap_or_default();
                after = next;
            }
        }
        if let Some(letter) = self.letter {
            letters.retain(|one| text(one, "id") == letter.to_string());
        }
        if self.remote.json {
            output::json(&Value::Array(letters));
            return Ok(ExitCode::SUCCESS);
        }
        if letters.is_empty() {
            println!("no dead letters");
        }
        let colours = output::colours(&std::io::stdout());
        for one in &letters {
            lines(one).iter().for_each(|line| println!("{}", output::shown(line, colours)));
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// After which letter a messenger's list goes on, if it does: always after the last one.
fn further(messenger: &Value, after: &str) -> Result<Option<String>> {
    let Some(next) = messenger.get("next").and_then(Value::as_str) else { return Ok(None) };
    let (after, later) = (after.parse::<DeliveryId>().ok(), next.parse::<DeliveryId>());
    match later {
        Ok(later) if after.is_none_or(|after| later > after) => Ok(Some(next.to_string())),
        _ => bail!("messenger {} gives a list without end", text(messenger, "address")),
    }
}

/// A dead letter as lines for people.
fn lines(letter: &Value) -> Vec<String> {
    let target = match text(letter, "target") {
        "" => "nobody",
        target => target,
    };
    let action = match text(letter, "action") {
        "" => String::new(),
        action => format!(" {action}"),
    };
    let mut lines = vec![
        text(letter, "id").to_string(),
        format!(
            "  slot {} of {}{action} to {target}",
            letter.get("slot").unwrap_or(&Value::Null),
            text(letter, "process")
        ),
        format!("  refused: {}", text(letter, "reason")),
    ];
    if letter.get("can_be_driven") == Some(&Value::Bool(false)) {
        lines.push("  it makes no item, so it can never be delivered".into());
    }
    lines
}
