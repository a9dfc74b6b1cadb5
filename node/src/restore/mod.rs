//! Rebuilding logs from Arweave alone. Bundles are found by their tags, and what is in them is taken as from any peer:
//! every signature, chain link and id is checked, so that whoever wrote a bundle or serves it can leave something out,
//! and nothing else. How far it came is the log itself: what was interrupted goes on where it was.

mod branch;
mod find;
mod take;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use ao_protocol::backoff::Backoff;
use ao_protocol::id::{Address, Id};
use ao_protocol::item::{DataItem, VerifiedItem, bundle};
use ao_protocol::log::{Log, LogError};
use ao_protocol::mirror::{Contents, claimed_slots};
use futures::StreamExt;
use thiserror::Error;

use crate::arweave::{Gateway, GatewayError};
use crate::store::Store;
use find::Container;

/// Largest bundle that is read, in bytes.
pub const MAX_BUNDLE_BYTES: usize = 128 * 1024 * 1024;
/// Most bundles that are looked at.
pub const MAX_BUNDLES: usize = 1_000_000;
/// Most refusals that are told one by one.
pub const MAX_REFUSALS: usize = 1000;

/// Bundles that are fetched ahead.
const AHEAD: usize = 3;
/// How often a gateway that does not answer is asked again before it is given up.
const TRIES: u32 = 6;
/// Wait before the second try, in milliseconds, doubling up to the last.
const FIRST_RETRY_MS: u64 = 500;
const LAST_RETRY_MS: u64 = 10_000;

/// What is to be rebuilt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// One process.
    Process(Id),
    /// All that a scheduler schedules.
    Scheduler(Address),
}

/// Why it can't go on.
#[derive(Debug, Error)]
pub enum RestoreError {
    /// The gateway.
    #[error("{0}. What came so far is kept: run it again to go on")]
    Gateway(#[from] GatewayError),
    /// The log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// Somebody fills the gateway.
    #[error("more than {MAX_BUNDLES} bundles have these tags")]
    TooMany,
}

/// How far it is.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    /// Bundles that were looked at.
    pub done: usize,
    /// Of how many.
    pub bundles: usize,
    /// Slots that are new in the log.
    pub slots: u64,
    /// Bytes that were fetched.
    pub bytes: u64,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Each process and its highest slot.
    pub processes: BTreeMap<Id, u64>,
    /// Slots that are new in the log.
    pub slots: u64,
    /// Bundles that were found.
    pub bundles: usize,
    /// Bytes that were fetched.
    pub bytes: u64,
    /// What was refused: the transaction or item that held it, and why.
    pub refused: Vec<(Id, String)>,
    /// Slots that a bundle has and whose predecessors are nowhere, or that wait for a resume: process and slot.
    pub ahead: BTreeMap<Id, u64>,
}

/// Rebuilds logs.
pub struct Restore {
    gateway: Gateway,
    log: Arc<Store>,
    wanted: Wanted,
    /// Processes that are wanted for who may resume another: only their first slots.
    ancestors: BTreeSet<Id>,
    report: Report,
}

impl Restore {
    /// Into a log, which may have some of it.
    pub fn new(gateway: Gateway, log: Arc<Store>, wanted: Wanted) -> Restore {
        Restore { gateway, log, wanted, ancestors: BTreeSet::new(), report: Report::default() }
    }

    /// Does it, and tells how far it is.
    pub async fn run(mut self, tell: &mut dyn FnMut(&Progress)) -> Result<Report, RestoreError> {
        let mut left = find::containers(&self.gateway, &self.wanted).await?;
        let mut known: BTreeSet<Id> = left.iter().map(|container| container.id).collect();
        self.report.bundles = left.len();
        let mut progress = Progress { bundles: left.len(), ..Progress::default() };
        tell(&progress);
        loop {
            let before = self.report.slots;
            let (again, changed) = self.pass(left, &mut progress, tell).await?;
            left = again;
            // Who owns a spawned process is in the first slots of those before it.
            for ancestor in self.missing_ancestors()? {
                self.ancestors.insert(ancestor);
                let more = find::containers(&self.gateway, &Wanted::Process(ancestor)).await?;
                let with_first = |container: &Container| {
                    claimed_slots(&container.tags, &ancestor).is_none_or(|(first, _)| first == 0)
                };
                left.extend(more.into_iter().filter(with_first).filter(|container| known.insert(container.id)));
            }
            let joined = self.come_over(&known, &mut left).await?;
            if left.is_empty() || (!joined && !changed && self.report.slots == before) {
                break;
            }
            progress.bundles = progress.done + left.len();
        }
        for process in self.restored()? {
            let Some(tip) = self.log.tip(&process)? else { continue };
            self.report.processes.insert(process, tip.slot);
            // What is there need not be paid again.
            self.log.note_mirrored(&process, tip.slot + 1)?;
        }
        self.log.sync()?;
        Ok(self.report)
    }

