//! Finding transactions and bundled items by their tags, by a gateway's GraphQL.

use ao_protocol::id::Id;
use ao_protocol::tag::Tag;
use reqwest::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::gateway::{ANSWER_LIMIT, Gateway, GatewayError, MAX_ANSWER_BYTES, MAX_SHOWN_BYTES};

/// Transactions in one page of what is found; what gateways allow.
const PAGE: usize = 100;

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

impl Gateway {
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
