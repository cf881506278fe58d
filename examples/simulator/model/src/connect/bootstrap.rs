//! The role `bootstrap`: creates the tables, registers the connector, and waits until it and its task run.

use cachefront::binlog::BinlogSource;
use cachefront::kafka::connect::{
    ConnectClient, ConnectError, ConnectorConfig, Registered, Watchdog, WatchdogSettings,
};
use mysql_async::Opts;
use simulator_cli::{CliError, ExposeSecret, shutdown_signal};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::client::client;
use crate::db::mysql::{Mysql, connect, database_name, options};
use crate::settings::{Backend, Kafka, Settings, Stack};

/// The tables that the caches depend on.
const TABLES: [&str; 1] = ["users"];

/// Creates what the connector needs, registers it and waits until it runs.
///
/// # Errors
/// A line that names the setting to fix.
pub async fn bootstrap(settings: &Settings, watch_after: bool) -> Result<(), CliError> {
    let Backend::Stack(stack) = &settings.backend else {
        return Err(CliError::new("bootstrap needs servers: set CACHEFRONT_MYSQL_URL and CACHEFRONT_CONNECT_URL"));
    };
    let database = create_tables(stack, settings).await?;
    warn_of_settings(stack).await;
    let config = config(&stack.kafka, &database)?;
    let name = &stack.kafka.prefix;
    let client = client(&stack.kafka)?;
    let failed = |error: ConnectError| failed(&client, name, &error);
    let left = || settings.startup_deadline.saturating_duration_since(Instant::now());
    let registered = client.register(name, &config, left()).await.map_err(failed)?;
    let word = if registered == Registered::Created { "registered" } else { "brought up to date" };
    say(&format!("connector {name} is {word} with Kafka Connect at {}", client.host()));
    client.wait_until_running(name, left()).await.map_err(failed)?;
    say(&format!("connector {name} and its task are RUNNING"));
    if watch_after {
        watch(client.clone(), name).await;
    }
    Ok(())
}

/// Follows the connector until the shutdown signal.
async fn watch(client: ConnectClient, name: &str) {
    let stop = CancellationToken::new();
    let (watchdog, task) = Watchdog::spawn(client, name, WatchdogSettings::default(), stop.clone().cancelled_owned());
    let mut states = watchdog.watch();
    let shutdown = shutdown_signal();
    tokio::pin!(shutdown);
    loop {
        let state = states.borrow_and_update().clone();
        say(&format!("connector {name}: {state}"));
        tokio::select! {
            () = &mut shutdown => break,
            changed = states.changed() => if changed.is_err() { break },
        }
    }
    stop.cancel();
    let _ = task.await;
}

/// Creates the tables that the connector reads and writes.
async fn create_tables(stack: &Stack, settings: &Settings) -> Result<String, CliError> {
    let opts = options(stack)?;
    let database = database_name(&opts).to_owned();
    let pool = connect(stack, &opts, settings).await?;
    Mysql::open(pool, database.clone()).await.map_err(|error| {
        let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
        CliError::new(format!("the tables cannot be created in MySQL: {cause}"))
    })?;
    Ok(database)
}

/// Prints settings of the server with which Debezium loses changes, stops, or starts over. They may be intended, so
/// they are no errors.
async fn warn_of_settings(stack: &Stack) {
    let findings = async {
        let mut builder = BinlogSource::builder(stack.mysql_url.expose_secret());
        if let (Some(ca), true) = (&stack.tls_ca, options(stack).is_ok_and(|opts| opts.ssl_opts().is_some())) {
            builder = builder.tls_ca_file(ca);
        }
        builder.connect().await?.server_findings().await
    };
    match findings.await {
        Ok(findings) => findings.iter().for_each(|finding| say(&format!("warning: {finding}"))),
        Err(error) => say(&format!("warning: the settings of MySQL cannot be checked: {}", error.chain())),
    }
}

/// Returns the connector's configuration.
fn config(kafka: &Kafka, database: &str) -> Result<ConnectorConfig, CliError> {
    let opts = Opts::from_url(kafka.connect_mysql_url.expose_secret())
        .map_err(|error| CliError::new(format!("CACHEFRONT_CONNECT_MYSQL_URL is not a MySQL URL: {error}")))?;
    let config = ConnectorConfig::new(&kafka.prefix, database, &kafka.connect_brokers)
        .server(opts.ip_or_hostname(), opts.tcp_port())
        .credentials(opts.user().unwrap_or("root"), opts.pass().unwrap_or_default())
        .require_tls(opts.ssl_opts().is_some());
    let config = TABLES.iter().fold(config, |config, table| config.table(*table));
    Ok(kafka
        .connect_client
        .iter()
        .fold(config, |config, (name, value)| config.client_setting(name, value.expose_secret())))
}

/// Names the variables to check.
fn failed(client: &ConnectClient, name: &str, error: &ConnectError) -> CliError {
    let host = client.host();
    CliError::new(match error {
        ConnectError::TimedOut { timeout, last } => format!(
            "the connector {name} does not run within {timeout:.0?} (CACHEFRONT_STARTUP_TIMEOUT), Kafka Connect at {host} \
             (CACHEFRONT_CONNECT_URL): {}",
            last.summary()
        ),
        ConnectError::Failed(part) => {
            for line in part.trace_lines() {
                eprintln!("{line}");
            }
            format!("the connector {name} is FAILED: {}", part.cause())
        }
        // Kafka Connect responds with status 500 to many wrong settings; only its log names the setting.
        error => format!(
            "Kafka Connect at {host} refuses the connector {name}: {}. See the log of Kafka Connect for the reason; often \
             the database of CACHEFRONT_CONNECT_MYSQL_URL cannot be reached from there, or its password is wrong",
            error.summary()
        ),
    })
}

fn say(line: &str) {
    use std::io::Write;
    // A closed terminal is no reason to stop.
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}
