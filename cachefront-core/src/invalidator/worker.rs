//! What the holder of the term writes to the store, in the one order that cannot leave a stale entry.
//!
//! Every write compares the session's [`Expected`] with the store's meta. A conflict means that another invalidator has
//! taken the term, or that the store failed over to an older state: the session ends, and the next one reads the state.
//!
//! Writes of the meta are also the holder's only sign of life. The main loop makes one with every heartbeat. A step that the loop waits
//! for makes its own: [`Worker::keep_alive`] between the parts of a batch, [`Worker::alive`] while another server replies.

use std::panic::AssertUnwindSafe;
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
use crate::key::StoreKey;
use crate::metrics::CdcMetrics;
use crate::position::Position;
use crate::settings::CdcSettings;
use crate::source::{Checkpoint, SourceProbe};
use crate::store::{
    Applied, Cover, Expected, Generation, Invalidation, InvalidationMode, RowImageCounts, RowImageValue, Store,
    StoreState, StoreWriter,
};

/// Number of heartbeats between two reads of the store's complete state: a candidate that was shut down while it waited for
/// its head may have left the store suspended.
const SUSPENSION_HEARTBEATS: u64 = 20;

/// Everything that an invalidator works with, except the source.
pub(crate) struct Worker {
    /// Reads the source's end.
    pub(crate) probe: Arc<dyn SourceProbe>,
    /// Waits until commits are visible to loaders.
    pub(crate) gate: Arc<dyn VisibilityGate>,
    pub(crate) store: Arc<dyn Store>,
    /// The bound caches.
    pub(crate) caches: Caches,
    /// Notified of every applied batch.
    pub(crate) observer: Option<Arc<dyn CdcObserver>>,
    pub(crate) settings: CdcSettings,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) metrics: CdcMetrics,
    /// What the owner requests.
    pub(crate) desired_states: watch::Receiver<DesiredState>,
    /// What the owner can see.
    pub(crate) status: watch::Sender<CdcStatus>,
    /// The last term that this invalidator tried to take; 0 before the first.
    pub(crate) term: u64,
    /// What it wrote last in the last term that it really took. Two invalidators may try to take terms of one number, and after
    /// a failover of the store may both have had it.
    pub(crate) taken: Option<Expected>,
    /// A batch was read, and is not applied yet.
    pub(crate) in_batch: bool,
    /// The highest order that was used or seen.
    pub(crate) next_order: u64,
    /// True once the set-up was checked successfully.
    pub(crate) checked: bool,
}

/// The state of one session: one connection to the store.
pub(crate) struct Session {
    /// The connection to the store. It is discarded with the session.
    pub(crate) writer: Box<dyn StoreWriter>,
    /// The sender of its messages on the bus.
    pub(crate) publisher: Publisher,
    /// What every write compares: the state that this session wrote last.
    pub(crate) expected: Expected,
    /// The server whose log is read.
    pub(crate) origin: Box<str>,
    /// The position up to which all invalidations have been applied.
    pub(crate) checkpoint: Checkpoint,
    /// When `checkpoint`, or an earlier one, was the source's end: read from the store, or found by this session. It is never
    /// kept over a rewind or a flush ("No proof older than its store").
    pub(crate) source_time: Timestamp,
    /// Number of heartbeats so far.
    pub(crate) beats: u64,
    /// When this session last wrote the meta, which is what shows standbys that the holder is alive.
    pub(crate) shown_at: Timestamp,
    /// What may have been sent to the store and is possibly not applied: while `checkpoint` does not cover it, the high
    /// watermark is kept above the order of `applied`, and no load of a fenced cache is kept ("Fence"). Empty without such
    /// caches.
    pub(crate) sent: Position,
}

impl Session {
    /// The state of a session that has not taken the term yet.
    pub(super) fn new(writer: Box<dyn StoreWriter>, publisher: Publisher, term: u64, origin: &str) -> Self {
        Self {
            writer,
            publisher,
            expected: Expected { generation: Generation::default(), term, applied_order: 0 },
            origin: origin.into(),
            checkpoint: Checkpoint::default(),
            source_time: Timestamp::UNKNOWN,
            beats: 0,
            shown_at: Timestamp::UNKNOWN,
            sent: Position::new(),
        }
    }

    /// Returns true once this session has taken the term.
    pub(super) fn holds(&self) -> bool {
        self.expected.generation != Generation::default()
    }
}

