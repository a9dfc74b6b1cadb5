//! A gateway of Arweave as its client: posting transactions and their data, watching them, and reading back what was
//! posted. Nothing that it says is believed beyond what the caller can check, and no answer is read without end.

use std::time::Duration;

use ao_protocol::id::{Id, decode_base64url, encode_base64url};
use ao_protocol::transaction::chunks::{self, Chunk};
use ao_protocol::transaction::{Transaction, TransactionError};
use reqwest::{Response, StatusCode};
use serde::Deserialize;
use serde_json::json;
use thiserror::Error;

/// Longest wait for a connection, and for the next bytes of an answer.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
const READ_LIMIT: Duration = Duration::from_secs(30);
/// Longest wait for an answer that is not data.
pub(super) const ANSWER_LIMIT: Duration = Duration::from_secs(60);
/// Most bytes of an answer that is not data.
pub(super) const MAX_ANSWER_BYTES: usize = 4 * 1024 * 1024;
/// Most bytes of what a gateway says of an error that are shown.
pub(super) const MAX_SHOWN_BYTES: usize = 200;
/// What the names of local networks begin with: this node's dev chain's, and arlocal's.
const LOCAL_NETWORKS: [&str; 2] = ["ao-node.dev", "arlocal"];
/// Highest height that is believed: numbers that are computed from it would overflow.
const MAX_HEIGHT: u64 = 1 << 40;
/// Bytes of data that a gateway has to give in a second, beside the time of an answer.
pub(super) const LEAST_BYTES_A_SECOND: u64 = 128 * 1024;

/// Why a gateway did not do what it was asked for.
#[derive(Debug, Error)]
pub enum GatewayError {
    /// It does not answer, or not in time.
    #[error("{url} can't be reached: {cause}")]
    Unreachable {
        /// Who.
        url: String,
        /// Why, as far as it is known.
        cause: String,
    },
    /// It answers that it will not.
    #[error("{url} refused {what}: {status} {text}")]
    Refused {
        /// Who.
        url: String,
        /// What was asked for.
        what: &'static str,
        /// How it answered.
        status: u16,
        /// The beginning of what it said.
        text: String,
    },
    /// What it answers makes no sense.
    #[error("{url} gave no {what}: {cause}")]
    Garbage {
        /// Who.
        url: String,
        /// What was expected.
        what: &'static str,
        /// What is wrong with it.
        cause: String,
    },
}

impl GatewayError {
    /// Whether the same may succeed later: it was not reached, or is busy.
    pub fn passes(&self) -> bool {
        match self {
            GatewayError::Unreachable { .. } => true,
            GatewayError::Refused { status, .. } => matches!(status, 408 | 425 | 429 | 500..),
            GatewayError::Garbage { .. } => false,
        }
    }
}

/// Where a transaction is, as a gateway says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It knows of none.
    Unknown,
    /// It waits for its block.
    Pending,
    /// It is in a block.
    Mined {
        /// Of which height.
        height: u64,
        /// How many blocks there are, from that on.
        confirmations: u64,
    },
}

/// On what terms a transaction is taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// The height of the newest block.
    pub height: u64,
    /// What it is to name as what came before it.
    pub anchor: Vec<u8>,
    /// What it costs, in winston.
    pub price: u128,
}

/// A gateway. Cloning is cheap.
#[derive(Clone, Debug)]
pub struct Gateway {
    pub(super) url: String,
    pub(super) http: reqwest::Client,
}

impl Gateway {
    /// The gateway at a URL, such as `https://arweave.net` or `http://127.0.0.1:4000`.
    pub fn new(url: &str) -> Result<Gateway, GatewayError> {
        let url = url.trim_end_matches('/').to_string();
        let wrong = |cause: String| GatewayError::Unreachable { url: url.clone(), cause };
        if reqwest::Url::parse(&url).map_err(|cause| wrong(cause.to_string()))?.host().is_none() {
            return Err(wrong("the URL names no host".into()));
        }
        let http = reqwest::Client::builder().connect_timeout(CONNECT_LIMIT).read_timeout(READ_LIMIT).build();
        Ok(Gateway { http: http.map_err(|cause| wrong(cause.to_string()))?, url })
    }

    /// Where it is.
    pub fn url(&self) -> &str {
        &self.url
    }

    pub(super) fn garbage(&self, what: &'static str, cause: impl ToString) -> GatewayError {
        GatewayError::Garbage { url: self.url.clone(), what, cause: cause.to_string() }
    }

    pub(super) fn unreachable(&self, cause: &reqwest::Error) -> GatewayError {
        // The innermost cause says most.
        let mut inner: &dyn std::error::Error = cause;
        while let Some(source) = inner.source() {
            inner = source;
        }
        GatewayError::Unreachable { url: self.url.clone(), cause: inner.to_string() }
    }

