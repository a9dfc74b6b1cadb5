//! Data on Arweave that processes read: named by an assignment or a spawn, fetched from the chain or from peers, and
//! never missing from an outcome.

use std::io::Read;
use std::time::Duration;

use ao_node::arweave::{Gateway, Status};
use ao_protocol::id::Id;
use ao_protocol::item::ItemBuilder;
use ao_protocol::transaction::TransactionBuilder;
use ao_tests::arweave::{Lines, alone, landed, mirror_arguments, outcome_chain, post, post_with_data, restore, wallet};
use ao_tests::nodes::{TestNode, User, wait_for, wait_for_async};
use serde_json::Value;

/// Several pieces, and a last one that is shorter.
const LINES: u64 = 40_000;
const SIZE: u64 = 32 * LINES;

fn lines() -> Lines {
    Lines::new(SIZE)
}

/// A transaction with a text.
async fn post_text(gateway: &Gateway, text: &str) -> String {
    let terms = gateway.terms(text.len()).await.unwrap();
    let builder = TransactionBuilder { last_tx: terms.anchor, reward: terms.price, ..Default::default() };
    let transaction = builder.sign(text.as_bytes(), &wallet()).unwrap();
    gateway.post(&transaction).await.unwrap();
    gateway.post_data(&transaction, text.as_bytes(), &mut 0).await.unwrap();
    wait_for_async("the transaction is mined", async || {
        matches!(gateway.status(&transaction.id).await, Ok(Status::Mined { .. })).then_some(())
    })
    .await;
    transaction.id.to_string()
}

struct Network {
    gateway: TestNode,
    scheduler: TestNode,
    messenger: TestNode,
    computer: TestNode,
    user: User,
}

impl Network {
    async fn start() -> Network {
        Network::start_with(|_| Vec::new()).await
    }

    /// With these arguments for the scheduler, when the gateway's URL is known.
    async fn start_with(scheduler: impl Fn(&str) -> Vec<&str>) -> Network {
        let gateway = TestNode::start_with("none", None, &["--dev-chain"]);
        let join = Some(gateway.multiaddr.as_str());
        let scheduler = TestNode::start_with("su", join, &scheduler(&gateway.url));
        let messenger = TestNode::start("mu", join);
        // It does not need the chain's node to come back.
        let computer = TestNode::start("cu", Some(&scheduler.multiaddr));
        for node in [&scheduler, &messenger, &computer] {
            wait_for_async("all nodes see each other", async || {
                (node.get("/ao/peers").await.ok()?.1["units"].as_array()?.len() >= 3).then_some(())
            })
            .await;
        }
        Network { gateway, scheduler, messenger, computer, user: User::default() }
    }

    /// A process that takes what is assigned to it.
    async fn spawn(&self) -> String {
        let process = self.user.spawn(&self.messenger, &self.scheduler.address, &self.messenger.address).await.unwrap();
        self.eval(&process, "ao.addAssignable(function() return true end)").await;
        process
    }

    async fn eval(&self, process: &str, lua: &str) -> String {
        self.user.type_in(&self.messenger, &self.computer, process, lua).await.unwrap()
    }

