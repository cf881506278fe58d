//! The loop: batch → gate → keys → store → bus → checkpoint, acknowledged last.
//!
//! A session is one connection to the store. Whatever fails ends it; the next one reads the store's state and goes on
//! from the position found *there*, so what the store has forgotten is repeated (rules 1 and 11).

use std::sync::Arc;

use tokio::sync::watch;

use crate::bus::{BusEvent, BusMessage};
use crate::clock::{Clock, Entropy, Timestamp};
use crate::error::{Error, ErrorKind, Result};
use crate::event::Batch;
use crate::gate::VisibilityGate;
use crate::invalidator::batch::{Plan, Void, plan};
use crate::invalidator::retry::Backoff;
use crate::invalidator::status::{CdcState, CdcStatus};
use crate::invalidator::watermark::Watermark;
use crate::invalidator::way::{Moments, passed};
use crate::invalidator::{AppliedBatch, CdcObserver, Wish};
use crate::keymap::KeyMap;
use crate::metrics::CdcMetrics;
use crate::position::Position;
use crate::settings::CdcSettings;
use crate::source::{BatchLimits, ChangeSource, Checkpoint, Head, Interests, Lead, SourceProbe};
use crate::store::{Applied, Discipline, Held, Meta, MetaState, Store, StoreState, StoreWriter};

/// So many heartbeats without any progress of the holder, and a standby takes the term.
const STANDBY_HEARTBEATS: u32 = 12;

/// The task behind a [`CdcHandle`](super::CdcHandle).
pub(crate) struct Pump {
    pub(crate) source: Box<dyn ChangeSource>,
    pub(crate) probe: Arc<dyn SourceProbe>,
    pub(crate) gate: Arc<dyn VisibilityGate>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) maps: Vec<Arc<dyn KeyMap>>,
    pub(crate) interests: Interests,
    pub(crate) observer: Option<Arc<dyn CdcObserver>>,
    pub(crate) settings: CdcSettings,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) metrics: CdcMetrics,
    pub(crate) wishes: watch::Receiver<Wish>,
    pub(crate) status: watch::Sender<CdcStatus>,
    /// The term this invalidator took last; 0 before the first.
    pub(crate) term: u64,
    /// The highest order it has used or seen.
    pub(crate) next_order: u64,
    pub(crate) preflighted: bool,
}

/// What holds while one connection to the store does.
pub(crate) struct Session {
    pub(crate) held: Held,
    pub(crate) origin: Box<str>,
    pub(crate) checkpoint: Checkpoint,
}

/// Why a session ended without a failure.
enum Ended {
    Shutdown,
    /// The discipline was changed.
    Again,
    /// Changes were lost, and everything cached was voided.
    Voided,
}

impl Pump {
    pub(crate) async fn run(mut self) {
        let mut backoff = Backoff::new(&self.settings);
        loop {
            let wishes = self.wishes.clone();
            match self.session(&mut backoff).await {
                Ok(Ended::Shutdown) => break,
                Ok(Ended::Again) => continue,
                // A pause, so that a source that loses changes again and again is not asked in a hot loop.
                Ok(Ended::Voided) => {}
                Err(error) => {
                    if self.fails_for_good(&error) {
                        return;
                    }
                }
            }
            if shutdown_during(wishes, backoff.pause(&*self.clock, &*self.entropy)).await {
                break;
            }
        }
        self.status.send_modify(|status| status.state = CdcState::Stopped);
    }

    /// Notes a failure. True if it is a mistake in the set-up, found by the very first try.
    fn fails_for_good(&mut self, error: &Error) -> bool {
        let first = self.status.borrow().state == CdcState::Starting;
        let fatal = first && error.kind() == ErrorKind::Config;
        CdcMetrics::failed(error.kind().as_str());
        self.metrics.batches_repeated.increment(1);
        if fatal {
            tracing::error!(source = %self.source.describe(), error = %error.chain(), "the invalidator cannot start");
        } else {
            tracing::warn!(source = %self.source.describe(), error = %error.chain(), "the invalidator tries again");
        }
        self.status.send_modify(|status| {
            status.state = if fatal { CdcState::Failed } else { CdcState::Retrying };
            status.last_error = Some(error.clone());
        });
        fatal
    }

