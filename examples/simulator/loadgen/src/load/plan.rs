//! The plan of a run. Two runs of one plan request the same rows in the same order.

use std::time::Duration;

use serde::{Serialize, Serializer};

use super::keys::Keys;
use super::stage::{RATE_MAX, Stage};
use super::threshold::Threshold;

/// Maximum length of a run, including the warm-up.
const LENGTH_MAX: Duration = Duration::from_secs(24 * 3600);

/// Limits on the memory and the concurrent requests of one run.
const ROWS_MAX: usize = 100_000;
const IN_FLIGHT_MAX: usize = 20_000;
const PROBE_ROWS_MAX: usize = 256;
const STAGES_MAX: usize = 64;

/// What determines when a request is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "model", rename_all = "snake_case")]
pub enum Model {
    /// A schedule: requests are due at fixed moments, independent of responses. Latency counts from the due time.
    Open {
        /// Maximum number of requests in flight.
        in_flight: usize,
        /// A request that cannot be sent within this time after it was due is dropped and counted.
        #[serde(serialize_with = "as_millis", rename = "start_within_ms")]
        start_within: Duration,
    },
    /// Clients that each wait for a response before the next request, so that a slow server gets fewer requests.
    Closed { clients: usize },
}

/// The rows that the probe writes and then reads until they are fresh.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct ProbePlan {
    /// Number of rows probed at once; 0 turns the probe off.
    pub rows: usize,
    /// Pause between a fresh read and the next write to the same row.
    #[serde(serialize_with = "as_millis", rename = "pause_ms")]
    pub pause: Duration,
}

/// The plan of a run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LoadPlan {
    /// Name of the preset it is based on.
    pub preset: Option<&'static str>,
    #[serde(flatten)]
    pub model: Model,
    /// Length and rate of each part; in the closed model only the lengths count.
    pub stages: Vec<Stage>,
    /// Length of the unmeasured warm-up, which runs at the first stage's rate; zero for none.
    #[serde(serialize_with = "as_millis", rename = "warmup_ms")]
    pub warmup: Duration,
    /// Number of rows that are read and written. The generator creates its own.
    pub users: usize,
    pub keys: Keys,
    /// Share of requests that are writes, 0 to 1.
    pub write_ratio: f64,
    pub seed: u64,
    pub probe: ProbePlan,
    /// Stale reads that started later than this after the response to the write are also counted as late.
    #[serde(serialize_with = "as_millis", rename = "grace_ms")]
    pub grace: Duration,
    /// Requests that take longer fail.
    #[serde(serialize_with = "as_millis", rename = "request_timeout_ms")]
    pub request_timeout: Duration,
    pub thresholds: Vec<Threshold>,
}

impl Default for LoadPlan {
    /// 200 requests/s for 30 s, 5 % writes, rows by Zipf's law, no goals.
    fn default() -> Self {
        Self {
            preset: None,
            model: Model::Open { in_flight: 1_024, start_within: Duration::from_secs(1) },
            stages: vec![Stage::steady(Duration::from_secs(30), 200.0)],
            warmup: Duration::ZERO,
            users: 100,
            keys: Keys::Zipf { exponent: 1.1 },
            write_ratio: 0.05,
            seed: 42,
            probe: ProbePlan { rows: 8, pause: Duration::from_millis(200) },
            grace: Duration::from_millis(50),
            request_timeout: Duration::from_secs(10),
            thresholds: Vec::new(),
        }
    }
}

impl LoadPlan {
    /// Returns the length of the measurement.
    pub fn length(&self) -> Duration {
        self.stages.iter().map(|stage| stage.length).sum()
    }

    /// Returns the stages, preceded by the warm-up.
    pub(super) fn with_warmup(&self) -> Vec<Stage> {
        let rate = self.stages.first().map_or(0.0, |stage| stage.from.max(stage.to / 2.0));
        let warmup = (!self.warmup.is_zero()).then(|| Stage::steady(self.warmup, rate));
        warmup.into_iter().chain(self.stages.iter().copied()).collect()
    }

    /// Returns the highest target rate, or `None` in the closed model.
    pub fn rate_max(&self) -> Option<f64> {
        let rates = self.stages.iter().map(|stage| stage.from.max(stage.to));
        matches!(self.model, Model::Open { .. }).then(|| rates.fold(0.0, f64::max))
    }

    /// Returns the maximum number of requests of the load in flight.
    pub(super) fn in_flight_max(&self) -> usize {
        match self.model {
            Model::Open { in_flight, .. } => in_flight,
            Model::Closed { clients } => clients,
        }
    }

    /// Checks that every value is within its range.
    ///
    /// # Errors
    /// A line that names the flag that is out of range.
    pub fn check(&self) -> Result<(), String> {
        let within = |flag: &str, value: usize, max: usize| match (1..=max).contains(&value) {
            true => Ok(()),
            false => Err(format!("--{flag} is out of range: give 1 to {max}")),
        };
        within("users", self.users, ROWS_MAX)?;
        match self.model {
            Model::Open { in_flight, .. } => within("in-flight", in_flight, IN_FLIGHT_MAX)?,
            Model::Closed { clients } => within("clients", clients, IN_FLIGHT_MAX)?,
        }
        self.keys.check()?;
        if !(0.0..=1.0).contains(&self.write_ratio) {
            return Err("--write-ratio is out of range: give 0 to 1".to_owned());
        }
        if self.probe.rows > PROBE_ROWS_MAX {
            return Err(format!("--probe-rows is out of range: give 0 to {PROBE_ROWS_MAX}"));
        }
        self.check_stages()
    }

    fn check_stages(&self) -> Result<(), String> {
        if !(1..=STAGES_MAX).contains(&self.stages.len()) {
            return Err(format!("--stages: give 1 to {STAGES_MAX} of them"));
        }
        if self.length() + self.warmup > LENGTH_MAX {
            return Err("the run is too long: at most 24h with its warm-up".to_owned());
        }
        match self.rate_max() {
            Some(rate) if !(rate > 0.0 && rate <= RATE_MAX) => {
                Err(format!("--rate is out of range: give above 0, up to {RATE_MAX}"))
            }
            _ => Ok(()),
        }
    }
}

/// Serializes a duration as milliseconds, for fields whose names end in `_ms`.
fn as_millis<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_out_of_range_is_named() {
        let wrong = |change: fn(&mut LoadPlan)| {
            let mut plan = LoadPlan::default();
            change(&mut plan);
            plan.check().expect_err("out of range")
        };
        assert!(LoadPlan::default().check().is_ok());
        assert!(wrong(|plan| plan.users = 0).contains("--users"));
        assert!(wrong(|plan| plan.write_ratio = 1.1).contains("--write-ratio"));
        assert!(wrong(|plan| plan.write_ratio = f64::NAN).contains("--write-ratio"));
        assert!(wrong(|plan| plan.model = Model::Closed { clients: 0 }).contains("--clients"));
        assert!(wrong(|plan| plan.stages = vec![Stage::steady(Duration::from_secs(1), 0.0)]).contains("--rate"));
        assert!(wrong(|plan| plan.stages.clear()).contains("--stages"));
        assert!(wrong(|plan| plan.warmup = LENGTH_MAX).contains("24h"));
        assert!(wrong(|plan| plan.probe.rows = 1_000).contains("--probe-rows"));
    }
}
