//! A small deterministic machine in place of Lua: its messages say in tags what to send, spawn, assign or fail.

use std::collections::BTreeMap;

use ao_protocol::compute;
use ao_protocol::id::Id;
use ao_protocol::log::{Log, LogError};
use ao_protocol::message::Message;
use ao_protocol::outcome::{OutboxEntry, Outcome};
use ao_protocol::tag;
use serde_json::{Value, json};

/// The state of a process: how many messages it took, and a hash over them.
#[derive(Clone, Default)]
struct State {
    count: u64,
    hash: [u8; 32],
}

/// The machines of a node. A crash loses them; they are made again from the log.
#[derive(Default)]
pub(super) struct Machines {
    states: BTreeMap<Id, (u64, State)>,
}

impl Machines {
    /// Evaluates a slot; earlier ones are replayed first if this node has not evaluated them since it started.
    pub(super) fn evaluate(&mut self, log: &dyn Log, process: &Id, slot: u64) -> Result<Outcome, LogError> {
        let (mut next, mut state) = self.states.remove(process).filter(|(next, _)| *next <= slot).unwrap_or_default();
        let mut outcome = Outcome::default();
        while next <= slot {
            let Some(entry) = log.entry(process, next)? else {
                return Err(LogError::Database(format!("slot {next} is missing below slot {slot}")));
            };
            outcome = step(&mut state, process, &compute::message(log, &entry)?);
            next += 1;
        }
        self.states.insert(*process, (next, state));
        Ok(outcome)
    }
}

fn step(state: &mut State, process: &Id, message: &Message) -> Outcome {
    let tag = |name| tag::find(&message.tags, name);
    if tag("Action") == Some("Fail") {
        return Outcome::failed("asked to fail");
    }
    state.count += 1;
    let mut hasher = blake3::Hasher::new();
    hasher.update(&state.hash).update(message.id.as_deref().unwrap_or_default().as_bytes());
    hasher.update(message.from.as_bytes()).update(&message.timestamp.to_le_bytes());
    state.hash = *hasher.finalize().as_bytes();
    let mut outcome = Outcome {
        output: json!(format!("{} {}", state.count, Id::from(state.hash))).to_string(),
        ..Outcome::default()
    };
    let hops: u32 = tag("Hops").and_then(|hops| hops.parse().ok()).unwrap_or(0);
    let entry = |fields: Value, data: &[u8]| OutboxEntry { fields: fields.to_string(), data: Some(data.to_vec()) };
    let pass_on = |name: &str, value: &str| {
        json!([
            { "name": "Action", "value": name },
            { "name": "To", "value": value },
            { "name": "Hops", "value": hops.saturating_sub(1).to_string() },
        ])
    };
    match tag("Action") {
        // Two to the target, so that their order can be seen.
        Some("Send") if hops > 0 => {
            let target = tag("To").unwrap_or_default();
            for place in 0..2 {
                let tags = pass_on("Send", &process.to_string());
                let data = format!("{} {place}", state.count);
                outcome.messages.push(entry(json!({ "Target": target, "Tags": tags }), data.as_bytes()));
            }
        }
        Some("Spawn") => {
            let tags = json!([
                { "name": "Module", "value": Id::from([9; 32]).to_string() },
                { "name": "Scheduler", "value": tag("Scheduler").unwrap_or_default() },
                { "name": "Compute-Quorum", "value": tag("Quorum").unwrap_or("1") },
            ]);
            outcome.spawns.push(entry(json!({ "Tags": tags }), b""));
        }
        Some("Spawned") => {
            let child = tag("Process").unwrap_or_default();
            outcome.messages.push(entry(json!({ "Target": child, "Tags": pass_on("Hello", "") }), b"hello child"));
        }
        // Assigned to itself it would be there already.
        Some("Assign") if tag("To") != Some(&process.to_string()) => {
            let fields = json!({ "Processes": [tag("To").unwrap_or_default()], "Message": message.id });
            outcome.assignments.push(OutboxEntry { fields: fields.to_string(), data: None });
        }
        // What the other's scheduler will not take, and between it two things that it does.
        Some("Refused") => {
            let target = tag("To").unwrap_or_default();
            for odd in ["a", "b+link", "c"] {
                let tags = json!([{ "name": "Odd", "value": odd }]);
                outcome.messages.push(entry(json!({ "Target": target, "Tags": tags }), b"odd"));
            }
        }
        Some("Odd") => {
            let nobody = Id::from([88; 32]).to_string();
            outcome.messages.push(entry(json!({ "Target": nobody, "Tags": [] }), b""));
            outcome.messages.push(entry(json!({ "Target": "0xwallet", "Tags": [] }), b""));
            outcome.messages.push(entry(json!({ "Target": process.to_string() }), b"no tags"));
        }
        _ => {}
    }
    outcome
}
