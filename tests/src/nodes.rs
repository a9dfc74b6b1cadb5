//! Real nodes for tests: the `ao-node` program as separate processes on free ports, killed and started again at will.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use ao_protocol::item::{ItemBuilder, VerifiedItem};
use ao_protocol::wallet::Wallet;
use ao_testnet::reserved_port::ReservedPort;
use rand::Rng;
use serde_json::Value;
use tempfile::TempDir;

/// Longest wait for anything that is expected to happen.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// Pause between two looks at a condition: the condition, not this pause, decides.
const BETWEEN_LOOKS: Duration = Duration::from_millis(25);

/// What test nodes log.
const LOG: &str = "warn,libp2p_gossipsub=error,ao_node::drive::compute=info";

/// The program under test, built beside this test.
pub fn program() -> PathBuf {
    let test = std::env::current_exe().unwrap_or_default();
    let folder = test.parent().and_then(Path::parent).map(Path::to_path_buf).unwrap_or_default();
    let program = folder.join("ao-node");
    assert!(program.exists(), "{} is missing: build it with `cargo build --release -p ao-node`", program.display());
    program
}

/// What a process of the operating system holds in memory, in KiB; 0 when there is none.
pub fn memory(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}

/// Waits for a condition that takes asking, with a deadline.
///
/// # Panics
/// When it does not come true in time.
pub async fn wait_for_async<T>(what: &str, mut ready: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = ready().await {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        tokio::time::sleep(BETWEEN_LOOKS).await;
    }
}

/// Waits for a condition, with a deadline.
///
/// # Panics
/// When it does not come true in time.
pub fn wait_for<T>(what: &str, mut ready: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = ready() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        std::thread::sleep(BETWEEN_LOOKS);
    }
}

/// A slot of a process, as the scheduler's API tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slot {
    /// The item in it.
    pub item: String,
    /// Its assignment.
    pub assignment: String,
    /// Its link of the hash chain.
    pub link: String,
}

/// The value of a tag in JSON, empty if there is none.
pub fn tag<'a>(item: &'a Value, name: &str) -> &'a str {
    let tags = item["tags"].as_array().map(Vec::as_slice).unwrap_or_default();
    tags.iter().find(|tag| tag["name"] == name).and_then(|tag| tag["value"].as_str()).unwrap_or_default()
}

/// Where and how a node runs that does not simply run here.
#[derive(Clone, Debug, Default)]
pub struct Setup {
    /// Its folder; none: one of its own.
    pub data: Option<PathBuf>,
    /// What is put before its command.
    pub within: Vec<String>,
    /// The IP address at which it listens; none: this machine's loopback.
    pub host: Option<String>,
    /// Variables of its environment.
    pub environment: Vec<(String, String)>,
}

/// A node that can be killed and started again on the same data folder and ports.
pub struct TestNode {
    folder: TempDir,
    setup: Setup,
    role: String,
    join: Option<String>,
    more: Vec<String>,
    child: Option<Child>,
    /// Those of its addresses, where they are of this machine.
    _ports: Vec<ReservedPort>,
    /// Where it serves HTTP; the same after a restart.
    pub url: String,
    /// One of its multiaddrs; the same after a restart.
    pub multiaddr: String,
    /// Its unit's address.
    pub address: String,
}

impl TestNode {
    /// Starts a node with a role, joined to another by its multiaddr.
    pub fn start(role: &str, join: Option<&str>) -> TestNode {
        TestNode::start_with(role, join, &[])
    }

    /// The same with more arguments.
    pub fn start_with(role: &str, join: Option<&str>, more: &[&str]) -> TestNode {
        TestNode::start_in(role, join, more, Setup::default())
    }

    /// The same in a place of its own.
    pub fn start_in(role: &str, join: Option<&str>, more: &[&str], setup: Setup) -> TestNode {
        let host = setup.host.clone().unwrap_or_else(|| "127.0.0.1".to_string());
        // What runs elsewhere shares its ports with nobody.
        let reserve = || ReservedPort::new().unwrap_or_else(|cause| panic!("no port is free: {cause}"));
        let ports: Vec<ReservedPort> = (0..if setup.host.is_none() { 2 } else { 0 }).map(|_| reserve()).collect();
        let port = |place: usize| ports.get(place).and_then(|port| port.number().ok()).unwrap_or(0);
        let mut node = TestNode {
            folder: tempfile::tempdir().unwrap_or_else(|cause| panic!("no folder: {cause}")),
            role: role.to_string(),
            join: join.map(str::to_string),
            more: more.iter().map(|argument| argument.to_string()).collect(),
            child: None,
            url: format!("http://{host}:{}", port(0)),
            multiaddr: format!("/ip4/{host}/tcp/{}", port(1)),
            address: String::new(),
            _ports: ports,
            setup,
        };
        node.run().unwrap_or_else(|cause| panic!("a {role} node does not start: {cause:#}"));
        node
    }

