//! The holder's side of the store: what a session writes, in the one order that cannot leave anything stale.

use std::sync::Arc;

use tokio::sync::watch;

use crate::bus::{BusEvent, BusMessage, Publisher};
use crate::clock::{Clock, Entropy, Timestamp};
use crate::error::{Error, ErrorKind, Result};
use crate::gate::VisibilityGate;
use crate::invalidator::batch::{Flush, Plan};
use crate::invalidator::control::DesiredState;
use crate::invalidator::latency::{StageTimes, record};
use crate::invalidator::mapped::Caches;
use crate::invalidator::observer::{AppliedBatch, CdcObserver};
use crate::invalidator::status::{CdcState, CdcStatus};
use crate::invalidator::watermark::Watermark;
use crate::metrics::CdcMetrics;
use crate::position::Position;
use crate::settings::CdcSettings;
use crate::source::{Checkpoint, SourceProbe};
use crate::store::{Applied, Cover, Expected, Generation, InvalidationMode, Store, StoreState, StoreWriter};

/// The holder looks at the whole state once in this many heartbeats: a candidate that was shut down while it waited for
/// its head may have left the store suspended.
const SUSPENSION_HEARTBEATS: u64 = 20;

/// Everything that an invalidator works with, but for the source.
pub(crate) struct Worker {
    pub(crate) probe: Arc<dyn SourceProbe>,
    pub(crate) gate: Arc<dyn VisibilityGate>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) caches: Caches,
    pub(crate) observer: Option<Arc<dyn CdcObserver>>,
    pub(crate) settings: CdcSettings,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) metrics: CdcMetrics,
    pub(crate) desired_states: watch::Receiver<DesiredState>,
    pub(crate) status: watch::Sender<CdcStatus>,
    /// The term this invalidator took last; 0 before the first.
    pub(crate) term: u64,
    /// The highest order it has used or seen.
    pub(crate) next_order: u64,
    /// The set-up was found to be right once.
    pub(crate) checked: bool,
}

/// What holds while one connection to the store does.
pub(crate) struct Session {
    pub(crate) writer: Box<dyn StoreWriter>,
    /// Its name on the bus.
    pub(crate) publisher: Publisher,
    pub(crate) expected: Expected,
    pub(crate) origin: Box<str>,
    pub(crate) checkpoint: Checkpoint,
    /// When `checkpoint`, or an earlier one, was the source's end: what the store says, or this session has found out.
    /// It is never transit over a rewind or a flush ("No proof older than its store").
    pub(crate) source_time: Timestamp,
    /// Heartbeats so far.
    pub(crate) beats: u64,
}

impl Worker {
    /// The session begins: readers learn who publishes, and which caches are kept.
    pub(super) async fn announce(&mut self, session: &mut Session, desired: DesiredState) -> Result<()> {
        if desired.mode == InvalidationMode::Cdc {
            self.show_life_on_the_bus(session).await?;
        }
        self.status.send_modify(|status| {
            status.state = CdcState::Running;
            status.mode = desired.mode;
            status.applied = session.checkpoint.position.clone();
            status.source_time = session.source_time;
            status.not_covered = self.caches.unfit();
            status.last_error = None;
        });
        Ok(())
    }

    /// "Batch order", from `hi` to the bus: `hi`, invalidations, new generations, bus; each acknowledged before the next is
    /// sent. The gate was passed before. Returns the batch's order.
    pub(super) async fn invalidate(
        &mut self,
        session: &mut Session,
        plan: &Plan,
        after: &Checkpoint,
        stages: &StageTimes,
    ) -> Result<u64> {
        self.next_order += 1;
        session.writer.raise_high_watermark(&session.expected, self.next_order).await?;
        if (1..=self.settings.compared_keys_max).contains(&plan.keys.len()) {
            session.writer.invalidate_unseen(&plan.invalidations()).await?;
        } else {
            for keys in plan.keys.chunks(self.settings.keys_per_command_max) {
                session.writer.invalidate(keys).await?;
            }
        }
        if !plan.flushed.is_empty() {
            self.flush_caches(session, plan).await?;
        }
        self.metrics.invalidations.increment(plan.keys.len() as u64);
        self.tell(session, plan, after).await?;
        record(&self.metrics, &plan.times, stages, self.clock.now());
        Ok(self.next_order)
    }

