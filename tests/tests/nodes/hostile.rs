//! A hostile peer: garbage, forged items, entries of a scheduler that the process never named, outcomes that nobody
//! computed. Requests are answered with what is wrong; gossip changes nothing; and the node goes on.

use std::sync::Arc;

use ao_node::key_file;
use ao_node::net::{Net, NetConfig, NetMetrics, PeerKey, Verdict};
use ao_node::node::Node;
use ao_protocol::announcement::Role;
use ao_protocol::assignment::Statement;
use ao_protocol::attestation::Claim;
use ao_protocol::attested::AttestedBytes;
use ao_protocol::id::{Digest, Id};
use ao_protocol::item::{ItemBuilder, VerifiedItem};
use ao_protocol::log::Log;
use ao_protocol::network::Network;
use ao_protocol::wallet::{Signer, Wallet};
use ao_protocol::wire::{self, EntryBytes, Gossip, ItemBytes, MAX_SUBMISSIONS, Request, Response, SubmissionBytes};
use ao_tests::nodes::{User, wait_for_async};

use crate::local::{config, post, spawn, tip};

/// A node that trusts only itself, with one process.
struct Victim {
    node: Node,
    user: User,
    process: Id,
    _folder: tempfile::TempDir,
}

impl Victim {
    async fn start() -> Victim {
        let folder = tempfile::tempdir().unwrap();
        let (wallet, _) = key_file::load_or_create(&folder.path().join("unit.json")).unwrap();
        let unit = wallet.address();
        let network = Network {
            open: false,
            schedulers: vec![unit],
            messengers: vec![unit],
            compute_units: vec![unit],
            ..Network::open("hostile")
        };
        let mut config = config(&Role::ALL, None, &folder);
        config.wallet = Some(folder.path().join("unit.json"));
        config.network = Some(network);
        let node = Node::start(config).await.unwrap();
        let user = User::default();
        let spawn = spawn(&user, &node);
        let process = spawn.id();
        assert_eq!(post(&node, spawn.bytes().to_vec()).await, 202);
        let victim = Victim { node, user, process, _folder: folder };
        victim.computes(0).await;
        victim
    }

    /// Waits until a slot was computed.
    async fn computes(&self, slot: u64) {
        wait_for_async("the slot is computed", async || {
            let computed = self.node.world().log().computed(&self.process).unwrap();
            computed.is_some_and(|computed| computed.slot >= slot).then_some(())
        })
        .await;
    }

    fn eval(&self, lua: &str) -> VerifiedItem {
        self.user.eval(&self.process.to_string(), lua)
    }

    fn shard(&self) -> u8 {
        wire::shard(&self.process)
    }
}

/// A peer with keys of its own that is connected to the node.
struct Hostile {
    net: Net,
    wallet: Arc<Wallet>,
}

impl Hostile {
    async fn connect(victim: &Victim) -> Hostile {
        let wallet = Arc::new(Wallet::ed25519_from_seed(rand::random()));
        let config = NetConfig {
            key: PeerKey::generate(),
            listen: vec!["/ip4/127.0.0.1/tcp/0".into()],
            join: victim.node.world().net().listen_addresses().await,
            network: None,
            wallet: wallet.clone(),
            roles: Role::ALL.to_vec(),
            http_url: None,
            dev_chain: false,
            follow_shards: u16::MAX,
            mdns: false,
            metrics: NetMetrics::default(),
        };
        let (net, mut events) = Net::start(config).await.unwrap();
        let handle = net.clone();
        tokio::spawn(async move {
            while let Some(event) = events.recv().await {
                if let ao_node::net::NetEvent::Gossip { ticket, .. } = event {
                    handle.verdict(ticket, Verdict::Accept);
                }
            }
        });
        wait_for_async("the hostile peer is connected", async || {
            net.directory().connected().contains(&victim.node.world().net().peer_id()).then_some(())
        })
        .await;
        Hostile { net, wallet }
    }

    async fn ask(&self, victim: &Victim, request: Request) -> Response {
        self.net.request(&victim.node.world().net().peer_id(), &request).await.unwrap()
    }

    /// Publishes something bad until the node has judged it: it must not be accepted.
    async fn gossip(&self, victim: &Victim, bad: Gossip) {
        let (accepted, ignored, rejected) = victim.node.world().verdicts().counts();
        wait_for_async("gossip is judged", async || {
            // The mesh takes a moment to form; what was published before that is lost, so it goes again.
            self.net.publish(victim.shard(), &bad).await.ok();
            let now = victim.node.world().verdicts().counts();
            (now.1 + now.2 > ignored + rejected).then_some(())
        })
        .await;
        assert_eq!(victim.node.world().verdicts().counts().0, accepted, "{bad:?} was accepted");
    }
}

