//! The compute unit's API: what messages came to, and what one would come to. A node that does not compute answers from
//! the outcomes that compute units attested, and passes on what only they can do.

use std::time::Duration;

use ao_protocol::announcement::Role;
use ao_protocol::id::Id;
use ao_protocol::log::Log;
use ao_protocol::outcome::OutcomeRecord;
use ao_protocol::wire::Call;
use axum::extract::{OriginalUri, Path, Query, State};
use axum::http::Uri;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use super::error::ApiError;
use super::listing::{Listing, Range};
use super::passed_on::FromPeer;
use super::{Api, ENTRY_WAIT, PASSED_ON_WAIT, RESULT_WAIT, outcome_json, query};
use super::{dry_run, state};
use crate::drive::now_ms;

/// How long a node that does not compute waits for the outcome to come by itself before it asks a compute unit.
const HEAD_START: Duration = Duration::from_secs(2);

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
    let call = Call { path: format!("/cu/result/{id}?process-id={process}"), body: None };
    if !api.world.follows(&process) && !passed.0 {
        return api.pass_on(Role::Cu, &process, call).await;
    }
    let log = api.world.log();
    let slot = api.world.wait_for(&process, ENTRY_WAIT, || log.slot_of_item(&process, &id)).await?;
    let unknown = || ApiError::NotFound(format!("message {id} is not in the log of process {process}"));
    let slot = slot.ok_or_else(unknown)?;
    let limit = match (passed.0, api.computer.is_some()) {
        (true, _) => PASSED_ON_WAIT,
        (false, true) => RESULT_WAIT,
        (false, false) => HEAD_START,
    };
    match api.outcome(&process, slot, limit).await {
        Err(ApiError::NotYet(text)) if api.computer.is_none() && !passed.0 => {
            // Perhaps they know why there is none.
            api.pass_on(Role::Cu, &process, call).await.map_err(|_| ApiError::NotYet(text))
        }
        record => Ok(Json(outcome_json::result(&record?.outcome)).into_response()),
    }
}

impl Api {
    /// The outcome of a slot, waited for at most this long.
    pub(super) async fn outcome(&self, process: &Id, slot: u64, limit: Duration) -> Result<OutcomeRecord, ApiError> {
        let (world, log) = (&self.world, self.world.log());
        let stalled = || self.computer.as_ref().and_then(|computer| computer.stalled(process));
        let ready = || {
            let record = log.outcome(process, slot)?.map(Ok);
            let never = || stalled().filter(|stalled| stalled.for_good).map(Err);
            Ok(record.or_else(never))
        };
        match world.wait_for(process, limit, ready).await? {
            Some(Ok(record)) => Ok(record),
            Some(Err(stalled)) => {
                Err(ApiError::Unprocessable(format!("process {process} can't be computed: {}", stalled.reason)))
            }
            None => {
                let reason = stalled().map_or_else(String::new, |stalled| format!(": {}", stalled.reason));
                Err(ApiError::NotYet(format!("slot {slot} of process {process} is not computed yet{reason}")))
            }
        }
    }

    /// Reads off the tasks that serve requests: many slots may have to be looked at.
    async fn list(&self, process: Id, listing: Listing) -> Result<Json<Value>, ApiError> {
        let world = self.world.clone();
        let page = tokio::task::spawn_blocking(move || listing.page(world.log(), &process)).await;
        let stopping = |_| ApiError::Internal("the node is stopping".into());
        Ok(Json(page.map_err(stopping)??))
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
    api.known(&process).await?;
    Ok(api.list(process, listing).await?.into_response())
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
    if !api.world.follows(&process) && !passed.0 {
        let path = with_query(format!("/cu/cron/{process}"), &uri);
        return api.pass_on(Role::Cu, &process, Call { path, body: None }).await;
    }
    let tip = api.known(&process).await?;
    api.outcome(&process, tip, if passed.0 { PASSED_ON_WAIT } else { RESULT_WAIT }).await?;
    Ok(api.list(process, listing).await?.into_response())
}

/// A path with the query of another.
pub(super) fn with_query(path: String, uri: &Uri) -> String {
    match uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path,
    }
}

impl Api {
    /// The highest slot of a process, waited for if it may be on its way.
    pub(super) async fn known(&self, process: &Id) -> Result<u64, ApiError> {
        let log = self.world.log();
        let tip = self.world.wait_for(process, ENTRY_WAIT, || log.tip(process)).await?;
        Ok(tip.ok_or_else(|| ApiError::NotFound(format!("process {process} is not known")))?.slot)
    }
}
