//! Hits in a process-local cache, and a stampede, of cachefront and of other caches, in alternating rounds: what disturbs the
//! machine disturbs all.
//!
//! ```sh
//! cargo run --release --manifest-path benches/cache-peers/Cargo.toml -- 5 1000000
//! ```
//!
//! The numbers are those of the rounds and of the reads of a round. The report is JSON, on the standard output: medians and
//! ranges, and cachefront's median over each peer's. No server is needed: cachefront keeps its entries correct by a log in memory.

mod hits;
mod keys;
mod ours;
mod stampede;
mod times;

use std::io::Write;

use serde_json::{Map, Value};

use crate::hits::Pace;
use crate::times::Failure;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), Failure> {
    let number = |index, default: usize| std::env::args().nth(index).map_or(Ok(default), |text| text.parse());
    let (rounds, reads) = (number(1, 5)?, number(2, 1_000_000)?);
    let mut report = Map::new();
    for (name, keys) in keys::all(reads) {
        let keys = keys.into();
        report.insert(format!("hit_{name}"), hits::measure(rounds, 1, &keys, Pace::Overlapping).await?.report());
        report
            .insert(format!("hit_{name}_one_by_one"), hits::measure(rounds, 1, &keys, Pace::OneByOne).await?.report());
        if name == "hot" {
            let times = hits::measure(rounds, 2, &keys, Pace::OneByOne).await?;
            report.insert("hit_hot_two_readers".to_owned(), times.report());
        }
    }
    report.insert("stampede".to_owned(), stampede::measure(rounds).await?.report());
    writeln!(std::io::stdout(), "{:#}", Value::Object(report))?;
    Ok(())
}
