//! The command line: commands and their flags.

use clap::{Args, Parser, Subcommand};
use loadgen::experiment::ExperimentFlags;
use loadgen::load::LoadFlags;
use loadgen::sweep::SweepFlags;
use simulator_model::settings::Flags;

/// Shows a cache that is kept right by the database's change log, next to one that only ages.
#[derive(Debug, Parser)]
#[command(name = "simulator", version, disable_help_subcommand = true)]
#[command(after_help = "Flags fall back to the environment (--ttl to CACHEFRONT_TTL, and so on), then to a file .env \
                        in the current directory. Durations carry their unit: 500ms, 30s, 10m.")]
pub(crate) struct Cli {
    /// What to run.
    #[command(subcommand)]
    pub command: Option<Command>,
    #[command(flatten)]
    pub flags: Flags,
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Command {
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
    /// Runs the same loads with several lifetimes of entries (TTL) and in CDC mode against a running API.
    Sweep(Box<SweepFlags>),
    /// Compares what is cached with the database. Exit code: 0 nothing is stale, 1 something is, 2 not known.
    Inspect(InspectFlags),
    /// Prints the API's description in OpenAPI 3.1.
    Openapi,
    /// Exits with 0 if the API (or the given URL) says that it serves.
    Healthcheck(HealthFlags),
}

impl Command {
    /// True if the command makes sense only on servers.
    pub(crate) fn needs_servers(&self) -> bool {
        matches!(self, Self::Api | Self::Ui | Self::Consumer | Self::Bootstrap(_))
    }
}

/// What happens once the connector runs.
#[derive(Clone, Debug, Args)]
pub(crate) struct BootstrapFlags {
    /// Stay: follow the connector's tasks, and start those again that fail.
    #[arg(long)]
    pub watch: bool,
}

/// What the inspector does in addition to comparing.
#[derive(Clone, Debug, Args)]
pub(crate) struct InspectFlags {
    /// Remove entries that are stale.
    #[arg(long)]
    pub repair: bool,
    /// Repeat every second until interrupted.
    #[arg(long)]
    pub follow: bool,
    /// Print one JSON object for each pass instead of a table.
    #[arg(long)]
    pub json: bool,
}

/// What the health check asks.
#[derive(Clone, Debug, Args)]
pub(crate) struct HealthFlags {
    /// The URL to ask. Default: /healthz of the API.
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
    /// How long to wait for the answer.
    #[arg(long, default_value = "3s", value_name = "DURATION")]
    pub timeout: String,
}
