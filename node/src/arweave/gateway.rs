//! A gateway of Arweave as its client: posting transactions and their data, watching them, and reading back what was
//! posted. Nothing that it says is believed beyond what the caller can check, and no answer is read without end.

use std::time::Duration;

use ao_protocol::id::{Id, decode_base64url, encode_base64url};
use ao_protocol::tag::Tag;
use ao_protocol::transaction::Transaction;
use ao_protocol::transaction::chunks::{self, Chunk};
use reqwest::{Response, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use thiserror::Error;

/// Longest wait for a connection, and for the next bytes of an answer.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
const READ_LIMIT: Duration = Duration::from_secs(30);
/// Longest wait for an answer that is not data.
const ANSWER_LIMIT: Duration = Duration::from_secs(60);
/// Most bytes of an answer that is not data.
const MAX_ANSWER_BYTES: usize = 4 * 1024 * 1024;
/// Most bytes of what a gateway says of an error that are shown.
const MAX_SHOWN_BYTES: usize = 200;
/// Transactions in one page of what is found; what gateways allow.
const PAGE: usize = 100;

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

/// A transaction or item that was found by its tags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundData {
    /// Which one.
    pub id: Id,
    /// What it was bundled in, as far as the gateway says; none for a transaction.
    pub bundled_in: Option<Id>,
    /// Its own tags.
    pub tags: Vec<Tag>,
    /// The height of its block; none when it has none yet.
    pub height: Option<u64>,
}

/// A page of what was found.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// In the order of blocks.
    pub found: Vec<FoundData>,
    /// Where it goes on, if it does.
    pub next: Option<String>,
}

/// A gateway. Cloning is cheap.
#[derive(Clone, Debug)]
pub struct Gateway {
    url: String,
    http: reqwest::Client,
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

    fn garbage(&self, what: &'static str, cause: impl ToString) -> GatewayError {
        GatewayError::Garbage { url: self.url.clone(), what, cause: cause.to_string() }
    }