impl Worker {
    /// Starts the session for readers: announces the publisher and the covered caches on the bus.
    pub(super) async fn announce(&mut self, session: &mut Session, desired: DesiredState) -> Result<()> {
        if desired.mode == InvalidationMode::Cdc {
            self.publish_heartbeat(session).await?;
        }
        self.status.send_modify(|status| {
            status.state = CdcState::Running;
            status.mode = desired.mode;
            status.applied = session.checkpoint.position.clone();
            status.source_time = session.source_time;
            status.not_covered = self.caches.unfit();
            status.last_error = self.caches.unfit_reason();
        });
        Ok(())
    }

    /// Applies a batch that has passed the gate, up to the bus: high watermark, invalidations, new generations, bus; each
    /// acknowledged before the next is sent ("Batch order"). Returns the batch's order.
    pub(super) async fn invalidate(
        &mut self,
        session: &mut Session,
        plan: &Plan,
        after: &Checkpoint,
        stages: &StageTimes,
    ) -> Result<u64> {
        self.next_order += 1;
        if self.caches.are_fenced() {
            session.sent.union(&plan.transactions);
        }
        self.raise(session, &after.position).await?;
        match plan.split(&session.checkpoint.position, &after.position, self.settings.row_images_max) {
            Some((values, others)) => {
                self.replace(session, values).await?;
                self.remove(session, others).await?;
            }
            None if (1..=self.settings.compared_keys_max).contains(&plan.keys.len()) => {
                session.writer.invalidate_unseen(&plan.invalidations()).await?;
            }
            None => self.remove_all(session, &plan.keys).await?,
        }
        if !plan.flushed.is_empty() {
            self.flush_caches(session, plan).await?;
        }
        self.metrics.invalidations.increment(plan.keys.len() as u64);
        self.keep_alive(session).await?;
        self.publish(session, plan, after).await?;
        record(&self.metrics, &plan.times, stages, self.clock.now());
        Ok(self.next_order)
    }

    /// Removes entries in bounded commands, whatever their loads saw. The number of commands has no bound, as that of a row's keys
    /// has none, so the holder shows in between that it is alive.
    async fn remove_all(&mut self, session: &mut Session, keys: &[StoreKey]) -> Result<()> {
        for keys in keys.chunks(self.settings.keys_per_command_max) {
            self.keep_alive(session).await?;
            session.writer.invalidate(keys).await?;
        }
        Ok(())
    }

    /// Removes the entries of a batch that are not replaced: if they are few, only those whose load has not seen the commits.
    async fn remove(&mut self, session: &mut Session, changes: Vec<Invalidation>) -> Result<()> {
        if (1..=self.settings.compared_keys_max).contains(&changes.len()) {
            return session.writer.invalidate_unseen(&changes).await;
        }
        let keys: Vec<StoreKey> = changes.into_iter().map(|change| change.key).collect();
        self.remove_all(session, &keys).await
    }

    /// Replaces values in place. What is too large, or cannot be proven older, is removed.
    async fn replace(&mut self, session: &mut Session, values: Vec<RowImageValue>) -> Result<()> {
        let is_large = |value: &RowImageValue| value.payload.len() > self.settings.row_image_bytes_max;
        let (large, values): (Vec<_>, Vec<_>) = values.into_iter().partition(is_large);
        let keys: Vec<StoreKey> = large.into_iter().map(|value| value.key).collect();
        let mut counts = RowImageCounts { removed: keys.len() as u64, ..RowImageCounts::default() };
        self.remove_all(session, &keys).await?;
        for values in values.chunks(self.settings.keys_per_command_max) {
            self.keep_alive(session).await?;
            counts.add(session.writer.replace(&session.expected, values).await?);
        }
        self.metrics.row_images(&counts.by_outcome());
        Ok(())
    }

    /// Raises the high watermark to the current order; above it if `applied`, which the next commit writes, does not cover
    /// everything that was sent, so that no fence is taken from it.
    async fn raise(&mut self, session: &mut Session, applied: &Position) -> Result<()> {
        let ahead = u64::from(!applied.covers(&session.sent));
        session.writer.raise_high_watermark(&session.expected, self.next_order + ahead).await?;
        session.shown_at = self.clock.now();
        Ok(())
    }

    /// Lets no load of a fenced cache be kept until everything up to the source's end is applied: a former holder may have sent
    /// what it has not applied, or a table's definition was checked later than what is applied.
    pub(super) async fn fence_to_end(&mut self, session: &mut Session) -> Result<()> {
        if !self.caches.are_fenced() {
            return Ok(());
        }
        let head = self.head_of(session).await?;
        session.sent.union(&head.checkpoint.position);
        session.writer.raise_high_watermark(&session.expected, self.next_order + 1).await
    }

