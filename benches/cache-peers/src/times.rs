//! The values of all contenders, and what each needed in each round.

use std::sync::Arc;

use serde_json::{Map, Value, json};

pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;

/// 100 bytes that are cheap to clone.
pub(crate) type Payload = Arc<[u8; 100]>;

pub(crate) fn payload(id: u64) -> Payload {
    Arc::new([id.to_le_bytes()[0]; 100])
}

/// What each contender needed in each round.
pub(crate) struct Times {
    unit: &'static str,
    /// Cachefront's come first.
    all: Vec<(&'static str, Vec<f64>)>,
}

impl Times {
    pub(crate) fn new(unit: &'static str, names: &[&'static str]) -> Self {
        Self { unit, all: names.iter().map(|name| (*name, Vec::new())).collect() }
    }

    /// Notes what a contender needed, unless the round does not count.
    pub(crate) fn note(&mut self, round: usize, contender: usize, time: f64) {
        if round > 0 {
            self.all[contender].1.push(time);
        }
    }

    pub(crate) fn report(mut self) -> Value {
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
