//! Listening and serving: one clear line if an address cannot be used, bounds on who is connected, and an end that waits
//! for what is under way.

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
use hyper_util::service::TowerToHyperService;
use simulator_cli::CliError;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use self::body::{Arriving, Leaving};
use self::door::{Door, Guest};

/// Requests under way have this long to end after the program was told to.
const DRAIN_MAX: Duration = Duration::from_secs(10);

/// Connections to one address. By default 512 requests are answered at once and 256 clients follow the events: most of
/// these connections wait for their next request. One that is too many takes the place of whoever has waited longest, so
/// nobody is kept out by connections on which nothing comes.
const CONNECTIONS_MAX: usize = 2_048;

/// A request's head has to come within this time, and the next request on the same connection begins within it.
const HEAD_MAX: Duration = Duration::from_secs(30);

/// The largest head. A token alone may have 16 KiB.
const HEAD_BYTES_MAX: usize = 64 * 1024;

/// The pause after a connection could not be taken: the process has too many files open.
const PAUSE: Duration = Duration::from_millis(50);

/// An address that is listened on.
#[derive(Debug)]
pub struct Listener {
    listener: TcpListener,
    pub addr: SocketAddr,
}

impl Listener {
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

    /// Serves until `stop`, then lets requests under way end.
    pub fn serve(self, router: Router, stop: CancellationToken) -> JoinHandle<()> {
        tokio::spawn(async move {
            let mut serving = JoinSet::new();
            tokio::select! {
                () = stop.cancelled() => {}
                () = self.take_in(&router, &stop, &mut serving) => {}
            }
            // Nobody new is taken in any more. Whoever is still served after this time is let go with the set.
            let ended = async { while serving.join_next().await.is_some() {} };
            let _ = tokio::time::timeout(DRAIN_MAX, ended).await;
        })
    }

    /// Takes connections, for ever.
    async fn take_in(&self, router: &Router, stop: &CancellationToken, serving: &mut JoinSet<()>) {
        let door = Door::new(CONNECTIONS_MAX);
        loop {
            match self.listener.accept().await {
                Ok((stream, from)) => {
                    if let Some(guest) = door.enter() {
                        serving.spawn(attend(stream, from, guest, router.clone(), stop.clone()));
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

/// The client was gone before it was taken in: nothing is wrong here.
fn is_of_the_connection(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

/// Serves one connection until it ends, has to make way, or (after the request under way) the program is told to end.
async fn attend(stream: TcpStream, from: SocketAddr, guest: Guest, router: Router, stop: CancellationToken) {
    // Answers are small: none of them should wait for the next one.
    let _ = stream.set_nodelay(true);
    let guest = Arc::new(guest);
    let routes = TowerToHyperService::new(router);
    let host = Arc::clone(&guest);
    let service = service_fn(move |request: Request<hyper::body::Incoming>| {
        let guest = Arc::clone(&host);
        let waits = request.headers().contains_key(header::EXPECT);
        let mut request = request.map(|body| Body::new(Arriving::new(body, Arc::clone(&guest), waits)));
        // Whoever bounds something by address asks for it.
        request.extensions_mut().insert(ConnectInfo(from));
        let answer = routes.call(request);
        async move { answer.await.map(|answer| answer.map(|body| Leaving::new(body, guest))) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_MAX)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        // An error is the client's: it is gone, or speaks no HTTP.
        _ = &mut connection => return,
        () = guest.dismissed() => return,
        () = stop.cancelled() => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = connection.await;
}
