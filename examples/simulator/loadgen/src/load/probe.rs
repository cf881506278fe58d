//! The staleness probe: writes a row, then reads it like any client until the read is fresh.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::field::Field;
use super::judge::Judgement;
use super::plan::ProbePlan;

/// Bounds of the pause between two reads, which is a twentieth of the time since the write. So windows are measured to
/// about 5 %, and a row that is stale for a long time costs few reads.
const PAUSE_MIN: Duration = Duration::from_millis(1);
const PAUSE_MAX: Duration = Duration::from_millis(100);

/// Probes the row with index `row` until `stop` is cancelled.
pub(super) async fn run(field: Arc<Field>, plan: ProbePlan, row: usize, stop: CancellationToken) {
    let mut version = 0;
    // The rows start at different offsets, so that their writes are spread out.
    let mut pause = plan.pause.mul_f64((row + 1) as f64 / plan.rows.max(1) as f64);
    while let Some(()) = unless(&stop, tokio::time::sleep(pause)).await {
        pause = plan.pause;
        version += 1;
        let number = version * plan.rows as u64 + row as u64;
        let Some(answered) = write(&field, row, number).await else { continue };
        watch(&field, row, answered, &stop).await;
    }
}

/// Reads the row to cache it, then writes it. Returns the time of the response to the write.
async fn write(field: &Field, row: usize, version: u64) -> Option<Instant> {
    let target = field.probe_rows.get(row)?;
    field.client.read(target.id).await;
    let sent = Instant::now();
    let status = field.client.write(target, &field.probe_history.value(version)).await;
    let answered = Instant::now();
    if status != Some(200) {
        field.tally().windows.errors += 1;
        return None;
    }
    field.probe_history.answered(row, version, sent, answered);
    Some(answered)
}

/// Reads until the row is fresh or `stop` is cancelled.
async fn watch(field: &Field, row: usize, answered: Instant, stop: &CancellationToken) {
    let Some(target) = field.probe_rows.get(row) else { return };
    let mut was_stale = false;
    loop {
        let started = Instant::now();
        let judgement = match field.client.read(target.id).await.and_then(|answer| answer.name) {
            Some(name) => Some(field.probe_history.judge(row, started, &name)),
            None => {
                field.tally().windows.errors += 1;
                None
            }
        };
        if let Some(judgement) = judgement {
            let mut tally = field.tally();
            tally.add_probe_read(judgement);
            match judgement {
                Judgement::Stale(_) => was_stale = true,
                // Zero if no read saw the old value.
                Judgement::Fresh => {
                    let length = if was_stale { started.duration_since(answered) } else { Duration::ZERO };
                    return tally.close_window(length);
                }
                // Another client wrote the row: the end of this window is unknown.
                Judgement::Unknown => return,
            }
        }
        let pause = (answered.elapsed() / 20).clamp(PAUSE_MIN, PAUSE_MAX);
        if unless(stop, tokio::time::sleep(pause)).await.is_none() {
            if was_stale {
                field.tally().leave_window_open(answered.elapsed());
            }
            return;
        }
    }
}

/// Returns the output of `work`, or `None` if `stop` is cancelled first.
async fn unless<T>(stop: &CancellationToken, work: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        () = stop.cancelled() => None,
        done = work => Some(done),
    }
}
