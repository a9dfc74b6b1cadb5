//! The scheduler is killed with `kill -9` at random moments under load: every acknowledged slot is there afterwards,
//! the chain links, and no slot is used twice.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ao_protocol::item::ItemBuilder;
use ao_tests::nodes::{DEADLINE, Slot, TestNode, User, wait_for_async};
use rand::Rng;

/// How often the scheduler is killed.
const KILLS: usize = 20;
/// How many users send at once.
const SENDERS: usize = 8;

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

    let slots = scheduler.slots(&process).await.unwrap();
    let acknowledged = acknowledged.lock().unwrap().clone();
    assert!(acknowledged.len() > KILLS, "{} messages", acknowledged.len());
    let mut places: BTreeMap<&str, usize> = BTreeMap::new();
    for Slot { item, .. } in &slots {
        *places.entry(item.as_str()).or_default() += 1;
    }
    for item in &acknowledged {
        assert_eq!(places.get(item.as_str()), Some(&1), "acknowledged message {item}");
    }
    for pair in slots.windows(2) {
        let [before, next] = pair else { continue };
        let (assignment, link) = (before.assignment.parse().unwrap(), before.link.parse().unwrap());
        assert_eq!(next.link, ao_protocol::assignment::next_link(&assignment, &link).to_string(), "the chain links");
    }
    // The follower has the same log, entry by entry.
    wait_for_async("the messenger's log is equal", async || {
        (messenger.slots(&process).await.ok()? == slots).then_some(())
    })
    .await;
    println!("{} messages acknowledged over {KILLS} kills, {} slots", acknowledged.len(), slots.len());
}
