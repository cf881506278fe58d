//! Finds the primary through Redis Sentinel.
//!
//! Every new connection asks the Sentinels again: an address is never kept beyond the connection that it was found for. All
//! Sentinels are asked at once. Once a majority of them has replied, the reply with the highest configuration epoch
//! counts: the epoch is raised by each failover, so a Sentinel that was cut off and still names the former primary is
//! outvoted. If fewer reply, the best of their replies counts, because one Sentinel that knows the primary is enough to
//! reach it.
//!
//! What a Sentinel says is a hint: the server itself must say that it is a primary (`identity.rs`), else the connection is
//! refused and tried again.
//!
//! After a failover that an operator asks for, Sentinel leaves the former primary a primary for about ten seconds, and its
//! clients connected. So each Sentinel's `+switch-master` messages are followed too ([`Sentinels::switched`]).
//!
//! # Messages
//! `SENTINEL GET-MASTER-ADDR-BY-NAME <name>` returns host and port as an array, or nil for a name
//! that is not monitored. `SENTINEL MASTER <name>` returns names and values in turn, `config-epoch`
//! among them. On the channel `+switch-master` each election is announced as `<name> <old ip> <old
//! port> <new ip> <new port>`; the text is not parsed, since the Sentinels are asked anyway.
//!
//! Source: "Sentinel clients", <https://redis.io/docs/latest/develop/reference/sentinel-clients/>.

use std::fmt;

use cachefront_core::backoff::Backoff;
use cachefront_core::clock::SystemEntropy;
use cachefront_core::{Error, ErrorKind, Result};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use redis::aio::PubSub;
use redis::{AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, Pipeline, Value};

use crate::clients::Clients;
use crate::config::RedisSettings;
use crate::error::{Address, Role, invalid};

/// The Sentinels that monitor a primary.
pub(crate) struct Sentinels {
    sentinels: Vec<Sentinel>,
    /// The name that the Sentinels know the primary by.
    name: Box<str>,
    /// How to log in to the primary; its address is replaced by what the Sentinels say.
    server: ConnectionInfo,
    clients: Clients,
    address: Address,
}

/// A client connects only when it is used: a Sentinel that is down costs nothing while the others
/// reply.
struct Sentinel {
    client: Client,
    address: Address,
}

/// What a Sentinel says about the primary.
#[derive(Debug, PartialEq, Eq)]
struct Said {
    /// Raised by every failover.
    epoch: u64,
    host: String,
    port: u16,
}

impl Sentinels {
    /// # Errors
    /// `Config` if a certificate or an address cannot be used.
    pub(crate) fn new(
        sentinels: Vec<ConnectionInfo>,
        name: String,
        server: ConnectionInfo,
        clients: Clients,
    ) -> Result<Self> {
        let open = |info: ConnectionInfo| {
            let address = Address::new(format!("{} (Sentinel)", info.addr()), Role::Sentinel);
            clients.open(info).map(|client| Sentinel { client, address })
        };
        let list = sentinels.iter().map(|info| info.addr().to_string()).collect::<Vec<_>>().join(", ");
        let address = Address::new(format!("`{name}` (Sentinel {list})"), Role::Server);
        let sentinels = sentinels.into_iter().map(open).collect::<Result<_>>()?;
        Ok(Self { sentinels, name: name.into(), server, clients, address })
    }

    /// The primary and its Sentinels, for messages.
    pub(crate) fn address(&self) -> &Address {
        &self.address
    }

