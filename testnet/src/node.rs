//! One node process: started, read from, killed, started again.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use ao_testnet::reserved_port::ReservedPort;

/// Longest wait for a node to say where it listens.
const START_LIMIT: Duration = Duration::from_secs(30);
/// Longest wait for a node to end by itself when it is told to.
const STOP_LIMIT: Duration = Duration::from_secs(5);
/// Pause between two looks at something that is waited for.
pub(crate) const BETWEEN_LOOKS: Duration = Duration::from_millis(50);

/// A node and how it was started.
pub(crate) struct Node {
    /// Such as `cu-2`.
    pub(crate) name: String,
    /// As on the command line of `ao-node`.
    pub(crate) role: String,
    /// Its unit's address.
    pub(crate) address: String,
    /// Where it serves HTTP.
    pub(crate) http_url: String,
    /// Where peers reach it.
    pub(crate) multiaddr: String,
    /// Where its data is.
    pub(crate) folder: PathBuf,
    program: PathBuf,
    arguments: Vec<String>,
    child: Option<Child>,
    /// Where it serves HTTP, unless that was given: there it is to be found again after a restart.
    _port: Option<ReservedPort>,
}

/// What a node is started with.
pub(crate) struct Start<'a> {
    pub(crate) name: &'a str,
    pub(crate) role: &'a str,
    pub(crate) folder: PathBuf,
    pub(crate) network: &'a Path,
    /// Where it is to serve HTTP; 0 takes a free port.
    pub(crate) port: u16,
    /// Multiaddr and URL of the gateway, if this is not it.
    pub(crate) gateway: Option<(&'a str, &'a str)>,
    /// Who pays for what is mirrored to it.
    pub(crate) wallet: &'a Path,
}

/// The node program, which is built beside this one.
pub(crate) fn program() -> Result<PathBuf> {
    beside("ao-node")
}

fn beside(name: &str) -> Result<PathBuf> {
    let here = std::env::current_exe().context("where this program is can't be told")?;
    let program = here.with_file_name(name);
    if !program.exists() {
        bail!("{} is missing; testnet/up builds it", program.display());
    }
    Ok(program)
}

impl Node {
    /// Starts a node and waits until it says where it listens.
    pub(crate) async fn start(start: Start<'_>) -> Result<Node> {
        let reserved = (start.port == 0).then(ReservedPort::new).transpose().context("no port is free")?;
        let port = reserved.as_ref().map_or(Ok(start.port), ReservedPort::number)?;
        let mut arguments: Vec<String> = [
            "start",
            "--role",
            start.role,
            "--http",
            &format!("127.0.0.1:{port}"),
            "--listen",
            "/ip4/127.0.0.1/tcp/0",
            "--listen",
            "/ip4/127.0.0.1/udp/0/quic-v1",
            "--data",
            &start.folder.display().to_string(),
            "--network",
            &start.network.display().to_string(),
        ]
        .map(str::to_string)
        .to_vec();
        if start.role == "none" {
            arguments.push("--dev-chain".to_string());
        }
        if let Some((multiaddr, url)) = start.gateway {
            arguments.extend(["--join".to_string(), multiaddr.to_string()]);
            if start.role == "su" {
                let wallet = start.wallet.display().to_string();
                // The chain of a local network has no forks, and its users don't want to wait.
                let mirror = ["--mirror-seconds", "2", "--mirror-confirmations", "1"];
                let mirror = [&["--arweave", url, "--arweave-wallet", &wallet], &mirror[..]].concat();
                arguments.extend(mirror.into_iter().map(str::to_string));
            }
        }
        let mut node = Node {
            name: start.name.to_string(),
            role: start.role.to_string(),
            address: String::new(),
            http_url: String::new(),
            multiaddr: String::new(),
            folder: start.folder,
            program: program()?,
            arguments,
            child: None,
            _port: reserved,
        };
        node.run().await?;
        Ok(node)
    }

