//! Opens connections: applies the timeouts, identifies the server and loads the scripts.
//!
//! # Steps of a dial
//!
//! | step | bound by |
//! |---|---|
//! | ask the Sentinels, if there are any | `connect_timeout` |
//! | TCP, TLS, `HELLO` or `AUTH`, `SELECT` | `connect_timeout`, by the client |
//! | `INFO server`, `INFO replication`, `SCRIPT LOAD` for each script | twice `connect_timeout`, with the step before |
//! | `CLIENT NO-TOUCH ON`, for peeks only | the same |
//!
//! The identity is read on the connection itself and before its first use: a name or a load
//! balancer may lead to another server each time, and what was checked on one connection says
//! nothing of the next.

use std::sync::Arc;
use std::time::Duration;
use std::{fmt, io};

use cachefront_core::Result;
use futures_util::future::select_ok;
use redis::aio::MultiplexedConnection;
use redis::io::tcp::TcpSettings;
use redis::io::tcp::socket2::SockRef;
use redis::{AsyncConnectionConfig, Client, ConnectionAddr, Pipeline, ProtocolVersion, PushInfo, RedisError, Value};
use tokio::net::TcpStream;

use crate::config::RedisSettings;
use crate::error::{Address, Role, into_result, is_connection_lost};
use crate::identity::{Identity, Mode};
use crate::packed::Packed;
use crate::scripts;
use crate::sentinel::Sentinels;

/// Opens connections to one address. Every timeout is set here; none is left to the client's defaults.
#[derive(Clone)]
pub(crate) struct Dialer {
    target: Target,
    address: Address,
    /// What kind of server is expected.
    mode: Mode,
    settings: RedisSettings,
}

/// Where the server is.
#[derive(Clone)]
enum Target {
    /// At a fixed address.
    Server(Arc<Client>),
    /// Where the Sentinels say at the time of each dial.
    Sentinel(Arc<Sentinels>),
}

/// A connection, and the identity of the primary at its other end.
///
/// Clones share one socket. Commands are pipelined: several are sent before the first reply
/// arrives.
#[derive(Clone)]
pub(crate) struct Connection {
    pub(crate) wire: MultiplexedConnection,
    pub(crate) identity: Arc<Identity>,
}

impl Dialer {
    /// Opens connections to one server of this kind.
    pub(crate) fn new(client: Client, mode: Mode, settings: RedisSettings) -> Self {
        let role = match mode {
            Mode::Standalone => Role::Server,
            Mode::Cluster => Role::Node,
        };
        let address = Address::new(client.get_connection_info().addr(), role);
        Self { target: Target::Server(Arc::new(client)), address, mode, settings }
    }

    /// Opens connections to the primary that Sentinels name.
    pub(crate) fn by_sentinel(sentinels: Sentinels, settings: RedisSettings) -> Self {
        let address = sentinels.address().clone();
        Self { target: Target::Sentinel(Arc::new(sentinels)), address, mode: Mode::Standalone, settings }
    }

    pub(crate) fn address(&self) -> &Address {
        &self.address
    }

    /// The Sentinels that name the primary, if there are any.
    pub(crate) fn sentinels(&self) -> Option<&Arc<Sentinels>> {
        match &self.target {
            Target::Server(_) => None,
            Target::Sentinel(sentinels) => Some(sentinels),
        }
    }

    pub(crate) fn settings(&self) -> &RedisSettings {
        &self.settings
    }

    /// Opens a connection whose commands time out after `response_timeout`. `None` is for reads that block at the server.
    ///
    /// Sentinels are asked first, which may take `connect_timeout` more.
    ///
    /// # Errors
    /// The client's error, or `Unavailable` if the server is a replica; `Config` if it is of another kind.
    pub(crate) async fn dial(&self, response_timeout: Option<Duration>, purpose: Purpose) -> Result<Connection> {
        self.dial_with(self.config(response_timeout), purpose).await
    }

