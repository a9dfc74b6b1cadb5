//! The HTTP API: thin translations between ao's URLs and the log. Every path works on every node: what a node does not
//! do itself it gets from a peer that does.

mod ao;
mod body;
mod branches;
mod client;
mod cu;
mod cursor;
mod dead_letters;
mod disputed;
mod dry_run;
mod error;
mod gateway;
mod hyperbeam;
mod listing;
mod load;
mod log_page;
mod measure;
mod mirror;
mod mu;
mod openapi;
mod outcome;
mod outcome_json;
mod own_words;
mod panics;
mod passed_on;
mod query;
mod race;
mod rate;
mod request_id;
mod server;
mod share;
mod state;
mod su;
mod trace;

use std::sync::Arc;
use std::time::Duration;

use ao_protocol::announcement::Role;
use ao_protocol::item::MAX_ITEM_BYTES;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn, from_fn_with_state};
use tokio::net::TcpListener;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::cors::{AllowHeaders, AllowMethods, Any, CorsLayer};

use body::Bodies;
pub(crate) use disputed::DISPUTED_FROM;
use error::ApiError;
use load::{MAX_HTTP_REQUESTS, Places};
pub(crate) use panics::are_caught;
pub use rate::Clients;
use rate::Rates;
pub(crate) use server::listen;

pub(crate) use passed_on::PassedOn;

use crate::arweave::DevChain;
use crate::drive::compute::Computer;
use crate::drive::dead_letters::DeadLetters;
use crate::drive::mirror::Mirror;
use crate::drive::repair::Follower;
use crate::drive::submit::Submitter;
use crate::drive::{World, room};
use crate::metrics::Metrics;

/// Largest request body: one item and a little.
pub(crate) const MAX_BODY_BYTES: usize = MAX_ITEM_BYTES + 1024;
/// Longest wait for an item to get its slot here before it is called unknown.
pub(crate) const ENTRY_WAIT: Duration = Duration::from_secs(5);
/// How long a browser may remember that it may ask from any page.
const CORS_AGE: Duration = Duration::from_secs(24 * 60 * 60);

/// What handlers need.
#[derive(Clone)]
pub(crate) struct Api {
    pub(super) world: World,
    pub(super) submitter: Submitter,
    pub(super) computer: Option<Computer>,
    pub(super) metrics: Metrics,
    /// The chain that this node plays, if it does.
    pub(super) chain: Option<DevChain>,
    /// What this node's messenger could not deliver.
    pub(super) dead_letters: Arc<DeadLetters>,
    pub(super) follower: Follower,
    /// What puts this node's log on Arweave, if something does.
    pub(super) mirror: Option<Mirror>,
}

/// The parts of a node that the API asks.
pub(crate) struct Parts {
    pub(crate) submitter: Submitter,
    pub(crate) computer: Option<Computer>,
    pub(crate) chain: Option<DevChain>,
    pub(crate) dead_letters: DeadLetters,
    pub(crate) follower: Follower,
    pub(crate) mirror: Option<Mirror>,
}

impl Api {
    pub(crate) fn new(world: World, parts: Parts, metrics: Metrics) -> Api {
        let Parts { submitter, computer, chain, dead_letters, follower, mirror } = parts;
        Api { world, submitter, computer, metrics, chain, dead_letters: Arc::new(dead_letters), follower, mirror }
    }

    /// Refuses what would be stored here when the disk is full.
    fn needs_room(&self) -> Result<(), ApiError> {
        self.world.lack_of_room(room::MIN_FREE_BYTES).map_or(Ok(()), |cause| Err(ApiError::Full(cause)))
    }

    /// What peers may call.
    pub(crate) fn passed_on(&self) -> PassedOn {
        let router = Router::new().nest("/su", su::router()).nest("/cu", cu::router()).nest("/ao", ao::router());
        let router = router.merge(gateway::for_peers(self)).with_state(self.clone());
        let router = router.layer(from_fn_with_state(self.clone(), hyperbeam::or_else));
        // The network bounds calls, and by more than what extractors take when nothing is said.
        PassedOn::new(router.layer(DefaultBodyLimit::disable()))
    }

