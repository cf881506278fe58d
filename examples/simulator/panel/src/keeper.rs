//! Saves results and charts in the database, and restores them after a restart.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use loadgen::record::RunRecord;
use serde::Serialize;
use serde::de::DeserializeOwned;
use simulator_model::domain::Database;

use super::archive::id_of;
use super::history::History;
use super::panel::Panel;
use super::results::{KeptExperiment, KeptLoad};

/// Names under which the database keeps them.
const LOAD: &str = "result.load";
const EXPERIMENT: &str = "result.experiment";
const CHARTS: &str = "charts";

/// Interval at which the charts are saved while a tab is open: a crash loses at most this much.
const CHARTS_EVERY: Duration = Duration::from_secs(15);

/// Pause before a failed read is tried again.
const PAUSE: Duration = Duration::from_secs(2);

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
        tokio::join!(loads(&panel), experiments(&panel), sweeps(&panel), charts(&panel));
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = work => {}
    }
    // Saves the samples since the last interval, if the database still accepts writes.
    write(&*panel.database, CHARTS, &panel.live.gauges.history()).await;
}

async fn loads(panel: &Arc<Panel>) {
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
        archive(panel, RunRecord::of_load(&result)).await;
    }
}

async fn experiments(panel: &Arc<Panel>) {
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
        archive(panel, RunRecord::of_experiment(&result)).await;
    }
}

async fn sweeps(panel: &Arc<Panel>) {
    let mut progress = panel.runs.sweep.watch();
    let mut last = None;
    while progress.changed().await.is_ok() {
        let active = progress.borrow_and_update().phase.is_active();
        let Some(result) = panel.runs.sweep.result().filter(|_| !active) else { continue };
        if last.as_ref() == Some(&result.started_at) {
            continue;
        }
        last = Some(result.started_at.clone());
        let record = result.record();
        let id = Arc::new(id_of(&record));
        archive(panel, record).await;
        put(&panel.runs.results.sweep, &id);
        panel.live.nudge();
    }
}

/// Keeps a run in the data folder, or in memory if it cannot be written: the page of the runs says so.
async fn archive(panel: &Arc<Panel>, record: RunRecord) {
    let blocking = Arc::clone(panel);
    let kept = tokio::task::spawn_blocking(move || blocking.archive.keep(Arc::new(record))).await;
    if let Ok(Err(error)) = kept {
        tracing::warn!(error = &error as &dyn std::error::Error, "a run cannot be written to the data folder");
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
