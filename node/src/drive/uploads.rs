//! What is left to do with an upload once its uploader has the receipt: it is taken apart if it is a bundle, and peers
//! are told of it. Whatever a crash left undone is done at the next start.

use ao_protocol::item::VerifiedItem;
use ao_protocol::log::{Log, LogError};
use ao_protocol::wire::{Gossip, ItemBytes};
use tracing::{debug, info};

use super::{World, unbundle};

/// Finishes one upload.
pub async fn finish(world: &World, item: &VerifiedItem) -> Result<(), LogError> {
    unbundle::unpack_item(world, item).await?;
    let gossip = Gossip::Item(ItemBytes(item.bytes().to_vec()));
    if let Err(cause) = world.net().publish(0, &gossip).await {
        debug!(%cause, "an upload was not gossiped; others ask for it by its id");
    }
    world.log().upload_finished(&item.id())
}

/// Finishes what was left when the node ended.
pub async fn run(world: World) {
    while world.goes_on(finish_left(&world).await).await {}
}

async fn finish_left(world: &World) -> Result<(), LogError> {
    loop {
        let left = world.log().unfinished_uploads()?;
        if left.is_empty() {
            return Ok(());
        }
        info!(uploads = left.len(), "uploads are finished that were left at the last end");
        for id in left {
            match world.log().item(&id)? {
                Some(item) => finish(world, &item).await?,
                None => world.log().upload_finished(&id)?,
            }
        }
    }
}
