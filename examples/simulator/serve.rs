//! Listening and serving: one clear line if an address cannot be used, and an end that waits for what is under way.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::fatal::Fatal;

/// Requests under way have this long to end after the program was told to.
const DRAIN_MAX: Duration = Duration::from_secs(10);

/// An address that is listened on.
#[derive(Debug)]
pub(crate) struct Listener {
    listener: TcpListener,
    pub(crate) addr: SocketAddr,
}

impl Listener {
    /// # Errors
    /// A line that names `setting` and says what is wrong with the address.
    pub(crate) async fn bind(setting: &str, addr: &str) -> Result<Self, Fatal> {
        let failed = |error: std::io::Error| {
            let why = match error.kind() {
                std::io::ErrorKind::AddrInUse => "the port is taken".to_owned(),
                std::io::ErrorKind::AddrNotAvailable => "this machine has no such address".to_owned(),
                std::io::ErrorKind::PermissionDenied => "this user may not use the port".to_owned(),
                _ => error.to_string(),
            };
            Fatal::new(format!("cannot listen on {addr}: {why}; choose another address with {setting}"))
        };
        let listener = TcpListener::bind(addr).await.map_err(failed)?;
        let addr = listener.local_addr().map_err(failed)?;
        Ok(Self { listener, addr })
    }

    /// Serves until `stop`, then lets requests under way end.
    pub(crate) fn serve(self, router: Router, stop: CancellationToken) -> JoinHandle<std::io::Result<()>> {
        tokio::spawn(async move {
            let stopped = stop.clone();
            // Whoever bounds something by address asks for `ConnectInfo<SocketAddr>`.
            let service = router.into_make_service_with_connect_info::<SocketAddr>();
            let serving = axum::serve(self.listener, service)
                .with_graceful_shutdown(async move { stopped.cancelled().await })
                .into_future();
            tokio::select! {
                ended = serving => ended,
                () = async { stop.cancelled().await; tokio::time::sleep(DRAIN_MAX).await } => Ok(()),
            }
        })
    }
}

/// Completes when the program is told to end: by Ctrl-C, or by SIGTERM.
pub(crate) async fn told_to_end() {
    let interrupt = tokio::signal::ctrl_c();
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        match signal(SignalKind::terminate()) {
            Ok(mut terminate) => {
                tokio::select! {
                    _ = interrupt => {}
                    _ = terminate.recv() => {}
                }
            }
            Err(_) => drop(interrupt.await),
        }
    }
    #[cfg(not(unix))]
    drop(interrupt.await);
}