    /// Opens a connection in RESP3, whatever the URL says, and passes what the server pushes on to `receive`, which must not
    /// block.
    ///
    /// # Errors
    /// As [`dial`](Self::dial); also if the server has no RESP3.
    pub(crate) async fn dial_for_pushes(
        &self,
        receive: impl Fn(PushInfo) + Send + Sync + 'static,
    ) -> Result<Connection> {
        let receive = move |push| {
            receive(push);
            Ok::<(), std::convert::Infallible>(())
        };
        let config = self.config(Some(self.settings.response_timeout)).set_push_sender(receive);
        self.dial_with(config, Purpose::Pushes).await
    }

    /// The client's own defaults for timeouts differ between its releases.
    fn config(&self, response_timeout: Option<Duration>) -> AsyncConnectionConfig {
        AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.settings.connect_timeout))
            .set_response_timeout(response_timeout)
    }

    /// # Errors
    /// `Timeout` after twice `connect_timeout`; others as [`dial`](Self::dial).
    async fn dial_with(&self, config: AsyncConnectionConfig, purpose: Purpose) -> Result<Connection> {
        let (client, address) = match &self.target {
            Target::Server(client) => (Client::clone(client), self.address.clone()),
            Target::Sentinel(sentinels) => sentinels.primary(&self.settings).await?,
        };
        let client = if purpose == Purpose::Pushes { in_resp3(&client)? } else { client };
        let dialed = async {
            let dialed = self.connect(&client, config, purpose).await;
            self.prepare(dialed.map_err(|error| address.error(&error))?, &address, purpose).await
        };
        // The client's own timeout does not cover every step of a handshake.
        match tokio::time::timeout(2 * self.settings.connect_timeout, dialed).await {
            Ok(connection) => connection,
            Err(elapsed) => Err(address.timed_out("did not accept the connection", elapsed)),
        }
    }

    /// Opens a connection, for readers one whose replies are [`Packed`] if the socket is a plain one.
    async fn connect(
        &self,
        client: &Client,
        config: AsyncConnectionConfig,
        purpose: Purpose,
    ) -> Result<MultiplexedConnection, RedisError> {
        let info = client.get_connection_info();
        let (ConnectionAddr::Tcp(host, port), Purpose::Readers | Purpose::Peeks) = (info.addr(), purpose) else {
            return client.get_multiplexed_async_connection_with_config(&config).await;
        };
        let connected = async {
            let socket = connect_tcp(host, *port, info.tcp_settings()).await?;
            MultiplexedConnection::new_with_config(info.redis_settings(), Packed::new(socket), config).await
        };
        let connected = tokio::time::timeout(self.settings.connect_timeout, connected).await;
        let (wire, driver) = connected.unwrap_or_else(|elapsed| Err(io::Error::from(elapsed).into()))?;
        // It ends with the last clone of the connection.
        tokio::spawn(driver);
        Ok(wire)
    }

    /// Identifies the server and loads the scripts, in one round trip.
    async fn prepare(
        &self,
        mut wire: MultiplexedConnection,
        address: &Address,
        purpose: Purpose,
    ) -> Result<Connection> {
        let mut pipeline = Pipeline::new();
        pipeline.cmd("INFO").arg("server").cmd("INFO").arg("replication");
        let facts = pipeline.len();
        if matches!(purpose, Purpose::Scripts | Purpose::Readers) {
            scripts::load_all(&mut pipeline);
        }
        let replies = wire.send_packed_commands(&pipeline, 0, pipeline.len()).await;
        let mut replies = replies.map_err(|error| address.error(&error))?.into_iter();
        // First: a server of another kind refuses scripts too.
        let identity = Arc::new(Identity::read(address, self.mode, replies.by_ref().take(facts))?);
        for reply in replies {
            address.check(reply)?;
        }
        if purpose == Purpose::Peeks {
            disable_touch(&mut wire).await.map_err(|error| address.error(&error))?;
        }
        Ok(Connection { wire, identity })
    }
}

