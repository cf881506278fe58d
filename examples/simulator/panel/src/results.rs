//! The last results of load and comparison, and the charts: saved in the database, so that they survive a restart.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use loadgen::experiment::outcome::{Compared, ExperimentResult};
use loadgen::experiment::report;
use loadgen::load::{LoadPlan, LoadResult};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use simulator_model::domain::Database;

use super::Panel;
use super::gauges::History;

/// Names under which the database keeps them.
const LOAD: &str = "result.load";
const EXPERIMENT: &str = "result.experiment";
const CHARTS: &str = "charts";

/// Interval at which the charts are saved while a tab is open: a crash loses at most this much.
const CHARTS_EVERY: Duration = Duration::from_secs(15);

/// Pause before a failed read is tried again.
const PAUSE: Duration = Duration::from_secs(2);

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
    fn of(result: &LoadResult) -> Self {
        let latency = Some(result.latency.all).filter(|latency| latency.count > 0);
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
                stale: result.freshness.stale,
                stale_late: result.freshness.late,
                errors: result.requests.failed,
                dropped: result.requests.dropped,
            },
            goals: result.goals.iter().map(goal).collect(),
        }
    }
}

/// A number as measured in both modes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Pair {
    pub(super) name: String,
    pub(super) note: String,
    pub(super) unit: String,
    pub(super) ttl: Option<f64>,
    pub(super) cdc: Option<f64>,
    pub(super) less_is_better: bool,
}

/// A comparison's result, with its reports for download.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct KeptExperiment {
    pub(super) about: About,
    pub(super) verdict: String,
    pub(super) notes: Vec<String>,
    pub(super) pairs: Vec<Pair>,
    pub(super) html: String,
    pub(super) json: String,
}

impl KeptExperiment {
    fn of(result: &ExperimentResult) -> Self {
        let pair = |row: &Compared| Pair {
            name: row.name.to_owned(),
            note: row.note.clone(),
            unit: row.unit.to_owned(),
            ttl: row.ttl,
            cdc: row.cdc,
            less_is_better: row.less_is_better,
        };
        Self {
            about: About::new(&result.started_at, &result.plan),
            verdict: result.verdict.clone(),
            notes: result.notes.clone(),
            pairs: result.compared.iter().map(pair).collect(),
            html: report::page(result),
            json: serde_json::to_string_pretty(result).unwrap_or_default(),
        }
    }
}

/// The last results, of this process or of an earlier one.
#[derive(Debug, Default)]
pub(super) struct Results {
    load: Mutex<Option<Arc<KeptLoad>>>,
    experiment: Mutex<Option<Arc<KeptExperiment>>>,
}

impl Results {
    pub(super) fn load(&self) -> Option<Arc<KeptLoad>> {
        self.load.lock().ok()?.clone()
    }

    pub(super) fn experiment(&self) -> Option<Arc<KeptExperiment>> {
        self.experiment.lock().ok()?.clone()
    }
}

/// Stores a value unless there is one already.
fn fill<T>(place: &Mutex<Option<Arc<T>>>, value: Option<T>) {
    if let Ok(mut place) = place.lock()
        && place.is_none()
    {
        *place = value.map(Arc::new);
    }
}

fn put<T>(place: &Mutex<Option<Arc<T>>>, value: &Arc<T>) {
    if let Ok(mut place) = place.lock() {
        *place = Some(Arc::clone(value));
    }
}

/// Restores the saved results and saves new ones, until the API ends.
pub(super) async fn keep(panel: Arc<Panel>) {
    let stop = panel.api.stop.clone();
    let work = async {
        let database = &*panel.database;
        let results = &panel.runs.results;
        fill(&results.load, read(database, LOAD).await);
        fill(&results.experiment, read(database, EXPERIMENT).await);
        if let Some(history) = read::<History>(database, CHARTS).await {
            panel.live.gauges.restore(history);
        }
        tokio::join!(loads(&panel), experiments(&panel), charts(&panel));
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = work => {}
    }
    // Saves the samples since the last interval, if the database still accepts writes.
    write(&*panel.database, CHARTS, &panel.live.gauges.history()).await;
}

async fn loads(panel: &Panel) {
    let mut progress = panel.runs.load.watch();
    while progress.changed().await.is_ok() {
        let active = progress.borrow_and_update().phase.is_active();
        let Some(result) = panel.runs.load.result().filter(|_| !active) else { continue };
        let kept = Arc::new(KeptLoad::of(&result));
        if panel.runs.results.load().is_some_and(|last| last.about == kept.about) {
            continue;
        }
        put(&panel.runs.results.load, &kept);
        panel.live.nudge();
        write(&*panel.database, LOAD, &*kept).await;
    }
}

async fn experiments(panel: &Panel) {
    let mut progress = panel.runs.experiment.watch();
    while progress.changed().await.is_ok() {
        let active = progress.borrow_and_update().phase.is_active();
        let Some(result) = panel.runs.experiment.result().filter(|_| !active) else { continue };
        if panel.runs.results.experiment().is_some_and(|last| last.about.at == result.started_at) {
            continue;
        }
        let kept = Arc::new(KeptExperiment::of(&result));
        put(&panel.runs.results.experiment, &kept);
        panel.live.nudge();
        write(&*panel.database, EXPERIMENT, &*kept).await;
    }
}

async fn charts(panel: &Panel) {
    loop {
        tokio::time::sleep(CHARTS_EVERY).await;
        if panel.live.is_watched() {
            write(&*panel.database, CHARTS, &panel.live.gauges.history()).await;
        }
    }
}

/// Reads the value saved under a name; `None` if there is none or another version of this program wrote it. Retries
/// until the database can be read.
async fn read<T: DeserializeOwned>(database: &dyn Database, name: &str) -> Option<T> {
    loop {
        match database.kept(name).await {
            Ok(text) => return serde_json::from_str(&text?).ok(),
            Err(error) => {
                tracing::debug!(error = &error as &dyn std::error::Error, name, "a kept result cannot be read");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

async fn write<T: Serialize + Sync>(database: &dyn Database, name: &str, value: &T) {
    let Ok(text) = serde_json::to_string(value) else { return };
    if let Err(error) = database.keep(name, &text, None).await {
        tracing::warn!(error = &error as &dyn std::error::Error, name, "a result is not kept over a restart");
    }
}
