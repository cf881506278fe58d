//! An address that leads to one server or another, as a virtual address or a load balancer does.

use std::sync::Arc;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use cachefront_tests::server::mysql::MySql;

/// Forwards each new connection to the server that is chosen at that time. Connections that are open stay where they
/// are.
#[derive(Debug)]
pub(crate) struct Forwarder {
    port: u16,
    /// The port that new connections are forwarded to. `None` closes them.
    target: Arc<watch::Sender<Option<u16>>>,
    task: JoinHandle<()>,
}

impl Forwarder {
    pub(crate) async fn to(server: &MySql) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
        let port = listener.local_addr().expect("its address").port();
        let target = Arc::new(watch::Sender::new(Some(server.port())));
        let chosen = target.subscribe();
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let target = *chosen.borrow();
                if let Some(port) = target {
                    tokio::spawn(forward(client, port));
                }
            }
        });
        Self { port, target, task }
    }

    /// New connections lead to `server` from now on.
    pub(crate) fn switch_to(&self, server: &MySql) {
        self.target.send_replace(Some(server.port()));
    }

    /// New connections are closed from now on.
    pub(crate) fn refuse(&self) {
        self.target.send_replace(None);
    }

    /// The URL of a user who may do everything.
    pub(crate) fn url(&self) -> String {
        use cachefront_tests::server::mysql::{ADMIN, ADMIN_PASSWORD};
        format!("mysql://{ADMIN}:{ADMIN_PASSWORD}@127.0.0.1:{}", self.port)
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn forward(mut client: TcpStream, port: u16) {
    if let Ok(mut server) = TcpStream::connect(("127.0.0.1", port)).await {
        // It ends when either side closes.
        let _ = copy_bidirectional(&mut client, &mut server).await;
    }
}