    async fn session(&mut self, backoff: &mut Backoff) -> Result<Ended> {
        if !self.preflighted {
            for finding in self.source.preflight(&self.interests).await? {
                tracing::warn!(source = %self.source.describe(), "{finding}");
            }
            self.preflighted = true;
        }
        let Some(lead) = self.wait_for_lead().await? else { return Ok(Ended::Shutdown) };
        let wish = *self.wishes.borrow_and_update();
        if wish.shutdown {
            return Ok(Ended::Shutdown);
        }
        let mut writer = self.store.writer().await?;
        if lead == Lead::Undecided
            && let Some(ended) = self.stand_by(&mut *writer).await?
        {
            return Ok(ended);
        }
        let mut session = match wish.discipline {
            Discipline::Cdc => self.begin(&mut *writer).await?,
            Discipline::Ttl => self.begin_reading(&mut *writer).await?,
        };
        match self.source.open(&session.checkpoint, &self.interests).await {
            Err(error) if error.kind() == ErrorKind::Gap => {
                self.note_gap(&error);
                session = self.void(&mut *writer, wish.discipline, "gap").await?;
                self.source.open(&session.checkpoint, &self.interests).await?;
            }
            opened => opened?,
        }
        self.status.send_modify(|status| {
            status.state = CdcState::Running;
            status.discipline = wish.discipline;
            status.applied = session.checkpoint.position.clone();
            status.last_error = None;
        });
        tracing::info!(source = %self.source.describe(), position = %session.checkpoint.position, discipline = ?wish.discipline, "the invalidator runs");
        match self.pump(&mut *writer, &mut session, wish, backoff).await {
            Err(error) if error.kind() == ErrorKind::Gap => {
                self.note_gap(&error);
                self.void(&mut *writer, wish.discipline, "gap").await.map(|_| Ended::Voided)
            }
            ended => ended,
        }
    }

    /// Reads, applies, and shows that it lives, until something fails or is wished for.
    async fn pump(
        &mut self,
        writer: &mut dyn StoreWriter,
        session: &mut Session,
        wish: Wish,
        backoff: &mut Backoff,
    ) -> Result<Ended> {
        let limits = BatchLimits {
            changes_max: self.settings.batch_changes_max,
            bytes_max: self.settings.batch_bytes_max,
            // Well below a heartbeat: a beat drops the call that waits, and a source may tell of a position that moved
            // without a change only when the wait is over.
            wait_max: self.settings.heartbeat / 5,
            linger_max: self.settings.batch_linger,
        };
        let mut watermark = Watermark::new(Arc::clone(&self.probe), Arc::clone(&self.clock));
        watermark.ask();
        let mut beat = self.clock.sleep(self.settings.heartbeat);
        loop {
            tokio::select! {
                biased;
                changed = self.wishes.changed() => {
                    let now = *self.wishes.borrow_and_update();
                    if changed.is_err() || now.shutdown {
                        return Ok(Ended::Shutdown);
                    }
                    if now != wish {
                        return Ok(Ended::Again);
                    }
                }
                () = &mut beat => {
                    beat = self.clock.sleep(self.settings.heartbeat);
                    watermark.ask();
                    self.heartbeat(writer, session, &mut watermark, wish).await?;
                }
                head = watermark.answered() => {
                    let head = head?;
                    if head.origin != session.origin {
                        return Err(Error::new(ErrorKind::Gap, format!(
                            "the source is another server now: {} before, {} since", session.origin, head.origin)));
                    }
                }
                batch = self.source.next_batch(&limits) => {
                    let batch = batch?;
                    if !batch.transactions.is_empty() || batch.checkpoint != session.checkpoint {
                        self.apply(writer, session, batch, &mut watermark, wish).await?;
                        backoff.reset();
                    }
                }
            }
        }
    }

