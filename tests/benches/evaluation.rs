//! Evaluating a token's transfers in a worker process: from the message to its outcome, a debit and a credit notice
//! included, as a compute unit does it; with few and many holders, one by one and in batches, and when the transfer
//! fails, so that the state is rolled back.

#![allow(clippy::expect_used, reason = "a benchmark that can't go on ends")]

use ao_node::vm::{Env, Launcher, Limits, Message, Program, Unit, Worker, runtime};
use ao_protocol::tag::Tag;
use ao_tests::nodes::program;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use tokio::runtime::Runtime;

const OWNER: &str = "the-owner";
/// Slots that a compute unit hands to a worker at once when it catches up.
const BATCH: usize = 64;

const TOKEN: &str = include_str!("token.lua");

struct Token {
    runtime: Runtime,
    worker: Worker,
    slot: u64,
}

impl Token {
    fn new(holders: usize) -> Token {
        let unit = |id: &str| Unit { id: id.into(), owner: OWNER.into(), tags: Vec::new() };
        let program_text = Program {
            source: runtime::source(),
            env: Env { process: unit("the-process"), module: unit("the-module") },
            limits: Limits { memory_bytes: 1 << 30, instructions: 1_000_000_000 },
        };
        let runtime = Runtime::new().expect("a runtime");
        let worker = runtime.block_on(Worker::start(&Launcher::new(program()), &program_text)).expect("a worker");
        let mut token = Token { runtime, worker, slot: 0 };
        let code = format!("HOLDERS = {holders}\n{TOKEN}");
        token.apply(&[message(&code, &[("Action", "Eval")])], false);
        token
    }

    fn apply(&mut self, messages: &[Message], fails: bool) {
        let outcomes = self.runtime.block_on(self.worker.apply(self.slot, messages)).expect("the worker answers");
        self.slot += messages.len() as u64;
        for outcome in outcomes {
            assert_eq!(outcome.error.is_some(), fails, "{:?}", outcome.error);
        }
    }
}

fn message(data: &str, tags: &[(&str, &str)]) -> Message {
    Message {
        id: Some("the-message".into()),
        data: Some(data.as_bytes().to_vec()),
        owner: OWNER.into(),
        from: OWNER.into(),
        target: "the-process".into(),
        tags: tags.iter().map(|(name, value)| Tag::new(*name, *value)).collect(),
        ..Message::default()
    }
}

fn transfer(quantity: &str) -> Message {
    let recipient = format!("{:043}", 7);
    message("", &[("Action", "Transfer"), ("Recipient", &recipient), ("Quantity", quantity)])
}

fn evaluation(c: &mut Criterion) {
    let mut group = c.benchmark_group("token-transfer");
    for holders in [100, 100_000] {
        let mut token = Token::new(holders);
        group.throughput(Throughput::Elements(1));
        let one = [transfer("1")];
        group.bench_function(format!("single/{holders}-holders"), |b| b.iter(|| token.apply(&one, false)));
        let refused = [transfer("1000000000000")];
        group.bench_function(format!("refused/{holders}-holders"), |b| b.iter(|| token.apply(&refused, true)));
        let many = vec![transfer("1"); BATCH];
        group.throughput(Throughput::Elements(BATCH as u64));
        group.bench_function(format!("batch-of-{BATCH}/{holders}-holders"), |b| b.iter(|| token.apply(&many, false)));
    }
    group.finish();
}

criterion_group!(benches, evaluation);
criterion_main!(benches);
