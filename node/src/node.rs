//! A node: the only place where the parts are wired together.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use ao_protocol::announcement::Role;
use ao_protocol::entry::Entry;
use ao_protocol::id::Id;
use ao_protocol::log::{Batch, Durability, Log, Write};
use ao_protocol::network::Network;
use ao_protocol::wallet::{Signer, Wallet};
use ao_protocol::wire::{EntryBytes, Gossip, MAX_GOSSIP_BATCH_BYTES, shard};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tracing::{debug, info, warn};

use crate::arweave::{self, DevChain, Gateway};
use crate::drive::compute::{Computer, half_of_memory};
use crate::drive::dead_letters::DeadLetters;
use crate::drive::inbound::{Inbound, roles_text};
use crate::drive::mirror::{self, Mirror};
use crate::drive::permaweb::Permaweb;
use crate::drive::recover::{self, AcceptedTip};
use crate::drive::repair::Follower;
use crate::drive::scheduler::{Scheduler, Surroundings};
use crate::drive::submit::Submitter;
use crate::drive::{
    Change, World, adopt, attesting, backfill, branches, cron, indexer, location, measures, messenger, race, room,
    uploads,
};
use crate::http::{self, Api, Clients, Parts};
use crate::metrics::Registering;
use crate::net::{Net, NetConfig, NetEvent, NetMetrics, PeerKey};
use crate::store::Store;
use crate::vm::Launcher;
use crate::{key_file, runtime, vm};

/// Most batches of new entries that wait to be gossiped; what does not fit is found by repair.
const GOSSIP_QUEUE: usize = 256;

/// What a node is made of.
#[derive(Debug)]
pub struct Config {
    /// What it does for others.
    pub roles: Vec<Role>,
    /// Multiaddrs to listen on.
    pub listen: Vec<String>,
    /// Multiaddrs of peers to join.
    pub join: Vec<String>,
    /// Where to listen for HTTP.
    pub http: SocketAddr,
    /// What clients of it may ask.
    pub clients: Clients,
    /// Folder for log and keys.
    pub data: PathBuf,
    /// The unit wallet's file; none: in the data folder.
    pub wallet: Option<PathBuf>,
    /// The network file; none: that of the joined peer, else an open one.
    pub network: Option<Network>,
    /// Bit mask of the shards that are followed.
    pub follow_shards: u16,
    /// Whether this node plays Arweave for the network.
    pub dev_chain: bool,
    /// Whether peers are found by mDNS.
    pub mdns: bool,
    /// How processes are evaluated.
    pub workers: Workers,
    /// A gateway of Arweave, if there is one.
    pub gateway: Option<Gateway>,
    /// Most bytes of data that are kept for processes to read.
    pub data_bytes: u64,
    /// How the log is put on Arweave, if it is.
    pub mirror: Option<mirror::Settings>,
    /// Tips that a scheduler which lost its log goes on from, though followers of it are gone.
    pub accepted_tips: Vec<AcceptedTip>,
}

/// What a compute unit's workers are, and may hold.
#[derive(Clone, Debug, Default)]
pub struct Workers {
    /// The program that is run as worker; none: this executable. For nodes within another program.
    pub program: Option<PathBuf>,
    /// Bytes of memory that they may hold together; none: half of the machine's.
    pub memory: Option<u64>,
    /// Processor time of a request, before patience; none: 60 s.
    pub processor_time: Option<Duration>,
    /// Whether every slot is evaluated here, and no process begins with a checkpoint of others.
    pub verify_from_zero: bool,
}

/// A running node.
pub struct Node {
    world: World,
    http_url: String,
    stop: watch::Sender<bool>,
    served: JoinHandle<std::io::Result<()>>,
}

impl Node {
    /// Starts a node. It plays its roles until [`Node::stop`].
    pub async fn start(config: Config) -> Result<Node> {
        std::fs::create_dir_all(&config.data)
            .with_context(|| format!("the data folder {} can't be made", config.data.display()))?;
        let log = Arc::new(Store::open(&config.data.join("log"))?);
        let wallet = Arc::new(unit_wallet(config.wallet.as_deref(), &config.data)?);
        if config.roles.contains(&Role::Cu) {
            vm::self_test().context("this machine computes Lua differently than others; the role cu is refused")?;
        }
        let listener = http::listen(config.http).await?;
        let http_url = format!("http://{}", listener.local_addr()?);
        let mut metrics = Registering::new();
        let (net, mut events) = Net::start(NetConfig {
            key: PeerKey::load_or_create(&config.data.join("peer.key"))?,
            listen: config.listen.clone(),
            join: config.join.clone(),
            network: first_network(&config),
            wallet: wallet.clone(),
            roles: config.roles.clone(),
            http_url: Some(http_url.clone()),
            dev_chain: config.dev_chain,
            follow_shards: config.follow_shards,
            mdns: config.mdns,
            metrics: NetMetrics::new(&mut metrics),
        })
        .await?;
        let network = match net.network() {
            Some(network) => network,
            None => learn_network(&mut events).await?,
        };
        let permaweb = Permaweb::open(config.data.join("permaweb"), config.data_bytes, config.gateway.clone())?;
        let world = World::new(log, net, network, wallet, config.roles.clone(), config.follow_shards, permaweb);
        keep_runtime(&world)?;
        let clients = config.clients.clone();
        let api = play_roles(&world, events, config, metrics)?;
        let (stop, mut stopping) = watch::channel(false);
        let stopped = async move { drop(stopping.wait_for(|stop| *stop).await) };
        let served = tokio::spawn(api.serve(listener, clients, stopped));
        Ok(Node { world, http_url, stop, served })
    }