    fn unreachable(&self, cause: &reqwest::Error) -> GatewayError {
        // The innermost cause says most.
        let mut inner: &dyn std::error::Error = cause;
        while let Some(source) = inner.source() {
            inner = source;
        }
        GatewayError::Unreachable { url: self.url.clone(), cause: inner.to_string() }
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Result<Response, GatewayError> {
        request.send().await.map_err(|cause| self.unreachable(&cause))
    }

    /// The body of an answer, as long as it is no longer than it may be.
    async fn body(&self, what: &'static str, mut answer: Response, limit: usize) -> Result<Vec<u8>, GatewayError> {
        let mut body = Vec::new();
        while let Some(part) = answer.chunk().await.map_err(|cause| self.unreachable(&cause))? {
            if body.len() + part.len() > limit {
                return Err(self.garbage(what, format!("more than {limit} bytes")));
            }
            body.extend_from_slice(&part);
        }
        Ok(body)
    }

    async fn refused(&self, what: &'static str, answer: Response) -> GatewayError {
        let status = answer.status().as_u16();
        let body = self.body(what, answer, MAX_ANSWER_BYTES).await.unwrap_or_default();
        let text: String = String::from_utf8_lossy(&body).chars().take(MAX_SHOWN_BYTES).collect();
        let text = text.chars().filter(|letter| !letter.is_control()).collect();
        GatewayError::Refused { url: self.url.clone(), what, status, text }
    }

    async fn get_text(&self, what: &'static str, path: &str) -> Result<String, GatewayError> {
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
        Ok(info.height)
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

    /// Posts all data of a transaction, piece by piece.
    pub async fn post_data(&self, transaction: &Transaction, data: &[u8]) -> Result<(), GatewayError> {
        for chunk in chunks::split(data).chunks {
            let piece = data.get(chunk.start as usize..chunk.end as usize).unwrap_or_default();
            self.post_chunk(transaction, &chunk, piece).await?;
        }
        Ok(())
    }

    /// Where a transaction is.
    pub async fn status(&self, id: &Id) -> Result<Status, GatewayError> {
        #[derive(Deserialize)]
        struct Mined {
            block_height: u64,
            number_of_confirmations: u64,
        }
        let request = self.http.get(format!("{}/tx/{id}/status", self.url)).timeout(ANSWER_LIMIT);
        let answer = self.send(request).await?;
        match answer.status() {
            StatusCode::NOT_FOUND => return Ok(Status::Unknown),
            StatusCode::ACCEPTED => return Ok(Status::Pending),
            StatusCode::OK => {}
            _ => return Err(self.refused("the status of a transaction", answer).await),
        }
        let body = self.body("status", answer, MAX_ANSWER_BYTES).await?;
        // arlocal says so with another status than Arweave's nodes.
        if body == b"Pending" {
            return Ok(Status::Pending);
        }
        let mined: Mined = serde_json::from_slice(&body).map_err(|cause| self.garbage("status", cause))?;
        Ok(Status::Mined { height: mined.block_height, confirmations: mined.number_of_confirmations })
    }

    /// The data of a transaction or item, of at most so many bytes.
    pub async fn data(&self, id: &Id, limit: usize) -> Result<Vec<u8>, GatewayError> {
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
            refusal.get_or_insert(self.refused("data", answer).await);
        }
        Err(refusal.unwrap_or_else(|| self.garbage("data", "nothing")))
    }

    /// Transactions and bundled items with all of these tags, in the order of their blocks, a page at a time.
    pub async fn find(&self, tags: &[(&str, &str)], after: Option<&str>) -> Result<Page, GatewayError> {
        let query = "query ($tags: [TagFilter!], $first: Int!, $after: String) {
            transactions(tags: $tags, first: $first, after: $after, sort: HEIGHT_ASC) {
                pageInfo { hasNextPage }
                edges { cursor node { id tags { name value } block { height } bundledIn { id } } }
            } }";
        let filter = |(name, value): &(&str, &str)| json!({ "name": name, "values": [value] });
        let tags: Vec<Value> = tags.iter().map(filter).collect();
        let body = json!({ "query": query, "variables": { "tags": tags, "first": PAGE, "after": after } });
        let request = self.http.post(format!("{}/graphql", self.url)).timeout(ANSWER_LIMIT).json(&body);
        let answer = self.send(request).await?;
        if answer.status() != StatusCode::OK {
            return Err(self.refused("a search", answer).await);
        }
        let body = self.body("search", answer, MAX_ANSWER_BYTES).await?;
        let answer: Answer =
            serde_json::from_slice(&body).map_err(|cause| self.garbage("answer to a search", cause))?;
        let Some(data) = answer.data else {
            let cause: String = answer.errors.unwrap_or_default().to_string().chars().take(MAX_SHOWN_BYTES).collect();
            return Err(self.garbage("answer to a search", cause));
        };
        let edges = data.transactions.edges;
        let next = edges.last().filter(|_| data.transactions.page_info.has_next_page).map(|edge| edge.cursor.clone());
        let found = edges.into_iter().map(|edge| FoundData {
            id: edge.node.id,
            bundled_in: edge.node.bundled_in.map(|bundle| bundle.id),
            tags: edge.node.tags,
            height: edge.node.block.map(|block| block.height),
        });
        Ok(Page { found: found.collect(), next })
    }

    /// On what terms data of so many bytes is taken now.
    pub async fn terms(&self, bytes: usize) -> Result<Terms, GatewayError> {
        Ok(Terms { height: self.height().await?, anchor: self.anchor().await?, price: self.price(bytes).await? })
    }
}

#[derive(Deserialize)]
struct Answer {
    data: Option<Data>,
    errors: Option<Value>,
}

#[derive(Deserialize)]
struct Data {
    transactions: Transactions,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Transactions {
    page_info: PageInfo,
    edges: Vec<Edge>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PageInfo {
    has_next_page: bool,
}

#[derive(Deserialize)]
struct Edge {
    cursor: String,
    node: Node,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Node {
    id: Id,
    #[serde(default)]
    tags: Vec<Tag>,
    block: Option<BlockNode>,
    bundled_in: Option<Bundle>,
}

#[derive(Deserialize)]
struct BlockNode {
    height: u64,
}

#[derive(Deserialize)]
struct Bundle {
    id: Id,
}
