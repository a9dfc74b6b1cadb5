//! The HTTP API: thin translations between ao's URLs and the log. Every path works on every node: what a node does not
//! do itself it gets from a peer that does.

mod ao;
mod cu;
mod error;
mod gateway;
mod mu;
mod su;

use std::net::SocketAddr;
use std::time::Duration;

use ao_protocol::announcement::Role;
use ao_protocol::item::MAX_ITEM_BYTES;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use tokio::net::TcpListener;
use tower_http::cors::CorsLayer;
use tower_http::timeout::TimeoutLayer;

use error::ApiError;

use crate::drive::World;
use crate::drive::compute::Computer;
use crate::drive::submit::Submitter;

/// Largest request body: one item and a little.
pub(crate) const MAX_BODY_BYTES: usize = MAX_ITEM_BYTES + 1024;
/// Longest time that a request may take; longer than any wait for a result.
pub(crate) const REQUEST_LIMIT: Duration = Duration::from_secs(60);
/// Longest wait for an item to get its slot here before it is called unknown.
pub(crate) const ENTRY_WAIT: Duration = Duration::from_secs(5);
/// Longest wait for the outcome of a slot.
pub(crate) const RESULT_WAIT: Duration = Duration::from_secs(30);

/// What handlers need.
#[derive(Clone)]
pub(crate) struct Api {
    pub(super) world: World,
    pub(super) submitter: Submitter,
    pub(super) computer: Option<Computer>,
}

impl Api {
    pub(crate) fn new(world: World, submitter: Submitter, computer: Option<Computer>) -> Api {
        Api { world, submitter, computer }
    }

    /// All paths. A node with exactly one role serves that role's API at the root too, so that its URL
    /// works for clients that take the URL of a unit.
    fn router(self) -> Router {
        let router = Router::new()
            .nest("/mu", mu::router())
            .nest("/su", su::router())
            .nest("/cu", cu::router())
            .nest("/ao", ao::router())
            .merge(gateway::own_words())
            .merge(gateway::router());
        let router = match self.world.roles() {
            [Role::Mu] => router.merge(mu::router()).merge(gateway::data()),
            [Role::Su] => router.merge(su::router()),
            [Role::Cu] => router.merge(cu::router()).merge(gateway::data()),
            _ => router.merge(gateway::data()).merge(gateway::root()),
        };
        router
            .fallback(async |uri: axum::http::Uri| ApiError::NotFound(format!("no path {}", uri.path())))
            .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
            .layer(TimeoutLayer::with_status_code(axum::http::StatusCode::GATEWAY_TIMEOUT, REQUEST_LIMIT))
            .layer(CorsLayer::permissive())
            .with_state(self)
    }

    /// Serves until `stop` is done.
    pub(crate) async fn serve(
        self,
        listener: TcpListener,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> std::io::Result<()> {
        axum::serve(listener, self.router()).with_graceful_shutdown(stop).await
    }
}

/// Listens for HTTP, or says why that is impossible.
pub(crate) async fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    use anyhow::Context;
    TcpListener::bind(address).await.with_context(|| {
        format!("HTTP can't listen on {address}; is another node running there? Choose another address with --http")
    })
}