    /// Starts a compute unit that lies.
    pub(crate) async fn start_liar(name: &str, lie: &str, folder: PathBuf, network: &Path, join: &str) -> Result<Node> {
        let (data, network) = (folder.display().to_string(), network.display().to_string());
        let arguments = ["--lie", lie, "--data", &data, "--network", &network, "--join", join].map(str::to_string);
        let mut node = Node {
            name: name.to_string(),
            role: "liar".to_string(),
            address: String::new(),
            http_url: String::new(),
            multiaddr: String::new(),
            folder,
            program: beside("ao-byzantine-cu")?,
            arguments: arguments.to_vec(),
            child: None,
            _port: None,
        };
        node.run().await?;
        Ok(node)
    }

    /// Where its output goes.
    pub(crate) fn log(&self) -> PathBuf {
        self.folder.join("node.log")
    }

    async fn run(&mut self) -> Result<()> {
        let log = File::create(self.log()).with_context(|| format!("{} can't be written", self.log().display()))?;
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        // Ctrl-C in the terminal is for the testnet, which then stops its nodes in order.
        command.process_group(0);
        let mut child = command.spawn().with_context(|| format!("{} can't be started", self.program.display()))?;
        let deadline = Instant::now() + START_LIMIT;
        loop {
            if self.read_start()? {
                self.child = Some(child);
                return Ok(());
            }
            if let Some(status) = child.try_wait()? {
                bail!("{} ended at once ({status}): {}", self.name, self.last_words());
            }
            if Instant::now() > deadline {
                let _ = child.kill();
                bail!("{} did not start within {START_LIMIT:?}: {}", self.name, self.last_words());
            }
            tokio::time::sleep(BETWEEN_LOOKS).await;
        }
    }

    /// Reads what the node said at its start; true when all of it is there.
    fn read_start(&mut self) -> Result<bool> {
        for line in BufReader::new(File::open(self.log())?).lines() {
            let line = line?;
            match line.split_once(' ').map(|(name, value)| (name, value.trim())) {
                Some(("address", address)) => self.address = address.to_string(),
                Some(("http", url)) => self.http_url = url.to_string(),
                Some(("peer", multiaddr)) => {
                    self.multiaddr = multiaddr.to_string();
                    return Ok(true);
                }
                _ => {}
            }
        }
        Ok(false)
    }

    /// The end of its output.
    pub(crate) fn last_words(&self) -> String {
        let text = std::fs::read_to_string(self.log()).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(10)..].join("\n")
    }

    /// Its process id while it runs.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Its peer id, the last part of its multiaddr.
    pub(crate) fn peer_id(&self) -> &str {
        self.multiaddr.rsplit('/').next().unwrap_or_default()
    }

    /// Whether it runs no more.
    pub(crate) fn ended(&mut self) -> bool {
        self.child.as_mut().is_none_or(|child| matches!(child.try_wait(), Ok(Some(_))))
    }

    /// Ends it at once: `kill -9`.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Starts it again on the same data, at the same HTTP address.
    pub(crate) async fn restart(&mut self) -> Result<()> {
        self.kill();
        self.run().await
    }

    /// Lets it run on after this program.
    pub(crate) fn leave(&mut self) {
        self.child = None;
    }

    /// Tells it to stop, and kills it if it does not.
    pub(crate) async fn stop(&mut self) {
        if let Some(pid) = self.pid() {
            terminate(pid);
        }
        let deadline = Instant::now() + STOP_LIMIT;
        while let Some(child) = &mut self.child {
            if matches!(child.try_wait(), Ok(Some(_))) || Instant::now() > deadline {
                return self.kill();
            }
            tokio::time::sleep(BETWEEN_LOOKS).await;
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Sends SIGTERM.
pub(crate) fn terminate(pid: u32) {
    if let Ok(pid) = libc::pid_t::try_from(pid) {
        // SAFETY: kill has no memory effects; a pid that is gone gives an error that changes nothing.
        unsafe { libc::kill(pid, libc::SIGTERM) };
    }
}
