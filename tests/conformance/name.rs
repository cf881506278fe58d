//! A name that leads to one server today and to another one tomorrow, as a virtual address does: connections that were
//! made before stay where they are.

use std::net::SocketAddr;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

pub(crate) struct Name {
    address: SocketAddr,
    port: watch::Sender<u16>,
    /// Ends with the name.
    _listening: JoinSet<()>,
}

impl Name {
    pub(crate) async fn of(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (port, leads_to) = watch::channel(port);
        let mut listening = JoinSet::new();
        listening.spawn(listen(listener, leads_to));
        Self { address, port, _listening: listening }
    }

    /// Lets connections that are made from now on lead to another port.
    pub(crate) fn move_to(&self, port: u16) {
        self.port.send_replace(port);
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://{}/", self.address)
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
    }
}
