//! A running simulator together with a second way into its database.

use std::sync::Mutex;
use std::time::Duration;

use cachefront_testkit::connector::Connector;
use cachefront_testkit::process::{Launch, Simulator, bootstrap};
use cachefront_testkit::stack;
use cachefront_testkit::unique::{self, Database};
use cachefront_testkit::wait;
use rusqlite::Connection;
use tokio::process::Command;

use crate::client::Client;

/// How long anything healthy may take, also on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Where a scenario runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// One process, SQLite.
    Embedded,
    /// MySQL and Redis.
    Servers,
    /// MySQL, Debezium, Kafka and Redis.
    Kafka,
}

/// A simulator in one process, and its database.
pub(crate) struct World {
    pub(crate) simulator: Simulator,
    pub(crate) api: Client,
    pub(crate) other: Other,
    /// Removed at the end.
    connector: Option<Connector>,
}

/// Another program's way into the database.
pub(crate) enum Other {
    /// A second connection to the SQLite file, without any of the simulator's settings.
    Sqlite(Mutex<Connection>),
    /// The `mysql` client.
    Mysql(Database),
}

impl World {
    /// Starts a simulator in `place`; `configure` adds settings.
    pub(crate) async fn start(place: Place, configure: impl FnOnce(Launch) -> Launch) -> Self {
        match place {
            Place::Embedded => {
                let simulator = configure(Simulator::role("up")).start().await;
                let file = simulator.data_dir().join("simulator.sqlite3");
                let connection = Connection::open(file).expect("the database file");
                connection.busy_timeout(PATIENCE).expect("a timeout");
                Self::over(simulator, Other::Sqlite(Mutex::new(connection)))
            }
            Place::Servers => {
                let database = unique::database("sim").await;
                let simulator = configure(Simulator::role("up").on_servers(&database)).start().await;
                Self::over(simulator, Other::Mysql(database))
            }
            Place::Kafka => {
                let database = unique::database("sim").await;
                let connector = bootstrap(&database).await;
                let launch = Simulator::role("up").over_kafka(&database, connector.name());
                let simulator = configure(launch).start().await;
                let mut world = Self::over(simulator, Other::Mysql(database));
                world.connector = Some(connector);
                world.follows_the_log().await;
                world
            }
        }
    }

    /// Waits until the invalidator reads: the connector's first transaction makes the topic that its group is over.
    async fn follows_the_log(&self) {
        wait::until_async("the invalidator reads from Kafka", PATIENCE, async || {
            let pipeline = self.api.get("/pipeline").await.expect(200);
            pipeline["applied"].is_string() && pipeline["running"] == true
        })
        .await;
    }

    fn over(simulator: Simulator, other: Other) -> Self {
        let api = Client::new(simulator.api_url());
        Self { simulator, api, other, connector: None }
    }
}

/// Settings that make a role run on the shared servers, with a database of its own.
pub(crate) fn on_servers(launch: Launch, database: &Database) -> Launch {
    launch.on_servers(database)
}

impl Other {
    /// Runs SQL that both databases understand.
    pub(crate) async fn execute(&self, sql: &str) {
        match self {
            Self::Sqlite(connection) => {
                let connection = connection.lock().expect("no test panics while it holds the connection");
                connection.execute_batch(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
            }
            Self::Mysql(database) => mysql(database, sql).await,
        }
    }
}

/// Runs SQL with the `mysql` client, as a person at a prompt does.
pub(crate) async fn mysql(database: &Database, sql: &str) {
    let opts = mysql_async::Opts::from_url(database.url()).expect("a URL");
    let output = Command::new(stack::mysql_client())
        .args(["--no-defaults", "--protocol=tcp", "--host", opts.ip_or_hostname()])
        .args(["--port", &opts.tcp_port().to_string(), "--user", opts.user().unwrap_or("root")])
        .args(["--database", database.name(), "--execute", sql])
        .env("MYSQL_PWD", opts.pass().unwrap_or_default())
        .output()
        .await
        .expect("the mysql client runs");
    assert!(output.status.success(), "{sql}: {}", String::from_utf8_lossy(&output.stderr));
}