    /// What the node's drivers share.
    pub fn world(&self) -> &World {
        &self.world
    }

    /// Where it serves HTTP.
    pub fn http_url(&self) -> &str {
        &self.http_url
    }

    /// Waits until the node can't go on: its log or its HTTP server failed.
    pub async fn failed(&mut self) -> anyhow::Error {
        tokio::select! {
            cause = self.world.failed() => anyhow!("{cause}. Nothing acknowledged is lost; start the node again"),
            served = &mut self.served => anyhow!("the HTTP server ended: {served:?}"),
        }
    }

    /// Takes no more requests and leaves the network. What was acknowledged is on disk already.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        self.world.net().clone().shutdown().await;
        self.served.abort();
    }
}

/// Runs a node until it is told to stop by Ctrl-C or SIGTERM, or fails.
pub async fn run(config: Config) -> Result<()> {
    let mut node = Node::start(config).await?;
    greet(node.world(), node.http_url()).await;
    tokio::select! {
        cause = node.failed() => return Err(cause),
        () = told_to_stop() => info!("stopping"),
    }
    node.stop().await;
    Ok(())
}

/// Starts the drivers of the node's roles, and those that every node needs.
fn play_roles(
    world: &World,
    events: mpsc::Receiver<NetEvent>,
    config: Config,
    mut metrics: Registering,
) -> Result<Api> {
    let Config { workers, dev_chain, mirror, .. } = config;
    if world.plays(Role::Su) {
        recover::begin(world)?;
    }
    let scheduler = match world.plays(Role::Su) {
        true => Some(start_scheduler(world)?),
        false => None,
    };
    if let Some(scheduler) = &scheduler {
        tokio::spawn(cron::run(world.clone(), scheduler.clone()));
    }
    let submitter = Submitter::new(world.clone(), scheduler.clone());
    let follower = Follower::start(world.clone())?;
    if world.plays(Role::Su) {
        let joins = !config.join.is_empty();
        tokio::spawn(recover::run(world.clone(), follower.clone(), config.accepted_tips, joins));
    }
    let computer = match world.plays(Role::Cu) {
        true => {
            let mut launcher = workers.program.map_or_else(Launcher::this_executable, Launcher::new);
            if let Some(processor_time) = workers.processor_time {
                launcher = launcher.with_processor_time(processor_time);
            }
            launcher = launcher.with_data(Arc::new(world.permaweb().clone()));
            let memory = workers.memory.unwrap_or_else(half_of_memory);
            let join = (!workers.verify_from_zero).then(|| follower.clone());
            let computer = Computer::new(world.clone(), launcher, memory, join);
            tokio::spawn(computer.clone().run());
            tokio::spawn(attesting::run(world.clone()));
            tokio::spawn(backfill::run(world.clone(), computer.clone()));
            Some(computer)
        }
        false => None,
    };
    let chain = match dev_chain {
        true => {
            let chain = DevChain::open(world.clone())?;
            tokio::spawn(chain.clone().run());
            Some(chain)
        }
        false => {
            tokio::spawn(arweave::follow(world.clone()));
            None
        }
    };
    let mirror = mirror.map(|settings| Mirror::new(world.clone(), settings));
    mirror.iter().for_each(|mirror| drop(tokio::spawn(mirror.clone().run())));
    measures::watch(&mut metrics, world, scheduler.as_ref(), computer.as_ref());
    mirror.iter().for_each(|mirror| measures::watch_mirror(&mut metrics, mirror));
    let (dead_letters, redrives) = DeadLetters::new(world.clone());
    let parts = Parts {
        submitter: submitter.clone(),
        computer: computer.clone(),
        chain,
        dead_letters,
        follower: follower.clone(),
        mirror,
    };
    let api = Api::new(world.clone(), parts, metrics.finish());
    tokio::spawn(branches::run(world.clone(), follower.clone()));
    tokio::spawn(Inbound::new(world.clone(), follower, scheduler, api.passed_on()).run(events));
    tokio::spawn(adopt::run(world.clone(), computer));
    tokio::spawn(race::run(world.clone()));
    tokio::spawn(indexer::run(world.clone()));
    tokio::spawn(uploads::run(world.clone()));
    tokio::spawn(location::run(world.clone()));
    if world.plays(Role::Mu) {
        tokio::spawn(messenger::run(world.clone(), submitter, redrives));
    }
    Ok(api)
}

/// The wallet of a unit: that of a file, or the one in its data folder, made on first use.
pub fn unit_wallet(file: Option<&Path>, data: &Path) -> Result<Wallet> {
    Ok(match file {
        Some(path) => key_file::load(path)?,
        None => key_file::load_or_create(&data.join("wallet.json"))?.0,
    })
}

