//! A Debezium connector for one test, with the library's own configuration.

use std::time::Duration;

use cachefront::kafka::connect::ConnectorConfig;
use mysql_async::{Opts, prelude::Queryable};
use serde_json::{Map, Value};

use crate::{
    server::{connect::Rest, kafka::Topics},
    stack,
    unique::{self, Database},
    wait,
};

/// The table that the connector writes to and reads back, so that an idle database has a newest position.
const HEARTBEAT: &str = "CREATE TABLE IF NOT EXISTS cachefront_heartbeat \
    (id INT PRIMARY KEY, executed LONGTEXT NOT NULL, beat BIGINT UNSIGNED NOT NULL)";

/// Servers that a connector works on.
#[derive(Debug, Clone)]
pub struct Servers {
    /// The worker.
    pub connect: Rest,
    /// Kafka as the test sees it.
    pub brokers: String,
    /// Kafka as the worker sees it.
    pub worker_brokers: String,
    /// MySQL as the worker sees it, without a database.
    pub worker_mysql_url: String,
}

impl Servers {
    /// Those of the stack.
    ///
    /// # Panics
    /// If no stack was brought up.
    pub fn shared() -> Self {
        Self {
            connect: Rest::shared(),
            brokers: stack::kafka_brokers(),
            worker_brokers: stack::connect_kafka_brokers(),
            worker_mysql_url: stack::connect_mysql_url(),
        }
    }

    /// Private ones.
    pub fn private(connect: &Rest, brokers: &str, mysql_url: &str) -> Self {
        Self {
            connect: connect.clone(),
            brokers: brokers.to_owned(),
            worker_brokers: brokers.to_owned(),
            worker_mysql_url: mysql_url.to_owned(),
        }
    }
}

/// The column of it that holds the executed set.
pub const MARKER_COLUMN: &str = "executed";

/// How long a connector may take until it follows the log.
const START: Duration = Duration::from_secs(60);

/// A connector that streams tables of one database. Dropping it removes it, with its offsets and all its topics: an
/// idle one costs the other tests a tenth of a core.
#[derive(Debug)]
pub struct Connector {
    servers: Servers,
    name: String,
    database: String,
}

impl Connector {
    /// Registers a connector with a name of its own for `tables` of `database`, and waits until it runs.
    ///
    /// # Panics
    /// If it does not run; the message holds its trace.
    pub async fn start(servers: &Servers, database: &Database, tables: &[&str]) -> Self {
        Self::start_with(servers, database, tables, &[]).await
    }

    /// The same with settings over those of the template.
    ///
    /// # Panics
    /// If it does not run; the message holds its trace.
    pub async fn start_with(
        servers: &Servers,
        database: &Database,
        tables: &[&str],
        settings: &[(&str, &str)],
    ) -> Self {
        let mut conn = database.connect().await;
        conn.query_drop(HEARTBEAT).await.expect("the heartbeat's table can be made");
        conn.disconnect().await.expect("the connection closes without an error");
        let name = unique::name("c");
        let mut config = config(servers, &name, database.name(), tables);
        config.extend(settings.iter().map(|(key, value)| ((*key).to_owned(), Value::from(*value))));
        servers.connect.register(&name, &config).await;
        let connector = Self { servers: servers.clone(), name, database: database.name().to_owned() };
        servers.connect.wait_running(&connector.name).await;
        // Its first heartbeat is a transaction: from then on the log is followed.
        let (topics, transactions) = (Topics::of(&servers.brokers), connector.transaction_topic());
        wait::until("the connector follows the log", START, || topics.names().contains(&transactions)).await;
        connector
    }

    /// A connector that another program registered, to be removed with its topics.
    pub fn adopt(servers: &Servers, name: &str, database: &Database) -> Self {
        Self { servers: servers.clone(), name: name.to_owned(), database: database.name().to_owned() }
    }

    /// The connector's name, which is its topics' prefix too.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The topic of a table.
    pub fn topic(&self, table: &str) -> String {
        format!("{}.{}.{table}", self.name, self.database)
    }

    /// The topic of the transactions' begins and ends.
    pub fn transaction_topic(&self) -> String {
        format!("{}.transaction", self.name)
    }

    /// The topic of schema changes.
    pub fn schema_change_topic(&self) -> String {
        self.name.clone()
    }

    /// The topic of the connector's rows about the database's executed set.
    pub fn heartbeat_topic(&self) -> String {
        self.topic("cachefront_heartbeat")
    }

    /// The worker.
    pub fn rest(&self) -> &Rest {
        &self.servers.connect
    }

    /// The brokers as the test sees them.
    pub fn brokers(&self) -> &str {
        &self.servers.brokers
    }

    /// The table of markers, with its database.
    pub fn marker(&self) -> String {
        format!("{}.cachefront_heartbeat", self.database)
    }

    /// Removes the connector with its offsets and all its topics.
    pub async fn remove(self) {
        let _ = tokio::task::spawn_blocking(move || drop(self)).await;
    }
}

impl Drop for Connector {
    fn drop(&mut self) {
        let (name, servers) = (self.name.clone(), self.servers.clone());
        // A test's runtime may be gone or busy by now: this runs on one of its own.
        let removed = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(remove(&servers, &name));
            Ok::<(), std::io::Error>(())
        })
        .join();
        if !matches!(removed, Ok(Ok(()))) {
            eprintln!("the connector {} stays, or something of it", self.name);
        }
    }
}

async fn remove(servers: &Servers, name: &str) {
    // The client of the test lives on the test's runtime, which may have ended.
    Rest::of(servers.connect.url()).delete(name).await;
    let topics = Topics::of(&servers.brokers);
    let names = topics.names();
    let heartbeat = format!("__debezium-heartbeat.{name}");
    let ours = |topic: &&String| **topic == name || **topic == heartbeat || topic.starts_with(&format!("{name}."));
    let ours: Vec<&str> = names.iter().filter(ours).map(String::as_str).collect();
    topics.delete(&ours).await;
}

/// Returns the library's configuration of a connector, in which each test gets a server id of its own.
fn config(servers: &Servers, name: &str, database: &str, tables: &[&str]) -> Map<String, Value> {
    let opts = Opts::from_url(&servers.worker_mysql_url).expect("the URL of MySQL is well-formed");
    let config = ConnectorConfig::new(name, database, &servers.worker_brokers)
        .server(opts.ip_or_hostname(), opts.tcp_port())
        .credentials(opts.user().unwrap_or_default(), opts.pass().unwrap_or_default());
    let config = tables.iter().fold(config, |config, table| config.table(*table));
    config.settings().into_iter().map(|(name, value)| (name, Value::from(value))).collect()
}
