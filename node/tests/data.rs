//! Data that programs read, through real workers: the same from zero, from any state that was saved, after errors, and
//! after the data was missing for a while.

// Clippy takes only the test functions themselves for tests, not what they call.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::sync::{Arc, Mutex};

use ao_node::vm::{DataSource, Env, Launcher, Limits, Message, Outcome, Program, VmError, Worker};
use ao_protocol::id::{Digest, Id};
use ao_protocol::reference::{Named, Seal};

const MODULE: &str = r#"
function handle(msg)
  data, a, b = require("ao.data"), ("A"):rep(43), ("B"):rep(42) .. "A"
  return { Output = tostring(assert(load(msg.Data))() or "") }
end
"#;

/// What is read, by its id; files can be taken away and put back.
#[derive(Default)]
struct Source(Mutex<BTreeMap<Id, File>>);

impl DataSource for Source {
    fn open(&self, named: &Named) -> Option<File> {
        self.0.lock().unwrap().get(&named.id).map(|file| file.try_clone().unwrap())
    }
}

impl Source {
    fn put(&self, named: &Named) {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&bytes(named.size)).unwrap();
        self.0.lock().unwrap().insert(named.id, file);
    }

    fn take(&self, named: &Named) {
        self.0.lock().unwrap().remove(&named.id);
    }
}

fn bytes(size: u64) -> Vec<u8> {
    (0..size).map(|n| if n % 100 == 99 { b'\n' } else { b'a' + (n / 100 % 26) as u8 }).collect()
}

fn named(name: &str, size: u64) -> Named {
    let id: Id = name.parse().unwrap();
    Named { id, size, seal: Seal::Root(Digest::from(id.to_bytes())) }
}

fn a() -> Named {
    named(&"A".repeat(43), 100_000)
}

fn b() -> Named {
    named(&("B".repeat(42) + "A"), 5_000_000)
}

/// Lines and what each names.
fn messages() -> Vec<Message> {
    let lines: [(&str, &[Named]); 9] = [
        ("return tostring(data(a))", &[]),
        ("return data(a):read(99990, 99)", &[a()]),
        ("file = io.open('/data/' .. a) return file:read() .. file:read()", &[]),
        // It reads, names and fails.
        ("file:read() data(b):read(0, 10) error('spoilt')", &[b()]),
        ("return file:read() .. data(b):read(b and 4999900, 50)", &[]),
        ("return tostring(pcall(data(b).read, data(b), -1, 1))", &[]),
        ("for line in io.lines('/data/' .. a) do count = (count or 0) + #line end return count", &[]),
        ("local s = 0 for at = 0, data(b).size - 1, 65536 do s = s + #data(b):read(at, 65536) end return s", &[]),
        ("return file:read() .. file:seek()", &[]),
    ];
    let message = |(nonce, (line, named)): (usize, (&str, &[Named]))| Message {
        data: Some(line.into()),
        named: named.to_vec(),
        nonce: Some(nonce as u64),
        timestamp: 1_700_000_000_000 + nonce as u64,
        ..Message::default()
    };
    lines.into_iter().enumerate().map(message).collect()
}

fn program() -> Program {
    let limits = Limits { memory_bytes: 16 << 20, instructions: 100_000_000 };
    Program { source: MODULE.into(), env: Env::default(), limits }
}

fn launcher(source: &Arc<Source>) -> Launcher {
    Launcher::new(env!("CARGO_BIN_EXE_ao-node")).with_data(source.clone())
}

/// Everything in order, in one worker, as many at a time.
async fn run(worker: &mut Worker, at_once: usize) -> Vec<Outcome> {
    let (messages, mut outcomes) = (messages(), Vec::new());
    while outcomes.len() < messages.len() {
        let first = outcomes.len();
        let end = messages.len().min(first + at_once);
        outcomes.extend(worker.apply(first as u64, &messages[first..end]).await.unwrap());
    }
    outcomes
}

fn complete() -> Arc<Source> {
    let source = Arc::new(Source::default());
    [a(), b()].iter().for_each(|named| source.put(named));
    source
}