fn bytes(item: &VerifiedItem) -> ItemBytes {
    ItemBytes(item.bytes().to_vec())
}

fn forged(item: &VerifiedItem) -> ItemBytes {
    let mut bytes = bytes(item);
    *bytes.0.last_mut().unwrap() ^= 1;
    bytes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_are_answered_with_what_is_wrong() {
    let victim = Victim::start().await;
    let hostile = Hostile::connect(&victim).await;
    let messenger = hostile.wallet.address();
    let submit = |item: ItemBytes| SubmissionBytes { item, messenger, certificate: None };
    let stranger = Id::from([9; 32]);
    let pushed = ItemBuilder::new()
        .target(victim.process)
        .tag("Data-Protocol", "ao")
        .tag("Type", "Message")
        .tag("From-Process", victim.process.to_string())
        .tag("Origin-Slot", "0")
        .tag("Origin-Index", "m0")
        .sign(&*hostile.wallet)
        .unwrap();
    for (item, expected) in [
        (ItemBytes(b"garbage".to_vec()), "signature type"),
        (forged(&victim.eval("1")), "signature"),
        (bytes(&victim.user.eval(&stranger.to_string(), "1")), "unknown process"),
        (bytes(&pushed), "false origin"),
    ] {
        // What is wrong with one item does not hold up another that comes with it.
        let good = victim.eval("1 + 1");
        let submissions = match expected {
            // Refused for now only: what comes with it keeps its place behind it.
            "unknown process" => vec![submit(item)],
            _ => vec![submit(item), submit(bytes(&good))],
        };
        let Response::Receipts(receipts) = hostile.ask(&victim, Request::Submit(submissions)).await else {
            panic!("no receipts")
        };
        let refusal = receipts[0].as_ref().unwrap_err().to_string();
        assert!(refusal.contains(expected), "{refusal:?} should say {expected:?}");
        if let Some(receipt) = receipts.get(1) {
            assert!(receipt.is_ok(), "{receipt:?}");
            assert!(victim.node.world().log().slot_of_item(&victim.process, &good.id()).unwrap().is_some());
        }
    }
    assert_eq!(tip(&victim.node, &victim.process), Some(3));

    let good = bytes(&victim.eval("1"));
    let many = (0..=MAX_SUBMISSIONS).map(|_| submit(good.clone())).collect();
    assert!(matches!(hostile.ask(&victim, Request::Submit(many)).await, Response::Busy(_)));
    assert_eq!(hostile.ask(&victim, Request::Range { process: stranger, from: 0 }).await, Response::Range(Vec::new()));
    let behind = Request::Range { process: victim.process, from: u64::MAX };
    assert_eq!(hostile.ask(&victim, behind).await, Response::Range(Vec::new()));
    assert_eq!(hostile.ask(&victim, Request::Item(stranger)).await, Response::Item(None));
    let backwards = Request::Outcomes { process: victim.process, from: 5, to: 2 };
    assert_eq!(hostile.ask(&victim, backwards).await, Response::Outcomes(Vec::new()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gossip_changes_nothing() {
    let victim = Victim::start().await;
    let log = victim.node.world().log();
    let entry = log.entry(&victim.process, 0).unwrap().unwrap();
    let stolen = victim.eval("stolen = true");

    // A peer of its own for each: who sent enough of these is not listened to any more.
    let hostile = Hostile::connect(&victim).await;
    let messenger = hostile.wallet.address();
    hostile.gossip(&victim, Gossip::Message { messenger, item: ItemBytes(b"garbage".to_vec()) }).await;
    let hostile = Hostile::connect(&victim).await;
    hostile.gossip(&victim, Gossip::Message { messenger, item: forged(&stolen) }).await;
    let hostile = Hostile::connect(&victim).await;
    hostile.gossip(&victim, Gossip::Item(forged(&stolen))).await;

    // A process's next slot, given by somebody who is not its scheduler.
    let hostile = Hostile::connect(&victim).await;
    let before = tip(&victim.node, &victim.process).unwrap();
    let last = log.entry(&victim.process, before).unwrap().unwrap();
    let statement = Statement {
        slot: before + 1,
        hash_chain: last.assignment.next_link(),
        message: Some(stolen.id()),
        ..entry.assignment.statement.clone()
    };
    let assignment = bytes(&statement.sign(&*hostile.wallet).unwrap().item);
    let theirs = EntryBytes { assignment, item: Some(bytes(&stolen)), proof: None, certificate: None };
    hostile.gossip(&victim, Gossip::Entries(vec![theirs])).await;

    // An outcome that nobody computed, by a unit that the network file does not name.
    let hostile = Hostile::connect(&victim).await;
    let computed = log.computed(&victim.process).unwrap().unwrap();
    let claim = Claim {
        network: Network::open("hostile").hash(),
        format: "lua-5.3-ao1".into(),
        process: victim.process,
        slot: computed.slot,
        assignment: log.entry(&victim.process, computed.slot).unwrap().unwrap().assignment.id(),
        outcome_chain: Digest::from([7; 32]),
        checkpoint: None,
    };
    let lie = claim.sign(&*hostile.wallet).unwrap();
    hostile
        .gossip(
            &victim,
            Gossip::Attestations(vec![AttestedBytes::bare(lie.to_bytes()), AttestedBytes::bare(b"garbage".to_vec())]),
        )
        .await;
    let hostile = Hostile::connect(&victim).await;
    hostile.gossip(&victim, Gossip::Attestations(vec![AttestedBytes::bare(lie.to_bytes())])).await;

    // Evidence against a scheduler that did nothing wrong.
    let hostile = Hostile::connect(&victim).await;
    let ours = log.entry_bytes(&victim.process, 0).unwrap().unwrap();
    let statement = entry.assignment.statement.clone();
    let lie_of =
        |wallet: &Wallet| bytes(&Statement { timestamp_ms: 7, ..statement.clone() }.sign(wallet).unwrap().item);
    let theirs = EntryBytes { assignment: lie_of(&hostile.wallet), item: None, proof: None, certificate: None };
    hostile.gossip(&victim, Gossip::Evidence(ours, theirs)).await;
    assert!(log.evidence(&victim.process).unwrap().is_none());

    // Nothing has a slot, the liar's word is not kept, and the process goes on.
    assert_eq!(log.slot_of_item(&victim.process, &stolen.id()).unwrap(), None);
    assert_eq!(log.item(&stolen.id()).unwrap(), None);
    assert_eq!(tip(&victim.node, &victim.process), Some(0));
    assert!(log.next_attestation(&victim.process, &lie.unit(), 0).unwrap().is_none());
    let after = victim.eval("tostring(stolen)");
    assert_eq!(post(&victim.node, after.bytes().to_vec()).await, 202);
    let slot = log.slot_of_item(&victim.process, &after.id()).unwrap().unwrap();
    victim.computes(slot).await;
    let outcome = log.outcome(&victim.process, slot).unwrap().unwrap();
    assert!(outcome.outcome.output.contains("nil"), "{:?}", outcome.outcome);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn items_without_a_slot_are_taken_within_a_budget() {
    let victim = Victim::start().await;
    let hostile = Hostile::connect(&victim).await;
    let verdicts = victim.node.world().verdicts();

    // Where the victim's scheduler was once, which must not come back as the newest.
    let old = ItemBuilder::new().tag("Data-Protocol", "ao").tag("Type", "Scheduler-Location");
    let old = old.tag("Url", "http://127.0.0.1:1").sign(&**victim.node.world().wallet()).unwrap();
    hostile.gossip(&victim, Gossip::Item(bytes(&old))).await;
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let upload = client.post(format!("{}/tx", victim.node.http_url())).body(old.bytes().to_vec());
    assert_eq!(upload.send().await.unwrap().status(), 400);
    assert_eq!(victim.node.world().log().item(&old.id()).unwrap(), None);

    let (_, ignored, _) = verdicts.counts();
    let mut number = 0u32;
    wait_for_async("too much is ignored", async || {
        for _ in 0..16 {
            number += 1;
            let item = ItemBuilder::new().tag("Number", number.to_string()).data(vec![0; 20_000]);
            let item = Gossip::Item(bytes(&item.sign(&*hostile.wallet).unwrap()));
            hostile.net.publish(0, &item).await.ok();
        }
        (verdicts.counts().1 > ignored).then_some(())
    })
    .await;
    // 16 MiB are 830 of them.
    assert!(verdicts.counts().0 >= 800, "{:?}", verdicts.counts());
}
