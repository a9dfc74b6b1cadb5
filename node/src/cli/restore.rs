//! `ao-node restore`: rebuilds logs from Arweave alone.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use ao_protocol::id::{Address, Id};
use clap::Args;
use serde_json::json;

use super::client::{address, id};
use super::mirroring::gateway;
use super::output;
use crate::arweave::Gateway;
use crate::restore::{Progress, Report, Restore as Restoring, Wanted};
use crate::store::Store;

/// Width of the bar, in letters.
const BAR: usize = 30;
/// Processes that are listed for people.
const LISTED: usize = 50;
/// Time between two lines where no terminal shows the bar.
const BETWEEN_LINES: Duration = Duration::from_secs(5);
/// Time between two looks of the bar.
const BETWEEN_BARS: Duration = Duration::from_millis(100);

/// Rebuild the logs of processes from Arweave, from nothing else
///
/// Every signature, chain link and id is checked; what is forged is refused and named. It can be interrupted and goes
/// on where it was. Then start a node on the folder: it computes the same outcomes as before.
#[derive(Debug, Args)]
pub(super) struct Restore {
    /// A gateway of Arweave, such as https://arweave.net
    #[arg(long, value_name = "URL", value_parser = gateway)]
    arweave: Gateway,
    /// One process
    #[arg(long, value_parser = id, conflicts_with = "scheduler", required_unless_present = "scheduler")]
    process: Option<Id>,
    /// All processes of a scheduler
    #[arg(long, value_name = "ADDRESS", value_parser = address)]
    scheduler: Option<Address>,
    /// Folder for the log; that of a node which does not run
    #[arg(long, value_name = "DIR", default_value = "ao-data")]
    data: PathBuf,
    /// Print JSON instead of text for people
    #[arg(long)]
    json: bool,
}

impl Restore {
    pub(super) async fn run(self) -> Result<ExitCode> {
        std::fs::create_dir_all(&self.data)
            .with_context(|| format!("the data folder {} can't be made", self.data.display()))?;
        let log = Arc::new(Store::open(&self.data.join("log"))?);
        let wanted = match (self.process, self.scheduler) {
            (Some(process), _) => Wanted::Process(process),
            (None, Some(scheduler)) => Wanted::Scheduler(scheduler),
            (None, None) => anyhow::bail!("say what is to be restored: --process ID or --scheduler ADDRESS"),
        };
        let began = Instant::now();
        let mut bar = Bar::new();
        let report = Restoring::new(self.arweave, log, wanted).run(&mut |progress| bar.show(progress)).await;
        bar.end();
        let report = report?;
        let seconds = began.elapsed().as_secs_f64();
        if self.json {
            output::json(&as_json(&report, seconds));
        } else {
            lines(&report, seconds).iter().for_each(|line| println!("{line}"));
        }
        Ok(if report.is_whole() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// What is shown while it goes on.
struct Bar {
    terminal: bool,
    began: Instant,
    shown: Option<Instant>,
}

impl Bar {
    fn new() -> Bar {
        Bar { terminal: std::io::stderr().is_terminal(), began: Instant::now(), shown: None }
    }

    fn show(&mut self, progress: &Progress) {
        let pause = if self.terminal { BETWEEN_BARS } else { BETWEEN_LINES };
        let last = progress.done == progress.bundles;
        if self.shown.is_some_and(|shown| shown.elapsed() < pause) && !(last && self.terminal) {
            return;
        }
        self.shown = Some(Instant::now());
        let line = bar_line(progress, self.began.elapsed());
        // Nothing can be done about a terminal that is gone.
        let _ = match self.terminal {
            true => write!(std::io::stderr(), "\r\x1b[K{line}"),
            false => writeln!(std::io::stderr(), "{line}"),
        };
    }

    fn end(&self) {
        if self.terminal && self.shown.is_some() {
            let _ = writeln!(std::io::stderr());
        }
    }
}

fn bar_line(progress: &Progress, elapsed: Duration) -> String {
    let filled = (progress.done * BAR).checked_div(progress.bundles).unwrap_or(0).min(BAR);
    let rate = progress.slots as f64 / elapsed.as_secs_f64().max(0.001);
    format!(
        "[{}{}] {} of {} bundles, {} slots, {rate:.0} a second",
        "#".repeat(filled),
        ".".repeat(BAR - filled),
        progress.done,
        progress.bundles,
        progress.slots
    )
}

fn as_json(report: &Report, seconds: f64) -> serde_json::Value {
    let slots = |slots: &std::collections::BTreeMap<Id, u64>| -> serde_json::Map<String, serde_json::Value> {
        slots.iter().map(|(process, slot)| (process.to_string(), json!(slot))).collect()
    };
    let refusal = |(id, cause): &(Id, String)| json!({ "id": id.to_string(), "cause": cause });
    json!({
        "processes": slots(&report.processes),
        "checkpoints": slots(&report.checkpoints),
        "slots": report.slots,
        "bundles": report.bundles,
        "bytes": report.bytes,
        "seconds": seconds,
        "refused": report.refused.iter().map(refusal).collect::<Vec<_>>(),
        "unfetched": report.unfetched.iter().map(|(id, cause)| refusal(&(*id, cause.clone()))).collect::<Vec<_>>(),
        "ahead": slots(&report.ahead),
    })
}

fn lines(report: &Report, seconds: f64) -> Vec<String> {
    let mut lines = vec![format!(
        "{} processes, {} new slots from {} bundles of {} bytes in {seconds:.1} s",
        report.processes.len(),
        report.slots,
        report.bundles,
        report.bytes
    )];
    for (process, slot) in report.processes.iter().take(LISTED) {
        let state =
            report.checkpoints.get(process).map_or(String::new(), |slot| format!(", with its state after {slot}"));
        lines.push(format!("  {process} up to slot {slot}{state}"));
    }
    if report.processes.len() > LISTED {
        lines.push(format!("  and {} more", report.processes.len() - LISTED));
    }
    for (id, cause) in &report.refused {
        lines.push(format!("refused: {id}: {cause}"));
    }
    for (id, cause) in &report.unfetched {
        lines.push(format!("not fetched: {id}: {cause}"));
    }
    for (process, slot) in &report.ahead {
        lines.push(format!("missing: slots of {process} before slot {slot}, which is there"));
    }
    if report.processes.is_empty() {
        lines.push("nothing was found: is it the right gateway, and was the log mirrored?".into());
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_fills_and_never_overflows() {
        let line = |done, bundles| bar_line(&Progress { done, bundles, slots: 50 }, Duration::from_secs(5));
        assert!(line(0, 0).starts_with(&format!("[{}]", ".".repeat(BAR))));
        assert!(line(1, 2).starts_with(&format!("[{}{}]", "#".repeat(BAR / 2), ".".repeat(BAR / 2))));
        assert!(line(3, 2).contains(&"#".repeat(BAR)) && line(3, 2).contains("50 slots, 10 a second"));
    }

    #[test]
    fn what_is_missing_is_said() {
        let id = Id::from([7; 32]);
        let report = Report {
            refused: vec![(id, "it is forged".into())],
            unfetched: [(id, "it is away".into())].into(),
            ahead: [(id, 9)].into(),
            ..Report::default()
        };
        let text = lines(&report, 1.0).join("\n");
        for expected in ["it is forged", "not fetched", "before slot 9", "nothing was found"] {
            assert!(text.contains(expected), "{text}");
        }
    }
}
