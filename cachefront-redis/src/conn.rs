//! Opens connections: applies the timeouts, identifies the server and loads the scripts.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use cachefront_core::Result;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Pipeline, RedisError, Value};

use crate::config::RedisSettings;
use crate::error::{Address, into_result, is_connection_lost};
use crate::identity::Identity;
use crate::scripts;

/// Opens connections to one address. Every timeout is set here; none is left to the client's defaults.
#[derive(Clone)]
pub(crate) struct Dialer {
    client: Client,
    address: Address,
    settings: RedisSettings,
}

/// A connection, and the identity of the primary at its other end.
#[derive(Clone)]
pub(crate) struct Connection {
    pub(crate) wire: MultiplexedConnection,
    pub(crate) identity: Arc<Identity>,
}

impl Dialer {
    pub(crate) fn new(client: Client, settings: RedisSettings) -> Self {
        let address = Address::new(client.get_connection_info().addr());
        Self { client, address, settings }
    }

    pub(crate) fn address(&self) -> &Address {
        &self.address
    }

    pub(crate) fn settings(&self) -> &RedisSettings {
        &self.settings
    }

    /// Opens a connection whose commands time out after `response_timeout`. `None` is for reads that block at the server.
    ///
    /// # Errors
    /// The client's error, or `Unavailable` if the server is a replica.
    pub(crate) async fn dial(&self, response_timeout: Option<Duration>, purpose: Purpose) -> Result<Connection> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.settings.connect_timeout))
            .set_response_timeout(response_timeout);
        let dialed = async {
            let dialed = self.client.get_multiplexed_async_connection_with_config(&config).await;
            self.prepare(dialed.map_err(|error| self.address.error(&error))?, purpose).await
        };
        // The client's own timeout does not cover every step of a handshake.
        match tokio::time::timeout(2 * self.settings.connect_timeout, dialed).await {
            Ok(connection) => connection,
            Err(elapsed) => Err(self.address.timed_out("did not accept the connection", elapsed)),
        }
    }

    /// Identifies the server and loads the scripts, in one round trip.
    async fn prepare(&self, mut wire: MultiplexedConnection, purpose: Purpose) -> Result<Connection> {
        let mut pipeline = match purpose {
            Purpose::Scripts => scripts::load_all(),
            Purpose::Peeks | Purpose::Bus => Pipeline::new(),
        };
        let loads = pipeline.len();
        pipeline.cmd("INFO").arg("server").cmd("INFO").arg("replication");
        let replies = wire.send_packed_commands(&pipeline, 0, pipeline.len()).await;
        let mut replies = replies.map_err(|error| self.address.error(&error))?.into_iter();
        for reply in replies.by_ref().take(loads) {
            self.address.check(reply)?;
        }
        let identity = Arc::new(Identity::read(&self.address, replies)?);
        if purpose == Purpose::Peeks {
            disable_touch(&mut wire).await.map_err(|error| self.address.error(&error))?;
        }
        Ok(Connection { wire, identity })
    }
}

impl Connection {
    /// Sends a command; an error reply of the server is returned as an error.
    pub(crate) async fn send(&mut self, command: &redis::Cmd) -> Result<Value, RedisError> {
        self.wire.send_packed_command(command).await.and_then(into_result)
    }
}

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Commands of all kinds, scripts among them.
    Scripts,
    /// Peeks, which must not change the recency of the entries that they read.
    Peeks,
    /// Reads of the bus.
    Bus,
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
