//! The compute unit's API: what messages came to, and what one would come to. A node that does not compute answers from
//! the outcomes that compute units attested, and passes on what only they can do.

use ao_protocol::announcement::Role;
use ao_protocol::id::Id;
use ao_protocol::log::Log;
use ao_protocol::wire::Call;
use axum::extract::{OriginalUri, Path, Query, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use super::error::ApiError;
use super::listing::{Listing, Range};
use super::outcome::{Patience, Resolved};
use super::passed_on::{FromPeer, with_query};
use super::{Api, outcome_json, query};
use super::{dry_run, state};
use crate::drive::attestations::shown_below;
use crate::drive::now_ms;

pub(super) fn router() -> Router<Api> {
    Router::new()
        .route("/", get(root))
        .route("/result/{id}", get(result))
        .route("/results/{process}", get(results))
        .route("/cron/{process}", get(cron))
        .route("/state/{process}", get(state::get))
        .route("/dry-run", post(dry_run::post))
}

async fn root(State(api): State<Api>) -> Json<Value> {
    Json(json!({ "address": api.world.address().to_string(), "timestamp": now_ms() }))
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Of {
    process_id: Option<String>,
    /// How many compute units must agree; without it any one's word is enough.
    quorum: Option<String>,
}

/// The result of a message, waited for if it is not there yet. The id may be that of the process: its first slot.
async fn result(
    State(api): State<Api>,
    Path(id): Path<String>,
    Query(of): Query<Of>,
    passed: FromPeer,
) -> Result<Response, ApiError> {
    let id = query::id("message", &id)?;
    let process = query::process_id(&of.process_id)?;
    let quorum = match query::number::<u32>("quorum", &of.quorum)? {
        Some(0) => return Err(ApiError::BadRequest("query parameter quorum is 0; expected 1 or more".into())),
        quorum => quorum,
    };
    if quorum > Some(1) && !api.world.follows(&process) {
        let text =
            format!("this node does not follow process {process}, so it can't tell who agrees; ask one that does");
        return Err(ApiError::Unprocessable(text));
    }
    let asked = quorum.map_or_else(String::new, |quorum| format!("&quorum={quorum}"));
    let call = Call { path: format!("/cu/result/{id}?process-id={process}{asked}"), body: None };
    if !api.world.follows(&process) && !passed.0 {
        return api.pass_on(Role::Cu, &process, call).await;
    }
    let (log, patience) = (api.world.log(), Patience::new(passed));
    let slot = api.world.wait_for(&process, patience.for_entry(), || log.slot_of_item(&process, &id)).await?;
    let unknown = || ApiError::NotFound(format!("message {id} is not in the log of process {process}"));
    let slot = slot.ok_or_else(unknown)?;
    let resolved = match quorum {
        // Then nobody's answer is enough.
        Some(2..) => Resolved::Here(Box::new(api.outcome(&process, slot, patience.left()).await?)),
        _ => api.resolve(&process, slot, patience, call).await?,
    };
    Ok(match resolved {
        Resolved::Here(record) => {
            let mut result = outcome_json::result(&record.outcome);
            if let Some(quorum) = quorum {
                result["Quorum"] = api.agreed(&process, slot, quorum, patience.left()).await?;
            }
            Json(result).into_response()
        }
        Resolved::There(answer) => answer,
    })
}

impl Api {
    /// Reads off the tasks that serve requests: many slots may have to be looked at.
    async fn list(&self, process: Id, listing: Listing) -> Result<Response, ApiError> {
        let world = self.world.clone();
        // Before this unit shows its results nobody gets them: they would be copied.
        let below = shown_below(&self.world, &process)?;
        let page = tokio::task::spawn_blocking(move || listing.page(world.log(), &process, below)).await;
        let stopping = |_| ApiError::Internal("the node is stopping".into());
        Ok(([(CONTENT_TYPE, "application/json")], page.map_err(stopping)??).into_response())
    }
}

/// The outcomes of a process, in pages.
async fn results(
    State(api): State<Api>,
    Path(process): Path<String>,
    Query(range): Query<Range>,
    OriginalUri(uri): OriginalUri,
    passed: FromPeer,
) -> Result<Response, ApiError> {
    let process = query::id("process", &process)?;
    let listing = range.results()?;
    if !api.world.follows(&process) && !passed.0 {
        let path = with_query(format!("/cu/results/{process}"), &uri);
        return api.pass_on(Role::Cu, &process, Call { path, body: None }).await;
    }
    api.known(&process, Patience::new(passed)).await?;
    api.list(process, listing).await
}

/// The outcomes of a process's crons, in pages. What is due has its slot already, and is evaluated first.
async fn cron(
    State(api): State<Api>,
    Path(process): Path<String>,
    Query(range): Query<Range>,
    OriginalUri(uri): OriginalUri,
    passed: FromPeer,
) -> Result<Response, ApiError> {
    let process = query::id("process", &process)?;
    let listing = range.firings()?;
    let call = Call { path: with_query(format!("/cu/cron/{process}"), &uri), body: None };
    if !api.world.follows(&process) && !passed.0 {
        return api.pass_on(Role::Cu, &process, call).await;
    }
    let patience = Patience::new(passed);
    let tip = api.known(&process, patience).await?;
    Ok(match api.resolve(&process, tip, patience, call).await? {
        Resolved::Here(_) => api.list(process, listing).await?,
        Resolved::There(answer) => answer,
    })
}

impl Api {
    /// The highest slot of a process, waited for if it may be on its way.
    pub(super) async fn known(&self, process: &Id, patience: Patience) -> Result<u64, ApiError> {
        let log = self.world.log();
        let tip = self.world.wait_for(process, patience.for_entry(), || log.tip(process)).await?;
        Ok(tip.ok_or_else(|| ApiError::NotFound(format!("process {process} is not known")))?.slot)
    }
}