    /// Asks for the current primary.
    ///
    /// # Errors
    /// `Config` if the Sentinels do not know the name or refuse the login, and none knows the primary; `Unavailable` or
    /// `Timeout` if no Sentinel can be reached.
    ///
    /// # Cancel safety
    /// Cancel safe: it only reads.
    pub(crate) async fn primary(&self, settings: &RedisSettings) -> Result<(Client, Address)> {
        let majority = self.sentinels.len() / 2 + 1;
        let mut questions: FuturesUnordered<_> =
            self.sentinels.iter().map(|sentinel| sentinel.ask(&self.name, settings)).collect();
        let (mut replies, mut best, mut failure) = (0, None::<Said>, None::<Error>);
        while let Some(reply) = questions.next().await {
            match reply {
                Ok(said) => {
                    replies += 1;
                    best = later(best, said);
                }
                Err(error) => failure = Some(graver(failure, error)),
            }
            if replies >= majority {
                break;
            }
        }
        match (best, failure) {
            (Some(said), _) => self.client(&said),
            (None, Some(failure)) => Err(failure),
            (None, None) => Err(invalid("the Redis URL names no Sentinel".to_owned())),
        }
    }

    /// Number of Sentinels.
    pub(crate) fn len(&self) -> usize {
        self.sentinels.len()
    }

    /// Follows the messages of one Sentinel. Calls `check` whenever another primary may have been elected: after each
    /// such message, and after each subscription, because messages before it were missed. Ends when `check` returns
    /// false.
    pub(crate) async fn switched<C, F>(&self, index: usize, settings: &RedisSettings, mut check: C)
    where
        C: FnMut() -> F + Send,
        F: Future<Output = bool> + Send,
    {
        let Some(sentinel) = self.sentinels.get(index) else { return };
        let mut backoff = Backoff::new(settings.reconnect_min, settings.reconnect_max);
        let mut warned = false;
        loop {
            match sentinel.subscribe(settings).await {
                Ok(subscription) => {
                    backoff.reset();
                    let mut messages = subscription.into_on_message();
                    loop {
                        if !check().await {
                            return;
                        }
                        if messages.next().await.is_none() {
                            break;
                        }
                    }
                }
                // A retry does not help, and a planned failover would be noticed late for good.
                Err(error) if error.kind() == ErrorKind::Config && !warned => {
                    warned = true;
                    tracing::warn!(error = %error.chain(), "a Sentinel refuses to tell of elections");
                }
                Err(error) => tracing::debug!(error = %error.chain(), "a Sentinel cannot be followed"),
            }
            tokio::time::sleep(backoff.next_pause(&SystemEntropy)).await;
        }
    }

    /// Makes a client for the server that was named.
    fn client(&self, said: &Said) -> Result<(Client, Address)> {
        let (host, port) = (said.host.clone(), said.port);
        let addr = match self.server.addr() {
            ConnectionAddr::TcpTls { insecure, tls_params, .. } => {
                ConnectionAddr::TcpTls { host, port, insecure: *insecure, tls_params: tls_params.clone() }
            }
            _ => ConnectionAddr::Tcp(host, port),
        };
        let address = Address::new(format!("{addr} (`{}`)", self.name), Role::Server);
        Ok((self.clients.open(self.server.clone().set_addr(addr))?, address))
    }
}

/// The reply of the later configuration.
///
/// On a tie the first reply stays: Sentinels with one epoch name the same primary.
fn later(best: Option<Said>, said: Said) -> Option<Said> {
    Some(best.filter(|best| best.epoch >= said.epoch).unwrap_or(said))
}

/// The error that says more: a wrong set-up is not hidden by a Sentinel that cannot be reached.
fn graver(one: Option<Error>, other: Error) -> Error {
    one.filter(|one| one.kind() == ErrorKind::Config).unwrap_or(other)
}

impl Sentinel {
    /// Subscribes to the elections of primaries.
    ///
    /// # Errors
    /// `Timeout` or `Unavailable`; the caller tries again after a pause.
    async fn subscribe(&self, settings: &RedisSettings) -> Result<PubSub> {
        let subscribed = async {
            let mut subscription = self.client.get_async_pubsub().await?;
            subscription.subscribe("+switch-master").await?;
            Ok(subscription)
        };
        match tokio::time::timeout(settings.connect_timeout, subscribed).await {
            Ok(subscription) => subscription.map_err(|error| self.address.error(&error)),
            Err(elapsed) => Err(self.address.timed_out("did not accept the connection", elapsed)),
        }
    }

