//! The numbers of this process, in the text format of Prometheus.

use std::fmt;
use std::time::Duration;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tokio_util::sync::CancellationToken;

use crate::fatal::Fatal;

/// Upper bounds of histograms that measure seconds: from a hit in memory to a request that is given up.
const SECONDS_BUCKETS: [f64; 14] =
    [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 15.0];

/// How often what histograms collected is folded into their buckets.
const UPKEEP: Duration = Duration::from_secs(5);

/// Renders what the process has measured.
#[derive(Clone)]
pub(crate) struct Metrics(PrometheusHandle);

impl Metrics {
    /// Makes this process measure.
    ///
    /// # Errors
    /// If it does already.
    pub(crate) fn install() -> Result<Self, Fatal> {
        let failed = |error: &dyn fmt::Display| Fatal::new(format!("metrics cannot be collected: {error}"));
        PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &SECONDS_BUCKETS)
            .map_err(|error| failed(&error))?
            .install_recorder()
            .map(Self)
            .map_err(|error| failed(&error))
    }

    pub(crate) fn render(&self) -> String {
        self.0.render()
    }

    /// Keeps what was collected small, until `stop`.
    pub(crate) async fn run(self, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(UPKEEP) => self.0.run_upkeep(),
            }
        }
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}
