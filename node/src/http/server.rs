//! The listener: takes connections in, as many as are allowed, and serves them. What axum's own server does not set:
//! how long headers may take, how long a client may leave an answer unread, and how many connections there may be.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio_io_timeout::TimeoutStream;
use tower_http::add_extension::AddExtension;
use tracing::{debug, warn};

use super::client::Socket;
use super::rate::Rates;
use super::share::Shares;

/// Most connections at once; a further one waits in the system's queue.
pub(crate) const MAX_HTTP_CONNECTIONS: usize = 1024;
/// Most of them from one address that is neither this machine's nor a trusted proxy's; a further one is closed.
pub(crate) const MAX_CONNECTIONS_PER_ADDRESS: usize = 256;
/// Longest time in which a client takes nothing of what is sent to it.
const WRITE_LIMIT: Duration = Duration::from_secs(30);
/// Longest time until a request's headers are there, counted from the connection's start or the last answer: also how
/// long a connection may be idle.
const HEADER_LIMIT: Duration = Duration::from_secs(30);
/// Wait after the system refused to take a connection in, for want of file descriptors mostly.
const AFTER_REFUSAL: Duration = Duration::from_secs(1);

/// Listens for HTTP, or says why that is impossible.
pub(crate) async fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    use anyhow::Context;
    TcpListener::bind(address).await.with_context(|| {
        format!("HTTP can't listen on {address}; is another node running there? Choose another address with --http")
    })
}

/// Serves until `stop` is done and the requests under way are answered.
pub(super) async fn serve(
    listener: TcpListener,
    router: Router,
    rates: Rates,
    stop: impl Future<Output = ()>,
) -> io::Result<()> {
    let mut server = Builder::new(TokioExecutor::new()).http1_only();
    server.http1().timer(TokioTimer::new()).header_read_timeout(HEADER_LIMIT);
    let places = Arc::new(Semaphore::new(MAX_HTTP_CONNECTIONS));
    let shares = Shares::new(MAX_CONNECTIONS_PER_ADDRESS);
    let (stopping, _) = watch::channel(());
    let mut stop = std::pin::pin!(stop);
    loop {
        let place = places.clone().acquire_owned().await.map_err(io::Error::other)?;
        let (stream, peer) = tokio::select! {
            connection = accept(&listener) => connection,
            () = &mut stop => break,
        };
        let address = peer.ip().to_canonical();
        let limited = !(rates.is_free(address) || rates.is_proxy(address));
        let share = limited.then(|| shares.take(address));
        if matches!(share, Some(None)) {
            debug!(%peer, "a connection is over its address's share");
            continue;
        }
        let mut stream = TimeoutStream::new(stream);
        stream.set_write_timeout(Some(WRITE_LIMIT));
        let stream = Box::pin(stream);
        let router = AddExtension::new(router.clone(), Socket(peer.ip()));
        let connection = server.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
        let (connection, mut stopped) = (connection.into_owned(), stopping.subscribe());
        tokio::spawn(async move {
            let mut connection = std::pin::pin!(connection);
            let served = tokio::select! {
                served = connection.as_mut() => served,
                _ = stopped.changed() => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            };
            if let Err(cause) = served {
                debug!(%peer, %cause, "a connection failed");
            }
            drop((place, share));
        });
    }
    stopping.send_replace(());
    stopping.closed().await;
    Ok(())
}

async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                // Answers are small and somebody waits for them.
                if let Err(cause) = stream.set_nodelay(true) {
                    debug!(%cause, "a connection's answers may be delayed");
                }
                return (stream, peer);
            }
            Err(cause) => {
                warn!(%cause, "a connection could not be taken in");
                tokio::time::sleep(AFTER_REFUSAL).await;
            }
        }
    }
}
