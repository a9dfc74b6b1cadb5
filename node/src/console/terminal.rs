//! The line editor: a thread of its own, so that what arrives can be shown while a line is typed.

use std::path::PathBuf;
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context, Result};
use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;
use rustyline::{CompletionType, Config, Editor, ExternalPrinter};
use tokio::sync::mpsc as channel;

use super::commands::Next;
use super::complete::Completion;
use super::execute;
use super::live::Live;
use super::session::Session;
use crate::cli::output;

/// How long a line may take before the user is told that it is waited for.
const NOTICE: Duration = Duration::from_secs(3);
/// Lines that are remembered from session to session.
const MAX_HISTORY: usize = 1000;

/// Reads lines and shows what comes until the user leaves.
pub(super) async fn live_in(mut session: Session) -> Result<()> {
    let config = Config::builder()
        .completion_type(CompletionType::List)
        .max_history_size(MAX_HISTORY)
        .context("no history can be kept")?
        .build();
    let mut editor: Editor<Completion, FileHistory> =
        Editor::with_config(config).context("this terminal can't be used for typing")?;
    editor.set_helper(Some(Completion::new(session.asker(), tokio::runtime::Handle::current())));
    let mut printer = editor.create_external_printer().context("this terminal can't show what arrives")?;
    let (prompts, lines) = type_in(editor, history_file(session.name()));
    let mut lines = lines;
    let mut live = Live::new(session.client().clone(), session.process().to_string()).await?;
    let colours = output::colours(&std::io::stdout());
    loop {
        let prompt = session.prompt().await;
        if prompts.send(prompt).is_err() {
            return Ok(());
        }
        let line = loop {
            tokio::select! {
                line = lines.recv() => break line,
                arrived = live.next() => {
                    session.forget_prompt();
                    for text in arrived {
                        // It can fail only when the terminal is gone; then so is the next line.
                        let _ = printer.print(format!("{}\n", output::shown(&text, colours)));
                    }
                }
            }
        };
        let Some(line) = line else { return Ok(()) };
        match patiently(execute(&mut session, &line)).await {
            Some(Ok(Next::Leave)) => return Ok(()),
            Some(Ok(_)) => {}
            // The node may be back for the next line.
            Some(Err(cause)) => eprintln!("error: {cause:#}"),
            None => eprintln!("\nIt goes on without you: .trace tells what becomes of it."),
        }
    }
}

/// Waits for what a line comes to, and says so when it takes long; none when the user does not want to wait.
async fn patiently<T>(work: impl Future<Output = T>) -> Option<T> {
    let mut work = std::pin::pin!(work);
    let mut notice = std::pin::pin!(tokio::time::sleep(NOTICE));
    let mut is_silent = true;
    loop {
        tokio::select! {
            done = &mut work => return Some(done),
            // While a line is typed the editor takes this key; here it would end the console.
            _ = tokio::signal::ctrl_c() => return None,
            () = &mut notice, if is_silent => {
                is_silent = false;
                eprintln!("Still waiting for the result; Ctrl-C ends that.");
            }
        }
    }
}

/// A prompt without colours, and with them.
type Prompt = (String, String);

/// Starts the thread that reads a line for each prompt; the lines end when the user leaves.
fn type_in(
    mut editor: Editor<Completion, FileHistory>,
    history: Option<PathBuf>,
) -> (mpsc::SyncSender<Prompt>, channel::Receiver<String>) {
    let (prompts, wanted) = mpsc::sync_channel::<Prompt>(1);
    let (typed, lines) = channel::channel(1);
    std::thread::spawn(move || {
        if let Some(path) = &history {
            // None yet, the first time.
            let _ = editor.load_history(path);
        }
        while let Ok(prompt) = wanted.recv() {
            let line = loop {
                match editor.readline(&prompt) {
                    Ok(line) => break line,
                    // Ctrl-C gives up the line, not the console.
                    Err(ReadlineError::Interrupted) => {}
                    Err(_) => return,
                }
            };
            if !line.trim().is_empty() {
                let _ = editor.add_history_entry(&line);
                if let Some(path) = &history {
                    let _ = editor.save_history(path);
                }
            }
            if typed.blocking_send(line).is_err() {
                return;
            }
        }
    });
    (prompts, lines)
}

/// Where the lines for a process are remembered.
fn history_file(name: &str) -> Option<PathBuf> {
    let state = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from);
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local").join("state"));
    let folder = state.or_else(home)?.join("ao-node").join("history");
    std::fs::create_dir_all(&folder).ok()?;
    // A name may hold anything; a file's name may not.
    let file: String = name.chars().map(|letter| if letter.is_alphanumeric() { letter } else { '_' }).collect();
    Some(folder.join(file.chars().take(100).collect::<String>()))
}
