//! Transactions of Arweave by id: from this node's gateway, else from the unit that plays the network's chain.

use ao_protocol::id::Id;
use ao_protocol::log::LogError;
use ao_protocol::transaction::Transaction;
use ao_protocol::wire::{Answer, Call, Request, Response};

use crate::arweave::{GatewayError, NoTransaction, Status, UNSUPPORTED, read_status, read_transaction};
use crate::drive::World;

/// What is known of a transaction.
pub enum Looked {
    /// It is there, in a block.
    Found {
        /// As it was signed.
        transaction: Box<Transaction>,
        /// Blocks from its own on.
        confirmations: u64,
        /// Whether the chain is one of a local network, where blocks are final.
        local: bool,
    },
    /// Whoever was asked knows of none.
    Unknown,
    /// It is not one that can be taken.
    Unsupported(String),
    /// Nobody could be asked, or it has no block yet.
    Failed(String),
}

/// Looks for a transaction, without its data.
pub async fn transaction(world: &World, id: &Id) -> Result<Looked, LogError> {
    if let Some(gateway) = world.permaweb().gateway() {
        let found = async {
            Ok(match gateway.status(id).await? {
                Status::Unknown => Looked::Unknown,
                // It is not given before it is mined.
                Status::Pending => Looked::Failed(format!("transaction {id} waits for its block")),
                Status::Mined { confirmations, .. } => {
                    let local = gateway.is_local().await?;
                    match gateway.transaction(id).await {
                        Ok(found) => Looked::Found { transaction: Box::new(found), confirmations, local },
                        Err(cause @ GatewayError::Garbage { what: UNSUPPORTED, .. }) => {
                            Looked::Unsupported(cause.to_string())
                        }
                        Err(cause) => return Err(cause),
                    }
                }
            })
        };
        return Ok(found.await.unwrap_or_else(|cause: GatewayError| Looked::Failed(cause.to_string())));
    }
    if let Some(posted) = world.log().transaction(id)? {
        let newest = world.newest_block().height;
        let Some(height) = posted.height else {
            return Ok(Looked::Failed(format!("transaction {id} waits for its block")));
        };
        let confirmations = newest.saturating_sub(height) + 1;
        return Ok(Looked::Found { transaction: Box::new(posted.transaction), confirmations, local: true });
    }
    let Some(unit) = world.chain_unit() else {
        let text = "this node has no gateway of Arweave to ask (--arweave), and no unit of this network plays a chain";
        return Ok(Looked::Failed(text.into()));
    };
    let ask =
        async |path: String| match world.net().request(&unit.peer, &Request::Call(Call { path, body: None })).await {
            Ok(Response::Answer(Answer { status, body, .. })) => Ok((status, body)),
            Ok(Response::Busy(cause)) => Err(cause),
            Ok(_) => Err("it gave another answer than was asked for".to_string()),
            Err(cause) => Err(cause.to_string()),
        };
    let found = async {
        let (status, body) = ask(format!("/tx/{id}/status")).await?;
        let confirmations = match read_status(status, &body)? {
            Status::Unknown => return Ok(Looked::Unknown),
            Status::Pending => return Ok(Looked::Failed(format!("transaction {id} waits for its block"))),
            Status::Mined { confirmations, .. } => confirmations,
        };
        let (_, body) = ask(format!("/tx/{id}")).await?;
        match read_transaction(&body, id) {
            Ok(found) => Ok(Looked::Found { transaction: Box::new(found), confirmations, local: true }),
            Err(NoTransaction::Unsupported(cause)) => Ok(Looked::Unsupported(cause)),
            Err(NoTransaction::Other(cause)) => Err(cause),
        }
    };
    let failed = |cause: String| Looked::Failed(format!("the unit that plays the chain, {}: {cause}", unit.address));
    Ok(found.await.unwrap_or_else(failed))
}
