//! An address that leads to one server today and to another one tomorrow, as a virtual address does. Connections that
//! were made before stay where they are.

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::port;

/// A local address in front of one of several servers.
#[derive(Debug)]
pub struct Address {
    port: u16,
    target: watch::Sender<u16>,
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
        let (target, leads_to) = watch::channel(port);
        let mut listening = JoinSet::new();
        listening.spawn(listen(listener, leads_to));
        Self { port: own, target, _listening: listening }
    }

    /// Lets connections that are made from now on lead to another port.
    pub fn move_to(&self, port: u16) {
        self.target.send_replace(port);
    }

    /// The port that clients use.
    pub fn port(&self) -> u16 {
        self.port
    }
}

async fn listen(listener: TcpListener, leads_to: watch::Receiver<u16>) {
    let mut connections = JoinSet::new();
    while let Ok((mut client, _)) = listener.accept().await {
        let port = *leads_to.borrow();
        connections.spawn(async move {
            if let Ok(mut server) = TcpStream::connect(("127.0.0.1", port)).await {
                // Either side may end it at any time.
                let _ = copy_bidirectional(&mut client, &mut server).await;
            }
        });
        while connections.try_join_next().is_some() {}
    }
}
