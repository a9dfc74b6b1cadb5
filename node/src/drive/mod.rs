//! When each rule runs: a file per role, named as the rule. Drivers never call each other's rules; they write the log
//! and tell [`World::changed`], and whoever follows looks for itself.

pub mod adopt;
pub mod assign;
pub mod attestations;
pub mod attesting;
pub mod backfill;
pub mod branches;
mod change;
pub mod compute;
pub mod cron;
pub mod dead_letters;
pub mod dry_run;
pub mod handed;
pub mod inbound;
pub mod indexer;
mod item_budget;
pub mod location;
pub mod lookup;
pub mod measures;
pub mod messenger;
pub mod mirror;
pub mod permaweb;
pub mod race;
pub mod recover;
pub mod repair;
pub mod retries;
pub mod room;
pub mod scheduler;
pub mod submit;
pub mod tally;
pub mod unbundle;
pub mod uploads;
mod verdicts;
pub mod verified;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ao_protocol::announcement::Role;
use ao_protocol::id::{Address, Id};
use ao_protocol::log::{Log, LogError};
use ao_protocol::network::Network;
use ao_protocol::race::Commits;
use ao_protocol::trust::Trust;
use ao_protocol::wallet::{Signer, Wallet};
use ao_protocol::wire;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, broadcast, watch};

use crate::arweave::Block;
use crate::net::{Net, Unit};
use crate::store::Store;
use branches::Resumed;
pub use change::Change;
use handed::Handed;
use permaweb::Permaweb;
use recover::Recovery;
use retries::Retries;
use tally::Tally;
use verdicts::Verdicts;
use verified::Verified;

/// How many changes a slow listener may be behind before it must look at everything.
const CHANGES: usize = 4096;

/// Time between two looks at a full disk.
const ROOM_LOOK: Duration = Duration::from_millis(500);

/// What all drivers share. Cloning is cheap.
#[derive(Clone)]
pub struct World(Arc<Parts>);

struct Parts {
    log: Arc<Store>,
    net: Net,
    network: Arc<Network>,
    wallet: Arc<Wallet>,
    roles: Vec<Role>,
    follow_shards: u16,
    verdicts: Verdicts,
    verified: Verified,
    tally: Tally,
    changes: broadcast::Sender<Change>,
    commits: Mutex<Commits>,
    taking_attestations: Mutex<()>,
    retries: Retries,
    handed: Handed,
    resumed: Resumed,
    recovery: Recovery,
    permaweb: Permaweb,
    asking: Semaphore,
    runtime: Handle,
    newest_block: watch::Sender<Arc<Block>>,
    failure: watch::Sender<Option<String>>,
}

impl World {
    /// Puts the parts together.
    pub fn new(
        log: Arc<Store>,
        net: Net,
        network: Arc<Network>,
        wallet: Arc<Wallet>,
        roles: Vec<Role>,
        follow_shards: u16,
        permaweb: Permaweb,
    ) -> World {
        let (changes, _) = broadcast::channel(CHANGES);
        let (failure, _) = watch::channel(None);
        let (newest_block, _) = watch::channel(Arc::new(Block::none()));
        World(Arc::new(Parts {
            log,
            net,
            network,
            wallet,
            roles,
            follow_shards,
            verdicts: Verdicts::default(),
            verified: Verified::default(),
            tally: Tally::default(),
            changes,
            commits: Mutex::default(),
            taking_attestations: Mutex::default(),
            retries: Retries::default(),
            handed: Handed::default(),
            resumed: Resumed::default(),
            recovery: Recovery::default(),
            permaweb,
            asking: Semaphore::new(branches::MAX_ASKED),
            runtime: Handle::current(),
            newest_block,
            failure,
        }))
    }

    /// The newest block of Arweave, or of the dev chain that plays it, as far as this node knows.
    pub fn newest_block(&self) -> Arc<Block> {
        self.0.newest_block.borrow().clone()
    }

    /// Hears of new blocks from now on.
    pub fn blocks(&self) -> watch::Receiver<Arc<Block>> {
        self.0.newest_block.subscribe()
    }

    /// The unit that plays the network's chain: the one that the network file names, in an open network any that
    /// announced it.
    pub fn chain_unit(&self) -> Option<Unit> {
        let directory = self.net().directory();
        match self.network().dev_chain {
            Some(address) => directory.unit(&address),
            None if self.network().open => directory.units().into_iter().find(|unit| unit.dev_chain),
            None => None,
        }
        .filter(|unit| unit.address != self.address())
    }

    /// Says that there is a new block, which the log keeps already.
    pub fn mined(&self, block: Block) {
        self.0.newest_block.send_replace(Arc::new(block));
    }

    /// The log.
    pub fn log(&self) -> &Store {
        &self.0.log
    }

    /// The log, to be kept by a thread of its own.
    pub fn shared_log(&self) -> Arc<dyn Log> {
        self.0.log.clone()
    }

    /// The peers.
    pub fn net(&self) -> &Net {
        &self.0.net
    }

    /// The network file.
    pub fn network(&self) -> &Arc<Network> {
        &self.0.network
    }

    /// The unit wallet.
    pub fn wallet(&self) -> &Arc<Wallet> {
        &self.0.wallet
    }

    /// The unit's address.
    pub fn address(&self) -> Address {
        self.0.wallet.address()
    }

    /// The roles that this node plays.
    pub fn roles(&self) -> &[Role] {
        &self.0.roles
    }

    /// Whether it plays a role.
    pub fn plays(&self, role: Role) -> bool {
        self.0.roles.contains(&role)
    }

    /// Whether this node follows the shard of a process.
    pub fn follows(&self, process: &Id) -> bool {
        self.0.follow_shards >> wire::shard(process) & 1 == 1
    }

