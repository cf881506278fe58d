//! A shared connection that reconnects in the background after it was lost, or after it turned out to lead to another
//! server than the bus.
//!
//! # States
//!
//! | state | readers get | ends when |
//! |---|---|---|
//! | connected | the connection | a command fails with a lost connection, or the server is the wrong one |
//! | replacing | the reason of the loss, at once | an attempt to connect succeeds |
//! | dropped | `Closed` | never |
//!
//! A wait for the reconnect would add `connect_timeout` to each read during an outage. Failing at
//! once makes an outage of the store cost one load per read, which the load gate bounds.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use cachefront_core::backoff::Backoff;
use cachefront_core::clock::SystemEntropy;
use cachefront_core::store::ServerId;
use cachefront_core::{Error, ErrorKind, Result};
use redis::RedisError;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;

use crate::conn::{Connection, Dialer, Purpose};
use crate::error::{Address, closed, is_connection_lost};

/// A handle to the shared connection. A user takes the current connection with [`live`](Link::live), and reports its
/// failure with [`failed`](Link::failed); users never wait for a reconnect.
#[derive(Clone)]
pub(crate) struct Link {
    shared: Arc<Shared>,
}

/// The task that reconnects holds a weak reference: dropping the last handle ends it.
struct Shared {
    dialer: Dialer,
    purpose: Purpose,
    state: Mutex<State>,
    /// The server of the current connection; `UNKNOWN` while there is none.
    server: watch::Sender<ServerId>,
    /// The runtime that reconnects. A loss may be detected in another one, which may end earlier.
    runtime: Handle,
    /// One task for each Sentinel, which notices that another primary was elected. They end with the link.
    elections: Mutex<JoinSet<()>>,
}

struct State {
    /// Counts connections, so that the loss of one is not attributed to its successor.
    epoch: u64,
    /// The connection, or the error that users get until there is one.
    current: Result<Connection>,
    /// The task that reconnects, while there is one.
    reconnect: Option<AbortHandle>,
    /// An election was announced while there was no connection: the next one may lead to the former primary.
    unchecked_election: bool,
    /// When the connection was last replaced because it led to another server than the bus.
    last_diverged: Option<Instant>,
}

/// The current connection and its epoch.
pub(crate) struct Live {
    pub(crate) connection: Connection,
    pub(crate) epoch: u64,
    /// What is read over it was read from there: the server, or the set of nodes that it is one of.
    pub(crate) server: ServerId,
    /// The index of the node.
    pub(crate) node: usize,
}

impl Link {
    /// Opens the first connection. Background tasks run in the runtime that calls it.
    ///
    /// # Errors
    /// Those of [`Dialer::dial`].
    pub(crate) async fn open(dialer: Dialer, purpose: Purpose) -> Result<Self> {
        let connection = dialer.dial(Some(dialer.settings().response_timeout), purpose).await?;
        let server = watch::Sender::new(connection.identity.server());
        let state = State {
            epoch: 1,
            current: Ok(connection),
            reconnect: None,
            unchecked_election: false,
            last_diverged: None,
        };
        let state = Mutex::new(state);
        let (runtime, elections) = (Handle::current(), Mutex::default());
        let link = Self { shared: Arc::new(Shared { dialer, purpose, state, server, runtime, elections }) };
        if purpose == Purpose::Readers {
            link.follow_elections();
        }
        Ok(link)
    }

    /// Starts the tasks that replace the connection when the Sentinels name another primary. The other connections follow:
    /// those of the bus and for peeks, because the readers' server is another one, and a writer's for the same reason.
    fn follow_elections(&self) {
        let Some(sentinels) = self.shared.dialer.sentinels() else { return };
        let mut tasks = self.shared.elections.lock().unwrap_or_else(PoisonError::into_inner);
        for index in 0..sentinels.len() {
            let (link, sentinels) = (Arc::downgrade(&self.shared), Arc::clone(sentinels));
            let settings = *self.shared.dialer.settings();
            tasks.spawn_on(
                async move { sentinels.switched(index, &settings, || elected(Weak::clone(&link))).await },
                &self.shared.runtime,
            );
        }
    }

    /// Returns the current connection.
    ///
    /// # Errors
    /// The reason why there is none.
    pub(crate) fn live(&self) -> Result<Live> {
        let state = self.shared.lock();
        match &state.current {
            Ok(connection) => {
                let server = connection.identity.server();
                Ok(Live { connection: connection.clone(), epoch: state.epoch, server, node: 0 })
            }
            Err(error) => Err(error.clone()),
        }
    }

    /// Converts an error of a connection into the caller's error, and replaces the connection if it is lost.
    ///
    /// An error that concerns the command only, such as a lacking right, keeps the connection.
    pub(crate) fn failed(&self, live: &Live, error: &RedisError) -> Error {
        let lost = is_connection_lost(error);
        let error = self.shared.dialer.address().error(error);
        if lost {
            self.discard(live, &error);
        }
        error
    }

