//! Transactions of Arweave by id: from this node's gateway, else from the unit that plays the network's chain.

use ao_protocol::id::Id;
use ao_protocol::log::LogError;
use ao_protocol::transaction::Transaction;
use ao_protocol::wire::{Answer, Call, Request, Response};

use crate::arweave::{Status, read_status, read_transaction};
use crate::drive::World;

/// What is known of a transaction.
pub(super) enum Looked {
    /// It is there, in a block with so many confirmations, itself included; 0 while it waits for one.
    Found(Box<Transaction>, u64),
    /// Whoever was asked knows of none.
    Unknown,
    /// Nobody could be asked, or the answer made no sense.
    Failed(String),
}

/// Looks for a transaction, without its data.
pub(super) async fn transaction(world: &World, id: &Id) -> Result<Looked, LogError> {
    if let Some(gateway) = world.permaweb().gateway() {
        let found = async {
            Ok(match gateway.status(id).await? {
                Status::Unknown => Looked::Unknown,
                // It is not given before it is mined.
                Status::Pending => Looked::Failed(format!("transaction {id} waits for its block")),
                Status::Mined { confirmations, .. } => {
                    Looked::Found(Box::new(gateway.transaction(id).await?), confirmations)
                }
            })
        };
        return Ok(found.await.unwrap_or_else(|cause: crate::arweave::GatewayError| Looked::Failed(cause.to_string())));
    }
    if let Some(posted) = world.log().transaction(id)? {
        let newest = world.newest_block().height;
        let confirmations = posted.height.map_or(0, |height| newest.saturating_sub(height) + 1);
        return Ok(Looked::Found(Box::new(posted.transaction), confirmations));
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
        Ok(Looked::Found(Box::new(read_transaction(&body, id)?), confirmations))
    };
    let failed = |cause: String| Looked::Failed(format!("the unit that plays the chain, {}: {cause}", unit.address));
    Ok(found.await.unwrap_or_else(failed))
}
