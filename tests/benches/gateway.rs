//! The gateway's index: a page of a query with an owner and two tags over 100,000 items, and indexing itself.

#![allow(clippy::expect_used, reason = "a benchmark that can't go on ends")]

use ao_node::store::{Effort, Filter, Search, Store, TagCondition};
use ao_protocol::item::{ItemBuilder, VerifiedItem};
use ao_protocol::log::{Batch, Durability, Log, Write};
use ao_protocol::wallet::{Signer, Wallet};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

/// Items in the index.
const ITEMS: u32 = 100_000;
/// Items of one commit.
const BATCH: u32 = 250;
/// Signers of the items.
const SIGNERS: u32 = 10;

fn wallet(number: u32) -> Wallet {
    Wallet::ed25519_from_seed([(number % SIGNERS) as u8; 32])
}

fn item(number: u32) -> VerifiedItem {
    let item = ItemBuilder::new()
        .target([(number % 100) as u8; 32].into())
        .tag("Data-Protocol", "ao")
        .tag("Variant", "ao.TN.1")
        .tag("Type", if number.is_multiple_of(7) { "Process" } else { "Message" })
        .tag("Action", format!("Action-{}", number % 50))
        .tag("Reference", number.to_string());
    item.data(b"hello".to_vec()).sign(&wallet(number)).expect("signs")
}

fn keep(store: &Store, items: impl Iterator<Item = VerifiedItem>) {
    let mut batch = Batch::new();
    items.for_each(|item| batch.push(Write::Item(item)));
    store.commit(batch, Durability::Relaxed).expect("the log is there");
}

fn gateway(c: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Store::open(folder.path()).expect("a log");
    for batch in 0..ITEMS / BATCH {
        keep(&store, (batch * BATCH..(batch + 1) * BATCH).map(item));
    }
    let tag = |name: &str, value: &str| TagCondition { name: name.into(), values: vec![value.into()], negated: false };
    let page = |owner: u32, tags: &[(&str, &str)], newest_first: bool| {
        let tags = tags.iter().map(|(name, value)| tag(name, value)).collect();
        let filter = Filter { owners: vec![wallet(owner).address().to_string()], tags, ..Filter::default() };
        Search { filter, newest_first, after: None, limit: 10 }
    };
    let mut group = c.benchmark_group("gateway");
    let dense = page(3, &[("Type", "Process"), ("Data-Protocol", "ao")], true);
    let sparse = page(3, &[("Action", "Action-13"), ("Type", "Process")], false);
    let single = page(3, &[("Reference", "99903"), ("Type", "Message")], true);
    let none = page(3, &[("Action", "Action-12"), ("Type", "Message")], true);
    for (name, search, length) in
        [("dense", dense, 10), ("sparse", sparse, 10), ("single", single, 1), ("none", none, 0)]
    {
        let found = store.search(&search, &Effort::default()).expect("searches");
        assert_eq!(found.documents.len(), length, "{name}");
        group.bench_function(format!("owner-and-two-tags/{name}"), |b| {
            b.iter(|| store.search(&search, &Effort::default()).expect("searches"))
        });
    }
    group.throughput(Throughput::Elements(u64::from(BATCH)));
    let mut next = ITEMS;
    group.bench_function("keep-and-index", |b| {
        b.iter_batched(
            || {
                next += BATCH;
                (next..next + BATCH).map(item).collect::<Vec<_>>()
            },
            |items| keep(&store, items.into_iter()),
            criterion::BatchSize::PerIteration,
        );
    });
    group.finish();
}

criterion_group!(benches, gateway);
criterion_main!(benches);
