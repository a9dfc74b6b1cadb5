//! `ao-node resume`: the branches of a process, and how it goes on: on one of them, under the same scheduler or
//! another.

use std::io::{IsTerminal, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use ao_protocol::id::{Address, Id};
use ao_protocol::resume;
use ao_protocol::wallet::Signer;
use clap::Args;
use rand::Rng;
use serde_json::Value;

use super::client::{Client, address, id};
use super::{Remote, Signing, output};

const EXAMPLES: &str = "\
Examples:
  ao-node resume PROCESS                                  what branches there are, and what can be done
  ao-node resume PROCESS --branch ASSIGNMENT              go on after that one, under the same scheduler
  ao-node resume PROCESS --scheduler ADDRESS              move to another scheduler, after the last slot that is known";

/// How often it is tried again when the process was resumed a moment ago, and the time between.
const TRIES: usize = 3;
const BETWEEN_TRIES: Duration = Duration::from_millis(700);

/// End a dispute about a process of yours, or move it to another scheduler
///
/// A process is disputed when its scheduler signed two different items for one slot: nodes then compute and deliver
/// nothing from that slot on. Its owner says on which branch it goes on. All that is on other branches is void:
/// messages in them have to be sent again. What such slots had sent was delivered, and stays so.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Resume {
    /// The process
    #[arg(value_parser = id)]
    process: Id,
    /// The last assignment that is kept, as the list of branches names it. Without it: the end of the only branch
    #[arg(long, value_name = "ASSIGNMENT", value_parser = id)]
    branch: Option<Id>,
    /// The slot of that assignment, where it is not the end of a branch in the list
    #[arg(long, requires = "branch")]
    slot: Option<u64>,
    /// Who gives the slots from there on. Without it: the scheduler as it is
    #[arg(long, value_name = "ADDRESS", value_parser = address)]
    scheduler: Option<Address>,
    /// Do it without asking
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    signing: Signing,
    #[command(flatten)]
    remote: Remote,
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn number(value: &Value, name: &str) -> Option<u64> {
    value.get(name).and_then(Value::as_u64)
}

fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

impl Resume {
    pub(super) async fn run(self) -> Result<ExitCode> {
        let client = Client::new(&self.remote)?;
        let known = client.get(&format!("/ao/branches/{}", self.process)).await?;
        if self.branch.is_none() && self.scheduler.is_none() {
            match self.remote.json {
                true => output::json(&known),
                false => lines(&known).iter().for_each(|line| println!("{line}")),
            }
            return Ok(ExitCode::SUCCESS);
        }
        let wallet = self.signing.wallet()?;
        let owner = text(&known, "owner");
        if owner != wallet.address().to_string() {
            bail!(
                "process {} is owned by {owner}, and your wallet is {}: name the owner's with --wallet",
                self.process,
                wallet.address()
            );
        }
        let (slot, branch) = self.end(&known)?;
        let before = text(&known, "scheduler").parse().context("the node does not say who the scheduler is")?;
        let scheduler = self.scheduler.unwrap_or(before);
        if !self.remote.json {
            consequence(&known, slot, &branch, &scheduler).iter().for_each(|line| println!("{line}"));
        }
        if !self.yes && !confirmed()? {
            bail!("nothing was done; say --yes to do it");
        }
        let sequence = number(&known, "epoch").unwrap_or(0).saturating_add(1);
        let item = resume::Resume::item(self.process, slot, (branch, epoch_of(&known, slot)), scheduler, sequence);
        let item = item.anchor(rand::rng().random()).sign(&wallet)?;
        let mut done = client.post_item("/ao/resume", &item).await;
        for _ in 0..TRIES {
            match &done {
                // A node takes one a second of a process.
                Err(cause) if cause.to_string().contains("a moment ago") => tokio::time::sleep(BETWEEN_TRIES).await,
                _ => break,
            }
            done = client.post_item("/ao/resume", &item).await;
        }
        let done = done?;
        match self.remote.json {
            true => output::json(&done),
            false => println!("Resumed behind slot {slot} under {scheduler}. Nodes that are there have heard of it."),
        }
        Ok(ExitCode::SUCCESS)
    }

    /// The last slot that is kept, and what is in it.
    fn end(&self, known: &Value) -> Result<(u64, Id)> {
        let branches = list(known, "branches");
        let of = |branch: &Value| -> Result<(u64, Id)> {
            let id = text(branch, "branch").parse().context("the node's list of branches can't be read")?;
            Ok((number(branch, "slot").unwrap_or(0), id))
        };
        match (self.branch, self.slot) {
            (Some(branch), Some(slot)) => Ok((slot, branch)),
            (Some(branch), None) => {
                let found = branches.iter().find(|one| text(one, "branch") == branch.to_string());
                of(found.with_context(|| {
                    format!("{branch} is not the end of a branch that is known here: say --slot, too, or see the list")
                })?)
            }
            (None, _) if known.get("disputed_from").is_some_and(|slot| !slot.is_null()) => {
                bail!(
                    "the process is disputed: say with --branch on which branch it goes on (see the list without options)"
                )
            }
            (None, _) => {
                // As this node has it; what others say they have it can't check.
                let own = |branch: &&Value| list(branch, "nodes").iter().any(|node| node["this"] == true);
                of(branches.iter().find(own).context("the node does not have this process")?)
            }
        }
    }
}

/// The epoch of the slots of branches that count.
fn epoch_of(known: &Value, slot: u64) -> u64 {
    let before = list(known, "resumes").iter().filter(|resume| number(resume, "slot").is_some_and(|at| at < slot));
    before.filter_map(|resume| number(resume, "sequence")).max().unwrap_or(0)
}

/// What is known, for people.
fn lines(known: &Value) -> Vec<String> {
    let connected = match known.get("scheduler_connected") {
        Some(Value::Bool(true)) => "",
        _ => "  (not reachable from this node)",
    };
    let mut lines = vec![
        format!("process    {}", text(known, "process")),
        format!("owner      {}", text(known, "owner")),
        format!("scheduler  {}{connected}", text(known, "scheduler")),
    ];
    match number(known, "disputed_from") {
        Some(slot) => lines.push(format!("disputed   from slot {slot} on: nothing there is computed or delivered")),
        None => lines.push("disputed   no".into()),
    }
    for branch in list(known, "branches") {
        let nodes = list(branch, "nodes").len();
        lines.push(format!(
            "branch     {} at slot {}, on {nodes} node{}",
            text(branch, "branch"),
            number(branch, "slot").unwrap_or(0),
            if nodes == 1 { "" } else { "s" }
        ));
        if let Some(at) = branch.get("at_dispute").and_then(Value::as_str) {
            lines.push(format!("             with {at} in the first slot that is disputed"));
        }
    }
    for resume in list(known, "resumes") {
        lines.push(format!(
            "resumed    behind slot {} under {} (epoch {})",
            number(resume, "slot").unwrap_or(0),
            text(resume, "scheduler"),
            number(resume, "sequence").unwrap_or(0)
        ));
    }
    lines
}

/// What will be so, for who decides.
fn consequence(known: &Value, slot: u64, branch: &Id, scheduler: &Address) -> Vec<String> {
    let mut lines = vec![
        format!("Slots 0 to {slot} of branch {branch} are kept; the next ones are given by {scheduler}."),
        "All other slots are void: messages in them have to be sent again.".to_string(),
        "What they had sent to other processes was delivered, and stays.".to_string(),
    ];
    for other in list(known, "branches") {
        let end = number(other, "slot").unwrap_or(0);
        if text(other, "branch") == branch.to_string() {
            continue;
        }
        let least = number(known, "disputed_from").map_or(slot + 1, |from| from.min(slot + 1));
        if end >= least {
            lines
                .push(format!("  void: slots {least} to {end} of the branch that ends with {}", text(other, "branch")));
        }
    }
    lines
}

fn confirmed() -> Result<bool> {
    if !std::io::stdin().is_terminal() {
        return Ok(false);
    }
    print!("Go on? [y/N] ");
    std::io::stdout().flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn id(n: u8) -> Id {
        Id::from([n; 32])
    }

    fn known(disputed: Option<u64>) -> Value {
        json!({
            "process": id(9).to_string(), "owner": "O", "scheduler": "S", "scheduler_connected": false, "epoch": 0,
            "disputed_from": disputed,
            "branches": [
                { "slot": 7, "branch": id(1).to_string(), "at_dispute": id(3).to_string(), "nodes": [{ "this": true }, {}] },
                { "slot": 6, "branch": id(2).to_string(), "at_dispute": null, "nodes": [{}] },
            ],
            "resumes": [{ "slot": 3, "scheduler": "T", "sequence": 1 }],
        })
    }

    fn resume(arguments: &[&str]) -> Resume {
        #[derive(Debug, clap::Parser)]
        struct Cli {
            #[command(flatten)]
            resume: Resume,
        }
        let process = id(9).to_string();
        let all = ["resume", &process].into_iter().chain(arguments.iter().copied());
        <Cli as clap::Parser>::try_parse_from(all).unwrap().resume
    }

    #[test]
    fn the_branch_is_the_one_that_was_named_or_the_node_s_own() {
        let other = id(2).to_string();
        assert_eq!(resume(&["--branch", &other]).end(&known(Some(5))).unwrap(), (6, id(2)));
        assert_eq!(resume(&["--branch", &other, "--slot", "4"]).end(&known(Some(5))).unwrap(), (4, id(2)));
        assert_eq!(resume(&[]).end(&known(None)).unwrap(), (7, id(1)));
        let refused = resume(&[]).end(&known(Some(5))).unwrap_err().to_string();
        assert!(refused.contains("--branch"), "{refused}");
        let elsewhere = id(8).to_string();
        assert!(resume(&["--branch", &elsewhere]).end(&known(Some(5))).is_err());
        assert_eq!((epoch_of(&known(None), 3), epoch_of(&known(None), 4)), (0, 1));
    }

    #[test]
    fn what_is_void_is_said() {
        let scheduler = Address::from([4; 32]);
        let said = consequence(&known(Some(5)), 7, &id(1), &scheduler).join("\n");
        assert!(said.contains(&format!("void: slots 5 to 6 of the branch that ends with {}", id(2))), "{said}");
        let said = consequence(&known(Some(5)), 3, &id(8), &scheduler).join("\n");
        assert!(said.contains("void: slots 4 to 7") && said.contains("void: slots 4 to 6"), "{said}");
        let shown = lines(&known(Some(5))).join("\n");
        for expected in
            ["disputed   from slot 5 on", "not reachable", "on 2 nodes", "on 1 node\n", "resumed    behind slot 3"]
        {
            assert!(shown.contains(expected), "{expected:?} in {shown}");
        }
    }
}
