//! How a session begins: it resumes from the store's checkpoint, or flushes if there is none to resume from.
//!
//! | state of the store | this session |
//! |---|---|
//! | a meta of this source and mode | takes the term, covers its caches, resumes |
//! | a meta of another server, or of the other mode | flushes |
//! | a meta with transactions that the server has lost | resumes, then flushes |
//! | a checkpoint that cannot be parsed | flushes |
//! | no meta, or shards that disagree | flushes |

use std::sync::Arc;
use std::time::Duration;

use crate::bus::BusEvent;
use crate::clock::Timestamp;
use crate::error::{Error, ErrorKind, Result};
use crate::invalidator::pump::Pump;
use crate::invalidator::worker::{Session, Worker};
use crate::metrics::CdcMetrics;
use crate::position::Position;
use crate::source::{Checkpoint, Head};
use crate::store::{Cover, Expected, Generation, InvalidationMode, Meta, MetaState, StoreState};

/// Transactions are lost if the server's position lacks them for this many `gate_timeout`s.
const LOST_AFTER: u32 = 10;

impl Pump {
    /// Takes the term and resumes from the store's checkpoint; or flushes at the source's head.
    pub(super) async fn begin(&mut self, session: &mut Session, mode: InvalidationMode) -> Result<()> {
        let wanted = match mode {
            InvalidationMode::Cdc => MetaState::Live,
            InvalidationMode::Ttl => {
                // From here on no entry of CDC mode is valid.
                self.worker.store.suspend().await?;
                MetaState::Suspended
            }
        };
        let state = session.writer.state().await?;
        let reason = match state {
            StoreState::Live(meta) | StoreState::Suspended(meta) if meta.state == wanted => match meta.checkpoint() {
                _ if meta.origin != session.origin => "another_server",
                Ok(checkpoint) => return self.resume(session, &meta, checkpoint).await,
                Err(_) => "unreadable_checkpoint",
            },
            StoreState::Live(_) | StoreState::Suspended(_) => "mode",
            StoreState::Missing => "no_meta",
            StoreState::Mixed => "mixed_shards",
        };
        self.flush(session, wanted, reason).await
    }

    /// Takes the term and resumes from the store's checkpoint. If it is older than what this invalidator has applied, the store has
    /// lost invalidations, which are then repeated. One of a later term, which another invalidator has written, may lack them because
    /// the source has lost them.
    async fn resume(&mut self, session: &mut Session, meta: &Meta, checkpoint: Checkpoint) -> Result<()> {
        let worker = &mut self.worker;
        let known = worker.status.borrow().applied.clone();
        if worker.taken.is_some_and(|taken| meta.term <= taken.term) && !checkpoint.position.covers(&known) {
            worker.metrics.rewinds.increment(1);
            worker.status.send_modify(|status| status.rewinds_total += 1);
            tracing::warn!(applied = %known, stored = %checkpoint.position, "the store has lost invalidations: they are repeated");
        }
        worker.term = worker.term.max(meta.term).max(session.writer.term().await?) + 1;
        session.writer.take_term(meta, worker.term).await?;
        // The former holder may have raised it after `meta` was read, and can raise it no more.
        let high_watermark = high_watermark(session.writer.state().await?)?;
        worker.next_order = worker.next_order.max(high_watermark);
        session.expected =
            Expected { generation: meta.generation, term: worker.term, applied_order: meta.applied_order };
        worker.taken = Some(session.expected);
        session.shown_at = worker.clock.now();
        session.checkpoint = checkpoint;
        session.source_time = meta.source_time;
        // After the term was taken, as above.
        worker.fence_to_end(session).await?;
        self.cover(session, meta).await
    }

