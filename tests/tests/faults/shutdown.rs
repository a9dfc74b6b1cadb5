//! SIGTERM in the middle of work: every node ends by itself within five seconds, and what was acknowledged is there
//! when they are back.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ao_tests::nodes::{TestNode, User, wait_for_async};

use super::{send, spawn, until_says};

/// How long a node may take to end.
const LIMIT: Duration = Duration::from_secs(5);
/// How many users send at once.
const SENDERS: usize = 4;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_node_ends_within_five_seconds_with_all_that_it_acknowledged() {
    let scheduler = TestNode::start("su", None);
    let join = Some(scheduler.multiaddr.as_str());
    let (messenger, computer) = (Arc::new(TestNode::start("mu", join)), TestNode::start("cu", join));
    let user = Arc::new(User::default());
    let (neo, trinity) = (
        spawn(&user, &messenger, &scheduler, &messenger.address).await,
        spawn(&user, &messenger, &scheduler, &messenger.address).await,
    );
    let busy = spawn(&user, &messenger, &scheduler, &messenger.address).await;
    send(&messenger, &user, &trinity, "Got = 0 Handlers.add('Ping', 'Ping', function(msg) Got = Got + 1 end)").await;
    let stop = Arc::new(AtomicBool::new(false));
    let taken: Arc<Mutex<Vec<String>>> = Arc::default();
    let lua = format!("Send({{ Target = '{trinity}', Action = 'Ping' }})");
    let senders: Vec<_> = (0..SENDERS)
        .map(|_| {
            let (stop, taken, user) = (stop.clone(), taken.clone(), user.clone());
            let (messenger, neo, lua) = (messenger.clone(), neo.clone(), lua.clone());
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let item = user.eval(&neo, &lua);
                    if matches!(messenger.post("/mu", item.bytes().to_vec()).await, Ok((202, _))) {
                        taken.lock().unwrap().push(item.id().to_string());
                    }
                }
            })
        })
        .collect();
    wait_for_async("messages are taken", async || (taken.lock().unwrap().len() > 50).then_some(())).await;
    // A worker is in the middle of something long, and somebody waits for its result.
    let long = send(&messenger, &user, &busy, "local n = 0 while n < 4e9 do n = n + 1 end").await;
    let path = format!("/cu/result/{long}?process-id={busy}");
    let asked = computer.get(&path);
    let pinned = tokio::time::timeout(Duration::from_millis(300), asked).await;
    assert!(pinned.is_err(), "the long evaluation has no result yet: {pinned:?}");

    let mut nodes = [scheduler, computer];
    let mut ends = Vec::new();
    for node in nodes.iter_mut() {
        node.signal("TERM");
        ends.push(node.ends_within(LIMIT));
    }
    stop.store(true, Ordering::Relaxed);
    for sender in senders {
        sender.await.unwrap();
    }
    let mut messenger = Arc::into_inner(messenger).unwrap();
    messenger.signal("TERM");
    ends.push(messenger.ends_within(LIMIT));
    assert_eq!(ends, [Some(true); 3], "scheduler, compute unit, messenger");

    let [mut scheduler, mut computer] = nodes;
    scheduler.restart();
    computer.restart();
    messenger.restart();
    let slots = scheduler.slots(&neo).await.unwrap();
    let taken = taken.lock().unwrap().clone();
    for item in &taken {
        assert_eq!(slots.iter().filter(|slot| slot.item == *item).count(), 1, "acknowledged message {item}");
    }
    // Each slot but the spawn sent one message; all arrive.
    until_says(&messenger, &user, &trinity, "Got", &(slots.len() - 1).to_string()).await;
}