    async fn apply(
        &mut self,
        writer: &mut dyn StoreWriter,
        session: &mut Session,
        batch: Batch,
        watermark: &mut Watermark,
        wish: Wish,
    ) -> Result<()> {
        let mut moments = Moments { received_at: self.clock.now(), visible_at: Timestamp::UNKNOWN };
        let mut plan = plan(&batch, &self.maps, self.observer.is_some());
        self.metrics.events.increment(plan.events);
        match (wish.discipline, plan.void.take()) {
            (Discipline::Cdc, Some(void)) => {
                moments.visible_at = self.pass_gate(&plan.transactions).await?;
                let reason = self.explain(void);
                let head = Head { checkpoint: batch.checkpoint, origin: session.origin.clone() };
                *session = self.flush_at(writer, head, MetaState::Live, reason).await?;
            }
            (Discipline::Cdc, None) if !plan.keys.is_empty() => {
                self.invalidate(writer, session, &plan, &batch.checkpoint, &mut moments).await?;
                let order = self.next_order;
                self.advance(writer, session, batch.checkpoint, order, watermark).await?;
            }
            _ => {
                let order = session.held.applied_order;
                self.advance(writer, session, batch.checkpoint, order, watermark).await?;
            }
        }
        self.source.acknowledge(&session.checkpoint).await?;
        self.metrics.batches_applied.increment(1);
        self.report(session, plan, wish, moments);
        Ok(())
    }

    /// Rule 1, up to the bus: gate, `hi`, invalidations, bus; each acknowledged before the next is sent.
    async fn invalidate(
        &mut self,
        writer: &mut dyn StoreWriter,
        session: &Session,
        plan: &Plan,
        after: &Checkpoint,
        moments: &mut Moments,
    ) -> Result<()> {
        moments.visible_at = self.pass_gate(&plan.transactions).await?;
        self.next_order += 1;
        writer.raise_hi(&session.held, self.next_order).await?;
        for keys in plan.keys.chunks(self.settings.keys_per_command_max) {
            writer.invalidate(keys, None).await?;
        }
        self.metrics.invalidations.increment(plan.keys.len() as u64);
        let message = BusMessage {
            publisher: crate::bus::Publisher(1),
            event: BusEvent::Keys(plan.keys.iter().map(|key| key.as_str().into()).collect()),
            applied: Some(after.position.clone()),
            source_time: Timestamp::UNKNOWN,
            sent_at: self.clock.now(),
        };
        writer.publish(&message).await?;
        passed(&self.metrics, &plan.times, moments, self.clock.now());
        Ok(())
    }

    /// Writes `applied`, last of all, by compare-and-set with what this session holds.
    async fn advance(
        &mut self,
        writer: &mut dyn StoreWriter,
        session: &mut Session,
        checkpoint: Checkpoint,
        order: u64,
        watermark: &mut Watermark,
    ) -> Result<()> {
        let source_time = watermark.reached(&checkpoint.position);
        let applied = Applied { order, checkpoint, source_time };
        writer.commit(&session.held, &applied).await?;
        session.held.applied_order = order;
        session.checkpoint = applied.checkpoint;
        self.note_applied(session, source_time);
        Ok(())
    }

