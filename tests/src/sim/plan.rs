//! What happens in a run, and when: users, faults, attacks.

use rand::Rng;

use super::disk::Trap;
use super::node::Packet;
use super::world::{FAULTS_END, LATE, TICK, World};

/// Something that happens.
pub(super) enum Event {
    Arrive { from: usize, to: usize, packet: Packet },
    Tick(usize),
    User(usize),
    Crash(usize),
    Trap(usize, Trap),
    Attack,
    Redrive(usize),
    Backup(usize),
    Restore(usize),
    Owner,
    Restart(usize),
    Partition(Vec<bool>),
}

impl World {
    /// Plans ticks, users and faults.
    pub(super) fn plan(&mut self) {
        for node in 0..self.nodes.len() {
            let at = self.rng.random_range(0..TICK);
            self.at(at, Event::Tick(node));
        }
        for user in 0..self.users.len() {
            // Spawns first, so that there is something to send to; the rest anywhere in the time of faults.
            // But one process comes late: others send to it before it is there.
            let at = match self.users[user].item.target() {
                None if user == LATE => self.rng.random_range(0..10_000),
                None => 0,
                Some(_) => self.rng.random_range(500..15_000),
            };
            self.at(at, Event::User(user));
        }
        for _ in 0..self.rng.random_range(0..12) {
            let (at, node) = (self.rng.random_range(0..FAULTS_END), self.rng.random_range(0..self.nodes.len()));
            let event = match self.rng.random_range(0..4) {
                0 => Event::Crash(node),
                1 => Event::Trap(node, Trap::Before),
                2 => Event::Trap(node, Trap::Full),
                _ => Event::Trap(node, Trap::After),
            };
            self.at(at, event);
        }
        for _ in 0..self.rng.random_range(0..4) {
            let at = self.rng.random_range(0..FAULTS_END);
            let sides = (0..self.nodes.len()).map(|_| self.rng.random()).collect();
            self.at(at, Event::Partition(sides));
            let healed = self.rng.random_range(at..FAULTS_END);
            self.at(healed, Event::Partition(vec![true; self.nodes.len()]));
        }
        self.at(FAULTS_END, Event::Partition(vec![true; self.nodes.len()]));
        for _ in 0..self.rng.random_range(0..60) {
            let at = self.rng.random_range(0..FAULTS_END);
            self.at(at, Event::Attack);
        }
        if self.rng.random_bool(0.6) {
            // A scheduler comes back with an older disk, and gives slots that it gave before.
            let node = self.rng.random_range(0..2);
            let kept = self.rng.random_range(200..14_000);
            self.at(kept, Event::Backup(node));
            let back = self.rng.random_range(kept + 100..FAULTS_END);
            self.at(back, Event::Restore(node));
        }
        self.at(FAULTS_END, Event::Owner);
        for _ in 0..self.rng.random_range(0..3) {
            let (at, node) = (self.rng.random_range(5_000..30_000), self.rng.random_range(0..self.nodes.len()));
            self.at(at, Event::Redrive(node));
        }
    }
}
