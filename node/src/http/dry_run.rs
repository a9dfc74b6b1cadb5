//! Dry-runs: what a message would come to, evaluated on the state after the newest slot without leaving a trace.

use ao_protocol::announcement::Role;
use ao_protocol::id::Id;
use ao_protocol::log::{Log, LogError};
use ao_protocol::message::Message;
use ao_protocol::tag::{self, Tag};
use ao_protocol::wire::Call;
use axum::Json;
use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::Value;

use super::error::ApiError;
use super::outcome::Patience;
use super::passed_on::FromPeer;
use super::{Api, outcome_json, query};
use crate::drive::compute::Computer;
use crate::drive::dry_run::DryRunError;

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub(super) struct Of {
    process_id: Option<String>,
    to: Option<String>,
}

/// What clients send. Every field may be missing; dummy values such as `Id: "1234"` are taken as they are.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Body {
    id: Option<String>,
    owner: Option<String>,
    anchor: Option<String>,
    data: Value,
    tags: Vec<BodyTag>,
}

#[derive(Debug, Deserialize)]
struct BodyTag {
    name: String,
    value: Value,
}

/// The message that a body describes: from whoever the body says, read-only.
fn message(process: &Id, body: Body) -> Message {
    let tags: Vec<Tag> =
        body.tags.into_iter().map(|BodyTag { name, value }| Tag { name, value: text(value) }).collect();
    let owner = body.owner.filter(|owner| !owner.is_empty()).unwrap_or_else(|| "1234".into());
    let from_process = tag::find(&tags, "From-Process").map(str::to_string);
    Message {
        id: body.id,
        data: Some(text(body.data).into_bytes()),
        target: process.to_string(),
        anchor: body.anchor.map(String::into_bytes),
        forwarded_by: from_process.as_ref().map(|_| owner.clone()),
        from: from_process.unwrap_or_else(|| owner.clone()),
        owner,
        tags: tags.into_iter().filter(|tag| tag.name != "From" && tag.name != "Owner").collect(),
        read_only: true,
        ..Message::default()
    }
}

/// A string as it is, anything else as JSON, nothing as an empty string.
fn text(value: Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text,
        other => other.to_string(),
    }
}

/// Takes the message as JSON.
pub(super) async fn post(
    State(api): State<Api>,
    Query(of): Query<Of>,
    passed: FromPeer,
    body: Bytes,
) -> Result<Response, ApiError> {
    let wrong = |cause: serde_json::Error| ApiError::BadRequest(format!("the body is no message in JSON: {cause}"));
    let read: Body = serde_json::from_slice(&body).map_err(wrong)?;
    let process = query::process_id(&of.process_id)?;
    let to = of.to.as_deref().map(|to| query::id("to", to)).transpose()?;
    let message = message(&process, read);
    let outcome = api.dry_run(&process, message, to.as_ref(), passed).await;
    match outcome {
        Ok(outcome) => Ok(Json(outcome).into_response()),
        Err(NotHere::Elsewhere(reason)) => {
            let to = to.map_or_else(String::new, |to| format!("&to={to}"));
            let path = format!("/cu/dry-run?process-id={process}{to}");
            api.ask_elsewhere(&process, Call { path, body: Some(body.to_vec()) }, reason).await
        }
        Err(NotHere::Error(cause)) => Err(cause),
    }
}

/// Why this node has no answer itself.
pub(super) enum NotHere {
    /// Another node may; why this one does not, if it should.
    Elsewhere(Option<String>),
    /// Nobody has.
    Error(ApiError),
}

impl From<ApiError> for NotHere {
    fn from(cause: ApiError) -> NotHere {
        NotHere::Error(cause)
    }
}

impl From<LogError> for NotHere {
    fn from(cause: LogError) -> NotHere {
        NotHere::Error(cause.into())
    }
}

impl Api {
    /// The result of evaluating a message on the newest state; `to` is a message that must be the newest.
    pub(super) async fn dry_run(
        &self,
        process: &Id,
        message: Message,
        to: Option<&Id>,
        passed: FromPeer,
    ) -> Result<Value, NotHere> {
        if let Some(to) = to.filter(|_| self.world.follows(process)) {
            let tip = self.known(process, Patience::new(passed)).await?;
            let slot = self.world.log().slot_of_item(process, to)?;
            let unknown = || ApiError::NotFound(format!("message {to} is not in the log of process {process}"));
            let slot = slot.ok_or_else(unknown)?;
            if slot < tip {
                let text = format!("the state is that after slot {tip}, newer than slot {slot} of message {to}");
                return Err(ApiError::TooEarly(text).into());
            }
        }
        let process = *process;
        let asked = self.ask(&process, passed, |computer| async move { computer.dry_run(&process, message).await });
        asked.await.map(|outcome| outcome_json::result(&outcome))
    }

    /// Passes a question on; when nobody else is there to answer it, why this node does not is the answer.
    pub(super) async fn ask_elsewhere(
        &self,
        process: &Id,
        call: Call,
        reason: Option<String>,
    ) -> Result<Response, ApiError> {
        match (self.pass_on(Role::Cu, process, call).await, reason) {
            (Err(ApiError::Upstream(_)), Some(reason)) => Err(ApiError::Unprocessable(reason)),
            (answered, _) => answered,
        }
    }

    /// Asks the computer of this node something about a process.
    pub(super) async fn ask<T, F>(
        &self,
        process: &Id,
        passed: FromPeer,
        question: impl FnOnce(Computer) -> F,
    ) -> Result<T, NotHere>
    where
        F: Future<Output = Result<T, DryRunError>>,
    {
        let computer = match &self.computer {
            Some(computer) if self.world.follows(process) => computer.clone(),
            _ if passed.0 => return Err(ApiError::Upstream(format!("{process} is not computed here")).into()),
            _ => return Err(NotHere::Elsewhere(None)),
        };
        let patience = Patience::new(passed);
        let tip = self.known(process, patience).await?;
        let Ok(answer) = tokio::time::timeout(patience.left(), question(computer)).await else {
            return Err(ApiError::NotYet(format!("process {process} is not computed up to slot {tip} yet")).into());
        };
        answer.map_err(|cause| match cause {
            DryRunError::NotComputed(text) if !passed.0 => NotHere::Elsewhere(Some(text)),
            DryRunError::NotComputed(text) | DryRunError::Refused(text) => ApiError::Unprocessable(text).into(),
            DryRunError::Crowded => ApiError::Crowded(cause.to_string()).into(),
            DryRunError::CutOff(_) => ApiError::Internal(cause.to_string()).into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_may_be_odd() {
        let process = Id::from([1; 32]);
        let read = |json: &str| message(&process, serde_json::from_str(json).unwrap());
        let plain = read(r#"{"Id":"1234","Target":"x","Owner":"o","Anchor":"0","Data":"d","Tags":[]}"#);
        assert_eq!((plain.from.as_str(), plain.data.as_deref()), ("o", Some(&b"d"[..])));
        assert!(plain.read_only && plain.target == process.to_string());
        let pushed = r#"{"Data":{"a":1},"Tags":[{"name":"From-Process","value":"p"},{"name":"From","value":"x"},
            {"name":"N","value":5}]}"#;
        let pushed = read(pushed);
        assert_eq!((pushed.from.as_str(), pushed.forwarded_by.as_deref()), ("p", Some("1234")));
        assert_eq!(pushed.data.as_deref(), Some(&br#"{"a":1}"#[..]));
        assert_eq!(pushed.tags.len(), 2);
        assert_eq!(pushed.tags[1].value, "5");
    }
}
