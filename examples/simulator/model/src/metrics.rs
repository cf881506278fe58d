//! The metrics of this process, in the text format of Prometheus.

mod freshness;
mod merged;
mod names;
mod saturation;

use std::fmt;
use std::time::Duration;

use metrics::{Unit, describe_counter, describe_gauge, describe_histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tokio_util::sync::CancellationToken;

pub use self::freshness::observe_freshness;
pub use self::names::{
    FAULT_ACTIVE, FAULT_DROPPED_CHANGES_TOTAL, HTTP_REQUEST_DURATION_SECONDS, HTTP_REQUESTS_IN_FLIGHT,
    HTTP_REQUESTS_TOTAL,
};
pub use self::saturation::observe_saturation;
use simulator_cli::CliError;

use self::merged::Merged;
use self::names::{
    BUILD_INFO, DATABASE_CONNECTIONS, DATABASE_WAITING, HTTP_PERMITS, HTTP_PERMITS_IN_USE, MODE, PIPELINE_LAG_SECONDS,
    PIPELINE_RUNNING, STALENESS_BOUND_SECONDS,
};

/// Upper bounds of histograms of seconds: from a hit in memory to a request that is given up. The alerts count requests
/// at the bound 0.1.
const SECONDS_BUCKETS: [f64; 14] =
    [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 15.0];

/// Upper bounds of the staleness of reads. The alerts count at the bound 2.5.
const STALENESS_BUCKETS: [f64; 11] = [0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0, 300.0];

/// How often collected samples are folded into the histograms' buckets.
const UPKEEP: Duration = Duration::from_secs(5);

/// Renders the metrics of this process.
#[derive(Clone)]
pub struct Metrics(PrometheusHandle);

impl Metrics {
    /// Installs the recorder of this process.
    ///
    /// # Errors
    /// If one is installed already.
    pub fn install() -> Result<Self, CliError> {
        let failed = |error: &dyn fmt::Display| CliError::new(format!("metrics cannot be collected: {error}"));
        let recorder = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Full(STALENESS_BOUND_SECONDS.into()), &STALENESS_BUCKETS)
            .and_then(|builder| builder.set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &SECONDS_BUCKETS))
            .map_err(|error| failed(&error))?
            .build_recorder();
        let handle = recorder.handle();
        metrics::set_global_recorder(Merged(recorder)).map_err(|error| failed(&error))?;
        describe();
        Ok(Self(handle))
    }

    pub fn render(&self) -> String {
        self.0.render()
    }

    /// Folds samples into buckets regularly, so that they do not pile up, until `stop`.
    pub async fn run(self, stop: CancellationToken) {
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

/// Sets the gauge that identifies this program.
pub fn identify(source: &'static str) {
    metrics::gauge!(BUILD_INFO, "version" => env!("CARGO_PKG_VERSION"), "source" => source).set(1.0);
}

fn describe() {
    describe_counter!(HTTP_REQUESTS_TOTAL, "Answered requests, by route and class of status");
    describe_histogram!(HTTP_REQUEST_DURATION_SECONDS, Unit::Seconds, "From a request's arrival to its answer");
    describe_gauge!(HTTP_REQUESTS_IN_FLIGHT, "Requests that are being answered");
    describe_gauge!(HTTP_PERMITS, "How many requests may be answered at once");
    describe_gauge!(HTTP_PERMITS_IN_USE, "How many of the permits for requests are in use");
    describe_gauge!(DATABASE_CONNECTIONS, "Connections of this process to the database, by state");
    describe_gauge!(DATABASE_WAITING, "Statements that wait for a connection to the database");
    describe_gauge!(FAULT_ACTIVE, "1 while this fault is switched on");
    describe_counter!(FAULT_DROPPED_CHANGES_TOTAL, "Changes that a fault switch took away");
    describe_histogram!(
        STALENESS_BOUND_SECONDS,
        Unit::Seconds,
        "The most that a cached read could be behind the database, checked four times a second"
    );
    describe_gauge!(PIPELINE_RUNNING, "1 while the change capture gives signs of life, wherever it runs");
    describe_gauge!(
        PIPELINE_LAG_SECONDS,
        Unit::Seconds,
        "Age of the newest moment at which everything committed was handled"
    );
    describe_gauge!(MODE, "1 for the mode in force, 0 for the other");
    describe_gauge!(BUILD_INFO, "Always 1; the labels say which program this is");
}
