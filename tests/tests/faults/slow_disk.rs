//! A scheduler whose disk takes long to sync: nothing is acknowledged before the sync, many wait for one sync together,
//! and nobody's message is scheduled twice because they lost patience.

use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ao_tests::nodes::{Setup, TestNode, User};

use super::spawn;

/// What a sync takes.
const SYNC: Duration = Duration::from_millis(400);
/// How many send at once.
const SENDERS: usize = 40;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_disk_makes_messages_wait_together_and_loses_none() {
    let folder = tempfile::tempdir().unwrap();
    let (source, library) = (folder.path().join("slow.c"), folder.path().join("slow.so"));
    std::fs::write(&source, include_str!("slow_disk.c")).unwrap();
    let compiled = Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&library).arg(&source).status();
    assert!(compiled.unwrap().success(), "the slow disk can't be compiled");
    let variable = |name: &str, value: &str| (name.to_string(), value.to_string());
    let environment = vec![
        variable("LD_PRELOAD", &library.display().to_string()),
        variable("AO_SLOW_SYNC_MS", &SYNC.as_millis().to_string()),
    ];
    let scheduler = TestNode::start_in("su", None, &[], Setup { environment, ..Setup::default() });
    let other = Arc::new(TestNode::start("mu,cu", Some(&scheduler.multiaddr)));
    let user = Arc::new(User::default());
    let process = spawn(&user, &other, &scheduler, &other.address).await;

    let began = Instant::now();
    let senders: Vec<_> = (0..SENDERS)
        .map(|_| {
            let (other, item) = (other.clone(), user.eval(&process, "Count = (Count or 0) + 1 return Count"));
            tokio::spawn(async move {
                // The same message, sent again by somebody without patience.
                let again = other.post("/mu", item.bytes().to_vec());
                let (first, again) = tokio::join!(other.post("/mu", item.bytes().to_vec()), again);
                assert_eq!((first.unwrap().0, again.unwrap().0), (202, 202));
                item.id().to_string()
            })
        })
        .collect();
    let mut items = Vec::new();
    for sender in senders {
        items.push(sender.await.unwrap());
    }
    let took = began.elapsed();
    assert!(took >= SYNC, "nothing is acknowledged before it is synced");
    // One after the other they would take as many syncs.
    assert!(took < SYNC * SENDERS as u32 / 2, "they did not wait together: {took:?}");
    let slots = scheduler.slots(&process).await.unwrap();
    for item in &items {
        assert_eq!(slots.iter().filter(|slot| slot.item == *item).count(), 1, "{item}");
    }
    assert_eq!(slots.len(), SENDERS + 1);
    println!("{SENDERS} messages, each twice, in {took:?} with syncs of {SYNC:?}");
}
