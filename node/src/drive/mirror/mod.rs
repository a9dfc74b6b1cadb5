//! The mirror follows the log and puts it on Arweave: it gathers slots into bundles, keeps each before it posts it,
//! watches it until it has enough blocks behind it and can be read back, and posts again what was lost. While the
//! gateway is away only the backlog grows.

mod checkpoints;
mod posting;
mod shown;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use ao_protocol::announcement::Role;
use ao_protocol::backoff::Backoff;
use ao_protocol::id::{Address, Id};
use ao_protocol::item::ItemBuilder;
use ao_protocol::log::{Log, LogError};
use ao_protocol::mirror::{Bundled, Gathering};
use ao_protocol::tag::Tag;
use ao_protocol::transaction::chunks::MAX_CHUNK_BYTES;
use ao_protocol::transaction::{Transaction, TransactionBuilder};
use ao_protocol::wallet::{Signer, Wallet};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::TryRecvError;
use tokio::time::Instant;
use tracing::{info, warn};

use super::{Change, World, room};
use crate::arweave::{Carrier, Gateway, GatewayError, Terms};
pub use checkpoints::MAX_MIRRORED_STATE_BYTES;
use posting::Posting;
use shown::Showing;

pub use shown::{Shown, ShownBundle};

/// Bytes of a bundle's items when nothing is said.
pub const BATCH_BYTES: usize = 4 * 1024 * 1024;
/// Most bytes of a bundle's items that may be asked for.
pub const MAX_BATCH_BYTES: usize = 32 * 1024 * 1024;
/// Longest wait of a slot for others to go with it, when nothing is said.
pub const BATCH_TIME: Duration = Duration::from_secs(60);
/// Blocks from a bundle's own on after which it counts as there for good, when nothing is said.
pub const CONFIRMATIONS: u64 = 10;
/// The most that is paid for a byte when nothing is said, in winston: three times what `arlocal` asks for.
pub const MAX_PRICE: u128 = 200_000;
/// Most bundles on their way; then slots wait in the log.
pub const MAX_OPEN_BUNDLES: usize = 256;

/// Slots after which a checkpoint of a process is mirrored, when nothing is said.
pub const CHECKPOINT_SLOTS: u64 = 10_000;

/// What no id of a transaction of ours begins with: arlocal takes an id for what is behind the first `/tx` of a path,
/// and so finds nothing at `/tx/tx…`.
const LOST_ON_ARLOCAL: &str = "tx";
/// About how many bytes a slot has: when so many wait that a bundle may be full, it is made.
const SLOT_BYTES: u64 = 1500;
/// Time between two looks at what is to be done.
const LOOK: Duration = Duration::from_millis(200);
/// Wait after a failure, in milliseconds, doubling up to the second.
const FIRST_RETRY_MS: u64 = 500;
const LAST_RETRY_MS: u64 = 30_000;

/// How a node mirrors.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where to, and where it is looked for then.
    pub gateway: Gateway,
    /// Who puts it there, if this node posts no transactions of its own.
    pub bundler: Option<Gateway>,
    /// Who pays: an RSA wallet, or for a bundler any.
    pub wallet: Arc<Wallet>,
    /// Bytes of a bundle's items.
    pub batch_bytes: usize,
    /// Longest wait of a slot for others to go with it.
    pub batch_time: Duration,
    /// Blocks from a bundle's own on after which it counts as there for good.
    pub confirmations: u64,
    /// The most that is paid for a byte, in winston.
    pub max_price: u128,
    /// Slots of a process after which a checkpoint of it is mirrored; none: never.
    pub checkpoint_slots: Option<u64>,
}

/// The mirror of a node. Cloning is cheap.
#[derive(Clone)]
pub struct Mirror {
    world: World,
    settings: Arc<Settings>,
    showing: Showing,
}