    async fn assign(&self, process: &str, id: &str, flags: &str) -> (u16, Value) {
        let path = format!("/mu?process-id={process}&assign={id}{flags}");
        self.messenger.post(&path, Vec::new()).await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_reads_transactions_that_are_assigned_to_it() {
    let network = Network::start().await;
    let gateway = Gateway::new(&network.gateway.url).unwrap();
    let process = network.spawn().await;
    let id = post_with_data(&gateway, lines()).await;
    let (status, answer) = network.assign(&process, &id, "&base-layer").await;
    assert_eq!((status, answer["message"].as_str()), (202, Some("Processing Assignment")), "{answer}");
    // However it is asked for, it comes once.
    for flags in ["&base-layer", "&base-layer&exclude=Tags", "", "&by-reference"] {
        let (_, again) = network.assign(&process, &id, flags).await;
        assert_eq!(again["id"], answer["id"], "{flags}");
    }
    let path = format!("/su/{id}?process-id={process}");
    let (_, node) = network.scheduler.get(&path).await.unwrap();
    assert_eq!((&node["assignment"]["id"], &node["message"]), (&answer["id"], &Value::Null));
    // The message says what the transaction says, without its data.
    network.user.result(&network.computer, &process, &id).await.unwrap();
    let said = "local m = Inbox[#Inbox] return m.Id .. tostring(m.Data) .. m['Data-Size'] .. m.From .. m.Reward";
    let said = network.eval(&process, said).await;
    let owner = "vVw4yfml-4FyI4y-FUea5v2Ebdbq5TRLLqeFVp2qX88";
    let reward = gateway.price(SIZE as usize).await.unwrap();
    assert_eq!(said, format!("{id}nil{SIZE}{owner}{reward}"));
    // Ranges, lines, all of it.
    let read = format!("local d = ao.data('{id}') return d.size .. d:read(32 * 30000, 31) .. d:read(d.size - 5)");
    assert_eq!(network.eval(&process, &read).await, format!("{SIZE}{}....\n", Lines::line(30_000)));
    let counted = format!("local n = 0 for l in io.lines('/data/{id}') do n = n + #l end return n");
    assert_eq!(network.eval(&process, &counted).await, (LINES * 31).to_string());
    let other = Id::from([7; 32]).to_string();
    assert_eq!(network.eval(&process, &format!("tostring(ao.data('{other}'))")).await, "nil");
    // An item by reference is read the same way, and one by value, too.
    for (flags, seen) in [("", "some text"), ("&by-reference", "nil")] {
        let item = network.user.sign(ItemBuilder::new().tag("Type", "Note").data("some text"));
        let (status, answer) = network.scheduler.post("/tx", item.bytes().to_vec()).await.unwrap();
        assert_eq!(status, 200, "{answer}");
        let note = item.id().to_string();
        let (status, answer) = network.assign(&process, &note, flags).await;
        assert_eq!(status, 202, "{answer}");
        let read = format!("tostring(Inbox[#Inbox].Data) .. ' ' .. io.open('/data/{note}'):read('a')");
        assert_eq!(network.eval(&process, &read).await, format!("{seen} some text"));
    }
    // What nobody knows is no item and no transaction.
    for flags in ["", "&base-layer"] {
        let (status, answer) = network.assign(&process, &other, flags).await;
        let said = answer["error"].as_str().unwrap_or_default();
        assert!(status == 404 && said.contains("nor is it a transaction of Arweave"), "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_bytes_there_is_no_outcome() {
    let network = Network::start().await;
    let gateway = Gateway::new(&network.gateway.url).unwrap();
    let process = network.spawn().await;
    let (transaction, cut) = post(&gateway, lines()).await;
    let id = transaction.id.to_string();
    // The header is enough for the log.
    assert_eq!(network.assign(&process, &id, "&base-layer").await.0, 202);
    let lua = format!("pcall(function() Part = ao.data('{id}'):read(64, 31) end) Caught = Part == nil");
    let item = network.user.eval(&process, &lua);
    assert_eq!(network.messenger.post("/mu", item.bytes().to_vec()).await.unwrap().0, 202);
    wait_for("the compute unit waits", || network.computer.log().contains("a process waits for data").then_some(()));
    wait_for("it says why", || network.computer.log().contains("which is not here: no peer has it").then_some(()));
    let slots = network.scheduler.slots(&process).await.unwrap().len();
    let path = format!("/ao/slots/{process}/{}", slots - 1);
    let (_, shown) = network.computer.get(&path).await.unwrap();
    assert!(shown["outcome_chain"].is_null(), "{shown}");
    // Half of it does not help.
    let mut data = Vec::new();
    lines().read_to_end(&mut data).unwrap();
    for (place, chunk) in cut.iter().enumerate() {
        if place == 2 {
            tokio::time::sleep(Duration::from_secs(2)).await;
            assert!(network.computer.get(&path).await.unwrap().1["outcome_chain"].is_null());
        }
        gateway.post_chunk(&transaction, chunk, &data[chunk.start as usize..chunk.end as usize]).await.unwrap();
    }
    outcome_chain(&network.computer, &process, slots - 1).await;
    assert_eq!(network.eval(&process, "Part .. tostring(Caught)").await, Lines::line(2) + "false");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn compute_units_share_data_and_notice_damage() {
    let mut network = Network::start().await;
    let gateway = Gateway::new(&network.gateway.url).unwrap();
    let process = network.spawn().await;
    let id = post_with_data(&gateway, lines()).await;
    assert_eq!(network.assign(&process, &id, "&base-layer").await.0, 202);
    let read = |number: usize| format!("ao.data('{id}'):read({}, 31)", 32 * number);
    assert_eq!(network.eval(&process, &read(39_999)).await, Lines::line(39_999));
    // The chain is gone; whoever comes now has it from the first one.
    let join = network.scheduler.multiaddr.clone();
    drop(std::mem::replace(&mut network.gateway, TestNode::start("none", Some(&join))));
    let second = TestNode::start_with("cu", Some(&join), &["--verify-from-zero"]);
    let last = network.scheduler.slots(&process).await.unwrap().len() - 1;
    assert_eq!(outcome_chain(&second, &process, last).await, outcome_chain(&network.computer, &process, last).await);
    // A file that was damaged while the node was down is not read: it comes from the other one.
    network.computer.kill();
    let folder = network.computer.data().join("permaweb");
    let file = std::fs::read_dir(&folder).unwrap().next().unwrap().unwrap().path();
    let mut damaged = std::fs::read(&file).unwrap();
    let whole = damaged.clone();
    damaged[32 * 20_000 + 7] ^= 1;
    std::fs::write(&file, damaged).unwrap();
    network.computer.restart();
    assert_eq!(network.eval(&process, &read(20_000)).await, Lines::line(20_000));
    wait_for("the damage is noticed", || network.computer.log().contains("damaged on disk").then_some(()));
    assert_eq!(std::fs::read(&file).unwrap(), whole);
    let last = network.scheduler.slots(&process).await.unwrap().len() - 1;
    assert_eq!(outcome_chain(&second, &process, last).await, outcome_chain(&network.computer, &process, last).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spawns_and_processes_name_data() {
    let network = Network::start().await;
    let gateway = Gateway::new(&network.gateway.url).unwrap();
    let boot = post_text(&gateway, "Booted = 'from Arweave'").await;
    let text = post_text(&gateway, "a text").await;
    let (_, peers) = network.messenger.get("/ao/peers").await.unwrap();
    let spawn = |tags: &[(&str, &str)]| {
        let item = ItemBuilder::new()
            .tag("Type", "Process")
            .tag("Module", peers["module"].as_str().unwrap())
            .tag("Scheduler", network.scheduler.address.clone())
            .tag("Authority", network.messenger.address.clone());
        network.user.sign(tags.iter().fold(item, |item, (name, value)| item.tag(*name, *value)).data(" "))
    };
    let item = spawn(&[("On-Boot", &boot), ("Data-Reference", &text)]);
    let (status, answer) = network.messenger.post("/mu", item.bytes().to_vec()).await.unwrap();
    assert_eq!(status, 202, "{answer}");
    let process = item.id().to_string();
    assert_eq!(network.eval(&process, "Booted").await, "from Arweave");
    assert_eq!(network.eval(&process, &format!("ao.data('{text}'):read()")).await, "a text");
    for named in ["x", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"] {
        let item = spawn(&[("Data-Reference", named)]);
        let (refused, answer) = network.messenger.post("/mu", item.bytes().to_vec()).await.unwrap();
        assert_eq!(refused, 400, "{answer}");
    }
    // Its own messages are no data.
    let message = network.user.eval(&process, "Count = (Count or 0) + 1");
    assert_eq!(network.messenger.post("/mu", message.bytes().to_vec()).await.unwrap().0, 202);
    let again = network.user.eval(&process, "Count = (Count or 0) + 1");
    let (status, answer) = network.gateway.post("/tx", again.bytes().to_vec()).await.unwrap();
    assert_eq!(status, 200, "{answer}");
    for id in [message.id().to_string(), again.id().to_string(), process.clone()] {
        let assign = ItemBuilder::new().target(process.parse().unwrap()).tag("Type", "Assign").tag("Message", id);
        let assign = network.user.sign(assign.tag("By-Reference", "true"));
        let (status, answer) = network.scheduler.post("/su", assign.bytes().to_vec()).await.unwrap();
        assert_eq!(status, 400, "{answer}");
    }
    assert_eq!(network.eval(&process, "Count").await, "1");
    // A process has a transaction assigned to itself.
    let other = network.spawn().await;
    let asks = format!("Assign({{ Processes = {{ ao.id }}, Message = '{text}' }})");
    network.eval(&other, &asks).await;
    wait_for_async("the transaction is assigned", async || {
        let read = network.eval(&other, &format!("local d = ao.data('{text}') return d and d:read() or 'none'")).await;
        (read == "a text").then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_read_is_read_again_after_a_restore() {
    let network = Network::start_with(|gateway| mirror_arguments(gateway, "20000")).await;
    let gateway = Gateway::new(&network.gateway.url).unwrap();
    let process = network.spawn().await;
    let id = post_with_data(&gateway, lines()).await;
    assert_eq!(network.assign(&process, &id, "&base-layer").await.0, 202);
    let read = format!("Read = ao.data('{id}'):read(32 * 777, 31)");
    network.eval(&process, &read).await;
    let slots = network.scheduler.slots(&process).await.unwrap();
    let chain = outcome_chain(&network.computer, &process, slots.len() - 1).await;
    landed(&network.scheduler, slots.len() as u64).await;
    let Network { gateway, .. } = network;
    let folder = tempfile::tempdir().unwrap();
    restore(&gateway.url, &["--process", &process], folder.path());
    // It asks no peers, but Arweave itself.
    let restored = alone(folder.path(), &["--arweave", &gateway.url]);
    assert_eq!(outcome_chain(&restored, &process, slots.len() - 1).await, chain);
    assert_eq!(restored.slots(&process).await.unwrap(), slots);
    let (_, state) = restored.get(&format!("/cu/state/{process}?name=Read")).await.unwrap();
    assert_eq!(state["State"], Lines::line(777));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_of_its_own_has_heights_items_and_transactions_from_its_gateway() {
    let gateway = TestNode::start_with("none", None, &["--dev-chain"]);
    let client = Gateway::new(&gateway.url).unwrap();
    let node = TestNode::start_with("mu,su,cu", None, &["--arweave", &gateway.url]);
    let user = User::default();
    let process = user.spawn(&node, &node.address, &node.address).await.unwrap();
    user.type_in(&node, &node, &process, "ao.addAssignable(function() return true end)").await.unwrap();
    let note = user.sign(ItemBuilder::new().tag("Type", "Note").data("in a bundle"));
    assert_eq!(gateway.post("/tx", note.bytes().to_vec()).await.unwrap().0, 200);
    let assign = async |id: &str, flags: &str| {
        node.post(&format!("/mu?process-id={process}&assign={id}{flags}"), Vec::new()).await.unwrap()
    };
    let (status, answer) = assign(&note.id().to_string(), "").await;
    assert_eq!(status, 202, "{answer}");
    assert_eq!(user.type_in(&node, &node, &process, "Inbox[#Inbox].Data").await.unwrap(), "in a bundle");
    let id = post_text(&client, "a text").await;
    assert_eq!(gateway.get("/mine/20").await.unwrap().0, 200);
    let (status, answer) = assign(&id, "&base-layer").await;
    assert_eq!(status, 202, "{answer}");
    assert_eq!(user.type_in(&node, &node, &process, &format!("ao.data('{id}'):read()")).await.unwrap(), "a text");
    wait_for_async("the height is the gateway's", async || {
        let (_, time) = node.get("/su/timestamp").await.ok()?;
        (time["block_height"].as_str()?.parse::<u64>().ok()? >= 20).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fetch_survives_kill_9_and_more_is_read_than_is_kept() {
    let mut network = Network::start().await;
    let gateway = Gateway::new(&network.gateway.url).unwrap();
    let process = network.spawn().await;
    // It is killed again and again while a large one comes.
    let large = Lines::new(100_000_000);
    let id = post_with_data(&gateway, large).await;
    assert_eq!(network.assign(&process, &id, "&base-layer").await.0, 202);
    let lua = format!("local n = 0 for l in io.lines('/data/{id}') do n = n + 1 if n == 3 then Third = l break end end
        local d = ao.data('{id}') Last = d:read(d.size - 32, 31) for at = 0, d.size - 1, 1 << 20 do d:read(at, 1 << 20) end");
    let item = network.user.eval(&process, &lua);
    assert_eq!(network.messenger.post("/mu", item.bytes().to_vec()).await.unwrap().0, 202);
    for millis in [150, 80, 250, 120, 60] {
        tokio::time::sleep(Duration::from_millis(millis)).await;
        network.computer.kill();
        network.computer.restart();
    }
    assert_eq!(network.eval(&process, "Third .. Last").await, Lines::line(2) + &Lines::line(100_000_000 / 32 - 1));
    // A node that keeps little has to let go of some to read others, also within one message.
    let small = TestNode::start_with("cu", Some(&network.scheduler.multiaddr), &["--data-bytes", "3000000"]);
    let other = network.spawn().await;
    let mut read = String::from("Sizes = 0 ");
    for n in 0..4 {
        let id = post_with_data(&gateway, Lines::new(SIZE + 32 * n)).await;
        assert_eq!(network.assign(&other, &id, "&base-layer").await.0, 202);
        read += &format!("Sizes = Sizes + #io.open('/data/{id}'):read('a') ");
    }
    network.eval(&other, &(read.clone() + &read)).await;
    let last = network.scheduler.slots(&other).await.unwrap().len() - 1;
    assert_eq!(outcome_chain(&small, &other, last).await, outcome_chain(&network.computer, &other, last).await);
    let kept = std::fs::read_dir(small.data().join("permaweb")).unwrap().flatten();
    assert!(kept.map(|file| file.metadata().unwrap().len()).sum::<u64>() <= 3_000_000);
}
