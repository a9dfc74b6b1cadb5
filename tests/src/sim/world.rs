//! The simulated world: virtual time, a network that loses, delays, doubles and reorders, partitions, crashes, an
//! attacker, and users who try again until they are heard. One seed gives one run.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;

use ao_protocol::announcement::Role;
use ao_protocol::id::{Address, Id};
use ao_protocol::item::{ItemBuilder, VerifiedItem};
use ao_protocol::log::{Log, LogError};
use ao_protocol::network::Network;
use ao_protocol::trust::Trust;
use ao_protocol::wallet::{Signer, Wallet};
use ao_protocol::wire::{self, ItemBytes};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::attacker::Attacker;
use super::checks;
use super::disk::Disk;
use super::liar::Lie;
use super::node::{Effect, Node, Packet};
use super::owner;
use super::plan::Event;

/// Faults happen until then, in virtual milliseconds.
pub(super) const FAULTS_END: u64 = 20_000;
/// All must be well by then.
const RUN_END: u64 = 240_000;
/// Which of the users' processes comes late.
pub(super) const LATE: usize = 2;
/// Time between two ticks of a node.
pub(super) const TICK: u64 = 100;
/// Users try again after this time.
const USER_RETRY: u64 = 1_500;

/// Two schedulers, two messengers, three compute units, and one node that only follows.
const ROLES: [&[Role]; 8] =
    [&[Role::Su], &[Role::Su], &[Role::Mu], &[Role::Mu], &[Role::Cu], &[Role::Cu, Role::Mu], &[Role::Cu], &[]];
/// The node whose compute unit lies in some runs.
const LIAR: usize = 6;
/// The node that does not hear of resumes where that is to be noticed.
const DEAF: usize = 7;
/// Time between two looks of owners at their processes.
const OWNERS_LOOK: u64 = 3_000;

/// Ways to break a rule on purpose, to show that the checks notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sabotage {
    /// Schedulers say that they synced and did not.
    LyingDisks,
    /// Schedulers do not look whether an item, or an origin, has its slot already.
    ForgetfulSchedulers,
    /// Messengers move their cursors when they begin with a slot, and not when it is settled.
    EarlyCursors,
    /// Schedulers believe what the attacker says of origins.
    TrustedAttacker,
    /// A compute unit lies, and processes ask for one word only.
    TrustedLiar,
    /// A node does not hear what owners say of branches.
    DeafFollower,
}

/// A run.
pub(super) struct World {
    /// The nodes.
    pub nodes: Vec<Node>,
    /// What users were told: item, process, slot.
    pub acknowledged: Vec<(Id, Id, u64)>,
    /// How many messages users sent.
    pub expected_acknowledged: usize,
    /// A run in which processes sent less than this would test nothing.
    pub expected_deliveries: usize,
    now: u64,
    pub rng: StdRng,
    queue: BinaryHeap<Reverse<(u64, u64, usize)>>,
    events: BTreeMap<usize, Event>,
    next_event: usize,
    /// Which side of a partition each node is on.
    sides: Vec<bool>,
    loss: f64,
    pub users: Vec<User>,
    attacker: Attacker,
    /// Units that may deliver.
    pub messengers: Vec<Address>,
    /// A scheduler's disk as it once was.
    backup: Option<Disk>,
    /// Whether a scheduler came back with an older disk.
    pub restored: bool,
    /// How often owners resumed a process.
    pub resumed: u64,
}

/// A message that a user sends until it has its slot.
pub(super) struct User {
    pub item: VerifiedItem,
    pub acknowledged: bool,
}

/// Runs one seed; the text says what is broken.
pub fn run(seed: u64, sabotage: Option<Sabotage>) -> Result<(), String> {
    let mut world = World::new(seed, sabotage);
    let mut next_check = FAULTS_END;
    loop {
        let Some(Reverse((at, _, id))) = world.queue.pop() else { return Err("nothing happens any more".into()) };
        world.now = at;
        if let Some(event) = world.events.remove(&id) {
            world.handle(event);
        }
        if world.now >= next_check {
            match checks::all(&world) {
                Ok(()) => return Ok(()),
                Err(cause) if world.now >= RUN_END => return Err(cause),
                Err(_) => next_check = world.now + 2_000,
            }
        }
    }
}

