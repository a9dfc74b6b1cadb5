//! What a gateway serves: items by what they say (GraphQL), data by id, and uploads.

mod chain;
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
pub(super) fn router(api: &Api) -> Router<Api> {
    let chain = Router::new().merge(chain::blocks()).merge(chain::chain(api));
    chain.merge(graphql::router()).merge(data::raw()).merge(upload::router())
}

/// The part of it that peers may call.
pub(super) fn for_peers(api: &Api) -> Router<Api> {
    Router::new().merge(chain::blocks()).merge(chain::chain(api))
}

/// Data by id at the root: where a role's API has no other use for ids.
pub(super) fn data() -> Router<Api> {
    data::at_root()
}
