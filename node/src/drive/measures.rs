//! Which of a node's numbers are shown as metrics.

use super::compute::Computer;
use super::mirror::Mirror;
use super::scheduler::Scheduler;
use super::{World, room};
use crate::metrics::{Kind, Registering};

/// Adds the numbers of a node to a registry, which reads them when it is asked.
pub(crate) fn watch(
    metrics: &mut Registering,
    world: &World,
    scheduler: Option<&Scheduler>,
    computer: Option<&Computer>,
) {
    let of = |read: fn(&World) -> Vec<(&'static str, u64)>| {
        let world = world.clone();
        move || read(&world)
    };
    let slots = of(|world| vec![("", world.tally().slots())]);
    metrics.watch(Kind::Counter, "ao_slots_scheduled", "Slots given by this node's scheduler", "", slots);
    let outcomes = of(|world| vec![("", world.tally().outcomes())]);
    metrics.watch(Kind::Counter, "ao_outcomes_recorded", "Outcomes recorded by this compute unit", "", outcomes);
    let deliveries = of(|world| world.tally().deliveries().to_vec());
    metrics.watch(Kind::Counter, "ao_deliveries", "Outbox entries that came to a state", "state", deliveries);
    let slowed = of(|world| vec![("", world.tally().times_slowed())]);
    let help = "How often a process waited because it sends to itself without end";
    metrics.watch(Kind::Counter, "ao_self_sending_slowed", help, "", slowed);
    let accusations = of(|world| vec![("", world.tally().accusations())]);
    let help = "How often a compute unit was found to attest something wrong";
    metrics.watch(Kind::Counter, "ao_compute_units_found_lying", help, "", accusations);
    let missing = of(|world| vec![("", world.tally().missing())]);
    let help = "Entries and outcomes that are still to be filled in below checkpoints";
    metrics.watch(Kind::Gauge, "ao_backfill_missing", help, "", missing);
    let room = of(|world| vec![("", u64::from(world.lack_of_room(room::MIN_FREE_BYTES).is_some()))]);
    metrics.watch(Kind::Gauge, "ao_disk_full", "1 when nothing new is taken in for want of room on the disk", "", room);
    let data = of(|world| vec![("", world.permaweb().bytes())]);
    metrics.watch(Kind::Gauge, "ao_data_bytes", "Bytes of data on Arweave that are kept for processes", "", data);
    let memory = of(|world| world.log().memory().to_vec());
    let help = "Bytes that the database holds in memory, by its own count";
    metrics.watch(Kind::Gauge, "ao_database_memory_bytes", help, "part", memory);
    let verdicts = of(|world| {
        let (accepted, ignored, rejected) = world.verdicts().counts();
        vec![("accepted", accepted), ("ignored", ignored), ("rejected", rejected)]
    });
    metrics.watch(Kind::Counter, "ao_gossip_verdicts", "Gossip messages by how they were judged", "verdict", verdicts);
    let peers = of(|world| vec![("", world.net().directory().connected().len() as u64)]);
    metrics.watch(Kind::Gauge, "ao_peers_connected", "Peers of this network that are connected", "", peers);
    let changes = of(|world| vec![("changes", world.waiting_changes() as u64)]);
    let waiting = scheduler.cloned();
    let queues = move || {
        let mut queues = changes();
        queues.extend(waiting.as_ref().map(|scheduler| ("scheduler", scheduler.waiting() as u64)));
        queues
    };
    metrics.watch(Kind::Gauge, "ao_queue_length", "What waits in a queue of this node", "queue", queues);
    if let Some(computer) = computer.cloned() {
        let processes = move || {
            let (followed, stalled) = computer.counts();
            vec![("followed", followed as u64), ("stalled", stalled as u64)]
        };
        metrics.watch(Kind::Gauge, "ao_processes", "Processes that this unit computes now", "state", processes);
    }
}

/// Adds the numbers of a node's mirror.
pub(crate) fn watch_mirror(metrics: &mut Registering, mirror: &Mirror) {
    let of = |read: fn(&super::mirror::Shown) -> Vec<(&'static str, u64)>| {
        let mirror = mirror.clone();
        move || mirror.shown().map(|shown| read(&shown)).unwrap_or_default()
    };
    let slots = of(|shown| {
        let landed = shown.landed.as_ref().map_or(0, |last| last.all_slots);
        let on_the_way = shown.bundles.iter().map(|bundle| bundle.slots).sum();
        vec![("waiting", shown.waiting_slots), ("on_its_way", on_the_way), ("landed", landed)]
    });
    metrics.watch(Kind::Gauge, "ao_mirror_slots", "Slots by how far they are on their way to Arweave", "state", slots);
    let bundles = of(|shown| {
        let landed = shown.landed.as_ref().map_or(0, |last| last.bundles);
        vec![("on_its_way", shown.bundles.len() as u64), ("landed", landed)]
    });
    let help = "Bundles of slots by how far they are on their way to Arweave";
    metrics.watch(Kind::Gauge, "ao_mirror_bundles", help, "state", bundles);
    let failing = of(|shown| vec![("", shown.bundles.iter().filter(|bundle| bundle.error.is_some()).count() as u64)]);
    metrics.watch(Kind::Gauge, "ao_mirror_failing", "Bundles on their way whose last step failed", "", failing);
}