    /// Writes which caches the store vouches for, and holds it under a generation of its own from then on.
    pub(super) async fn write_coverage(&mut self, session: &mut Session, rows: &[Cover]) -> Result<()> {
        let next = Generation(self.entropy.random_u128());
        session.writer.cover(&session.expected, next, rows).await?;
        session.expected.generation = next;
        Ok(())
    }

    /// Gives the flushed caches new generations, and no other.
    async fn flush_caches(&mut self, session: &mut Session, plan: &Plan) -> Result<()> {
        let flushed: Vec<usize> = plan.flushed.keys().copied().collect();
        let rows = self.caches.rows(&*self.entropy, &flushed);
        self.write_coverage(session, &rows).await?;
        for (index, flush) in &plan.flushed {
            let cache = self.caches.get(*index).map_or("", |cache| cache.cache());
            match flush {
                Flush::Table(reason) => {
                    tracing::info!(cache, %reason, "a table changed as a whole: the cache is flushed");
                    CdcMetrics::flushed("table");
                }
                Flush::Mapping(error) => {
                    tracing::error!(cache, error = %error.chain(), "a change could not be mapped to keys: the cache is flushed");
                    CdcMetrics::flushed("mapping");
                    self.status.send_modify(|status| status.last_error = Some(error.clone()));
                }
            }
        }
        self.status.send_modify(|status| {
            status.flushes_total += plan.flushed.len() as u64;
            status.not_covered = self.caches.unfit();
        });
        Ok(())
    }

    /// Tells every process what was invalidated. Only the last message says that all of it is done.
    async fn tell(&mut self, session: &mut Session, plan: &Plan, after: &Checkpoint) -> Result<()> {
        let mut events = Vec::new();
        if !plan.keys.is_empty() {
            events.push(BusEvent::Keys(plan.keys.iter().map(|key| key.as_str().into()).collect()));
        }
        if !plan.flushed.is_empty() {
            let caches = plan.flushed.keys().filter_map(|index| self.caches.get(*index));
            events.push(BusEvent::Caches(caches.map(|cache| cache.cache().into()).collect()));
            // What is covered may have changed with it.
            events.push(BusEvent::Heartbeat(self.caches.covered()));
        }
        let last = events.len().saturating_sub(1);
        for (place, event) in events.into_iter().enumerate() {
            let applied = (place == last).then(|| after.position.clone());
            let message = self.message(session, event, applied, Timestamp::UNKNOWN);
            session.writer.publish(&message).await?;
        }
        Ok(())
    }

    pub(super) fn message(
        &self,
        session: &Session,
        event: BusEvent,
        applied: Option<Position>,
        source_time: Timestamp,
    ) -> BusMessage {
        BusMessage { publisher: session.publisher, event, applied, source_time, sent_at: self.clock.now() }
    }

    /// Writes `applied`, last of all, by compare-and-set with what this session holds.
    pub(super) async fn advance(
        &mut self,
        session: &mut Session,
        checkpoint: Checkpoint,
        order: u64,
        watermark: &mut Watermark,
    ) -> Result<()> {
        let source_time = watermark.reached(&checkpoint.position);
        self.commit(session, Applied { order, checkpoint, source_time }).await
    }

    async fn commit(&mut self, session: &mut Session, applied: Applied) -> Result<()> {
        session.writer.commit(&session.expected, &applied).await?;
        session.expected.applied_order = applied.order;
        session.checkpoint = applied.checkpoint;
        if applied.source_time.is_known() {
            session.source_time = applied.source_time;
        }
        self.status.send_modify(|status| {
            status.applied = session.checkpoint.position.clone();
            status.source_time = session.source_time;
        });
        Ok(())
    }

