//! Measures cachefront against the raw clients, in one program and one run, and writes ratios as JSON.
//!
//! Started by `cargo xtask bench`, which brings the servers up and builds this in release. A new ratio is a file of its
//! own with `async fn measure(Plan) -> Vec<Ratio>`, listed in [`measure`].

mod against;
mod binlog_rows;
mod child;
mod followers;
mod herd;
mod invalidations;
mod kafka_events;
mod l1_hit;
mod memory;
mod output;
mod ratio;
mod redis_hit;
mod scale;
mod shop;
mod stampede;
mod world;

use std::fs;
use std::path::{Path, PathBuf};

use clap::Parser;
use serde_json::{Map, Value, json};

use crate::against::Fallen;
use crate::memory::Holder;
use crate::output::print;
use crate::ratio::{Plan, Ratio, rounded};

/// Measures cachefront against the raw clients.
#[derive(Debug, Parser)]
struct Arguments {
    /// Fewer rounds and less work in each: well under a minute.
    #[arg(long)]
    quick: bool,
    /// One round of each, which shows that it runs and not how fast.
    #[arg(long, hide = true, conflicts_with = "quick")]
    once: bool,
    /// Only measurements whose name contains this.
    #[arg(long)]
    only: Option<String>,
    /// Only this: what the operations cost, from 1,000 keys to this many, from 1 to 100 caches, and with up to 32 other
    /// processes that follow the bus.
    #[arg(long, value_name = "KEYS")]
    scale: Option<u64>,
    /// Fails if a ratio is worse by more than 15 % than in this report of a former run, and again when it is measured once more.
    #[arg(long, value_name = "REPORT", conflicts_with = "scale")]
    against: Option<PathBuf>,
    /// Where the JSON goes, besides the standard output.
    #[arg(long)]
    out: Option<PathBuf>,
    /// Holds entries, prints by how many bytes the process grew, and ends: `memory_per_entry` starts this program so.
    #[arg(long, hide = true)]
    hold: Option<Holder>,
    /// Follows the bus of a store's namespace with this many caches until its input ends: `--scale` starts this program so.
    #[arg(long, hide = true, num_args = 3, value_names = ["URL", "NAMESPACE", "CACHES"])]
    follow: Option<Vec<String>>,
    /// Reads with many tasks at once the key of each line of its input: `stampede_two_processes_time` starts this program so.
    #[arg(long, hide = true, num_args = 2, value_names = ["URL", "NAMESPACE"])]
    herd: Option<Vec<String>>,
}

fn main() -> std::io::Result<()> {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    if let Some(holder) = arguments.hold {
        print(&runtime.block_on(memory::hold(holder)).to_string());
        return Ok(());
    }
    if let Some([url, namespace, caches]) = arguments.follow.as_deref() {
        let caches = caches.parse().map_err(std::io::Error::other)?;
        runtime.block_on(followers::follow(url, namespace, caches));
        return Ok(());
    }
    if let Some([url, namespace]) = arguments.herd.as_deref() {
        runtime.block_on(herd::run(url, namespace));
        return Ok(());
    }
    let former = arguments.against.as_deref().map(|path| former(path, arguments.quick)).transpose()?;
    if let Some(keys) = arguments.scale {
        return publish(&runtime.block_on(scale::measure(keys)), arguments.out.as_deref());
    }
    let ratios = runtime.block_on(measure(arguments.plan(), arguments.only.as_deref()));
    if ratios.is_empty() {
        return Err(std::io::Error::other("nothing was measured: no measurement has such a name"));
    }
    publish(&report(&ratios, arguments.quick), arguments.out.as_deref())?;
    match former {
        Some(former) => runtime.block_on(hold(&ratios, &former, arguments.plan())),
        None => Ok(()),
    }
}

/// Prints a report, and writes it to a file.
fn publish(report: &Value, out: Option<&Path>) -> std::io::Result<()> {
    let text = serde_json::to_string_pretty(report)?;
    print(&text);
    if let Some(out) = out {
        fs::write(out, text + "\n")?;
    }
    Ok(())
}

/// Reads the report of a former run with the same amounts of work.
fn former(path: &Path, quick: bool) -> std::io::Result<Value> {
    let named = |cause: &dyn std::fmt::Display| std::io::Error::other(format!("{}: {cause}", path.display()));
    let text = fs::read_to_string(path).map_err(|cause| named(&cause))?;
    let report = serde_json::from_str(&text).map_err(|cause| named(&cause))?;
    against::is_report(&report, quick).map_err(|cause| named(&cause))?;
    Ok(report)
}

/// Measures what is worse than before once more: a machine that was busy for a moment is no slower program.
///
/// # Errors
/// If it is worse again, or if nothing was compared.
async fn hold(ratios: &[Ratio], former: &Value, plan: Plan) -> std::io::Result<()> {
    if !against::has_common(ratios, former) {
        return Err(std::io::Error::other("the former report has none of the ratios that were measured"));
    }
    let mut still = Vec::new();
    for once in against::fallen(ratios, former) {
        let again = measure(plan, Some(once.name)).await;
        if !again.iter().any(|ratio| ratio.name() == once.name) {
            still.push(format!("{}: it could not be measured again", once.name));
        }
        let again = against::fallen(&again, former).into_iter().find(|again| again.name == once.name);
        still.extend(again.map(|again| {
            let Fallen { name, before, now } = again;
            format!("{name}: {before:.3} before, {:.3} and {now:.3} now", once.now)
        }));
    }
    if still.is_empty() {
        return Ok(());
    }
    Err(std::io::Error::other(format!("worse by more than 15 %: {}", still.join("; "))))
}

impl Arguments {
    fn plan(&self) -> Plan {
        match (self.once, self.quick) {
            (true, _) => Plan::once(),
            (false, true) => Plan::quick(),
            (false, false) => Plan::full(),
        }
    }
}

/// Runs the measurements that have a ratio whose name contains `only`.
async fn measure(plan: Plan, only: Option<&str>) -> Vec<Ratio> {
    let wanted = |names: &[&str]| only.is_none_or(|only| names.iter().any(|name| name.contains(only)));
    let mut ratios = Vec::new();
    if wanted(&["l1_hit_time", "l1_hit_allocations"]) {
        ratios.extend(l1_hit::measure(plan).await);
    }
    if wanted(&["memory_per_entry"]) {
        ratios.extend(memory::measure(plan));
    }
    if wanted(&["stampede_time"]) {
        ratios.extend(stampede::measure(plan).await);
    }
    if wanted(&["stampede_two_processes_time"]) {
        ratios.extend(herd::measure(plan).await);
    }
    if wanted(&["redis_hit_throughput", "redis_hit_cpu", "get_many_50"]) {
        ratios.extend(redis_hit::measure(plan).await);
    }
    if wanted(&["invalidations"]) {
        ratios.extend(invalidations::measure(plan).await);
    }
    if wanted(&["binlog_rows", "binlog_values"]) {
        ratios.extend(binlog_rows::measure(plan).await);
    }
    if wanted(&["kafka_events", "kafka_events_full", "kafka_events_memory_growth"]) {
        ratios.extend(kafka_events::measure(plan).await);
    }
    ratios
}

fn report(ratios: &[Ratio], quick: bool) -> Value {
    let values: Map<String, Value> =
        ratios.iter().map(|ratio| (ratio.name().to_owned(), json!(rounded(ratio.value())))).collect();
    let details: Map<String, Value> = ratios.iter().map(|ratio| (ratio.name().to_owned(), ratio.details())).collect();
    json!({ "ratios": values, "details": details, "quick": quick })
}
