//! The HTTP client behind the commands: finds a node, signs items, sends them, waits for results.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use ao_protocol::id::{Address, Id};
use ao_protocol::item::{ItemBuilder, VerifiedItem};
use ao_protocol::wallet::Wallet;
use rand::Rng;
use serde_json::Value;

use super::{Remote, Signing};
use crate::http::DISPUTED_FROM;
use crate::key_file;

/// Where a node listens that was started without options.
const DEFAULT_NODE: &str = "http://127.0.0.1:4000";

/// Longest wait for an answer; nodes wait for results less long.
const ANSWER_LIMIT: Duration = Duration::from_secs(90);

/// A node to talk to. Cloning is cheap.
#[derive(Clone)]
pub(crate) struct Client {
    base: String,
    http: reqwest::Client,
    /// Whether the user was told that what was asked for is disputed.
    told_of_dispute: Arc<AtomicBool>,
}

impl Client {
    /// The node that the user named, else a running testnet's, else the default.
    pub(crate) fn new(remote: &Remote) -> Result<Client> {
        let base = match &remote.node {
            Some(url) => url.trim_end_matches('/').to_string(),
            None => testnet_url().unwrap_or_else(|| DEFAULT_NODE.to_string()),
        };
        // Nodes are on this machine or named by the user: no proxy in between.
        let http = reqwest::Client::builder()
            .no_proxy()
            .timeout(ANSWER_LIMIT)
            .build()
            .context("no HTTP client can be made")?;
        Ok(Client { base, http, told_of_dispute: Arc::default() })
    }

    /// GET of a path; the answer's JSON.
    pub(crate) async fn get(&self, path: &str) -> Result<Value> {
        let url = format!("{}{path}", self.base);
        let response = self.http.get(&url).send().await.map_err(|cause| self.unreachable(&cause))?;
        self.read(response).await
    }

    /// POST of JSON; the answer's JSON.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> Result<Value> {
        let url = format!("{}{path}", self.base);
        let response = self.http.post(&url).json(body).send().await.map_err(|cause| self.unreachable(&cause))?;
        self.read(response).await
    }

    /// POST of a signed item; the answer's JSON.
    pub(crate) async fn post_item(&self, path: &str, item: &VerifiedItem) -> Result<Value> {
        let url = format!("{}{path}", self.base);
        let request = self.http.post(&url).header("content-type", "application/octet-stream");
        let response = request.body(item.bytes().to_vec()).send().await.map_err(|cause| self.unreachable(&cause))?;
        self.read(response).await
    }

    /// The node's URL.
    pub(crate) fn base(&self) -> &str {
        &self.base
    }

    /// Hands a signed item to the messenger; gives its id.
    pub(crate) async fn submit(&self, item: &VerifiedItem) -> Result<Id> {
        self.post_item("/mu", item).await?;
        Ok(item.id())
    }

    /// The result of a message, waited for.
    pub(crate) async fn result(&self, process: &str, message: &str) -> Result<Value> {
        self.get(&format!("/cu/result/{message}?process-id={process}")).await
    }

    /// The same, waited for until so many compute units agree.
    pub(crate) async fn agreed_result(&self, process: &str, message: &str, quorum: u32) -> Result<Value> {
        self.get(&format!("/cu/result/{message}?process-id={process}&quorum={quorum}")).await
    }

    fn unreachable(&self, cause: &reqwest::Error) -> anyhow::Error {
        let reason = std::error::Error::source(cause).map_or_else(|| cause.to_string(), |source| source.to_string());
        anyhow!(
            "no node answers at {} ({reason}); start one with `ao-node start`, or name one with --node or AO_NODE",
            self.base
        )
    }

    async fn read(&self, response: reqwest::Response) -> Result<Value> {
        let status = response.status();
        if let Some(slot) = response.headers().get(DISPUTED_FROM).and_then(|slot| slot.to_str().ok()) {
            let told = self.told_of_dispute.swap(true, Ordering::Relaxed);
            if !told {
                eprintln!("warning: the process is disputed from slot {slot} on; see: ao-node resume PROCESS");
            }
        }
        let text = response.text().await.context("the node's answer broke off")?;
        let value: Option<Value> = serde_json::from_str(&text).ok();
        if status.is_success() {
            return value.ok_or_else(|| anyhow!("{} gave no JSON: is it an ao-node?", self.base));
        }
        let error = value.as_ref().and_then(|value| value.get("error")).and_then(Value::as_str);
        bail!("{}", error.unwrap_or(&format!("the node answered {status}: {text}")))
    }
}

/// The gateway of a testnet that was started from this folder.
fn testnet_url() -> Option<String> {
    let text = std::fs::read_to_string(Path::new(".testnet").join("testnet.json")).ok()?;
    let testnet: Value = serde_json::from_str(&text).ok()?;
    testnet.get("gateway_url")?.as_str().map(str::to_string)
}

/// An item that differs from every other: without an anchor the same line typed twice would be one item.
pub(crate) fn new_item() -> ItemBuilder {
    ItemBuilder::new().anchor(rand::rng().random())
}

impl Signing {
    /// The file of the wallet that signs.
    pub(crate) fn path(&self) -> Result<PathBuf> {
        if let Some(path) = &self.wallet {
            return Ok(path.clone());
        }
        let config = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from);
        let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".config"));
        let folder = config.or_else(home).context("neither HOME nor XDG_CONFIG_HOME is set; use --wallet FILE")?;
        Ok(folder.join("ao-node").join("wallet.json"))
    }

    /// The wallet itself; a missing default one is made.
    pub(crate) fn wallet(&self) -> Result<Wallet> {
        let path = self.path()?;
        if self.wallet.is_none() {
            let (wallet, new) = key_file::load_or_create(&path)?;
            if new {
                eprintln!("made a new wallet in {}", path.display());
            }
            return Ok(wallet);
        }
        key_file::load(&path)
    }
}

/// Reads `NAME=VALUE`.
pub(crate) fn tag(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_string(), value.to_string())),
        _ => Err(format!("{text:?} is not of the form NAME=VALUE")),
    }
}

/// Reads a process or message id.
pub(crate) fn id(text: &str) -> Result<Id, String> {
    text.trim().parse().map_err(|cause: ao_protocol::id::IdError| cause.to_string())
}

/// Reads the address of a unit.
pub(crate) fn address(text: &str) -> Result<Address, String> {
    text.trim().parse().map_err(|cause: ao_protocol::id::IdError| cause.to_string())
}
