//! Executes one run, from creating its rows to its result.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use simulator_cli::CliError;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::client::{Client, Counters, Reads, Target};
use super::field::{Field, Rows};
use super::keys::run_number;
use super::outcome::{Circumstances, LoadResult};
use super::plan::{LoadPlan, Model};
use super::progress::{LoadProgress, Phase};
use super::stage::Schedule;
use super::tally::Tally;
use super::{drive, probe};

/// Interval at which progress is published.
const TICK: Duration = Duration::from_millis(250);

/// Ticks per second, the window of the achieved rate.
const TICKS_PER_SECOND: usize = 4;

/// Why nothing is known of the API's counters.
const SEVERAL_PROCESSES: &str =
    "more than one process of the API responded, each of which counts its own, or it was restarted";
const NO_COUNTERS: &str = "the API does not report them";

/// Number of timeline points over which the quantiles shown during a run are computed.
const RECENT: usize = 5;

/// Parameters of a run.
#[derive(Clone, Debug)]
pub struct Job {
    pub target: Target,
    pub plan: LoadPlan,
    /// Prefix of the addresses of the run's rows. Consecutive runs may share it, concurrent ones must not.
    pub prefix: String,
    pub leaves: Leaves,
    /// Maximum wait until new rows can be read, because loads may read a replica that lags; `None` to begin at once.
    pub shown_within: Option<Duration>,
    /// Which of the API's caches reads go through.
    pub reads: Reads,
}

/// What is left of a run at its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leaves {
    /// Its rows, which the next run uses again.
    Rows,
    Nothing,
    /// Its rows if it was stopped: the caller removes them, after it has restored the mode.
    RowsIfStopped,
}

/// Runs a job. Cancelling `stop` ends it early; the result then covers what was measured so far.
///
/// # Errors
/// A line that says what is out of range, or how the API failed before the first request.
pub async fn run(
    job: &Job,
    stop: &CancellationToken,
    progress: &watch::Sender<LoadProgress>,
) -> Result<LoadResult, CliError> {
    let plan = &job.plan;
    plan.check().map_err(CliError::new)?;
    progress.send_modify(|progress| {
        *progress = LoadProgress {
            run: progress.run + 1,
            preset: plan.preset,
            phase: Phase::Preparing,
            ..LoadProgress::default()
        };
    });
    let client = Client::new(&job.target, plan.request_timeout, plan.in_flight_max() + plan.probe.rows)?;
    let client = client.reading(job.reads);
    let result = with_rows(&client, job, stop, progress).await;
    let removes = match job.leaves {
        Leaves::Rows => false,
        Leaves::Nothing => true,
        Leaves::RowsIfStopped => !stop.is_cancelled(),
    };
    if removes {
        client.remove_all(&job.prefix).await;
    }
    result
}

async fn with_rows(
    client: &Client,
    job: &Job,
    stop: &CancellationToken,
    progress: &watch::Sender<LoadProgress>,
) -> Result<LoadResult, CliError> {
    let rows = tokio::select! {
        rows = prepare(client, job) => rows?,
        () = stop.cancelled() => return Err(CliError::new("the run was stopped before its first request")),
    };
    Ok(measure(client, job, &rows, stop, progress).await)
}

async fn prepare(client: &Client, job: &Job) -> Result<Rows, CliError> {
    let load = client.rows(&job.prefix, job.plan.users).await?;
    let probe = client.rows(&format!("{}probe-", job.prefix), job.plan.probe.rows).await?;
    // Rows are replicated in the order of their creation.
    let last = load.iter().chain(&probe).map(|row| row.id).max();
    if let (Some(within), Some(last)) = (job.shown_within, last) {
        let _ = tokio::time::timeout(within, client.until_shown(last)).await;
    }
    Ok(Rows { load, probe })
}

async fn measure(
    client: &Client,
    job: &Job,
    rows: &Rows,
    stop: &CancellationToken,
    progress: &watch::Sender<LoadProgress>,
) -> LoadResult {
    let plan = &job.plan;
    let (mode, setup) = tokio::join!(client.mode(), client.setup());
    let mode = mode.ok().map(|mode| mode.mode);
    let tally = Tally::new(plan.length(), plan.grace);
    let field = Arc::new(Field::new(client.clone(), rows, run_number(&mut rand::rng()), plan.warmup, tally));
    let (over, mut companions) = (CancellationToken::new(), JoinSet::new());
    let before = {
        let (field, over) = (Arc::clone(&field), over.clone());
        tokio::spawn(async move { measuring_began(&field, &over).await })
    };
    companions.spawn(watch(Arc::clone(&field), plan.clone(), progress.clone(), over.clone()));
    for row in 0..plan.probe.rows {
        companions.spawn(start_probe(Arc::clone(&field), plan.clone(), row, over.clone()));
    }
    let ended = {
        let driving = drive::run(&field, plan, stop);
        tokio::pin!(driving);
        let end = tokio::time::sleep_until((field.begin + plan.warmup + plan.length()).into());
        tokio::select! {
            ended = &mut driving => ended,
            // The probe ends with the last stage and not with its last response.
            () = end => {
                over.cancel();
                progress.send_modify(|progress| progress.phase = Phase::Draining);
                driving.await
            }
        }
    };
    over.cancel();
    while companions.join_next().await.is_some() {}
    let (started_at, first) = before.await.unwrap_or_default();
    let after = client.counters().await;
    let counters = match (client.saw_several_processes(), first.zip(after)) {
        (true, _) => Err(SEVERAL_PROCESSES),
        (false, None) => Err(NO_COUNTERS),
        (false, Some((first, after))) => after.since(&first).ok_or(SEVERAL_PROCESSES),
    };
    let ran = field.measured(ended).min(plan.length());
    let schedule = Schedule::new(&plan.stages);
    let tally = field.tally();
    let around = Circumstances {
        started_at,
        stopped: stop.is_cancelled(),
        mode,
        setup,
        counters,
        due: schedule.due_before(ran),
        wanted: wanted(&schedule, &tally),
        ran,
    };
    LoadResult::new(plan, &tally, around)
}

