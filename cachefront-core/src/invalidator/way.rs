//! How long each part of a change's way took. It is shown, and decides nothing.

use metrics::Histogram;

use crate::clock::Timestamp;
use crate::event::TransitTimes;
use crate::metrics::CdcMetrics;

/// When a batch passed the stations of its invalidator.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moments {
    pub(super) received_at: Timestamp,
    pub(super) visible_at: Timestamp,
}

/// Notes the parts of the way that ends now, at the last key's invalidation.
pub(super) fn passed(metrics: &CdcMetrics, times: &[(Timestamp, TransitTimes)], moments: &Moments, now: Timestamp) {
    let [capture, queue, read, apply] = &metrics.stages;
    for (committed_at, transit) in times {
        note(capture, *committed_at, transit.captured_at);
        note(queue, transit.captured_at, transit.queued_at);
        // Straight from the log, reading begins with the commit.
        let from = if transit.queued_at.is_known() { transit.queued_at } else { *committed_at };
        note(read, from, moments.received_at);
        note(&metrics.lag_seconds, *committed_at, now);
    }
    note(apply, moments.visible_at, now);
}

fn note(part: &Histogram, from: Timestamp, to: Timestamp) {
    if from.is_known() && to.is_known() {
        part.record(to.since(from).as_secs_f64());
    }
}