impl World {
    fn new(seed: u64, sabotage: Option<Sabotage>) -> World {
        let mut rng = StdRng::seed_from_u64(seed);
        let wallets: Vec<Arc<Wallet>> =
            (0..ROLES.len()).map(|n| Arc::new(Wallet::ed25519_from_seed([n as u8 + 1; 32]))).collect();
        let with = |role: Role| -> Vec<Address> {
            let plays = |index: &usize| ROLES[*index].contains(&role);
            (0..ROLES.len()).filter(plays).map(|index| wallets[index].address()).collect()
        };
        let mut network = Network::open("simulation");
        network.open = false;
        (network.schedulers, network.messengers) = (with(Role::Su), with(Role::Mu));
        network.compute_units = with(Role::Cu);
        // Where there is one messenger only, nobody makes up for what it forgets.
        network.messengers.truncate(rng.random_range(1..=network.messengers.len()));
        let addresses: Vec<(Address, Vec<Role>)> =
            wallets.iter().zip(ROLES).map(|(wallet, roles)| (wallet.address(), roles.to_vec())).collect();
        // Where a unit may lie two must agree, and then a messenger that everybody trusts may be the attacker.
        let lies = [Lie::Output, Lie::Outbox, Lie::Perjury, Lie::Silence];
        let liar = rng.random_bool(0.5) || sabotage == Some(Sabotage::TrustedLiar);
        let lie = liar.then(|| lies[rng.random_range(0..lies.len())]);
        let quorum = if lie.is_some() || rng.random() { 2 } else { 1 };
        let quorum = if sabotage == Some(Sabotage::TrustedLiar) { 1 } else { quorum };
        if quorum > 1 && rng.random() {
            network.messengers.push(Attacker::wallet().address());
        }
        let messengers = network.messengers.clone();
        let mut believing = network.clone();
        believing.messengers.push(Attacker::wallet().address());
        let trust = Trust { network: Arc::new(network), announced: addresses.clone() };
        let believing = Trust { network: Arc::new(believing), announced: addresses.clone() };
        let addresses = Arc::new(addresses);
        let node = |index: usize| {
            let (mut disk, mut trust) = (Disk::default(), trust.clone());
            match sabotage.filter(|_| ROLES[index].contains(&Role::Su)) {
                Some(Sabotage::LyingDisks) => disk = Disk::lying(),
                Some(Sabotage::ForgetfulSchedulers) => disk = Disk::forgetful(),
                Some(Sabotage::TrustedAttacker) => trust = believing.clone(),
                _ => {}
            }
            let wallet = wallets[index].clone();
            let early = sabotage == Some(Sabotage::EarlyCursors);
            Node::new(index, ROLES[index].to_vec(), wallet, trust, addresses.clone(), disk, early)
        };
        let schedulers = [wallets[0].address(), wallets[1].address()];
        let users = users(&mut rng, &schedulers, quorum);
        let processes = users.iter().filter(|user| user.item.target().is_none()).map(|user| user.item.id()).collect();
        let mut world = World {
            nodes: (0..ROLES.len()).map(node).collect(),
            acknowledged: Vec::new(),
            expected_acknowledged: users.len(),
            expected_deliveries: 8,
            now: 0,
            loss: rng.random_range(0.0..0.25),
            rng,
            queue: BinaryHeap::new(),
            events: BTreeMap::new(),
            next_event: 0,
            sides: vec![true; ROLES.len()],
            users,
            attacker: Attacker::new(processes),
            messengers,
            backup: None,
            restored: false,
            resumed: 0,
        };
        world.nodes[LIAR].lie = lie;
        world.nodes[DEAF].deaf = sabotage == Some(Sabotage::DeafFollower);
        world.plan();
        world
    }