/// Waits until measuring begins. Returns that time, and what the API had counted by then.
async fn measuring_began(field: &Field, over: &CancellationToken) -> (String, Option<Counters>) {
    tokio::select! {
        () = tokio::time::sleep_until((field.begin + field.warmup).into()) => {}
        () = over.cancelled() => {}
    }
    // Microseconds, as everywhere in the simulator.
    let now = Timestamp::from_microsecond(Timestamp::now().as_microsecond()).unwrap_or_default();
    (now.to_string(), field.client.counters().await)
}

async fn start_probe(field: Arc<Field>, plan: LoadPlan, row: usize, over: CancellationToken) {
    tokio::select! {
        () = tokio::time::sleep_until((field.begin + field.warmup).into()) => {}
        () = over.cancelled() => return,
    }
    probe::run(field, plan.probe, row, over).await;
}

/// Returns the target rate at each point of the timeline.
fn wanted(schedule: &Schedule, tally: &Tally) -> Vec<f64> {
    let due = |index: u32| schedule.due_before(tally.width * index);
    let points = u32::try_from(tally.points.len()).unwrap_or(u32::MAX);
    (0..points).map(|index| (due(index + 1) - due(index)) / tally.width.as_secs_f64()).collect()
}

/// Publishes progress until `over` is cancelled.
async fn watch(field: Arc<Field>, plan: LoadPlan, progress: watch::Sender<LoadProgress>, over: CancellationToken) {
    let (schedule, mut answered) = (Schedule::new(&plan.stages), VecDeque::from([0]));
    loop {
        tokio::select! {
            () = over.cancelled() => return,
            () = tokio::time::sleep(TICK) => {}
        }
        let elapsed = field.measured(Instant::now());
        let at = schedule.at(elapsed).filter(|_| field.is_measured(Instant::now()));
        let tally = field.tally();
        answered.push_back(tally.answered());
        if answered.len() > TICKS_PER_SECOND + 1 {
            answered.pop_front();
        }
        let last = answered.back().zip(answered.front()).map_or(0, |(new, old)| new - old);
        let seconds = TICK.as_secs_f64() * (answered.len() - 1) as f64;
        let recent = tally.recent(RECENT);
        let quantile = |at: f64| (!recent.is_empty()).then(|| recent.value_at_quantile(at) as f64 / 1e3);
        progress.send_modify(|progress| {
            progress.phase = if at.is_some() { Phase::Running } else { Phase::WarmingUp };
            progress.stage = at.map(|(index, _)| (index + 1, plan.stages.len()));
            progress.elapsed_ms = millis(elapsed);
            progress.left_ms =
                millis((field.begin + plan.warmup + plan.length()).saturating_duration_since(Instant::now()));
            progress.rate_wanted = at.filter(|_| matches!(plan.model, Model::Open { .. })).map(|(_, rate)| rate);
            progress.rate_achieved = last as f64 / seconds.max(1e-9);
            progress.p50_ms = quantile(0.5);
            progress.p99_ms = quantile(0.99);
            count(progress, &tally);
        });
    }
}

fn count(progress: &mut LoadProgress, tally: &Tally) {
    progress.answered = tally.answered();
    progress.errors = tally.errors;
    progress.dropped = tally.dropped;
    progress.in_flight = tally.sent.saturating_sub(tally.answered());
    progress.hit_ratio = tally.hit_ratio();
    progress.stale_reads = tally.reads_load.stale;
    progress.stale_late = tally.reads_load.late;
    let windows = tally.all_windows();
    progress.windows = windows.len();
    progress.window_max_ms = (!windows.is_empty()).then(|| windows.max() as f64 / 1e3);
}

/// Copies the final numbers of `result` into the progress.
pub(super) fn close(progress: &mut LoadProgress, result: &LoadResult) {
    progress.phase = if result.stopped { Phase::Stopped } else { Phase::Finished };
    progress.stage = None;
    progress.elapsed_ms = (result.seconds * 1e3) as u64;
    progress.left_ms = 0;
    progress.in_flight = 0;
    progress.rate_wanted = result.requests.rate_wanted;
    progress.rate_achieved = result.requests.rate;
    let latency = Some(result.latency.all).filter(|latency| latency.count > 0);
    progress.p50_ms = latency.map(|latency| latency.p50_ms);
    progress.p99_ms = latency.map(|latency| latency.p99_ms);
    progress.answered = result.requests.answered;
    progress.errors = result.requests.failed;
    progress.dropped = result.requests.dropped;
    progress.hit_ratio = result.cache.hit_ratio;
    progress.stale_reads = result.freshness.load.stale;
    progress.stale_late = result.freshness.load.late;
    progress.windows = result.freshness.windows.count;
    progress.window_max_ms = Some(result.freshness.windows.max_ms).filter(|_| result.freshness.windows.count > 0);
    progress.verdict = Some(result.verdict.clone());
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