    /// Writes the coverage table, together with a new generation that this session expects from then on.
    pub(super) async fn write_coverage(&mut self, session: &mut Session, rows: &[Cover]) -> Result<()> {
        let next = Generation(self.entropy.random_u128());
        session.writer.cover(&session.expected, next, rows).await?;
        session.expected.generation = next;
        session.shown_at = self.clock.now();
        self.taken = Some(session.expected);
        Ok(())
    }

    /// Gives new generations to the flushed caches only.
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

    /// Publishes what was invalidated. Only the last message proves that all of it is done.
    async fn publish(&mut self, session: &mut Session, plan: &Plan, after: &Checkpoint) -> Result<()> {
        let mut events = Vec::new();
        if !plan.keys.is_empty() {
            events.push(BusEvent::Keys(plan.keys.iter().map(|key| key.as_str().into()).collect()));
        }
        if !plan.flushed.is_empty() {
            let caches = plan.flushed.keys().filter_map(|index| self.caches.get(*index));
            events.push(BusEvent::Caches(caches.map(|cache| cache.cache().into()).collect()));
            // The coverage may have changed too.
            events.push(BusEvent::Heartbeat(self.caches.covered()));
        }
        let last = events.len().saturating_sub(1);
        for (index, event) in events.into_iter().enumerate() {
            let applied = (index == last).then(|| after.position.clone());
            let message = self.message(session, event, applied, Timestamp::UNKNOWN);
            session.writer.publish(&message).await?;
        }
        Ok(())
    }

    /// Makes a message of this session, sent now.
    pub(super) fn message(
        &self,
        session: &Session,
        event: BusEvent,
        applied: Option<Position>,
        source_time: Timestamp,
    ) -> BusMessage {
        BusMessage { publisher: session.publisher, event, applied, source_time, sent_at: self.clock.now() }
    }

    /// Moves `applied`, as the last step of a batch, by compare-and-set on what this session expects.
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