impl Settings {
    /// On what terms data of so many bytes is taken now; a price beyond what may be paid is refused.
    async fn terms(&self, bytes: usize) -> Result<Terms, GatewayError> {
        if self.bundler.is_some() {
            return Ok(Terms { height: self.gateway.height().await?, anchor: Vec::new(), price: 0 });
        }
        let terms = self.gateway.terms(bytes).await?;
        // Arweave counts whole pieces.
        let most = self.max_price.saturating_mul(bytes.max(MAX_CHUNK_BYTES) as u128);
        if terms.price > most {
            let cause =
                format!("{} winston for {bytes} bytes, more than the {most} of --mirror-max-price", terms.price);
            return Err(GatewayError::Garbage { url: self.gateway.url().to_string(), what: "acceptable price", cause });
        }
        Ok(terms)
    }

    /// Signs what is to carry this data, which is kept beside it.
    fn sign(&self, data: &[u8], tags: Vec<Tag>, terms: Terms) -> Result<Carrier, LogError> {
        let failed = |cause: &dyn std::fmt::Display| LogError::Database(format!("a bundle can't be signed: {cause}"));
        if self.bundler.is_some() {
            // Equal data in another bundle is another item.
            let builder = ItemBuilder { tags, anchor: Some(rand::random()), ..ItemBuilder::new() };
            let head = builder.sign_head(data, &*self.wallet).map_err(|cause| failed(&cause))?;
            return Ok(Carrier::Item { id: head.id(), head: head.bytes().to_vec(), size: data.len() as u64 });
        }
        let (last_tx, reward) = (terms.anchor, terms.price);
        let builder = TransactionBuilder { last_tx, tags, reward, ..TransactionBuilder::default() };
        let signed = sign_findable(|| builder.clone().sign(data, &self.wallet)).map_err(|cause| failed(&cause))?;
        Ok(Carrier::Transaction(Box::new(Transaction { data: Vec::new(), ..signed })))
    }
}

/// Signs until gateways can look up what was signed: every signature has a salt of its own, and so gives another id.
fn sign_findable<E>(mut sign: impl FnMut() -> Result<Transaction, E>) -> Result<Transaction, E> {
    loop {
        let signed = sign()?;
        if !signed.id.to_string().starts_with(LOST_ON_ARLOCAL) {
            return Ok(signed);
        }
    }
}

/// What was gathered.
struct Gathered {
    bundled: Bundled,
    /// Processes of which nothing can go now.
    stuck: Vec<Id>,
    /// Whether more is left.
    full: bool,
    /// How often slots had been taken back before.
    rewound: u64,
}

/// Slots that wait.
#[derive(Default)]
struct Behind {
    /// By process: the next slot to mirror, and the highest one.
    processes: BTreeMap<Id, (u64, u64)>,
    /// The process that a bundle ended with: the others come first.
    last: Option<Id>,
    /// Since when something waits.
    since: Option<Instant>,
    /// Whether more is left than went into the last bundle.
    more: bool,
    /// Processes of which a checkpoint is due.
    checkpoints: BTreeSet<Id>,
}

impl Behind {
    fn slots(&self) -> u64 {
        self.processes.values().map(|(next, tip)| tip + 1 - next).sum()
    }

    /// In the order of their turns.
    fn turns(&self) -> Vec<Id> {
        let after = self.last.map_or(Bound::Unbounded, Bound::Excluded);
        let first = self.processes.range((after, Bound::Unbounded));
        let turns = first.chain(self.processes.range(..)).take(self.processes.len());
        turns.map(|(process, _)| *process).collect()
    }
}

impl Mirror {
    /// Not running yet.
    pub fn new(world: World, settings: Settings) -> Mirror {
        let showing = Showing::new(&settings);
        Mirror { world, settings: Arc::new(settings), showing }
    }

    /// What is known of it.
    pub fn shown(&self) -> Result<Shown, LogError> {
        self.showing.shown(self.world.log())
    }

    /// Mirrors until the log fails.
    pub async fn run(self) {
        while self.world.goes_on(self.follow().await).await {}
    }

    /// Whether a process is mirrored here: a scheduler has what it schedules to see to, another node all it follows.
    fn mirrors(&self, process: &Id) -> Result<bool, LogError> {
        if !self.world.plays(Role::Su) {
            return Ok(true);
        }
        let process = self.world.log().process(process)?;
        Ok(process.is_some_and(|process| process.scheduler() == self.world.address()))
    }

