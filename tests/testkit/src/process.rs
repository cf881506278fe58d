//! The simulator as a program of its own, as a user runs it.

use std::{
    net::SocketAddr,
    process::{Command, ExitStatus},
    time::Duration,
};

use rustix::process::Signal;
use tempfile::TempDir;

use crate::{
    connector::{Connector, Servers},
    port,
    server::{Process, temporary_dir},
    stack,
    unique::{self, Database},
    wait,
};

/// How long a start may take.
const START: Duration = Duration::from_secs(60);
/// How long an orderly end may take.
const STOP: Duration = Duration::from_secs(20);
/// How long one request to the health page may take.
const REQUEST: Duration = Duration::from_secs(5);

/// How the simulator is to be started; see [`Simulator::role`].
#[derive(Debug, Clone)]
pub struct Launch {
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
}

impl Launch {
    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, argument: impl Into<String>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// Sets a variable of the environment; the last value of a name counts.
    #[must_use]
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Makes the role run on the shared servers, with a database of its own.
    #[must_use]
    pub fn on_servers(self, database: &Database) -> Self {
        self.env("CACHEFRONT_MYSQL_URL", database.url()).env("CACHEFRONT_REDIS_URL", stack::redis_url())
    }

    /// The same with the changes coming by Debezium and Kafka, over the connector `prefix`.
    #[must_use]
    pub fn over_kafka(self, database: &Database, prefix: &str) -> Self {
        let worker_url = format!("{}/{}", stack::connect_mysql_url().trim_end_matches('/'), database.name());
        self.on_servers(database)
            .env("CACHEFRONT_SOURCE", "kafka")
            .env("CACHEFRONT_KAFKA_BROKERS", stack::kafka_brokers())
            .env("CACHEFRONT_CONNECT_KAFKA_BROKERS", stack::connect_kafka_brokers())
            .env("CACHEFRONT_CONNECT_URL", stack::connect_url())
            .env("CACHEFRONT_CONNECT_MYSQL_URL", worker_url)
            .env("CACHEFRONT_TOPIC_PREFIX", prefix)
            .env("CACHEFRONT_KAFKA_GROUP", prefix)
            .env("CACHEFRONT_STARTUP_TIMEOUT", "60s")
    }

    /// Starts the program and waits until its health page responds.
    ///
    /// # Panics
    /// If it ends or does not respond in time; the message holds its log.
    pub async fn start(self) -> Simulator {
        let mut simulator = self.spawn();
        simulator.wait_until_healthy().await;
        simulator
    }

    /// Starts the program and waits for nothing, as for a role without a page or a start that must fail.
    ///
    /// # Panics
    /// If the program cannot be started.
    pub fn spawn(self) -> Simulator {
        let dir = temporary_dir("simulator");
        let address = || SocketAddr::from(([127, 0, 0, 1], port::free()));
        let (api, ui, consumer) = (address(), address(), address());
        let health = if self.arguments.first().is_some_and(|role| role == "consumer") { consumer } else { api };
        let process = run(&self, &dir, [api, ui, consumer]);
        Simulator { process, launch: self, dir, api, ui, consumer, health }
    }
}

/// Registers a connector for `database` by the role `bootstrap`, and waits until it runs.
///
/// # Panics
/// If it does not; the message holds the role's log.
pub async fn bootstrap(database: &Database) -> Connector {
    let prefix = unique::name("sim");
    let mut bootstrap = Simulator::role("bootstrap").over_kafka(database, &prefix).spawn();
    assert!(bootstrap.ended(START).await.success(), "{}", bootstrap.log());
    Connector::adopt(&Servers::shared(), &prefix, database)
}

/// A running simulator with a data folder and ports of its own. Dropping the value kills it.
#[derive(Debug)]
pub struct Simulator {
    // First: the program must be gone before its folder is removed.
    process: Process,
    launch: Launch,
    dir: TempDir,
    api: SocketAddr,
    ui: SocketAddr,
    consumer: SocketAddr,
    health: SocketAddr,
}

