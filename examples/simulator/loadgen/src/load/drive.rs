//! Sends the requests: on schedule in the open model, by looping clients in the closed model.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::field::Field;
use super::mix::{Mix, Request};
use super::plan::{LoadPlan, Model};
use super::stage::Schedule;

/// Capacity of the queue of due requests. Large enough for a long stall; requests that do not fit are dropped.
const QUEUE: usize = 16_384;

/// How often the pacer checks whether it was asked to stop.
const NAP_MAX: Duration = Duration::from_millis(50);

/// Maximum wait for outstanding responses after a stop.
const STOP_DRAIN: Duration = Duration::from_secs(2);

/// A request and the moment at which it is due.
#[derive(Clone, Copy, Debug)]
struct Due {
    at: Instant,
    request: Request,
}

/// Sends all requests of the plan and waits for the responses. Returns the time at which the last request was sent.
pub(super) async fn run(field: &Arc<Field>, plan: &LoadPlan, stop: &CancellationToken) -> Instant {
    let mix = Mix::new(plan.seed, plan.keys, field.rows.len(), plan.write_ratio);
    match plan.model {
        Model::Open { in_flight, start_within } => open(field, plan, mix, in_flight, start_within, stop).await,
        Model::Closed { clients } => closed(field, plan, mix, clients, stop).await,
    }
}

async fn open(
    field: &Arc<Field>,
    plan: &LoadPlan,
    mix: Mix,
    in_flight: usize,
    start_within: Duration,
    stop: &CancellationToken,
) -> Instant {
    let (queue, mut waiting) = mpsc::channel(QUEUE);
    let (paced, schedule, stopped) = (Arc::clone(field), Schedule::new(&plan.with_warmup()), stop.clone());
    // On its own thread: the runtime's timer is too coarse to send on time.
    let pacer = tokio::task::spawn_blocking(move || pace(&paced, schedule, mix, &queue, &stopped));
    let permits = Arc::new(Semaphore::new(in_flight));
    let mut tasks = JoinSet::new();
    while let Some(due) = waiting.recv().await {
        while tasks.try_join_next().is_some() {}
        let deadline = tokio::time::Instant::from_std(due.at + start_within);
        let permit = tokio::time::timeout_at(deadline, Arc::clone(&permits).acquire_owned()).await;
        let Ok(Ok(permit)) = permit else {
            drop_one(field, due.at);
            continue;
        };
        let field = Arc::clone(field);
        tasks.spawn(async move {
            field.perform(due.request, due.at).await;
            drop(permit);
        });
    }
    let ended = Instant::now();
    // The queue is closed because the pacer has ended.
    drop(pacer.await);
    drain(tasks, plan, stop).await;
    ended
}

/// Puts each request into the queue when it is due.
fn pace(field: &Field, schedule: Schedule, mut mix: Mix, queue: &mpsc::Sender<Due>, stop: &CancellationToken) {
    let end = field.begin + schedule.length();
    for offset in schedule {
        let at = field.begin + offset;
        if !sleep_until(at, stop) {
            return;
        }
        // Drawn even if the request is dropped, so that the sequence after it stays the same.
        let request = if field.is_measured(at) { mix.next() } else { mix.next_warm() };
        if queue.try_send(Due { at, request }).is_err() {
            drop_one(field, at);
        }
    }
    // The last stage may end with a pause.
    sleep_until(end, stop);
}

/// Blocks the thread until `moment`. Returns false if `stop` is cancelled first.
fn sleep_until(moment: Instant, stop: &CancellationToken) -> bool {
    loop {
        let left = moment.saturating_duration_since(Instant::now());
        if stop.is_cancelled() || left.is_zero() {
            return !stop.is_cancelled();
        }
        std::thread::sleep(left.min(NAP_MAX));
    }
}

fn drop_one(field: &Field, due: Instant) {
    if field.is_measured(due) {
        field.tally().drop_one(field.measured(due));
    }
}

async fn closed(field: &Arc<Field>, plan: &LoadPlan, mix: Mix, clients: usize, stop: &CancellationToken) -> Instant {
    let end = field.begin + plan.warmup + plan.length();
    let mix = Arc::new(Mutex::new(mix));
    let mut tasks = JoinSet::new();
    for _ in 0..clients {
        let (field, mix, stop) = (Arc::clone(field), Arc::clone(&mix), stop.clone());
        tasks.spawn(async move {
            tokio::time::sleep_until(field.begin.into()).await;
            while Instant::now() < end && !stop.is_cancelled() {
                let now = Instant::now();
                let request = {
                    let mut mix = mix.lock().unwrap_or_else(PoisonError::into_inner);
                    if field.is_measured(now) { mix.next() } else { mix.next_warm() }
                };
                field.perform(request, now).await;
            }
        });
    }
    tokio::select! {
        () = tokio::time::sleep_until(end.into()) => {}
        () = stop.cancelled() => {}
    }
    let ended = Instant::now();
    drain(tasks, plan, stop).await;
    ended
}

/// Waits for outstanding responses and aborts requests whose responses do not arrive in time.
async fn drain(mut tasks: JoinSet<()>, plan: &LoadPlan, stop: &CancellationToken) {
    // Requests time out a little earlier by themselves.
    let patience = tokio::time::sleep(plan.request_timeout + Duration::from_secs(1));
    let stopped = async {
        stop.cancelled().await;
        tokio::time::sleep(STOP_DRAIN).await;
    };
    let all = async { while tasks.join_next().await.is_some() {} };
    tokio::select! {
        () = all => {}
        () = patience => {}
        () = stopped => {}
    }
    tasks.shutdown().await;
}
