//! A compute unit that comes late begins with the state that others attested, and fills in what was before it; one that
//! is sent a wrong state does not take it.

use ao_node::arweave::Gateway;
use ao_protocol::item::ItemBuilder;
use ao_protocol::mirror::checkpoint::LOG_CHECKPOINT;
use ao_tests::arweave::{alone, landed, mirror_arguments, outcome_chain, restore};
use ao_tests::liar::Liar;
use ao_tests::nodes::{TestNode, User, wait_for_async};
use serde_json::Value;

/// Messages of a process: enough that evaluating all of them is what a late unit is spared.
const MESSAGES: usize = 400;
/// Some work, so that states are rebuilt now and then.
const WORK: &str = "for i = 1, 100000 do total = (total or 0) + i end";

struct Network {
    scheduler: TestNode,
    messenger: TestNode,
    computers: [TestNode; 2],
    user: User,
    process: String,
    _folder: tempfile::TempDir,
    _liar: Liar,
}

impl Network {
    /// A process with many slots, of which two units computed all; a third one lies about states.
    async fn start() -> Network {
        let scheduler = TestNode::start("su", None);
        let join = scheduler.multiaddr.clone();
        let messenger = TestNode::start("mu", Some(&join));
        let computers = [TestNode::start("cu", Some(&join)), TestNode::start("cu", Some(&join))];
        let folder = tempfile::tempdir().unwrap();
        let liar = Liar::start("checkpoints", folder.path(), &join);
        for node in [&scheduler, &messenger, &computers[0], &computers[1]] {
            wait_for_async("all nodes see each other", async || {
                let (_, peers) = node.get("/ao/peers").await.ok()?;
                (peers["units"].as_array()?.len() >= 4).then_some(())
            })
            .await;
        }
        let user = User::default();
        let process = user.spawn(&messenger, &scheduler.address, &messenger.address).await.unwrap();
        let network = Network { scheduler, messenger, computers, user, process, _folder: folder, _liar: liar };
        network.work(MESSAGES).await;
        network
    }

    async fn work(&self, messages: usize) {
        for _ in 0..messages {
            let item = self.user.eval(&self.process, WORK);
            let (status, answer) = self.messenger.post("/mu", item.bytes().to_vec()).await.unwrap();
            assert_eq!(status, 202, "{answer}");
        }
        let tip = self.tip().await;
        for node in &self.computers {
            wait_for_async("all is computed", async || {
                (self.race(node).await["computed"].as_u64()? >= tip).then_some(())
            })
            .await;
        }
    }

    async fn tip(&self) -> u64 {
        let (_, last) = self.scheduler.get(&format!("/su/{}/latest", self.process)).await.unwrap();
        ao_tests::nodes::tag(&last["assignment"], "Nonce").parse().unwrap()
    }

    async fn race(&self, node: &TestNode) -> Value {
        let (_, race) = node.get(&format!("/race/{}", self.process)).await.unwrap_or_default();
        race
    }

