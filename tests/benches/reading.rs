//! Data on Arweave that a process reads: how long it takes to get it from another node piece by piece, how fast a
//! process reads it, and what memory the node and its worker need meanwhile.
//!
//! ```sh
//! cargo bench --locked --workspace --bench reading               # 1 GB
//! cargo bench --locked --workspace --bench reading -- 100000000
//! ```

#![allow(clippy::expect_used, reason = "a benchmark that can't go on ends")]

use std::time::{Duration, Instant};

use ao_node::arweave::Gateway;
use ao_tests::arweave::{Lines, post_with_data};
use ao_tests::load::LIMIT;
use ao_tests::nodes::{TestNode, User, memory};

/// Bytes of the data when nothing is said.
const BYTES: u64 = 1_000_000_000;
/// Bytes that the process reads at a time.
const PART: u64 = 1 << 20;

fn main() {
    let bytes = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(BYTES);
    tokio::runtime::Runtime::new().expect("a runtime").block_on(run(bytes));
}

async fn run(bytes: u64) {
    let gateway = TestNode::start_with("none", None, &["--dev-chain"]);
    let join = Some(gateway.multiaddr.as_str());
    let (scheduler, computer) = (TestNode::start("su", join), TestNode::start("cu", join));
    let user = User::default();
    let process = user.spawn_at(&scheduler).await.expect("a process");
    let began = Instant::now();
    let id = post_with_data(&Gateway::new(&gateway.url).expect("a URL"), Lines::new(bytes)).await;
    println!("{bytes} bytes uploaded to the dev chain in {:.1} s", began.elapsed().as_secs_f64());
    let path = format!("/su?process-id={process}&assign={id}&base-layer");
    assert_eq!(scheduler.post(&path, Vec::new()).await.expect("an answer").0, 201);
    let before = memory(computer.pid());
    let one = format!("return #ao.data('{id}'):read(0, 1)");
    let (first, most) = watched(&computer, eval(&user, &scheduler, &computer, &process, &one)).await;
    println!("fetched by a compute unit in {first:.1} s: {:.0} MB a second", bytes as f64 / first / 1e6);
    println!(
        "  memory of the node: {} MiB before, {} MiB at most; its workers: {} MiB",
        before >> 10,
        most[0] >> 10,
        most[1] >> 10
    );
    let all = format!(
        "local d, sum = ao.data('{id}'), 0
         for at = 0, d.size - 1, {PART} do sum = sum + #d:read(at, {PART}) end return sum"
    );
    let (seconds, most) = watched(&computer, eval(&user, &scheduler, &computer, &process, &all)).await;
    println!("read by one message in {seconds:.2} s: {:.0} MB a second", bytes as f64 / seconds / 1e6);
    println!("  memory of the node: {} MiB at most; its workers: {} MiB", most[0] >> 10, most[1] >> 10);
}

/// Evaluates Lua that gives a number; waits for its outcome.
async fn eval(user: &User, scheduler: &TestNode, computer: &TestNode, process: &str, lua: &str) {
    let item = user.eval(process, lua);
    assert_eq!(scheduler.post("/su", item.bytes().to_vec()).await.expect("an answer").0, 201);
    let deadline = Instant::now() + LIMIT;
    loop {
        // The process has no owner that is asked, so the outcome may be an error of the program: it has to be none.
        match user.result(computer, process, &item.id().to_string()).await {
            Ok(_) => return,
            Err(cause) => assert!(Instant::now() < deadline && !cause.to_string().contains("200"), "{cause}"),
        }
    }
}

/// Seconds that something takes, and what the node and its workers hold at most meanwhile, in KiB.
async fn watched(node: &TestNode, what: impl Future<Output = ()>) -> (f64, [u64; 2]) {
    let (began, mut most) = (Instant::now(), [0; 2]);
    let mut what = std::pin::pin!(what);
    loop {
        let workers: u64 = workers(node.pid()).into_iter().map(memory).sum();
        most = [most[0].max(memory(node.pid())), most[1].max(workers)];
        tokio::select! {
            () = &mut what => return (began.elapsed().as_secs_f64(), most),
            () = tokio::time::sleep(Duration::from_millis(5)) => {}
        }
    }
}

/// Processes below one.
fn workers(pid: u32) -> Vec<u32> {
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let of_tasks = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok());
    let mut found: Vec<u32> = of_tasks
        .chain([children])
        .flat_map(|list| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>())
        .collect();
    found.sort_unstable();
    found.dedup();
    let below: Vec<u32> = found.iter().flat_map(|pid| workers(*pid)).collect();
    found.extend(below);
    found
}
