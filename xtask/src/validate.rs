//! `cargo xtask validate`: the checklist before a demonstration. Checks the machine, brings the stack up, runs both demos
//! over HTTP, and prints what passed.

mod demo;
mod machine;
mod service;

use std::time::Instant;

use clap::Args;

use self::service::Service;
use crate::{
    exec,
    failure::{Failure, Result},
};

/// What to validate.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The containers of compose.yaml, with the ports and settings that a user has, instead of processes on free ports.
    #[arg(long)]
    compose: bool,
    /// Only embedded: no server, no container.
    #[arg(long, conflicts_with = "compose")]
    embedded: bool,
    /// Leave the containers running, as the project `cachefront-validate`.
    #[arg(long, requires = "compose")]
    keep: bool,
}

/// The list as it is filled in.
#[derive(Debug, Default)]
struct List {
    lines: Vec<Line>,
}

/// One line of the list.
#[derive(Debug)]
struct Line {
    what: String,
    outcome: std::result::Result<String, String>,
    seconds: f64,
}

impl List {
    /// Does one thing and keeps what came of it. Returns `None` if it failed.
    fn run<T>(&mut self, what: &str, step: impl FnOnce() -> Result<(T, String)>) -> Result<Option<T>> {
        exec::check_interrupted()?;
        eprintln!("validate: {what}");
        let started = Instant::now();
        let (value, outcome) = match step() {
            Ok((value, said)) => (Some(value), Ok(said)),
            Err(failure) => (None, Err(failure.to_string())),
        };
        exec::check_interrupted()?;
        self.lines.push(Line { what: what.to_owned(), outcome, seconds: started.elapsed().as_secs_f64() });
        Ok(value)
    }

    /// As [`List::run`], for what leaves nothing behind but words.
    fn check(&mut self, what: &str, step: impl FnOnce() -> Result<String>) -> Result<()> {
        self.run(what, || step().map(|said| ((), said))).map(drop)
    }

    #[expect(clippy::print_stdout, reason = "the table is what the command was called for")]
    fn print(&self) {
        println!();
        for line in &self.lines {
            let (word, said) = match &line.outcome {
                Ok(said) => ("ok", said),
                Err(said) => ("FAILED", said),
            };
            println!("{word:<7} {:<34} {:>6.1} s  {said}", line.what, line.seconds);
        }
        let failed = self.failed();
        println!("\n{} passed, {failed} failed", self.lines.len() - failed);
    }

    fn failed(&self) -> usize {
        self.lines.iter().filter(|line| line.outcome.is_err()).count()
    }
}

/// Goes through the list, also after something failed, and fails if anything did.
pub(crate) fn run(options: &Options) -> Result<()> {
    let mut list = List::default();
    list.check("memory", || machine::memory(options.compose))?;
    if options.compose {
        list.check("ports", machine::ports)?;
    }
    list.check("tools", || machine::tools(options.compose, options.embedded))?;
    if options.compose {
        // Containers that cannot get their ports, or for which there is no memory, only hide why.
        if list.failed() == 0 {
            compose(options, &mut list)?;
        }
    } else {
        processes(options, &mut list)?;
    }
    list.print();
    match list.failed() {
        0 => Ok(()),
        _ => Err(Failure::silent()),
    }
}

fn processes(options: &Options, list: &mut List) -> Result<()> {
    let built = list.run("the simulator builds", || {
        let program = crate::test::build_examples()?;
        Ok((program, String::new()))
    })?;
    let Some(program) = built else { return Ok(()) };
    if let Some(service) = list.run("starts embedded", || Service::embedded(&program))? {
        demos(list, &service, "embedded")?;
    }
    if options.embedded {
        return Ok(());
    }
    let up = list.run("the servers come up", || Ok((crate::stack::up()?, String::new())))?;
    let Some(up) = up else { return Ok(()) };
    if let Some(service) = list.run("starts on servers", || Service::on_servers(&program, &up.state))? {
        demos(list, &service, "on servers")?;
    }
    Ok(())
}

fn compose(options: &Options, list: &mut List) -> Result<()> {
    let started = list.run("the containers come up", || Service::compose(options.keep))?;
    let Some(service) = started else { return Ok(()) };
    demos(list, &service, "in containers")?;
    list.check("Prometheus reads every role", || exec::block_on(service.prometheus())?)?;
    list.check("Grafana has the dashboards", || exec::block_on(service.grafana())?)?;
    if list.failed() > 0 {
        // Before they are removed.
        eprintln!("{}", service::container_logs());
    }
    Ok(())
}

fn demos(list: &mut List, service: &Service, place: &str) -> Result<()> {
    list.check(&format!("ready, {place}"), || exec::block_on(service.pages())?)?;
    list.check(&format!("demo: TTL stale read, {place}"), || exec::block_on(demo::ttl_stale_read(&service.api))?)?;
    list.check(&format!("demo: CDC invalidation, {place}"), || exec::block_on(demo::cdc_invalidation(&service.api))?)
}