impl Simulator {
    /// Prepares a start in `role`: `up`, `api`, `consumer`, `load`. It is embedded unless the caller names servers with
    /// [`Launch::env`]: no `CACHEFRONT_` variable is inherited.
    pub fn role(role: &str) -> Launch {
        Launch { arguments: vec![role.to_owned()], environment: Vec::new() }
    }

    /// Base of the API: `http://127.0.0.1:port`.
    pub fn api_url(&self) -> String {
        format!("http://{}", self.api)
    }

    /// Base of the control panel: `http://127.0.0.1:port`.
    pub fn ui_url(&self) -> String {
        format!("http://{}", self.ui)
    }

    /// Base of the consumer's own pages: `http://127.0.0.1:port`.
    pub fn consumer_url(&self) -> String {
        format!("http://{}", self.consumer)
    }

    /// The data folder: the embedded database is in it.
    pub fn data_dir(&self) -> std::path::PathBuf {
        self.dir.path().join("data")
    }

    /// Kills the program (`kill -9`).
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Stops the program without ending it: it does not reply, and its connections stay open.
    pub fn freeze(&mut self) {
        self.process.freeze();
    }

    /// Lets a frozen program go on.
    pub fn resume(&mut self) {
        self.process.resume();
    }

    /// Asks the program to end and waits until it has.
    ///
    /// # Panics
    /// If that takes too long.
    pub async fn stop(&mut self) -> ExitStatus {
        self.process.stop(STOP).await
    }

    /// Asks the program to end and waits for nothing.
    pub fn tell_to_end(&mut self) {
        self.process.signal(Signal::TERM);
    }

    /// Waits until the program has ended by itself.
    ///
    /// # Panics
    /// After `timeout`.
    pub async fn ended(&mut self, timeout: Duration) -> ExitStatus {
        wait::until_some("the simulator has ended", timeout, async || self.process.exit_status()).await
    }

    /// Starts the program again as before: same ports, same data. Kills it first if it runs.
    ///
    /// # Panics
    /// If it does not respond in time.
    pub async fn restart(&mut self) {
        self.kill();
        self.process = run(&self.launch, &self.dir, [self.api, self.ui, self.consumer]);
        self.wait_until_healthy().await;
    }

    /// Everything that the program has printed, over all its starts.
    pub fn log(&self) -> String {
        self.process.log()
    }

    async fn wait_until_healthy(&mut self) {
        let client = reqwest::Client::builder().timeout(REQUEST).no_proxy().build().expect("a plain client");
        let url = format!("http://{}/healthz", self.health);
        let healthy = wait::until_some("the simulator is healthy", START, async || {
            if !self.process.is_running() {
                return Some(false);
            }
            let reply = client.get(&url).send().await.ok()?;
            reply.status().is_success().then_some(true)
        });
        if !healthy.await {
            panic!("the simulator ended at its start:\n{}", self.process.log_tail());
        }
    }
}

fn run(launch: &Launch, dir: &TempDir, [api, ui, consumer]: [SocketAddr; 3]) -> Process {
    let mut command = Command::new(stack::simulator());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("CACHEFRONT_") {
            command.env_remove(name);
        }
    }
    command
        .current_dir(dir.path())
        .env("CACHEFRONT_API_ADDR", api.to_string())
        .env("CACHEFRONT_UI_ADDR", ui.to_string())
        .env("CACHEFRONT_CONSUMER_ADDR", consumer.to_string())
        .env("CACHEFRONT_API_URL", format!("http://{api}"))
        .env("CACHEFRONT_DATA_DIR", dir.path().join("data"))
        // Tests count ids and rows from nothing.
        .env("CACHEFRONT_SAMPLE_USERS", "false")
        .envs(launch.environment.iter().map(|(name, value)| (name, value)))
        .args(&launch.arguments);
    Process::start("simulator", command, dir.path()).expect("the simulator can be started")
}
