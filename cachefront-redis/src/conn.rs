//! Connections: one that readers share and that is replaced in the background, and others that belong to one owner.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use cachefront_core::Result;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Pipeline, RedisError, Value};

use crate::config::RedisSettings;
use crate::error::{Address, is_connection_lost, refused};
use crate::identity::Identity;
use crate::scripts;

/// Opens connections; every timeout is set here, none is left to the client's defaults.
#[derive(Clone)]
pub(crate) struct Dialer {
    client: Client,
    address: Address,
    settings: RedisSettings,
}

/// A connection, and the primary that it leads to.
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

    /// A connection whose commands may take `response_timeout`; without one, for reads that wait at the server.
    ///
    /// # Errors
    /// As the client's; and `Unavailable` if the server is a replica.
    pub(crate) async fn dial(&self, response_timeout: Option<Duration>, purpose: Purpose) -> Result<Connection> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.settings.connect_timeout))
            .set_response_timeout(response_timeout);
        let dialled = async {
            let dialled = self.client.get_multiplexed_async_connection_with_config(&config).await;
            self.prepare(dialled.map_err(|error| self.address.error(&error))?, purpose).await
        };
        // The client's own timeout does not cover every step of a handshake.
        match tokio::time::timeout(2 * self.settings.connect_timeout, dialled).await {
            Ok(connection) => connection,
            Err(elapsed) => Err(self.address.silent("did not take the connection", elapsed)),
        }
    }

    /// Asks who the server is, and gets the connection ready, in one round trip.
    async fn prepare(&self, mut wire: MultiplexedConnection, purpose: Purpose) -> Result<Connection> {
        let mut pipeline = match purpose {
            Purpose::Scripts => scripts::load_all(),
            Purpose::Looks | Purpose::Bus => Pipeline::new(),
        };
        let loads = pipeline.len();
        pipeline.cmd("INFO").arg("server").cmd("INFO").arg("replication");
        let replies = wire.send_packed_commands(&pipeline, 0, pipeline.len()).await;
        let mut replies = replies.map_err(|error| self.address.error(&error))?.into_iter();
        for reply in replies.by_ref().take(loads) {
            self.address.check(reply)?;
        }
        let identity = Arc::new(Identity::read(&self.address, replies)?);
        if purpose == Purpose::Looks {
            leave_untouched(&mut wire).await.map_err(|error| self.address.error(&error))?;
        }
        Ok(Connection { wire, identity })
    }
}

impl Connection {
    /// A reply to a command that leaves nothing to be checked but errors of the server.
    pub(crate) async fn send(&mut self, command: &redis::Cmd) -> Result<Value, RedisError> {
        self.wire.send_packed_command(command).await.and_then(refused)
    }
}

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Commands of all kinds, scripts among them.
    Scripts,
    /// Looks, which must not count as a use of what they look at.
    Looks,
    /// Reads of the bus.
    Bus,
}

/// Asks the server not to count this connection's reads as uses. One that is too old for it (Redis before 7.2), or does
/// not allow it, refuses: then a look counts as a read does.
async fn leave_untouched(connection: &mut MultiplexedConnection) -> Result<(), RedisError> {
    let mut command = redis::cmd("CLIENT");
    command.arg("NO-TOUCH").arg("ON");
    match connection.send_packed_command(&command).await.and_then(refused) {
        Ok(_) => Ok(()),
        Err(error) if is_connection_lost(&error) => Err(error),
        Err(refusal) => {
            tracing::debug!(%refusal, "this Redis cannot be looked into without a trace: looks count as uses");
            Ok(())
        }
    }
}

impl fmt::Debug for Dialer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The address, and not the login that stands beside it.
        f.debug_struct("Dialer").field("address", &self.address).field("settings", &self.settings).finish()
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("identity", &self.identity).finish_non_exhaustive()
    }
}
