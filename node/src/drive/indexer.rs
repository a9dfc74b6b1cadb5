//! The indexer follows the log and puts what is scheduled into the gateway's index. It writes beside the scheduler, in
//! batches and without syncing: after a crash it goes on where its cursor stands.

use std::collections::BTreeSet;

use ao_protocol::id::Id;
use ao_protocol::log::LogError;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};

use super::{Change, World, room};

/// Most slots that are indexed in one write.
const MAX_INDEX_BATCH: usize = 256;

/// Indexes until the log fails.
pub async fn run(world: World) {
    while world.goes_on(follow(&world).await).await {}
}

async fn follow(world: &World) -> Result<(), LogError> {
    let mut changes = world.changes();
    let mut news: BTreeSet<Id> = world.processes()?.into_iter().collect();
    loop {
        world.wait_for_room(room::MIN_FREE_BYTES_TO_FOLLOW).await;
        index(world, std::mem::take(&mut news)).await?;
        match changes.recv().await {
            Ok(change) => news.extend(process(change)),
            Err(RecvError::Lagged(_)) => news.extend(world.processes()?),
            Err(RecvError::Closed) => return Ok(()),
        }
        // What else has come in meanwhile is written with it.
        loop {
            match changes.try_recv() {
                Ok(change) => news.extend(process(change)),
                Err(TryRecvError::Lagged(_)) => news.extend(world.processes()?),
                Err(TryRecvError::Empty | TryRecvError::Closed) => break,
            }
        }
    }
}

fn process(change: Change) -> Option<Id> {
    match change {
        Change::Entry { process, .. } | Change::Branches { process } => Some(process),
        _ => None,
    }
}

/// Brings the index up to the tips of these processes.
async fn index(world: &World, processes: BTreeSet<Id>) -> Result<(), LogError> {
    if processes.is_empty() {
        return Ok(());
    }
    let world = world.clone();
    let indexed = tokio::task::spawn_blocking(move || {
        for process in &processes {
            let next = || {
                let _steady = world.log().steady();
                world.log().index_next(process, MAX_INDEX_BATCH)
            };
            while next()? == MAX_INDEX_BATCH {}
        }
        Ok(())
    });
    // It can't be joined when the node is stopping: what is left is done after the next start.
    indexed.await.unwrap_or(Ok(()))
}
