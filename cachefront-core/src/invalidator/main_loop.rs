//! The main loop of a session. Neither the gate, nor a slow store, nor a busy stream prevents heartbeats, batches or the
//! check of the source's server ("The loop turns").
//!
//! One `select!` waits for requests of the owner, the next heartbeat, the source's end, the gate and the next batch, in this
//! order of priority. While a batch waits at the gate no further batch is read, which is the backpressure on the source.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use tracing::{Instrument, Span};

use crate::clock::Timestamp;
use crate::error::{Error, ErrorKind, Result};
use crate::event::Batch;
use crate::gate::VisibilityGate;
use crate::invalidator::batch::{Flush, Plan, Planner};
use crate::invalidator::control::DesiredState;
use crate::invalidator::latency::StageTimes;
use crate::invalidator::pump::{Ended, Pump};
use crate::invalidator::retries::Retries;
use crate::invalidator::watermark::Watermark;
use crate::invalidator::worker::{Session, Worker};
use crate::position::Position;
use crate::settings::CdcSettings;
use crate::source::{BatchLimits, Head};
use crate::store::InvalidationMode;

/// After how many mapped changes other tasks of the runtime get their turn.
const CHANGES_PER_TURN: usize = 64;

type Wait = Pin<Box<dyn Future<Output = Result<bool>> + Send>>;

/// A batch that waits at the gate.
struct AtGate {
    batch: Batch,
    plan: Plan,
    received_at: Timestamp,
    wait: Wait,
}

impl AtGate {
    /// Starts to wait at the gate.
    fn wait_on(gate: &Arc<dyn VisibilityGate>, position: &Position, settings: &CdcSettings) -> Wait {
        let (gate, position, timeout) = (Arc::clone(gate), position.clone(), settings.gate_timeout);
        Box::pin(async move { gate.wait(&position, timeout).await })
    }

    /// Waits until the gate has opened or the wait has timed out; never completes if no batch waits.
    ///
    /// # Cancel safety
    /// Cancel safe: the wait continues.
    async fn opened(waiting: &mut Option<Self>) -> Result<bool> {
        match waiting {
            Some(waiting) => (&mut waiting.wait).await,
            None => std::future::pending().await,
        }
    }
}

impl Pump {
    /// Applies batches and publishes heartbeats until an error, a shutdown or a mode change.
    pub(super) async fn run_loop(
        &mut self,
        session: &mut Session,
        desired: DesiredState,
        retries: &mut Retries,
    ) -> Result<Ended> {
        let limits = limits(&self.worker.settings);
        let mut watermark = Watermark::new(Arc::clone(&self.worker.probe), Arc::clone(&self.worker.clock));
        watermark.request();
        let mut beat = self.worker.clock.sleep(self.worker.settings.heartbeat);
        let mut waiting: Option<AtGate> = None;
        self.worker.in_batch = false;
        let mut draining = false;
        loop {
            if draining && waiting.is_none() {
                self.worker.resign(session, desired).await?;
                return Ok(Ended::Shutdown);
            }
            tokio::select! {
                biased;
                changed = self.worker.desired_states.changed(), if !draining => {
                    let now = *self.worker.desired_states.borrow_and_update();
                    draining = changed.is_err() || now.shutdown;
                    if !draining && now != desired {
                        return Ok(Ended::Again);
                    }
                }
                () = &mut beat => {
                    watermark.request();
                    self.worker.heartbeat(session, &mut watermark, desired).await?;
                    // Set after the heartbeat: a store that is slower than the period would otherwise get heartbeats only.
                    beat = self.worker.clock.sleep(self.worker.settings.heartbeat);
                }
                head = watermark.replied() => same_server(session, &head?)?,
                opened = AtGate::opened(&mut waiting) => {
                    if opened? {
                        if let Some(ready) = waiting.take() {
                            let span = apply_span(&ready.plan);
                            self.apply(session, ready.batch, ready.plan, ready.received_at, &mut watermark, desired)
                                .instrument(span)
                                .await?;
                            retries.applied();
                        }
                    } else if let Some(still) = &mut waiting {
                        tracing::warn!(position = %still.plan.transactions, "commits are in the log and not yet visible to readers: invalidations wait");
                        still.wait = AtGate::wait_on(&self.worker.gate, &still.plan.transactions, &self.worker.settings);
                    }
                }
                batch = self.source.next_batch(&limits), if waiting.is_none() && !draining => {
                    let batch = batch?;
                    let received_at = self.worker.clock.now();
                    if batch.transactions.is_empty() && batch.checkpoint == session.checkpoint {
                        retries.progressed();
                        continue;
                    }
                    self.worker.in_batch = true;
                    let plan = self.worker.plan(session, &batch).await?;
                    if desired.mode == InvalidationMode::Cdc && plan.has_effects() {
                        let wait = AtGate::wait_on(&self.worker.gate, &plan.transactions, &self.worker.settings);
                        waiting = Some(AtGate { batch, plan, received_at, wait });
                    } else {
                        let span = apply_span(&plan);
                        self.apply(session, batch, plan, received_at, &mut watermark, desired).instrument(span).await?;
                        retries.applied();
                    }
                }
            }
        }
    }

