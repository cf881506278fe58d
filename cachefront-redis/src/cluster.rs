//! The readers' connections to a cluster: one for each node that has a place, replaced in the background.
//!
//! What readers use is one immutable [`View`]: for each place a connection, or the reason why there is none. A node that
//! cannot be reached costs the reads of its own shards, and no others. The view has an identity, a hash over which server
//! has which place ([`identity_of`]): to the core a cluster whose places are all where they were is one server, and after
//! a failover of one node or a move of one slot it is another one ("One server").
//!
//! # How a change of the cluster is noticed
//! - A redirect (`MOVED`) or `CLUSTERDOWN` in reply to a command: the topology is read again.
//! - A lost connection to a node: its places have no connection, and the topology is read again.
//! - A message on the bus that names another set of nodes: the topology is read again.
//!
//! Until the new view is installed, commands to the places concerned fail at once. Reads of them
//! are loads from the database, at most for the time that the failover of the node takes.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use cachefront_core::backoff::Backoff;
use cachefront_core::clock::SystemEntropy;
use cachefront_core::store::ServerId;
use cachefront_core::{Error, Result};
use redis::RedisError;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use crate::conn::{Connection, Dialer, Purpose};
use crate::error::{closed, is_connection_lost, is_redirect};
use crate::link::Live;
use crate::topology::{NodeAddress, Nodes, Topology, identity_of};

/// A handle to the connections.
#[derive(Clone)]
pub(crate) struct ClusterLink {
    shared: Arc<Shared>,
}

/// The handles of the store own it; the task that reads the topology holds a weak reference, and
/// ends soon after the last handle is dropped.
struct Shared {
    nodes: Arc<Nodes>,
    purpose: Purpose,
    state: Mutex<State>,
    /// The identity of the current view; `UNKNOWN` while a place has no connection.
    server: watch::Sender<ServerId>,
    runtime: Handle,
}

struct State {
    /// Counts views, so that the failure of one is not attributed to its successor.
    epoch: u64,
    view: Arc<View>,
    /// The task that reads the topology, while there is one.
    refresh: Option<AbortHandle>,
    /// A failure came while the task ran: it runs once more.
    again: bool,
}

/// The connections of one moment.
///
/// A reader takes the connection and the identity from the same view. So a value is never
/// attributed to a set of nodes that it was not read from.
struct View {
    topology: Topology,
    /// In the order of the topology's nodes.
    connections: Vec<Result<Connection>>,
    server: ServerId,
}

impl View {
    fn new(topology: Topology, connections: Vec<Result<Connection>>) -> Self {
        let identity = |node: &Option<usize>| {
            connections.get((*node)?).and_then(|connection| Some(&connection.as_ref().ok()?.identity))
        };
        let server = identity_of(topology.place.iter().map(identity)).unwrap_or(ServerId::UNKNOWN);
        Self { topology, connections, server }
    }

    /// True if every place has a connection.
    fn is_complete(&self) -> bool {
        self.server != ServerId::UNKNOWN
    }

    /// True if the other view has the same nodes, and the same connections to them.
    fn is_same(&self, other: &Self) -> bool {
        let is_kept = |(one, other): (&Result<Connection>, &Result<Connection>)| match (one, other) {
            (Ok(one), Ok(other)) => Arc::ptr_eq(&one.identity, &other.identity),
            (Err(_), Err(_)) => true,
            _ => false,
        };
        self.topology == other.topology && self.connections.iter().zip(&other.connections).all(is_kept)
    }
}

impl ClusterLink {
    /// Reads the topology and opens the first connections.
    ///
    /// # Errors
    /// The error of a node, if one of those that have a place cannot be reached.
    ///
    /// Every node must be reachable once: a wrong password or certificate is reported when the
    /// store is built and not by the first read of an unlucky key. Peeks come later: to them a node that is away
    /// is one that was lost.
    pub(crate) async fn open(nodes: Arc<Nodes>, purpose: Purpose, known: &[NodeAddress]) -> Result<Self> {
        let topology = nodes.topology(known).await?;
        let timeout = Some(nodes.settings().response_timeout);
        let connections = nodes.dial_all(&topology, timeout, purpose).await;
        let failure = connections.iter().find_map(|connection| connection.as_ref().err()).cloned();
        let view = View::new(topology, connections);
        let complete = view.is_complete();
        if !complete && purpose != Purpose::Peeks {
            return Err(failure.unwrap_or_else(|| nodes.unassigned()));
        }
        let server = watch::Sender::new(view.server);
        let state = Mutex::new(State { epoch: 1, view: Arc::new(view), refresh: None, again: false });
        let link = Self { shared: Arc::new(Shared { nodes, purpose, state, server, runtime: Handle::current() }) };
        if !complete {
            link.refresh();
        }
        Ok(link)
    }

