//! The simulator: users in a database, read through a cache that is kept right by the database's change log.
//!
//! `cargo run --example simulator` runs everything in this process on SQLite, with nothing installed; `-- up --stack`
//! runs on MySQL and Redis. Each part can run alone too: [`roles`] is what each role runs, and the crates next to this
//! one are the parts.

mod cli;
mod healthcheck;
mod inspect;
mod roles;

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use loadgen::load::Target;
use simulator_cli::{CliError, Environment};
use simulator_model::settings::Settings;
use tracing_subscriber::EnvFilter;

use crate::cli::{Cli, Command};

/// How long to wait for blocking threads after everything else has ended.
const THREADS_END_MAX: Duration = Duration::from_secs(1);

/// Runs the command that the arguments name. Errors go to standard error as one line.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli) {
        Ok(code) => code,
        Err(fatal) => {
            eprintln!("error: {fatal}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> Result<ExitCode, CliError> {
    let environment = Environment::read(Path::new(".env"))?;
    let command = cli.command.unwrap_or(Command::Up);
    let settings = Settings::resolve(command.needs_servers(), &cli.flags, &environment)?;
    log_to_stderr(environment.get("CACHEFRONT_LOG"))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| CliError::new(format!("cannot start: {error}")))?;
    let outcome = runtime.block_on(async {
        match command {
            Command::Up => roles::up(settings).await?,
            Command::Api => roles::api(settings).await?,
            Command::Ui => roles::ui(settings).await?,
            Command::Consumer => roles::consumer(settings).await?,
            Command::Bootstrap(flags) => simulator_model::connect::bootstrap(&settings, flags.watch).await?,
            Command::Openapi => roles::openapi()?,
            Command::Load(flags) => return loadgen::load::run(target(&settings), &flags).await,
            Command::Experiment(flags) => return loadgen::experiment::run(target(&settings), &flags).await,
            Command::Sweep(flags) => {
                return loadgen::sweep::run(target(&settings), &flags, settings.runs.sweep_max).await;
            }
            Command::Inspect(flags) => return inspect::run(&settings, &flags).await,
            Command::Healthcheck(flags) => healthcheck::run(&settings, &flags).await?,
        }
        Ok(ExitCode::SUCCESS)
    });
    // Bounded, so that a thread blocked on a hanging server does not delay the exit.
    runtime.shutdown_timeout(THREADS_END_MAX);
    outcome
}

fn log_to_stderr(filter: Option<&str>) -> Result<(), CliError> {
    let filter = EnvFilter::try_new(filter.unwrap_or("info"))
        .map_err(|error| CliError::new(format!("CACHEFRONT_LOG is not a filter such as info or debug: {error}")))?;
    let colours = std::io::IsTerminal::is_terminal(&std::io::stderr());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(colours).init();
    Ok(())
}

/// Returns the API that load is sent to.
fn target(settings: &Settings) -> Target {
    Target { url: settings.api_url.clone(), token: settings.client_token().cloned() }
}
