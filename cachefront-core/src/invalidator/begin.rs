//! How a session begins: it goes on where the store says, or begins a new generation where the store cannot say.

use crate::bus::{BusEvent, Publisher};
use crate::clock::Timestamp;
use crate::error::{Error, ErrorKind, Result};
use crate::invalidator::worker::{Session, Worker};
use crate::metrics::CdcMetrics;
use crate::position::Position;
use crate::source::{Checkpoint, Head};
use crate::store::{Cover, Expected, Generation, InvalidationMode, Meta, MetaState, StoreState, StoreWriter};

impl Worker {
    /// Takes the term, and with it what the store has; or begins a new generation at the source's head.
    pub(super) async fn begin(
        &mut self,
        mut writer: Box<dyn StoreWriter>,
        head: Head,
        mode: InvalidationMode,
    ) -> Result<Session> {
        let wanted = match mode {
            InvalidationMode::Cdc => MetaState::Live,
            InvalidationMode::Ttl => {
                // What the store promises is void from here on.
                self.store.suspend().await?;
                MetaState::Suspended
            }
        };
        let state = writer.state().await?;
        let mut session = Session {
            writer,
            publisher: Publisher(self.entropy.random_u128().max(1)),
            expected: Expected { generation: Generation::default(), term: self.term, applied_order: 0 },
            origin: head.origin.clone(),
            checkpoint: Checkpoint::default(),
            source_time: Timestamp::UNKNOWN,
            beats: 0,
        };
        let reason = match state {
            StoreState::Live(meta) | StoreState::Suspended(meta) if meta.state == wanted => match meta.checkpoint() {
                _ if meta.origin != head.origin => "another_server",
                Ok(checkpoint) => {
                    self.resume(&mut session, &meta, checkpoint).await?;
                    return Ok(session);
                }
                Err(_) => "unreadable_checkpoint",
            },
            StoreState::Live(_) | StoreState::Suspended(_) => "mode",
            StoreState::Missing => "no_meta",
            StoreState::Mixed => "mixed_shards",
        };
        self.flush(&mut session, wanted, reason).await?;
        Ok(session)
    }

    async fn resume(&mut self, session: &mut Session, meta: &Meta, checkpoint: Checkpoint) -> Result<()> {
        let known = self.status.borrow().applied.clone();
        if self.term > 0 && !checkpoint.position.covers(&known) {
            self.metrics.rewinds.increment(1);
            self.status.send_modify(|status| status.rewinds_total += 1);
            tracing::warn!(applied = %known, stored = %checkpoint.position, "the store has forgotten invalidations: they are repeated");
        }
        self.term = self.term.max(meta.term).max(session.writer.term().await?) + 1;
        session.writer.take_term(meta, self.term).await?;
        self.next_order = self.next_order.max(meta.high_watermark);
        session.expected = Expected { generation: meta.generation, term: self.term, applied_order: meta.applied_order };
        session.checkpoint = checkpoint;
        session.source_time = meta.source_time;
        self.cover(session, meta).await
    }

    /// Makes the store vouch for exactly the caches that this invalidator keeps ("Coverage"). A cache that stays keeps its
    /// entries. One that is new begins a generation of its own, once everything applied so far can be read where *this*
    /// invalidator's loaders read: the former holder may have waited at another gate.
    async fn cover(&mut self, session: &mut Session, meta: &Meta) -> Result<()> {
        let rows = self.caches.rows(&*self.entropy, &[]);
        let (kept, added): (Vec<Cover>, Vec<Cover>) =
            rows.into_iter().partition(|row| meta.coverage.covers(row.covered.mapping));
        let names =
            |rows: &[Cover]| rows.iter().map(|row| row.covered.cache.to_string()).collect::<Vec<_>>().join(", ");
        let dropped =
            meta.coverage.rows().iter().filter(|row| !kept.iter().any(|kept| kept.covered.mapping == row.mapping));
        let dropped: Vec<&str> = dropped.map(|row| &*row.cache).collect();
        if !dropped.is_empty() {
            tracing::warn!(
                caches = dropped.join(", "),
                "these caches are no longer covered: nothing of them is served or stored"
            );
        }
        // Always written: a former holder may have been interrupted between two shards, or have written another table
        // since this one read the meta.
        self.write_coverage(session, &kept).await?;
        if added.is_empty() {
            return Ok(());
        }
        tracing::info!(caches = names(&added), "these caches are covered from now on");
        let applied = session.checkpoint.position.clone();
        while !self.gate.wait(&applied, self.settings.gate_timeout).await? {
            self.still_wanted(&applied)?;
            self.show_life(session).await?;
            self.same_origin(&session.origin).await?;
        }
        let all: Vec<Cover> = kept.into_iter().chain(added).collect();
        self.write_coverage(session, &all).await
    }

