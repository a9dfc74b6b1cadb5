//! Real nodes for tests: the `ao-node` program as separate processes on free ports, killed and started again at will.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use ao_protocol::item::{ItemBuilder, VerifiedItem};
use ao_protocol::wallet::Wallet;
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

/// A node that can be killed and started again on the same data folder and ports.
pub struct TestNode {
    folder: TempDir,
    role: String,
    join: Option<String>,
    more: Vec<String>,
    child: Option<Child>,
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
        let mut node = TestNode {
            folder: tempfile::tempdir().unwrap_or_else(|cause| panic!("no folder: {cause}")),
            role: role.to_string(),
            join: join.map(str::to_string),
            more: more.iter().map(|argument| argument.to_string()).collect(),
            child: None,
            url: "http://127.0.0.1:0".into(),
            multiaddr: "/ip4/127.0.0.1/tcp/0".into(),
            address: String::new(),
        };
        node.run().unwrap_or_else(|cause| panic!("a {role} node does not start: {cause:#}"));
        node
    }

    fn run(&mut self) -> Result<()> {
        let http = self.url.trim_start_matches("http://");
        let listen = self.multiaddr.split("/p2p/").next().unwrap_or_default();
        let mut command = Command::new(program());
        command.args(["start", "--role", &self.role, "--http", http, "--listen", listen, "--data"]);
        command.arg(self.folder.path().join("data"));
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
        self.folder.path().join("data")
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

    /// Starts it again on the same data.
    pub fn restart(&mut self) {
        self.kill();
        self.run().unwrap_or_else(|cause| panic!("a {} node does not start again: {cause:#}", self.role));
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
