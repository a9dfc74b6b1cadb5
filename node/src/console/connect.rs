//! Finding the process to live in: by its id, or by the name that you gave it; one is made if there is none.

use anyhow::{Context, Result, bail};
use ao_protocol::id::{Address, Id};
use ao_protocol::wallet::{Signer, Wallet};
use serde_json::{Value, json};

use crate::cli::client::Client;
use crate::cli::spawn;

/// How a process is made, if it has to be.
pub(super) struct Plan {
    pub(super) tags: Vec<(String, String)>,
    pub(super) module: Option<Id>,
    pub(super) scheduler: Option<Address>,
    pub(super) data: Option<Vec<u8>>,
}

/// The process.
pub(super) struct Found {
    /// Its id.
    pub(super) process: String,
    /// Its name, for the history of lines.
    pub(super) name: String,
    /// Its owner's address, if the gateway knows it.
    pub(super) owner: Option<String>,
    /// What its first slot came to, if it was made now.
    pub(super) spawned: Option<Value>,
    /// Other processes of this name that are yours.
    pub(super) others: usize,
}

const BY_NAME: &str = "query ($owner: String!, $name: String!) {
  transactions(first: 100, owners: [$owner], sort: HEIGHT_DESC, tags: [
    { name: \"Data-Protocol\", values: [\"ao\"] }, { name: \"Type\", values: [\"Process\"] },
    { name: \"Name\", values: [$name] }
  ]) { edges { node { id } } }
}";

const BY_ID: &str = "query ($id: ID!) {
  transactions(ids: [$id]) { edges { node { id owner { address } tags { name value } } } }
}";

/// Finds the process that the user named, or makes it.
pub(super) async fn connect(client: &Client, wallet: &Wallet, named: &str, plan: Plan) -> Result<Found> {
    if let Ok(id) = named.trim().parse::<Id>() {
        return by_id(client, id.to_string()).await;
    }
    let me = wallet.address().to_string();
    let found = edges(client, BY_NAME, json!({ "owner": me, "name": named })).await?;
    let ids: Vec<&str> = found.iter().filter_map(|node| node.get("id")?.as_str()).collect();
    if let Some(newest) = ids.first() {
        let (process, others) = (newest.to_string(), ids.len() - 1);
        return Ok(Found { process, name: named.to_string(), owner: Some(me), spawned: None, others });
    }
    let Plan { tags, module, scheduler, data } = plan;
    let plan = spawn::Plan { name: Some(named.to_string()), module, scheduler, tags, data };
    let (process, result) = plan.spawn(client, wallet).await?;
    Ok(Found { process, name: named.to_string(), owner: Some(me), spawned: Some(result), others: 0 })
}

async fn by_id(client: &Client, process: String) -> Result<Found> {
    let found = edges(client, BY_ID, json!({ "id": process })).await?;
    let Some(node) = found.first() else {
        bail!("no process {process} is known at {}", client.base());
    };
    let tags: Vec<&Value> = node.get("tags").and_then(Value::as_array).into_iter().flatten().collect();
    let tag = |name: &str| {
        let tag = tags.iter().find(|tag| tag.get("name").and_then(Value::as_str) == Some(name))?;
        tag.get("value")?.as_str().map(str::to_string)
    };
    if tag("Type").as_deref() != Some("Process") {
        bail!("{process} is not a process");
    }
    let owner = node.pointer("/owner/address").and_then(Value::as_str).map(str::to_string);
    Ok(Found { name: tag("Name").unwrap_or_else(|| process.clone()), process, owner, spawned: None, others: 0 })
}

async fn edges(client: &Client, query: &str, variables: Value) -> Result<Vec<Value>> {
    let answer = client.post("/graphql", &json!({ "query": query, "variables": variables })).await?;
    let edges = answer.pointer("/data/transactions/edges").and_then(Value::as_array);
    let edges = edges.with_context(|| format!("the gateway at {} gave no list: {answer}", client.base()))?;
    Ok(edges.iter().filter_map(|edge| edge.get("node").cloned()).collect())
}
