//! The flags that every command accepts. A flag that is not given falls back to its environment variable.

use clap::Args;

/// Settings that every role understands.
#[derive(Clone, Debug, Default, Args)]
pub struct Flags {
    /// Run on MySQL and Redis instead of embedded.
    #[arg(long, global = true)]
    pub stack: bool,
    /// MySQL: mysql://user:password@host:3306/database, optionally ?require_ssl=true.
    #[arg(long, global = true, value_name = "URL")]
    pub mysql_url: Option<String>,
    /// Redis: redis://:password@host:6379/, or rediss:// for TLS.
    #[arg(long, global = true, value_name = "URL")]
    pub redis_url: Option<String>,
    /// Where changes are read from: binlog or kafka.
    #[arg(long, global = true)]
    pub source: Option<String>,
    /// Kafka's brokers, separated by commas. Default: 127.0.0.1:29092.
    #[arg(long, global = true, value_name = "HOST:PORT,..")]
    pub kafka_brokers: Option<String>,
    /// The group of consumers that shares the reading of Kafka. Default: `cachefront-` and the database's name.
    #[arg(long, global = true, value_name = "NAME")]
    pub kafka_group: Option<String>,
    /// What the names of topics begin with. Default: `cachefront-` and the database's name.
    #[arg(long, global = true, value_name = "NAME")]
    pub topic_prefix: Option<String>,
    /// Where Kafka Connect listens. Default: `http://127.0.0.1:8083`.
    #[arg(long, global = true, value_name = "URL")]
    pub connect_url: Option<String>,
    /// The database as Kafka Connect reaches it. Default: as this program does.
    #[arg(long, global = true, value_name = "URL")]
    pub connect_mysql_url: Option<String>,
    /// The mode to start in: ttl or cdc.
    #[arg(long, global = true)]
    pub mode: Option<String>,
    /// How long an entry may live, in both modes. Default: 30s.
    #[arg(long, global = true, value_name = "DURATION")]
    pub ttl: Option<String>,
    /// How old the watermark may be while plain reads are served as always. Default: 10s.
    #[arg(long, global = true, value_name = "DURATION")]
    pub freshness_objective: Option<String>,
    /// What plain reads do beyond it: `bypass`, `serve`, or serve values of at most this age. Default: 10s.
    #[arg(long, global = true, value_name = "DURATION")]
    pub on_lag: Option<String>,
    /// Keep a loaded value only if the server that was read had executed what was invalidated before the load.
    #[arg(long, global = true)]
    pub fenced: bool,
    /// Let a change replace the cached value by one that is made from the row, instead of removing the entry.
    #[arg(long, global = true)]
    pub refresh_in_place: bool,
    /// If a load fails or takes longer than 200 ms, serve the last value of the process, of at most this age. Default: never.
    #[arg(long, global = true, value_name = "DURATION")]
    pub stale_if_error: Option<String>,
    /// How many app servers this process plays, 1 to 4: each has caches and a subscription to the bus of its own. Default: 1.
    #[arg(long, global = true, value_name = "NUMBER")]
    pub servers: Option<String>,
    /// Where the API listens. Default: 127.0.0.1:8000.
    #[arg(long, global = true, value_name = "HOST:PORT")]
    pub api_addr: Option<String>,
    /// Maximum number of requests that the API handles at once; it refuses others until later. Default: 512.
    #[arg(long, global = true, value_name = "NUMBER")]
    pub api_in_flight: Option<String>,
    /// Where the control panel listens. Default: 127.0.0.1:8501.
    #[arg(long, global = true, value_name = "HOST:PORT")]
    pub ui_addr: Option<String>,
    /// Where the consumer serves /healthz, /readyz and /metrics. Default: nowhere.
    #[arg(long, global = true, value_name = "HOST:PORT")]
    pub consumer_addr: Option<String>,
    /// Where load and healthcheck find the API. Default: `http://` and the API's address.
    #[arg(long, global = true, value_name = "URL")]
    pub api_url: Option<String>,
    /// Where the embedded database lives. Default: ./.cachefront.
    #[arg(long, global = true, value_name = "DIRECTORY")]
    pub data_dir: Option<String>,
    /// A file of certificates (PEM) to trust, for MySQL and Redis over TLS.
    #[arg(long, global = true, value_name = "FILE")]
    pub tls_ca: Option<String>,
    /// How long to wait for the servers at the start. Default: 30s.
    #[arg(long, global = true, value_name = "DURATION")]
    pub startup_timeout: Option<String>,
    /// Serve the API to other machines without any token.
    #[arg(long, global = true)]
    pub insecure_open_api: bool,
}
