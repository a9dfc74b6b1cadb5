//! The owner of the users' processes: resumes what is disputed, on whichever branch, and sends again what is void.

use std::collections::BTreeSet;

use ao_protocol::evidence::disputed_from;
use ao_protocol::id::Id;
use ao_protocol::log::Log;
use ao_protocol::resume::Resume;
use ao_protocol::wallet::Wallet;
use ao_protocol::wire::{Gossip, ItemBytes};
use rand::Rng;

use super::node::Packet;
use super::world::World;

/// Their wallet.
pub(super) fn wallet() -> Wallet {
    Wallet::ed25519_from_seed([200; 32])
}

fn must<T, E: std::fmt::Display>(result: Result<T, E>) -> T {
    result.unwrap_or_else(|cause| panic!("an owner can look: {cause}"))
}

/// They look at all nodes.
pub(super) fn look(world: &mut World) {
    let mut processes: BTreeSet<Id> = BTreeSet::new();
    for node in &world.nodes {
        processes.extend(must(node.disk.tips(None, 1000)).into_iter().map(|(process, _)| process));
    }
    for process in processes {
        let disputed = |index: &usize| {
            let node = &world.nodes[*index];
            // Where a resume was heard of, it is on the way.
            let evidence = must(node.disk.evidence(&process)).is_some();
            node.up && evidence && must(disputed_from(&node.disk, &process)).is_some()
        };
        let on_the_way = world.nodes.iter().any(|node| {
            let read = must(node.disk.process(&process));
            read.is_some_and(|read| must(ao_protocol::resume::unsettled(&node.disk, &read)).is_some())
        });
        if (0..world.nodes.len()).any(|index| disputed(&index)) && !on_the_way {
            resume(world, &process);
        } else if !on_the_way {
            send_again(world, &process);
        }
    }
}

/// Some branch of some node, its end or a slot before, under either scheduler.
fn resume(world: &mut World, process: &Id) {
    let have: Vec<usize> =
        (0..world.nodes.len()).filter(|index| must(world.nodes[*index].disk.tip(process)).is_some()).collect();
    let node = have[world.rng.random_range(0..have.len())];
    let Some(tip) = must(world.nodes[node].disk.tip(process)) else { return };
    let slot = if world.rng.random() { tip.slot } else { world.rng.random_range(0..=tip.slot) };
    let Some(entry) = must(world.nodes[node].disk.entry(process, slot)) else { return };
    let epochs = world.nodes.iter().filter_map(|node| must(node.disk.process(process)).map(|read| read.epoch()));
    let sequence = epochs.max().unwrap_or(0) + 1;
    let scheduler = world.scheduler();
    let branch = (entry.assignment.id(), entry.assignment.statement.epoch);
    let item = Resume::item(*process, slot, branch, scheduler, sequence);
    let bytes = ItemBytes(must(item.sign(&wallet())).bytes().to_vec());
    world.resumed += 1;
    // To one node, which tells the others.
    world.send(node, node, Packet::Gossip(Gossip::Resume(bytes)));
}

/// What was acknowledged and is void gets another slot.
fn send_again(world: &mut World, process: &Id) {
    let resumed = |index: &usize| must(world.nodes[*index].disk.process(process)).is_some_and(|read| read.epoch() > 0);
    let Some(node) = (0..world.nodes.len()).find(resumed) else { return };
    let mut again = Vec::new();
    for (number, user) in world.users.iter().enumerate() {
        let item = user.item.id();
        if user.acknowledged
            && user.item.target() == Some(*process)
            && must(world.nodes[node].disk.slot_of_item(process, &item)).is_none()
        {
            again.push((number, item));
        }
    }
    for (number, item) in again {
        world.users[number].acknowledged = false;
        world.acknowledged.retain(|(known, ..)| *known != item);
        world.send_again(number);
    }
}