    /// Moves the watermark, checks that the store still has what was applied, and shows the bus that it lives.
    async fn heartbeat(
        &mut self,
        writer: &mut dyn StoreWriter,
        session: &mut Session,
        watermark: &mut Watermark,
        wish: Wish,
    ) -> Result<()> {
        let (checkpoint, order) = (session.checkpoint.clone(), session.held.applied_order);
        self.advance(writer, session, checkpoint, order, watermark).await?;
        if wish.discipline == Discipline::Cdc {
            let message = BusMessage {
                publisher: crate::bus::Publisher(1),
                event: BusEvent::Heartbeat(Vec::new()),
                applied: Some(session.checkpoint.position.clone()),
                source_time: self.status.borrow().source_time,
                sent_at: self.clock.now(),
            };
            writer.publish(&message).await?;
        }
        let age = self.status.borrow().lag(self.clock.now());
        self.metrics.watermark_age.set(age.map_or(f64::INFINITY, |age| age.as_secs_f64()));
        Ok(())
    }

    fn note_applied(&self, session: &Session, source_time: Timestamp) {
        self.status.send_modify(|status| {
            status.applied = session.checkpoint.position.clone();
            if source_time.is_known() {
                status.source_time = source_time;
            }
        });
    }

    fn report(&self, session: &Session, plan: Plan, wish: Wish, moments: Moments) {
        let invalidated = if wish.discipline == Discipline::Cdc { plan.keys.len() as u64 } else { 0 };
        self.status.send_modify(|status| {
            status.events_total += plan.events;
            status.invalidations_total += invalidated;
        });
        if let Some(observer) = &self.observer {
            observer.applied(&AppliedBatch {
                changes: plan.changes,
                discipline: wish.discipline,
                applied: session.checkpoint.position.clone(),
                received_at: moments.received_at,
                visible_at: moments.visible_at,
                applied_at: self.clock.now(),
            });
        }
    }

    /// Waits until everything in `position` can be read where loaders read. It never gives up while it is not: what
    /// was applied before that would let an old value be kept. Answers the clock after that.
    pub(super) async fn pass_gate(&mut self, position: &Position) -> Result<Timestamp> {
        let asked_at = self.clock.now();
        while !self.gate.wait(position, self.settings.gate_timeout).await? {
            if self.wishes.borrow().shutdown {
                return Err(Error::new(ErrorKind::Closed, "the invalidator was shut down at the gate"));
            }
            tracing::warn!(%position, "commits are in the log and still not visible to readers: invalidations wait");
        }
        let visible_at = self.clock.now();
        self.metrics.gate_seconds.record(visible_at.since(asked_at).as_secs_f64());
        Ok(visible_at)
    }

    /// Goes on where the store says, or begins a new generation where it cannot say.
    async fn begin(&mut self, writer: &mut dyn StoreWriter) -> Result<Session> {
        let head = self.probe.head().await?;
        match writer.state().await? {
            StoreState::Live(meta) if meta.origin == head.origin => match meta.checkpoint() {
                Ok(checkpoint) => self.resume(writer, meta, checkpoint).await,
                Err(_) => self.flush_at(writer, head, MetaState::Live, "unreadable_checkpoint").await,
            },
            StoreState::Live(_) => self.flush_at(writer, head, MetaState::Live, "another_server").await,
            StoreState::Suspended(_) => self.flush_at(writer, head, MetaState::Live, "discipline").await,
            StoreState::Missing => self.flush_at(writer, head, MetaState::Live, "no_meta").await,
            StoreState::Mixed => self.flush_at(writer, head, MetaState::Live, "mixed_shards").await,
        }
    }

    async fn resume(&mut self, writer: &mut dyn StoreWriter, meta: Meta, checkpoint: Checkpoint) -> Result<Session> {
        let known = &self.status.borrow().applied.clone();
        if self.term > 0 && !checkpoint.position.covers(known) {
            self.metrics.rewinds.increment(1);
            self.status.send_modify(|status| status.rewinds_total += 1);
            tracing::warn!(applied = %known, stored = %checkpoint.position, "the store has forgotten invalidations: they are repeated");
        }
        self.term = self.term.max(meta.term).max(writer.term().await?) + 1;
        writer.take_term(&meta, self.term).await?;
        self.next_order = self.next_order.max(meta.hi);
        let held = Held { generation: meta.generation, term: self.term, applied_order: meta.applied_order };
        Ok(Session { held, origin: meta.origin, checkpoint })
    }

