//! A backend on servers: MySQL, Redis, and the binary log or Debezium's events on Kafka.

use std::future::Future;
use std::sync::Arc;

use async_trait::async_trait;
use cachefront::binlog::BinlogSource;
use cachefront::kafka::KafkaSource;
use cachefront::redis::RedisStore;
use cachefront::source::ChangeSource;
use cachefront::{Cdc, Clock, Error, ErrorKind};
use simulator_cli::{CliError, ExposeSecret, host};
use tokio::time::Instant;

use super::components::{Components, SourceFactory, cannot_open, cdc_over};
use super::relay::{RedisEvents, RedisStatusStore, RelayClient};
use crate::db::mysql::{Mysql, connect, database_name, options};
use crate::events::EventHub;
use crate::faults::Faults;
use crate::kafka_report::{GapRecorder, Notebook};
use crate::settings::{Settings, Source, Stack};
use crate::waiting::{PAUSE, Waiting};

pub(super) async fn open(stack: &Stack, settings: &Settings, clock: &Arc<dyn Clock>) -> Result<Components, CliError> {
    let opts = options(stack)?;
    let database_name = database_name(&opts).to_owned();
    // A namespace has one invalidator, and an invalidator reads one database.
    let namespace = database_name.replace('$', "_");
    let store = retried(stack, settings, "Redis", || redis(stack, &namespace)).await?;
    let pool = connect(stack, &opts, settings).await?;
    let database = Mysql::open(pool, database_name.clone()).await.map_err(|error| cannot_open("MySQL", &error))?;
    let relay = RelayClient::new(stack, &namespace)?;
    let events = EventHub::default();
    let tls = opts.ssl_opts().is_some();
    let binlog = Binlog { stack: stack.clone(), tls, settings: settings.clone() };
    Ok(Components {
        keys: Arc::new(store.clone()),
        database: Arc::new(database),
        store: Arc::new(store),
        sink: Arc::new(RedisEvents::spawn(&relay)),
        followed: Some(relay.clone()),
        events,
        hint: format!("mysql {database_name} -e \"UPDATE users SET name = 'Ada King' WHERE id = 1\""),
        board: Arc::new(RedisStatusStore::new(relay)),
        sources: match stack.source {
            Source::Binlog => Box::new(binlog),
            Source::Kafka => {
                Box::new(Kafka { binlog, database: database_name, notebook: Arc::default(), clock: Arc::clone(clock) })
            }
        },
    })
}

async fn redis(stack: &Stack, namespace: &str) -> cachefront::Result<RedisStore> {
    let url = stack.redis_url.expose_secret();
    let mut builder = RedisStore::builder(url).namespace(namespace);
    if let (Some(ca), true) = (&stack.tls_ca, url.starts_with("rediss://")) {
        builder = builder.tls_ca_file(ca);
    }
    builder.connect().await
}

/// Tries again while the server may still come up, until the start's deadline. A permanent error ends it at once.
async fn retried<T, F>(
    stack: &Stack,
    settings: &Settings,
    server: &str,
    mut attempt: impl FnMut() -> F,
) -> Result<T, CliError>
where
    F: Future<Output = cachefront::Result<T>>,
{
    let (host, variable) = match server {
        "Redis" => (host(&stack.redis_url), "CACHEFRONT_REDIS_URL"),
        _ => (host(&stack.mysql_url), "CACHEFRONT_MYSQL_URL"),
    };
    let waiting = Waiting::default();
    loop {
        let error: Error = match attempt().await {
            Ok(opened) => return Ok(opened),
            Err(error) => error,
        };
        if !matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Timeout) {
            return Err(CliError::new(format!("{server} at {host} cannot be used ({variable}): {}", error.chain())));
        }
        if Instant::now() + PAUSE >= settings.startup_deadline {
            return Err(CliError::new(format!(
                "{server} at {host} was not usable within {:?} ({variable}, CACHEFRONT_STARTUP_TIMEOUT): {}",
                settings.startup_timeout,
                error.chain()
            )));
        }
        waiting.pause(server, host, &error.chain().to_string()).await;
    }
}

#[derive(Debug)]
struct Binlog {
    stack: Stack,
    /// True if the URL requires TLS.
    tls: bool,
    settings: Settings,
}

impl Binlog {
    async fn source(&self) -> cachefront::Result<BinlogSource> {
        let mut builder = BinlogSource::builder(self.stack.mysql_url.expose_secret());
        if let (Some(ca), true) = (&self.stack.tls_ca, self.tls) {
            builder = builder.tls_ca_file(ca);
        }
        builder.connect().await
    }
}

#[async_trait]
impl SourceFactory for Binlog {
    fn name(&self) -> &'static str {
        "binlog"
    }

    async fn replicated(&self) -> cachefront::Result<Box<dyn ChangeSource>> {
        Ok(Box::new(self.source().await?))
    }

    async fn cdc(&self, faults: &Arc<Faults>) -> Result<Cdc, CliError> {
        let source = retried(&self.stack, &self.settings, "MySQL's binary log", || self.source()).await?;
        Ok(cdc_over(source, faults))
    }
}

#[derive(Debug)]
struct Kafka {
    /// Connects to the server that the connector reads, for its preflight and head.
    binlog: Binlog,
    database: String,
    notebook: Arc<Notebook>,
    clock: Arc<dyn Clock>,
}

#[async_trait]
impl SourceFactory for Kafka {
    fn name(&self) -> &'static str {
        "kafka"
    }

    async fn replicated(&self) -> cachefront::Result<Box<dyn ChangeSource>> {
        self.binlog.replicated().await
    }

    fn notebook(&self) -> Option<Arc<Notebook>> {
        Some(Arc::clone(&self.notebook))
    }

    async fn cdc(&self, faults: &Arc<Faults>) -> Result<Cdc, CliError> {
        let Binlog { stack, settings, .. } = &self.binlog;
        let server = retried(stack, settings, "MySQL", || self.binlog.source()).await?;
        let kafka = &stack.kafka;
        let marker = format!("{}.cachefront_heartbeat", self.database);
        let mut source =
            KafkaSource::builder(&kafka.brokers, &kafka.prefix).group(&kafka.group).marker(&marker, "executed");
        for (name, value) in &kafka.client {
            source = source.client_setting(name, value.expose_secret());
        }
        let source = GapRecorder::around(
            source.build(server).map_err(CliError::from_error)?,
            &self.notebook,
            Arc::clone(&self.clock),
        );
        Ok(cdc_over(source, faults))
    }
}
