//! The same messages give the same outcomes and the same state, byte for byte: from zero, from a snapshot at a rebuild
//! point, after evictions and crashes at any slot, with dry-runs and views in between, each time in another operating
//! system process with addresses of its own.

// Clippy takes only the test functions themselves for tests, not what they call.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::LazyLock;

use ao_node::vm::{Env, IDLE_MS, Launcher, Limits, Message, Program, Snapshot, Worker, runtime};
use ao_protocol::tag::Tag;
use futures::StreamExt;

/// One zygote for all.
static LAUNCHER: LazyLock<Launcher> = LazyLock::new(|| Launcher::new(env!("CARGO_BIN_EXE_ao-node")));

/// What is run: its head says how it is written.
const PROGRAMS: &str = include_str!("determinism/programs.lua");

/// What `lua-5.3-ao1` means: for each program the hash of its outcomes with what they charged, and of its last state.
/// A change here is another format, with another name; old ones stay ([`ao_protocol::module::LUA_FORMAT`]).
const PINNED: &str = include_str!("determinism/pinned.txt");

/// The programs: names and chunks.
fn programs() -> Vec<(&'static str, Vec<&'static str>)> {
    let read = |text: &'static str| {
        let (name, chunks) = text.split_once('\n').unwrap();
        (name, chunks.trim_end().split("\n--\n").collect())
    };
    PROGRAMS.split("\n--- ").skip(1).map(read).collect()
}

/// Runs what it is sent and shows what that gives; what it sends is the list `Sent`.
const BARE: &str = r#"
Sent = {}
local function show(value, depth)
  if type(value) ~= "table" or depth > 3 then return tostring(value) end
  local fields = {}
  for k, v in pairs(value) do fields[#fields + 1] = tostring(k) .. "=" .. show(v, depth + 1) end
  return "{" .. table.concat(fields, ",") .. "}"
end
function handle(msg, env)
  local results = table.pack(assert(load(msg.Data, "line"))(msg))
  for i = 1, results.n do results[i] = show(results[i], 0) end
  if env.Ended then results[#results + 1] = "ended: " .. show(env.Ended, 0) end
  local sent = Sent
  Sent = {}
  return { Output = table.concat(results, " "), Messages = sent }
end
"#;

/// What a run gave: the root and the charge of each outcome, each snapshot at a rebuild point, and the last state.
#[derive(Debug, Default, PartialEq, Eq)]
struct Run {
    outcomes: Vec<(String, u64, Option<String>)>,
    snapshots: Vec<(u64, blake3::Hash)>,
    last: Option<blake3::Hash>,
}

impl Run {
    /// The line of [`PINNED`].
    fn pin(&self, name: &str) -> String {
        let outcomes = blake3::hash(format!("{:?}", self.outcomes).as_bytes()).to_hex();
        let last = self.last.map_or("none".to_string(), |hash| hash.to_hex()[..16].to_string());
        format!("{name}: {} {last}", &outcomes[..16])
    }
}

/// Crashes of one run: where there is no snapshot for long, each begins anew.
const MAX_CRASHES: usize = 6;

struct Script {
    program: Program,
    messages: Vec<Message>,
}

impl Script {
    /// Every fourth line comes a minute later than the one before: there is a rebuild point before it.
    fn new(lines: &[&str], of_runtime: bool) -> Script {
        let source = if of_runtime { runtime::source() } else { BARE.to_string() };
        let limits = Limits { memory_bytes: 16 << 20, instructions: 3_000_000 };
        let mut timestamp = 1_700_000_000_000;
        let mut env = Env::default();
        env.process.owner = "me".into();
        let message = |(slot, line): (usize, &&str)| {
            timestamp += if slot % 4 == 3 { IDLE_MS } else { 1000 };
            Message {
                id: Some(format!("message-{slot}")),
                data: Some(line.as_bytes().to_vec()),
                owner: "me".into(),
                from: "me".into(),
                tags: vec![Tag::new("Action", "Eval")],
                timestamp,
                nonce: Some(slot as u64),
                ..Message::default()
            }
        };
        let messages = lines.iter().enumerate().map(message).collect();
        Script { program: Program { source, env, limits }, messages }
    }

    /// A copy of the zygote if it goes on from a snapshot and runs the runtime, else a new run of the executable.
    async fn worker(&self, from: Option<&Snapshot>) -> Worker {
        let launcher = LAUNCHER.clone();
        let launcher = if from.is_some() { launcher } else { launcher.without_zygote() };
        let mut worker = Worker::start(&launcher, &self.program).await.unwrap();
        if let Some(snapshot) = from {
            worker.restore(snapshot).await.unwrap();
        }
        worker
    }

    /// Applies all messages from a slot on, so many at a time, to what a run gave before.
    async fn go_on(
        &self,
        worker: &mut Worker,
        mut slot: usize,
        batch: usize,
        end: usize,
        run: &mut Run,
    ) -> Vec<Snapshot> {
        let mut snapshots = Vec::new();
        while slot < end {
            let batch = &self.messages[slot..(slot + batch).min(end)];
            let outcomes = worker.apply(slot as u64, batch).await.unwrap();
            slot += outcomes.len();
            for outcome in outcomes {
                let text = outcome.error.clone();
                let charged = outcome.gas_used;
                run.outcomes.push((outcome.bounded().root().to_string(), charged, text));
            }
            if let Some(snapshot) = worker.take_snapshot() {
                run.snapshots.push((snapshot.slot, blake3::hash(&snapshot.bytes)));
                snapshots.push(snapshot);
            }
        }
        snapshots
    }

    async fn finish(worker: &mut Worker, run: &mut Run) {
        run.last = worker.save().await.ok().map(|snapshot| blake3::hash(&snapshot.bytes));
    }

    /// From zero, one message at a time; the snapshots too.
    async fn whole_run(&self) -> (Run, Vec<Snapshot>) {
        let mut run = Run::default();
        let mut worker = self.worker(None).await;
        let snapshots = self.go_on(&mut worker, 0, 1, self.messages.len(), &mut run).await;
        Script::finish(&mut worker, &mut run).await;
        (run, snapshots)
    }

    /// What is left of a run behind a slot.
    fn behind(run: &Run, slot: u64) -> Run {
        Run {
            outcomes: run.outcomes[slot as usize + 1..].to_vec(),
            snapshots: run.snapshots.iter().filter(|(at, _)| *at > slot).copied().collect(),
            last: run.last,
        }
    }
}

/// A generator for the choices of a test: the same in every run of it.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) as usize % below.max(1)
    }
}

