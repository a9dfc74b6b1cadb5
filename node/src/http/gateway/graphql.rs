//! GraphQL as Arweave's gateways speak it: the part of their schema that ao's clients use, over what this node holds.

mod arguments;
mod objects;
mod queries;

use std::sync::{Arc, LazyLock};

use async_graphql::{EmptyMutation, EmptySubscription, Request, Schema, Variables};
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Query as UrlQuery, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::Semaphore;

use self::queries::{Allowance, Query};
use crate::http::Api;

/// Largest body of a query, in bytes.
const MAX_QUERY_BYTES: usize = 64 * 1024;
/// How deep fields may be nested; tools that read the schema need most of it.
const MAX_QUERY_DEPTH: usize = 16;
/// How much one query may ask for: a field counts one, a list [`queries::LIST_COMPLEXITY`] and each field in it
/// [`queries::EDGE_COMPLEXITY`].
const MAX_QUERY_COMPLEXITY: usize = 1000;

/// Most queries that are answered at once; others wait.
const MAX_QUERIES: usize = 32;
static QUERIES: Semaphore = Semaphore::const_new(MAX_QUERIES);

static SCHEMA: LazyLock<Schema<Query, EmptyMutation, EmptySubscription>> = LazyLock::new(|| {
    Schema::build(Query, EmptyMutation, EmptySubscription)
        .limit_depth(MAX_QUERY_DEPTH)
        .limit_complexity(MAX_QUERY_COMPLEXITY)
        .finish()
});

pub(super) fn router() -> Router<Api> {
    let routes = get(by_url).post(by_body).layer(DefaultBodyLimit::max(MAX_QUERY_BYTES));
    Router::new().route("/graphql", routes)
}

/// What a client sends.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Asked {
    query: String,
    variables: Option<Variables>,
    operation_name: Option<String>,
}

/// The same in a URL, where variables are a text of JSON.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct AskedByUrl {
    query: Option<String>,
    variables: Option<String>,
    operation_name: Option<String>,
}

async fn by_body(State(api): State<Api>, headers: HeaderMap, body: Bytes) -> Response {
    let kind = headers.get(CONTENT_TYPE).map(|kind| kind.to_str().unwrap_or_default().to_ascii_lowercase());
    if kind.is_some_and(|kind| !kind.trim_start().starts_with("application/json")) {
        let text = "GraphQL is taken as application/json: {\"query\": …, \"variables\": …}";
        return refuse(StatusCode::UNSUPPORTED_MEDIA_TYPE, text);
    }
    match serde_json::from_slice(&body) {
        Ok(asked) => execute(&api, asked).await,
        Err(cause) => refuse(StatusCode::BAD_REQUEST, &format!("the body is no GraphQL request as JSON: {cause}")),
    }
}

async fn by_url(State(api): State<Api>, UrlQuery(asked): UrlQuery<AskedByUrl>) -> Response {
    let Some(query) = asked.query else {
        return refuse(StatusCode::BAD_REQUEST, "POST a GraphQL request as JSON, or give it as the parameter query");
    };
    let variables = asked.variables.filter(|text| !text.is_empty());
    match variables.map(|text| serde_json::from_str(&text)).transpose() {
        Ok(variables) => execute(&api, Asked { query, variables, operation_name: asked.operation_name }).await,
        Err(cause) => refuse(StatusCode::BAD_REQUEST, &format!("the parameter variables is no JSON object: {cause}")),
    }
}

async fn execute(api: &Api, asked: Asked) -> Response {
    let mut request = Request::new(asked.query).variables(asked.variables.unwrap_or_default());
    // Some clients send an empty name where there is none.
    if let Some(name) = asked.operation_name.filter(|name| !name.is_empty()) {
        request = request.operation_name(name);
    }
    // The semaphore is never closed; what waits too long is ended with its request.
    let _turn = QUERIES.acquire().await;
    let request = request.data(api.world.clone()).data(Arc::new(Allowance::default()));
    Json(SCHEMA.execute(request).await).into_response()
}

fn refuse(status: StatusCode, text: &str) -> Response {
    (status, Json(json!({ "errors": [{ "message": text }] }))).into_response()
}