    /// In the ttl discipline: the store's promises are voided first, then changes are only read.
    async fn begin_reading(&mut self, writer: &mut dyn StoreWriter) -> Result<Session> {
        self.store.suspend().await?;
        let head = self.probe.head().await?;
        match writer.state().await? {
            StoreState::Suspended(meta) if meta.origin == head.origin => match meta.checkpoint() {
                Ok(checkpoint) => self.resume(writer, meta, checkpoint).await,
                Err(_) => self.void(writer, Discipline::Ttl, "unreadable_checkpoint").await,
            },
            _ => self.void(writer, Discipline::Ttl, "discipline").await,
        }
    }

    /// A new generation at the source's head; in the ttl discipline it promises nothing.
    async fn void(
        &mut self,
        writer: &mut dyn StoreWriter,
        discipline: Discipline,
        reason: &'static str,
    ) -> Result<Session> {
        let state = match discipline {
            Discipline::Cdc => MetaState::Live,
            Discipline::Ttl => MetaState::Suspended,
        };
        let head = self.probe.head().await?;
        self.flush_at(writer, head, state, reason).await
    }

    /// Waits until the source says that this invalidator may work. Nothing if a shutdown is wished for.
    async fn wait_for_lead(&mut self) -> Result<Option<Lead>> {
        let wishes = self.wishes.clone();
        let mut ended = std::pin::pin!(shutdown_during(wishes, std::future::pending()));
        let mut patience = self.clock.sleep(self.settings.heartbeat);
        let mut lead = self.source.lead();
        loop {
            tokio::select! {
                biased;
                _ = &mut ended => return Ok(None),
                lead = &mut lead => return lead.map(Some),
                () = &mut patience => {
                    patience = Box::pin(std::future::pending());
                    self.status.send_modify(|status| status.state = CdcState::Standby);
                }
            }
        }
    }

    /// Lets another invalidator that holds a later term work, and takes over when it makes no progress.
    async fn stand_by(&mut self, writer: &mut dyn StoreWriter) -> Result<Option<Ended>> {
        let (mut silent, mut last) = (0, None);
        while self.term > 0 && silent < STANDBY_HEARTBEATS {
            let (StoreState::Live(meta) | StoreState::Suspended(meta)) = writer.state().await? else { break };
            if meta.term <= self.term {
                break;
            }
            let progress = Some((meta.term, meta.applied_order, meta.source_time));
            silent = if progress == last { silent + 1 } else { 0 };
            last = progress;
            self.status.send_modify(|status| status.state = CdcState::Standby);
            let wishes = self.wishes.clone();
            if shutdown_during(wishes, self.clock.sleep(self.settings.heartbeat)).await {
                return Ok(Some(Ended::Shutdown));
            }
        }
        Ok(None)
    }

    fn note_gap(&self, error: &Error) {
        tracing::error!(source = %self.source.describe(), error = %error.chain(), "changes were lost: everything cached is voided");
        self.status.send_modify(|status| status.last_error = Some(error.clone()));
    }

    fn explain(&self, void: Void) -> &'static str {
        match void {
            Void::Tables(reason) => {
                tracing::info!(%reason, "a table changed as a whole: everything cached is voided");
                "table"
            }
            Void::Mapping(error) => {
                tracing::error!(error = %error.chain(), "a change could not be mapped to keys: everything cached is voided");
                self.status.send_modify(|status| status.last_error = Some(error));
                "mapping"
            }
        }
    }
}

/// Runs `pause`, and ends early (true) if a shutdown is wished for.
async fn shutdown_during(mut wishes: watch::Receiver<Wish>, pause: impl Future<Output = ()>) -> bool {
    tokio::select! {
        gone = async { wishes.wait_for(|wish| wish.shutdown).await.is_err() } => { let _ = gone; true }
        () = pause => false,
    }
}
