//! Workers as processes of the operating system: their memory, their time, and that none outlives its node.

use std::io::{BufRead, BufReader};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::*;

/// Runs for longer than anybody waits, in a process whose budget is without end.
const ENDLESS: &str = "while true do end";
/// How soon processes must be gone.
const PROMPTLY: Duration = Duration::from_secs(5);

/// One that no budget ends.
fn without_budget() -> Program {
    let ours = program(&runtime::source());
    Program { limits: Limits { instructions: u64::MAX, ..ours.limits }, ..ours }
}

/// The processes below one, the host process first.
fn descendants(pid: u32) -> Vec<u32> {
    let mut found = Vec::new();
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    for child in children.split_whitespace().map(|child| child.parse().unwrap()) {
        found.push(child);
        found.extend(descendants(child));
    }
    found
}

/// A file that is readable once the process ended; none when it is gone already.
fn watch(pid: u32) -> Option<OwnedFd> {
    let file = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    (file >= 0).then(|| unsafe { OwnedFd::from_raw_fd(file as i32) })
}

fn watch_worker(keeper: u32) -> Vec<OwnedFd> {
    let all: Vec<OwnedFd> = [keeper].into_iter().chain(descendants(keeper)).filter_map(watch).collect();
    assert!(all.len() >= 2, "a worker is more than one process");
    all
}

