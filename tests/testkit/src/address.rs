//! An address that leads to one server today and to another one tomorrow, as a virtual address does. Connections that
//! were made before stay where they are.

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::port;
use crate::server::mysql::{ADMIN, ADMIN_PASSWORD};

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
        format!("mysql://{ADMIN}:{ADMIN_PASSWORD}@127.0.0.1:{}", self.port)
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
