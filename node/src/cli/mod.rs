//! What the user typed. Each command is a file with its arguments, what it does and what it prints.

pub(crate) mod client;
mod dead_letters;
mod eval;
mod log;
mod mirror;
mod mirroring;
pub(crate) mod output;
mod peers;
mod race;
mod restore;
mod result;
mod resume;
mod send;
pub(crate) mod spawn;
mod start;
pub(crate) mod trace;
mod wallet;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use crate::console::Console;
use ao_protocol::id::Id;
use ao_protocol::origin::DeliveryId;
use clap::{Args, Parser, Subcommand};

/// A peer-to-peer node for ao, the actor computer on Arweave.
///
/// Start a network on this machine:      ao-node start
/// In another terminal, live in it:      ao-node console neo
/// In scripts:                           ao-node spawn, eval, send, result, log
/// Where is my message?                  ao-node trace MESSAGE
/// What could not be delivered?          ao-node dead-letters
/// Who resolves my process?              ao-node race PROCESS
/// How far is my log on Arweave?         ao-node mirror
/// Rebuild it from there:                ao-node restore --arweave URL --process ID
/// My process is disputed, or its scheduler is gone:   ao-node resume PROCESS
#[derive(Debug, Parser)]
#[command(version, verbatim_doc_comment, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Start(start::Start),
    Console(Console),
    Wallet(wallet::Wallet),
    Spawn(spawn::Spawn),
    Eval(eval::Eval),
    Send(send::Send),
    Result(result::Result),
    Log(log::Log),
    Trace(trace::Trace),
    DeadLetters(dead_letters::DeadLetters),
    Race(race::Race),
    Mirror(mirror::Mirror),
    Restore(restore::Restore),
    Resume(resume::Resume),
    Peers(peers::Peers),
}

/// Where to find a node and what to print; shared by all commands that talk to one.
#[derive(Clone, Debug, Args)]
pub(crate) struct Remote {
    /// URL of a node. Without it: that of a running testnet, else http://127.0.0.1:4000
    #[arg(long, env = "AO_NODE", value_name = "URL")]
    node: Option<String>,
    /// Print JSON instead of text for people
    #[arg(long)]
    pub(crate) json: bool,
}

/// Which wallet signs.
#[derive(Clone, Debug, Args)]
pub(crate) struct Signing {
    /// Wallet file (JWK: RSA-4096 or Ed25519). Without it: one in your config folder, made on first use
    #[arg(long, env = "AO_WALLET", value_name = "FILE")]
    wallet: Option<PathBuf>,
}

/// Runs the command line. Exit codes: 0 done, 1 failed, 2 wrong usage.
pub fn run() -> ExitCode {
    let cli = Cli::parse_from(std::env::args_os().map(shielded));
    match cli.command {
        Command::Start(_) => {
            abort_on_panic();
            bound_arenas();
        }
        // As other commands do: the reader of a pipe that has seen enough ends the writer.
        // SAFETY: no other thread runs yet, and the default action needs no handler.
        _ => unsafe {
            libc::signal(libc::SIGPIPE, libc::SIG_DFL);
        },
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(cause) => {
            eprintln!("error: no runtime can be started: {cause}");
            return ExitCode::from(1);
        }
    };
    let done = runtime.block_on(async {
        match cli.command {
            Command::Start(start) => start.run().await,
            Command::Console(console) => console.run().await,
            Command::Wallet(wallet) => wallet.run(),
            Command::Spawn(spawn) => spawn.run().await,
            Command::Eval(eval) => eval.run().await,
            Command::Send(send) => send.run().await,
            Command::Result(result) => result.run().await,
            Command::Log(log) => log.run().await,
            Command::Trace(trace) => trace.run().await,
            Command::DeadLetters(dead_letters) => dead_letters.run().await,
            Command::Race(race) => race.run().await,
            Command::Mirror(mirror) => mirror.run().await,
            Command::Restore(restore) => restore.run().await,
            Command::Resume(resume) => resume.run().await,
            Command::Peers(peers) => peers.run().await,
        }
    });
    match done {
        Ok(code) => code,
        Err(cause) => {
            eprintln!("error: {cause:#}");
            ExitCode::from(1)
        }
    }
}

/// An argument as clap takes it: one id in 64 begins with a dash and would be read as flags, and so would a dead letter
/// that begins with one, or `PROCESS=SLOT`. A blank before it makes it a value; ids are parsed without blanks around
/// them.
fn shielded(argument: OsString) -> OsString {
    let begins_with_id = |text: &str| text.split('=').next().is_some_and(|id| id.parse::<Id>().is_ok());
    let is_id = |text: &str| begins_with_id(text) || text.parse::<DeliveryId>().is_ok();
    match argument.to_str() {
        Some(text) if text.starts_with('-') && is_id(text) => format!(" {text}").into(),
        _ => argument,
    }
}

/// Most arenas of the C library's allocator.
const MAX_ARENAS: i32 = 4;

/// Keeps the C library from making an arena for nearly every thread: what RocksDB's threads free in one is of no use to
/// the others, and a node's memory would grow for long though it holds no more.
fn bound_arenas() {
    #[cfg(target_env = "gnu")]
    // SAFETY: no other thread runs yet, and the parameter is one that glibc documents.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, MAX_ARENAS);
    }
}

/// A part of a node that panicked must not leave the others behind as if all were well: whoever watches the process
/// sees it end, and a start resumes from the log. Only answering a request is a part that can fail alone.
fn abort_on_panic() {
    let tell = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        tell(panic);
        if !crate::http::are_caught() {
            std::process::abort();
        }
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_that_begins_with_a_dash_is_no_flag() {
        let id = "-hj5EGb0ZQxRaz-CaP5BPLQ7ihWDMYzotM97S0xgYbQ";
        let read = |arguments: &[&str]| Cli::try_parse_from(arguments.iter().map(OsString::from).map(shielded));
        for arguments in [
            ["ao-node", "log", id, "--from", "3", "--json"].as_slice(),
            &["ao-node", "log", "--from=3", id],
            &["ao-node", "result", id, id],
            &["ao-node", "eval", id, "-- a comment"],
            &["ao-node", "send", id, "data", "--action", "x"],
            &["ao-node", "spawn", "--scheduler", id, "--module", id],
            &["ao-node", "console", id, "--scheduler", id],
            &["ao-node", "resume", id, "--branch", id, "--scheduler", id],
            &["ao-node", "restore", "--arweave", "http://localhost", "--scheduler", id],
            &["ao-node", "restore", "--arweave", "http://localhost", "--process", id],
            &["ao-node", "trace", id, "--process", id],
            &["ao-node", "start", "--accept-tip", &format!("{id}=5")],
            &["ao-node", "dead-letters", "--redrive", &format!("{id}/3/m0/{id}")],
        ] {
            let read = read(arguments);
            assert!(read.is_ok(), "{arguments:?}: {}", read.err().map_or_else(String::new, |cause| cause.to_string()));
        }
        assert!(read(&["ao-node", "log", "-hj5"]).is_err());
    }
}
