//! Latency of each stage of a change. It is recorded only; no decision depends on it.

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

/// Records the stages of a batch whose last key was invalidated at `now`.
pub(super) fn record(metrics: &CdcMetrics, times: &[(Timestamp, TransitTimes)], stages: &StageTimes, now: Timestamp) {
    let [capture, queue, read, apply] = &metrics.stages;
    for (committed_at, transit) in times {
        record_stage(capture, *committed_at, transit.captured_at);
        record_stage(queue, transit.captured_at, transit.queued_at);
        // Without a queue, reading begins with the commit.
        let from = if transit.queued_at.is_known() { transit.queued_at } else { *committed_at };
        record_stage(read, from, stages.received_at);
        record_stage(&metrics.lag_seconds, *committed_at, now);
    }
    record_stage(apply, stages.visible_at, now);
}

/// Records one stage, if both of its times are known.
fn record_stage(stage: &Histogram, from: Timestamp, to: Timestamp) {
    if from.is_known() && to.is_known() {
        stage.record(to.since(from).as_secs_f64());
    }
}
