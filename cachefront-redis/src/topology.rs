//! Which node of a cluster has which place.
//!
//! This crate routes by itself, over one connection per node, and does not use the client's cluster connections: those
//! replace connections and follow redirects silently, and every guarantee here rests on knowing which server a reply came
//! from. `MOVED` is an error of the command: a reader loads from the database and the topology is read again; an
//! invalidator ends its session and continues from the store's position. While a slot is being moved, see `moving.rs`.
//!
//! # The reply to `CLUSTER SLOTS`
//!
//! | index | value |
//! |---:|---|
//! | 0 | first slot of a range |
//! | 1 | last slot of the range, inclusive |
//! | 2 | the primary: host (or nil), port, node id, more facts from Redis 7 on |
//! | 3… | its replicas, which are not used: a replica may lack the last invalidations |
//!
//! A node that does not know its own host sends nil, an empty text or `?`; then the host that was
//! asked is used. The identity of the cluster is a hash over the identities of all places, in their
//! order. Manual: <https://redis.io/docs/latest/commands/cluster-slots/>.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use cachefront_core::{Error, ErrorKind, Result};
use futures_util::future::join_all;
use redis::{AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, Pipeline, Value};

use crate::clients::Clients;
use crate::config::RedisSettings;
use crate::conn::{Connection, Dialer, Purpose};
use crate::error::{Address, invalid};
use crate::identity::{Identity, Mode};

/// How the nodes of a cluster are found and dialed.
///
/// Credentials, TLS and settings are the same for every node; only host and port come from the
/// topology.
pub(crate) struct Nodes {
    /// The nodes that the URL names.
    seeds: Vec<ConnectionInfo>,
    clients: Clients,
    settings: RedisSettings,
    /// The slot of each place.
    slots: Box<[u16]>,
    address: Address,
    /// The seed that is asked first: the next one if it fails.
    first: AtomicUsize,
}

/// The host and port of a node.
///
/// As the cluster announces it (`cluster-announce-ip`, `cluster-announce-hostname`); it must be
/// reachable from this process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NodeAddress {
    host: String,
    port: u16,
}

impl NodeAddress {
    /// Parses `host:port`; `None` if it names no host.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let known = !host.is_empty() && host != "?";
        known.then_some(Self { host: host.to_owned(), port: port.parse().ok()? })
    }
}

impl std::fmt::Display for NodeAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// The primaries that have a place, and which of them has which.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Topology {
    pub(crate) nodes: Vec<NodeAddress>,
    /// For each place the index of its node; `None` if its slot has none.
    pub(crate) place: Vec<Option<usize>>,
}

impl Nodes {
    /// # Errors
    /// `Config` if the URL names no node.
    pub(crate) fn new(
        seeds: Vec<ConnectionInfo>,
        clients: Clients,
        slots: Box<[u16]>,
        settings: RedisSettings,
    ) -> Result<Self> {
        if seeds.is_empty() {
            return Err(invalid("the Redis URL names no node of the cluster".to_owned()));
        }
        let list = seeds.iter().map(|info| info.addr().to_string()).collect::<Vec<_>>().join(", ");
        let address = Address::new(format!("{list} (cluster)"));
        Ok(Self { seeds, clients, settings, slots, address, first: AtomicUsize::new(0) })
    }

    /// The seeds, for messages.
    pub(crate) fn address(&self) -> &Address {
        &self.address
    }

    pub(crate) fn settings(&self) -> &RedisSettings {
        &self.settings
    }

    /// Reads the topology from the first node that replies: those in `known`, then the seeds.
    ///
    /// # Errors
    /// The error of the last node, if none replies.
    ///
    /// # Cancel safety
    /// Cancel safe: it only reads.
    pub(crate) async fn topology(&self, known: &[NodeAddress]) -> Result<Topology> {
        let rotation = self.first.load(Ordering::Relaxed);
        let seeds = (0..self.seeds.len()).map(|index| &self.seeds[(index + rotation) % self.seeds.len()]);
        let known = known.iter().map(|node| self.info(node));
        let mut failure = None;
        for info in seeds.cloned().chain(known) {
            match self.ask(info).await {
                Ok(topology) => return Ok(topology),
                Err(error) if error.kind() == ErrorKind::Config => return Err(error),
                Err(error) => failure = Some(error),
            }
            self.first.fetch_add(1, Ordering::Relaxed);
        }
        Err(failure.unwrap_or_else(|| self.address.unavailable("has no node")))
    }

