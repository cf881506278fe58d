//! The readers' way to a place: over the connection to the one server, or to the node of a cluster that has the place.
//!
//! Both kinds behave alike for their users. What differs is the extent of a failure: of one server
//! all places are lost together, of a cluster those of one node.

use std::sync::Arc;

use cachefront_core::store::ServerId;
use cachefront_core::{Error, Result};
use redis::RedisError;
use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::cluster::ClusterLink;
use crate::conn::{Dialer, Purpose};
use crate::error::Address;
use crate::link::{Link, Live};
use crate::topology::{NodeAddress, Nodes};

/// Where connections are opened to.
#[derive(Clone, Debug)]
pub(crate) enum Servers {
    /// One server has every place.
    One(Arc<Dialer>),
    /// The nodes of a cluster.
    Cluster(Arc<Nodes>),
}

/// The readers' connections. Users take the current connection to a place with [`live`](Route::live), report its failure with
/// [`failed`](Route::failed), and never wait for a reconnect.
#[derive(Clone, Debug)]
pub(crate) enum Route {
    One(Link),
    Cluster(ClusterLink),
}

impl Servers {
    /// The server or the cluster, for messages.
    pub(crate) fn address(&self) -> &Address {
        match self {
            Self::One(dialer) => dialer.address(),
            Self::Cluster(nodes) => nodes.address(),
        }
    }

    /// Opens the readers' connections. Background tasks run in the runtime that calls it. Nodes of a cluster are looked for at
    /// those in `known` too.
    ///
    /// # Errors
    /// The error of the first connection that cannot be opened. For peeks a node of a cluster may be away.
    pub(crate) async fn open(&self, purpose: Purpose, known: &[NodeAddress]) -> Result<Route> {
        match self {
            Self::One(dialer) => Link::open(Dialer::clone(dialer), purpose).await.map(Route::One),
            Self::Cluster(nodes) => ClusterLink::open(Arc::clone(nodes), purpose, known).await.map(Route::Cluster),
        }
    }
}

impl Route {
    /// Returns the current connection to a place.
    ///
    /// # Errors
    /// The reason why there is none.
    pub(crate) fn live(&self, place: usize) -> Result<Live> {
        match self {
            Self::One(link) => link.live(),
            Self::Cluster(cluster) => cluster.live(place),
        }
    }

    /// A connection to each node.
    ///
    /// For commands that concern no place, such as `SCAN`.
    pub(crate) fn all(&self) -> Vec<Result<Live>> {
        match self {
            Self::One(link) => vec![link.live()],
            Self::Cluster(cluster) => cluster.all(),
        }
    }

    /// Converts an error of a connection into the caller's error, and replaces the connection if it is lost.
    pub(crate) fn failed(&self, live: &Live, error: &RedisError) -> Error {
        match self {
            Self::One(link) => link.failed(live, error),
            Self::Cluster(cluster) => cluster.failed(live, error),
        }
    }

    /// Replaces a connection that cannot be used any more. `reason` is what readers get until it is replaced.
    pub(crate) fn discard(&self, live: &Live, reason: &Error) {
        match self {
            Self::One(link) => link.discard(live, reason),
            Self::Cluster(cluster) => cluster.discard(live, reason),
        }
    }

    /// Brings readers to the server that the bus was found on.
    pub(crate) fn follow(&self, server: ServerId) {
        match self {
            Self::One(link) => link.follow(server),
            Self::Cluster(cluster) if *cluster.server().borrow() != server => cluster.refresh(),
            Self::Cluster(_) => {}
        }
    }

    /// Subscribes to the identity of the servers, which is `UNKNOWN` while one is being replaced.
    pub(crate) fn server(&self) -> watch::Receiver<ServerId> {
        match self {
            Self::One(link) => link.server(),
            Self::Cluster(cluster) => cluster.server().subscribe(),
        }
    }

    /// The identity of the servers now.
    pub(crate) fn server_now(&self) -> ServerId {
        match self {
            Self::One(link) => link.server_now(),
            Self::Cluster(cluster) => *cluster.server().borrow(),
        }
    }

    /// The nodes of the cluster as readers know them, which its URL may not name; none if there is one server.
    pub(crate) fn known_nodes(&self) -> Vec<NodeAddress> {
        match self {
            Self::One(_) => Vec::new(),
            Self::Cluster(cluster) => cluster.known_nodes(),
        }
    }

    /// True for a cluster.
    pub(crate) fn is_cluster(&self) -> bool {
        matches!(self, Self::Cluster(_))
    }

    /// The server, for messages.
    pub(crate) fn address(&self) -> &Address {
        match self {
            Self::One(link) => link.address(),
            Self::Cluster(cluster) => cluster.nodes().address(),
        }
    }

    /// The runtime for background tasks of the store.
    pub(crate) fn runtime(&self) -> &Handle {
        match self {
            Self::One(link) => link.runtime(),
            Self::Cluster(cluster) => cluster.runtime(),
        }
    }
}