    pub(super) async fn send(&self, request: reqwest::RequestBuilder) -> Result<Response, GatewayError> {
        request.send().await.map_err(|cause| self.unreachable(&cause))
    }

    /// The body of an answer, as long as it is no longer than it may be.
    pub(super) async fn body(
        &self,
        what: &'static str,
        mut answer: Response,
        limit: usize,
    ) -> Result<Vec<u8>, GatewayError> {
        let mut body = Vec::new();
        while let Some(part) = answer.chunk().await.map_err(|cause| self.unreachable(&cause))? {
            if body.len() + part.len() > limit {
                return Err(self.garbage(what, format!("more than {limit} bytes")));
            }
            body.extend_from_slice(&part);
        }
        Ok(body)
    }

    pub(super) async fn refused(&self, what: &'static str, answer: Response) -> GatewayError {
        let status = answer.status().as_u16();
        let body = self.body(what, answer, MAX_ANSWER_BYTES).await.unwrap_or_default();
        let text: String = String::from_utf8_lossy(&body).chars().take(MAX_SHOWN_BYTES).collect();
        let text = text.chars().filter(|letter| !letter.is_control()).collect();
        GatewayError::Refused { url: self.url.clone(), what, status, text }
    }

    pub(super) async fn get_text(&self, what: &'static str, path: &str) -> Result<String, GatewayError> {
        let answer = self.send(self.http.get(format!("{}{path}", self.url)).timeout(ANSWER_LIMIT)).await?;
        if answer.status() != StatusCode::OK {
            return Err(self.refused(what, answer).await);
        }
        let body = self.body(what, answer, MAX_ANSWER_BYTES).await?;
        String::from_utf8(body).map_err(|cause| self.garbage(what, cause))
    }

    /// The height of the newest block.
    pub async fn height(&self) -> Result<u64, GatewayError> {
        #[derive(Deserialize)]
        struct Info {
            height: u64,
        }
        let text = self.get_text("height", "/info").await?;
        let info: Info = serde_json::from_str(&text).map_err(|cause| self.garbage("height", cause))?;
        match info.height {
            height if height <= MAX_HEIGHT => Ok(height),
            height => Err(self.garbage("height", height)),
        }
    }

    /// Whether it says that it plays Arweave on a local network, where blocks are final.
    pub async fn is_local(&self) -> Result<bool, GatewayError> {
        #[derive(Deserialize)]
        struct Info {
            network: String,
        }
        let text = self.get_text("network", "/info").await?;
        let info: Info = serde_json::from_str(&text).map_err(|cause| self.garbage("network", cause))?;
        Ok(LOCAL_NETWORKS.iter().any(|local| info.network.starts_with(local)))
    }

    /// What a new transaction is to name as what came before it.
    pub async fn anchor(&self) -> Result<Vec<u8>, GatewayError> {
        let text = self.get_text("anchor", "/tx_anchor").await?;
        match decode_base64url(text.trim()) {
            Ok(anchor) if matches!(anchor.len(), 32 | 48) => Ok(anchor),
            _ => Err(self.garbage("anchor", "it is no id of a block")),
        }
    }

    /// What storing so many bytes costs, in winston.
    pub async fn price(&self, bytes: usize) -> Result<u128, GatewayError> {
        let text = self.get_text("price", &format!("/price/{bytes}")).await?;
        text.trim().parse().map_err(|_| self.garbage("price", "it is no number"))
    }

    /// Posts a transaction without its data; one that is known already is fine.
    pub async fn post(&self, transaction: &Transaction) -> Result<(), GatewayError> {
        let request = self.http.post(format!("{}/tx", self.url)).timeout(ANSWER_LIMIT).json(&transaction.to_json());
        let answer = self.send(request).await?;
        match answer.status() {
            StatusCode::OK | StatusCode::ACCEPTED | StatusCode::ALREADY_REPORTED => Ok(()),
            _ => Err(self.refused("the transaction", answer).await),
        }
    }

    /// Posts a piece of the data of a transaction with the proof of its place.
    pub async fn post_chunk(&self, transaction: &Transaction, chunk: &Chunk, data: &[u8]) -> Result<(), GatewayError> {
        let body = json!({
            "data_root": transaction.data_root.map(|root| root.to_string()).unwrap_or_default(),
            "data_size": transaction.data_size.to_string(),
            "data_path": encode_base64url(&chunk.proof),
            "offset": (chunk.end - 1).to_string(),
            "chunk": encode_base64url(data),
        });
        let answer = self.send(self.http.post(format!("{}/chunk", self.url)).timeout(ANSWER_LIMIT).json(&body)).await?;
        match answer.status() {
            StatusCode::OK => Ok(()),
            _ => Err(self.refused("a piece of data", answer).await),
        }
    }