    fn run(&mut self) -> Result<()> {
        let http = self.url.trim_start_matches("http://");
        let listen = self.multiaddr.split("/p2p/").next().unwrap_or_default();
        let mut command = match self.setup.within.split_first() {
            None => Command::new(program()),
            Some((first, rest)) => {
                let mut command = Command::new(first);
                command.args(rest).arg(program());
                command
            }
        };
        command.envs(self.setup.environment.clone());
        command.args(["start", "--role", &self.role, "--http", http, "--listen", listen, "--data"]);
        command.arg(self.data());
        if let Some(join) = &self.join {
            command.args(["--join", join]);
        }
        command.args(&self.more);
        let log = std::fs::File::options().create(true).append(true).open(self.folder.path().join("node.log"))?;
        command.env("AO_LOG", LOG);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log).spawn()?;
        let output = child.stdout.take().context("no output")?;
        self.child = Some(child);
        for line in BufReader::new(output).lines() {
            let line = line?;
            match line.split_once(' ').map(|(name, value)| (name, value.trim())) {
                Some(("http", url)) => self.url = url.to_string(),
                Some(("address", address)) => self.address = address.to_string(),
                Some(("peer", multiaddr)) => {
                    self.multiaddr = multiaddr.to_string();
                    return Ok(());
                }
                _ => {}
            }
        }
        bail!("it ended at once: {}", self.log())
    }

    /// What the node logged, warnings and how processes are brought up.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("node.log")).unwrap_or_default()
    }

    /// Its data folder.
    pub fn data(&self) -> PathBuf {
        self.setup.data.clone().unwrap_or_else(|| self.folder.path().join("data"))
    }

    /// Its process; 0 when it does not run.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().map_or(0, Child::id)
    }

    /// Ends it as a power failure of the process would: `kill -9`.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Sends it a signal, such as `STOP`, `CONT` or `TERM`.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([&format!("-{name}"), &self.pid().to_string()]).status();
        assert!(sent.is_ok_and(|status| status.success()), "SIG{name} can't be sent to the {} node", self.role);
    }

    /// Waits until it ended by itself; whether it said that all went well. None when it still runs at the deadline.
    pub fn ends_within(&mut self, limit: Duration) -> Option<bool> {
        let deadline = Instant::now() + limit;
        let child = self.child.as_mut()?;
        loop {
            match child.try_wait() {
                Ok(Some(status)) => {
                    self.child = None;
                    return Some(status.success());
                }
                _ if Instant::now() >= deadline => return None,
                _ => std::thread::sleep(BETWEEN_LOOKS),
            }
        }
    }

    /// Starts it again on the same data.
    pub fn restart(&mut self) {
        self.try_restart().unwrap_or_else(|cause| panic!("a {} node does not start again: {cause:#}", self.role));
    }

    /// The same, where it may say why it can't.
    pub fn try_restart(&mut self) -> Result<()> {
        self.kill();
        self.run()
    }

    /// The whole log of a process as this node's scheduler API tells it, page by page.
    pub async fn slots(&self, process: &str) -> Result<Vec<Slot>> {
        let mut slots: Vec<Slot> = Vec::new();
        loop {
            let from = slots.len() as i64 - 1;
            let (status, page) = self.get(&format!("/su/{process}?from-nonce={from}&limit=1000")).await?;
            let edges = page["edges"].as_array().with_context(|| format!("{status}: {page}"))?;
            for edge in edges {
                let (message, assignment) = (&edge["node"]["message"], &edge["node"]["assignment"]);
                if tag(assignment, "Nonce") != slots.len().to_string() {
                    bail!("slots are not dense: {} comes after {}", tag(assignment, "Nonce"), slots.len());
                }
                slots.push(Slot {
                    item: message["id"].as_str().unwrap_or_default().to_string(),
                    assignment: assignment["id"].as_str().unwrap_or_default().to_string(),
                    link: tag(assignment, "Hash-Chain").to_string(),
                });
            }
            if page["page_info"]["has_next_page"] == false {
                return Ok(slots);
            }
        }
    }

    /// GET of a path: status and JSON.
    pub async fn get(&self, path: &str) -> Result<(u16, Value)> {
        let response = client()?.get(format!("{}{path}", self.url)).send().await?;
        Ok((response.status().as_u16(), response.json().await.unwrap_or_default()))
    }

    /// POST of bytes: status and JSON.
    pub async fn post(&self, path: &str, bytes: Vec<u8>) -> Result<(u16, Value)> {
        let response = client()?.post(format!("{}{path}", self.url)).body(bytes).send().await?;
        Ok((response.status().as_u16(), response.json().await.unwrap_or_default()))
    }
}