    /// All paths. A node with exactly one role serves that role's API at the root too, so that its URL
    /// works for clients that take the URL of a unit.
    fn router(self) -> Router {
        let (mu, su) = (mu::router().layer(from_fn(body::items_only)), su::router().layer(from_fn(body::items_only)));
        let router = Router::new()
            .nest("/mu", mu.clone())
            .nest("/su", su.clone())
            .nest("/cu", cu::router())
            .nest("/ao", ao::router())
            .merge(own_words::router())
            .merge(gateway::router(&self));
        let router = match self.world.roles() {
            [Role::Mu] => router.merge(mu).merge(gateway::data()),
            [Role::Su] => router.merge(su),
            [Role::Cu] => router.merge(cu::router()).merge(gateway::data()),
            _ => router.merge(gateway::data()).merge(gateway::root()),
        };
        router
            .fallback(async |uri: axum::http::Uri| ApiError::NotFound(format!("no path {}", uri.path())))
            .with_state(self.clone())
            .layer(from_fn_with_state(self.clone(), disputed::say))
            .layer(from_fn_with_state(self, hyperbeam::or_else))
    }

    /// Serves until `stop` is done.
    pub(crate) async fn serve(
        self,
        listener: TcpListener,
        clients: Clients,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> std::io::Result<()> {
        let (rates, metrics) = (Rates::new(clients), self.metrics.clone());
        let places = Places::new(MAX_HTTP_REQUESTS, rates.clone());
        server::serve(listener, surrounded(self.router(), rates.clone(), metrics, places), rates, stop).await
    }
}

/// What happens around every request, the innermost first.
fn surrounded(router: Router, rates: Rates, metrics: Metrics, places: Places) -> Router {
    let from_anywhere = CorsLayer::new()
        .allow_origin(Any)
        .allow_methods(AllowMethods::mirror_request())
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers(Any)
        .max_age(CORS_AGE);
    router
        .layer(DefaultBodyLimit::disable())
        .layer(from_fn_with_state(Bodies::new(), body::read))
        .layer(from_fn_with_state(rates, rate::limit))
        .layer(from_fn_with_state(places, load::limit))
        .layer(CatchPanicLayer::custom(panics::answer))
        .layer(from_fn(panics::mark))
        .layer(from_fn(error::as_json))
        .layer(from_fn_with_state(metrics, measure::count))
        .layer(from_anywhere)
        .layer(from_fn(request_id::name))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use axum::routing::get;
    use tokio::sync::Notify;

    use super::*;
    use crate::metrics::Registering;

    /// Serves a router with what surrounds it, and one place for requests; where it is.
    async fn serve(router: Router) -> String {
        let listener = listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let metrics = Registering::new().finish();
        let rates = Rates::new(Clients::default());
        let router = surrounded(router, rates.clone(), metrics, Places::new(1, rates.clone()));
        tokio::spawn(server::serve(listener, router, rates, std::future::pending()));
        url
    }

    async fn ask(url: &str, path: &str) -> (u16, reqwest::header::HeaderMap, String) {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let answer = client.get(format!("{url}{path}")).send().await.unwrap();
        (answer.status().as_u16(), answer.headers().clone(), answer.text().await.unwrap())
    }

    async fn panicking() -> &'static str {
        assert!(are_caught(), "the node would end");
        panic!("a handler is wrong");
    }

    #[tokio::test]
    async fn a_panic_ends_one_request() {
        let url = serve(Router::new().route("/panic", get(panicking)).route("/", get(async || "ok"))).await;
        let (status, headers, text) = ask(&url, "/panic").await;
        assert_eq!(status, 500);
        assert!(text.starts_with(r#"{"error":"this node failed"#), "{text}");
        assert!(headers.contains_key("x-request-id") && headers.contains_key("access-control-allow-origin"));
        assert_eq!(ask(&url, "/").await.0, 200);
        assert!(!are_caught(), "only requests are answered");
    }

    #[tokio::test]
    async fn what_is_over_the_number_of_requests_hears_so() {
        let (began, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (begins, waits) = (began.clone(), go_on.clone());
        let wait = async move || {
            begins.notify_one();
            waits.notified().await;
            "done"
        };
        let url = serve(Router::new().route("/wait", get(wait)).route("/", get(async || "ok"))).await;
        let first = tokio::spawn({
            let url = url.clone();
            async move { ask(&url, "/wait").await }
        });
        began.notified().await;
        let (status, headers, text) = ask(&url, "/").await;
        assert_eq!(status, 503);
        assert_eq!(headers["retry-after"], "1");
        assert!(text.contains("too much to do"), "{text}");
        go_on.notify_one();
        assert_eq!(first.await.unwrap().2, "done");
        assert_eq!(ask(&url, "/").await.0, 200);
    }
}
