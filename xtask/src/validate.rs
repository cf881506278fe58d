//! `cargo xtask validate`: the checklist before a demonstration. Checks the machine, brings the stack up, runs both demos
//! over HTTP, and prints what passed. With containers it also kills each server, restarts all, and removes them.

mod demo;
mod list;
mod machine;
mod service;
mod walk;

use std::time::Duration;

use clap::Args;

use self::{list::List, service::Service};
use crate::{
    exec,
    failure::{Failure, Result},
};

/// What to validate.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The containers of compose.yaml, with the ports and settings that a user has, instead of processes on free ports.
    #[arg(long, alias = "compose")]
    containers: bool,
    /// Only embedded: no server, no container.
    #[arg(long, conflicts_with = "containers")]
    embedded: bool,
    /// Leave the containers running, as the project `cachefront-validate`.
    #[arg(long, requires = "containers")]
    keep: bool,
    /// Leave Grafana out, where its image cannot be had.
    #[arg(long, requires = "containers")]
    no_grafana: bool,
    /// Watch the alerts for this many minutes after the start, before the demos.
    #[arg(long, value_name = "MINUTES", requires = "containers", value_parser = clap::value_parser!(u64).range(1..=60))]
    quiet: Option<u64>,
}

/// Goes through the list, also after something failed, and fails if anything did.
pub(crate) fn run(options: &Options) -> Result<()> {
    let mut list = List::default();
    list.check("memory", || machine::memory(options.containers))?;
    if options.containers {
        list.check("ports", machine::ports)?;
    }
    list.check("tools", || machine::tools(options.containers, options.embedded))?;
    if options.containers {
        // Containers that cannot get their ports, or for which there is no memory, only hide why.
        if list.failed() == 0 {
            containers(options, &mut list)?;
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

fn containers(options: &Options, list: &mut List) -> Result<()> {
    let started = list.run("the containers come up", || Service::compose(options.keep, !options.no_grafana))?;
    let Some(mut service) = started else { return Ok(()) };
    list.check("Prometheus reads every role", || exec::block_on(service.prometheus())?)?;
    if !options.no_grafana {
        list.check("Grafana has the dashboards", || exec::block_on(service.grafana())?)?;
    }
    if let Some(minutes) = options.quiet {
        let time = Duration::from_secs(60 * minutes);
        // Before the demos: in TTL mode reads are behind, which is an alert.
        list.check("no alert fires", || exec::block_on(walk::quiet(&service.api, time))?)?;
    }
    demos(list, &service, "in containers")?;
    walk::kill_each(list, &service)?;
    walk::restart(list, &service)?;
    if list.failed() > 0 {
        // Before they are removed.
        eprintln!("{}", service::container_logs());
    }
    if !options.keep {
        list.check("all are removed", || service.remove())?;
    }
    Ok(())
}

fn demos(list: &mut List, service: &Service, place: &str) -> Result<()> {
    list.check(&format!("ready, {place}"), || exec::block_on(service.pages())?)?;
    list.check(&format!("demo: TTL stale read, {place}"), || exec::block_on(demo::ttl_stale_read(&service.api))?)?;
    list.check(&format!("demo: CDC invalidation, {place}"), || exec::block_on(demo::cdc_invalidation(&service.api))?)
}