impl Drop for TestNode {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("--- log of the {} node at {}\n{}", self.role, self.url, self.log());
        }
    }
}

fn client() -> Result<reqwest::Client> {
    Ok(reqwest::Client::builder().no_proxy().timeout(DEADLINE).build()?)
}

/// A user with a wallet of their own.
pub struct User {
    wallet: Wallet,
}

impl Default for User {
    fn default() -> User {
        User { wallet: Wallet::ed25519_from_seed(rand::rng().random()) }
    }
}

impl User {
    /// Signs an item that differs from every other.
    pub fn sign(&self, item: ItemBuilder) -> VerifiedItem {
        let item = item.anchor(rand::rng().random()).tag("Data-Protocol", "ao").tag("Variant", "ao.TN.1");
        item.sign(&self.wallet).unwrap_or_else(|cause| panic!("a user's item can be signed: {cause}"))
    }

    /// A message that evaluates Lua.
    pub fn eval(&self, process: &str, lua: &str) -> VerifiedItem {
        let target = process.parse().unwrap_or_else(|cause| panic!("{process}: {cause}"));
        self.sign(ItemBuilder::new().target(target).tag("Action", "Eval").tag("Type", "Message").data(lua))
    }

    /// A message with tags and data.
    pub fn message(&self, process: &str, tags: &[(&str, &str)], data: &[u8]) -> VerifiedItem {
        let target = process.parse().unwrap_or_else(|cause| panic!("{process}: {cause}"));
        let item = ItemBuilder::new().target(target).tag("Type", "Message").data(data);
        self.sign(tags.iter().fold(item, |item, (name, value)| item.tag(*name, *value)))
    }

    /// Spawns a process of the built-in runtime through a node; waits for its boot.
    pub async fn spawn(&self, node: &TestNode, scheduler: &str, authority: &str) -> Result<String> {
        let (_, peers) = node.get("/ao/peers").await?;
        let item = self.sign(
            ItemBuilder::new()
                .tag("Type", "Process")
                .tag("Module", peers["module"].as_str().unwrap_or_default())
                .tag("Scheduler", scheduler)
                .tag("Authority", authority)
                .data(" "),
        );
        let process = item.id().to_string();
        let (status, answer) = node.post("/mu", item.bytes().to_vec()).await?;
        if status != 202 {
            bail!("spawn: {status} {answer}");
        }
        self.result(node, &process, &process).await?;
        Ok(process)
    }

    /// Spawns a process of the built-in runtime straight at its scheduler, whether or not somebody computes it.
    pub async fn spawn_at(&self, scheduler: &TestNode) -> Result<String> {
        let (_, peers) = scheduler.get("/ao/peers").await?;
        let module = peers["module"].as_str().unwrap_or_default();
        let item = ItemBuilder::new().tag("Type", "Process").tag("Module", module);
        let item = self.sign(item.tag("Scheduler", scheduler.address.clone()));
        let (status, answer) = scheduler.post("/su", item.bytes().to_vec()).await?;
        match status {
            201 => Ok(item.id().to_string()),
            _ => bail!("spawn: {status} {answer}"),
        }
    }

    /// Sends Lua through one node and reads the result from another; the text of its output.
    pub async fn type_in(&self, send: &TestNode, read: &TestNode, process: &str, lua: &str) -> Result<String> {
        let item = self.eval(process, lua);
        let (status, answer) = send.post("/mu", item.bytes().to_vec()).await?;
        if status != 202 {
            bail!("eval: {status} {answer}");
        }
        let result = self.result(read, process, &item.id().to_string()).await?;
        Ok(result["Output"]["data"].as_str().unwrap_or_default().to_string())
    }

    /// The result of a message from a node.
    pub async fn result(&self, node: &TestNode, process: &str, message: &str) -> Result<Value> {
        let (status, result) = node.get(&format!("/cu/result/{message}?process-id={process}")).await?;
        if status != 200 || result.get("Error").is_some() {
            bail!("result: {status} {result}");
        }
        Ok(result)
    }
}
