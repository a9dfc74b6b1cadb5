//! Golden vectors in both directions with `@dha-team/arbundles`: what it made verifies here, what is made here
//! verifies there, and what is damaged verifies nowhere.

use std::path::{Path, PathBuf};
use std::process::Command;

use ao_protocol::id::{decode_base64url, encode_base64url};
use ao_protocol::item::{DataItem, ItemBuilder, VerifiedItem, bundle};
use ao_protocol::tag::Tag;
use ao_protocol::wallet::Wallet;
use serde_json::{Value, json};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden")
}

fn vectors() -> Value {
    serde_json::from_str(&std::fs::read_to_string(folder().join("arbundles.json")).unwrap()).unwrap()
}

fn bytes(vector: &Value, name: &str) -> Vec<u8> {
    decode_base64url(vector[name].as_str().unwrap()).unwrap()
}

#[test]
fn what_arbundles_made_verifies_and_reads_the_same() {
    let vectors = vectors();
    let items = vectors["items"].as_array().unwrap();
    assert!(items.len() >= 26);
    for vector in items {
        let name = vector["name"].as_str().unwrap();
        let item = DataItem::decode(bytes(vector, "bytes")).unwrap_or_else(|cause| panic!("{name}: {cause}"));
        let item = item.verify().unwrap_or_else(|cause| panic!("{name}: {cause}"));
        assert_eq!(item.id().to_string(), vector["id"].as_str().unwrap(), "{name}");
        assert_eq!(item.signature_type() as u64, vector["type"].as_u64().unwrap(), "{name}");
        assert_eq!(item.target().map(|id| id.to_string()).unwrap_or_default(), vector["target"], "{name}");
        assert_eq!(item.anchor().map(|a| a.to_vec()).unwrap_or_default(), bytes(vector, "anchor"), "{name}");
        let tags: Vec<Tag> = serde_json::from_value(vector["tags"].clone()).unwrap();
        assert_eq!(item.tags(), tags, "{name}");
        assert_eq!(item.data(), bytes(vector, "data"), "{name}");
    }
}

#[test]
fn bundles_of_arbundles_come_apart() {
    for vector in vectors()["bundles"].as_array().unwrap() {
        let found = bundle::decode_nested(&bytes(vector, "bytes")).unwrap();
        let ids: Vec<String> = found.iter().map(|(item, _)| item.id().to_string()).collect();
        assert_eq!(json!(ids), vector["ids"], "{}", vector["name"]);
        for (item, _) in found {
            item.verify().unwrap();
        }
    }
}

#[test]
fn damaged_items_of_arbundles_are_refused() {
    let vectors = vectors();
    let damaged = vectors["damaged"].as_array().unwrap();
    assert!(damaged.len() >= 20);
    for vector in damaged {
        let verified = DataItem::decode(bytes(vector, "bytes")).and_then(DataItem::verify);
        assert!(verified.is_err(), "{} verifies", vector["name"]);
    }
}

fn describe(name: &str, item: &VerifiedItem) -> Value {
    json!({
        "name": name,
        "bytes": encode_base64url(item.bytes()),
        "id": item.id(),
        "target": item.target().map(|id| id.to_string()).unwrap_or_default(),
        "tags": item.tags(),
        "data": encode_base64url(item.data()),
    })
}

#[test]
fn what_is_made_here_verifies_in_arbundles() {
    if !folder().join("node_modules").exists() {
        assert!(std::env::var_os("AO_REQUIRE_NODE").is_none(), "run `npm ci` in tests/golden first");
        println!("skipped: tests/golden/node_modules is missing; run `npm ci` there");
        return;
    }
    let jwk = std::fs::read_to_string(folder().join("rsa-wallet.json")).unwrap();
    let wallets = [
        ("arweave", Wallet::from_jwk(&jwk).unwrap()),
        ("ed25519", Wallet::ed25519_from_seed([5; 32])),
        ("ethereum", Wallet::ethereum_from_secret([5; 32]).unwrap()),
        ("solana", Wallet::solana_from_seed([5; 32])),
    ];
    let shapes = [
        ("empty", ItemBuilder::new()),
        ("full", ItemBuilder::new().target([7; 32].into()).anchor([8; 32]).tag("a", "b").tag("a", "c").data(b"hello")),
        ("unicode", ItemBuilder::new().tag("Ünïcode", "名前 🦀").data("Ωμέγα 🦀")),
        ("binary", ItemBuilder::new().data([0, 255, 254])),
    ];
    let (mut items, mut damaged, mut made) = (Vec::new(), Vec::new(), Vec::new());
    for (kind, wallet) in &wallets {
        for (shape, builder) in &shapes {
            let item = builder.sign(wallet).unwrap();
            items.push(describe(&format!("{kind}/{shape}"), &item));
            if *shape == "full" {
                for place in [5, item.bytes().len() - 1] {
                    let mut bytes = item.bytes().to_vec();
                    bytes[place] ^= 1;
                    damaged.push(json!({ "name": format!("{kind}/byte-{place}"), "bytes": encode_base64url(&bytes) }));
                }
            }
            made.push(item);
        }
    }
    let ids: Vec<String> = made.iter().map(|item| item.id().to_string()).collect();
    let bundles = [json!({ "name": "all", "bytes": encode_base64url(&bundle::encode(&made)), "ids": ids })];
    let file = std::env::temp_dir().join(format!("ao-golden-{}.json", std::process::id()));
    let vectors = json!({ "items": items, "bundles": bundles, "damaged": damaged });
    std::fs::write(&file, vectors.to_string()).unwrap();
    let checked = Command::new("node").arg(folder().join("check.mjs")).arg(&file).output();
    std::fs::remove_file(&file).unwrap();
    let checked = checked.expect("node can be run");
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
}
