//! The command line: roles and flags. A flag that is not given falls back to its environment variable.

use clap::{Args, Parser, Subcommand};

use crate::experiment::ExperimentFlags;
use crate::load::LoadFlags;

/// Shows a cache that is kept right by the database's change log, beside one that only ages.
#[derive(Debug, Parser)]
#[command(name = "simulator", version, disable_help_subcommand = true)]
#[command(after_help = "Flags fall back to the environment (--ttl to CACHEFRONT_TTL, and so on), then to a file .env \
                        in the current directory. Durations carry their unit: 500ms, 30s, 10m.")]
pub(crate) struct Cli {
    /// What to run.
    #[command(subcommand)]
    pub(crate) role: Option<Role>,
    #[command(flatten)]
    pub(crate) flags: Flags,
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Role {
    /// Everything in one process (the default): API, control panel, change capture.
    Up,
    /// The HTTP API alone, on servers.
    Api,
    /// The control panel alone, on servers: it finds the API with CACHEFRONT_API_URL.
    Ui,
    /// The change capture alone, on servers: reads the database's log and invalidates.
    Consumer,
    /// Registers Debezium's connector with Kafka Connect and waits until it runs.
    Bootstrap(BootstrapFlags),
    /// Generates load against a running API and prints what it saw.
    Load(Box<LoadFlags>),
    /// Runs the same load in TTL mode and in CDC mode against a running API, and compares the two.
    Experiment(Box<ExperimentFlags>),
    /// Compares what is cached with the database. Exit code: 0 nothing is stale, 1 something is, 2 not known.
    Inspect(InspectFlags),
    /// Prints the API's description in OpenAPI 3.1.
    Openapi,
    /// Exits with 0 if the API (or the given URL) says that it serves.
    Healthcheck(HealthFlags),
}

/// Settings that every role understands.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Flags {
    /// Run on MySQL and Redis instead of embedded.
    #[arg(long, global = true)]
    pub(crate) stack: bool,
    /// MySQL: mysql://user:password@host:3306/database, optionally ?require_ssl=true.
    #[arg(long, global = true, value_name = "URL")]
    pub(crate) mysql_url: Option<String>,
    /// Redis: redis://[:password@]host:6379/, or rediss:// for TLS.
    #[arg(long, global = true, value_name = "URL")]
    pub(crate) redis_url: Option<String>,
    /// Where changes are read from: binlog or kafka.
    #[arg(long, global = true)]
    pub(crate) source: Option<String>,
    /// Kafka's brokers, separated by commas. Default: 127.0.0.1:29092.
    #[arg(long, global = true, value_name = "HOST:PORT,..")]
    pub(crate) kafka_brokers: Option<String>,
    /// The group of consumers that shares the reading of Kafka. Default: `cachefront-` and the database's name.
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) kafka_group: Option<String>,
    /// What the names of topics begin with. Default: `cachefront-` and the database's name.
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) topic_prefix: Option<String>,
    /// Where Kafka Connect answers. Default: `http://127.0.0.1:8083`.
    #[arg(long, global = true, value_name = "URL")]
    pub(crate) connect_url: Option<String>,
    /// The database as Kafka Connect reaches it. Default: as this program does.
    #[arg(long, global = true, value_name = "URL")]
    pub(crate) connect_mysql_url: Option<String>,
    /// The mode to start in: ttl or cdc.
    #[arg(long, global = true)]
    pub(crate) mode: Option<String>,
    /// How long an entry may live, in both modes. Default: 30s.
    #[arg(long, global = true, value_name = "DURATION")]
    pub(crate) ttl: Option<String>,
    /// Where the API listens. Default: 127.0.0.1:8000.
    #[arg(long, global = true, value_name = "HOST:PORT")]
    pub(crate) api_addr: Option<String>,
    /// How many requests the API answers at once; more are told to come back later. Default: 512.
    #[arg(long, global = true, value_name = "NUMBER")]
    pub(crate) api_in_flight: Option<String>,
    /// Where the control panel listens. Default: 127.0.0.1:8501.
    #[arg(long, global = true, value_name = "HOST:PORT")]
    pub(crate) ui_addr: Option<String>,
    /// Where the consumer serves /healthz, /readyz and /metrics. Default: nowhere.
    #[arg(long, global = true, value_name = "HOST:PORT")]
    pub(crate) consumer_addr: Option<String>,
    /// Where load and healthcheck find the API. Default: `http://` and the API's address.
    #[arg(long, global = true, value_name = "URL")]
    pub(crate) api_url: Option<String>,
    /// Where the embedded database lives. Default: ./.cachefront.
    #[arg(long, global = true, value_name = "DIRECTORY")]
    pub(crate) data_dir: Option<String>,
    /// A file of certificates (PEM) to trust, for MySQL and Redis over TLS.
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) tls_ca: Option<String>,
    /// How long to wait for the servers at the start. Default: 30s.
    #[arg(long, global = true, value_name = "DURATION")]
    pub(crate) startup_timeout: Option<String>,
    /// Serve the API to other machines without any token.
    #[arg(long, global = true)]
    pub(crate) insecure_open_api: bool,
}

/// What happens once the connector runs.
#[derive(Clone, Debug, Args)]
pub(crate) struct BootstrapFlags {
    /// Stay: follow the connector's tasks, and start those again that fail.
    #[arg(long)]
    pub(crate) watch: bool,
}

/// What the inspector does beside looking.
#[derive(Clone, Debug, Args)]
pub(crate) struct InspectFlags {
    /// Remove entries that are stale.
    #[arg(long)]
    pub(crate) repair: bool,
    /// Look again every second, until told to end.
    #[arg(long)]
    pub(crate) follow: bool,
    /// Print one JSON object for each pass instead of a table.
    #[arg(long)]
    pub(crate) json: bool,
}

/// What the health check asks.
#[derive(Clone, Debug, Args)]
pub(crate) struct HealthFlags {
    /// The URL to ask. Default: /healthz of the API.
    #[arg(long, value_name = "URL")]
    pub(crate) url: Option<String>,
    /// How long to wait for the answer.
    #[arg(long, default_value = "3s", value_name = "DURATION")]
    pub(crate) timeout: String,
}
