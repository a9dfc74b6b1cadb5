//! What a gateway serves: items by what they say (GraphQL), data by id, and uploads.

mod data;
mod graphql;
pub(super) mod upload;

use axum::Router;
use axum::routing::get;

use super::Api;

/// The root of a node that serves no single role.
pub(super) fn root() -> Router<Api> {
    Router::new().route("/", get(async || "ao-node: see /ao/peers, /graphql, /mu, /su, /cu"))
}

/// What every node serves beside its role.
pub(super) fn router() -> Router<Api> {
    Router::new().merge(graphql::router()).merge(data::raw()).merge(upload::router())
}

/// Data by id at the root: where a role's API has no other use for ids.
pub(super) fn data() -> Router<Api> {
    data::at_root()
}