    /// Writes `applied`, and then updates the session and the status.
    async fn commit(&mut self, session: &mut Session, applied: Applied) -> Result<()> {
        session.writer.commit(&session.expected, &applied).await?;
        session.shown_at = self.clock.now();
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

    /// Moves the watermark, checks that the store still has what was applied, and shows that the holder is alive.
    ///
    /// # Errors
    /// `Conflict` if the store is not as this session expects, or was suspended by another process.
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
            return Err(Error::new(ErrorKind::Conflict, "another process has suspended the store"));
        }
        let (checkpoint, mut order) = (session.checkpoint.clone(), session.expected.applied_order);
        if !session.sent.is_empty() && checkpoint.position.covers(&session.sent) {
            // The order that the high watermark was raised to.
            self.next_order += 1;
            order = self.next_order;
            session.sent = Position::new();
        }
        self.advance(session, checkpoint, order, watermark).await?;
        if desired.mode == InvalidationMode::Cdc {
            self.publish_heartbeat(session).await?;
        }
        let age = self.status.borrow().lag();
        self.metrics.watermark_age.set(age.map_or(f64::INFINITY, |age| age.as_secs_f64()));
        Ok(())
    }

    /// Shows standbys that the holder is alive, without moving `applied`.
    pub(super) async fn refresh_beat(&mut self, session: &mut Session) -> Result<()> {
        let (checkpoint, order) = (session.checkpoint.clone(), session.expected.applied_order);
        self.commit(session, Applied { order, checkpoint, source_time: Timestamp::UNKNOWN }).await
    }

    /// Shows standbys that the holder is alive, if it has not done so for a heartbeat. Called between the parts of a step that may
    /// take long. It reads the clock, and usually does nothing else.
    ///
    /// # Errors
    /// `Conflict` if another invalidator has the term: the rest of the step has no effect.
    pub(super) async fn keep_alive(&mut self, session: &mut Session) -> Result<()> {
        let now = self.clock.now();
        // A clock that was set back says nothing.
        let is_due = now < session.shown_at || now.since(session.shown_at) >= self.settings.heartbeat;
        if session.holds() && is_due { self.refresh_beat(session).await } else { Ok(()) }
    }

    /// Waits for a step that does not use the session's connection to the store, and shows meanwhile that the holder is alive.
    ///
    /// Every wait for a server other than the store belongs in here: what is usually a matter of milliseconds may take as long as the
    /// timeouts of that server's client, and a standby takes the term after six heartbeats without a write.
    ///
    /// # Cancel safety
    /// Not cancel safe: a write of the meta may be in progress.
    ///
    /// # Errors
    /// If the store fails, or another invalidator has the term.
    pub(super) async fn alive<T>(&mut self, session: &mut Session, step: impl Future<Output = T>) -> Result<T> {
        let mut step = std::pin::pin!(step);
        loop {
            tokio::select! {
                biased;
                done = &mut step => {
                    // Steps that are each shorter than a heartbeat may follow one another.
                    self.keep_alive(session).await?;
                    return Ok(done);
                }
                () = self.clock.sleep(self.settings.heartbeat) => {
                    if session.holds() {
                        self.refresh_beat(session).await?;
                    }
                }
            }
        }
    }

    /// Publishes a heartbeat with the covered caches and the applied position.
    async fn publish_heartbeat(&mut self, session: &mut Session) -> Result<()> {
        let event = BusEvent::Heartbeat(self.caches.covered());
        let applied = Some(session.checkpoint.position.clone());
        let message = self.message(session, event, applied, session.source_time);
        session.writer.publish(&message).await.map(drop)
    }

    /// Marks the meta vacant, as the last write of a shutdown: a standby need not wait for this holder's silence.
    pub(super) async fn resign(&mut self, session: &mut Session, desired: DesiredState) -> Result<()> {
        tracing::info!(mode = ?desired.mode, position = %session.checkpoint.position, "the invalidator has ended its term; a standby may take over");
        session.writer.resign(&session.expected).await
    }

    /// Updates the counters, and notifies the observer of an applied batch.
    pub(super) fn report(&self, session: &Session, plan: Plan, desired: DesiredState, stages: StageTimes) {
        let invalidated = if desired.mode == InvalidationMode::Cdc { plan.keys.len() as u64 } else { 0 };
        self.status.send_modify(|status| {
            status.events_total += plan.events;
            status.invalidations_total += invalidated;
        });
        if let Some(observer) = &self.observer {
            let applied = AppliedBatch {
                changes: plan.changes,
                mode: desired.mode,
                applied: session.checkpoint.position.clone(),
                received_at: stages.received_at,
                visible_at: stages.visible_at,
                applied_at: self.clock.now(),
            };
            if std::panic::catch_unwind(AssertUnwindSafe(|| observer.applied(&applied))).is_err() {
                tracing::error!("the observer of applied batches panicked: it misses a batch");
            }
        }
    }

    /// Notes whether the source can deliver a cache's changes exactly.
    ///
    /// # Errors
    /// An outcome that says nothing about the cache, because the server did not reply.
    pub(super) fn note_fit(&mut self, index: usize, outcome: Result<()>) -> Result<()> {
        let Some(cache) = self.caches.get_mut(index) else { return Ok(()) };
        let unfit = match outcome {
            Ok(()) => None,
            Err(error) if error.kind() == ErrorKind::Config => {
                tracing::error!(cache = cache.cache(), error = %error.chain(), "the source can no longer deliver this cache's changes exactly: the cache is not covered, and no value of it is cached");
                self.status.send_modify(|status| status.last_error = Some(error.clone()));
                Some(error)
            }
            Err(error) => return Err(error),
        };
        if unfit.is_none() && !cache.is_fit() {
            tracing::info!(cache = cache.cache(), "the source can deliver this cache's changes exactly again");
        }
        cache.unfit = unfit;
        Ok(())
    }

    /// Shows the warnings of a check in the status, and logs those that are new. A check of the `whole` set-up replaces the former
    /// ones; a check of some tables adds to them.
    pub(super) fn note_warnings(&self, warnings: Vec<String>, whole: bool) {
        self.status.send_if_modified(|status| {
            let known = status.warnings.clone();
            let (kept, new): (Vec<_>, Vec<_>) = warnings.into_iter().partition(|warning| known.contains(warning));
            new.iter().for_each(|warning| tracing::warn!(source = %status.source, "{warning}"));
            status.warnings = if whole { kept } else { known.clone() };
            status.warnings.extend(new);
            status.warnings != known
        });
    }

    /// Sets the status to standby; an error of an earlier session is cleared. What applies to a holder only is not known any more. An
    /// error is logged when it arises, also in an invalidator that stands by already: its holder was replaced.
    pub(super) fn stands_by(&self, error: Option<Error>) {
        self.status.send_modify(|status| {
            let known = status.last_error.as_ref().filter(|_| status.state == CdcState::Standby).map(Error::chain);
            (status.state, status.source_time) = (CdcState::Standby, Timestamp::UNKNOWN);
            if let Some(error) = error.as_ref().filter(|error| known != Some(error.chain())) {
                tracing::error!(error = %error.chain(), "this invalidator stands by, and its caches may not be covered");
            }
            status.last_error = error;
        });
    }
}
