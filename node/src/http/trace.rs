//! Where a message is: its slot, who computed it, what it came to, and what became of everything that it sent, as a
//! tree. Any node answers from its log; what only the messenger on duty knows (the next try, why the last one failed)
//! it asks of it.

use std::collections::BTreeMap;
use std::time::Duration;

use ao_protocol::agreement::{fits, next_of_each};
use ao_protocol::announcement::Role;
use ao_protocol::entry::Entry;
use ao_protocol::id::Id;
use ao_protocol::item::VerifiedItem;
use ao_protocol::log::{DeliveryState, Log, LogError, Place};
use ao_protocol::messenger::{self, Traced};
use ao_protocol::origin::OutboxKind;
use ao_protocol::outcome::OutcomeRecord;
use ao_protocol::process::Process;
use ao_protocol::wire::{Call, Request, Response};
use axum::Json;
use axum::extract::{Path, Query, State};
use serde::Deserialize;
use serde_json::{Value, json};

use super::error::ApiError;
use super::{Api, ENTRY_WAIT, outcome_json, query};
use crate::drive::World;

/// Most generations of messages that are followed, and messages that are shown.
const MAX_TRACE_DEPTH: usize = 16;
const MAX_TRACED: usize = 500;
/// Most bytes of outcomes that are read for one trace.
const MAX_READ: usize = 32 * 1024 * 1024;
/// Most bytes of an output or an error that are shown.
const MAX_SHOWN_TEXT: usize = 4096;
/// How many messengers are asked about one slot, and how long each may take.
const MAX_ASKED: usize = 3;
const ASK_TIME: Duration = Duration::from_secs(2);

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Of {
    process_id: Option<String>,
    depth: Option<String>,
}

/// `GET /trace/{id}`: of a message, or of a process, which is its first message.
pub(super) async fn get(
    State(api): State<Api>,
    Path(id): Path<String>,
    Query(of): Query<Of>,
) -> Result<Json<Value>, ApiError> {
    let id = query::id("message", &id)?;
    let named = of.process_id.as_deref().map(|text| query::id("process-id", text)).transpose()?;
    let depth = query::limit(&of.depth, MAX_TRACE_DEPTH, MAX_TRACE_DEPTH)?;
    let log = api.world.log();
    let process = match named {
        Some(process) => process,
        None => receiver(&api.world, &id)?,
    };
    let slot = api.world.wait_for(&process, ENTRY_WAIT, || log.slot_of_item(&process, &id)).await?;
    let Some(slot) = slot else { return without_slot(&api.world, &id, &process).map(Json) };
    let mut tracer = Tracer { api: &api, left: MAX_TRACED, bytes_left: MAX_READ };
    Ok(Json(tracer.message(&process, slot, depth).await?))
}

/// Whom a message is for: what its item says, or itself if it makes a process.
fn receiver(world: &World, id: &Id) -> Result<Id, ApiError> {
    if world.log().tip(id)?.is_some() {
        return Ok(*id);
    }
    let unknown = || ApiError::NotFound(format!("message {id} is not known here; name its process with process-id"));
    let item = world.log().item(id)?.ok_or_else(unknown)?;
    Ok(item.target().unwrap_or(*id))
}

fn without_slot(world: &World, id: &Id, process: &Id) -> Result<Value, ApiError> {
    match world.log().item(id)? {
        Some(item) => Ok(json!({
            "id": id.to_string(), "process": process.to_string(), "action": action(&item),
            "state": "has no slot here yet",
        })),
        None => Err(ApiError::NotFound(format!("message {id} is not in the log of process {process}"))),
    }
}

fn action(item: &VerifiedItem) -> Option<&str> {
    item.tag("Action")
}

struct Tracer<'a> {
    api: &'a Api,
    /// Messages that may still be shown.
    left: usize,
    /// Bytes of outcomes that may still be read.
    bytes_left: usize,
}

