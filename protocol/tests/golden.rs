//! Our items against those of `@dha-team/arbundles`, in both directions: what it made is in
//! `tests/golden/arbundles.json`; what we make is checked by it when Node.js and its packages are there.

// All of this is tests; clippy knows so of test functions only.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use ao_protocol::id::{Id, decode_base64url, encode_base64url};
use ao_protocol::item::{DataItem, ItemBuilder, ItemError, VerifiedItem, bundle};
use ao_protocol::tag::Tag;
use ao_protocol::wallet::Wallet;
use serde::{Deserialize, Serialize};
use serde_json::json;

#[derive(Deserialize)]
struct Vectors {
    keys: Keys,
    items: Vec<Item>,
    bundles: Vec<Bundle>,
    refused: Vec<Refused>,
}

/// Seeds and secrets, in hexadecimal.
#[derive(Deserialize)]
struct Keys {
    ed25519: String,
    ethereum: String,
    solana: String,
}

#[derive(Deserialize)]
struct Item {
    name: String,
    bytes: String,
    address: String,
    #[serde(flatten)]
    fields: Fields,
}

/// What an item says, the same for theirs and for ours. Data and anchor are base64url.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Fields {
    #[serde(rename = "type")]
    kind: u16,
    id: Id,
    target: Option<Id>,
    anchor: Option<String>,
    tags: Vec<Tag>,
    data: String,
}

#[derive(Deserialize)]
struct Bundle {
    name: String,
    bytes: String,
    ids: Vec<Id>,
    nested: Vec<Nested>,
}

#[derive(Deserialize)]
struct Nested {
    id: Id,
    parent: Id,
}

#[derive(Deserialize)]
struct Refused {
    name: String,
    kind: String,
    bytes: String,
}

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden").join(name)
}

fn vectors() -> Vectors {
    serde_json::from_str(&fs::read_to_string(golden("arbundles.json")).unwrap()).unwrap()
}

fn secret(hex: &str) -> [u8; 32] {
    std::array::from_fn(|place| u8::from_str_radix(&hex[2 * place..2 * place + 2], 16).unwrap())
}

fn wallets(keys: &Keys) -> [Wallet; 4] {
    [
        Wallet::from_jwk(&fs::read_to_string(golden("rsa-wallet.json")).unwrap()).unwrap(),
        Wallet::ed25519_from_seed(secret(&keys.ed25519)),
        Wallet::ethereum_from_secret(secret(&keys.ethereum)).unwrap(),
        Wallet::solana_from_seed(secret(&keys.solana)),
    ]
}

fn fields(item: &DataItem) -> Fields {
    Fields {
        kind: item.signature_type() as u16,
        id: item.id(),
        target: item.target(),
        anchor: item.anchor().map(|anchor| encode_base64url(anchor)),
        tags: item.tags().to_vec(),
        data: encode_base64url(item.data()),
    }
}

fn verified(bytes: &[u8]) -> Result<VerifiedItem, ItemError> {
    DataItem::decode(bytes)?.verify()
}

#[test]
fn their_items_verify_and_read_as_they_say() {
    let vectors = vectors();
    let wallets = wallets(&vectors.keys);
    let mut kinds = [0; 5];
    for Item { name, bytes, address, fields: expected } in vectors.items {
        let bytes = decode_base64url(&bytes).unwrap();
        let item = verified(&bytes).unwrap_or_else(|cause| panic!("{name}: {cause}"));
        assert_eq!(fields(&item), expected, "{name}");
        assert_eq!(item.address().to_string(), address, "{name}");
        let kind = usize::from(expected.kind);
        kinds[kind] += 1;
        // RSA signatures are random; all others are the same whoever makes them.
        if kind != 1 {
            let (target, anchor) = (item.target(), item.anchor().copied());
            let builder = ItemBuilder { target, anchor, tags: item.tags().to_vec(), data: item.data().to_vec() };
            assert_eq!(builder.sign(&wallets[kind - 1]).unwrap(), item, "{name}");
        }
    }
    assert!(kinds[1..].iter().all(|count| *count >= 3), "some of every kind: {kinds:?}");
}