/// Runs a program in all ways; what the first gave.
async fn check(name: &str, lines: &[&str], of_runtime: bool, dice: &mut Dice) -> Run {
    let script = Script::new(lines, of_runtime);
    let count = script.messages.len();
    let (expected, snapshots) = script.whole_run().await;
    // Where a coroutine waits there is no form of the state, hence no rebuild point.
    assert_eq!(expected.snapshots.is_empty(), name.starts_with("waiting"), "{name}: rebuild points {expected:?}");

    let mut in_batches = Run::default();
    let mut worker = script.worker(None).await;
    script.go_on(&mut worker, 0, 7, count, &mut in_batches).await;
    Script::finish(&mut worker, &mut in_batches).await;
    assert_eq!(in_batches, expected, "{name}: in batches");

    for snapshot in &snapshots {
        let mut run = Run::default();
        let mut worker = script.worker(Some(snapshot)).await;
        script.go_on(&mut worker, snapshot.slot as usize + 1, 3, count, &mut run).await;
        Script::finish(&mut worker, &mut run).await;
        assert_eq!(run, Script::behind(&expected, snapshot.slot), "{name}: from the snapshot at {}", snapshot.slot);
    }

    // Killed after some slot, again and again; dry-runs and views in between.
    let mut slot = 0;
    let mut tries = 0;
    let mut known: Vec<Snapshot> = Vec::new();
    while slot < count {
        tries += 1;
        let from = known.last().cloned();
        let first = from.as_ref().map_or(0, |snapshot| snapshot.slot as usize + 1);
        let mut worker = script.worker(from.as_ref()).await;
        slot = if tries > MAX_CRASHES { count } else { (first + 1 + dice.roll(count)).min(count) };
        let mut run = Run::default();
        let mut at = first;
        while at < slot {
            known.extend(script.go_on(&mut worker, at, 1, at + 1, &mut run).await);
            at += 1;
            let dry = &script.messages[dice.roll(count)];
            match dice.roll(4) {
                0 => drop(worker.evaluate_without_keeping(dry).await.unwrap()),
                1 => drop(worker.view(None).await),
                2 => drop(worker.save().await),
                _ => {}
            }
            // What was asked for is not what a rebuild point gave.
            worker.take_snapshot();
        }
        if slot < count {
            // It is killed in the middle of what comes next, or of what it does with it.
            let in_the_middle = std::time::Duration::from_micros(dice.roll(3000) as u64);
            let _ = tokio::time::timeout(in_the_middle, worker.apply(at as u64, &script.messages[at..])).await;
        }
        let kept = expected.outcomes[first..slot].to_vec();
        assert_eq!(run.outcomes, kept, "{name}: killed after slot {slot}, from {first}");
        if slot == count {
            Script::finish(&mut worker, &mut run).await;
            assert_eq!(run.last, expected.last, "{name}: after crashes");
        }
    }
    expected
}

