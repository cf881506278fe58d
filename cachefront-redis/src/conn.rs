//! Connections: one that readers share and that is replaced in the background, and others that belong to one owner.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use cachefront_core::{Error, ErrorKind, Result};
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, RedisError};
use tokio::runtime::Handle;
use tokio::task::AbortHandle;

use crate::config::RedisSettings;
use crate::error::{closed, from_redis, is_connection_lost, refused};
use crate::scripts;

/// Opens connections; every timeout is set here, none is left to the client's defaults.
#[derive(Clone)]
pub(crate) struct Dialer {
    client: Client,
    settings: RedisSettings,
}

impl Dialer {
    pub(crate) fn new(client: Client, settings: RedisSettings) -> Self {
        Self { client, settings }
    }

    /// A connection whose commands may take `response_timeout`; without one, for reads that wait at the server.
    pub(crate) async fn dial(&self, response_timeout: Option<Duration>) -> Result<MultiplexedConnection> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.settings.connect_timeout))
            .set_response_timeout(response_timeout);
        let dialled = self.client.get_multiplexed_async_connection_with_config(&config);
        // The client's own timeout does not cover every step of a handshake.
        match tokio::time::timeout(2 * self.settings.connect_timeout, dialled).await {
            Ok(connection) => connection.map_err(from_redis),
            Err(elapsed) => {
                Err(Error::with_source(ErrorKind::Timeout, "Redis did not take the connection in time", elapsed))
            }
        }
    }

    async fn dial_for(&self, purpose: Purpose) -> Result<MultiplexedConnection> {
        let mut connection = self.dial(Some(self.settings.response_timeout)).await?;
        match purpose {
            Purpose::Read => scripts::load_all(&mut connection).await?,
            Purpose::Look => leave_untouched(&mut connection).await?,
        }
        Ok(connection)
    }
}

/// What a connection that is replaced in the background is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Reads, and the scripts that readers call.
    Read,
    /// Looks, which must not count as a use of what they look at.
    Look,
}

/// Asks the server not to count this connection's reads as uses. One that is too old for it (Redis before 7.2), or does
/// not allow it, refuses: then a look counts as a read does.
async fn leave_untouched(connection: &mut MultiplexedConnection) -> Result<()> {
    let mut command = redis::cmd("CLIENT");
    command.arg("NO-TOUCH").arg("ON");
    match connection.send_packed_command(&command).await.and_then(refused) {
        Ok(_) => Ok(()),
        Err(error) if is_connection_lost(&error) => Err(from_redis(error)),
        Err(refusal) => {
            tracing::debug!(%refusal, "this Redis cannot be looked into without a trace: looks count as uses");
            Ok(())
        }
    }
}

/// A connection that many share. While there is none, they are told so at once.
pub(crate) struct Link {
    shared: Arc<Shared>,
}

struct Shared {
    dialer: Dialer,
    purpose: Purpose,
    state: Mutex<State>,
    runtime: Handle,
}

struct State {
    /// How many connections there have been: a failure is reported with the number of the connection it was seen on.
    epoch: u64,
    current: Result<MultiplexedConnection>,
    redial: Option<AbortHandle>,
}

/// A connection with its number.
pub(crate) struct Live {
    pub(crate) connection: MultiplexedConnection,
    epoch: u64,
}

impl Link {
    pub(crate) async fn open(dialer: Dialer, purpose: Purpose) -> Result<Self> {
        let connection = dialer.dial_for(purpose).await?;
        let state = Mutex::new(State { epoch: 1, current: Ok(connection), redial: None });
        Ok(Self { shared: Arc::new(Shared { dialer, purpose, state, runtime: Handle::current() }) })
    }

    /// The connection of the moment.
    ///
    /// # Errors
    /// Why there is none.
    pub(crate) fn live(&self) -> Result<Live> {
        let state = self.shared.lock();
        match &state.current {
            Ok(connection) => Ok(Live { connection: connection.clone(), epoch: state.epoch }),
            Err(error) => Err(error.clone()),
        }
    }

    /// Turns what went wrong over a connection into the caller's error, and replaces the connection if it is lost.
    pub(crate) fn failed(&self, live: &Live, error: RedisError) -> Error {
        let lost = is_connection_lost(&error);
        let error = from_redis(error);
        if lost {
            self.shared.replace(live.epoch, &error);
        }
        error
    }

    pub(crate) fn runtime(&self) -> &Handle {
        &self.shared.runtime
    }
}

impl Shared {
    /// No code panics while it holds the lock.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn replace(self: &Arc<Self>, epoch: u64, error: &Error) {
        let mut state = self.lock();
        if state.epoch != epoch || state.current.is_err() {
            return;
        }
        tracing::warn!(error = %error.chain(), "the connection to Redis is lost");
        let message = "the connection to Redis is lost, a new one is being made";
        state.current = Err(Error::with_source(ErrorKind::Unavailable, message, error.clone()));
        let redial = self.runtime.spawn(redial(Arc::downgrade(self), self.dialer.clone(), self.purpose));
        state.redial = Some(redial.abort_handle());
    }
}

/// Dials until it succeeds or nobody holds the store any more.
async fn redial(shared: Weak<Shared>, dialer: Dialer, purpose: Purpose) {
    let mut pause = dialer.settings.reconnect_min;
    loop {
        let dialled = dialer.dial_for(purpose).await;
        let Some(shared) = shared.upgrade() else {
            return;
        };
        match dialled {
            Ok(connection) => {
                let mut state = shared.lock();
                state.epoch += 1;
                state.current = Ok(connection);
                state.redial = None;
                tracing::info!(epoch = state.epoch, "connected to Redis again");
                return;
            }
            Err(error) => {
                tracing::debug!(error = %error.chain(), "Redis cannot be reached yet");
                shared.lock().current = Err(error);
            }
        }
        drop(shared);
        tokio::time::sleep(pause).await;
        pause = dialer.settings.reconnect_max.min(2 * pause);
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        state.current = Err(closed());
        if let Some(redial) = state.redial.take() {
            redial.abort();
        }
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.shared.lock();
        f.debug_struct("Link").field("epoch", &state.epoch).field("connected", &state.current.is_ok()).finish()
    }
}

impl fmt::Debug for Dialer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The address, and not the login that stands beside it.
        let address = self.client.get_connection_info().addr().to_string();
        f.debug_struct("Dialer").field("address", &address).field("settings", &self.settings).finish()
    }
}
