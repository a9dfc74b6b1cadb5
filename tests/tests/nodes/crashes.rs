//! The scheduler is killed with `kill -9` at random moments under load: every acknowledged slot is there afterwards,
//! the chain links, and no slot is used twice.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ao_protocol::item::ItemBuilder;
use ao_tests::nodes::{DEADLINE, TestNode, User, wait_for_async};
use rand::Rng;
use serde_json::Value;

/// How often the scheduler is killed.
const KILLS: usize = 20;
/// How many users send at once.
const SENDERS: usize = 8;

fn tag<'a>(item: &'a Value, name: &str) -> &'a str {
    let tags = item["tags"].as_array().map(Vec::as_slice).unwrap_or_default();
    tags.iter().find(|tag| tag["name"] == name).and_then(|tag| tag["value"].as_str()).unwrap_or_default()
}

/// The whole log, page by page: item, assignment and hash chain of each slot.
async fn log(node: &TestNode, process: &str) -> Vec<(String, String, String)> {
    let mut slots = Vec::new();
    loop {
        let from = slots.len() as i64 - 1;
        let (status, page) = node.get(&format!("/su/{process}?from-nonce={from}&limit=1000")).await.unwrap();
        assert_eq!(status, 200, "{page}");
        for edge in page["edges"].as_array().unwrap() {
            let (message, assignment) = (&edge["node"]["message"], &edge["node"]["assignment"]);
            assert_eq!(tag(assignment, "Nonce"), slots.len().to_string(), "slots are dense");
            let text = |value: &Value| value.as_str().unwrap_or_default().to_string();
            slots.push((text(&message["id"]), text(&assignment["id"]), tag(assignment, "Hash-Chain").to_string()));
        }
        if page["page_info"]["has_next_page"] == false {
            return slots;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_slots_survive_kill_9_of_the_scheduler() {
    let mut scheduler = TestNode::start("su", None);
    let messenger = TestNode::start("mu", Some(&scheduler.multiaddr));
    let user = Arc::new(User::default());
    let spawn = user.sign(
        ItemBuilder::new()
            .tag("Type", "Process")
            .tag("Module", scheduler.address.clone())
            .tag("Scheduler", scheduler.address.clone()),
    );
    let process = spawn.id().to_string();
    wait_for_async("the spawn is taken", async || {
        let (status, _) = messenger.post("/mu", spawn.bytes().to_vec()).await.ok()?;
        (status == 202).then_some(())
    })
    .await;

    // Each sender sends one message after the other, and each again until it is acknowledged.
    let stop = Arc::new(AtomicBool::new(false));
    let acknowledged: Arc<Mutex<Vec<String>>> = Arc::default();
    let messenger = Arc::new(messenger);
    let senders: Vec<_> = (0..SENDERS)
        .map(|_| {
            let (stop, acknowledged, messenger, user, process) =
                (stop.clone(), acknowledged.clone(), messenger.clone(), user.clone(), process.clone());
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let item = user.eval(&process, "x = 1");
                    let deadline = Instant::now() + DEADLINE;
                    while !matches!(messenger.post("/mu", item.bytes().to_vec()).await, Ok((202, _))) {
                        assert!(Instant::now() < deadline, "a message is never acknowledged");
                    }
                    acknowledged.lock().unwrap().push(item.id().to_string());
                }
            })
        })
        .collect();
    for kill in 0..KILLS {
        // Until something new was acknowledged, and a random moment after that.
        let before = acknowledged.lock().unwrap().len();
        wait_for_async(&format!("messages are acknowledged before kill {kill}"), async || {
            (acknowledged.lock().unwrap().len() > before).then_some(())
        })
        .await;
        let moment = rand::rng().random_range(0..80);
        tokio::time::sleep(Duration::from_millis(moment)).await;
        scheduler.restart();
    }
    stop.store(true, Ordering::Relaxed);
    for sender in senders {
        sender.await.unwrap();
    }

    let slots = log(&scheduler, &process).await;
    let acknowledged = acknowledged.lock().unwrap().clone();
    assert!(acknowledged.len() > KILLS, "{} messages", acknowledged.len());
    let mut places: BTreeMap<&str, usize> = BTreeMap::new();
    for (item, _, _) in &slots {
        *places.entry(item).or_default() += 1;
    }
    for item in &acknowledged {
        assert_eq!(places.get(item.as_str()), Some(&1), "acknowledged message {item}");
    }
    for pair in slots.windows(2) {
        let [(_, before, link), (_, _, next)] = pair else { continue };
        let expected = ao_protocol::assignment::next_link(&before.parse().unwrap(), &link.parse().unwrap());
        assert_eq!(*next, expected.to_string(), "the chain links");
    }
    // The follower has the same log, entry by entry.
    wait_for_async("the messenger's log is equal", async || (log(&messenger, &process).await == slots).then_some(()))
        .await;
    println!("{} messages acknowledged over {KILLS} kills, {} slots", acknowledged.len(), slots.len());
}