    /// True if what the store has applied can be read where this invalidator's loaders read.
    ///
    /// The source's end is asked for first, which names the server of the log: the gate waits on no other one, and what
    /// an invalidator that stands by was told of it may be older than a change of the primary.
    pub(super) async fn gate_shows(&self, meta: &Meta) -> Result<bool> {
        self.probe.head().await?;
        self.gate.wait(meta.applied(), self.settings.gate_timeout).await
    }

    async fn same_origin(&self, origin: &str) -> Result<()> {
        let head = self.probe.head().await?;
        if *head.origin == *origin {
            return Ok(());
        }
        let message = format!("the source is another server now: {origin} before, {} since", head.origin);
        Err(Error::new(ErrorKind::Unavailable, message))
    }

    /// Begins a new generation of everything, in which all up to the source's head is applied ("Flush order").
    ///
    /// The order is fixed: the head is noted, the gate waits for it, then generations, `hi` and `applied` are replaced
    /// in one value, then processes clear their own tiers, then the source goes on from the head. In any other order a
    /// load that saw less than the head could be kept under a generation that promises the head.
    pub(super) async fn flush(&mut self, session: &mut Session, state: MetaState, reason: &'static str) -> Result<()> {
        let head = self.visible_head(session).await?;
        let ran_before = self.term > 0;
        self.term = self.term.max(session.writer.term().await?) + 1;
        self.next_order += 1;
        let (generation, order) = (Generation(self.entropy.random_u128()), self.next_order);
        let mut meta = Meta::at_head(generation, self.term, order, 0, &head.origin, &head.checkpoint)
            .covering(self.caches.coverage(&*self.entropy));
        meta.state = state;
        session.writer.flush(&meta).await?;
        session.expected = Expected { generation, term: self.term, applied_order: order };
        session.source_time = Timestamp::UNKNOWN;
        let applied = Some(head.checkpoint.position.clone());
        let message = self.message(session, BusEvent::Flush, applied, Timestamp::UNKNOWN);
        session.writer.publish(&message).await?;
        CdcMetrics::flushed(reason);
        self.status.send_modify(|status| status.flushes_total += 1);
        let position = &head.checkpoint.position;
        // A first start and a switch of mode are expected; a loss is not.
        if reason == "mode" || (reason == "no_meta" && !ran_before) {
            tracing::info!(reason, %position, "a new generation begins at the source's head");
        } else {
            tracing::warn!(reason, %position, "everything cached was flushed: a new generation begins at the source's head");
        }
        (session.origin, session.checkpoint) = (head.origin, head.checkpoint);
        Ok(())
    }

    /// The source's head, once all of it is visible to readers. While it is not, what is cached may miss changes that
    /// will never be delivered: it is not served. The same head is waited for all the time, or steady commits behind a
    /// slow gate would be waited for without end; only a new primary, which may lack what the old one had, is asked again.
    async fn visible_head(&mut self, session: &mut Session) -> Result<Head> {
        let mut suspended = false;
        let mut head = self.probe.head().await?;
        while !self.gate.wait(&head.checkpoint.position, self.settings.gate_timeout).await? {
            self.still_wanted(&head.checkpoint.position)?;
            if !suspended {
                self.store.suspend().await?;
                suspended = true;
            }
            if session.expected.generation != Generation::default() {
                self.show_life(session).await?;
            }
            let now = self.probe.head().await?;
            if now.origin != head.origin || !now.checkpoint.position.covers(&head.checkpoint.position) {
                head = now;
            }
        }
        Ok(head)
    }

    /// Says that the gate is closed.
    ///
    /// # Errors
    /// `Closed` on shutdown.
    fn still_wanted(&self, position: &Position) -> Result<()> {
        if self.desired_states.borrow().shutdown {
            return Err(Error::new(ErrorKind::Closed, "the invalidator was shut down at the gate"));
        }
        tracing::warn!(%position, "commits are in the log and not visible to readers yet: the invalidator waits");
        Ok(())
    }
}