impl Tracer<'_> {
    /// A slot, and what came of it, so many generations deep.
    async fn message(&mut self, process: &Id, slot: u64, depth: usize) -> Result<Value, ApiError> {
        let world = &self.api.world;
        let log = world.log();
        let Some(entry) = log.entry(process, slot)? else {
            return Ok(json!({ "process": process.to_string(), "slot": slot, "state": "not in the log of this node" }));
        };
        self.left = self.left.saturating_sub(1);
        let statement = &entry.assignment.statement;
        let mut shown = json!({
            "id": entry.message_id().to_string(),
            "process": process.to_string(),
            "slot": slot,
            "state": "scheduled",
            "action": statement.cron.is_none().then(|| action(&entry.item)).flatten(),
            "cron": statement.cron.as_ref().map(|firing| firing.cron.clone()),
            "from": ao_protocol::compute::message(log, &entry)?.from,
            "timestamp": statement.timestamp_ms,
            "scheduler": entry.assignment.item.address().to_string(),
            "messenger": statement.messenger.map(|messenger| messenger.to_string()),
            "origin": statement.origin.map(|origin| origin.to_string()),
        });
        let Some(record) = log.outcome(process, slot)? else {
            let stalled = self.api.computer.as_ref().and_then(|computer| computer.stalled(process));
            shown["not_computed"] = json!(stalled.map_or_else(|| "not yet".to_string(), |stalled| stalled.reason));
            return Ok(shown);
        };
        let first = log.process(process)?;
        let Some(sender) = first else { return Ok(shown) };
        shown["computed_by"] = computed_by(world, &sender, slot)?;
        show_outcome(&mut shown, &record);
        self.bytes_left = self.bytes_left.saturating_sub(record.outcome.len());
        if depth == 0 || self.left == 0 || self.bytes_left == 0 {
            if record.outcome.entries() > 0 {
                shown["cut_off"] = json!(record.outcome.entries());
            }
            return Ok(shown);
        }
        shown["outbox"] = self.outbox(&sender, &entry, &record, depth).await?;
        Ok(shown)
    }

    async fn outbox(
        &mut self,
        sender: &Process,
        entry: &Entry,
        record: &OutcomeRecord,
        depth: usize,
    ) -> Result<Value, ApiError> {
        let (process, slot) = (sender.id(), entry.slot());
        let traced = messenger::trace(self.api.world.log(), sender, slot, &record.outcome)?;
        let is_open = |traced: &Traced<'_>| matches!(traced.state, None | Some(DeliveryState::Pending));
        let elsewhere = match traced.iter().any(is_open) {
            true => self.ask_messengers(sender, slot).await,
            false => BTreeMap::new(),
        };
        let mut shown = Vec::new();
        for one in traced {
            let mut line = json!({ "index": one.id.origin.index.to_string(), "kind": kind(one.id.origin.index.kind) });
            if let Some(target) = one.id.target {
                line["target"] = json!(target.to_string());
            }
            if let Some(entry) = one.entry {
                let fields: Value = serde_json::from_str(&entry.fields).unwrap_or_default();
                line["action"] = tag(&fields, "Action");
                if one.id.target.is_none() {
                    line["target"] = fields.get("Target").cloned().unwrap_or_default();
                }
            }
            let here = one.state.as_ref().map(|state| told(&self.api.world, &process, one.id.target, state));
            let there = elsewhere.get(&key(&line)).cloned();
            // What is settled here stays so; of what is not, whoever is on duty knows more.
            let known = if is_open(&one) { there.or(here) } else { here };
            merge(&mut line, known.unwrap_or_else(|| json!({ "state": "not delivered yet" })));
            let goes_on = self.left > 0 && self.bytes_left > 0;
            if let (Some(DeliveryState::Scheduled(Place { process, slot, .. })), true) = (&one.state, goes_on) {
                line["trace"] = Box::pin(self.message(process, *slot, depth - 1)).await?;
            }
            shown.push(line);
        }
        Ok(Value::Array(shown))
    }

    /// What messengers that the process trusts know of a slot's outbox, by entry.
    async fn ask_messengers(&self, sender: &Process, slot: u64) -> BTreeMap<String, Value> {
        let world = &self.api.world;
        let trusted = world.trust().messengers(sender);
        let mut units = world.net().directory().units_with(Role::Mu);
        units.retain(|unit| unit.address != world.address() && trusted.contains(&unit.address));
        let path = format!("/ao/deliveries/{}/{slot}", sender.id());
        let mut known = BTreeMap::new();
        for unit in units.iter().take(MAX_ASKED) {
            let request = Request::Call(Call { path: path.clone(), body: None });
            let asked = world.net().request(&unit.peer, &request);
            let Ok(Ok(Response::Answer(answer))) = tokio::time::timeout(ASK_TIME, asked).await else { continue };
            let told: Vec<Value> = serde_json::from_slice(&answer.body).unwrap_or_default();
            for mut line in told.into_iter().filter(Value::is_object) {
                let key = key(&line);
                line["messenger"] = json!(unit.address.to_string());
                known.entry(key).or_insert(line);
            }
        }
        known
    }
}

