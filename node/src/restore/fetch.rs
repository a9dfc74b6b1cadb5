//! Fetching a bundle, and verifying all that is in it.

use std::time::Duration;

use ao_protocol::backoff::Backoff;
use ao_protocol::id::Id;
use ao_protocol::item::{DataItem, VerifiedItem, bundle};
use ao_protocol::mirror::Contents;
use ao_protocol::transaction::chunks;

use super::{FIRST_RETRY_MS, LAST_RETRY_MS, MAX_BUNDLE_BYTES, TRIES};
use crate::arweave::{Gateway, GatewayError};

/// What came of asking for a bundle.
pub(super) enum Fetched {
    /// It was read.
    Opened(Opened),
    /// It is none, as it was signed.
    Forged(String),
    /// The gateway did not give it, or not as it was signed.
    Not(String),
}

/// A bundle that was read.
pub(super) struct Opened {
    pub(super) contents: Contents,
    pub(super) bytes: u64,
    /// What is wrong with some of its items.
    pub(super) refused: Vec<String>,
}

/// Fetches a bundle and verifies what is in it. An error is that the gateway is away; other failures are this bundle's
/// alone.
pub(super) async fn fetch(gateway: &Gateway, id: &Id) -> Result<Fetched, GatewayError> {
    let mut backoff = Backoff::new(FIRST_RETRY_MS, LAST_RETRY_MS);
    let data = loop {
        match gateway.data(id, MAX_BUNDLE_BYTES).await {
            Ok(data) => break data,
            Err(cause) if cause.passes() && backoff.attempts() + 1 < TRIES => {
                tokio::time::sleep(Duration::from_millis(backoff.next_ms())).await;
            }
            // Does it answer at all? Then it is only this one.
            Err(cause) if cause.passes() => return gateway.height().await.map(|_| Fetched::Not(cause.to_string())),
            Err(cause) => return Ok(Fetched::Not(cause.to_string())),
        }
    };
    let opening = tokio::task::spawn_blocking(move || (open(&data), data));
    let Ok((opened, data)) = opening.await else { return Ok(Fetched::Not("it was not read".into())) };
    let wrong = match &opened {
        Ok(opened) => opened.refused.first().cloned(),
        Err(cause) => Some(cause.clone()),
    };
    // Who is to blame: whoever wrote it, or the gateway? What was signed says so, where it is a transaction.
    if let Some(wrong) = wrong
        && let Ok(transaction) = gateway.transaction(id).await
    {
        let size = data.len() as u64;
        let root = tokio::task::spawn_blocking(move || chunks::split(&data).root).await.ok();
        if transaction.data_size != size || transaction.data_root != root {
            return Ok(Fetched::Not(format!("the gateway gives other data than was signed ({wrong})")));
        }
    }
    Ok(opened.map_or_else(Fetched::Forged, Fetched::Opened))
}

fn open(data: &[u8]) -> Result<Opened, String> {
    let items = bundle::decode(data).map_err(|cause| cause.to_string())?;
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let share = items.len().div_ceil(threads).max(1);
    let mut shares: Vec<Vec<DataItem>> = Vec::new();
    let mut items = items.into_iter().peekable();
    while items.peek().is_some() {
        shares.push(items.by_ref().take(share).collect());
    }
    let verify = |items: Vec<DataItem>| -> Vec<Result<VerifiedItem, String>> {
        let named = |item: DataItem| {
            let id = item.id();
            item.verify().map_err(|cause| format!("item {id}: {cause}"))
        };
        items.into_iter().map(named).collect()
    };
    let verified: Result<Vec<_>, String> = std::thread::scope(|scope| {
        let threads: Vec<_> = shares.into_iter().map(|items| scope.spawn(move || verify(items))).collect();
        let ended = |_| "verifying it failed".to_string();
        threads.into_iter().map(|thread| thread.join().map_err(ended)).collect()
    });
    let (mut whole, mut refused) = (Vec::new(), Vec::new());
    for item in verified?.into_iter().flatten() {
        match item {
            Ok(item) => whole.push(item),
            Err(cause) => refused.push(cause),
        }
    }
    Ok(Opened { contents: Contents::of(whole), bytes: data.len() as u64, refused })
}
