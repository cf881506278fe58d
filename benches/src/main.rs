//! Measures cachefront against the raw clients, in one program and one run, and writes ratios as JSON.
//!
//! Started by `cargo xtask bench`, which brings the servers up and builds this in release. A new ratio is a file of its
//! own with `async fn measure(Plan) -> Vec<Ratio>`, listed in [`run`].

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

use std::{fs, path::PathBuf};

use clap::Parser;
use serde_json::{Map, Value, json};

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
    let report = match arguments.scale {
        Some(keys) => runtime.block_on(scale::measure(keys)),
        None => report(&runtime.block_on(run(&arguments)), arguments.quick),
    };
    let text = serde_json::to_string_pretty(&report)?;
    print(&text);
    if let Some(out) = &arguments.out {
        fs::write(out, text + "\n")?;
    }
    Ok(())
}

async fn run(arguments: &Arguments) -> Vec<Ratio> {
    let plan = match (arguments.once, arguments.quick) {
        (true, _) => Plan::once(),
        (false, true) => Plan::quick(),
        (false, false) => Plan::full(),
    };
    let wanted = |name: &str| arguments.only.as_deref().is_none_or(|only| name.contains(only));
    let mut ratios = Vec::new();
    if wanted("l1_hit") {
        ratios.extend(l1_hit::measure(plan).await);
    }
    if wanted("memory_per_entry") {
        ratios.extend(memory::measure(plan));
    }
    if wanted("stampede_time") {
        ratios.extend(stampede::measure(plan).await);
    }
    if wanted("stampede_two_processes_time") {
        ratios.extend(herd::measure(plan).await);
    }
    if wanted("redis_hit get_many_50") {
        ratios.extend(redis_hit::measure(plan).await);
    }
    if wanted("invalidations") {
        ratios.extend(invalidations::measure(plan).await);
    }
    if wanted("binlog_rows binlog_values") {
        ratios.extend(binlog_rows::measure(plan).await);
    }
    if wanted("kafka_events kafka_events_full") {
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