    /// Whether every slot that a node has is on another node's disk for good.
    fn is_known_elsewhere(&self, node: usize) -> bool {
        let others: Vec<Disk> =
            self.nodes.iter().filter(|other| other.index != node).map(|other| other.disk.backup()).collect();
        let has = |log: &Disk, process: &Id, slot: u64| log.entry_bytes(process, slot).ok().flatten();
        let own = &self.nodes[node].disk;
        own.tips(None, 1000).is_ok_and(|tips| {
            tips.iter().all(|(process, tip)| {
                let last = has(own, process, tip.slot);
                others.iter().any(|other| has(other, process, tip.slot) == last)
            })
        })
    }

    /// One of the two schedulers.
    pub(super) fn scheduler(&mut self) -> Address {
        let index = self.rng.random_range(0..2);
        self.nodes[index].address()
    }

    /// A user sends a message again.
    pub(super) fn send_again(&mut self, user: usize) {
        self.at(self.now, Event::User(user));
    }

    pub(super) fn at(&mut self, at: u64, event: Event) {
        self.next_event += 1;
        self.events.insert(self.next_event, event);
        self.queue.push(Reverse((at, self.next_event as u64, self.next_event)));
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Tick(node) => {
                self.at(self.now + TICK, Event::Tick(node));
                if self.nodes[node].up {
                    let done = self.nodes[node].tick(self.now);
                    self.done(node, done);
                }
            }
            Event::Arrive { from, to, packet } => {
                // The attacker is everywhere.
                if self.nodes[to].up && self.sides.get(from).is_none_or(|side| *side == self.sides[to]) {
                    let done = self.nodes[to].on_packet(from, packet, self.now);
                    self.done(to, done);
                }
            }
            Event::User(user) if !self.users[user].acknowledged => {
                let messengers: Vec<usize> = (0..ROLES.len()).filter(|n| ROLES[*n].contains(&Role::Mu)).collect();
                let to = messengers[self.rng.random_range(0..messengers.len())];
                let packet = Packet::User(user, ItemBytes(self.users[user].item.bytes().to_vec()));
                // Users are on the messenger's side of a partition: their own connection may still fail.
                self.send(to, to, packet);
                self.at(self.now + USER_RETRY, Event::User(user));
            }
            Event::User(_) => {}
            Event::Crash(node) => self.crash(node),
            Event::Attack => {
                let to = self.rng.random_range(0..self.nodes.len());
                let packet = self.attacker.attack(&mut self.rng, &self.messengers);
                self.send(self.nodes.len(), to, packet);
            }
            Event::Redrive(node) => {
                if self.nodes[node].up {
                    let done = self.nodes[node].redrive();
                    self.done(node, done);
                }
            }
            Event::Backup(node) => self.backup = Some(self.nodes[node].disk.backup()),
            Event::Restore(node) => {
                // What nobody else has yet would be lost for good: that is no dispute.
                if !self.is_known_elsewhere(node) {
                    self.at(self.now + 300, Event::Restore(node));
                } else if let Some(backup) = self.backup.take() {
                    self.crash(node);
                    self.nodes[node].disk = backup;
                    self.restored = true;
                }
            }
            Event::Owner => {
                owner::look(self);
                self.at(self.now + OWNERS_LOOK, Event::Owner);
            }
            Event::Trap(node, trap) => self.nodes[node].disk.set_trap(trap),
            Event::Restart(node) => self.nodes[node].up = true,
            Event::Partition(sides) => self.sides = sides,
        }
    }

    fn crash(&mut self, node: usize) {
        if self.nodes[node].up {
            self.nodes[node].crash();
            let back = self.now + self.rng.random_range(50..4_000);
            self.at(back, Event::Restart(node));
        }
    }

    fn done(&mut self, node: usize, done: Result<Vec<Effect>, LogError>) {
        let effects = match done {
            Ok(effects) => effects,
            // Its drivers begin again from the log.
            Err(LogError::Full(_)) => return self.nodes[node].begin_again(),
            Err(_) => return self.crash(node),
        };
        for effect in effects {
            match effect {
                Effect::Send(to, packet) => self.send(node, to, packet),
                Effect::Publish(gossip) => {
                    for to in (0..self.nodes.len()).filter(|to| *to != node) {
                        self.send(node, to, Packet::Gossip(gossip.clone()));
                    }
                }
                Effect::Acknowledge(user, process, slot) => {
                    let user = &mut self.users[user];
                    if !user.acknowledged {
                        user.acknowledged = true;
                        self.acknowledged.push((user.item.id(), process, slot));
                    }
                }
            }
        }
    }

    /// A packet goes out: it may be lost, come late, or come twice. Late packets overtake one another.
    pub(super) fn send(&mut self, from: usize, to: usize, packet: Packet) {
        if from < self.nodes.len() {
            self.attacker.see(&packet);
        }
        // What is sent to the attacker is not answered.
        if to >= self.nodes.len() {
            return;
        }
        let faulty = self.now < FAULTS_END;
        let copies = if from != to && faulty && self.rng.random_bool(0.05) { 2 } else { 1 };
        for _ in 0..copies {
            if faulty && from != to && self.rng.random_bool(self.loss) {
                continue;
            }
            let delay = if faulty { self.rng.random_range(1..400) } else { self.rng.random_range(1..20) };
            let packet = over_the_wire(packet.clone());
            self.at(self.now + delay, Event::Arrive { from, to, packet });
        }
    }
}