#[tokio::test]
async fn reading_gives_the_same_from_any_state_and_in_any_batch() {
    let source = complete();
    let launcher = launcher(&source);
    let mut worker = Worker::start(&launcher, &program()).await.unwrap();
    let expected = run(&mut worker, 1).await;
    let shown: Vec<&str> = expected.iter().map(|outcome| outcome.output.trim_matches('"')).collect();
    let line = |n: usize| String::from_utf8(bytes(100_000)[n * 100..n * 100 + 99].to_vec()).unwrap();
    assert_eq!(shown[0], "nil");
    assert_eq!(shown[1], format!("{}\\n", &line(999)[90..]));
    assert_eq!(shown[2], format!("{}{}", line(0), line(1)));
    assert!(expected[3].error.as_ref().unwrap().contains("spoilt"));
    // The failed one read a line, and that did not happen; what it named stays.
    assert_eq!(shown[4], format!("{}{}", line(2), "b".repeat(50)));
    assert_eq!((shown[5], shown[6], shown[7]), ("false", "99000", "5000000"));
    assert_eq!(shown[8], format!("{}400", line(3)));
    let last = worker.save().await.unwrap();
    let mut together = Worker::start(&launcher, &program()).await.unwrap();
    assert_eq!(run(&mut together, 9).await, expected);
    assert_eq!(together.save().await.unwrap(), last);
    // Another worker for every slot.
    let messages = messages();
    let mut state = None;
    for (slot, message) in messages.iter().enumerate() {
        let mut worker = Worker::start(&launcher, &program()).await.unwrap();
        if let Some(state) = &state {
            worker.restore(state).await.unwrap();
        }
        let outcomes = worker.apply(slot as u64, std::slice::from_ref(message)).await.unwrap();
        assert_eq!(
            (outcomes[0].root(), outcomes[0].error.is_some()),
            (expected[slot].root(), slot == 3),
            "slot {slot}"
        );
        state = Some(worker.save().await.unwrap());
    }
    assert_eq!(state, Some(last));
    let dry = Message { data: Some("return data(a):read(0, 3) .. #file:read('a')".into()), ..Message::default() };
    assert_eq!(together.evaluate_without_keeping(&dry).await.unwrap().output, "\"aaa99600\"");
}

#[tokio::test]
async fn missing_data_gives_no_outcome_and_loses_none() {
    let source = complete();
    let launcher = launcher(&source);
    let mut worker = Worker::start(&launcher, &program()).await.unwrap();
    let expected = run(&mut worker, 9).await;
    let last = worker.save().await.unwrap();
    source.take(&b());
    let mut worker = Worker::start(&launcher, &program()).await.unwrap();
    let (messages, mut outcomes) = (messages(), Vec::new());
    let missing = loop {
        let first = outcomes.len();
        match worker.apply(first as u64, &messages[first..]).await {
            Ok(more) => outcomes.extend(more),
            Err(VmError::Missing(named)) => break named,
            Err(cause) => panic!("{cause}"),
        }
    };
    assert_eq!((missing, &outcomes[..]), (b(), &expected[..3]));
    // It may be asked for again, and in a dry-run.
    assert!(matches!(worker.apply(3, &messages[3..]).await, Err(VmError::Missing(named)) if named == b()));
    let dry = Message { named: vec![b()], data: Some("return data(b):read(0, 3)".into()), ..Message::default() };
    assert!(matches!(worker.evaluate_without_keeping(&dry).await, Err(VmError::Missing(named)) if named == b()));
    source.put(&b());
    assert_eq!(worker.evaluate_without_keeping(&dry).await.unwrap().output, "\"aaa\"");
    while outcomes.len() < messages.len() {
        let first = outcomes.len();
        outcomes.extend(worker.apply(first as u64, &messages[first..]).await.unwrap());
    }
    assert_eq!(outcomes, expected);
    assert_eq!(worker.save().await.unwrap(), last);
}

#[tokio::test]
async fn a_file_that_ends_early_ends_the_worker_and_gives_no_outcome() {
    let source = complete();
    source.put(&Named { size: 1000, ..a() });
    let mut worker = Worker::start(&launcher(&source), &program()).await.unwrap();
    let read = Message { named: vec![a()], data: Some("return #data(a):read()".into()), ..Message::default() };
    match worker.apply(0, &[read]).await {
        Err(VmError::Crashed { diagnostics, .. }) => assert!(diagnostics.contains("can't be read"), "{diagnostics}"),
        other => panic!("{other:?}"),
    }
}
