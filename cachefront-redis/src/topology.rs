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
//! asked is used.
//!
//! A node replies although its word is worth nothing: one that was removed (`CLUSTER RESET`) knows no slot, and one that is cut off
//! from the others goes on naming the former primaries. So each is asked for `CLUSTER INFO` too, and a reply with a `cluster_state`
//! other than `ok`, or without a node for a place, counts only if no node has a better one.
//!
//! The identity of the cluster is a hash over the identities of all places, in their
//! order. Manual: <https://redis.io/docs/latest/commands/cluster-slots/>.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use cachefront_core::{Error, ErrorKind, Result};
use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;
use redis::{AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, Pipeline, Value};

use crate::clients::Clients;
use crate::config::RedisSettings;
use crate::conn::{Connection, Dialer, Purpose};
use crate::error::{Address, Role, invalid};
use crate::identity::{Identity, Mode, line_of, text_of};

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
    /// The seed that is asked first: the next one if it fails, or does not see a whole cluster.
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
    /// Parses `host:port`, as a node that was reached at the address `asked` says it. `None` if it has another form.
    pub(crate) fn parse(text: &str, asked: &str) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        let (asked, _) = asked.rsplit_once(':')?;
        let host = known_host(host, asked).trim_start_matches('[').trim_end_matches(']');
        Some(Self { host: host.to_owned(), port: port.parse().ok()? })
    }
}

/// The host that a node names. One that does not know the host sends an empty text or `?`: it is the one that was asked.
fn known_host<'a>(host: &'a str, asked: &'a str) -> &'a str {
    if host.is_empty() || host == "?" { asked } else { host }
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
        let address = Address::new(format!("{list} (cluster)"), Role::Node);
        Ok(Self { seeds, clients, settings, slots, address, first: AtomicUsize::new(0) })
    }

    /// The seeds, for messages.
    pub(crate) fn address(&self) -> &Address {
        &self.address
    }

    pub(crate) fn settings(&self) -> &RedisSettings {
        &self.settings
    }

    /// Reads the topology. One seed is asked first; unless it sees a whole cluster that works, the other seeds and the nodes in
    /// `known` are asked all at once, and the first of them that does is believed. If there is none, the best reply counts.
    ///
    /// It takes at most twice `connect_timeout`.
    ///
    /// # Errors
    /// If no node replies: the first error of kind `Config`, otherwise the last one.
    ///
    /// # Cancel safety
    /// Cancel safe: it only reads.
    pub(crate) async fn topology(&self, known: &[NodeAddress]) -> Result<Topology> {
        let rotation = self.first.load(Ordering::Relaxed);
        let seeds = (0..self.seeds.len()).map(|index| &self.seeds[(index + rotation) % self.seeds.len()]);
        let mut nodes: Vec<ConnectionInfo> = Vec::with_capacity(self.seeds.len() + known.len());
        for info in seeds.cloned().chain(known.iter().map(|node| self.info(node))) {
            if !nodes.iter().any(|other| other.addr() == info.addr()) {
                nodes.push(info);
            }
        }
        let (mut nodes, mut replies) = (nodes.into_iter(), Replies::default());
        if let Some(first) = nodes.next()
            && let Some(topology) = replies.take(self.ask(first).await)
        {
            return Ok(topology);
        }
        self.first.fetch_add(1, Ordering::Relaxed);
        let mut asked: FuturesUnordered<_> = nodes.map(|info| self.ask(info)).collect();
        while let Some(reply) = asked.next().await {
            if let Some(topology) = replies.take(reply) {
                return Ok(topology);
            }
        }
        replies.last_resort().unwrap_or_else(|| Err(self.address.unavailable("has no node")))
    }

    /// Asks one node, within `connect_timeout`.
    ///
    /// # Errors
    /// `Config` if the server is no node of a cluster, `Timeout` or `Unavailable` if it does not
    /// reply, `Corrupt` if the reply has another shape.
    async fn ask(&self, info: ConnectionInfo) -> Result<Said> {
        let address = Address::new(info.addr(), Role::Node);
        let client = self.clients.open(info.clone())?;
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.settings.connect_timeout))
            .set_response_timeout(Some(self.settings.connect_timeout));
        let mut pipeline = Pipeline::with_capacity(3);
        pipeline.cmd("INFO").arg("server").cmd("CLUSTER").arg("SLOTS").cmd("CLUSTER").arg("INFO");
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
        let topology = parse(slots, &self.slots, host).ok_or_else(|| address.unexpected_reply("CLUSTER SLOTS"))?;
        // A user without the right to ask is no reason to do without the cluster.
        let state = text_of(&address, [replies.next().unwrap_or_default()]).unwrap_or_else(|error| {
            tracing::debug!(error = %error.chain(), "a node does not tell the state of its cluster");
            String::new()
        });
        let (works, epoch) = parse_state(&state);
        Ok(Said { topology, works, epoch })
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

/// What a node says of its cluster.
#[derive(Debug)]
struct Said {
    topology: Topology,
    /// `cluster_state` is `ok`: the node reaches a majority of the primaries.
    works: bool,
    /// The latest configuration that the node knows of; each failover raises it.
    epoch: u64,
}

impl Said {
    /// A reply with a higher rank is closer to what the cluster is.
    fn rank(&self) -> (bool, usize, u64) {
        (self.works, self.topology.place.iter().flatten().count(), self.epoch)
    }