fn assert_ends(process: &OwnedFd) {
    let mut file = libc::pollfd { fd: process.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    let ended = unsafe { libc::poll(&mut file, 1, PROMPTLY.as_millis() as i32) };
    assert_eq!(ended, 1, "the process is still there after {PROMPTLY:?}");
}

fn parent(pid: u32) -> u32 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit_once(')').unwrap().1.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_killed_worker_is_told_from_an_outcome() {
    let mut process = Process::start().await;
    process.eval("x = 1").await;
    let keeper = process.worker.pid();
    let all = watch_worker(keeper);
    assert_eq!(unsafe { libc::kill(descendants(keeper)[0] as i32, libc::SIGKILL) }, 0);
    match process.worker.apply(process.slot, &[eval("x")]).await {
        Err(VmError::Crashed { status, .. }) => assert_eq!(status, "by signal 9"),
        other => panic!("{other:?}"),
    }
    all.iter().for_each(assert_ends);
    assert!(matches!(process.worker.apply(process.slot, &[eval("x")]).await, Err(VmError::Gone)));
}

#[tokio::test]
async fn an_executable_that_is_no_worker_is_an_error() {
    assert!(matches!(Worker::start(&Launcher::new("/no/such/file"), &program("")).await, Err(VmError::Start(_))));
    match Worker::start(&Launcher::new("/bin/false"), &program("")).await {
        Err(VmError::Crashed { status, .. }) => assert!(status.starts_with("with its keeper"), "{status}"),
        _ => panic!("started"),
    }
}

/// What a worker makes of some lines: outcomes with what they charged, and the state.
async fn life_of(launcher: &Launcher, program: &Program) -> (Vec<Outcome>, Vec<u8>, u32) {
    let mut worker = Worker::start(launcher, program).await.unwrap();
    let lines = ["x = { 1, 2 }", "error('no')", "Send({ Target = 'a', Data = 'b' }) return #x", "while true do end"];
    let mut outcomes = Vec::new();
    for (slot, line) in lines.into_iter().enumerate() {
        outcomes.extend(worker.apply(slot as u64, &[eval(line)]).await.unwrap());
    }
    (outcomes, worker.save().await.unwrap().bytes, worker.pid())
}

#[tokio::test]
async fn a_copy_of_the_zygote_computes_what_a_new_run_does() {
    let launcher = Launcher::new(env!("CARGO_BIN_EXE_ao-node"));
    let ours = program(&runtime::source());
    let (outcomes, state, _) = life_of(&launcher.clone().without_zygote(), &ours).await;
    assert!(outcomes[0].error.is_none() && outcomes[3].error.as_ref().unwrap().contains("compute limit"));
    let mut worker = Worker::start(&launcher, &ours).await.unwrap();
    let zygote = parent(worker.pid());
    assert_ne!(zygote, std::process::id());
    let of_copy = life_of(&launcher, &ours).await;
    assert_eq!((of_copy.0, of_copy.1), (outcomes.clone(), state.clone()));
    // One that may use less than the zygote needed; one whose limits strike elsewhere.
    for (memory_bytes, instructions) in [(64 << 20, 3_000_000), (4 << 20, 50_000_000), (64 << 20, 40_000)] {
        let little = Program { limits: Limits { memory_bytes, instructions }, ..ours.clone() };
        let mut one = Worker::start(&launcher, &little).await.unwrap();
        let mut other = Worker::start(&launcher.clone().without_zygote(), &little).await.unwrap();
        let lines = [eval("return 'x'"), eval("while true do end"), eval("t = {} for i = 1, 1e6 do t[i] = {} end")];
        for (slot, line) in lines.iter().enumerate() {
            let (one, other) = (
                one.apply(slot as u64, std::slice::from_ref(line)).await,
                other.apply(slot as u64, std::slice::from_ref(line)).await,
            );
            assert_eq!(one.unwrap(), other.unwrap(), "{memory_bytes} {instructions}");
        }
    }
    // Without it workers go on, and others start.
    assert_eq!(unsafe { libc::kill(zygote as i32, libc::SIGKILL) }, 0);
    assert!(worker.apply(0, &[eval("x = 1")]).await.unwrap()[0].error.is_none());
    let mut again = Worker::start(&launcher, &ours).await;
    if again.is_err() {
        // It was asked for just before its end was noticed.
        again = Worker::start(&launcher, &ours).await;
    }
    assert!(again.unwrap().apply(0, &[eval("x = 1")]).await.unwrap()[0].error.is_none());
}

#[tokio::test]
async fn a_worker_takes_no_more_memory_than_it_is_granted() {
    let mut process = Process::start().await;
    let grow = "t = {} for i = 1, 40 do t[i] = ('x'):rep(1000000) end return #t";
    process.worker.grant(16 << 20);
    assert_eq!(process.eval("1 + 1").await, "2");
    let before = process.worker.save().await.unwrap();
    // The copy of a dry-run too, which the process survives.
    let dry = process.worker.evaluate_without_keeping(&eval(grow)).await;
    assert!(matches!(dry, Err(VmError::Refused(cause)) if cause.contains("more memory")));
    match process.worker.apply(process.slot, &[eval(grow)]).await {
        Err(VmError::Outgrown { granted }) => assert_eq!(granted, 16 << 20),
        other => panic!("{other:?}"),
    }
    // Another one with more of it computes what one without bounds does.
    let mut worker = Worker::start(&launcher(), &program(&runtime::source())).await.unwrap();
    worker.restore(&before).await.unwrap();
    worker.grant(60 << 20);
    let outcome = worker.apply(process.slot, &[eval(grow)]).await.unwrap().remove(0);
    assert_eq!((shown(&outcome), worker.heap_bytes() > 40 << 20), ("40".to_string(), true));
}

#[tokio::test]
async fn a_worker_that_takes_too_long_is_killed() {
    let launcher = launcher().with_processor_time(Duration::from_secs(1));
    let mut worker = Worker::start(&launcher, &without_budget()).await.unwrap();
    let all = watch_worker(worker.pid());
    assert!(matches!(worker.apply(0, &[eval(ENDLESS)]).await, Err(VmError::Overrun { .. })));
    all.iter().for_each(assert_ends);
    assert!(matches!(worker.apply(0, &[eval("1")]).await, Err(VmError::Gone)));
}

#[tokio::test]
async fn dropping_a_worker_ends_all_its_processes() {
    let worker = Worker::start(&launcher(), &without_budget()).await.unwrap();
    let mut process = Process { worker, slot: 0 };
    // An error leaves a promoted twin in place of the first host process.
    assert!(process.apply(eval("error('x')")).await.error.is_some());
    let keeper = process.worker.pid();
    {
        // Busy, with a twin of its own: the call is given up in the middle.
        let endless = [eval(ENDLESS)];
        let call = process.worker.apply(process.slot, &endless);
        assert!(tokio::time::timeout(Duration::from_millis(200), call).await.is_err());
    }
    let all = watch_worker(keeper);
    assert_eq!(all.len(), 3, "keeper, host and twin");
    assert!(matches!(process.worker.apply(process.slot, &[eval("1")]).await, Err(VmError::Gone)));
    drop(process);
    all.iter().for_each(assert_ends);
}

/// Plays a node for the test below: starts a worker, says its process id, and keeps it busy for ever.
#[tokio::test]
#[ignore = "runs as part of another test"]
async fn node_with_a_busy_worker() {
    let mut worker = Worker::start(&launcher(), &without_budget()).await.unwrap();
    println!("worker {}", worker.pid());
    worker.apply(0, &[eval(ENDLESS)]).await.unwrap();
}

#[test]
fn killing_the_node_ends_its_busy_workers() {
    let mut node = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "workers::node_with_a_busy_worker", "--nocapture"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(node.stdout.take().unwrap()).lines().map(Result::unwrap);
    let keeper = lines.find_map(|line| line.split("worker ").nth(1).and_then(|pid| pid.trim().parse().ok())).unwrap();
    let all = watch_worker(keeper);
    node.kill().unwrap();
    node.wait().unwrap();
    all.iter().for_each(assert_ends);
}