    async fn chain(&self, node: &TestNode, slot: u64) -> String {
        wait_for_async(&format!("{} has the outcome of slot {slot}", node.url), async || {
            let (_, slot) = node.get(&format!("/ao/slots/{}/{slot}", self.process)).await.ok()?;
            slot["outcome_chain"].as_str().map(str::to_string)
        })
        .await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_late_unit_begins_with_a_checkpoint_and_ends_with_the_same() {
    let network = Network::start().await;
    // Whoever attests another state is found by those that rebuilt it.
    for node in &network.computers {
        wait_for_async("the liar is on record", async || {
            let race = network.race(node).await;
            let lie = race["lies"].as_array()?.iter().find(|lie| lie["about"] == "checkpoint")?.clone();
            (lie["claimed"] != lie["right"]).then_some(())
        })
        .await;
    }
    let late = TestNode::start("cu", Some(&network.messenger.multiaddr));
    let base = wait_for_async("the late unit began with a checkpoint", async || {
        network.race(&late).await["began_with"].as_u64()
    })
    .await;
    assert!(base >= 256, "slot {base}");
    wait_for_async("what was before is filled in", async || {
        let race = network.race(&late).await;
        (race["began_with"].is_u64() && race["missing"].is_null()).then_some(())
    })
    .await;
    assert!(!late.log().contains("brought up from=0"), "it evaluated from the beginning: {}", late.log());
    let tip = network.tip().await;
    for slot in [0, 1, base / 2, base - 1, base, tip] {
        assert_eq!(network.chain(&late, slot).await, network.chain(&network.computers[0], slot).await, "slot {slot}");
    }
    assert_eq!(late.slots(&network.process).await.unwrap(), network.scheduler.slots(&network.process).await.unwrap());
    // It goes on as the others do, state and all.
    network.work(100).await;
    wait_for_async("the same checkpoint is reached", async || {
        let (ours, theirs) = (network.race(&late).await, network.race(&network.computers[0]).await);
        let same = ours["checkpoint"] == theirs["checkpoint"] && ours["computed"] == theirs["computed"];
        (same && ours["checkpoint"]["slot"].as_u64()? > tip).then_some(())
    })
    .await;
    wait_for_async("it attests the tip", async || {
        let race = network.race(&network.computers[1]).await;
        let units = race["units"].as_array()?;
        let own = units.iter().find(|unit| unit["unit"] == late.address)?;
        (own["agrees_up_to"].as_u64() == race["computed"].as_u64()).then_some(())
    })
    .await;

    // One that believes nobody evaluates all of it.
    let thorough = TestNode::start_with("cu", Some(&network.messenger.multiaddr), &["--verify-from-zero"]);
    let tip = network.tip().await;
    assert_eq!(network.chain(&thorough, tip).await, network.chain(&network.computers[0], tip).await);
    assert!(network.race(&thorough).await["began_with"].is_null());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_checkpoint_is_refused() {
    let mut network = Network::start().await;
    let tip = network.tip().await;
    let expected = network.chain(&network.computers[0], tip).await;
    // Only the liar is left of those that have a state to send.
    network.computers.iter_mut().for_each(TestNode::kill);
    let late = TestNode::start("cu", Some(&network.messenger.multiaddr));
    assert_eq!(network.chain(&late, tip).await, expected);
    let race = network.race(&late).await;
    assert!(race["began_with"].is_null(), "{race}");
    assert!(late.log().contains("a wrong checkpoint was refused"), "{}", late.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_comes_back_from_arweave_is_begun_with_a_checkpoint_from_there() {
    let gateway = TestNode::start_with("none", None, &["--dev-chain"]);
    let join = gateway.multiaddr.clone();
    let more = [mirror_arguments(&gateway.url, "200000"), vec!["--mirror-checkpoint-slots", "50"]].concat();
    let scheduler = TestNode::start_with("su", Some(&join), &more);
    let computers = [TestNode::start("cu", Some(&join)), TestNode::start("cu", Some(&join))];
    let (_, peers) = scheduler.get("/ao/peers").await.unwrap();
    let user = User::default();
    // It says whose word counts: nobody else knows it when all of them are gone.
    let units = computers.each_ref().map(|unit| unit.address.as_str()).join(",");
    let item = ItemBuilder::new().tag("Type", "Process").tag("Module", peers["module"].as_str().unwrap());
    let item = user.sign(item.tag("Scheduler", scheduler.address.clone()).tag("Compute-Authority", units).data(" "));
    assert_eq!(scheduler.post("/su", item.bytes().to_vec()).await.unwrap().0, 201);
    let process = item.id().to_string();
    let client = Gateway::new(&gateway.url).unwrap();
    let mut slots = 1;
    wait_for_async("a checkpoint is on Arweave", async || {
        for _ in 0..50 {
            let item = user.eval(&process, WORK);
            assert_eq!(scheduler.post("/su", item.bytes().to_vec()).await.unwrap().0, 201);
            slots += 1;
        }
        for unit in &computers {
            outcome_chain(unit, &process, slots - 1).await;
        }
        let tags = [("Type", LOG_CHECKPOINT), ("Process", process.as_str())];
        (!client.find(&tags, None).await.unwrap().found.is_empty()).then_some(())
    })
    .await;
    landed(&scheduler, slots as u64).await;
    let (log, chain) =
        (scheduler.slots(&process).await.unwrap(), outcome_chain(&computers[0], &process, slots - 1).await);
    drop((scheduler, computers));
    let folder = tempfile::tempdir().unwrap();
    let report = restore(&gateway.url, &["--process", &process], folder.path());
    let slot = report["checkpoints"][&process].as_u64().unwrap_or_else(|| panic!("{report:#}"));
    assert_eq!((&report["processes"][&process], &report["refused"]), (&(slots - 1).into(), &Value::Array(vec![])));
    let restored = alone(folder.path(), &[]);
    assert_eq!(outcome_chain(&restored, &process, slots - 1).await, chain);
    assert_eq!(restored.slots(&process).await.unwrap(), log);
    let said = restored.log();
    let began = format!("began with a checkpoint from Arweave process={process} slot={slot} ");
    assert!(said.contains(&began) && !said.contains("brought up from=0"), "{said}");
    // Whoever trusts nobody evaluates all of it, and comes to the same.
    let folder = tempfile::tempdir().unwrap();
    restore(&gateway.url, &["--process", &process], folder.path());
    let restored = alone(folder.path(), &["--verify-from-zero"]);
    assert_eq!(outcome_chain(&restored, &process, slots - 1).await, chain);
    assert!(!restored.log().contains("from Arweave"));
}