    async fn follow(&self) -> Result<(), LogError> {
        let mut changes = self.world.changes();
        let mut behind = Behind::default();
        for process in self.world.processes()? {
            self.look(&mut behind, &process)?;
        }
        let mut posting = Posting::begin(self.world.clone(), self.settings.clone(), self.showing.clone())?;
        let (mut backoff, mut not_before) = (Backoff::new(FIRST_RETRY_MS, LAST_RETRY_MS), Instant::now());
        let mut clock = tokio::time::interval(LOOK);
        clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            clock.tick().await;
            self.hear(&mut changes, &mut behind)?;
            self.showing.behind(behind.slots(), behind.processes.len());
            posting.go_on()?;
            let room = room::MIN_FREE_BYTES + 2 * MAX_MIRRORED_STATE_BYTES as u64;
            if posting.open() < MAX_OPEN_BUNDLES
                && self.world.lack_of_room(room).is_none()
                && let Some(process) = behind.checkpoints.pop_first()
            {
                match self.make_checkpoint(&process).await {
                    Ok(numbers) => numbers.into_iter().try_for_each(|number| posting.add(number))?,
                    Err(Failure::Log(cause)) => return Err(cause),
                    // The next bundle is another occasion.
                    Err(Failure::Gateway(cause)) => warn!(%process, %cause, "its checkpoint is not mirrored"),
                }
            }
            let due = self.is_due(&behind) && posting.open() < MAX_OPEN_BUNDLES && Instant::now() >= not_before;
            if !due || self.world.lack_of_room(room::MIN_FREE_BYTES_TO_FOLLOW).is_some() {
                continue;
            }
            match self.make(&mut behind).await {
                Ok(Some(number)) => {
                    backoff.reset();
                    posting.add(number)?;
                }
                Ok(None) => {}
                Err(Failure::Log(cause)) => return Err(cause),
                Err(Failure::Gateway(cause)) => {
                    let wait = backoff.next_ms();
                    warn!(%cause, wait_ms = wait, "no bundle can be made; slots wait in the log");
                    self.showing.failed(&cause.to_string());
                    not_before = Instant::now() + Duration::from_millis(wait);
                }
            }
        }
    }

    /// Takes in what changed.
    fn hear(&self, changes: &mut Receiver<Change>, behind: &mut Behind) -> Result<(), LogError> {
        let mut news = BTreeSet::new();
        loop {
            match changes.try_recv() {
                Ok(Change::Entry { process, .. } | Change::Branches { process }) => drop(news.insert(process)),
                Ok(_) => {}
                Err(TryRecvError::Lagged(_)) => news.extend(self.world.processes()?),
                Err(TryRecvError::Empty | TryRecvError::Closed) => break,
            }
        }
        news.iter().try_for_each(|process| self.look(behind, process))
    }

    /// Notes how far a process is behind.
    fn look(&self, behind: &mut Behind, process: &Id) -> Result<(), LogError> {
        let log = self.world.log();
        let (next, tip) = (log.mirrored(process)?, log.tip(process)?.map(|tip| tip.slot));
        match tip.filter(|tip| *tip >= next) {
            Some(tip) if self.mirrors(process)? => {
                behind.since.get_or_insert_with(Instant::now);
                behind.processes.insert(*process, (next, tip));
            }
            _ => drop(behind.processes.remove(process)),
        }
        Ok(())
    }

    fn is_due(&self, behind: &Behind) -> bool {
        let full = behind.slots().saturating_mul(SLOT_BYTES) >= self.settings.batch_bytes as u64;
        let late = behind.since.is_some_and(|since| since.elapsed() >= self.settings.batch_time);
        !behind.processes.is_empty() && (full || late || behind.more)
    }

    /// Makes the next bundle and keeps it; says its number. None when there is nothing that can go now.
    async fn make(&self, behind: &mut Behind) -> Result<Option<u64>, Failure> {
        // While it is away nothing is gathered and signed in vain.
        self.settings.gateway.height().await?;
        let (mirror, turns) = (self.clone(), behind.turns());
        let gathered = tokio::task::spawn_blocking(move || mirror.gather(&turns));
        // It can't be joined when the node is stopping.
        let Ok(gathered) = gathered.await else { return Ok(None) };
        let Gathered { bundled, stuck, full, rewound } = gathered?;
        // They wait for something else: a dispute to end, or a part of the log to come.
        behind.processes.retain(|process, _| !stuck.contains(process));
        if bundled.ranges.is_empty() {
            (behind.since, behind.more) = (None, false);
            return Ok(None);
        }
        let terms = self.settings.terms(bundled.data.len()).await?;
        let mirror = self.clone();
        let ranges = bundled.ranges.clone();
        let kept = tokio::task::spawn_blocking(move || {
            let log = mirror.world.log();
            let carrier = mirror.settings.sign(&bundled.data, bundled.tags, terms.clone())?;
            log.keep_bundle(&carrier, &bundled.data, (&bundled.ranges, &bundled.modules), terms.height, rewound)
        });
        let number = kept.await.unwrap_or(Ok(None))?;
        behind.last = ranges.last().map(|range| range.process);
        (behind.since, behind.more) = (full.then(Instant::now), full);
        for range in &ranges {
            self.look(behind, &range.process)?;
            if self.is_checkpoint_due(&range.process)? {
                behind.checkpoints.insert(range.process);
            }
        }
        if let Some(number) = number {
            let slots: u64 = ranges.iter().map(|range| range.last - range.first + 1).sum();
            info!(number, slots, processes = ranges.len(), "a bundle is made");
        }
        Ok(number)
    }

    /// Gathers what waits.
    fn gather(&self, turns: &[Id]) -> Result<Gathered, LogError> {
        let log = self.world.log();
        let rewound = log.rewound();
        let mut gathering = Gathering::new(self.settings.batch_bytes);
        let has = |module: &Id| log.is_module_mirrored(module).unwrap_or(false);
        let mut stuck = Vec::new();
        for process in turns {
            if gathering.is_full() {
                break;
            }
            let from = log.mirrored(process)?;
            if gathering.add(log, process, from, &has)? == from && !gathering.is_full() {
                stuck.push(*process);
            }
        }
        let full = gathering.is_full();
        let signer: &dyn Signer = &*self.settings.wallet;
        // Should this node lose its log, they may have what is in no bundle.
        let units = self.world.net().directory().units();
        let followers: Vec<Address> =
            units.iter().map(|unit| unit.address).filter(|unit| *unit != self.world.address()).collect();
        let unit: &dyn Signer = &**self.world.wallet();
        let bundled =
            gathering.finish(signer, (unit, &followers)).map_err(|cause| LogError::Database(cause.to_string()))?;
        Ok(Gathered { bundled, stuck, full, rewound })
    }
}

/// Why no bundle was made.
enum Failure {
    Gateway(GatewayError),
    Log(LogError),
}

impl From<GatewayError> for Failure {
    fn from(cause: GatewayError) -> Failure {
        Failure::Gateway(cause)
    }
}

impl From<LogError> for Failure {
    fn from(cause: LogError) -> Failure {
        Failure::Log(cause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_arlocal_would_not_find_is_signed_again() {
        let wallet = Wallet::from_jwk(include_str!("../../../../testnet/dev-wallet.json")).unwrap();
        let signed = TransactionBuilder::default().sign(b"", &wallet).unwrap();
        let id = |begin: &str| format!("{begin:A<43}").parse().unwrap();
        let mut ids = ["tx", "txt", "Tx", "A"].map(id).into_iter();
        let found = sign_findable(|| ids.next().map(|id| Transaction { id, ..signed.clone() }).ok_or(()));
        assert_eq!((found.unwrap().id, ids.len()), (id("Tx"), 1));
        assert!(sign_findable(|| Err(())).is_err());
    }
}
