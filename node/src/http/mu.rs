//! The messenger's API: takes a user's item and answers when it has its slot.

use std::time::Duration;

use ao_protocol::announcement::Role;
use ao_protocol::id::{Address, Id};
use ao_protocol::item::VerifiedItem;
use ao_protocol::log::Log;
use ao_protocol::process::Process;
use ao_protocol::scheduler::Submission;
use ao_protocol::wire::{Gossip, ItemBytes, shard};
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};
use tracing::{debug, warn};

use super::error::ApiError;
use super::outcome::Patience;
use super::passed_on::FromPeer;
use super::{Api, ENTRY_WAIT, query};
use crate::drive::assign::{self, Assigned};
use crate::drive::{Change, lookup};

/// How long a scheduler may take before a message for it is gossiped, too.
const SUBMIT_HEAD_START: Duration = Duration::from_millis(250);

pub(super) fn router() -> Router<Api> {
    Router::new()
        .route("/", get(async || "ao messenger unit").post(take))
        .route("/monitor/{process}", post(monitor).delete(unmonitor))
        .route("/push/{message}/{number}", post(push))
}

/// The query by which an item from elsewhere is assigned.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub(super) struct Assigning {
    process_id: Option<String>,
    assign: Option<String>,
    base_layer: Option<String>,
    by_reference: Option<String>,
    exclude: Option<String>,
}

impl Assigning {
    /// The process and what it is assigned, if this is an assignment.
    pub(super) fn read(&self) -> Result<Option<(Id, Assigned)>, ApiError> {
        match (&self.process_id, &self.assign) {
            (None, None) => Ok(None),
            (Some(process), Some(id)) => {
                let fields = self.exclude.iter().flat_map(|fields| fields.split(',')).map(str::trim);
                let assigned = Assigned {
                    id: query::id("assign", id)?,
                    base_layer: self.base_layer.is_some(),
                    by_reference: self.by_reference.is_some(),
                    exclude: fields.filter(|field| !field.is_empty()).map(str::to_string).collect(),
                };
                Ok(Some((query::id("process-id", process)?, assigned)))
            }
            _ => Err(ApiError::BadRequest("If sending assign or process-id, you must send both.".into())),
        }
    }
}

/// A signed item: a message for a process, or a process to be spawned. Or, by query, an assignment.
async fn take(
    State(api): State<Api>,
    Query(assigning): Query<Assigning>,
    body: Bytes,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    if let Some((process, assigned)) = assigning.read()? {
        let assignment = assign::assign(&api.world, &api.submitter, &process, &assigned).await?;
        let id = assignment.id().to_string();
        return Ok((StatusCode::ACCEPTED, Json(json!({ "message": "Processing Assignment", "id": id }))));
    }
    let (id, _) = api.accept(body).await?;
    Ok((StatusCode::ACCEPTED, Json(json!({ "message": "Processing DataItem", "id": id.to_string() }))))
}

impl Api {
    /// Takes a user's item and gets it its slot; gives its id and the assignment.
    pub(super) async fn accept(&self, body: Bytes) -> Result<(Id, VerifiedItem), ApiError> {
        let world = &self.world;
        let item = world.verified().verify_or_say(ItemBytes(body.to_vec())).await.map_err(ApiError::BadRequest)?;
        let id = item.id();
        let process = match item.tag("Type") {
            Some("Process") => Process::read(&item).map_err(|cause| ApiError::BadRequest(cause.to_string()))?,
            Some("Message") => {
                let missing = || ApiError::BadRequest("a Message needs a target: the id of a process".into());
                let target = item.target().ok_or_else(missing)?;
                lookup::process(world, &target).await??
            }
            other => {
                let found = other.unwrap_or_default();
                let text = format!("Unsupported Type tag value {found:?}: a messenger takes Process and Message items");
                return Err(ApiError::BadRequest(text));
            }
        };
        let messenger = messenger(self, &process);
        let assignment = self.schedule(&process, &item, messenger).await?;
        if item.tag("Type") == Some("Process")
            && let Some(target) = item.target()
        {
            // A process that is spawned with a target is assigned to that one, as in ao.
            let api = self.clone();
            tokio::spawn(async move {
                if let Err(cause) = assign::assign(&api.world, &api.submitter, &target, &Assigned::item(id)).await {
                    warn!(%cause, process = %id, %target, "a new process was not assigned to its target");
                }
            });
        }
        Ok((id, assignment))
    }
}

