//! An HTTP client of the network: what an app would do, signing with a wallet of its own.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use ao_protocol::item::{ItemBuilder, VerifiedItem};
use ao_protocol::wallet::Wallet;
use rand::Rng;
use serde_json::Value;

/// Longest wait for one answer; nodes wait for results less long.
const ANSWER_LIMIT: Duration = Duration::from_secs(60);

/// A node's HTTP API.
pub(crate) struct Client {
    base: String,
    http: reqwest::Client,
}

impl Client {
    /// A client of one node.
    pub(crate) fn new(url: &str) -> Result<Client> {
        let http = reqwest::Client::builder().no_proxy().timeout(ANSWER_LIMIT).build()?;
        Ok(Client { base: url.to_string(), http })
    }

    async fn get(&self, path: &str) -> Result<Value> {
        let response = self.http.get(format!("{}{path}", self.base)).send().await?;
        read(response).await
    }

    /// `/ao/peers`.
    pub(crate) async fn peers(&self) -> Result<Value> {
        self.get("/ao/peers").await
    }

    /// What is known of a slot.
    pub(crate) async fn slot(&self, process: &str, slot: u64) -> Result<Value> {
        self.get(&format!("/ao/slots/{process}/{slot}")).await
    }

    /// The entry of a message.
    pub(crate) async fn entry(&self, process: &str, message: &str) -> Result<Value> {
        match process == message {
            true => self
                .get(&format!("/su/{process}?from-nonce=-1&limit=1"))
                .await
                .map(|page| page["edges"][0]["node"].clone()),
            false => self.get(&format!("/su/{message}?process-id={process}")).await,
        }
    }

    /// How many slots a process has.
    pub(crate) async fn slots(&self, process: &str) -> Result<u64> {
        let mut slots = 0u64;
        loop {
            let after = i64::try_from(slots)? - 1;
            let page = self.get(&format!("/su/{process}?from-nonce={after}&limit=1000")).await?;
            slots += page["edges"].as_array().map_or(0, Vec::len) as u64;
            if page["page_info"]["has_next_page"] != true {
                return Ok(slots);
            }
        }
    }

    /// Hands an item to the messenger.
    pub(crate) async fn submit(&self, item: &VerifiedItem) -> Result<()> {
        let response = self.http.post(format!("{}/mu", self.base)).body(item.bytes().to_vec()).send().await?;
        read(response).await.map(drop)
    }

    /// The result of a message, waited for until so many compute units agree.
    pub(crate) async fn result(&self, process: &str, message: &str, quorum: usize) -> Result<Value> {
        self.get(&format!("/cu/result/{message}?process-id={process}&quorum={quorum}")).await
    }

    /// How far its log is on Arweave.
    pub(crate) async fn mirror(&self) -> Result<Value> {
        self.get("/ao/mirror").await
    }

    /// Who resolves a process, and who lied.
    pub(crate) async fn race(&self, process: &str) -> Result<Value> {
        self.get(&format!("/race/{process}")).await
    }
}

async fn read(response: reqwest::Response) -> Result<Value> {
    let status = response.status();
    let value: Value = response.json().await.context("the answer is no JSON")?;
    match status.is_success() {
        true => Ok(value),
        false => bail!("{status}: {}", value["error"].as_str().unwrap_or_default()),
    }
}

/// Signs an item of ao that differs from every other.
pub(crate) fn sign(wallet: &Wallet, item: ItemBuilder) -> Result<VerifiedItem> {
    let item = item.anchor(rand::rng().random()).tag("Data-Protocol", "ao").tag("Variant", "ao.TN.1");
    Ok(item.sign(wallet)?)
}