/// `GET /ao/deliveries/{process}/{slot}`: what this node's messenger knows of a slot's outbox.
pub(super) async fn deliveries(
    State(api): State<Api>,
    Path((process, slot)): Path<(String, u64)>,
) -> Result<Json<Value>, ApiError> {
    let process = query::id("process", &process)?;
    let known = api.world.log().deliveries(&process, slot)?;
    let shown = known.iter().map(|delivery| {
        let mut line = json!({ "index": delivery.id.origin.index.to_string() });
        if let Some(target) = delivery.id.target {
            line["target"] = json!(target.to_string());
        }
        merge(&mut line, told(&api.world, &process, delivery.id.target, &delivery.state));
        line
    });
    Ok(Json(shown.collect()))
}

/// An entry and its receiver, as text.
fn key(line: &Value) -> String {
    let text = |name: &str| line.get(name).and_then(Value::as_str).unwrap_or_default();
    format!("{} {}", text("index"), text("target"))
}

fn merge(line: &mut Value, more: Value) {
    if let (Some(line), Value::Object(more)) = (line.as_object_mut(), more) {
        line.extend(more);
    }
}

/// The state of a delivery as this node knows it.
fn told(world: &World, source: &Id, target: Option<Id>, state: &DeliveryState) -> Value {
    match state {
        DeliveryState::Pending => {
            let waiting = target.and_then(|target| world.retries().of(source, &target));
            json!({
                "state": "pending",
                "attempts": waiting.as_ref().map(|waiting| waiting.retry.attempts),
                "next_ms": waiting.as_ref().map(|waiting| waiting.retry.at_ms),
                "cause": waiting.map(|waiting| waiting.cause).filter(|cause| !cause.is_empty()),
            })
        }
        DeliveryState::Scheduled(Place { process, slot, .. }) => {
            json!({ "state": "scheduled", "process": process.to_string(), "slot": slot })
        }
        DeliveryState::NoProcess => json!({ "state": "no process yet" }),
        DeliveryState::Dead { reason } => json!({ "state": "dead", "reason": reason }),
    }
}

fn kind(kind: OutboxKind) -> &'static str {
    match kind {
        OutboxKind::Message => "message",
        OutboxKind::Spawn => "spawn",
        OutboxKind::Assignment => "assignment",
        OutboxKind::Spawned => "spawned",
    }
}

fn tag(fields: &Value, name: &str) -> Value {
    let tags = fields.get("Tags").and_then(Value::as_array).into_iter().flatten();
    let mut named = tags.filter(|tag| tag.get("name").and_then(Value::as_str) == Some(name));
    named.next().and_then(|tag| tag.get("value")).cloned().unwrap_or_default()
}

/// The units whose attestations cover a slot, and when this node saw them.
fn computed_by(world: &World, process: &Process, slot: u64) -> Result<Value, LogError> {
    let mut shown = Vec::new();
    for seen in next_of_each(world.log(), &process.id(), &world.trust().compute_units(process), slot)? {
        let (unit, agrees) = (seen.attestation.unit().to_string(), fits(world.log(), &seen.attestation)?);
        shown.push(json!({ "unit": unit, "seen_ms": seen.seen_ms, "agrees": agrees }));
    }
    Ok(Value::Array(shown))
}

fn show_outcome(shown: &mut Value, record: &OutcomeRecord) {
    let result = outcome_json::result(&record.outcome);
    let text = |value: &Value| -> String {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_string);
        text.chars().take(MAX_SHOWN_TEXT).collect()
    };
    match &record.outcome.error {
        Some(error) => shown["error"] = json!(text(&json!(error))),
        None => {
            let output = &result["Output"];
            let output = output.get("data").unwrap_or(output);
            shown["output"] = json!(text(output.get("output").unwrap_or(output)));
        }
    }
    shown["gas_used"] = json!(record.outcome.gas_used);
}