    /// Looks at bundles once, in order. Gives those that are to be looked at again, and whether an owner's word came.
    async fn pass(
        &mut self,
        containers: Vec<Container>,
        progress: &mut Progress,
        tell: &mut dyn FnMut(&Progress),
    ) -> Result<(Vec<Container>, bool), RestoreError> {
        self.report.ahead.clear();
        let mut wanted = Vec::new();
        for container in containers {
            match self.is_passed(&container)? {
                true => progress.done += 1,
                false => wanted.push(container),
            }
        }
        let (mut again, mut changed) = (Vec::new(), false);
        let gateway = self.gateway.clone();
        let fetched = futures::stream::iter(wanted).map(|container| {
            let gateway = gateway.clone();
            async move {
                let read = fetch(&gateway, &container.id).await;
                (container, read)
            }
        });
        let mut fetched = std::pin::pin!(fetched.buffered(AHEAD));
        while let Some((container, read)) = fetched.next().await {
            progress.done += 1;
            match read? {
                Err(cause) => {
                    self.refuse(container.id, cause);
                    again.push(container);
                }
                Ok(Opened { contents, bytes, refused }) => {
                    progress.bytes += bytes;
                    self.report.bytes += bytes;
                    refused.into_iter().for_each(|cause| self.refuse(container.id, cause));
                    let taken = self.take(&container, &contents)?;
                    changed |= taken.resumed;
                    if taken.again {
                        again.push(container);
                    }
                }
            }
            progress.slots = self.report.slots;
            tell(progress);
        }
        Ok((again, changed))
    }

    /// Whether all that a bundle says that it has of the one process is here.
    fn is_passed(&self, container: &Container) -> Result<bool, LogError> {
        let Wanted::Process(process) = self.wanted else { return Ok(false) };
        let Some((_, last)) = claimed_slots(&container.tags, &process) else { return Ok(false) };
        Ok(self.log.tip(&process)?.is_some_and(|tip| last <= tip.slot))
    }

    fn refuse(&mut self, container: Id, cause: String) {
        let refusal = (container, cause);
        if self.report.refused.len() < MAX_REFUSALS && !self.report.refused.contains(&refusal) {
            self.report.refused.push(refusal);
        }
    }

    /// The processes that were to be rebuilt, as far as they are here.
    fn restored(&self) -> Result<Vec<Id>, LogError> {
        let mut found = Vec::new();
        let mut after = None;
        loop {
            let page = self.log.tips(after.as_ref(), ao_protocol::log::MAX_PAGE)?;
            let Some((last, _)) = page.last() else { return Ok(found) };
            after = Some(*last);
            for (process, _) in page {
                if self.is_wanted(&process)? {
                    found.push(process);
                }
            }
        }
    }
}

/// A bundle that was read.
struct Opened {
    contents: Contents,
    bytes: u64,
    /// What is wrong with some of its items.
    refused: Vec<String>,
}

/// Fetches a bundle and verifies what is in it. The inner error is of this bundle alone.
async fn fetch(gateway: &Gateway, id: &Id) -> Result<Result<Opened, String>, GatewayError> {
    let mut backoff = Backoff::new(FIRST_RETRY_MS, LAST_RETRY_MS);
    let data = loop {
        match gateway.data(id, MAX_BUNDLE_BYTES).await {
            Ok(data) => break data,
            Err(cause @ GatewayError::Unreachable { .. }) if backoff.attempts() + 1 >= TRIES => return Err(cause),
            Err(GatewayError::Unreachable { .. }) => {
                tokio::time::sleep(Duration::from_millis(backoff.next_ms())).await;
            }
            Err(cause) => return Ok(Err(cause.to_string())),
        }
    };
    let opened = tokio::task::spawn_blocking(move || open(&data)).await;
    Ok(opened.unwrap_or_else(|cause| Err(cause.to_string())))
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
    let verified: Vec<Result<VerifiedItem, String>> = std::thread::scope(|scope| {
        let threads: Vec<_> = shares.into_iter().map(|items| scope.spawn(move || verify(items))).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap_or_default()).collect()
    });
    let (mut whole, mut refused) = (Vec::with_capacity(verified.len()), Vec::new());
    for item in verified {
        match item {
            Ok(item) => whole.push(item),
            Err(cause) => refused.push(cause),
        }
    }
    Ok(Opened { contents: Contents::of(whole), bytes: data.len() as u64, refused })
}
