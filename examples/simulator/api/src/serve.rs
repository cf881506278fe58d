//! Listens on an address and serves it: reports an unusable address in one line, limits the number of connections, and
//! drains requests in progress on shutdown.
//!
//! The loop is not `axum::serve`, which has no timeout and no maximum size for a request's head, and whose listener pauses
//! for a second when the process has too many open files. A semaphore is no limit for connections here: clients that open
//! many and send nothing would lock out all others until a timeout, so an idle connection is closed for a new one instead.

mod body;
mod door;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{Request, header};
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use simulator_cli::CliError;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use self::body::{Arriving, Leaving};
use self::door::{Door, Guest};

/// Maximum time for requests in progress to complete after the shutdown signal.
const DRAIN_MAX: Duration = Duration::from_secs(10);

/// Maximum number of connections to one address. By default 512 requests are served at once and 256 clients follow the
/// events, so most connections are idle. A connection beyond the limit evicts the one that has been idle longest, so
/// that idle connections cannot lock out new clients.
const CONNECTIONS_MAX: usize = 2_048;

/// Timeout for a request's head; it also covers the idle time before the next request on the same connection.
const HEAD_MAX: Duration = Duration::from_secs(30);

/// Maximum size of a request's head. A token alone may have 16 KiB.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// Pause after a failed `accept`, usually because the process has too many open files.
const PAUSE: Duration = Duration::from_millis(50);

/// A bound listening socket and its address.
#[derive(Debug)]
pub struct Listener {
    listener: TcpListener,
    pub addr: SocketAddr,
}

impl Listener {
    /// Binds to `addr`, which comes from `setting`.
    ///
    /// # Errors
    /// A line that names `setting` and says what is wrong with the address.
    pub async fn bind(setting: &str, addr: &str) -> Result<Self, CliError> {
        let failed = |error: std::io::Error| {
            let why = match error.kind() {
                std::io::ErrorKind::AddrInUse => "the port is taken".to_owned(),
                std::io::ErrorKind::AddrNotAvailable => "this machine has no such address".to_owned(),
                std::io::ErrorKind::PermissionDenied => "this user may not use the port".to_owned(),
                _ => error.to_string(),
            };
            CliError::new(format!("cannot listen on {addr}: {why}; choose another address with {setting}"))
        };
        let listener = TcpListener::bind(addr).await.map_err(failed)?;
        let addr = listener.local_addr().map_err(failed)?;
        Ok(Self { listener, addr })
    }

    /// Serves `router` until `stop` is cancelled, then waits up to 10 s for requests in progress.
    pub fn serve(self, router: Router, stop: CancellationToken) -> JoinHandle<()> {
        tokio::spawn(async move {
            let (draining, mut serving) = (GracefulShutdown::new(), JoinSet::new());
            tokio::select! {
                () = stop.cancelled() => {}
                () = self.accept_forever(&router, &draining, &mut serving) => {}
            }
            // No connection is accepted any more. Dropping the set aborts those that outlast the drain.
            let _ = tokio::time::timeout(DRAIN_MAX, draining.shutdown()).await;
        })
    }

    async fn accept_forever(&self, router: &Router, draining: &GracefulShutdown, serving: &mut JoinSet<()>) {
        let door = Door::new(CONNECTIONS_MAX);
        loop {
            match self.listener.accept().await {
                Ok((stream, from)) => {
                    if let Some(guest) = door.enter() {
                        serving.spawn(attend(stream, from, guest, router.clone(), draining.watcher()));
                    }
                }
                Err(error) if is_of_the_connection(&error) => {}
                Err(error) => {
                    tracing::warn!(%error, "a connection cannot be taken");
                    door.dismiss_one();
                    tokio::time::sleep(PAUSE).await;
                }
            }
            while serving.try_join_next().is_some() {}
        }
    }
}

/// Returns true if the client closed the connection before it was accepted, which is no fault of this process.
fn is_of_the_connection(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

/// Serves one connection until it closes, is evicted, or, after the request in progress, the server drains.
async fn attend(stream: TcpStream, from: SocketAddr, guest: Guest, router: Router, draining: Watcher) {
    // Responses are small: disable Nagle's algorithm so that none waits for the next.
    let _ = stream.set_nodelay(true);
    let guest = Arc::new(guest);
    let routes = TowerToHyperService::new(router);
    let host = Arc::clone(&guest);
    let service = service_fn(move |request: Request<hyper::body::Incoming>| {
        let guest = Arc::clone(&host);
        let waits = request.headers().contains_key(header::EXPECT);
        let mut request = request.map(|body| Body::new(Arriving::new(body, Arc::clone(&guest), waits)));
        // For handlers that limit rates by address.
        request.extensions_mut().insert(ConnectInfo(from));
        let answer = routes.call(request);
        async move { answer.await.map(|answer| answer.map(|body| Leaving::new(body, guest))) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_MAX)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        // Errors are the client's: it has disconnected, or does not speak HTTP.
        _ = draining.watch(connection) => {}
        () = guest.dismissed() => {}
    }
}
