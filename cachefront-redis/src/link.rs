//! The connection that readers share. It is replaced in the background when it is lost, or when it leads to another
//! server than the bus.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use cachefront_core::store::ServerId;
use cachefront_core::{Error, ErrorKind, Result};
use redis::RedisError;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::conn::{Connection, Dialer, Purpose};
use crate::error::{closed, is_connection_lost};

#[derive(Clone)]
pub(crate) struct Link {
    shared: Arc<Shared>,
}

struct Shared {
    dialer: Dialer,
    purpose: Purpose,
    state: Mutex<State>,
    /// The server of the connection of the moment; unknown while there is none.
    server: watch::Sender<ServerId>,
    /// Where connections are made again, independent of the runtime in which a loss is noticed.
    runtime: Handle,
}

struct State {
    /// Counts connections, so that a loss is told apart from the loss of the one after it.
    epoch: u64,
    current: Result<Connection>,
    redial: Option<AbortHandle>,
    /// When a connection was last replaced because it led to another server than the bus.
    parted: Option<Instant>,
}

/// A connection with its number.
pub(crate) struct Live {
    pub(crate) connection: Connection,
    epoch: u64,
}

impl Link {
    pub(crate) async fn open(dialer: Dialer, purpose: Purpose) -> Result<Self> {
        let connection = dialer.dial(Some(dialer.settings().response_timeout), purpose).await?;
        let server = watch::Sender::new(connection.identity.server());
        let state = Mutex::new(State { epoch: 1, current: Ok(connection), redial: None, parted: None });
        Ok(Self { shared: Arc::new(Shared { dialer, purpose, state, server, runtime: Handle::current() }) })
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
    pub(crate) fn failed(&self, live: &Live, error: &RedisError) -> Error {
        let lost = is_connection_lost(error);
        let error = self.shared.dialer.address().error(error);
        if lost {
            self.leave(live, &error);
        }
        error
    }

    /// Replaces a connection that is of no more use, for this reason.
    pub(crate) fn leave(&self, live: &Live, reason: &Error) {
        let state = self.shared.lock();
        if state.epoch == live.epoch && state.current.is_ok() {
            self.shared.replace(state, reason);
        }
    }

    /// Replaces a connection that leads to another server than `server`, where the bus was found. It does so only once
    /// in a while: two names, or one with two addresses, may lead to two servers for long.
    pub(crate) fn join(&self, server: ServerId) {
        let mut state = self.shared.lock();
        let apart = matches!(&state.current, Ok(connection) if !connection.identity.server().is_same(server));
        let lately = state.parted.is_some_and(|parted| parted.elapsed() < self.shared.dialer.settings().bus_block);
        if apart && !lately {
            state.parted = Some(Instant::now());
            let address = self.shared.dialer.address();
            let reason = format!("Redis at {address} is another server for readers than for the bus");
            self.shared.replace(state, &Error::new(ErrorKind::Unavailable, reason));
        }
    }

    /// Follows which server it leads to; unknown while it is being replaced.
    pub(crate) fn server(&self) -> watch::Receiver<ServerId> {
        self.shared.server.subscribe()
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

    fn replace(self: &Arc<Self>, mut state: MutexGuard<'_, State>, reason: &Error) {
        tracing::warn!(error = %reason.chain(), "the connection to Redis is replaced");
        let message = format!("Redis at {}: a new connection is being made", self.dialer.address());
        state.current = Err(Error::with_source(ErrorKind::Unavailable, message, reason.clone()));
        self.server.send_replace(ServerId::UNKNOWN);
        let redial = self.runtime.spawn(redial(Arc::downgrade(self), self.dialer.clone(), self.purpose));
        state.redial = Some(redial.abort_handle());
    }
}

/// Dials until it succeeds or the store is dropped.
async fn redial(shared: Weak<Shared>, dialer: Dialer, purpose: Purpose) {
    let settings = *dialer.settings();
    let mut pause = settings.reconnect_min;
    loop {
        let dialled = dialer.dial(Some(settings.response_timeout), purpose).await;
        let Some(shared) = shared.upgrade() else {
            return;
        };
        match dialled {
            Ok(connection) => {
                let mut state = shared.lock();
                state.epoch += 1;
                shared.server.send_replace(connection.identity.server());
                tracing::info!(epoch = state.epoch, server = ?connection.identity, "connected to Redis again");
                state.current = Ok(connection);
                state.redial = None;
                return;
            }
            Err(error) => {
                tracing::debug!(error = %error.chain(), "Redis cannot be reached yet");
                shared.lock().current = Err(error);
            }
        }
        drop(shared);
        tokio::time::sleep(pause).await;
        pause = settings.reconnect_max.min(2 * pause);
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
