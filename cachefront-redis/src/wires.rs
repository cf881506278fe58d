//! A writer's connections: one to each server that has a place, opened together, of no use after the first error of any.
//!
//! In a cluster, the writer reads the topology when it is opened and never again: a redirect is an error, and with it the
//! session of the invalidator ends. So a batch goes to one set of servers, each with one replication id ("Batch order").

use std::sync::Arc;

use cachefront_core::store::ServerId;
use cachefront_core::{Error, Result};
use futures_util::future::try_join_all;
use redis::{Cmd, Pipeline, RedisError, Value};

use crate::conn::{Connection, Purpose};
use crate::error::{is_connection_lost, is_redirect};
use crate::route::{Route, Servers};
use crate::scripts;
use crate::shared::Shared;
use crate::topology::identity_of;

/// The connections of one writer.
#[derive(Debug)]
pub(crate) struct Wires {
    shared: Arc<Shared>,
    nodes: Vec<Connection>,
    /// For each place the index of its node; empty if there is one server.
    place: Vec<usize>,
    server: ServerId,
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
                Ok(Self { shared, nodes: vec![connection], place: Vec::new(), server })
            }
            Servers::Cluster(nodes) => {
                let topology = nodes.topology(&[]).await?;
                let place: Option<Vec<usize>> = topology.place.iter().copied().collect();
                let Some(place) = place else { return Err(nodes.unassigned()) };
                let connections = nodes.dial_all(&topology, timeout, Purpose::Scripts).await;
                let connections = connections.into_iter().collect::<Result<Vec<_>>>()?;
                let identities = place.iter().map(|node| connections.get(*node).map(|node| &node.identity));
                let server = identity_of(identities).ok_or_else(|| nodes.unassigned())?;
                Ok(Self { shared, nodes: connections, place, server })
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

    /// Sends one command or script to a place, and returns its reply, which is no error.
    ///
    /// # Errors
    /// The error of the connection or of the reply. Afterwards this set of connections is not used
    /// any more.
    pub(crate) async fn call(&self, place: usize, command: &Cmd) -> Result<Value> {
        let connection = self.connection(place);
        let reply = scripts::call(&mut connection.wire.clone(), command).await;
        let reply = reply.map_err(|error| self.failed(connection, &error))?;
        self.check(connection, reply)
    }

    /// Sends a command to each place, in one pipeline for each server, to all servers at once. The replies have the order
    /// of the commands. An error reply to any command is an error.
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

    /// Sends one pipeline to each place, all at once.
    pub(crate) async fn send_all(&self, pipelines: &[(usize, Pipeline)]) -> Result<()> {
        let sent = pipelines.iter().map(|(place, pipeline)| self.send(self.connection(*place), pipeline));
        try_join_all(sent).await.map(drop)
    }

    /// Sends one command to every server.
    ///
    /// Used for `WAIT`, which concerns the connection that wrote and no key.
    pub(crate) async fn call_servers(&self, command: &Cmd) -> Result<Vec<Value>> {
        let mut pipeline = Pipeline::with_capacity(1);
        pipeline.add_command(command.clone());
        let sent = try_join_all(self.nodes.iter().map(|node| self.send(node, &pipeline))).await?;
        Ok(sent.into_iter().flatten().collect())
    }

    /// Sends one pipeline. An error reply to any of its commands is an error.
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

    /// Converts an error reply into an error; any other reply is returned as it is.
    fn check(&self, connection: &Connection, reply: Value) -> Result<Value> {
        crate::error::into_result(reply).map_err(|error| self.failed(connection, &error))
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
