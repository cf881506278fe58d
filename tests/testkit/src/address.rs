//! An address that leads to one server today and to another one tomorrow, as a virtual address does. Connections that
//! were made before stay where they are.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::port;
use crate::server::mysql::{ADMIN, ADMIN_PASSWORD};

/// What a slow line may hold.
const CHUNKS_MAX: usize = 10_000;

/// A local address in front of one of several servers.
#[derive(Debug)]
pub struct Address {
    port: u16,
    /// The port that new connections lead to. `None` closes them.
    target: watch::Sender<Option<u16>>,
    /// Ends with the address, and with it all connections.
    _listening: JoinSet<()>,
}

impl Address {
    /// An address that leads to `port` of this machine.
    ///
    /// # Panics
    /// If nothing can be listened on.
    pub async fn of(port: u16) -> Self {
        let own = port::free();
        let listener = TcpListener::bind(("127.0.0.1", own)).await.expect("a listener");
        let (target, leads_to) = watch::channel(Some(port));
        let mut listening = JoinSet::new();
        listening.spawn(listen(listener, leads_to));
        Self { port: own, target, _listening: listening }
    }

    /// An address that leads to `port` of this machine, from which everything arrives that much later: a slow line, and a
    /// replica that lags by less than the whole seconds that MySQL itself can delay it.
    ///
    /// # Panics
    /// If nothing can be listened on.
    pub async fn delayed(port: u16, delay: Duration) -> Self {
        let own = port::free();
        let listener = TcpListener::bind(("127.0.0.1", own)).await.expect("a listener");
        let (target, leads_to) = watch::channel(Some(port));
        let mut listening = JoinSet::new();
        listening.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let Some(port) = *leads_to.borrow() else { continue };
                connections.spawn(async move {
                    if let Ok(server) = TcpStream::connect(("127.0.0.1", port)).await {
                        late(client, server, delay).await;
                    }
                });
                while connections.try_join_next().is_some() {}
            }
        });
        Self { port: own, target, _listening: listening }
    }

    /// The port that is listened on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Lets connections that are made from now on lead to another port.
    pub fn move_to(&self, port: u16) {
        self.target.send_replace(Some(port));
    }

    /// Closes connections that are made from now on.
    pub fn refuse(&self) {
        self.target.send_replace(None);
    }

    /// The URL of a Redis behind it.
    pub fn redis_url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }

    /// The URL of a MySQL behind it, of the user who may do everything.
    pub fn mysql_url(&self) -> String {
        admin_url(self.port)
    }
}

/// The URL of a MySQL on this port of this machine, of the user who may do everything.
pub fn admin_url(port: u16) -> String {
    format!("mysql://{ADMIN}:{ADMIN_PASSWORD}@127.0.0.1:{port}")
}

/// Copies both ways; what comes from the server is passed on after the delay, in its order. Either side may end it.
async fn late(client: TcpStream, server: TcpStream, delay: Duration) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let (sender, mut chunks) = mpsc::channel::<(Instant, Vec<u8>)>(CHUNKS_MAX);
    let read = async {
        let mut buffer = vec![0; 64 << 10];
        while let Ok(count @ 1..) = from_server.read(&mut buffer).await {
            if sender.send((Instant::now() + delay, buffer[..count].to_vec())).await.is_err() {
                return;
            }
        }
    };
    let write = async {
        while let Some((due, bytes)) = chunks.recv().await {
            // sleep: the delay of the line.
            tokio::time::sleep_until(due).await;
            if to_client.write_all(&bytes).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = read => {}
        () = write => {}
        _ = tokio::io::copy(&mut from_client, &mut to_server) => {}
    }
}

async fn listen(listener: TcpListener, leads_to: watch::Receiver<Option<u16>>) {
    let mut connections = JoinSet::new();
    while let Ok((mut client, _)) = listener.accept().await {
        let Some(port) = *leads_to.borrow() else { continue };
        connections.spawn(async move {
            if let Ok(mut server) = TcpStream::connect(("127.0.0.1", port)).await {
                // Either side may end it at any time.
                let _ = copy_bidirectional(&mut client, &mut server).await;
            }
        });
        while connections.try_join_next().is_some() {}
    }
}
