//! Latency of each stage of a change. It is recorded only; no decision depends on it.

use std::time::Duration;

use metrics::Histogram;

use crate::clock::Timestamp;
use crate::event::TransitTimes;
use crate::metrics::CdcMetrics;

/// When a batch reached the stages of its invalidator.
#[derive(Clone, Copy, Debug)]
pub(super) struct StageTimes {
    /// When the source delivered the batch.
    pub(super) received_at: Timestamp,
    /// When the gate opened for it; unknown in TTL mode.
    pub(super) visible_at: Timestamp,
}

/// How long one transaction spent in each stage. A stage is `None` if one of its two times is not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StageLatency {
    /// From the commit to the connector that read the log.
    pub capture: Option<Duration>,
    /// From the connector into the queue.
    pub queue: Option<Duration>,
    /// From the queue, or from the commit if there is none, to the invalidator.
    pub read: Option<Duration>,
    /// From then until loaders could read the commit.
    pub gate: Option<Duration>,
    /// From then until the last key was invalidated.
    pub apply: Option<Duration>,
}

impl StageLatency {
    pub(super) fn of(
        committed_at: Timestamp,
        transit: TransitTimes,
        stages: &StageTimes,
        applied_at: Timestamp,
    ) -> Self {
        // Without a queue, reading begins with the commit.
        let from = if transit.queued_at.is_known() { transit.queued_at } else { committed_at };
        Self {
            capture: between(committed_at, transit.captured_at),
            queue: between(transit.captured_at, transit.queued_at),
            read: between(from, stages.received_at),
            gate: between(stages.received_at, stages.visible_at),
            apply: between(stages.visible_at, applied_at),
        }
    }
}

fn between(from: Timestamp, to: Timestamp) -> Option<Duration> {
    (from.is_known() && to.is_known()).then(|| to.since(from))
}

/// Records the stages of a batch whose last key was invalidated at `now`.
pub(super) fn record(metrics: &CdcMetrics, times: &[(Timestamp, TransitTimes)], stages: &StageTimes, now: Timestamp) {
    let [capture, queue, read, apply] = &metrics.stages;
    for (committed_at, transit) in times {
        let latency = StageLatency::of(*committed_at, *transit, stages, now);
        record_stage(capture, latency.capture);
        record_stage(queue, latency.queue);
        record_stage(read, latency.read);
        record_stage(&metrics.lag_seconds, between(*committed_at, now));
    }
    record_stage(apply, between(stages.visible_at, now));
}

fn record_stage(stage: &Histogram, latency: Option<Duration>) {
    if let Some(latency) = latency {
        stage.record(latency.as_secs_f64());
    }
}