/// The network file that is known before any peer was asked.
fn first_network(config: &Config) -> Option<Network> {
    match (&config.network, config.join.is_empty()) {
        (Some(network), _) => Some(network.clone()),
        (None, true) => Some(Network::open("local")),
        (None, false) => None,
    }
}

/// Waits for the network file of the joined peer.
async fn learn_network(events: &mut mpsc::Receiver<NetEvent>) -> Result<Arc<Network>> {
    info!("waiting for the joined peer's network file");
    while let Some(event) = events.recv().await {
        if let NetEvent::NetworkLearned(network) = event {
            return Ok(Arc::new(network));
        }
    }
    Err(anyhow!("the network layer ended before a peer was reached"))
}

/// Every node holds our runtime, so that a process that names it can be computed anywhere.
fn keep_runtime(world: &World) -> Result<()> {
    let mut batch = Batch::new();
    batch.push(Write::Item(runtime::module().clone()));
    Ok(world.log().commit(batch, Durability::Relaxed)?)
}

async fn greet(world: &World, http_url: &str) {
    let network = world.network();
    let open = if network.open { ", open: every announced unit counts (for development)" } else { "" };
    println!("ao-node {} · roles {}", env!("CARGO_PKG_VERSION"), roles_text(world.roles()));
    println!("network  {} ({}){open}", network.name, network.hash());
    println!("address  {}", world.address());
    println!("http     {http_url}");
    for address in world.net().listen_addresses().await {
        println!("peer     {address}");
    }
}

fn start_scheduler(world: &World) -> Result<Scheduler> {
    let (batches, waiting) = mpsc::channel::<(Id, Vec<EntryBytes>)>(GOSSIP_QUEUE);
    tokio::spawn(gossip_entries(world.clone(), waiting));
    let (trusting, dating, timing) = (world.clone(), world.clone(), world.clone());
    let (measuring, telling, failing) = (world.clone(), world.clone(), world.clone());
    let recovering = world.clone();
    let signer: Arc<Wallet> = world.wallet().clone();
    let scheduler = Scheduler::start(Surroundings {
        log: world.shared_log(),
        rewinds: world.log().rewinds(),
        signer: signer as Arc<dyn Signer>,
        trust: Box::new(move || trusting.trust()),
        block_height: Box::new(move || dating.newest_block().height),
        block_time: Box::new(move |height| timing.log().block(height).ok().flatten().map(|block| block.timestamp_s)),
        held: Box::new(move |process| recovering.recovery().holds(process)),
        lack_of_room: Box::new(move || measuring.lack_of_room(room::MIN_FREE_BYTES)),
        scheduled: Box::new(move |entries| {
            telling.tally().scheduled(entries.len());
            for entry in &entries {
                telling.changed(Change::Entry { process: entry.process(), slot: entry.slot() });
            }
            for batch in gossip_batches(&entries) {
                if batches.try_send(batch).is_err() {
                    debug!("new entries were not gossiped: too many wait; followers ask for them");
                    break;
                }
            }
        }),
        failed: Box::new(move |cause| failing.fail(cause)),
    })?;
    Ok(scheduler)
}

/// New entries as they are gossiped: those of one process together, and an entry that is too large without its item, so
/// that followers know that it exists and ask for it.
fn gossip_batches(entries: &[Entry]) -> Vec<(Id, Vec<EntryBytes>)> {
    let mut by_process: BTreeMap<Id, Vec<EntryBytes>> = BTreeMap::new();
    for entry in entries {
        by_process.entry(entry.process()).or_default().push(entry.to_bytes());
    }
    let mut batches = Vec::new();
    for (process, entries) in by_process {
        let mut batch: Vec<EntryBytes> = Vec::new();
        let mut bytes = 0;
        for mut entry in entries {
            if entry.len() > MAX_GOSSIP_BATCH_BYTES {
                entry.item = None;
                entry.proof = None;
            }
            if bytes + entry.len() > MAX_GOSSIP_BATCH_BYTES && !batch.is_empty() {
                batches.push((process, std::mem::take(&mut batch)));
                bytes = 0;
            }
            bytes += entry.len();
            batch.push(entry);
        }
        batches.push((process, batch));
    }
    batches
}

async fn gossip_entries(world: World, mut waiting: mpsc::Receiver<(Id, Vec<EntryBytes>)>) {
    while let Some((process, entries)) = waiting.recv().await {
        if let Err(cause) = world.net().publish(shard(&process), &Gossip::Entries(entries)).await {
            debug!(%cause, "new entries were not gossiped; followers ask for them");
        }
    }
}

/// Done when the node is told to stop: Ctrl-C or SIGTERM.
async fn told_to_stop() {
    use tokio::signal::unix::{SignalKind, signal};
    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = terminate.recv() => {}
        },
        Err(cause) => {
            warn!(%cause, "SIGTERM can't be heard; use Ctrl-C");
            let _ = tokio::signal::ctrl_c().await;
        }
    }
}
