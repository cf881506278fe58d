//! A writer's connections: one to each server that has a place, opened together, of no use after the first error of any.
//!
//! In a cluster, the writer reads the topology when it is opened and never again: `MOVED` is an error, and with it the
//! session of the invalidator ends. So a batch goes to one set of servers, each with one replication id ("Batch order").
//! While a slot is being moved (`ASK`, `TRYAGAIN`) the topology is still the same: such replies are returned, and a command
//! on one key is repeated at the node that the key may have gone to ([`ask`](Wires::ask)).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cachefront_core::store::ServerId;
use cachefront_core::{Error, Result};
use futures_util::future::try_join_all;
use redis::{Cmd, Pipeline, RedisError, Value};

use crate::conn::{Connection, Purpose};
use crate::error::{into_result, is_connection_lost, is_moving, is_redirect};
use crate::route::{Route, Servers};
use crate::scripts;
use crate::shared::Shared;
use crate::topology::{NodeAddress, identity_of};

/// The connections of one writer.
#[derive(Debug)]
pub(crate) struct Wires {
    shared: Arc<Shared>,
    nodes: Vec<Connection>,
    /// For each place the index of its node; empty if there is one server.
    place: Vec<usize>,
    server: ServerId,
    /// For each place whose slot was found to be moved, the node that it is moved to.
    targets: Mutex<BTreeMap<usize, Connection>>,
}

/// The shards that are parked.
#[derive(Debug, Default)]
pub(crate) struct Parked(Mutex<BTreeSet<usize>>);

impl Parked {
    /// The shards. No code panics while it holds the lock.
    pub(crate) fn shards(&self) -> MutexGuard<'_, BTreeSet<usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// True for a shard that is parked.
    pub(crate) fn has(&self, shard: usize) -> bool {
        self.shards().contains(&shard)
    }
}

impl Wires {
    /// Opens the connections.
    ///
    /// # Errors
    /// The error of a server that cannot be reached; `Unavailable` if a slot has no node.
    pub(crate) async fn open(shared: Arc<Shared>) -> Result<Self> {
        let timeout = Some(shared.settings.writer_response_timeout);
        match &shared.servers {
            Servers::One(dialer) => {
                let connection = dialer.dial(timeout, Purpose::Scripts).await?;
                let server = connection.identity.server();
                Ok(Self { shared, nodes: vec![connection], place: Vec::new(), server, targets: Mutex::default() })
            }
            Servers::Cluster(nodes) => {
                let topology = nodes.topology(&shared.reads.route.known_nodes()).await?;
                let place: Option<Vec<usize>> = topology.place.iter().copied().collect();
                let Some(place) = place else { return Err(nodes.unassigned()) };
                let connections = nodes.dial_all(&topology, timeout, Purpose::Scripts).await;
                let connections = connections.into_iter().collect::<Result<Vec<_>>>()?;
                let identities = place.iter().map(|node| connections.get(*node).map(|node| &node.identity));
                let server = identity_of(identities).ok_or_else(|| nodes.unassigned())?;
                Ok(Self { shared, nodes: connections, place, server, targets: Mutex::default() })
            }
        }
    }

    /// The identity of all servers together.
    pub(crate) fn server(&self) -> ServerId {
        self.server
    }

    /// The index of the server that has a place.
    fn node(&self, place: usize) -> usize {
        self.place.get(place).copied().unwrap_or_default()
    }

    /// The connection to the server that has a place.
    pub(crate) fn connection(&self, place: usize) -> &Connection {
        &self.nodes[self.node(place)]
    }

    /// The replication ids of the servers that may have a key of this place, joined by commas.
    pub(crate) fn histories(&self, place: usize) -> String {
        let mut ids = self.connection(place).identity.replication_id().to_owned();
        if let Some(target) = self.targets().get(&place) {
            ids.push(',');
            ids.push_str(target.identity.replication_id());
        }
        ids
    }

    /// No code panics while it holds the lock.
    fn targets(&self) -> MutexGuard<'_, BTreeMap<usize, Connection>> {
        self.targets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the connection to the node that an `ASK` names; the first one for a node opens it.
    async fn target(&self, place: usize, reply: &Value) -> Result<Connection> {
        let (Value::ServerError(error), Servers::Cluster(nodes)) = (reply, &self.shared.servers) else {
            return Err(self.shared.address().unexpected_reply("a command on one key"));
        };
        let error = RedisError::from(error.clone());
        let asked = self.connection(place).identity.address().to_string();
        let named = error.redirect_node().and_then(|(address, _)| NodeAddress::parse(address, &asked));
        let Some(node) = named else { return Err(self.failed(self.connection(place), &error)) };
        let address = node.to_string();
        let leads_there = |connection: &&Connection| connection.identity.address().to_string() == address;
        let mut known = self.nodes.iter().find(leads_there).cloned();
        if known.is_none() {
            known = self.targets().values().find(leads_there).cloned();
        }
        let connection = match known {
            Some(connection) => connection,
            None => nodes.dial(&node, Some(self.shared.settings.writer_response_timeout), Purpose::Scripts).await?,
        };
        tracing::debug!(place, node = address, "a slot is being moved");
        self.targets().insert(place, connection.clone());
        Ok(connection)
    }

