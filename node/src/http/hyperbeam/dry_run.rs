//! Dry-runs: what an item would come to on the state after the newest slot, without leaving a trace.

use ao_protocol::id::Id;
use ao_protocol::message::Message;
use ao_protocol::tag::{self, Tag};
use ao_protocol::wire::ItemBytes;
use axum::response::Response;
use serde_json::json;

use super::super::Api;
use super::super::dry_run::NotHere;
use super::super::error::ApiError;
use super::path::Call;
use super::reading;

/// Who asks when nobody signed, as in the dry-runs of legacy clients.
const NOBODY: &str = "1234";

/// Tags are the path's arguments, then those of the signed item; its data and its signer are the message's.
pub(super) async fn run(
    api: &Api,
    process: Id,
    arguments: Vec<(String, String)>,
    keys: &[String],
    call: Call,
) -> Result<Response, ApiError> {
    let message = message(api, &process, arguments, &call).await?;
    match api.dry_run(&process, message, None, call.passed).await {
        Ok(raw) => {
            let body = raw.to_string();
            let state = json!({ "raw": raw, "json": { "body": body }, "results": { "raw": raw } });
            reading::shown(reading::find(&state, keys)?)
        }
        Err(NotHere::Elsewhere(_)) => reading::pass_on(api, &process, &call).await,
        Err(NotHere::Error(cause)) => Err(cause),
    }
}

async fn message(api: &Api, process: &Id, arguments: Vec<(String, String)>, call: &Call) -> Result<Message, ApiError> {
    let mut tags: Vec<Tag> = arguments.into_iter().map(|(name, value)| Tag::new(name, value)).collect();
    let mut message = Message { target: process.to_string(), read_only: true, ..Message::default() };
    message.owner = NOBODY.into();
    message.data = Some(Vec::new());
    if let Some(body) = call.body.as_ref().filter(|body| !body.is_empty()) {
        let verified = api.world.verified().verify_or_say(ItemBytes(body.to_vec())).await;
        let item = verified.map_err(ApiError::BadRequest)?;
        message.id = Some(item.id().to_string());
        message.owner = item.signer_text();
        message.anchor = item.anchor().map(|anchor| anchor.to_vec());
        message.data = Some(item.data().to_vec());
        let more = item.tags().iter().filter(|tag| tag::find(&tags, &tag.name).is_none()).cloned().collect::<Vec<_>>();
        tags.extend(more);
    }
    for (name, value) in [("Data-Protocol", "ao"), ("Type", "Message"), ("Variant", "ao.N.1")] {
        if tag::find(&tags, name).is_none() {
            tags.push(Tag::new(name, value));
        }
    }
    let from_process = tag::find(&tags, "From-Process").map(str::to_string);
    message.forwarded_by = from_process.as_ref().map(|_| message.owner.clone());
    message.from = from_process.unwrap_or_else(|| message.owner.clone());
    message.tags = tags.into_iter().filter(|tag| tag.name != "From" && tag.name != "Owner").collect();
    Ok(message)
}
