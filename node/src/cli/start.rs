//! `ao-node start`: what the user says about a node.

use std::io::{IsTerminal, Write};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use ao_protocol::announcement::Role;
use clap::Args;

use super::mirroring::Mirroring;
use crate::drive::permaweb::DATA_BYTES;
use crate::drive::recover::AcceptedTip;
use crate::http::Clients;
use crate::net;
use crate::node::{self, Config, Workers};

const EXAMPLES: &str = "\
Examples:
  ao-node start                                       all roles, a network of its own
  ao-node start --role su --data su                   only a scheduler; prints the multiaddr to join
  ao-node start --role cu --data cu --http 127.0.0.1:0 --join /ip4/…/p2p/12D3Koo…

Logs go to standard error; AO_LOG=info (or debug, or a filter as tracing has them) says more.";

/// Run a node: messenger, scheduler, compute unit, or any of them
///
/// A node that joins nobody starts an open network of its own, for development. A node that joins one peer finds the
/// others and takes over their network file.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Start {
    /// Roles: mu, su, cu joined by commas, or none. Without it: all
    #[arg(long, value_name = "ROLES", value_parser = roles)]
    role: Option<Roles>,
    /// Where to listen for peers; may be repeated [default: /ip4/0.0.0.0/tcp/0 and /ip4/0.0.0.0/udp/0/quic-v1]
    #[arg(long, value_name = "MULTIADDR", value_parser = multiaddr)]
    listen: Vec<String>,
    /// A peer to join, with its peer id; one is enough
    #[arg(long, value_name = "MULTIADDR", value_parser = multiaddr)]
    join: Vec<String>,
    /// Where to listen for HTTP
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:4000")]
    http: SocketAddr,
    /// Requests a second that one address may make; 0: any number [default: 100, and any number for this machine]
    #[arg(long, value_name = "N")]
    http_rate: Option<u32>,
    /// A proxy whose X-Forwarded-For is believed; may be repeated
    #[arg(long, value_name = "ADDR")]
    trust_proxy: Vec<IpAddr>,
    /// Folder for the log and this node's keys
    #[arg(long, value_name = "DIR", default_value = "ao-data")]
    data: PathBuf,
    /// The unit wallet. Without it: an Ed25519 key in the data folder, made on first use
    #[arg(long, value_name = "FILE")]
    wallet: Option<PathBuf>,
    /// The network file: name, schedulers, messengers, compute_units, aliases
    #[arg(long, value_name = "FILE")]
    network: Option<PathBuf>,
    /// Follow only these shards of the network (0 to 15, joined by commas). Without it: all
    #[arg(long, value_name = "SHARDS", value_delimiter = ',', value_parser = clap::value_parser!(u8).range(0..16))]
    follow: Vec<u8>,
    /// Memory that the processes computed here may hold together, in MiB [default: half of this machine's]
    #[arg(long, value_name = "MIB", value_parser = clap::value_parser!(u64).range(16..1 << 30))]
    worker_memory: Option<u64>,
    /// Evaluate every slot of every process here, and begin none with a checkpoint that other compute units attested
    #[arg(long)]
    verify_from_zero: bool,
    /// Most bytes of data on Arweave that are kept here for processes to read
    #[arg(long, value_name = "BYTES", default_value_t = DATA_BYTES)]
    data_bytes: u64,
    /// Play Arweave for the network: blocks, transactions and their data, for development
    #[arg(long)]
    dev_chain: bool,
    /// Find peers on the local network by mDNS
    #[arg(long)]
    mdns: bool,
    /// A scheduler that lost its log goes on behind this slot, though followers that may have more can't be reached:
    /// SLOT, or PROCESS=SLOT where several processes wait; may be repeated
    #[arg(long, value_name = "SLOT", value_parser = accepted_tip)]
    accept_tip: Vec<AcceptedTip>,
    #[command(flatten)]
    mirroring: Mirroring,
}

impl Start {
    pub(super) async fn run(self) -> Result<ExitCode> {
        let filter = tracing_subscriber::EnvFilter::try_from_env("AO_LOG")
            .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn,libp2p_gossipsub=error"));
        tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_target(false)
            .with_ansi(std::io::stderr().is_terminal())
            .with_writer(std::io::stderr)
            .init();
        let listen = match self.listen.is_empty() {
            true => vec!["/ip4/0.0.0.0/tcp/0".to_string(), "/ip4/0.0.0.0/udp/0/quic-v1".to_string()],
            false => self.listen,
        };
        let network = match &self.network {
            None => None,
            Some(path) => {
                let text = std::fs::read_to_string(path)
                    .with_context(|| format!("network file {} can't be read", path.display()))?;
                Some(ao_protocol::network::Network::from_json(&text).with_context(|| format!("{}", path.display()))?)
            }
        };
        let follow_shards = match self.follow.is_empty() {
            true => u16::MAX,
            false => self.follow.iter().fold(0, |shards, shard| shards | 1 << shard),
        };
        let unit = || {
            std::fs::create_dir_all(&self.data)
                .with_context(|| format!("the data folder {} can't be made", self.data.display()))?;
            node::unit_wallet(self.wallet.as_deref(), &self.data)
        };
        let (gateway, mirror) = (self.mirroring.gateway(), self.mirroring.settings(unit)?);
        let config = Config {
            roles: self.role.map_or_else(|| Role::ALL.to_vec(), |roles| roles.0),
            listen,
            join: self.join,
            http: self.http,
            clients: Clients { rate: self.http_rate, proxies: self.trust_proxy },
            data: self.data,
            wallet: self.wallet,
            network,
            follow_shards,
            dev_chain: self.dev_chain,
            mdns: self.mdns,
            workers: Workers {
                memory: self.worker_memory.map(|mib| mib << 20),
                verify_from_zero: self.verify_from_zero,
                ..Workers::default()
            },
            gateway,
            data_bytes: self.data_bytes,
            mirror,
            accepted_tips: self.accept_tip,
        };
        let ended = node::run(config).await;
        if let Err(cause) = &ended {
            eprintln!("error: {cause:#}");
        }
        leave(i32::from(ended.is_err()))
    }
}

/// Ends the program at once, without what `exit` does first: that destroys RocksDB's global locks, which the threads of
/// the log may still be using. What was acknowledged is on disk, and a start after any other end finds no less.
fn leave(code: i32) -> ! {
    // Standard output holds back what is no whole line; standard error holds back nothing.
    let _ = std::io::stdout().flush();
    // SAFETY: ends the process; nothing runs after it.
    unsafe { libc::_exit(code) }
}

/// The roles that were asked for.
#[derive(Clone, Debug)]
struct Roles(Vec<Role>);

fn roles(text: &str) -> Result<Roles, String> {
    if text == "none" {
        return Ok(Roles(Vec::new()));
    }
    let mut roles: Vec<Role> = text.split(',').map(|role| role.trim().parse()).collect::<Result<_, _>>()?;
    roles.sort();
    roles.dedup();
    Ok(Roles(roles))
}

fn accepted_tip(text: &str) -> Result<AcceptedTip, String> {
    let (process, slot) = match text.rsplit_once('=') {
        Some((process, slot)) => (Some(process.trim().parse().map_err(|cause| format!("{cause}"))?), slot),
        None => (None, text),
    };
    let slot = slot.trim().parse().map_err(|_| format!("{slot:?} is no slot number"))?;
    Ok(AcceptedTip { process, slot })
}

fn multiaddr(text: &str) -> Result<String, String> {
    net::check_multiaddr(text).map_err(|cause| cause.to_string())?;
    Ok(text.to_string())
}
