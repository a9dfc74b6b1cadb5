//! Finding the bundles of a process, or of a scheduler, by their tags.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ao_protocol::backoff::Backoff;
use ao_protocol::id::Id;
use ao_protocol::mirror::{LOG_BUNDLE, LOG_RANGE, claimed_ms, claimed_slots, first_claimed_slot};

use super::{FIRST_RETRY_MS, LAST_RETRY_MS, MAX_BUNDLES, RestoreError, TRIES, Wanted};
use crate::arweave::{FoundData, Gateway, GatewayError, Page};

/// Pages without anything new after which a gateway is not asked for more.
const PAGES_IN_VAIN: usize = 20;

/// Whose data may be a bundle with what is wanted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Container {
    /// The transaction or item.
    pub(super) id: Id,
    /// The height of its block; none when it has none yet.
    pub(super) height: Option<u64>,
    /// The latest time of a slot in it, as it says.
    time_ms: u64,
    /// The first slot that it names: of those of one time, the order.
    first_named: u64,
    /// The first slot in it of the process that is looked for, as it says.
    pub(super) first: Option<u64>,
}

/// All that a gateway finds, the oldest first: there the first slots are.
pub(super) async fn containers(gateway: &Gateway, wanted: &Wanted) -> Result<Vec<Container>, RestoreError> {
    let (name, value) = match wanted {
        Wanted::Process(process) => ("Process", process.to_string()),
        Wanted::Scheduler(scheduler) => ("Scheduler", scheduler.to_string()),
    };
    let mut found: BTreeMap<Id, Container> = BTreeMap::new();
    // Not every gateway looks into bundles, and not every bundle names all that is in it on its outside.
    for kind in [LOG_BUNDLE, LOG_RANGE] {
        for one in all(gateway, kind, (name, &value)).await? {
            let holder = match kind {
                LOG_BUNDLE => Some(one.id),
                // Not every gateway that looks into bundles says in which one an item was.
                _ => one.bundled_in,
            };
            let Some(id) = holder else { continue };
            let first = match wanted {
                Wanted::Process(process) => claimed_slots(&one.tags, process).map(|(first, _)| first),
                Wanted::Scheduler(_) => None,
            };
            let (time_ms, first_named) = (claimed_ms(&one.tags), first_claimed_slot(&one.tags).unwrap_or(u64::MAX));
            let new = Container { id, height: one.height, time_ms, first_named, first };
            found.entry(id).and_modify(|known| known.first = known.first.or(first)).or_insert(new);
        }
        if found.len() > MAX_BUNDLES {
            return Err(RestoreError::TooMany);
        }
    }
    let mut found: Vec<Container> = found.into_values().collect();
    // In the order of their slots: blocks take in what waits in any order, and many slots may have one time.
    found.sort_by_key(|one| (one.time_ms, one.first_named, one.height.unwrap_or(u64::MAX), one.id));
    Ok(found)
}

/// All transactions and items of a type with a tag, each once.
pub(super) async fn all(
    gateway: &Gateway,
    kind: &str,
    (name, value): (&str, &str),
) -> Result<Vec<FoundData>, GatewayError> {
    let tags = [("Data-Protocol", "ao"), ("Type", kind), (name, value)];
    let (mut after, mut in_vain, mut seen, mut found) = (None, 0, BTreeSet::new(), Vec::new());
    loop {
        let page = ask(gateway, &tags, after.as_deref()).await?;
        let before = seen.len();
        found.extend(page.found.into_iter().filter(|one| seen.insert(one.id)));
        in_vain = if seen.len() > before { 0 } else { in_vain + 1 };
        match page.next.filter(|_| in_vain < PAGES_IN_VAIN && seen.len() < MAX_BUNDLES) {
            Some(next) if after.as_ref() != Some(&next) => after = Some(next),
            _ => return Ok(found),
        }
    }
}

async fn ask(gateway: &Gateway, tags: &[(&str, &str)], after: Option<&str>) -> Result<Page, GatewayError> {
    let mut backoff = Backoff::new(FIRST_RETRY_MS, LAST_RETRY_MS);
    loop {
        match gateway.find(tags, after).await {
            Err(cause) if cause.passes() && backoff.attempts() + 1 < TRIES => {
                tokio::time::sleep(Duration::from_millis(backoff.next_ms())).await;
            }
            answer => return answer,
        }
    }
}
