//! How far behind the database a cached read can be, as seen by the reader.
//!
//! Measured outside of the change capture, so that the numbers go on, and get worse, when that is gone.

use std::time::Duration;

use metrics::{Gauge, Histogram, gauge, histogram};
use tokio_util::sync::CancellationToken;

use super::names::{MODE, PIPELINE_LAG_SECONDS, PIPELINE_RUNNING, STALENESS_BOUND_SECONDS};
use crate::domain::Mode;
use crate::pipeline::{Pipeline, PipelineView};
use crate::viewers::Viewers;

/// The interval between two measurements.
const EVERY: Duration = Duration::from_millis(250);

/// Observes `pipeline` until `stop`; `ttl` is how long an entry may live.
pub async fn observe_freshness(pipeline: Pipeline, ttl: Duration, interest: Viewers, stop: CancellationToken) {
    let gauges = Gauges::new();
    let mut ticks = tokio::time::interval(EVERY);
    // After a pause of the machine one late measurement is made, and not all that were missed.
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = async { interest.wait().await; ticks.tick().await; } => gauges.set(&pipeline.view().await, ttl),
        }
    }
}

/// The maximum staleness of a plain read. Even if the change capture is behind or gone, the time to live bounds it. While no
/// generation is in force, every read goes to the database and none is behind.
fn staleness_bound(view: &PipelineView, ttl: Duration) -> f64 {
    let lag = view.lag_ms.map_or(f64::INFINITY, |ms| ms / 1e3);
    match view.mode {
        Mode::Cdc if !view.caches => 0.0,
        Mode::Cdc => lag.min(ttl.as_secs_f64()),
        Mode::Ttl => ttl.as_secs_f64(),
    }
}

struct Gauges {
    bound: Histogram,
    running: Gauge,
    lag: Gauge,
    modes: [(Mode, Gauge); 2],
}

impl Gauges {
    fn new() -> Self {
        Self {
            bound: histogram!(STALENESS_BOUND_SECONDS),
            running: gauge!(PIPELINE_RUNNING),
            lag: gauge!(PIPELINE_LAG_SECONDS),
            modes: [Mode::Ttl, Mode::Cdc].map(|mode| (mode, gauge!(MODE, "mode" => mode.as_str()))),
        }
    }

    fn set(&self, view: &PipelineView, ttl: Duration) {
        self.bound.record(staleness_bound(view, ttl));
        self.running.set(if view.running { 1.0 } else { 0.0 });
        self.lag.set(view.lag_ms.map_or(f64::INFINITY, |ms| ms / 1e3));
        for (mode, gauge) in &self.modes {
            gauge.set(if *mode == view.mode { 1.0 } else { 0.0 });
        }
    }
}

#[cfg(test)]
mod tests {
    use cachefront::OnLag;

    use super::*;
    use crate::freshness::FreshnessObjective;
    use crate::settings::BuiltWith;

    const TTL: Duration = Duration::from_secs(30);

    fn view(mode: Mode, lag_ms: Option<f64>) -> PipelineView {
        PipelineView {
            mode,
            source: "sqlite".into(),
            embedded: true,
            running: true,
            lag_ms,
            applied: None,
            events_total: 0,
            invalidations_total: 0,
            freshness: FreshnessObjective { objective: TTL, on_lag: OnLag::Serve }.unknown(mode),
            built_with: BuiltWith { ttl_ms: 30_000, fenced: false, refresh_in_place: false, stale_if_error_ms: 0 },
            caches: true,
            stages: Default::default(),
        }
    }

    #[test]
    fn change_capture_bounds_a_read_by_its_lag() {
        assert_eq!(staleness_bound(&view(Mode::Cdc, Some(12.0)), TTL), 0.012);
        assert_eq!(staleness_bound(&view(Mode::Cdc, Some(90_000.0)), TTL), 30.0);
        assert_eq!(staleness_bound(&view(Mode::Cdc, None), TTL), 30.0);
        assert_eq!(staleness_bound(&view(Mode::Ttl, Some(12.0)), TTL), 30.0);
        let before_the_first_generation = PipelineView { caches: false, ..view(Mode::Cdc, None) };
        assert_eq!(staleness_bound(&before_the_first_generation, TTL), 0.0);
        let in_ttl_mode = PipelineView { caches: false, ..view(Mode::Ttl, None) };
        assert_eq!(staleness_bound(&in_ttl_mode, TTL), 30.0);
    }
}
