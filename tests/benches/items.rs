//! Decoding and verifying items, per signature type.

#![allow(clippy::expect_used, reason = "a benchmark that can't go on ends")]

use std::hint::black_box;
use std::sync::Arc;

use ao_protocol::item::{DataItem, ItemBuilder};
use ao_protocol::wallet::{Signer, Wallet};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

fn items(c: &mut Criterion) {
    let wallets: [(&str, Wallet); 4] = [
        ("arweave-rsa-4096", Wallet::generate_rsa().expect("an RSA key")),
        ("ed25519", Wallet::ed25519_from_seed([1; 32])),
        ("ethereum", Wallet::ethereum_from_secret([1; 32]).expect("a secp256k1 key")),
        ("solana", Wallet::solana_from_seed([1; 32])),
    ];
    for (name, wallet) in &wallets {
        let item = ItemBuilder::new()
            .target([7; 32].into())
            .anchor([3; 32])
            .tag("Data-Protocol", "ao")
            .tag("Type", "Message")
            .tag("Variant", "ao.TN.1")
            .tag("Action", "Transfer")
            .tag("Recipient", wallet.address().to_string())
            .tag("Quantity", "1000000000000")
            .data(b"hello".to_vec());
        let bytes: Arc<[u8]> = item.sign(wallet).expect("signs").bytes().clone();
        let mut group = c.benchmark_group("item");
        group.throughput(Throughput::Elements(1));
        group.bench_function(format!("decode/{name}"), |b| b.iter(|| DataItem::decode(black_box(bytes.clone()))));
        group.bench_function(format!("decode-and-verify/{name}"), |b| {
            b.iter(|| DataItem::decode(black_box(bytes.clone())).and_then(DataItem::verify).expect("verifies"))
        });
        group.bench_function(format!("sign/{name}"), |b| b.iter(|| item.sign(black_box(wallet)).expect("signs")));
        group.finish();
    }
}

criterion_group!(benches, items);
criterion_main!(benches);
