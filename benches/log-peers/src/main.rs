//! Row changes a second of cachefront (keys only, and all columns) and of other readers of the binary log, over one file of one
//! server, in alternating rounds: what disturbs the machine disturbs all.
//!
//! ```sh
//! eval "$(cargo xtask stack env)"
//! cargo run --release --manifest-path benches/log-peers/Cargo.toml -- 5 100000
//! ```
//!
//! The numbers are those of the rounds and of the rows; the log has an insert and an update of each row. A third argument leaves
//! one reader only, by its name, whose peak of memory is the process's. The report is JSON, on the standard output: medians and
//! ranges, and cachefront's median over each peer's.

mod failure;
mod log;
mod readers;

use std::io::Write;

use serde_json::{Value, json};

use crate::failure::Failure;
use crate::log::Log;

/// The readers, by their names in the report. The first two are cachefront's.
const READERS: [&str; 5] = ["cachefront_keys", "cachefront_values", "mysql_cdc", "rustcdc", "mysqlbinlog_raw"];

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), Failure> {
    let number = |index, default: u64| std::env::args().nth(index).map_or(Ok(default), |text| text.parse());
    let (rounds, rows) = (number(1, 5)?, number(2, 100_000)?);
    let only = std::env::args().nth(3);
    let log = Log::write(rows).await?;
    let mut rates: [Vec<f64>; READERS.len()] = Default::default();
    // One round does not count: it fills the server's caches. Who begins changes every round.
    for round in 0..=rounds as usize {
        for turn in 0..READERS.len() {
            let reader = (round + turn) % READERS.len();
            if only.as_deref().is_some_and(|only| only != READERS[reader]) {
                continue;
            }
            let seconds = readers::read(READERS[reader], &log).await?;
            if round > 0 {
                rates[reader].push(log.changes as f64 / seconds.as_secs_f64());
            }
        }
    }
    log.remove().await?;
    let report = report(&mut rates, &log);
    writeln!(std::io::stdout(), "{report:#}")?;
    Ok(())
}

fn report(rates: &mut [Vec<f64>], log: &Log) -> Value {
    rates.iter_mut().for_each(|rates| rates.sort_by(f64::total_cmp));
    let median = |rates: &[f64]| rates.get(rates.len() / 2).copied().unwrap_or(f64::NAN);
    let rounded = |value: f64| (value * 100.0).round() / 100.0;
    let mut readers = serde_json::Map::new();
    let mut ratios = serde_json::Map::new();
    for (name, own) in READERS.iter().zip(rates.iter()) {
        let whole = |rate: Option<&f64>| rate.map(|rate| rate.round());
        let range = json!({ "low": whole(own.first()), "median": median(own).round(), "high": whole(own.last()) });
        if !own.is_empty() {
            readers.insert((*name).to_owned(), range);
        }
    }
    for (ours, our_rates) in READERS.iter().zip(rates.iter()).take(2) {
        for (peer, peer_rates) in READERS.iter().zip(rates.iter()).skip(2) {
            let ratio = median(our_rates) / median(peer_rates);
            if ratio.is_finite() {
                ratios.insert(format!("{ours}/{peer}"), json!(rounded(ratio)));
            }
        }
    }
    json!({
        "unit": "row changes per second",
        "changes": log.changes,
        "readers": readers,
        "ratios": ratios,
        "peak_resident_kib": peak_resident_kib(),
    })
}

/// The most memory that this process had, in KiB. `None` where the system does not say.
fn peak_resident_kib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().trim_end_matches(" kB").parse().ok()
}
