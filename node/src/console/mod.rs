//! `ao-node console`: a process you can live in. Lines of Lua are evaluated in it, what arrives is shown, and all of it
//! is there when you come back.
//!
//! [`connect`] finds or makes the process, [`session`] talks to it, [`commands`] are the lines that begin with a point,
//! [`terminal`] is the line editor with [`complete`], [`chunk`] knows when Lua is whole, [`live`] follows what others
//! cause, [`load`] bundles files, [`blueprints`] are shipped, [`trace`] shows where a message went.

mod blueprints;
mod chunk;
mod commands;
mod complete;
mod connect;
mod live;
mod load;
mod session;
mod terminal;
mod trace;

use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use ao_protocol::id::{Address, Id};
use clap::Args;

use crate::cli::client::{Client, address, id, tag};
use crate::cli::{Remote, Signing, output};
use commands::{Command, Next};
use session::Session;

const EXAMPLES: &str = "\
Examples:
  ao-node console neo                          start, or come back to, your process named neo
  ao-node console PROCESS                      by its id
  ao-node console neo --run '#Inbox'           one line, then leave
  ao-node console neo --load chat.lua          a file with what it requires, then stay
  echo 'x = (x or 0) + 1' | ao-node console neo

In the console, .help lists its commands; .exit or Ctrl-D leaves. Nothing is lost by leaving.";

/// Live in a process: type Lua, see messages arrive
///
/// Spawns the named process if you have none of that name, and finds it again later.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Console {
    /// A name of your own choice, or the id of a process
    #[arg(default_value = "default")]
    process: String,
    /// Evaluate this, show the result, leave; may be repeated
    #[arg(long, value_name = "LUA", allow_hyphen_values = true)]
    run: Vec<String>,
    /// Evaluate a file first, with the local files that it requires; may be repeated
    #[arg(long, value_name = "FILE")]
    load: Vec<PathBuf>,
    /// Tags of the process, if it is spawned
    #[arg(long = "tag", value_name = "NAME=VALUE", value_parser = tag)]
    tags: Vec<(String, String)>,
    /// How often the process wakes itself, if it is spawned, such as 10-seconds or 1-minute
    #[arg(long, value_name = "INTERVAL")]
    cron: Option<String>,
    /// The module that it runs, if it is spawned. Without it: the node's Lua runtime
    #[arg(long, value_parser = id)]
    module: Option<Id>,
    /// Address of its scheduler, if it is spawned
    #[arg(long, value_name = "ADDRESS", value_parser = address)]
    scheduler: Option<Address>,
    /// A file with its data, if it is spawned; with --tag On-Boot=Data it is Lua that runs at once
    #[arg(long, value_name = "FILE")]
    data: Option<PathBuf>,
    #[command(flatten)]
    signing: Signing,
    #[command(flatten)]
    remote: Remote,
}

impl Console {
    /// Runs the console until the user leaves. The exit code is 1 when something that was not typed live ended in an
    /// error.
    pub(crate) async fn run(mut self) -> Result<ExitCode> {
        let client = Client::new(&self.remote)?;
        let wallet = self.signing.wallet()?;
        if let Some(interval) = &self.cron {
            self.tags.push(("Cron-Interval".into(), interval.clone()));
            if !self.tags.iter().any(|(name, _)| name == "Cron-Tag-Action") {
                self.tags.push(("Cron-Tag-Action".into(), "Cron".into()));
            }
        }
        let data = match &self.data {
            Some(path) => Some(std::fs::read(path).with_context(|| format!("{} can't be read", path.display()))?),
            None => None,
        };
        let is_scripted = !self.run.is_empty() || !std::io::stdin().is_terminal();
        let plan = connect::Plan { tags: self.tags, module: self.module, scheduler: self.scheduler, data };
        let found = connect::connect(&client, &wallet, &self.process, plan).await?;
        let mut session = Session::new(client, wallet, found, self.remote.json);
        if !is_scripted {
            session.greet();
        }
        let mut good = true;
        if let Some(cause) = session.boot_error().filter(|_| is_scripted) {
            eprintln!("the process was made, but did not boot: {}", output::shown(&cause, false).trim());
            good = false;
        }
        for path in &self.load {
            good &= session.evaluate(&load::bundle(path)?).await?;
        }
        if !self.run.is_empty() {
            for line in &self.run {
                good &= execute(&mut session, line).await?.is_good();
            }
        } else if is_scripted {
            good &= piped(&mut session).await?;
        } else {
            terminal::live_in(session).await?;
        }
        Ok(ExitCode::from(u8::from(!good)))
    }
}

/// A line, or several that belong together: a command, or Lua.
async fn execute(session: &mut Session, text: &str) -> Result<Next> {
    match Command::parse(text) {
        Some(Ok(command)) => command.execute(session).await,
        Some(Err(cause)) => {
            eprintln!("{cause}");
            Ok(Next::Failed)
        }
        None if text.trim().is_empty() => Ok(Next::Go),
        None => Ok(if session.evaluate(text).await? { Next::Go } else { Next::Failed }),
    }
}

/// Lines of standard input, those of one chunk together; whether all went well.
async fn piped(session: &mut Session) -> Result<bool> {
    // Nothing else happens meanwhile: it may block.
    let mut lines = std::io::stdin().lines();
    let mut chunk = String::new();
    let mut good = true;
    loop {
        let line = lines.next().transpose().context("standard input can't be read")?;
        let ended = line.is_none();
        if let Some(line) = line {
            if !chunk.is_empty() {
                chunk.push('\n');
            }
            chunk.push_str(&line);
        }
        if !ended && session.collects(&chunk) {
            continue;
        }
        let text = std::mem::take(&mut chunk);
        match execute(session, &text).await? {
            Next::Leave => return Ok(good),
            next => good &= next.is_good(),
        }
        if ended {
            return Ok(good);
        }
    }
}
