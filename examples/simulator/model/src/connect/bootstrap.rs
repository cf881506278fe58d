//! Registers the connector and waits until it and its task run.

use std::time::Duration;

use cachefront::binlog::BinlogSource;
use simulator_cli::{CliError, shutdown_signal};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::rest::{Part, Registered, Rest, RestError, Status};
use super::template;
use super::watchdog::{Watchdog, WatchdogSettings};
use crate::db::mysql::{Mysql, connect, database_name, options};
use crate::settings::{Backend, Settings, Stack};
use crate::waiting::{PAUSE, Waiting};

/// How long one request may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// How often what failed is started again before its failure counts: an older failure may still be shown.
const RESTARTS_MAX: u32 = 2;

/// The role: everything that the connector needs is made, and it is registered and waited for.
///
/// # Errors
/// A line that says what to mend.
pub async fn bootstrap(settings: &Settings, watch_after: bool) -> Result<(), CliError> {
    let Backend::Stack(stack) = &settings.backend else {
        return Err(CliError::new("bootstrap needs servers: set CACHEFRONT_MYSQL_URL and CACHEFRONT_CONNECT_URL"));
    };
    let deadline = settings.startup_deadline;
    let database = make_tables(stack, settings).await?;
    warn_of_settings(stack).await;
    let config = template::render(stack, &database)?;
    let name = &stack.kafka.prefix;
    let rest = Rest::new(&stack.kafka, REQUEST_TIMEOUT)?;
    let bootstrap =
        Bootstrap { rest: &rest, name, deadline, timeout: settings.startup_timeout, waiting: Waiting::default() };
    bootstrap.wait_for_worker().await?;
    let registered = bootstrap.register(&config).await?;
    let word = if registered == Registered::Created { "registered" } else { "brought up to date" };
    say(&format!("connector {name} is {word} with Kafka Connect at {}", rest.host()));
    bootstrap.wait_until_running().await?;
    say(&format!("connector {name} and its task are RUNNING"));
    if watch_after {
        watch(rest.clone(), name).await;
    }
    Ok(())
}

/// Follows the connector until the program is told to end.
async fn watch(rest: Rest, name: &str) {
    let stop = CancellationToken::new();
    let (watchdog, following) = Watchdog::spawn(rest, name, WatchdogSettings::default(), stop.clone());
    let mut states = watchdog.watch();
    let told = shutdown_signal();
    tokio::pin!(told);
    loop {
        let state = states.borrow_and_update().clone();
        say(&format!("connector {name}: {state}"));
        tokio::select! {
            () = &mut told => break,
            changed = states.changed() => if changed.is_err() { break },
        }
    }
    stop.cancel();
    let _ = following.await;
}

/// The tables that the connector reads and writes are there before it starts.
async fn make_tables(stack: &Stack, settings: &Settings) -> Result<String, CliError> {
    let opts = options(stack)?;
    let database = database_name(&opts).to_owned();
    let pool = connect(stack, &opts, settings).await?;
    Mysql::open(pool, database.clone()).await.map_err(|error| {
        let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
        CliError::new(format!("the tables cannot be made in MySQL: {cause}"))
    })?;
    Ok(database)
}

/// Says what in the server's settings makes Debezium lose changes, stop, or start over. It may be on purpose, so it is
/// no reason to give up.
async fn warn_of_settings(stack: &Stack) {
    let findings = async {
        let mut builder = BinlogSource::builder(stack.mysql_url.expose());
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

struct Bootstrap<'a> {
    rest: &'a Rest,
    name: &'a str,
    deadline: Instant,
    timeout: Duration,
    waiting: Waiting,
}

impl Bootstrap<'_> {
    async fn wait_for_worker(&self) -> Result<(), CliError> {
        while let Err(error) = self.rest.ready().await {
            self.pause(&error).await?;
        }
        Ok(())
    }

    async fn register(&self, config: &serde_json::Map<String, serde_json::Value>) -> Result<Registered, CliError> {
        loop {
            match self.rest.put(self.name, config).await {
                Ok(registered) => return Ok(registered),
                Err(error @ RestError::Refused(..)) => return Err(self.refused(&error)),
                Err(error) => self.pause(&error).await?,
            }
        }
    }

    async fn wait_until_running(&self) -> Result<(), CliError> {
        let mut restarts = 0;
        let mut resumed = false;
        loop {
            let failure = match self.rest.status(self.name).await {
                Ok(status) if status.is_running() => return Ok(()),
                Ok(status) if status.is_paused() && !resumed => {
                    resumed = self.rest.resume(self.name).await.is_ok();
                    RestError::Busy("the connector is paused, and was told to go on".into())
                }
                Ok(status) => match status.failed() {
                    Some(failed) if restarts >= RESTARTS_MAX => return Err(self.failed(failed)),
                    Some(_) => {
                        restarts += u32::from(self.rest.restart(self.name, false).await.is_ok());
                        self.wait_for_change(&status).await;
                        continue;
                    }
                    None => RestError::Busy(format!("the connector is {}", status.connector.state)),
                },
                // A worker takes a moment to hand out a new connector.
                Err(error) => error,
            };
            self.pause(&failure).await?;
        }
    }

    /// Waits until the worker says something else, for a little while: a restart takes a moment to show.
    async fn wait_for_change(&self, before: &Status) {
        let until = self.deadline.min(Instant::now() + 8 * PAUSE);
        while Instant::now() < until && self.rest.status(self.name).await.is_ok_and(|now| now == *before) {
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// # Errors
    /// If the time is over.
    async fn pause(&self, error: &RestError) -> Result<(), CliError> {
        if Instant::now() + PAUSE >= self.deadline {
            return Err(CliError::new(format!(
                "the connector {} does not run within {:?} (CACHEFRONT_STARTUP_TIMEOUT), Kafka Connect at {} \
                 (CACHEFRONT_CONNECT_URL): {error}",
                self.name,
                self.timeout,
                self.rest.host()
            )));
        }
        self.waiting.pause("Kafka Connect", self.rest.host(), &error.to_string()).await;
        Ok(())
    }

    fn refused(&self, error: &RestError) -> CliError {
        // Connect answers 500 where it should say which setting is wrong; its log has the reason.
        CliError::new(format!(
            "Kafka Connect at {} refuses the connector {}: {error}. The reason stands in the log of Kafka Connect; often \
             the database of CACHEFRONT_CONNECT_MYSQL_URL cannot be reached from there, or its password is wrong",
            self.rest.host(),
            self.name
        ))
    }

    fn failed(&self, part: &Part) -> CliError {
        for line in part.trace_lines() {
            eprintln!("{line}");
        }
        CliError::new(format!("the connector {} is FAILED: {}", self.name, part.cause()))
    }
}

fn say(line: &str) {
    use std::io::Write;
    // A closed terminal is no reason to stop.
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}