    /// The nodes of the last topology.
    pub(crate) fn known_nodes(&self) -> Vec<NodeAddress> {
        self.shared.lock().view.topology.nodes.clone()
    }

    /// Returns the connection to the node that has a place.
    ///
    /// # Errors
    /// The reason why there is none.
    pub(crate) fn live(&self, place: usize) -> Result<Live> {
        let state = self.shared.lock();
        let node = state.view.topology.place.get(place).copied().flatten();
        let Some(node) = node else { return Err(self.shared.nodes.unassigned()) };
        match state.view.connections.get(node) {
            Some(Ok(connection)) => {
                Ok(Live { connection: connection.clone(), epoch: state.epoch, server: state.view.server, node })
            }
            Some(Err(error)) => Err(error.clone()),
            None => Err(self.shared.nodes.unassigned()),
        }
    }

    /// A connection to each node, for commands that concern no place.
    pub(crate) fn all(&self) -> Vec<Result<Live>> {
        let state = self.shared.lock();
        let live = |(node, connection): (usize, &Result<Connection>)| {
            let connection = connection.as_ref().map_err(Clone::clone)?.clone();
            Ok(Live { connection, epoch: state.epoch, server: state.view.server, node })
        };
        state.view.connections.iter().enumerate().map(live).collect()
    }

    /// Converts an error of a connection into the caller's error. A lost connection is replaced, and after a redirect the
    /// topology is read again.
    ///
    /// While a slot is being moved the node replies `ASK` or `TRYAGAIN`. These are errors of the
    /// command only: the topology changes when the move is complete.
    pub(crate) fn failed(&self, live: &Live, error: &RedisError) -> Error {
        let converted = live.connection.identity.address().error(error);
        if is_connection_lost(error) {
            self.discard(live, &converted);
        } else if is_redirect(error) {
            self.refresh();
        }
        converted
    }

    /// Replaces a connection that cannot be used any more. `reason` is what readers get until it is replaced.
    pub(crate) fn discard(&self, live: &Live, reason: &Error) {
        let mut state = self.shared.lock();
        let is_current = state.epoch == live.epoch;
        if !is_current || !matches!(state.view.connections.get(live.node), Some(Ok(_))) {
            return;
        }
        let address = live.connection.identity.address();
        tracing::warn!(node = %address, error = %reason.chain(), "the connection to a node of the cluster was lost and is being replaced");
        let mut connections = state.view.connections.clone();
        connections[live.node] = Err(reason.clone());
        // Other failures of this view count too: the epoch stays.
        state.view = Arc::new(View::new(state.view.topology.clone(), connections));
        self.shared.server.send_replace(state.view.server);
        self.shared.refresh(&mut state);
    }

    /// Reads the topology and the identities of all nodes again, in the background.
    pub(crate) fn refresh(&self) {
        let mut state = self.shared.lock();
        self.shared.refresh(&mut state);
    }

    /// Opens a connection for a reader of the bus, to the node that readers reach the bus at. Returns the identity of the
    /// view, which messages must name.
    ///
    /// # Errors
    /// `Unavailable` if a place has no connection, or if the node is not the one that readers are connected to: then the
    /// topology is read again.
    ///
    /// # Cancel safety
    /// Cancel safe: the connection is closed.
    pub(crate) async fn dial_bus(&self, bus: usize) -> Result<(Connection, ServerId)> {
        let live = self.live(bus)?;
        let node = self.node(&live);
        let Some(node) = node.filter(|_| live.server != ServerId::UNKNOWN) else {
            return Err(self.shared.nodes.address().unavailable("has a node that readers have no connection to"));
        };
        let dialed = self.shared.nodes.dial(&node, None, Purpose::Bus).await;
        let connection = dialed.inspect_err(|_| self.refresh())?;
        if !connection.identity.server().is_same(live.connection.identity.server()) {
            self.refresh();
            return Err(self.shared.nodes.address().unavailable("has another node for the bus than for readers"));
        }
        Ok((connection, live.server))
    }

    /// Returns the address of the node that a connection leads to; `None` if the topology was read again since.
    fn node(&self, live: &Live) -> Option<NodeAddress> {
        let state = self.shared.lock();
        state.view.topology.nodes.get(live.node).cloned().filter(|_| state.epoch == live.epoch)
    }