    /// Returns true if the node sees a cluster that works, with a node for each place.
    fn is_whole(&self) -> bool {
        self.works && self.topology.place.iter().all(Option::is_some)
    }
}

/// Chooses among the replies of nodes.
#[derive(Debug, Default)]
struct Replies {
    /// The best reply of a node that does not see a whole cluster.
    best: Option<Said>,
    /// The first error of the configuration. It may concern its node only.
    refusal: Option<Error>,
    /// The last other error.
    failure: Option<Error>,
}

impl Replies {
    /// Takes the reply of one more node. Returns its topology if no other reply can be better.
    fn take(&mut self, reply: Result<Said>) -> Option<Topology> {
        match reply {
            Ok(said) if said.is_whole() => return Some(said.topology),
            // Of equal ones the first stays.
            Ok(said) => self.best = self.best.take().filter(|best| best.rank() >= said.rank()).or(Some(said)),
            Err(error) if error.kind() == ErrorKind::Config => {
                tracing::warn!(error = %error.chain(), "a node of the cluster cannot be used, the others are asked");
                self.refusal = self.refusal.take().or(Some(error));
            }
            Err(error) => self.failure = Some(error),
        }
        None
    }

    /// Returns what counts when every node was asked and none sees a whole cluster. `None` if no node was asked.
    fn last_resort(self) -> Option<Result<Topology>> {
        self.best.map(|said| Ok(said.topology)).or_else(|| self.refusal.or(self.failure).map(Err))
    }
}

/// Parses a reply to `CLUSTER INFO`: whether the cluster works, and its epoch. A node that does not tell counts as one that works.
fn parse_state(text: &str) -> (bool, u64) {
    let works = line_of(text, "cluster_state").is_none_or(|state| state == "ok");
    (works, line_of(text, "cluster_current_epoch").and_then(|epoch| epoch.parse().ok()).unwrap_or_default())
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
        let node = NodeAddress { host: known_host(host, asked).to_owned(), port: u16::try_from(*port).ok()? };
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

    #[test]
    fn a_redirect_without_a_host_leads_to_the_host_that_was_asked() {
        for (text, host) in [("10.0.0.1:7", "10.0.0.1"), (":7", "seed"), ("?:7", "seed"), ("[::1]:7", "::1")] {
            let node = NodeAddress { host: host.into(), port: 7 };
            assert_eq!(NodeAddress::parse(text, "seed:6379"), Some(node), "{text}");
        }
        assert_eq!(NodeAddress::parse(":7", "::1:6379").expect("a node").host, "::1");
        for odd in ["10.0.0.1", "10.0.0.1:x", ""] {
            assert_eq!(NodeAddress::parse(odd, "seed:6379"), None, "{odd}");
        }
    }

    #[test]
    fn the_state_of_the_cluster_is_parsed() {
        let text =
            "cluster_state:fail\r\ncluster_slots_assigned:16384\r\ncluster_current_epoch:6\r\ncluster_my_epoch:2\r\n";
        assert_eq!(parse_state(text), (false, 6));
        assert_eq!(parse_state(&text.replace("fail", "ok")), (true, 6));
        assert_eq!(parse_state(""), (true, 0), "it does not tell");
    }

    /// Takes replies in their order; the index of the one that counts is the port of its node.
    fn choose(replies: Vec<Result<Said>>) -> Result<u16> {
        let mut taken = Replies::default();
        let whole = replies.into_iter().find_map(|reply| taken.take(reply));
        let chosen = whole.map(Ok).or_else(|| taken.last_resort()).expect("a node was asked");
        chosen.map(|topology| topology.nodes.first().expect("a node").port)
    }

    /// A reply that has nodes for this many of two places.
    fn said(port: u16, works: bool, places: usize, epoch: u64) -> Result<Said> {
        let place = (0..2).map(|place| (place < places).then_some(0)).collect();
        let nodes = vec![NodeAddress { host: "a".into(), port }];
        Ok(Said { topology: Topology { nodes, place }, works, epoch })
    }

    #[test]
    fn a_node_that_sees_no_whole_cluster_counts_only_if_none_does() {
        let (removed, cut_off) = (|port| said(port, false, 0, 3), |port| said(port, false, 2, 3));
        let whole = |port| said(port, true, 2, 3);
        let refused = || Err(invalid("another password".to_owned()));
        let away = || Err(Error::new(ErrorKind::Unavailable, "away"));
        for (replies, chosen) in [
            (vec![removed(0), whole(1)], 1),
            (vec![cut_off(0), whole(1), whole(2)], 1),
            (vec![said(0, true, 1, 3), whole(1)], 1),
            (vec![refused(), away(), whole(2)], 2),
            // None of them sees a whole cluster.
            (vec![removed(0), cut_off(1), removed(2)], 1),
            (vec![said(0, false, 2, 5), said(1, false, 2, 6), said(2, false, 2, 5)], 1),
            (vec![said(0, false, 2, 6), said(1, true, 1, 6)], 1),
            (vec![away(), cut_off(1), refused()], 1),
            (vec![cut_off(0), cut_off(1)], 0),
        ] {
            let shown = format!("{replies:?}");
            assert_eq!(choose(replies).expect("a topology"), chosen, "{shown}");
        }
        let kind = |replies| choose(replies).expect_err("no node replies").kind();
        assert_eq!(kind(vec![refused(), away()]), ErrorKind::Config);
        assert_eq!(kind(vec![away(), away()]), ErrorKind::Unavailable);
    }
}
