//! Real nodes under real faults: full and slow disks, stopped processes, a network that loses, delays and is cut,
//! processes that send without end, long absences; and an orderly end in the middle of work.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "faults/absence.rs"]
mod absence;
#[path = "faults/endless.rs"]
mod endless;
#[path = "faults/full_disk.rs"]
mod full_disk;
#[path = "faults/network.rs"]
mod network;
#[path = "faults/shutdown.rs"]
mod shutdown;
#[path = "faults/slow_disk.rs"]
mod slow_disk;
#[path = "faults/stopped.rs"]
mod stopped;

use ao_tests::nodes::{TestNode, User, wait_for_async};

/// Spawns a process once the units know each other.
async fn spawn(user: &User, messenger: &TestNode, scheduler: &TestNode, authority: &str) -> String {
    wait_for_async("a process is spawned", async || user.spawn(messenger, &scheduler.address, authority).await.ok())
        .await
}

/// Sends Lua until a messenger takes it; the message's id.
async fn send(node: &TestNode, user: &User, process: &str, lua: &str) -> String {
    let item = user.eval(process, lua);
    wait_for_async("a message is taken", async || {
        let (status, _) = node.post("/mu", item.bytes().to_vec()).await.ok()?;
        (status == 202).then_some(())
    })
    .await;
    item.id().to_string()
}

/// What Lua says on a process, once its node can be asked.
async fn says(node: &TestNode, user: &User, process: &str, lua: &str) -> String {
    wait_for_async("a result", async || user.type_in(node, node, process, lua).await.ok()).await
}

/// Waits until Lua says this on a process. Each look is a message of its own.
async fn until_says(node: &TestNode, user: &User, process: &str, lua: &str, expected: &str) {
    let mut last = String::new();
    let what = format!("{lua} is {expected}");
    let found = wait_for_async(&what, async || {
        last = user.type_in(node, node, process, lua).await.unwrap_or_else(|cause| cause.to_string());
        (last == expected).then_some(())
    });
    found.await;
}
