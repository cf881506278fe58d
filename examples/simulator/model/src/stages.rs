//! How long changes take in each stage, as the consumer measures it.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::Duration;

use cachefront::{AppliedBatch, InvalidationMode, StageLatency, Timestamp};
use serde::{Deserialize, Serialize};

/// An older transaction says nothing about the present.
const WINDOW: Duration = Duration::from_secs(10);

/// Maximum number of transactions that are kept; a mean over more would not be better.
const KEPT_MAX: usize = 512;

/// The time in each stage, in ms, as the mean over the last seconds. `None` if it was not measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Stages {
    /// From the commit to the connector that read it.
    pub capture_ms: Option<f64>,
    /// From the connector to Kafka.
    pub queue_ms: Option<f64>,
    /// From Kafka, or from the commit if there is none, to the consumer.
    pub read_ms: Option<f64>,
    /// How long the consumer waited until the change was visible to all readers.
    pub gate_ms: Option<f64>,
    /// From then to the end of its invalidations.
    pub apply_ms: Option<f64>,
}

impl Stages {
    fn of(latency: &StageLatency) -> Self {
        let millis = |stage: Option<Duration>| stage.map(|stage| stage.as_secs_f64() * 1e3);
        Self {
            capture_ms: millis(latency.capture),
            queue_ms: millis(latency.queue),
            read_ms: millis(latency.read),
            gate_ms: millis(latency.gate),
            apply_ms: millis(latency.apply),
        }
    }

    /// From the consumer to the store.
    pub fn store_ms(&self) -> Option<f64> {
        Some(self.gate_ms? + self.apply_ms?)
    }
}

/// Keeps the times of recently applied transactions.
#[derive(Debug, Default)]
pub struct StageMeter(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    recent: VecDeque<(Timestamp, Stages)>,
    /// The mode of these transactions. A switch delays changes, so times from before it are dropped.
    mode: Option<InvalidationMode>,
}

impl StageMeter {
    /// Records a batch: each transaction once.
    pub fn note(&self, batch: &AppliedBatch) {
        let Ok(mut kept) = self.0.lock() else { return };
        if kept.mode.replace(batch.mode) != Some(batch.mode) {
            kept.recent.clear();
        }
        for latency in batch.latencies() {
            kept.recent.push_back((batch.applied_at, Stages::of(&latency)));
            if kept.recent.len() > KEPT_MAX {
                kept.recent.pop_front();
            }
        }
    }

    /// Returns the means at `now`.
    pub fn mean(&self, now: Timestamp) -> Stages {
        let Ok(mut kept) = self.0.lock() else { return Stages::default() };
        let kept = &mut kept.recent;
        while kept.front().is_some_and(|(at, _)| now.since(*at) > WINDOW) {
            kept.pop_front();
        }
        let mean = |part: fn(&Stages) -> Option<f64>| {
            let (sum, count) =
                kept.iter().filter_map(|(_, stages)| part(stages)).fold((0.0, 0), |(s, n), v| (s + v, n + 1));
            (count > 0).then(|| sum / f64::from(count))
        };
        Stages {
            capture_ms: mean(|stages| stages.capture_ms),
            queue_ms: mean(|stages| stages.queue_ms),
            read_ms: mean(|stages| stages.read_ms),
            gate_ms: mean(|stages| stages.gate_ms),
            apply_ms: mean(|stages| stages.apply_ms),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stages(read: f64, queue: Option<f64>) -> Stages {
        Stages { read_ms: Some(read), queue_ms: queue, ..Stages::default() }
    }

    #[test]
    fn the_mean_is_over_what_was_measured_in_the_last_seconds() {
        let meter = StageMeter::default();
        let at = |seconds: u64| Timestamp::from_micros(seconds * 1_000_000);
        meter.0.lock().expect("unpoisoned").recent.extend([
            (at(1), stages(900.0, None)),
            (at(12), stages(1.0, None)),
            (at(13), stages(3.0, Some(7.0))),
        ]);
        let mean = meter.mean(at(14));
        assert_eq!((mean.read_ms, mean.queue_ms, mean.gate_ms), (Some(2.0), Some(7.0), None));
        assert_eq!(mean.store_ms(), None, "nothing is made up of a part that is not known");
        assert_eq!(meter.mean(at(60)), Stages::default());
    }
}