/// A coroutine that waits for longer than rebuild points are postponed.
fn long_wait() -> Vec<&'static str> {
    let wait = "co = coroutine.create(function()\n  x = coroutine.yield()\nend) coroutine.resume(co) n = 0";
    let slots = std::iter::repeat_n("n = n + 1 return coroutine.status(co), n", 1020);
    std::iter::once(wait).chain(slots).chain(["return coroutine.resume(co)"]).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_way_to_a_state_gives_the_same() {
    let mut programs = programs();
    assert!(programs.len() >= 60);
    programs.push(("a wait that is ended", long_wait()));
    let checks = programs.into_iter().zip(1..).map(|((name, chunks), seed)| async move {
        let began = std::time::Instant::now();
        let of_runtime = name.starts_with("runtime");
        let run = check(name, &chunks, of_runtime, &mut Dice(seed)).await;
        println!("{:>6} ms  {name}", began.elapsed().as_millis());
        // The runtime is a module: a change of it is another module, not another format.
        (!of_runtime).then(|| run.pin(name))
    });
    let pins: Vec<_> = futures::stream::iter(checks).map(tokio::spawn).buffered(2).collect().await;
    let pins: Vec<String> = pins.into_iter().filter_map(|pin| pin.unwrap()).collect();
    let moved: Vec<_> = pins.iter().filter(|pin| !PINNED.lines().any(|line| line == *pin)).collect();
    assert!(
        moved.is_empty() && PINNED.lines().count() == pins.len(),
        "the semantics of lua-5.3-ao1 moved: {moved:#?}\nall of them:\n{}",
        pins.join("\n")
    );
}

/// The same text as a chunk that does what it says and then fails.
fn failing(chunk: &str) -> String {
    format!("(function(...) {chunk}\nend)(...) error('stop')")
}

#[tokio::test]
async fn errors_and_dry_runs_leave_the_state_as_it_was() {
    let all: Vec<&str> = programs()
        .into_iter()
        .filter(|(name, _)| !name.starts_with("runtime") && !name.starts_with("waiting"))
        .flat_map(|(_, chunks)| chunks)
        .collect();
    let mut dice = Dice(11);
    for round in 0..12 {
        let mut chunks: Vec<String> = Vec::new();
        for _ in 0..14 {
            let chunk = all[dice.roll(all.len())];
            chunks.push(if dice.roll(2) == 0 { failing(chunk) } else { chunk.to_string() });
        }
        let script = Script::new(&chunks.iter().map(String::as_str).collect::<Vec<_>>(), false);
        let mut worker = script.worker(None).await;
        let mut before = None;
        for (slot, message) in script.messages.iter().enumerate() {
            let dry = &script.messages[dice.roll(script.messages.len())];
            worker.evaluate_without_keeping(dry).await.unwrap();
            let outcome = worker.apply(slot as u64, std::slice::from_ref(message)).await.unwrap().remove(0);
            worker.take_snapshot();
            // What a random row of chunks leaves may have no form: then there is nothing to compare.
            let after = worker.save().await.ok().map(|snapshot| snapshot.bytes);
            if let (Some(before), Some(after)) = (&before, &after)
                && outcome.error.is_some()
            {
                assert!(before == after, "round {round}: an error changed the state: {:?}", chunks[slot]);
            }
            before = after;
        }
    }
}