    /// Asks one node, within `connect_timeout`.
    ///
    /// # Errors
    /// `Config` if the server is no node of a cluster, `Timeout` or `Unavailable` if it does not
    /// reply, `Corrupt` if the reply has another shape.
    async fn ask(&self, info: ConnectionInfo) -> Result<Topology> {
        let address = Address::new(info.addr());
        let client = self.clients.open(info.clone())?;
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.settings.connect_timeout))
            .set_response_timeout(Some(self.settings.connect_timeout));
        let mut pipeline = Pipeline::with_capacity(2);
        pipeline.cmd("INFO").arg("server").cmd("CLUSTER").arg("SLOTS");
        let asked = async {
            let mut connection = client.get_multiplexed_async_connection_with_config(&config).await?;
            connection.send_packed_commands(&pipeline, 0, pipeline.len()).await
        };
        let replies = match tokio::time::timeout(self.settings.connect_timeout, asked).await {
            Ok(replies) => replies.map_err(|error| address.error(&error))?,
            Err(elapsed) => return Err(address.timed_out("did not reply", elapsed)),
        };
        let mut replies = replies.into_iter();
        Identity::check_mode(&address, Mode::Cluster, replies.next().unwrap_or_default())?;
        let slots = address.check(replies.next().unwrap_or_default())?;
        let (ConnectionAddr::Tcp(host, _) | ConnectionAddr::TcpTls { host, .. }) = info.addr() else {
            return Err(invalid("a node of a cluster is not reached over a socket".to_owned()));
        };
        parse(slots, &self.slots, host).ok_or_else(|| address.unexpected_reply("CLUSTER SLOTS"))
    }

    /// How to log in to a node.
    fn info(&self, node: &NodeAddress) -> ConnectionInfo {
        let (host, port) = (node.host.clone(), node.port);
        let info = self.seeds[0].clone();
        let addr = match info.addr() {
            ConnectionAddr::TcpTls { insecure, tls_params, .. } => {
                ConnectionAddr::TcpTls { host, port, insecure: *insecure, tls_params: tls_params.clone() }
            }
            _ => ConnectionAddr::Tcp(host, port),
        };
        info.set_addr(addr)
    }

    /// Opens a connection to a node.
    ///
    /// # Errors
    /// As those of [`Dialer::dial`].
    pub(crate) async fn dial(
        &self,
        node: &NodeAddress,
        response_timeout: Option<std::time::Duration>,
        purpose: Purpose,
    ) -> Result<Connection> {
        self.dialer(node)?.dial(response_timeout, purpose).await
    }

    /// Returns what opens connections to a node.
    pub(crate) fn dialer(&self, node: &NodeAddress) -> Result<Dialer> {
        let client: Client = self.clients.open(self.info(node))?;
        Ok(Dialer::new(client, Mode::Cluster, self.settings))
    }

    /// Opens a connection to every node that has a place, all at once.
    ///
    /// Returns one outcome per node, in the order of the topology: a node that is away does not
    /// keep the others from being used.
    pub(crate) async fn dial_all(
        &self,
        topology: &Topology,
        response_timeout: Option<std::time::Duration>,
        purpose: Purpose,
    ) -> Vec<Result<Connection>> {
        join_all(topology.nodes.iter().map(|node| self.dial(node, response_timeout, purpose))).await
    }

    /// The error of a place whose slot no node has.
    pub(crate) fn unassigned(&self) -> Error {
        self.address.unavailable("has no node for the slot of a shard: assign all slots")
    }
}

/// Parses a reply to `CLUSTER SLOTS`. A node that does not say its host has that of the node that replied. `None` if the
/// reply has another shape.
///
/// Only ranges that contain a slot of interest add a node: a process connects to the nodes of its
/// places and to no others.
fn parse(reply: Value, slots: &[u16], asked: &str) -> Option<Topology> {
    let Value::Array(ranges) = reply else { return None };
    let mut topology = Topology { nodes: Vec::new(), place: vec![None; slots.len()] };
    for range in ranges {
        let Value::Array(parts) = range else { return None };
        let [Value::Int(start), Value::Int(end), Value::Array(primary), ..] = &parts[..] else { return None };
        let [host, Value::Int(port), ..] = &primary[..] else { return None };
        let host = match host {
            Value::BulkString(host) => std::str::from_utf8(host).ok()?,
            Value::SimpleString(host) => host,
            Value::Nil => "",
            _ => return None,
        };
        let host = if host.is_empty() || host == "?" { asked } else { host };
        let node = NodeAddress { host: host.to_owned(), port: u16::try_from(*port).ok()? };
        for (place, slot) in slots.iter().enumerate() {
            if (*start..=*end).contains(&i64::from(*slot)) {
                let known = topology.nodes.iter().position(|known| *known == node);
                let index = known.unwrap_or_else(|| {
                    topology.nodes.push(node.clone());
                    topology.nodes.len() - 1
                });
                topology.place[place] = Some(index);
            }
        }
    }
    Some(topology)
}

impl std::fmt::Debug for Nodes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Not the seeds: they hold the credentials.
        f.debug_struct("Nodes")
            .field("address", &self.address)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

/// The identity of a set of nodes: which server has which place. `None` if a place has no server.
///
/// FNV-1a over the 8 bytes of each server's identity. Two processes with the same topology compute
/// the same value, because messages on the bus carry it.
pub(crate) fn identity_of<'a>(
    places: impl Iterator<Item = Option<&'a Arc<Identity>>>,
) -> Option<cachefront_core::store::ServerId> {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for identity in places {
        for byte in identity?.server().0.to_be_bytes() {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
    // 0 is `ServerId::UNKNOWN`.
    Some(cachefront_core::store::ServerId(hash.max(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(start: i64, end: i64, host: Value, port: i64) -> Value {
        let node = Value::Array(vec![host, Value::Int(port), Value::BulkString(b"id".to_vec()), Value::Array(vec![])]);
        Value::Array(vec![Value::Int(start), Value::Int(end), node])
    }

    #[test]
    fn places_are_assigned_to_the_primaries_of_their_slots() {
        let text = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        let reply = Value::Array(vec![
            range(0, 99, text("10.0.0.1"), 1),
            range(100, 100, Value::Nil, 2),
            range(200, 300, text("10.0.0.1"), 1),
            range(400, 500, text("10.0.0.9"), 9),
        ]);
        let topology = parse(reply, &[250, 100, 101, 5], "seed").expect("a topology");
        let node = |host: &str, port| NodeAddress { host: host.into(), port };
        assert_eq!(topology.nodes, [node("10.0.0.1", 1), node("seed", 2)], "only nodes that have a place");
        assert_eq!(topology.place, [Some(0), Some(1), None, Some(0)]);
        for odd in [Value::Nil, Value::Array(vec![Value::Nil]), Value::Array(vec![Value::Array(vec![Value::Int(1)])])] {
            assert_eq!(parse(odd, &[1], "seed"), None);
        }
    }
}
