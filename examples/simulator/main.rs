//! The simulator: users in a database, read through a cache that is kept right by the database's change log.
//!
//! `cargo run --example simulator` runs everything in this process on SQLite, with nothing installed; `-- up --stack`
//! runs on MySQL and Redis. Each part can run alone too:
//!
//! - [`roles`]: what each role runs; [`world`]: the parts that it is made of;
//! - [`access`]: accounts, sessions, tokens and the audit list; [`faults`]: what can be broken on purpose; [`inspector`]:
//!   what is cached, compared with the database all the time;
//! - [`api`]: the HTTP contract; [`ui`]: the control panel's first page;
//! - [`domain`]: users, the mode, and the [`Database`](domain::Database) behind both, in [`db`];
//! - [`caches`]: how the library is used; [`source`]: change capture for the embedded database;
//! - [`mode`], [`pipeline`], [`events`]: what every role agrees on and shows;
//! - [`connect`]: registers Debezium's connector and follows it;
//! - [`load`]: a load generator; [`experiment`]: the same load in both modes, side by side.

mod access;
mod api;
mod caches;
mod carried;
mod config;
mod connect;
mod db;
mod domain;
mod events;
mod experiment;
mod fatal;
mod faults;
mod healthcheck;
mod inspector;
mod interest;
mod load;
mod metrics;
mod mode;
mod pipeline;
mod roles;
mod serve;
mod source;
mod stages;
mod together;
mod ui;
mod waiting;
mod world;

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use tracing_subscriber::EnvFilter;

use crate::config::{Cli, Environment, Role, Settings};
use crate::fatal::Fatal;

/// Threads that block have this long to end after everything else has.
const THREADS_END_MAX: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli) {
        Ok(code) => code,
        Err(fatal) => {
            eprintln!("error: {fatal}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> Result<ExitCode, Fatal> {
    let environment = Environment::read(Path::new(".env"))?;
    let role = cli.role.unwrap_or(Role::Up);
    let settings = Settings::resolve(&role, &cli.flags, &environment)?;
    log_to_stderr(environment.get("CACHEFRONT_LOG"))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Fatal::new(format!("cannot start: {error}")))?;
    let outcome = runtime.block_on(async {
        match role {
            Role::Up => roles::up(settings).await?,
            Role::Api => roles::api(settings).await?,
            Role::Ui => roles::ui(settings).await?,
            Role::Consumer => roles::consumer(settings).await?,
            Role::Bootstrap(flags) => connect::bootstrap(&settings, &flags).await?,
            Role::Openapi => roles::openapi()?,
            Role::Load(flags) => return load::run(&settings, &flags).await,
            Role::Experiment(flags) => return experiment::run(&settings, &flags).await,
            Role::Inspect(flags) => return inspector::role::run(&settings, &flags).await,
            Role::Healthcheck(flags) => healthcheck::run(&settings, &flags).await?,
        }
        Ok(ExitCode::SUCCESS)
    });
    // A thread that waits for a server that hangs does not hold up the end.
    runtime.shutdown_timeout(THREADS_END_MAX);
    outcome
}

fn log_to_stderr(filter: Option<&str>) -> Result<(), Fatal> {
    let filter = EnvFilter::try_new(filter.unwrap_or("info"))
        .map_err(|error| Fatal::new(format!("CACHEFRONT_LOG is not a filter such as info or debug: {error}")))?;
    let colours = std::io::IsTerminal::is_terminal(&std::io::stderr());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(colours).init();
    Ok(())
}