    /// Asks this Sentinel, within `connect_timeout`.
    ///
    /// # Errors
    /// `Config` if the Sentinel does not monitor the name or refuses the login; `Timeout` or
    /// `Unavailable` if it does not reply; `Corrupt` if its reply has another shape.
    async fn ask(&self, name: &str, settings: &RedisSettings) -> Result<Said> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(settings.connect_timeout))
            .set_response_timeout(Some(settings.connect_timeout));
        let mut pipeline = Pipeline::with_capacity(2);
        pipeline.cmd("SENTINEL").arg("GET-MASTER-ADDR-BY-NAME").arg(name);
        pipeline.cmd("SENTINEL").arg("MASTER").arg(name);
        let asked = async {
            let mut connection = self.client.get_multiplexed_async_connection_with_config(&config).await?;
            connection.send_packed_commands(&pipeline, 0, pipeline.len()).await
        };
        let replies = match tokio::time::timeout(settings.connect_timeout, asked).await {
            Ok(replies) => replies.map_err(|error| self.address.error(&error))?,
            Err(elapsed) => return Err(self.address.timed_out("did not reply", elapsed)),
        };
        let mut replies = replies.into_iter();
        let (server, facts) = (replies.next().unwrap_or_default(), replies.next().unwrap_or_default());
        let server = self.address.check(server)?;
        if server == Value::Nil {
            return Err(invalid(format!(
                "Redis at {} monitors no primary of the name `{name}`: correct the name in the Redis URL",
                self.address
            )));
        }
        let facts = self.address.check(facts)?;
        parse(server, facts).ok_or_else(|| self.address.unexpected_reply("SENTINEL"))
    }
}

/// Parses the replies to `GET-MASTER-ADDR-BY-NAME` and `MASTER`. During a failover only the first one names the new
/// primary. `None` if they have another shape.
fn parse(server: Value, facts: Value) -> Option<Said> {
    let text = |value: Value| match value {
        Value::BulkString(bytes) => String::from_utf8(bytes).ok(),
        Value::SimpleString(text) => Some(text),
        _ => None,
    };
    let Value::Array(server) = server else { return None };
    let mut server = server.into_iter();
    let (host, port) = (text(server.next()?)?, text(server.next()?)?.parse().ok()?);
    let facts: Vec<(Value, Value)> = match facts {
        Value::Map(facts) => facts,
        Value::Array(facts) => {
            let mut facts = facts.into_iter();
            std::iter::from_fn(|| Some((facts.next()?, facts.next()?))).collect()
        }
        _ => return None,
    };
    let epoch = facts.into_iter().find_map(|(name, value)| (text(name)? == "config-epoch").then_some(value))?;
    Some(Said { epoch: text(epoch)?.parse().ok()?, host, port })
}

impl fmt::Debug for Sentinels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the clients: they hold the credentials.
        f.debug_struct("Sentinels").field("address", &self.address).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    #[test]
    fn both_shapes_of_the_facts_are_parsed() {
        let server = || Value::Array(vec![text("10.0.0.1"), text("6379")]);
        let said = Some(Said { epoch: 7, host: "10.0.0.1".into(), port: 6379 });
        let flat = ["name", "shop", "config-epoch", "7"].map(text).to_vec();
        assert_eq!(parse(server(), Value::Array(flat)), said);
        assert_eq!(parse(server(), Value::Map(vec![(text("config-epoch"), text("7"))])), said);
        for odd in [Value::Nil, Value::Array(vec![text("config-epoch")]), Value::Array(vec![])] {
            assert_eq!(parse(server(), odd), None);
        }
        assert_eq!(parse(Value::Array(vec![text("10.0.0.1")]), Value::Array(vec![])), None);
    }

    #[test]
    fn the_latest_configuration_counts_in_any_order_of_replies() {
        let said = |epoch, host: &str| Said { epoch, host: host.into(), port: 1 };
        for order in [[1, 2], [2, 1]] {
            let best = order.into_iter().fold(None, |best, epoch| later(best, said(epoch, &format!("host-{epoch}"))));
            assert_eq!(best, Some(said(2, "host-2")));
        }
    }
}