    /// Makes the store cover exactly the caches that are bound here ("Coverage"). A cache that stays covered keeps its entries.
    /// An added one gets a new generation, once everything applied so far is visible at *this* invalidator's gate: the former
    /// holder may have waited at another one.
    async fn cover(&mut self, session: &mut Session, meta: &Meta) -> Result<()> {
        let worker = &mut self.worker;
        let rows = worker.caches.rows(&*worker.entropy, &[]);
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
                "these caches are no longer covered: none of their values is served or stored"
            );
        }
        // Written in any case: a former holder may have been interrupted between two shards, or may have written another
        // table since this one read the meta.
        worker.write_coverage(session, &kept).await?;
        if added.is_empty() {
            return Ok(());
        }
        tracing::info!(caches = names(&added), "these caches are covered from now on");
        let applied = session.checkpoint.position.clone();
        worker.wait_visible(session, &applied).await?;
        // A former holder without this cache applied changes of its tables' definitions without a check, or a wait for them.
        self.check_all_tables(Some(session)).await?;
        self.worker.wait_for_end(session).await?;
        let rows = self.worker.caches.rows(&*self.worker.entropy, &[]);
        self.worker.write_coverage(session, &rows).await
    }

    /// Flushes every cache, into new generations in which everything up to the source's head is applied ("Flush order").
    ///
    /// The order is fixed: the head is read, the gate waits for it, the tables are checked, then generations, high watermark
    /// and `applied` are replaced in one value, then processes clear their tiers, then the source resumes from the head. In
    /// any other order a load that saw less than the head could be cached in a generation that claims the head, or a table
    /// could be covered as it was before the head.
    pub(super) async fn flush(&mut self, session: &mut Session, state: MetaState, reason: &'static str) -> Result<()> {
        let head = self.worker.visible_head(session).await?;
        // The log after the head does not repeat that a table was altered before it.
        self.check_all_tables(Some(session)).await?;
        if self.worker.caches.load_from_replicas() {
            // As in `wait_for_end`; without a term, and with the store suspended.
            self.worker.visible_head(session).await?;
        }
        let worker = &mut self.worker;
        // As in `fence_to_end`: nothing else that was sent before can be in the new generations.
        session.sent = match worker.caches.are_fenced() {
            true => worker.head(session).await?.checkpoint.position,
            false => Position::new(),
        };
        let ran_before = worker.term > 0;
        worker.term = worker.term.max(session.writer.term().await?) + 1;
        worker.next_order += 1;
        let (generation, order) = (Generation(worker.entropy.random_u128()), worker.next_order);
        let mut meta = Meta::at_head(generation, worker.term, order, 0, &head.origin, &head.checkpoint)
            .covering(worker.caches.coverage(&*worker.entropy));
        meta.state = state;
        meta.high_watermark += u64::from(!head.checkpoint.position.covers(&session.sent));
        session.writer.flush(&meta).await?;
        session.expected = Expected { generation, term: worker.term, applied_order: order };
        worker.taken = Some(session.expected);
        (session.source_time, session.shown_at) = (Timestamp::UNKNOWN, worker.clock.now());
        let applied = Some(head.checkpoint.position.clone());
        let message = worker.message(session, BusEvent::Flush, applied, Timestamp::UNKNOWN);
        session.writer.publish(&message).await?;
        CdcMetrics::flushed(reason);
        worker.status.send_modify(|status| {
            status.flushes_total += 1;
            (status.applied, status.source_time) = (head.checkpoint.position.clone(), Timestamp::UNKNOWN);
        });
        let position = &head.checkpoint.position;
        // A first start and a switch of mode are expected; a loss is not.
        if reason == "mode" || (reason == "no_meta" && !ran_before) {
            tracing::info!(reason, %position, "every cache starts empty at the source's head");
        } else {
            tracing::warn!(reason, %position, "every cache was flushed, and starts empty at the source's head");
        }
        (session.origin, session.checkpoint) = (head.origin, head.checkpoint);
        Ok(())
    }
}

/// Returns the high watermark of a store whose term was just taken.
fn high_watermark(state: StoreState) -> Result<u64> {
    match state {
        StoreState::Live(meta) | StoreState::Suspended(meta) => Ok(meta.high_watermark),
        StoreState::Missing | StoreState::Mixed => Err(Error::new(
            ErrorKind::Conflict,
            "the store was replaced while its term was taken; the next session reads its state again",
        )),
    }
}

impl Worker {
    /// Returns true if everything that the store has applied is visible at this invalidator's gate.
    ///
    /// The source's end is requested first, because the reply names the server of the log, on which the gate waits: what a
    /// standby knows of it may be older than a change of the primary.
    pub(super) async fn gate_shows(&self, meta: &Meta) -> Result<bool> {
        self.probe.head().await?;
        self.gate.wait(meta.applied(), self.settings.gate_timeout).await
    }

    /// Waits until `position` is visible at this invalidator's gate, and shows meanwhile that the holder is alive.
    async fn wait_visible(&mut self, session: &mut Session, position: &Position) -> Result<()> {
        while !self.gate_opens(session, position).await? {
            self.check_shutdown(position)?;
            self.head_of(session).await?;
        }
        Ok(())
    }