    /// Moves the watermark, checks that the store still has what was applied, and shows that the holder lives.
    ///
    /// # Errors
    /// `Conflict` if the store is not as this session holds it, or was suspended by another process.
    pub(super) async fn heartbeat(
        &mut self,
        session: &mut Session,
        watermark: &mut Watermark,
        desired: DesiredState,
    ) -> Result<()> {
        session.beats += 1;
        if desired.mode == InvalidationMode::Cdc
            && session.beats.is_multiple_of(SUSPENSION_HEARTBEATS)
            && matches!(session.writer.state().await?, StoreState::Suspended(_))
        {
            return Err(Error::new(ErrorKind::Conflict, "another process has suspended what the store promises"));
        }
        let (checkpoint, order) = (session.checkpoint.clone(), session.expected.applied_order);
        self.advance(session, checkpoint, order, watermark).await?;
        if desired.mode == InvalidationMode::Cdc {
            self.show_life_on_the_bus(session).await?;
        }
        let age = self.status.borrow().lag(self.clock.now());
        self.metrics.watermark_age.set(age.map_or(f64::INFINITY, |age| age.as_secs_f64()));
        Ok(())
    }

    /// Shows those who stand by that the holder lives, and moves nothing.
    pub(super) async fn show_life(&mut self, session: &mut Session) -> Result<()> {
        let (checkpoint, order) = (session.checkpoint.clone(), session.expected.applied_order);
        self.commit(session, Applied { order, checkpoint, source_time: Timestamp::UNKNOWN }).await
    }

    async fn show_life_on_the_bus(&mut self, session: &mut Session) -> Result<()> {
        let event = BusEvent::Heartbeat(self.caches.covered());
        let applied = Some(session.checkpoint.position.clone());
        let message = self.message(session, event, applied, session.source_time);
        session.writer.publish(&message).await.map(drop)
    }

    /// The last write of an orderly end: another invalidator need not wait for this one's silence.
    pub(super) async fn resign(&mut self, session: &mut Session, desired: DesiredState) -> Result<()> {
        tracing::info!(mode = ?desired.mode, position = %session.checkpoint.position, "the invalidator hands over");
        session.writer.resign(&session.expected).await
    }

    pub(super) fn report(&self, session: &Session, plan: Plan, desired: DesiredState, stages: StageTimes) {
        let invalidated = if desired.mode == InvalidationMode::Cdc { plan.keys.len() as u64 } else { 0 };
        self.status.send_modify(|status| {
            status.events_total += plan.events;
            status.invalidations_total += invalidated;
        });
        if let Some(observer) = &self.observer {
            observer.applied(&AppliedBatch {
                changes: plan.changes,
                mode: desired.mode,
                applied: session.checkpoint.position.clone(),
                received_at: stages.received_at,
                visible_at: stages.visible_at,
                applied_at: self.clock.now(),
            });
        }
    }

    /// Notes whether the source can be exact for a cache.
    ///
    /// # Errors
    /// What says nothing about the cache: the server could not be asked.
    pub(super) fn note_fit(&mut self, index: usize, outcome: Result<()>) -> Result<()> {
        let Some(cache) = self.caches.get_mut(index) else { return Ok(()) };
        let fit = match outcome {
            Ok(()) => true,
            Err(error) if error.kind() == ErrorKind::Config => {
                tracing::error!(cache = cache.cache(), error = %error.chain(), "the source cannot be exact for this cache any more: it is not covered, nothing of it is cached");
                self.status.send_modify(|status| status.last_error = Some(error.clone()));
                false
            }
            Err(error) => return Err(error),
        };
        if fit && !cache.fit {
            tracing::info!(cache = cache.cache(), "the source can be exact for this cache again");
        }
        cache.fit = fit;
        Ok(())
    }

    pub(super) fn stands_by(&self, error: Option<Error>) {
        self.status.send_modify(|status| {
            let news = status.state != CdcState::Standby;
            status.state = CdcState::Standby;
            if let Some(error) = error.as_ref().filter(|_| news) {
                tracing::error!(error = %error.chain(), "this invalidator stands by, and its own caches may not be covered");
            }
            status.last_error = error;
        });
    }
}