impl Api {
    /// Gets an item its slot: from the scheduler itself, or, when that can't be reached from here or takes long, by
    /// gossip, which finds its way through other nodes.
    async fn schedule(
        &self,
        process: &Process,
        item: &VerifiedItem,
        messenger: Address,
    ) -> Result<VerifiedItem, ApiError> {
        let submission = Submission::new(item.clone(), messenger);
        let submissions = [submission];
        let mut submitted = std::pin::pin!(self.submitter.submit(process.scheduler(), &submissions));
        let receipts = match tokio::time::timeout(SUBMIT_HEAD_START, &mut submitted).await {
            Ok(receipts) => receipts,
            Err(_) => {
                self.gossip_message(process, item, messenger).await;
                submitted.await
            }
        };
        match receipts {
            Ok(receipts) => {
                let silent = || ApiError::Upstream("the scheduler gave no answer".into());
                Ok(receipts.into_iter().next().ok_or_else(silent)??)
            }
            Err(cause) => {
                self.gossip_message(process, item, messenger).await;
                let (log, id) = (self.world.log(), process.id());
                let assigned = || match log.slot_of_item(&id, &item.id())? {
                    Some(slot) => Ok(log.entry(&id, slot)?.map(|entry| entry.assignment.item)),
                    None => Ok(None),
                };
                self.world.wait_for(&id, ENTRY_WAIT, assigned).await?.ok_or_else(|| cause.into())
            }
        }
    }

    async fn gossip_message(&self, process: &Process, item: &VerifiedItem, messenger: Address) {
        let gossip = Gossip::Message { messenger, item: ItemBytes(item.bytes().to_vec()) };
        if let Err(cause) = self.world.net().publish(shard(&process.id()), &gossip).await {
            debug!(%cause, "a message was not gossiped");
        }
    }
}

/// Who delivers what the process answers: this node, or the first messenger that the process trusts.
fn messenger(api: &Api, process: &Process) -> Address {
    let own = api.world.address();
    if api.world.plays(Role::Mu) {
        return own;
    }
    let trust = api.world.trust();
    let announced = |address: &Address| trust.announced.iter().any(|(unit, _)| unit == address);
    let trusted = trust.messengers(process);
    trusted.iter().find(|address| announced(address)).or(trusted.first()).copied().unwrap_or(own)
}

/// Crons are delivered whether somebody monitors them or not: this only checks what was asked for.
async fn monitor(State(api): State<Api>, Path(process): Path<String>, body: Bytes) -> Result<&'static str, ApiError> {
    monitored(&api, &process, body).await?;
    Ok("Monitoring process")
}

/// Only the owner of a process may ask for an end; its crons are slots of its log and go on.
async fn unmonitor(State(api): State<Api>, Path(process): Path<String>, body: Bytes) -> Result<&'static str, ApiError> {
    let (process, item) = monitored(&api, &process, body).await?;
    if process.item.address() != item.address() {
        let (owner, signer) = (process.item.signer_text(), item.signer_text());
        return Err(ApiError::Forbidden(format!("only the owner {owner} may do that; the item is signed by {signer}")));
    }
    Ok("Process deleted")
}

/// The process, and the item that was signed for it.
async fn monitored(api: &Api, process: &str, body: Bytes) -> Result<(Process, VerifiedItem), ApiError> {
    let process = query::id("process", process)?;
    let item = api.world.verified().verify_or_say(ItemBytes(body.to_vec())).await.map_err(ApiError::BadRequest)?;
    if item.target() != Some(process) {
        return Err(ApiError::BadRequest(format!("the signed item's target is not process {process}")));
    }
    Ok((lookup::process(&api.world, &process).await??, item))
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Of {
    process_id: Option<String>,
}

/// Looks again at one entry of a message's outbox. The messengers deliver it by themselves; this wakes them.
async fn push(
    State(api): State<Api>,
    Path((message, number)): Path<(String, usize)>,
    Query(of): Query<Of>,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let id = query::id("message", &message)?;
    let process = query::process_id(&of.process_id)?;
    let (log, patience) = (api.world.log(), Patience::new(FromPeer(false)));
    let slot = api.world.wait_for(&process, patience.for_entry(), || log.slot_of_item(&process, &id)).await?;
    let unknown = || ApiError::NotFound(format!("message {id} is not in the log of process {process}"));
    let slot = slot.ok_or_else(unknown)?;
    let entries = api.outcome(&process, slot, patience.left()).await?.outcome.entries();
    if number >= entries {
        let text = format!("message {id} sent {entries} things; there is no number {number}");
        return Err(ApiError::NotFound(text));
    }
    api.world.changed(Change::Outcome { process, slot, evaluated: 0 });
    Ok((StatusCode::ACCEPTED, Json(json!({ "message": "Processing Message Result", "id": message }))))
}