impl Connection {
    /// Returns true if the server still has the identity that it had when the connection was opened.
    ///
    /// A connection that fails here is not the same server.
    pub(crate) async fn is_same_server(&self) -> bool {
        let mut pipeline = Pipeline::with_capacity(2);
        pipeline.cmd("INFO").arg("server").cmd("INFO").arg("replication");
        let replies = self.wire.clone().send_packed_commands(&pipeline, 0, pipeline.len()).await;
        let address = self.identity.address();
        replies.is_ok_and(|replies| {
            Identity::read(address, Mode::Cluster, replies).is_ok_and(|identity| identity == *self.identity)
        })
    }

    /// Sends a command; an error reply of the server is returned as an error.
    ///
    /// # Errors
    /// The client's error: the caller needs its kind to decide whether the connection is lost.
    pub(crate) async fn send(&mut self, command: &redis::Cmd) -> Result<Value, RedisError> {
        self.wire.send_packed_command(command).await.and_then(into_result)
    }
}

/// Opens a socket to the address of the host that accepts the connection first, as the client does.
async fn connect_tcp(host: &str, port: u16, settings: &TcpSettings) -> io::Result<TcpStream> {
    let addresses: Vec<_> = tokio::net::lookup_host((host, port)).await?.collect();
    if addresses.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, format!("the host {host} has no address")));
    }
    let (socket, _) = select_ok(addresses.into_iter().map(|address| Box::pin(TcpStream::connect(address)))).await?;
    socket.set_nodelay(settings.nodelay())?;
    if let Some(keepalive) = settings.keepalive() {
        SockRef::from(&socket).set_tcp_keepalive(keepalive)?;
    }
    Ok(socket)
}

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Commands of all kinds, scripts among them.
    Scripts,
    /// The same for readers, which read many keys at once.
    Readers,
    /// Peeks, which must not change the recency of the entries that they read.
    Peeks,
    /// Reads of the bus.
    Bus,
    /// Receiving what the server pushes.
    Pushes,
}

/// Returns a client to the same server that speaks RESP3.
fn in_resp3(client: &Client) -> Result<Client> {
    let info = client.get_connection_info();
    let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
    // The address holds the certificates.
    Client::open(info.clone().set_redis_settings(settings)).map_err(crate::url::malformed)
}

/// Asks the server not to update the recency of keys that this connection reads. Redis before 7.2, and a server that does
/// not permit the command, refuse it: a peek then counts as a use.
async fn disable_touch(connection: &mut MultiplexedConnection) -> Result<(), RedisError> {
    let mut command = redis::cmd("CLIENT");
    command.arg("NO-TOUCH").arg("ON");
    match connection.send_packed_command(&command).await.and_then(into_result) {
        Ok(_) => Ok(()),
        Err(error) if is_connection_lost(&error) => Err(error),
        Err(refusal) => {
            tracing::debug!(%refusal, "Redis refuses CLIENT NO-TOUCH: peeks update the recency of entries");
            Ok(())
        }
    }
}

impl fmt::Debug for Dialer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the client: it holds the credentials.
        f.debug_struct("Dialer").field("address", &self.address).field("settings", &self.settings).finish()
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("identity", &self.identity).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use redis::io::tcp::socket2::TcpKeepalive;

    use super::*;

    #[tokio::test]
    async fn a_socket_of_readers_has_the_settings_of_the_others() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let keepalive = TcpKeepalive::new().with_time(Duration::from_secs(17));
        let settings = TcpSettings::default().set_nodelay(true).set_keepalive(keepalive);
        let socket = connect_tcp("localhost", port, &settings).await.expect("a socket");
        assert!(socket.nodelay().expect("an option"));
        assert_eq!(SockRef::from(&socket).tcp_keepalive_time().expect("an option"), Duration::from_secs(17));
        drop(listener);
        assert!(connect_tcp("localhost", port, &settings).await.is_err());
    }
}
