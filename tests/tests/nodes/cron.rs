//! A process with a 10-second cron for two minutes, with a `kill -9` of its scheduler in between: every due second has
//! its firing, and what each firing sends arrives once.

use std::time::{Duration, Instant};

use ao_protocol::item::ItemBuilder;
use ao_tests::nodes::{TestNode, User, wait_for_async};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

/// How long the cron is watched.
const WATCHED: Duration = Duration::from_secs(120);
/// Milliseconds between two firings.
const INTERVAL_MS: u64 = 10_000;
/// When the scheduler is killed, and for how long it is gone: longer than one interval.
const KILLED_AT: Duration = Duration::from_secs(35);
const GONE_FOR: Duration = Duration::from_secs(15);

/// The times for which the cron fired, as the compute unit lists them in pages.
async fn firings(node: &TestNode, process: &str) -> Vec<u64> {
    let mut times = Vec::new();
    let mut from = String::new();
    loop {
        let (status, page) = node.get(&format!("/cu/cron/{process}?limit=5{from}")).await.unwrap();
        assert_eq!(status, 200, "{page}");
        for edge in page["edges"].as_array().unwrap() {
            let cursor = edge["cursor"].as_str().unwrap();
            from = format!("&from={}", cursor.replace('+', "%2B").replace('=', "%3D"));
            let cursor: Value = serde_json::from_slice(&STANDARD.decode(cursor).unwrap()).unwrap();
            assert_eq!(cursor["cron"], "0-10-seconds");
            times.push(cursor["timestamp"].as_u64().unwrap());
        }
        if page["pageInfo"]["hasNextPage"] == false {
            return times;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cron_fires_in_every_due_second_across_a_kill_of_its_scheduler() {
    let mut scheduler = TestNode::start("su", None);
    let messenger = TestNode::start("mu", Some(&scheduler.multiaddr));
    let computer = TestNode::start("cu", Some(&scheduler.multiaddr));
    let user = User::default();
    let sink = wait_for_async("the first spawn is taken", async || {
        user.spawn(&messenger, &scheduler.address, &messenger.address).await.ok()
    })
    .await;
    let lua = "Seen = {} Handlers.add('Tick', 'Tick', function(msg) table.insert(Seen, msg.Tags.Time) end)";
    user.type_in(&messenger, &messenger, &sink, lua).await.unwrap();

    let began = Instant::now();
    let (_, peers) = messenger.get("/ao/peers").await.unwrap();
    let spawn = user.sign(
        ItemBuilder::new()
            .tag("Type", "Process")
            .tag("Module", peers["module"].as_str().unwrap())
            .tag("Scheduler", scheduler.address.clone())
            .tag("Authority", messenger.address.clone())
            .tag("On-Boot", "Data")
            .tag("Cron-Interval", "10-seconds")
            .tag("Cron-Tag-Action", "Cron")
            .data(format!(
                "Handlers.add('Cron', 'Cron', function(msg) assert(msg.Cron == true and msg.Id == nil) \
                 Send({{ Target = '{sink}', Action = 'Tick', Time = tostring(msg.Timestamp) }}) end)"
            )),
    );
    let (status, answer) = messenger.post("/mu", spawn.bytes().to_vec()).await.unwrap();
    assert_eq!(status, 202, "{answer}");
    let process = spawn.id().to_string();
    user.result(&messenger, &process, &process).await.unwrap();
    let (_, first) = messenger.get(&format!("/su/processes/{process}")).await.unwrap();
    let origin_ms = first["timestamp"].as_u64().unwrap() / 1000 * 1000;

    let passed = |limit: Duration| async move || (began.elapsed() >= limit).then_some(());
    wait_for_async("it is time to kill", passed(KILLED_AT)).await;
    scheduler.kill();
    wait_for_async("it is time to start it again", passed(KILLED_AT + GONE_FOR)).await;
    scheduler.restart();
    // Two waits: each has a deadline of a minute.
    wait_for_async("half of the time has passed", passed(WATCHED * 3 / 4)).await;
    wait_for_async("the time has passed", passed(WATCHED)).await;

    let due = (WATCHED.as_millis() as u64 - 1000) / INTERVAL_MS;
    let times = wait_for_async("the last firing is computed", async || {
        let times = firings(&computer, &process).await;
        (times.len() as u64 >= due).then_some(times)
    })
    .await;
    let expected: Vec<u64> = (1..=times.len() as u64).map(|n| origin_ms + n * INTERVAL_MS).collect();
    assert_eq!(times, expected, "every due second has its firing, once and in order");
    let seen = wait_for_async("what they sent arrived", async || {
        let seen = user.type_in(&messenger, &messenger, &sink, "table.concat(Seen, ',')").await.ok()?;
        let seen: Vec<u64> = seen.split(',').filter_map(|time| time.parse().ok()).collect();
        (seen.len() >= expected.len()).then_some(seen)
    })
    .await;
    assert_eq!(seen[..expected.len()], expected, "what each firing sent arrived once and in order");
    assert!(seen.len() <= expected.len() + 1, "only one more may have fired meanwhile: {seen:?}");
}