    /// Waits one turn at this invalidator's gate, and returns true if it shows `position`.
    ///
    /// # Errors
    /// Those of the gate; and those of the store, which shows meanwhile that the holder is alive.
    async fn gate_opens(&mut self, session: &mut Session, position: &Position) -> Result<bool> {
        let (gate, turn) = (Arc::clone(&self.gate), self.gate_turn());
        self.alive(session, gate.wait(position, turn)).await?
    }

    /// How long one wait at the gate takes before a shutdown, and a change of the source's server, are noticed.
    fn gate_turn(&self) -> Duration {
        self.settings.gate_timeout.min(self.settings.heartbeat * 2)
    }

    /// Waits, after tables were checked, until loaders can read everything that was committed before the check.
    ///
    /// A check tells of the tables as they are now, which may be later than the change that is being applied. What the log
    /// lacks between the two must be part of every value that is stored under the new generation. Loaders of the server
    /// that was checked see it; those of a replica may not yet.
    pub(super) async fn wait_for_end(&mut self, session: &mut Session) -> Result<()> {
        self.fence_to_end(session).await?;
        if !self.caches.load_from_replicas() {
            return Ok(());
        }
        let head = self.head_of(session).await?;
        self.wait_visible(session, &head.checkpoint.position).await
    }

    /// Returns the source's end, for which a slow server may take long.
    ///
    /// # Errors
    /// Those of the source, and of the store.
    async fn head(&mut self, session: &mut Session) -> Result<Head> {
        let probe = Arc::clone(&self.probe);
        self.alive(session, probe.head()).await?
    }

    /// Returns the source's end, or an error if the source's server has changed.
    pub(super) async fn head_of(&mut self, session: &mut Session) -> Result<Head> {
        let head = self.head(session).await?;
        if head.origin == session.origin {
            return Ok(head);
        }
        let message = format!("the source's server changed from {} to {}", session.origin, head.origin);
        Err(Error::new(ErrorKind::Unavailable, message))
    }

    /// Returns an error if the server has lost transactions that are applied: it was restored from a copy, or has crashed without
    /// having written the end of its log. It gives their numbers to other transactions then, which a source that
    /// continues after them would skip.
    ///
    /// A position that was read from the log may be ahead of the server's own, for as long as a commit waits for a replica.
    /// So the end is read again for a while. That of a replica's log says nothing.
    pub(super) async fn lost_history(&mut self, session: &mut Session, known: &Position) -> Result<Option<Error>> {
        let applied = session.checkpoint.position.clone();
        let (mut waited, patience) = (Duration::ZERO, self.settings.gate_timeout.saturating_mul(LOST_AFTER));
        if known.covers(&applied) {
            return Ok(None);
        }
        loop {
            let head = self.head_of(session).await?.checkpoint.position;
            if head.covers(&applied) || !self.probe.proves_time() {
                return Ok(None);
            }
            if waited >= patience {
                let message = format!(
                    "server {} has executed {head}, which lacks transactions that are applied ({applied}): it was restored \
                     from a copy, or lost the end of its log in a crash",
                    session.origin
                );
                return Ok(Some(Error::new(ErrorKind::Gap, message)));
            }
            self.check_shutdown(&applied)?;
            self.clock.sleep(self.gate_turn()).await;
            waited += self.gate_turn();
            self.refresh_beat(session).await?;
        }
    }

    /// Returns the source's head, once all of it is visible to readers. Until then cached values may miss changes that will
    /// never be delivered, so the store is suspended. The wait is for the first head, because with a slow gate and steady
    /// commits a newer head would never be reached; only after a change of the primary, which may lack what the former one
    /// had, is a new head used.
    async fn visible_head(&mut self, session: &mut Session) -> Result<Head> {
        let mut suspended = false;
        let mut head = self.head(session).await?;
        while !self.gate_opens(session, &head.checkpoint.position).await? {
            self.check_shutdown(&head.checkpoint.position)?;
            if !suspended {
                self.store.suspend().await?;
                suspended = true;
            }
            let now = self.head(session).await?;
            if now.origin != head.origin || !now.checkpoint.position.covers(&head.checkpoint.position) {
                head = now;
            }
        }
        Ok(head)
    }

    /// Logs that the gate is closed.
    ///
    /// # Errors
    /// `Closed` if a shutdown is requested.
    fn check_shutdown(&self, position: &Position) -> Result<()> {
        if self.desired_states.borrow().shutdown {
            return Err(Error::new(ErrorKind::Closed, "the invalidator was shut down at the gate"));
        }
        tracing::warn!(%position, "commits are in the log and not yet visible to readers: the invalidator waits");
        Ok(())
    }
}
