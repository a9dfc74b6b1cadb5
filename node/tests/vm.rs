//! Workers as the node uses them: the real executable in worker mode.

// Clippy takes only the test functions themselves for tests, not what they call.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "vm/aos.rs"]
mod aos;
#[path = "vm/evaluating.rs"]
mod evaluating;
#[path = "vm/workers.rs"]
mod workers;

use std::sync::LazyLock;

use ao_node::vm::{Env, Launcher, Limits, Message, Outcome, Program, Unit, VmError, Worker, runtime};
use ao_protocol::tag::Tag;

const OWNER: &str = "owner-of-the-process";
const PROCESS: &str = "the-process";
/// A messenger that the process trusts.
const MESSENGER: &str = "messenger";

/// One zygote for all tests.
static LAUNCHER: LazyLock<Launcher> = LazyLock::new(|| Launcher::new(env!("CARGO_BIN_EXE_ao-node")));

fn launcher() -> Launcher {
    LAUNCHER.clone()
}

fn program(source: &str) -> Program {
    let tags = vec![
        Tag::new("Name", "demo"),
        Tag::new("Module", "the-module"),
        Tag::new("Authority", format!("another,{MESSENGER}")),
    ];
    let process = Unit { id: PROCESS.into(), owner: OWNER.into(), tags };
    let module = Unit { id: "the-module".into(), owner: "its-author".into(), tags: Vec::new() };
    Program {
        source: source.to_string(),
        env: Env { process, module },
        limits: Limits { memory_bytes: 64 << 20, instructions: 50_000_000 },
    }
}

fn message(from: &str, data: &str, tags: &[(&str, &str)]) -> Message {
    Message {
        id: Some("message-id".into()),
        data: Some(data.as_bytes().to_vec()),
        owner: from.to_string(),
        target: PROCESS.to_string(),
        from: from.to_string(),
        tags: tags.iter().map(|(name, value)| Tag::new(*name, *value)).collect(),
        nonce: Some(1),
        timestamp: 1_700_000_000_000,
        block_height: 100,
        ..Message::default()
    }
}

fn eval(code: &str) -> Message {
    message(OWNER, code, &[("Action", "Eval")])
}

/// A process of our runtime, and its next slot.
struct Process {
    worker: Worker,
    slot: u64,
}

impl Process {
    async fn start() -> Process {
        Process { worker: Worker::start(&launcher(), &program(&runtime::source())).await.unwrap(), slot: 0 }
    }

    async fn apply(&mut self, message: Message) -> Outcome {
        let mut outcomes = self.worker.apply(self.slot, &[message]).await.unwrap();
        self.slot += 1;
        outcomes.remove(0)
    }

    /// What an Eval shows, without colours.
    async fn eval(&mut self, code: &str) -> String {
        let outcome = self.apply(eval(code)).await;
        assert_eq!(outcome.error, None, "{code}");
        shown(&outcome)
    }
}

fn shown(outcome: &Outcome) -> String {
    let output: serde_json::Value = serde_json::from_str(&outcome.output).unwrap();
    let mut text = output["data"].as_str().unwrap_or_else(|| panic!("no data in {}", outcome.output)).to_string();
    while let Some(start) = text.find('\u{1b}') {
        let end = start + text[start..].find('m').unwrap();
        text.replace_range(start..=end, "");
    }
    text
}