    /// Sends a command on one key of a place to the node that an `ASK` names. `build` is called when that node is known.
    ///
    /// # Errors
    /// The error of that node; that of the first one, if its reply was no `ASK`.
    pub(crate) async fn ask(&self, place: usize, reply: &Value, build: impl FnOnce() -> Cmd) -> Result<Value> {
        let connection = self.target(place, reply).await?;
        let mut pipeline = Pipeline::with_capacity(2);
        pipeline.cmd("ASKING").add_command(build());
        // Its scripts were loaded when it was opened.
        let replies = connection.wire.clone().send_packed_commands(&pipeline, 0, pipeline.len()).await;
        let replies = replies.map_err(|error| self.failed(&connection, &error))?;
        let mut last = Value::Nil;
        for reply in replies {
            last = into_result(reply).map_err(|error| self.failed(&connection, &error))?;
        }
        Ok(last)
    }

    /// Sends a command to each place, in one pipeline for each server, to all servers at once. The replies have the order
    /// of the commands. An error reply to any command is an error, unless it says that a slot is being moved.
    ///
    /// Servers get their pipelines concurrently. On one server the commands run in their order.
    pub(crate) async fn call_each(&self, commands: impl IntoIterator<Item = (usize, Cmd)>) -> Result<Vec<Value>> {
        let mut pipelines: Vec<(Pipeline, Vec<usize>)> = self.nodes.iter().map(|_| Default::default()).collect();
        let mut count = 0;
        for (place, command) in commands {
            let (pipeline, indexes) = &mut pipelines[self.node(place)];
            pipeline.add_command(command);
            indexes.push(count);
            count += 1;
        }
        let sent = self.nodes.iter().zip(&pipelines).map(|(node, (pipeline, _))| self.send(node, pipeline));
        let mut replies = vec![Value::Nil; count];
        for (sent, (_, indexes)) in try_join_all(sent).await?.into_iter().zip(&pipelines) {
            for (reply, index) in sent.into_iter().zip(indexes) {
                replies[*index] = reply;
            }
        }
        Ok(replies)
    }

    /// Sends one pipeline to each place, all at once. Returns the places whose slot is being moved, where not every command
    /// had its effect.
    pub(crate) async fn send_all(&self, pipelines: &[(usize, Pipeline)]) -> Result<Vec<usize>> {
        let sent = pipelines.iter().map(|(place, pipeline)| self.send(self.connection(*place), pipeline));
        let sent = try_join_all(sent).await?.into_iter().zip(pipelines);
        Ok(sent.filter(|(replies, _)| replies.iter().any(is_moving)).map(|(_, (place, _))| *place).collect())
    }

    /// Sends one command to every server, and to those that a slot is moved to.
    ///
    /// Used for `WAIT`, which concerns the connection that wrote and no key.
    pub(crate) async fn call_servers(&self, command: &Cmd) -> Result<Vec<Value>> {
        let mut pipeline = Pipeline::with_capacity(1);
        pipeline.add_command(command.clone());
        let targets: Vec<Connection> = self.targets().values().cloned().collect();
        let all = self.nodes.iter().chain(&targets);
        let sent = try_join_all(all.map(|node| self.send(node, &pipeline))).await?;
        Ok(sent.into_iter().flatten().collect())
    }

    /// Sends one pipeline. An error reply to any of its commands is an error, unless it says that a slot is being moved.
    ///
    /// # Errors
    /// The first error; `Corrupt` if the number of replies differs from the number of commands.
    async fn send(&self, connection: &Connection, pipeline: &Pipeline) -> Result<Vec<Value>> {
        if pipeline.is_empty() {
            return Ok(Vec::new());
        }
        let replies = scripts::call_all(&mut connection.wire.clone(), pipeline).await;
        let replies = replies.map_err(|error| self.failed(connection, &error))?;
        if replies.len() != pipeline.len() {
            return Err(connection.identity.address().unexpected_reply("a pipeline"));
        }
        replies.into_iter().map(|reply| self.check(connection, reply)).collect()
    }

    /// Converts an error reply into an error; any other reply is returned as it is, and so is one of a slot that is being moved.
    fn check(&self, connection: &Connection, reply: Value) -> Result<Value> {
        if is_moving(&reply) && matches!(self.shared.servers, Servers::Cluster(_)) {
            return Ok(reply);
        }
        into_result(reply).map_err(|error| self.failed(connection, &error))
    }

    /// Converts an error. Readers of a cluster are made to look for the change that this writer has noticed.
    fn failed(&self, connection: &Connection, error: &RedisError) -> Error {
        if let Route::Cluster(cluster) = &self.shared.reads.route
            && (is_redirect(error) || is_connection_lost(error))
        {
            cluster.refresh();
        }
        connection.identity.address().error(error)
    }
}