    /// Verifies items, each once.
    pub fn verified(&self) -> &Verified {
        &self.0.verified
    }

    /// How gossip was judged so far.
    pub fn verdicts(&self) -> &Verdicts {
        &self.0.verdicts
    }

    /// What this node did so far.
    pub fn tally(&self) -> &Tally {
        &self.0.tally
    }

    /// Held by who takes in an attestation.
    fn taking_attestations(&self) -> MutexGuard<'_, ()> {
        self.0.taking_attestations.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Commits to attestations that were not shown yet. Held for short: nothing is waited for meanwhile.
    pub fn commits(&self) -> MutexGuard<'_, Commits> {
        self.0.commits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What this node's messenger tries again.
    pub fn retries(&self) -> &Retries {
        &self.0.retries
    }

    /// Held by who asks a peer for resumes.
    fn asking(&self) -> &Semaphore {
        &self.0.asking
    }

    /// Where tasks run that threads of their own start.
    fn runtime(&self) -> &Handle {
        &self.0.runtime
    }

    /// Which processes wait for their log to be back.
    pub fn recovery(&self) -> &Recovery {
        &self.0.recovery
    }

    /// Data that processes read.
    pub fn permaweb(&self) -> &Permaweb {
        &self.0.permaweb
    }

    /// When processes were resumed.
    fn resumed(&self) -> &Resumed {
        &self.0.resumed
    }

    /// Outcomes that came with their attestations.
    pub fn handed(&self) -> &Handed {
        &self.0.handed
    }

    /// Whom to trust, as of now.
    pub fn trust(&self) -> Trust {
        let mut announced: Vec<(Address, Vec<Role>)> =
            self.net().directory().units().into_iter().map(|unit| (unit.address, unit.roles)).collect();
        if !announced.iter().any(|(address, _)| *address == self.address()) {
            announced.push((self.address(), self.roles().to_vec()));
            announced.sort();
        }
        Trust { network: self.network().clone(), announced }
    }

    /// Tells everybody that the log changed.
    pub fn changed(&self, change: Change) {
        // No listener is no error: a node without roles may have none.
        let _ = self.0.changes.send(change);
    }

    /// Hears of changes from now on.
    pub fn changes(&self) -> broadcast::Receiver<Change> {
        self.0.changes.subscribe()
    }

    /// Why nothing new may be taken in, if there is too little room on the log's disk for `least` bytes; see [`room`].
    pub fn lack_of_room(&self, least: u64) -> Option<String> {
        room::lack(self.log().folder(), least)
    }

    /// What a driver's end means. True when it is to begin again from the log: there was no room on the disk, and now
    /// there is. Any other failure of the log stops the node.
    pub async fn goes_on(&self, ended: Result<(), LogError>) -> bool {
        match ended {
            Ok(()) => false,
            Err(LogError::Full(cause)) => {
                tracing::warn!(%cause, "it waits for room on the disk");
                // RocksDB looks at the disk at its own times.
                tokio::time::sleep(ROOM_LOOK).await;
                self.wait_for_room(room::MIN_FREE_BYTES_TO_FOLLOW).await;
                true
            }
            Err(cause) => {
                self.fail(&cause);
                false
            }
        }
    }

    /// Waits until the log's disk has room for `least` bytes.
    pub async fn wait_for_room(&self, least: u64) {
        while self.lack_of_room(least).is_some() {
            tokio::time::sleep(ROOM_LOOK).await;
        }
    }

    /// The log can't be written any more: the node must stop, for nothing can be acknowledged.
    pub fn fail(&self, cause: &LogError) {
        tracing::error!(%cause, "the log failed; this node stops");
        self.0.failure.send_replace(Some(cause.to_string()));
    }

    /// Why the log can't be written any more, if so.
    pub fn failure(&self) -> Option<String> {
        self.0.failure.borrow().clone()
    }

    /// Changes that the slowest listener has still to hear of.
    pub fn waiting_changes(&self) -> usize {
        self.0.changes.len()
    }

    /// Waits until the log failed, if ever; gives the reason.
    pub async fn failed(&self) -> String {
        let mut failure = self.0.failure.subscribe();
        match failure.wait_for(Option::is_some).await {
            Ok(cause) => cause.clone().unwrap_or_default(),
            Err(_) => std::future::pending().await,
        }
    }

    /// All processes of the log, in pages.
    pub fn processes(&self) -> Result<Vec<Id>, LogError> {
        let mut processes: Vec<Id> = Vec::new();
        loop {
            let page = self.log().tips(processes.last(), ao_protocol::log::MAX_PAGE)?;
            if page.is_empty() {
                return Ok(processes);
            }
            processes.extend(page.into_iter().map(|(process, _)| process));
        }
    }

    /// Waits until `ready` gives something or the time is over; looks again at every change of this process.
    pub async fn wait_for<T>(
        &self,
        process: &Id,
        limit: Duration,
        mut ready: impl FnMut() -> Result<Option<T>, LogError>,
    ) -> Result<Option<T>, LogError> {
        let deadline = tokio::time::Instant::now() + limit;
        let mut changes = self.changes();
        loop {
            if let Some(found) = ready()? {
                return Ok(Some(found));
            }
            loop {
                match tokio::time::timeout_at(deadline, changes.recv()).await {
                    Ok(Ok(change)) if change.process() != process => {}
                    Ok(Ok(_) | Err(broadcast::error::RecvError::Lagged(_))) => break,
                    Ok(Err(broadcast::error::RecvError::Closed)) | Err(_) => return ready(),
                }
            }
        }
    }
}

/// The clock in milliseconds since 1970. Schedulers stamp slots with it; no outcome depends on it otherwise.
pub fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
