//! The hub between hosts: a thread for each host takes what it sends, another gives it to the receiver when its time
//! has come. In between, faults. This process is host 1 of it: for it there are none, so that tests see all nodes.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Write};
use std::ops::Range;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rand::Rng;

use super::tun;

/// The number of this process on the hub.
const SELF: u8 = 1;
/// Largest packet: a TUN device has Ethernet's maximum by default.
const MAX_PACKET: usize = 2048;
/// Most packets that wait for the hub; what comes then is lost, as in any switch.
const QUEUE: usize = 4096;

/// What happens to packets between hosts.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// Which part of them is lost, from 0 to 1.
    pub loss: f64,
    /// How long they take, in milliseconds.
    pub delay_ms: Range<u64>,
    /// Hosts that only reach one another, by number; all others reach each other.
    pub cut_off: Vec<u8>,
}

struct Packet {
    due: Instant,
    to: u8,
    bytes: Vec<u8>,
}

#[derive(Default)]
struct Shared {
    faults: Mutex<Faults>,
    ends: Mutex<BTreeMap<u8, File>>,
}

/// The hub; its threads end with this process.
pub struct Hub {
    shared: Arc<Shared>,
    packets: SyncSender<Packet>,
}

/// The address of a host.
pub(super) fn address(number: u8) -> String {
    format!("10.77.0.{number}")
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Default for Hub {
    /// A hub with this process as its only host.
    fn default() -> Hub {
        let shared = Arc::new(Shared::default());
        let (packets, waiting) = sync_channel(QUEUE);
        let giving = shared.clone();
        std::thread::spawn(move || give(&giving, &waiting));
        let hub = Hub { shared, packets };
        hub.join(SELF, None);
        hub
    }
}

impl Hub {
    /// From now on packets have these faults.
    pub fn set(&self, faults: Faults) {
        *held(&self.shared.faults) = faults;
    }

    /// Joins a host, in the network namespace of a process if one is named.
    pub(super) fn join(&self, number: u8, namespace: Option<u32>) {
        let name = format!("ao{number}");
        let end = tun::open(&name).unwrap_or_else(|cause| panic!("no TUN device: {cause}"));
        tun::configure(&name, &address(number), namespace);
        let taking = end.try_clone().unwrap_or_else(|cause| panic!("no second handle of a device: {cause}"));
        held(&self.shared.ends).insert(number, end);
        let (shared, packets) = (self.shared.clone(), self.packets.clone());
        std::thread::spawn(move || take(number, taking, &shared, &packets));
    }
}

/// Takes what a host sends until its device is gone.
fn take(from: u8, mut end: File, shared: &Shared, packets: &SyncSender<Packet>) {
    let mut buffer = [0; MAX_PACKET];
    while let Ok(length) = end.read(&mut buffer) {
        // IPv4's receiver is in bytes 16 to 19; all else that hosts say is of no use here.
        let Some(bytes) = buffer.get(..length).filter(|bytes| bytes.len() >= 20 && bytes[0] >> 4 == 4) else {
            continue;
        };
        let to = bytes[19];
        let faults = held(&shared.faults).clone();
        let mut due = Instant::now();
        if from != SELF && to != SELF {
            let cut = faults.cut_off.contains(&from) != faults.cut_off.contains(&to);
            if cut || rand::rng().random_bool(faults.loss) {
                continue;
            }
            if !faults.delay_ms.is_empty() {
                due += Duration::from_millis(rand::rng().random_range(faults.delay_ms));
            }
        }
        if let Err(TrySendError::Disconnected(_)) = packets.try_send(Packet { due, to, bytes: bytes.to_vec() }) {
            return;
        }
    }
}

/// Gives packets to their receivers when they are due.
fn give(shared: &Shared, arriving: &Receiver<Packet>) {
    // By time, and then as they came.
    let mut waiting: BTreeMap<(Instant, u64), Packet> = BTreeMap::new();
    let mut count = 0;
    loop {
        let next = waiting.keys().next().map(|(due, _)| due.saturating_duration_since(Instant::now()));
        match arriving.recv_timeout(next.unwrap_or(Duration::from_secs(1))) {
            Ok(packet) => {
                count += 1;
                waiting.insert((packet.due, count), packet);
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        while let Some(next) = waiting.first_entry().filter(|next| next.key().0 <= Instant::now()) {
            let Packet { to, bytes, .. } = next.remove();
            // A host that is gone loses what is sent to it.
            if let Some(end) = held(&shared.ends).get_mut(&to) {
                let _ = end.write(&bytes);
            }
        }
    }
}
