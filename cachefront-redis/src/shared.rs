//! What readers, writers and the bus of one store share: connections, key names, settings and the hub.
//!
//! Several caches on one store share this value: they have one connection for reads, one reader of
//! the bus, and one queue per shard. So the number of connections of a process does not grow with
//! its caches.

use std::sync::Arc;

use cachefront_core::bus::Hub;
use cachefront_core::store::ServerId;
use cachefront_core::{Result, StoreKey};
use redis::{Cmd, Pipeline, RedisWrite, Value};
use tokio::sync::{Mutex as AsyncMutex, OnceCell};

use crate::config::RedisSettings;
use crate::conn::{Dialer, Purpose};
use crate::error::{Address, closed, into_result};
use crate::keys::KeySpace;
use crate::link::Live;
use crate::push::Pushes;
use crate::reads::Reads;
use crate::route::{Route, Servers};
use crate::scripts;

/// One per store; clones of the store point to it, and the last one that is dropped closes the
/// connections.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) reads: Arc<Reads>,
    peeks: Peeks,
    pub(crate) servers: Servers,
    pub(crate) settings: RedisSettings,
    pub(crate) hub: Arc<Hub>,
    /// The connections for readers that wait for a load of another process.
    pub(crate) pushes: Pushes,
}

/// The connection for peeks. Most processes never open it.
#[derive(Debug, Default)]
struct Peeks {
    reads: Arc<OnceCell<Arc<Reads>>>,
    /// Held while the connection is being opened. Those that wait for it begin no attempt after they have left.
    opening: Arc<AsyncMutex<()>>,
}

impl Shared {
    pub(crate) fn new(reads: Arc<Reads>, servers: Servers, settings: RedisSettings) -> Self {
        Self { reads, peeks: Peeks::default(), servers, settings, hub: Arc::new(Hub::new()), pushes: Pushes::default() }
    }

    pub(crate) fn keys(&self) -> &KeySpace {
        &self.reads.keys
    }

    pub(crate) fn address(&self) -> &Address {
        self.servers.address()
    }

    /// Returns the connection for peeks; the first call opens it.
    ///
    /// # Errors
    /// `Timeout` after `connect_timeout`, or the error of the connection. The next call tries
    /// again, or waits for the attempt that goes on.
    pub(crate) async fn peeks(&self) -> Result<Arc<Reads>> {
        if let Some(peeks) = self.peeks.reads.get() {
            return Ok(Arc::clone(peeks));
        }
        match tokio::time::timeout(self.settings.connect_timeout, self.open_peeks()).await {
            Ok(peeks) => peeks,
            Err(elapsed) => Err(self.address().timed_out("did not accept the connection", elapsed)),
        }
    }

    /// Opens the connection in a task of the store's runtime: the one that peeks first may end earlier.
    async fn open_peeks(&self) -> Result<Arc<Reads>> {
        let turn = Arc::clone(&self.peeks.opening).lock_owned().await;
        let (reads, servers, keys) = (Arc::clone(&self.peeks.reads), self.servers.clone(), self.keys().clone());
        let (known, settings) = (self.reads.route.known_nodes(), self.settings);
        let opened = self.reads.route.runtime().spawn(async move {
            let _turn = turn;
            let open = reads.get_or_try_init(async || {
                let route = servers.open(Purpose::Peeks, &known).await?;
                Ok(Arc::new(Reads::new(route, keys, &settings)))
            });
            open.await.map(Arc::clone)
        });
        opened.await.unwrap_or_else(|_| Err(closed()))
    }

    /// Makes readers reconnect if they are on another server than `server`, which the bus was found on.
    pub(crate) fn follow(&self, server: ServerId) {
        self.reads.route.follow(server);
        if let Some(peeks) = self.peeks.reads.get() {
            peeks.route.follow(server);
        }
    }

    /// Returns what opens connections to the server that a connection leads to.
    ///
    /// # Errors
    /// `Unavailable` if that node of a cluster may have been replaced.
    pub(crate) fn dialer_to(&self, live: &Live) -> Result<Dialer> {
        match (&self.servers, &self.reads.route) {
            (Servers::One(dialer), _) => Ok(Dialer::clone(dialer)),
            (Servers::Cluster(_), Route::Cluster(cluster)) => cluster.dialer(live),
            (Servers::Cluster(_), Route::One(_)) => Err(closed()),
        }
    }

    /// Sends one command over one of the readers' connections.
    ///
    /// # Errors
    /// The core's error; a lost connection is replaced.
    pub(crate) async fn send_over(&self, live: &mut Live, command: &Cmd) -> Result<Value> {
        let reply = live.connection.send(command).await;
        reply.map_err(|error| self.reads.route.failed(live, &error))
    }

    /// Calls a script over the readers' connection to a place.
    pub(crate) async fn call(&self, place: usize, command: &Cmd) -> Result<Value> {
        self.call_over(&self.reads.route.live(place)?, command).await
    }

    /// Calls a script over a connection that was returned by [`Route::live`](crate::route::Route::live).
    ///
    /// # Errors
    /// As [`send_over`](Self::send_over).
    pub(crate) async fn call_over(&self, live: &Live, command: &Cmd) -> Result<Value> {
        let reply = scripts::call(&mut live.connection.wire.clone(), command).await.and_then(into_result);
        reply.map_err(|error| self.reads.route.failed(live, &error))
    }

    /// Sends commands that concern one place in one pipeline, which must not depend on each other's order, and returns
    /// their replies.
    ///
    /// # Errors
    /// The first error reply, or the error of the connection. The other commands may have been run.
    pub(crate) async fn call_all(&self, place: usize, calls: &Pipeline) -> Result<Vec<Value>> {
        let mut live = self.reads.route.live(place)?;
        let replies = scripts::call_all(&mut live.connection.wire, calls).await;
        let replies = replies.and_then(|replies| replies.into_iter().map(into_result).collect::<Result<Vec<_>, _>>());
        replies.map_err(|error| self.reads.route.failed(&live, &error))
    }
}

/// The commands that remove keys: one pipeline for each shard that has any, with as few commands as the limit permits.
pub(crate) fn unlink(space: &KeySpace, keys: &[StoreKey], keys_per_command_max: usize) -> Vec<(usize, Pipeline)> {
    let pipeline = |(shard, keys): (usize, Vec<(usize, &StoreKey)>)| {
        let mut pipeline = Pipeline::with_capacity(keys.len().div_ceil(keys_per_command_max));
        for chunk in keys.chunks(keys_per_command_max) {
            let bytes: usize = chunk.iter().map(|(_, key)| space.name_bytes(shard, key)).sum();
            let mut command = Cmd::with_capacity(chunk.len() + 1, bytes + 6);
            command.write_arg(b"UNLINK");
            for (_, key) in chunk {
                space.write(&mut command, shard, key);
            }
            pipeline.add_command(command);
        }
        (shard, pipeline)
    };
    space.by_shard(keys).into_iter().map(pipeline).filter(|(_, pipeline)| !pipeline.is_empty()).collect()
}
