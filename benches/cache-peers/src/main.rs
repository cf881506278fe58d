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

use std::io::Write;
use std::sync::Arc;

use serde_json::{Map, Value, json};

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// 100 bytes that are cheap to clone.
type Payload = Arc<[u8; 100]>;

fn payload(id: u64) -> Payload {
    Arc::new([id.to_le_bytes()[0]; 100])
}

/// What each contender needed in each round.
struct Times {
    unit: &'static str,
    /// Cachefront's come first.
    all: Vec<(&'static str, Vec<f64>)>,
}

impl Times {
    fn new(unit: &'static str, names: &[&'static str]) -> Self {
        Self { unit, all: names.iter().map(|name| (*name, Vec::new())).collect() }
    }

    /// Notes what a contender needed, unless the round does not count.
    fn note(&mut self, round: usize, contender: usize, time: f64) {
        if round > 0 {
            self.all[contender].1.push(time);
        }
    }

    fn report(mut self) -> Value {
        self.all.iter_mut().for_each(|(_, times)| times.sort_by(f64::total_cmp));
        let median = |times: &[f64]| times.get(times.len() / 2).copied().unwrap_or(f64::NAN);
        let rounded = |value: f64| (value * 100.0).round() / 100.0;
        let (mut contenders, mut ratios) = (Map::new(), Map::new());
        let ours = self.all.first().map_or(f64::NAN, |(_, times)| median(times));
        for (place, (name, times)) in self.all.iter().enumerate() {
            let [low, high] = [times.first(), times.last()].map(|time| time.map(|time| rounded(*time)));
            contenders
                .insert((*name).to_owned(), json!({ "low": low, "median": rounded(median(times)), "high": high }));
            if place > 0 {
                ratios.insert(format!("cachefront/{name}"), json!(rounded(ours / median(times))));
            }
        }
        json!({ "unit": self.unit, "contenders": contenders, "ratios": ratios })
    }
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), Failure> {
    let number = |index, default: usize| std::env::args().nth(index).map_or(Ok(default), |text| text.parse());
    let (rounds, reads) = (number(1, 5)?, number(2, 1_000_000)?);
    let mut report = Map::new();
    for (name, keys) in keys::all(reads) {
        report.insert(format!("hit_{name}"), hits::measure(rounds, &keys).await?.report());
    }
    report.insert("stampede".to_owned(), stampede::measure(rounds).await?.report());
    writeln!(std::io::stdout(), "{:#}", Value::Object(report))?;
    Ok(())
}