    /// Replaces a connection that cannot be used any more. `reason` is what readers get until it is replaced.
    pub(crate) fn discard(&self, live: &Live, reason: &Error) {
        let state = self.shared.lock();
        if state.epoch == live.epoch && state.current.is_ok() {
            self.shared.replace(state, reason);
        }
    }

    /// Replaces the connection if it leads to another server than `server`, which is the server of the bus. It does so at
    /// most once per `bus_block`, because a name with several addresses may lead to two servers permanently.
    pub(crate) fn follow(&self, server: ServerId) {
        let mut state = self.shared.lock();
        let diverged = matches!(&state.current, Ok(connection) if !connection.identity.server().is_same(server));
        let pause = self.shared.dialer.settings().bus_block;
        let recently = state.last_diverged.is_some_and(|last| last.elapsed() < pause);
        if diverged && !recently {
            state.last_diverged = Some(Instant::now());
            let reason = self.shared.dialer.address().unavailable("is another server for readers than for the bus");
            self.shared.replace(state, &reason);
        }
    }

    /// Subscribes to the identity of the server, which is `UNKNOWN` while the connection is being replaced.
    pub(crate) fn server(&self) -> watch::Receiver<ServerId> {
        self.shared.server.subscribe()
    }

    /// The identity of the server now; `UNKNOWN` while the connection is being replaced.
    pub(crate) fn server_now(&self) -> ServerId {
        *self.shared.server.borrow()
    }

    pub(crate) fn address(&self) -> &Address {
        self.shared.dialer.address()
    }

    /// The runtime for background tasks of the store.
    pub(crate) fn runtime(&self) -> &Handle {
        &self.shared.runtime
    }
}

impl Shared {
    /// No code panics while it holds the lock.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Drops the connection and starts a task that reconnects.
    ///
    /// Concurrent readers that fail on the same connection come here once: the epoch and the state
    /// are compared under the lock.
    fn replace(self: &Arc<Self>, mut state: MutexGuard<'_, State>, reason: &Error) {
        tracing::warn!(error = %reason.chain(), "the connection to Redis was lost and is being replaced");
        let message = format!("the connection to Redis at {} is being replaced", self.dialer.address());
        state.current = Err(Error::with_source(ErrorKind::Unavailable, message, reason.clone()));
        self.server.send_replace(ServerId::UNKNOWN);
        let task = self.runtime.spawn(reconnect(Arc::downgrade(self), self.dialer.clone(), self.purpose));
        state.reconnect = Some(task.abort_handle());
    }
}

/// Replaces the connection if the Sentinels name another primary than the one that it leads to. Returns false if the link
/// was dropped.
///
/// The Sentinels are asked because a message only says that something changed: it may come from a
/// Sentinel that is behind the others.
async fn elected(link: Weak<Shared>) -> bool {
    let Some(shared) = link.upgrade() else { return false };
    let Some(sentinels) = shared.dialer.sentinels() else { return false };
    let primary = sentinels.primary(shared.dialer.settings()).await;
    let mut state = shared.lock();
    let Ok(connection) = &state.current else {
        // The address that is being dialed was perhaps found before the election.
        state.unchecked_election = true;
        return true;
    };
    if primary.is_ok_and(|(_, address)| *connection.identity.address() != address) {
        let reason = shared.dialer.address().unavailable("has another server as its primary");
        shared.replace(state, &reason);
    }
    true
}

/// Tries to connect until it succeeds or the store is dropped.
///
/// The pause between two attempts grows from `reconnect_min` to `reconnect_max`, with a random
/// part.
async fn reconnect(shared: Weak<Shared>, dialer: Dialer, purpose: Purpose) {
    let settings = *dialer.settings();
    let mut backoff = Backoff::new(settings.reconnect_min, settings.reconnect_max);
    loop {
        let dialed = dialer.dial(Some(settings.response_timeout), purpose).await;
        let Some(shared) = shared.upgrade() else {
            return;
        };
        match dialed {
            Ok(connection) => {
                let mut state = shared.lock();
                state.epoch += 1;
                shared.server.send_replace(connection.identity.server());
                tracing::info!(epoch = state.epoch, server = ?connection.identity, "reconnected to Redis");
                state.current = Ok(connection);
                state.reconnect = None;
                if std::mem::take(&mut state.unchecked_election) {
                    shared.runtime.spawn(elected(Arc::downgrade(&shared)));
                }
                return;
            }
            Err(error) => {
                tracing::debug!(error = %error.chain(), "an attempt to reconnect to Redis failed");
                shared.lock().current = Err(error);
            }
        }
        drop(shared);
        tokio::time::sleep(backoff.next_pause(&SystemEntropy)).await;
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        state.current = Err(closed());
        if let Some(task) = state.reconnect.take() {
            task.abort();
        }
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.shared.lock();
        f.debug_struct("Link").field("epoch", &state.epoch).field("connected", &state.current.is_ok()).finish()
    }
}
