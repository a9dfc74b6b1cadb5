//! Durable scheduling inside one process: from a user's signed bytes to the fsynced receipt, verification included; no
//! HTTP, no evaluation. With followers, until each of them has verified and stored every slot, too.

#![allow(clippy::expect_used, reason = "a benchmark that can't go on ends")]

use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::{Duration, Instant};

use ao_node::drive::scheduler::{Scheduler, Surroundings};
use ao_node::store::Store;
use ao_protocol::entry::Entry;
use ao_protocol::id::Id;
use ao_protocol::item::{DataItem, ItemBuilder};
use ao_protocol::log::{Batch, Durability, Log};
use ao_protocol::network::Network;
use ao_protocol::repair::{Accepted, accept};
use ao_protocol::scheduler::Submission;
use ao_protocol::trust::Trust;
use ao_protocol::wallet::{Signer, Wallet};
use ao_protocol::wire::EntryBytes;
use criterion::{Criterion, SamplingMode, Throughput, criterion_group, criterion_main};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// Batches that wait for a follower; a full queue holds up the scheduler, so that followers can't fall behind unseen.
const FOLLOWER_QUEUE: usize = 64;

/// A scheduler with its log, its followers, and one process.
struct Setting {
    runtime: Runtime,
    scheduler: Scheduler,
    store: Arc<Store>,
    user: Wallet,
    process: Id,
    followers: Vec<Arc<Store>>,
    sent: u64,
    _folders: Vec<TempDir>,
}

fn open(folders: &mut Vec<TempDir>) -> Arc<Store> {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Store::open(folder.path()).expect("a log");
    folders.push(folder);
    Arc::new(store)
}

fn follow(log: Arc<Store>) -> SyncSender<Vec<EntryBytes>> {
    let (batches, waiting) = sync_channel::<Vec<EntryBytes>>(FOLLOWER_QUEUE);
    std::thread::spawn(move || {
        for entries in waiting {
            let mut batch = Batch::new();
            for bytes in &entries {
                let entry = Entry::verify(bytes).expect("the scheduler's entries verify");
                let accepted = accept(&*log, &mut batch, entry).expect("the log is there");
                assert_eq!(accepted.expect("the entry fits"), Accepted::New);
            }
            log.commit(batch, Durability::Relaxed).expect("the log is there");
        }
    });
    batches
}

impl Setting {
    fn new(followers: usize) -> Setting {
        let mut folders = Vec::new();
        let store = open(&mut folders);
        let followers: Vec<Arc<Store>> = (0..followers).map(|_| open(&mut folders)).collect();
        let queues: Vec<_> = followers.iter().map(|log| follow(log.clone())).collect();
        let unit = Arc::new(Wallet::ed25519_from_seed([1; 32]));
        let trust = Trust { network: Arc::new(Network::open("bench")), announced: Vec::new() };
        let scheduler = Scheduler::start(Surroundings {
            log: store.clone(),
            rewinds: store.rewinds(),
            signer: unit.clone(),
            trust: Box::new(move || trust.clone()),
            block_height: Box::new(|| 0),
            block_time: Box::new(|_| None),
            scheduled: Box::new(move |entries| {
                for queue in &queues {
                    queue.send(entries.iter().map(Entry::to_bytes).collect()).expect("the follower runs");
                }
            }),
            held: Box::new(|_| None),
            lack_of_room: Box::new(|| None),
            failed: Box::new(|cause| panic!("{cause}")),
        });
        let user = Wallet::ed25519_from_seed([2; 32]);
        let spawn = ItemBuilder::new()
            .tag("Data-Protocol", "ao")
            .tag("Type", "Process")
            .tag("Module", Id::from([9; 32]).to_string())
            .tag("Scheduler", unit.address().to_string());
        let spawn = spawn.sign(&user).expect("signs");
        let runtime = Runtime::new().expect("a runtime");
        let scheduler = scheduler.expect("a thread");
        let process = spawn.id();
        let submission = Submission::new(spawn, unit.address());
        let receipts = runtime.block_on(scheduler.submit(vec![submission]));
        receipts.into_iter().for_each(|receipt| drop(receipt.expect("scheduled")));
        Setting { runtime, scheduler, store, user, process, followers, sent: 0, _folders: folders }
    }

    /// Signs messages ahead, so that signing is not measured.
    fn messages(&mut self, count: u64) -> Vec<Arc<[u8]>> {
        let first = self.sent;
        self.sent += count;
        let sign = |number: u64| {
            let item = ItemBuilder::new()
                .target(self.process)
                .anchor(*blake3::hash(&number.to_le_bytes()).as_bytes())
                .tag("Data-Protocol", "ao")
                .tag("Variant", "ao.TN.1")
                .tag("Type", "Message")
                .tag("Action", "Transfer")
                .tag("Recipient", self.process.to_string())
                .tag("Quantity", "1");
            item.data(b"hello".to_vec()).sign(&self.user).expect("signs").bytes().clone()
        };
        (first..self.sent).map(sign).collect()
    }

    /// Sends messages from so many senders at once, each waiting for its receipt; the time until all have theirs.
    fn send(&mut self, senders: usize, count: u64) -> Duration {
        let messages = Arc::new(self.messages(count));
        let began = Instant::now();
        self.runtime.block_on(async {
            let next = Arc::new(std::sync::atomic::AtomicUsize::new(0));
            let tasks: Vec<_> = (0..senders)
                .map(|_| {
                    let (messages, next, scheduler) = (messages.clone(), next.clone(), self.scheduler.clone());
                    tokio::spawn(async move {
                        while let Some(bytes) = messages.get(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed)) {
                            let item = DataItem::decode(bytes.clone()).and_then(DataItem::verify).expect("verifies");
                            let messenger = item.address();
                            let receipts = scheduler.submit(vec![Submission::new(item, messenger)]).await;
                            receipts.into_iter().for_each(|receipt| drop(receipt.expect("scheduled")));
                        }
                    })
                })
                .collect();
            for task in tasks {
                task.await.expect("a sender ends well");
            }
        });
        let tip = self.store.tip(&self.process).expect("the log is there");
        assert_eq!(tip.as_ref().map(|tip| tip.slot), Some(self.sent), "every message has a slot of its own");
        for follower in &self.followers {
            while follower.tip(&self.process).expect("the log is there") != tip {
                std::thread::yield_now();
            }
        }
        began.elapsed()
    }
}

fn scheduling(c: &mut Criterion) {
    let mut group = c.benchmark_group("durable-scheduling");
    group.sampling_mode(SamplingMode::Flat).sample_size(10).throughput(Throughput::Elements(1));
    for (senders, followers) in [(1, 0), (16, 0), (256, 0), (256, 1), (256, 3)] {
        let mut setting = Setting::new(followers);
        group.bench_function(format!("{senders}-senders-{followers}-followers"), |b| {
            b.iter_custom(|count| setting.send(senders, count))
        });
    }
    group.finish();
}

criterion_group!(benches, scheduling);
criterion_main!(benches);
