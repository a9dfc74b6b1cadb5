//! Finding the bundles of a process, or of a scheduler, by their tags.

use std::collections::BTreeMap;
use std::time::Duration;

use ao_protocol::backoff::Backoff;
use ao_protocol::id::Id;
use ao_protocol::mirror::{LOG_BUNDLE, LOG_RANGE, claimed_ms};
use ao_protocol::tag::Tag;

use super::{FIRST_RETRY_MS, LAST_RETRY_MS, MAX_BUNDLES, RestoreError, TRIES, Wanted};
use crate::arweave::{FoundData, Gateway, GatewayError, Page};

/// Whose data may be a bundle with what is wanted.
#[derive(Clone, Debug)]
pub(super) struct Container {
    /// The transaction or item.
    pub(super) id: Id,
    /// What is said of it.
    pub(super) tags: Vec<Tag>,
}

/// All that a gateway finds, the oldest first: there the first slots are.
pub(super) async fn containers(gateway: &Gateway, wanted: &Wanted) -> Result<Vec<Container>, RestoreError> {
    let (name, value) = match wanted {
        Wanted::Process(process) => ("Process", process.to_string()),
        Wanted::Scheduler(scheduler) => ("Scheduler", scheduler.to_string()),
    };
    let mut found: BTreeMap<Id, FoundData> = BTreeMap::new();
    // Not every gateway looks into bundles, and not every bundle names all that is in it on its outside.
    for kind in [LOG_BUNDLE, LOG_RANGE] {
        let tags = [("Data-Protocol", "ao"), ("Type", kind), (name, value.as_str())];
        let mut after = None;
        loop {
            let page = ask(gateway, &tags, after.as_deref()).await?;
            for one in page.found {
                let holder = match kind {
                    LOG_BUNDLE => Some(one.id),
                    // Not every gateway that looks into bundles says in which one an item was.
                    _ => one.bundled_in,
                };
                let Some(holder) = holder else { continue };
                // What is said of the range of one process is said of the bundle, too.
                found.entry(holder).and_modify(|known| known.tags.extend(one.tags.clone())).or_insert(one);
            }
            if found.len() > MAX_BUNDLES {
                return Err(RestoreError::TooMany);
            }
            match page.next {
                Some(next) if after.as_ref() != Some(&next) => after = Some(next),
                _ => break,
            }
        }
    }
    let mut found: Vec<(Id, FoundData)> = found.into_iter().collect();
    // What has no block yet comes last.
    found.sort_by_key(|(id, one)| (one.height.unwrap_or(u64::MAX), claimed_ms(&one.tags), *id));
    Ok(found.into_iter().map(|(id, one)| Container { id, tags: one.tags }).collect())
}

async fn ask(gateway: &Gateway, tags: &[(&str, &str)], after: Option<&str>) -> Result<Page, GatewayError> {
    let mut backoff = Backoff::new(FIRST_RETRY_MS, LAST_RETRY_MS);
    loop {
        match gateway.find(tags, after).await {
            Err(GatewayError::Unreachable { .. }) if backoff.attempts() + 1 < TRIES => {
                tokio::time::sleep(Duration::from_millis(backoff.next_ms())).await;
            }
            answer => return answer,
        }
    }
}
