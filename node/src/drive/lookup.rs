//! Finding an item by id: here, else by asking the connected peers once.

use ao_protocol::id::Id;
use ao_protocol::item::{MAX_ITEM_BYTES, VerifiedItem};
use ao_protocol::log::{Batch, Durability, Log, LogError, Write};
use ao_protocol::process::Process;
use ao_protocol::wire::{Request, Response};
use futures::StreamExt;
use thiserror::Error;
use tracing::debug;

use super::{World, room, unbundle};
use crate::arweave::GatewayError;
use crate::net::PeerId;

/// How many peers are asked for one item at a time.
const ASKED_AT_ONCE: usize = 8;

/// What a lookup found.
#[derive(Clone, Debug)]
pub enum Found {
    /// The item.
    Item(VerifiedItem),
    /// Every peer that was asked answered, and none has it.
    Nowhere,
    /// Nobody has it, but not everybody answered.
    Unsure,
}

/// Looks for an item. What a peer sends is verified and kept.
pub async fn item(world: &World, id: &Id) -> Result<Found, LogError> {
    if let Some(item) = world.log().item(id)? {
        return Ok(Found::Item(item));
    }
    let peers = world.net().directory().connected();
    let request = Request::Item(*id);
    let ask = |peer: PeerId| {
        let (net, request) = (world.net().clone(), request.clone());
        async move { net.request(&peer, &request).await }
    };
    let asked = futures::stream::iter(peers).map(ask);
    let mut answers = std::pin::pin!(asked.buffer_unordered(ASKED_AT_ONCE));
    let mut all_answered = true;
    while let Some(answer) = answers.next().await {
        let bytes = match answer {
            Ok(Response::Item(Some(bytes))) => bytes,
            Ok(Response::Item(None)) => continue,
            _ => {
                all_answered = false;
                continue;
            }
        };
        let Ok(item) = world.verified().verify(bytes.0) else { continue };
        if item.id() == *id {
            // Without room it is not kept here, but found all the same.
            if world.lack_of_room(room::MIN_FREE_BYTES).is_some() {
                return Ok(Found::Item(item));
            }
            let mut batch = Batch::new();
            batch.push(Write::Item(item.clone()));
            world.log().commit(batch, Durability::Relaxed)?;
            unbundle::unpack_item(world, &item).await?;
            return Ok(Found::Item(item));
        }
    }
    Ok(if all_answered { Found::Nowhere } else { Found::Unsure })
}

/// Looks for an item here, at peers, and then on Arweave, where this node has a gateway to ask. One that is too large
/// to be kept as an item is not found.
pub async fn item_or_on_arweave(world: &World, id: &Id) -> Result<Found, LogError> {
    let found = item(world, id).await?;
    let (Found::Nowhere | Found::Unsure, Some(gateway)) = (&found, world.permaweb().gateway()) else {
        return Ok(found);
    };
    let on_arweave = async {
        let Some(told) = gateway.item(id).await? else { return Ok(None) };
        let most = MAX_ITEM_BYTES as u64;
        let Some(size) = usize::try_from(told.size).ok().filter(|_| told.size <= most && !told.heads.is_empty()) else {
            return Ok(None);
        };
        let data = gateway.data(id, size).await?;
        let whole = |head: &Vec<u8>| world.verified().verify([&head[..], &data].concat()).ok();
        Ok(told.heads.iter().find_map(whole).filter(|item| item.id() == *id))
    };
    match on_arweave.await {
        Ok(None) => Ok(found),
        Ok(Some(item)) => {
            if world.lack_of_room(room::MIN_FREE_BYTES).is_none() {
                let mut batch = Batch::new();
                batch.push(Write::Item(item.clone()));
                world.log().commit(batch, Durability::Relaxed)?;
            }
            Ok(Found::Item(item))
        }
        Err(cause) => {
            let cause: GatewayError = cause;
            debug!(%id, %cause, "an item did not come from the gateway");
            Ok(Found::Unsure)
        }
    }
}

/// Why there is no process of an id.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NoProcess {
    /// Nobody knows it, or it is something else.
    #[error("{0}")]
    Unknown(String),
    /// It may exist: not everybody could be asked.
    #[error("{0}")]
    Unsure(String),
}

/// Looks for the spawn item of a process.
pub async fn process(world: &World, id: &Id) -> Result<Result<Process, NoProcess>, LogError> {
    // Of one in this log it is known how it was resumed.
    if let Some(known) = world.log().process(id)? {
        return Ok(Ok((*known).clone()));
    }
    let unknown = |text: String| Ok(Err(NoProcess::Unknown(text)));
    match item(world, id).await? {
        Found::Item(item) => match Process::read(&item) {
            Ok(process) => Ok(Ok(process)),
            Err(cause) => unknown(format!("{id} is no process: {cause}")),
        },
        Found::Nowhere => unknown(format!("unknown process {id}: neither this node nor its peers know it")),
        Found::Unsure => {
            let text = format!("process {id} was not found, but not every peer answered; try again");
            Ok(Err(NoProcess::Unsure(text)))
        }
    }
}
