//! The messenger's API: takes a user's item and answers when it has its slot.

use ao_protocol::announcement::Role;
use ao_protocol::id::Address;
use ao_protocol::process::Process;
use ao_protocol::scheduler::Submission;
use ao_protocol::wire::{Gossip, ItemBytes, shard};
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};
use tracing::debug;

use super::Api;
use super::error::ApiError;
use crate::drive::inbound::verify_or_say;
use crate::drive::lookup;

pub(super) fn router() -> Router<Api> {
    Router::new().route("/", get(async || "ao messenger unit").post(post))
}

/// A signed item: a message for a process, or a process to be spawned.
async fn post(State(api): State<Api>, body: Bytes) -> Result<(StatusCode, Json<Value>), ApiError> {
    let world = &api.world;
    let item = verify_or_say(ItemBytes(body.to_vec())).await.map_err(ApiError::BadRequest)?;
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
    let messenger = messenger(&api, &process);
    // First, so that the scheduler hears of it even if this node is gone before it has submitted it.
    let (net, shard) = (world.net().clone(), shard(&process.id()));
    let gossip = Gossip::Message { messenger, item: ItemBytes(item.bytes().to_vec()) };
    tokio::spawn(async move {
        if let Err(cause) = net.publish(shard, &gossip).await {
            debug!(%cause, "a message was not gossiped");
        }
    });
    let submission = Submission { item: item.clone(), messenger, depth: 0 };
    let receipts = api.submitter.submit(process.scheduler, &[submission]).await?;
    let receipt =
        receipts.into_iter().next().ok_or_else(|| ApiError::Upstream("the scheduler gave no answer".into()))?;
    receipt?;
    Ok((StatusCode::ACCEPTED, Json(json!({ "message": "Processing DataItem", "id": id.to_string() }))))
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
