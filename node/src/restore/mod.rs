//! Rebuilding logs from Arweave alone. Bundles are found by their tags, and what is in them is taken as from any peer:
//! every signature, chain link and id is checked, so that whoever wrote a bundle or serves it can leave something out,
//! and nothing else. How far it came is the log itself: what was interrupted goes on where it was.

mod branch;
mod checkpoint;
mod fetch;
mod find;
mod take;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ao_protocol::id::{Address, Id};
use ao_protocol::log::{Log, LogError};
use futures::StreamExt;
use thiserror::Error;

use crate::arweave::{Gateway, GatewayError};
use crate::store::Store;
use fetch::{Fetched, Opened, fetch};
use find::Container;

/// Largest bundle that is read, in bytes.
pub const MAX_BUNDLE_BYTES: usize = 64 * 1024 * 1024;
/// Most bundles that are looked at.
pub const MAX_BUNDLES: usize = 1_000_000;
/// Most refusals that are told one by one.
pub const MAX_REFUSALS: usize = 1000;

/// Bundles that are fetched at once.
const AT_ONCE: usize = 2;
/// Most refusals of one bundle that are told.
const MAX_REFUSALS_OF_ONE: usize = 10;
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

impl Wanted {
    /// What is noted under, of what came before.
    fn key(&self) -> [u8; 32] {
        match self {
            Wanted::Process(process) => process.to_bytes(),
            Wanted::Scheduler(scheduler) => scheduler.to_bytes(),
        }
    }
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
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Each process and its highest slot.
    pub processes: BTreeMap<Id, u64>,
    /// Processes of which a state is there, too: after which slot.
    pub checkpoints: BTreeMap<Id, u64>,
    /// Slots that are new in the log.
    pub slots: u64,
    /// Bundles that were found.
    pub bundles: usize,
    /// Bytes that were fetched.
    pub bytes: u64,
    /// What was refused: the transaction or item that held it, and why.
    pub refused: Vec<(Id, String)>,
    /// What the gateway did not give, or not as it was signed: the transaction or item, and why.
    pub unfetched: BTreeMap<Id, String>,
    /// Slots that a bundle has and whose predecessors are nowhere, or that wait for a resume: process and slot.
    pub ahead: BTreeMap<Id, u64>,
}

impl Report {
    /// Whether nothing that was found is missing.
    pub fn is_whole(&self) -> bool {
        !self.processes.is_empty() && self.ahead.is_empty() && self.unfetched.is_empty()
    }
}

/// Rebuilds logs.
pub struct Restore {
    gateway: Gateway,
    log: Arc<Store>,
    wanted: Wanted,
    /// Processes that are wanted for who may resume another: only their first slots.
    ancestors: BTreeSet<Id>,
    report: Report,
    /// By unit: who followed it when it mirrored last.
    followers: BTreeMap<Address, (u64, Vec<Address>)>,
    /// Owners' words whose branches this log came over to.
    joined: BTreeSet<Id>,
}

impl Restore {
    /// Into a log, which may have some of it.
    pub fn new(gateway: Gateway, log: Arc<Store>, wanted: Wanted) -> Restore {
        Restore {
            gateway,
            log,
            wanted,
            ancestors: BTreeSet::new(),
            report: Report::default(),
            followers: BTreeMap::new(),
            joined: BTreeSet::new(),
        }
    }

    /// Does it, and tells how far it is.
    pub async fn run(mut self, tell: &mut dyn FnMut(&Progress)) -> Result<Report, RestoreError> {
        let all = find::containers(&self.gateway, &self.wanted).await?;
        self.report.bundles = all.len();
        let mut progress = Progress { bundles: all.len(), ..Progress::default() };
        tell(&progress);
        let mut left = Vec::new();
        for container in &all {
            match self.log.is_restored(&self.wanted.key(), &container.id)? {
                true => progress.done += 1,
                false => left.push(*container),
            }
        }
        loop {
            let before = self.report.slots;
            let (again, resumed) = self.pass(left, &mut progress, tell).await?;
            left = again;
            let mut further = resumed || self.report.slots > before;
            // Who owns a spawned process is in the first slots of those before it.
            for ancestor in self.missing_ancestors()? {
                self.ancestors.insert(ancestor);
                let more = find::containers(&self.gateway, &Wanted::Process(ancestor)).await?;
                let with_first = |container: &Container| container.first.is_none_or(|first| first == 0);
                for container in more.into_iter().filter(with_first) {
                    further = true;
                    if left.iter().all(|other| other.id != container.id) {
                        left.push(container);
                    }
                }
            }
            // Slots were taken back: whatever has been read may have others in their places.
            if self.come_over(&all).await? || resumed {
                self.log.forget_restored()?;
                left.clone_from(&all);
                further = true;
            }
            if left.is_empty() || !further {
                break;
            }
            progress.bundles = progress.done + left.len();
        }
        for process in self.restored()? {
            let Some(tip) = self.log.tip(&process)? else { continue };
            self.report.processes.insert(process, tip.slot);
            // Its scheduler may have given slots that are in no bundle.
            let scheduler = self.log.process(&process)?.map(|read| read.scheduler());
            let followers = scheduler.and_then(|scheduler| self.followers.get(&scheduler));
            self.log.note_recovering(&process, followers.map_or(&[], |(_, followers)| followers))?;
            self.take_checkpoint(&process).await?;
        }
        let mut ahead = std::mem::take(&mut self.report.ahead);
        // What strangers say of processes that are nowhere counts for nothing.
        ahead.retain(|process, slot| self.report.processes.get(process).is_some_and(|tip| *slot > *tip));
        self.report.ahead = ahead;
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
        let (mut again, mut resumed) = (Vec::new(), false);
        let gateway = self.gateway.clone();
        let fetched = futures::stream::iter(containers).map(|container| {
            let gateway = gateway.clone();
            // A task of its own: it goes on while what came before is taken in.
            tokio::spawn(async move { (container, fetch(&gateway, &container.id).await) })
        });
        let mut fetched = std::pin::pin!(fetched.buffered(AT_ONCE));
        while let Some(done) = fetched.next().await {
            progress.done += 1;
            let Ok((container, read)) = done else { continue };
            self.report.unfetched.remove(&container.id);
            match read? {
                Fetched::Not(cause) => {
                    self.report.unfetched.insert(container.id, cause);
                    again.push(container);
                }
                Fetched::Forged(cause) => self.refuse(container.id, cause),
                Fetched::Opened(Opened { contents, bytes, refused }) => {
                    self.report.bytes += bytes;
                    refused.into_iter().for_each(|cause| self.refuse(container.id, cause));
                    let taken = self.take(&container, &contents)?;
                    resumed |= taken.resumed;
                    match taken.again {
                        true => again.push(container),
                        false => self.log.note_restored(&self.wanted.key(), &container.id)?,
                    }
                }
            }
            progress.slots = self.report.slots;
            tell(progress);
        }
        Ok((again, resumed))
    }

    fn refuse(&mut self, container: Id, cause: String) {
        let of_one = self.report.refused.iter().filter(|(id, _)| *id == container).count();
        let refusal = (container, cause);
        if self.report.refused.len() < MAX_REFUSALS
            && of_one < MAX_REFUSALS_OF_ONE
            && !self.report.refused.contains(&refusal)
        {
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
