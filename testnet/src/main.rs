//! The program behind `testnet/up` and `testnet/down`: a local ao network of real node processes.

mod checks;
mod client;
mod cluster;
mod node;
mod permanence;
mod testnet_file;
mod tour;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, anyhow, bail};
use clap::{Args, Parser, Subcommand};
use cluster::{Cluster, Plan};

/// A local ao network of real node processes
#[derive(Debug, Parser)]
#[command(disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start a network: one gateway, messengers, schedulers and compute units, each a process of its own
    Up(Up),
    /// Stop a network that runs in the background
    Down(Down),
}

#[derive(Debug, Args)]
struct Up {
    /// How many messenger units
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=20))]
    mu: u16,
    /// How many scheduler units
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=20))]
    su: u16,
    /// How many compute units
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=20))]
    cu: u16,
    /// How many further compute units that lie, each in another way; the tour then asks for so many to agree that they
    /// can't win, and shows them being found
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u16).range(0..=20))]
    byzantine_cu: u16,
    /// HTTP ports: the gateway at this one, the first MU, SU and CU at 2, 3 and 4 above; 0 takes free ones
    #[arg(long, default_value_t = 4000)]
    base_port: u16,
    /// Folder for data, logs and testnet.json; a network that was there before goes on
    #[arg(long, default_value = ".testnet")]
    data: PathBuf,
    /// Run the guided tour, stop the network, and exit with the tour's status
    #[arg(long, conflicts_with = "detach")]
    demo: bool,
    /// Leave the network running in the background
    #[arg(long)]
    detach: bool,
}

#[derive(Debug, Args)]
struct Down {
    /// Folder of the network
    #[arg(long, default_value = ".testnet")]
    data: PathBuf,
}

#[tokio::main]
async fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Up(up) => run(up).await,
        Command::Down(down) => cluster::down(&down.data).await,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(cause) => {
            eprintln!("error: {cause:#}");
            ExitCode::from(1)
        }
    }
}

async fn run(up: Up) -> Result<()> {
    let plan = Plan { mu: up.mu, su: up.su, cu: up.cu, liars: up.byzantine_cu, base_port: up.base_port, data: up.data };
    // From here on a signal ends what is going on, and the nodes with it.
    let mut told = std::pin::pin!(told_to_stop()?);
    let mut cluster = tokio::select! {
        cluster = Cluster::start(&plan) => cluster?,
        () = &mut told => bail!("stopped before all nodes were up"),
    };
    cluster.print_table();
    if up.demo {
        let toured = tokio::select! {
            toured = tour::run(&mut cluster) => toured,
            () = &mut told => Err(anyhow!("the tour was stopped")),
        };
        cluster.stop().await;
        return toured;
    }
    cluster.print_hints();
    if up.detach {
        println!("Running in the background; stop it with: testnet/down --data {}", plan.data.display());
        cluster.leave();
        return Ok(());
    }
    println!("Ctrl-C stops the network.");
    let ended = tokio::select! {
        ended = cluster.watch() => ended,
        () = &mut told => Ok(()),
    };
    cluster.stop().await;
    ended
}

/// Done when this program is told to stop: Ctrl-C or SIGTERM. They are listened for at once.
fn told_to_stop() -> Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}