#[test]
fn their_bundles_come_apart_and_are_put_together_again() {
    for Bundle { name, bytes, ids, nested } in vectors().bundles {
        let bytes = decode_base64url(&bytes).unwrap();
        let items: Result<Vec<_>, _> = bundle::decode(&bytes).unwrap().into_iter().map(DataItem::verify).collect();
        let items = items.unwrap_or_else(|cause| panic!("{name}: {cause}"));
        assert_eq!(items.iter().map(|item| item.id()).collect::<Vec<_>>(), ids, "{name}");
        assert_eq!(bundle::encode(&items), bytes, "{name}");
        let inner: Vec<_> = bundle::decode_nested(&bytes).unwrap();
        let inner: Vec<_> = inner.iter().filter_map(|(item, parent)| Some((item.id(), (*parent)?))).collect();
        assert_eq!(inner, nested.iter().map(|nested| (nested.id, nested.parent)).collect::<Vec<_>>(), "{name}");
    }
}

#[test]
fn their_damaged_ones_are_refused() {
    for Refused { name, kind, bytes } in vectors().refused {
        let bytes = decode_base64url(&bytes).unwrap();
        let accepted = match kind.as_str() {
            "item" => verified(&bytes).is_ok(),
            _ => bundle::decode(&bytes).is_ok_and(|items| items.into_iter().all(|item| item.verify().is_ok())),
        };
        assert!(!accepted, "{name}");
    }
}

/// A copy with one bit of the byte at this place changed.
fn damaged(bytes: &[u8], place: usize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[place] ^= 1;
    bytes
}

/// Items of every kind and shape, each good and damaged, and bundles of them.
fn ours(wallets: &[Wallet]) -> serde_json::Value {
    let target = Id::from([7; 32]);
    let full = ItemBuilder::new().target(target).anchor([0xfe; 32]).tag("Grüße", "日本語 🦀").tag("Empty", "");
    let shapes = [
        ("empty", ItemBuilder::new()),
        ("data", ItemBuilder::new().data(b"hi")),
        ("target", ItemBuilder::new().target(target).data(b"hi")),
        ("anchor", ItemBuilder::new().anchor([0xfe; 32]).data(b"hi")),
        ("many tags", (0..200).fold(ItemBuilder::new(), |item, n| item.tag(format!("n{n}"), format!("{n}")))),
        ("tags of 4096 bytes", ItemBuilder::new().tag("n", "v".repeat(4090))),
        ("full", full.data((0..=255).collect::<Vec<u8>>())),
    ];
    let (mut items, mut signed) = (Vec::new(), Vec::new());
    for wallet in wallets {
        for (shape, builder) in &shapes {
            let item = builder.sign(wallet).unwrap();
            let name = format!("{wallet:?}, {shape}");
            let mut good = serde_json::to_value(fields(&item)).unwrap();
            good["name"] = json!(name);
            good["bytes"] = json!(encode_base64url(item.bytes()));
            good["valid"] = json!(true);
            items.push(good);
            // In the signature, in the owner, at the end.
            let owner = 2 + item.signature().len();
            for place in [9, owner + 9, item.bytes().len() - 1] {
                let bytes = encode_base64url(&damaged(item.bytes(), place));
                items.push(json!({"name": format!("{name}, byte {place}"), "bytes": bytes, "valid": false}));
            }
            signed.push(item);
        }
    }
    let bytes = bundle::encode(&signed);
    let ids: Vec<Id> = signed.iter().map(|item| item.id()).collect();
    let bundles = json!([
        {"name": "empty bundle", "bytes": encode_base64url(&bundle::encode(&[])), "valid": true, "ids": []},
        {"name": "bundle", "bytes": encode_base64url(&bytes), "valid": true, "ids": ids},
        {"name": "damaged bundle", "bytes": encode_base64url(&damaged(&bytes, bytes.len() - 1)), "valid": false},
    ]);
    json!({"items": items, "bundles": bundles})
}

#[test]
fn they_verify_our_items_and_refuse_damaged_ones() {
    if !golden("node_modules").exists() {
        assert!(
            env::var_os("AO_REQUIRE_NODE").is_none_or(|value| value != "1"),
            "tests/golden/node_modules is missing: run `npm ci` in tests/golden"
        );
        println!("skipped: tests/golden/node_modules is missing; `npm ci` in tests/golden brings it");
        return;
    }
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("golden-{}.json", std::process::id()));
    fs::write(&file, ours(&wallets(&vectors().keys)).to_string()).unwrap();
    let output = Command::new("node").arg(golden("check.mjs")).arg(&file).output().expect("node can be started");
    fs::remove_file(&file).unwrap();
    let (said, wrong) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}{wrong}");
}
