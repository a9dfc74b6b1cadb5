//! Nodes whose disk is full: they say so, acknowledge nothing that they can't keep, go on reading, and go on by
//! themselves when there is room. The disk is a small tmpfs.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use ao_tests::nodes::{Setup, TestNode, User, wait_for_async};
use tempfile::TempDir;

use super::{says, spawn};

/// Size of the disk in MiB: what a node keeps free, and some room.
const DISK_MIB: u64 = 256;
/// How many users send at once.
const SENDERS: usize = 4;

/// A small disk; unmounted with the value.
struct Disk(TempDir);

impl Disk {
    /// None where this may not be mounted.
    fn mount() -> Option<Disk> {
        let folder = tempfile::tempdir().unwrap();
        let size = format!("size={DISK_MIB}m");
        let output = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(folder.path()).output();
        match output {
            Ok(output) if output.status.success() => Some(Disk(folder)),
            Ok(output) => {
                println!("skipped: a small disk can't be mounted: {}", String::from_utf8_lossy(&output.stderr).trim());
                None
            }
            Err(cause) => {
                println!("skipped: a small disk can't be mounted: {cause}");
                None
            }
        }
    }

    fn ballast(&self) -> PathBuf {
        self.0.path().join("ballast")
    }

    /// Takes all that is free.
    fn fill(&self) {
        fill(&self.ballast());
    }

    fn make_room(&self) {
        std::fs::remove_file(self.ballast()).unwrap();
    }
}

fn fill(path: &Path) {
    let mut file = std::fs::File::options().create(true).append(true).open(path).unwrap();
    let mut size = 1 << 20;
    while size > 0 {
        if file.write_all(&vec![1; size]).is_err() {
            size /= 2;
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.0.path()).status();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_with_a_full_disk_say_so_and_go_on_when_there_is_room() {
    let Some(disk) = Disk::mount() else { return };
    let setup = |name: &str| Setup { data: Some(disk.0.path().join(name)), ..Setup::default() };
    let mut scheduler = TestNode::start_in("su", None, &[], setup("su"));
    let other = Arc::new(TestNode::start_in("mu,cu", Some(&scheduler.multiaddr), &[], setup("other")));
    let user = Arc::new(User::default());
    let process = spawn(&user, &other, &scheduler, &other.address).await;

    // Users send, each the same message until it is taken, while the disk fills up under them.
    let stop = Arc::new(AtomicBool::new(false));
    let taken: Arc<Mutex<Vec<String>>> = Arc::default();
    let refusals: Arc<Mutex<BTreeMap<String, usize>>> = Arc::default();
    let senders: Vec<_> = (0..SENDERS)
        .map(|_| {
            let (stop, taken, refusals) = (stop.clone(), taken.clone(), refusals.clone());
            let (other, user, process) = (other.clone(), user.clone(), process.clone());
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let item = user.eval(&process, "Count = (Count or 0) + 1");
                    while let Ok((status, answer)) = other.post("/mu", item.bytes().to_vec()).await {
                        if status == 202 {
                            taken.lock().unwrap().push(item.id().to_string());
                            break;
                        }
                        *refusals.lock().unwrap().entry(answer["error"].to_string()).or_default() += 1;
                    }
                }
            })
        })
        .collect();
    let count = || taken.lock().unwrap().len();
    wait_for_async("some messages are taken", async || (count() > 20).then_some(())).await;
    disk.fill();
    let full = |text: &String| text.contains("disk") && text.contains("full");
    wait_for_async("messages are refused because the disk is full", async || {
        refusals.lock().unwrap().keys().any(full).then_some(())
    })
    .await;
    let before = count();
    // It still says how it is, and what it has.
    let (status, health) = scheduler.get("/health").await.unwrap();
    assert_eq!((status, &health["log_writable"]), (200, &false.into()));
    assert!(health["full"].as_str().is_some_and(|text| text.contains("MiB are free")), "{health}");
    let slots = scheduler.slots(&process).await.unwrap();
    assert!(slots.len() >= before, "{} slots", slots.len());
    let (status, answer) = scheduler.post("/tx", user.eval(&process, "1").bytes().to_vec()).await.unwrap();
    assert_eq!(status, 507, "{answer}");

    disk.make_room();
    wait_for_async("messages are taken again", async || (count() > before + 20).then_some(())).await;
    // Once more, and this time it is killed while it is full.
    disk.fill();
    wait_for_async("the disk is full again", async || {
        let (_, health) = scheduler.get("/health").await.ok()?;
        health["full"].is_string().then_some(())
    })
    .await;
    scheduler.kill();
    let cause = scheduler.try_restart().expect_err("a node does not start without room").to_string();
    assert!(cause.contains("no room on the disk"), "{cause}");
    disk.make_room();
    scheduler.restart();
    let before = count();
    wait_for_async("messages are taken after the restart", async || (count() > before + 20).then_some(())).await;
    stop.store(true, Ordering::Relaxed);
    for sender in senders {
        sender.await.unwrap();
    }
    let strange: Vec<String> = refusals.lock().unwrap().keys().filter(|text| !full(text)).cloned().collect();
    let away = |text: &String| text.contains("can't be reached") || text.contains("not known");
    assert!(strange.iter().all(away), "every refusal says what is wrong: {strange:?}");

    // Every acknowledged message has exactly one slot, and all were computed.
    let slots = scheduler.slots(&process).await.unwrap();
    let mut places: BTreeMap<&str, usize> = BTreeMap::new();
    for slot in &slots {
        *places.entry(slot.item.as_str()).or_default() += 1;
    }
    let taken = taken.lock().unwrap().clone();
    for item in &taken {
        assert_eq!(places.get(item.as_str()), Some(&1), "acknowledged message {item}");
    }
    let refused: usize = refusals.lock().unwrap().values().sum();
    println!("{} acknowledged, {} slots, {refused} refusals", taken.len(), slots.len());
    wait_for_async("the other node has the same log", async || {
        (other.slots(&process).await.ok()? == slots).then_some(())
    })
    .await;
    let count = (slots.len() - 1).to_string();
    assert_eq!(says(&other, &user, &process, "Count").await, count, "all were computed, once");
}