    /// Applies a batch that is visible to readers: the tables that changed as a whole are checked, then everything up to the bus
    /// is written, then `applied`, then the source is notified. In TTL mode only `applied` moves.
    async fn apply(
        &mut self,
        session: &mut Session,
        batch: Batch,
        plan: Plan,
        received_at: Timestamp,
        watermark: &mut Watermark,
        desired: DesiredState,
    ) -> Result<()> {
        let mut stages = StageTimes { received_at, visible_at: Timestamp::UNKNOWN };
        self.worker.metrics.events.increment(plan.events);
        let mut order = session.expected.applied_order;
        if desired.mode == InvalidationMode::Cdc && plan.has_effects() {
            stages.visible_at = self.worker.clock.now();
            let waited = stages.visible_at.since(received_at);
            self.worker.metrics.gate_seconds.record(waited.as_secs_f64());
            // A table that changed as a whole may have another definition: the source checks it again.
            let changed: Vec<usize> = plan
                .flushed
                .iter()
                .filter_map(|(index, flush)| matches!(flush, Flush::Table(_)).then_some(*index))
                .collect();
            self.check_tables(&changed, Some(session)).await?;
            if !changed.is_empty() {
                self.worker.wait_for_end(session).await?;
            }
            order = self.worker.invalidate(session, &plan, &batch.checkpoint, &stages).await?;
        }
        self.worker.advance(session, batch.checkpoint, order, watermark).await?;
        let checkpoint = session.checkpoint.clone();
        self.worker.alive(session, self.source.acknowledge(&checkpoint)).await??;
        self.worker.metrics.batches_applied.increment(1);
        self.worker.in_batch = false;
        self.worker.report(session, plan, desired, stages);
        Ok(())
    }
}

impl Worker {
    /// Maps a batch to its effects. Mappings are the user's code, and rows may have any number of keys: the holder shows meanwhile
    /// that it is alive, and other tasks get their turn.
    ///
    /// # Errors
    /// Those of the store. A mapping that fails is part of the plan.
    async fn plan(&mut self, session: &mut Session, batch: &Batch) -> Result<Plan> {
        let mut planner = Planner::new(batch, self.observer.is_some());
        let mut mapped: usize = 0;
        for transaction in &batch.transactions {
            planner.begin(transaction);
            for change in &transaction.changes {
                planner.add(transaction, change, &self.caches);
                self.keep_alive(session).await?;
                mapped += 1;
                if mapped.is_multiple_of(CHANGES_PER_TURN) {
                    tokio::task::yield_now().await;
                }
            }
            planner.end(transaction);
        }
        Ok(planner.finish(&self.caches))
    }
}

/// The span of a batch that is applied.
fn apply_span(plan: &Plan) -> Span {
    tracing::debug_span!(
        "cachefront.apply",
        changes = plan.events,
        keys = plan.keys.len(),
        flushed = plan.flushed.len()
    )
}

/// Returns the bounds of a batch.
fn limits(settings: &CdcSettings) -> BatchLimits {
    BatchLimits {
        changes_max: settings.batch_changes_max,
        bytes_max: settings.batch_bytes_max,
        // Well below a heartbeat: a heartbeat drops the waiting call, and a source may return a position that moved without a
        // change only when the wait is over.
        wait_max: settings.heartbeat / 5,
        linger_max: settings.batch_linger,
    }
}

/// Returns an error if the head comes from another server: its log is not the one that was followed, and commits that it
/// lacks will never be visible there.
fn same_server(session: &Session, head: &Head) -> Result<()> {
    if head.origin == session.origin {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Gap, format!("the source's server changed from {} to {}", session.origin, head.origin)))
}