    /// Returns what opens connections to the node of a connection.
    ///
    /// # Errors
    /// `Unavailable` if the topology was read again since.
    pub(crate) fn dialer(&self, live: &Live) -> Result<Dialer> {
        let node = self.node(live).ok_or_else(|| self.shared.nodes.unassigned())?;
        self.shared.nodes.dialer(&node)
    }

    pub(crate) fn server(&self) -> &watch::Sender<ServerId> {
        &self.shared.server
    }

    pub(crate) fn nodes(&self) -> &Arc<Nodes> {
        &self.shared.nodes
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

    /// One task runs at a time. A failure that comes while it runs may be newer than what the task
    /// has read, so the task runs once more.
    fn refresh(self: &Arc<Self>, state: &mut State) {
        if state.refresh.is_some() {
            state.again = true;
            return;
        }
        let task = self.runtime.spawn(refresh(Arc::downgrade(self), Arc::clone(&self.nodes), self.purpose));
        state.refresh = Some(task.abort_handle());
    }

    /// Installs a view, if it differs from the current one.
    ///
    /// The epoch is raised with each installed view: a failure of a connection from an earlier view
    /// then changes nothing.
    fn install(&self, view: View) {
        let mut state = self.lock();
        if !state.view.is_same(&view) {
            state.epoch += 1;
            let complete = view.is_complete();
            tracing::info!(epoch = state.epoch, complete, topology = ?view.topology.nodes, "read the topology of the cluster again");
            self.server.send_replace(view.server);
        }
        // Also with the same connections: the reasons why there are none may be newer.
        state.view = Arc::new(view);
    }

    /// Returns true if the task that reads the topology is done: every place has a connection, and nothing failed since.
    fn is_done(&self) -> bool {
        let mut state = self.lock();
        let done = state.view.is_complete() && !std::mem::take(&mut state.again);
        if done {
            state.refresh = None;
        }
        done
    }
}

/// Reads the topology until every place has a connection, or the store is dropped.
///
/// Pauses are those of a reconnect, `reconnect_min` up to `reconnect_max`.
async fn refresh(shared: Weak<Shared>, nodes: Arc<Nodes>, purpose: Purpose) {
    let settings = *nodes.settings();
    let mut backoff = Backoff::new(settings.reconnect_min, settings.reconnect_max);
    loop {
        let Some(view) = shared.upgrade().map(|shared| Arc::clone(&shared.lock().view)) else { return };
        match nodes.topology(&view.topology.nodes).await {
            Ok(topology) => {
                let connections = connect(&nodes, &view, &topology, purpose).await;
                drop(view);
                let Some(shared) = shared.upgrade() else { return };
                shared.install(View::new(topology, connections));
            }
            Err(error) => {
                tracing::debug!(error = %error.chain(), "the topology of the cluster cannot be read");
            }
        }
        // The topology is not read more often than this, however many commands are redirected.
        tokio::time::sleep(backoff.next_pause(&SystemEntropy)).await;
        if shared.upgrade().is_none_or(|shared| shared.is_done()) {
            return;
        }
    }
}

/// Keeps the connections whose server is still the same, and opens the others.
///
/// A connection is kept only if `INFO` shows the same run id and replication id: a node that was
/// demoted and promoted again meanwhile has another history under the same address.
async fn connect(nodes: &Nodes, view: &View, topology: &Topology, purpose: Purpose) -> Vec<Result<Connection>> {
    let timeout = Some(nodes.settings().response_timeout);
    let connect = |node| async move {
        let index = view.topology.nodes.iter().position(|known| known == node);
        if let Some(Ok(connection)) = index.and_then(|index| view.connections.get(index))
            && connection.is_same_server().await
        {
            return Ok(connection.clone());
        }
        nodes.dial(node, timeout, purpose).await
    };
    futures_util::future::join_all(topology.nodes.iter().map(connect)).await
}

impl Drop for Shared {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        let ended = state.view.connections.iter().map(|_| Err(closed())).collect();
        state.view = Arc::new(View::new(state.view.topology.clone(), ended));
        if let Some(task) = state.refresh.take() {
            task.abort();
        }
    }
}

impl fmt::Debug for ClusterLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.shared.lock();
        let connected = state.view.connections.iter().filter(|connection| connection.is_ok()).count();
        f.debug_struct("ClusterLink")
            .field("epoch", &state.epoch)
            .field("nodes", &state.view.topology.nodes)
            .field("connected", &connected)
            .finish()
    }
}
