//! Scheduler-Locations: the items by which ao's clients find a scheduler's URL through a gateway.
//!
//! What an item must say follows from the scheduler's announcement. Whoever sees an announced scheduler whose newest
//! item here says something else asks it for the right one; a scheduler that sees this of itself signs a new one and
//! gossips it. So nothing is signed twice for the same URL, and who joins late or missed the gossip has it soon.

use std::collections::HashMap;
use std::time::Duration;

use ao_protocol::announcement::Role;
use ao_protocol::backoff::Backoff;
use ao_protocol::id::Address;
use ao_protocol::item::{ItemBuilder, VerifiedItem};
use ao_protocol::log::{Batch, Durability, Log, LogError, Write};
use ao_protocol::wire::{Gossip, ItemBytes, Request, Response};
use tokio::time::Instant;
use tracing::{debug, warn};

use super::World;
use crate::net::Unit;
use crate::store::{Effort, Filter, Search, SearchError, Store, TagCondition};

/// How long clients may keep a location, in milliseconds.
const TIME_TO_LIVE_MS: u64 = 60 * 60 * 1000;
/// How often the directory is looked at; that is cheap, for it is in memory.
const LOOK: Duration = Duration::from_millis(250);
/// Wait before a scheduler is asked again, in milliseconds: at first, and at most.
const FIRST_RETRY_MS: u64 = 500;
/// The longest such wait.
const LAST_RETRY_MS: u64 = 60_000;
/// The type of the items.
const TYPE: &str = "Scheduler-Location";

/// Publishes this node's own location and gets those of others until the log fails.
pub async fn run(world: World) {
    while world.goes_on(follow(&world).await).await {}
}

async fn follow(world: &World) -> Result<(), LogError> {
    // What was found to be right, and when what was not is looked at again.
    let mut right: HashMap<Address, String> = HashMap::new();
    let mut later: HashMap<Address, (Instant, Backoff)> = HashMap::new();
    let mut look = tokio::time::interval(LOOK);
    loop {
        look.tick().await;
        let units = world.net().directory().units_with(Role::Su);
        let known = |address: &Address| units.iter().any(|unit| unit.address == *address);
        right.retain(|address, _| known(address));
        later.retain(|address, _| known(address));
        for unit in units {
            let Some(url) = url_of(&unit) else { continue };
            let address = unit.address;
            let waits = later.get(&address).is_some_and(|(at, _)| *at > Instant::now());
            if waits || right.get(&address) == Some(&url) {
                continue;
            }
            if newest(world.log(), &address)?.is_some_and(|item| item.tag("Url") == Some(&url)) {
                right.insert(address, url);
                later.remove(&address);
                continue;
            }
            let fresh = || (Instant::now(), Backoff::new(FIRST_RETRY_MS, LAST_RETRY_MS));
            let (at, backoff) = later.entry(address).or_insert_with(fresh);
            *at = Instant::now() + Duration::from_millis(backoff.next_ms());
            match address == world.address() {
                true => publish(world, &url).await?,
                false => drop(tokio::spawn(ask(world.clone(), unit))),
            }
        }
    }
}

/// The URL under which a unit's scheduler is found: a unit that is nothing else serves it at its root.
fn url_of(unit: &Unit) -> Option<String> {
    let base = unit.http_url.as_deref()?.trim_end_matches('/');
    let bare = unit.roles == [Role::Su] && !unit.dev_chain;
    Some(if bare { base.to_string() } else { format!("{base}/su") })
}

/// Whether an item is the location of an announced scheduler and does not say where it is now: an old one, which would
/// count as the newest where it was not known.
pub fn is_outdated(world: &World, item: &VerifiedItem) -> bool {
    let unit = || world.net().directory().unit(&item.address());
    item.tag("Type") == Some(TYPE)
        && unit().and_then(|unit| url_of(&unit)).is_some_and(|url| item.tag("Url") != Some(&url))
}

/// The newest location of a scheduler that is known here.
pub fn newest(store: &Store, scheduler: &Address) -> Result<Option<VerifiedItem>, LogError> {
    let tag = |name: &str, value: &str| TagCondition { name: name.into(), values: vec![value.into()], negated: false };
    let tags = vec![tag("Data-Protocol", "ao"), tag("Type", TYPE)];
    let filter = Filter { owners: vec![scheduler.to_string()], tags, ..Filter::default() };
    let search = Search { filter, newest_first: true, after: None, limit: 1 };
    let found = match store.search(&search, &Effort::default()) {
        Ok(found) => found,
        Err(SearchError::Log(cause)) => return Err(cause),
        Err(SearchError::TooCostly) => return Ok(None),
    };
    found.documents.first().map_or(Ok(None), |(_, document)| store.item(&document.id))
}

async fn publish(world: &World, url: &str) -> Result<(), LogError> {
    let item = ItemBuilder::new()
        .anchor(rand::random())
        .tag("Data-Protocol", "ao")
        .tag("Variant", "ao.TN.1")
        .tag("Type", TYPE)
        .tag("Url", url)
        .tag("Time-To-Live", TIME_TO_LIVE_MS.to_string())
        .sign(world.wallet().as_ref());
    let item = match item {
        Ok(item) => item,
        Err(cause) => {
            warn!(%cause, "the unit wallet can't sign this scheduler's location");
            return Ok(());
        }
    };
    keep(world, item.clone(), Durability::Synced)?;
    let gossip = Gossip::Item(ItemBytes(item.bytes().to_vec()));
    if let Err(cause) = world.net().publish(0, &gossip).await {
        debug!(%cause, "this scheduler's location was not gossiped; who needs it asks for it");
    }
    Ok(())
}

/// Asks a scheduler for its location.
async fn ask(world: World, unit: Unit) {
    let answer = world.net().request(&unit.peer, &Request::Location(unit.address)).await;
    let Ok(Response::Item(Some(bytes))) = answer else { return };
    let item = match world.verified().verify_or_say(bytes).await {
        Ok(item) => item,
        Err(cause) => return debug!(peer = %unit.peer, %cause, "a scheduler's location was refused"),
    };
    if item.address() != unit.address || item.tag("Type") != Some(TYPE) || is_outdated(&world, &item) {
        return debug!(peer = %unit.peer, "a scheduler answered with something else than its location");
    }
    // Without room it is asked for again later.
    if let Err(cause) = keep(&world, item, Durability::Relaxed)
        && !matches!(cause, LogError::Full(_))
    {
        world.fail(&cause);
    }
}

fn keep(world: &World, item: VerifiedItem, durability: Durability) -> Result<(), LogError> {
    let mut batch = Batch::new();
    batch.push(Write::Item(item));
    world.log().commit(batch, durability)
}