/// What arrives is what the wire format makes of what was sent.
fn over_the_wire(packet: Packet) -> Packet {
    fn again<T: serde::Serialize + serde::de::DeserializeOwned>(value: &T) -> T {
        match wire::decode(&wire::encode(value)) {
            Ok(value) => value,
            Err(cause) => panic!("what is encoded can be decoded: {cause}"),
        }
    }
    match packet {
        Packet::Request(id, request) => Packet::Request(id, again(&request)),
        Packet::Response(id, response) => Packet::Response(id, again(&response)),
        Packet::Gossip(gossip) => Packet::Gossip(again(&gossip)),
        user @ Packet::User(..) => user,
    }
}

/// What users send: processes on both schedulers, then messages that make them send, spawn, assign and fail.
fn users(rng: &mut StdRng, schedulers: &[Address; 2], quorum: u32) -> Vec<User> {
    let wallet = owner::wallet();
    let sign = |item: ItemBuilder| match item.sign(&wallet) {
        Ok(item) => User { item, acknowledged: false },
        Err(cause) => panic!("a user's item can be signed: {cause}"),
    };
    let base = |rng: &mut StdRng| ItemBuilder::new().anchor(rng.random()).tag("Data-Protocol", "ao");
    let mut users = Vec::new();
    for n in 0..3 {
        let item = base(rng)
            .tag("Type", "Process")
            .tag("Module", Id::from([9; 32]).to_string())
            .tag("Scheduler", schedulers[n % 2].to_string())
            .tag("Compute-Quorum", quorum.to_string());
        users.push(sign(item));
    }
    let processes: Vec<Id> = users.iter().map(|user| user.item.id()).collect();
    for n in 0..rng.random_range(8..24) {
        let target = processes[rng.random_range(0..processes.len())];
        let other = processes[rng.random_range(0..processes.len())];
        // Every run has some of each kind that matters.
        let kind = if n < 6 { n } else { rng.random_range(0..7) };
        let item = base(rng).target(target).tag("Type", "Message");
        let item = match kind {
            0 | 1 => {
                let hops = rng.random_range(1..4).to_string();
                item.tag("Action", "Send").tag("To", other.to_string()).tag("Hops", hops)
            }
            2 => {
                let item = item.tag("Action", "Spawn").tag("Scheduler", schedulers[n as usize % 2].to_string());
                item.tag("Quorum", quorum.to_string())
            }
            3 => {
                let others: Vec<&Id> = processes.iter().filter(|process| **process != target).collect();
                item.tag("Action", "Assign").tag("To", others[rng.random_range(0..others.len())].to_string())
            }
            4 => item.tag("Action", "Fail"),
            5 => item.tag("Action", "Refused").tag("To", other.to_string()),
            _ => item.tag("Action", "Odd"),
        };
        users.push(sign(item));
    }
    users
}
