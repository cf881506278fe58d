//! The last results of load and comparison, and the charts: saved in the database, so that they survive a restart.

use std::sync::{Arc, Mutex};

use loadgen::experiment::outcome::{Compared, ExperimentResult};
use loadgen::experiment::report;
use loadgen::load::{LoadPlan, LoadResult};
use serde::{Deserialize, Serialize};

/// What was run and when.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct About {
    /// Start of the measurement, RFC 3339 in UTC.
    pub(super) at: String,
    pub(super) preset: String,
    pub(super) rate: Option<f64>,
    pub(super) seconds: u64,
    pub(super) seed: u64,
}

impl About {
    fn new(at: &str, plan: &LoadPlan) -> Self {
        Self {
            at: at.to_owned(),
            preset: plan.preset.unwrap_or("of its own").to_owned(),
            rate: plan.rate_max(),
            seconds: plan.length().as_secs(),
            seed: plan.seed,
        }
    }
}

/// The numbers of a run that are shown.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Figures {
    pub(super) rate: f64,
    pub(super) p50_ms: Option<f64>,
    pub(super) p99_ms: Option<f64>,
    pub(super) hit_ratio: Option<f64>,
    pub(super) stale: u64,
    pub(super) stale_late: u64,
    /// How long the probe saw a row stale; absent in results of earlier versions.
    #[serde(default)]
    pub(super) window_max_ms: Option<f64>,
    pub(super) errors: u64,
    pub(super) dropped: u64,
}

/// A goal, and whether it was met.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Goal {
    pub(super) goal: String,
    pub(super) met: bool,
    /// What was measured.
    pub(super) shown: String,
}

/// A load's result.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct KeptLoad {
    pub(super) about: About,
    pub(super) mode: Option<String>,
    pub(super) stopped: bool,
    pub(super) figures: Figures,
    pub(super) goals: Vec<Goal>,
}

impl KeptLoad {
    pub(super) fn of(result: &LoadResult) -> Self {
        let latency = Some(result.latency.all).filter(|latency| latency.count > 0);
        let windows = Some(&result.freshness.windows).filter(|windows| windows.count > 0);
        let goal = |judged: &loadgen::load::threshold::Judged| Goal {
            goal: judged.threshold.to_string(),
            met: judged.met,
            shown: judged.shown.clone(),
        };
        Self {
            about: About::new(&result.started_at, &result.plan),
            mode: result.mode.clone(),
            stopped: result.stopped,
            figures: Figures {
                rate: result.requests.rate,
                p50_ms: latency.map(|latency| latency.p50_ms),
                p99_ms: latency.map(|latency| latency.p99_ms),
                hit_ratio: result.cache.hit_ratio,
                stale: result.freshness.load.stale,
                stale_late: result.freshness.load.late,
                window_max_ms: windows.map(|windows| windows.max_ms),
                errors: result.requests.failed,
                dropped: result.requests.dropped,
            },
            goals: result.goals.iter().map(goal).collect(),
        }
    }
}

/// A number as measured on every side.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Pair {
    pub(super) name: String,
    pub(super) note: String,
    pub(super) unit: String,
    pub(super) ttl: Option<f64>,
    /// Absent in results of earlier versions.
    #[serde(default)]
    pub(super) swr: Option<f64>,
    pub(super) cdc: Option<f64>,
    pub(super) less_is_better: bool,
}

/// A comparison's result, with its reports for download.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct KeptExperiment {
    pub(super) about: About,
    pub(super) verdict: String,
    pub(super) notes: Vec<String>,
    /// How the caches were built; absent in results of earlier versions.
    #[serde(default)]
    pub(super) caches: Option<String>,
    pub(super) pairs: Vec<Pair>,
    pub(super) html: String,
    pub(super) json: String,
}

impl KeptExperiment {
    pub(super) fn of(result: &ExperimentResult) -> Self {
        let pair = |row: &Compared| Pair {
            name: row.name.to_owned(),
            note: row.note.clone(),
            unit: row.unit.to_owned(),
            ttl: row.ttl,
            swr: row.swr,
            cdc: row.cdc,
            less_is_better: row.less_is_better,
        };
        Self {
            about: About::new(&result.started_at, &result.plan),
            verdict: result.verdict.clone(),
            notes: result.notes.clone(),
            caches: result.caches_in_words(),
            pairs: result.compared.iter().map(pair).collect(),
            html: report::page(result),
            json: serde_json::to_string_pretty(result).unwrap_or_default(),
        }
    }
}

/// The last results, of this process or of an earlier one.
#[derive(Debug, Default)]
pub(super) struct Results {
    pub(super) load: Mutex<Option<Arc<KeptLoad>>>,
    pub(super) experiment: Mutex<Option<Arc<KeptExperiment>>>,
    /// The id of the last sweep that this process has kept.
    pub(super) sweep: Mutex<Option<Arc<String>>>,
}

impl Results {
    pub(super) fn load(&self) -> Option<Arc<KeptLoad>> {
        self.load.lock().ok()?.clone()
    }

    pub(super) fn sweep(&self) -> Option<Arc<String>> {
        self.sweep.lock().ok()?.clone()
    }

    pub(super) fn experiment(&self) -> Option<Arc<KeptExperiment>> {
        self.experiment.lock().ok()?.clone()
    }
}