    /// Posts the data of a transaction, piece by piece, from a piece on; it says which is next, also when it fails.
    pub async fn post_data(
        &self,
        transaction: &Transaction,
        data: &[u8],
        next: &mut usize,
    ) -> Result<(), GatewayError> {
        for chunk in chunks::split(data).chunks.iter().skip(*next) {
            let piece = data.get(chunk.start as usize..chunk.end as usize).unwrap_or_default();
            self.post_chunk(transaction, chunk, piece).await?;
            *next += 1;
        }
        Ok(())
    }

    /// A transaction as it was signed, without its data.
    pub async fn transaction(&self, id: &Id) -> Result<Transaction, GatewayError> {
        let text = self.get_text("transaction", &format!("/tx/{id}")).await?;
        read_transaction(text.as_bytes(), id).map_err(|cause| match cause {
            NoTransaction::Unsupported(cause) => self.garbage(UNSUPPORTED, cause),
            NoTransaction::Other(cause) => self.garbage("transaction", cause),
        })
    }

    /// Where a transaction is.
    pub async fn status(&self, id: &Id) -> Result<Status, GatewayError> {
        let request = self.http.get(format!("{}/tx/{id}/status", self.url)).timeout(ANSWER_LIMIT);
        let answer = self.send(request).await?;
        let status = answer.status();
        if !matches!(status, StatusCode::OK | StatusCode::ACCEPTED | StatusCode::NOT_FOUND) {
            return Err(self.refused("the status of a transaction", answer).await);
        }
        let body = self.body("status", answer, MAX_ANSWER_BYTES).await?;
        read_status(status.as_u16(), &body).map_err(|cause| self.garbage("status", cause))
    }

    /// The data of a transaction or item, of at most so many bytes.
    pub async fn data(&self, id: &Id, limit: usize) -> Result<Vec<u8>, GatewayError> {
        let time = ANSWER_LIMIT + Duration::from_secs(limit as u64 / LEAST_BYTES_A_SECOND);
        let slow = |_| GatewayError::Unreachable { url: self.url.clone(), cause: "its data comes too slowly".into() };
        tokio::time::timeout(time, self.read_data(id, limit)).await.map_err(slow)?
    }

    async fn read_data(&self, id: &Id, limit: usize) -> Result<Vec<u8>, GatewayError> {
        let mut refusal = None;
        // The second is what arlocal has; many gateways turn it into a page.
        for path in ["/raw", ""] {
            let answer = self.send(self.http.get(format!("{}{path}/{id}", self.url))).await?;
            if answer.status() == StatusCode::OK {
                let size = answer.content_length();
                let body = self.body("data", answer, limit).await?;
                return match size.filter(|size| *size != body.len() as u64) {
                    None => Ok(body),
                    Some(size) => Err(self.garbage("data", format!("{} of {size} bytes", body.len()))),
                };
            }
            let refused = self.refused("data", answer).await;
            if refused.passes() {
                return Err(refused);
            }
            refusal.get_or_insert(refused);
        }
        Err(refusal.unwrap_or_else(|| self.garbage("data", "nothing")))
    }

    /// On what terms data of so many bytes is taken now.
    pub async fn terms(&self, bytes: usize) -> Result<Terms, GatewayError> {
        Ok(Terms { height: self.height().await?, anchor: self.anchor().await?, price: self.price(bytes).await? })
    }
}

/// Reads an answer to `/tx/{id}/status`.
pub fn read_status(status: u16, body: &[u8]) -> Result<Status, String> {
    #[derive(Deserialize)]
    struct Mined {
        block_height: u64,
        number_of_confirmations: u64,
    }
    match status {
        404 => Ok(Status::Unknown),
        202 => Ok(Status::Pending),
        // arlocal says so with another status than Arweave's nodes.
        200 if body == b"Pending" => Ok(Status::Pending),
        200 => {
            let mined: Mined = serde_json::from_slice(body).map_err(|cause| cause.to_string())?;
            Ok(Status::Mined { height: mined.block_height, confirmations: mined.number_of_confirmations })
        }
        other => Err(format!("status {other}")),
    }
}

/// Reads an answer to `/tx/{id}`: the transaction as it was signed, without its data.
pub fn read_transaction(body: &[u8], id: &Id) -> Result<Transaction, NoTransaction> {
    match Transaction::verify_json(body) {
        Ok(transaction) if transaction.id == *id => Ok(Transaction { data: Vec::new(), ..transaction }),
        Ok(other) => Err(NoTransaction::Other(format!("it is {}", other.id))),
        Err(cause @ TransactionError::Format(_)) => Err(NoTransaction::Unsupported(cause.to_string())),
        Err(cause) => Err(NoTransaction::Other(cause.to_string())),
    }
}

/// Why an answer is no transaction that can be taken.
pub enum NoTransaction {
    /// It is of a format that never can.
    Unsupported(String),
    /// It is not what was asked for.
    Other(String),
}

/// What was expected where a transaction is of a format that is not taken.
pub const UNSUPPORTED: &str = "transaction of format 2";
