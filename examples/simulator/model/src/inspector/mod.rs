//! The inspector: compares what is cached with the database, all the time, without false alarms.
//!
//! A pass looks at the first 500 users and at a moving sample of the others, at both of a user's entries, and at users
//! that are gone and were cached before. It looks only: no fill, no lease, no touch. An entry counts as stale if it was
//! the same before and after its row was read and differs from it; in CDC mode it has a moment's grace, because an
//! invalidation may be under way.

mod consistency;
pub mod metrics;
mod pass;
#[cfg(test)]
mod tests;
mod view;

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use cachefront::{Clock, Hit, Timestamp};
use tokio::sync::{Mutex, Semaphore, SemaphorePermit};
use tokio_util::sync::CancellationToken;

pub use self::consistency::{Consistency, StaleEntry, StaleKind, Verdict};
use self::pass::Memory;
pub use self::view::{CacheView, EntryState};
use crate::caches::{Caches, EmailKey};
use crate::domain::{Database, DbError, User, rfc3339};
use crate::events::EventHub;
use crate::interest::Interest;
use crate::mode::Modes;
use crate::pipeline::Pipeline;

/// The pause between two passes.
const EVERY: Duration = Duration::from_secs(1);

/// An outcome that is older says nothing about now.
const CURRENT_FOR: Duration = Duration::from_secs(10);

/// A pass that takes longer has failed.
const PASS_MAX: Duration = Duration::from_secs(5);

/// So many rows are read at once, beside those of a whole list: the database has few connections, and others need them.
const ROWS_AT_ONCE: usize = 32;

/// An entry that changes between two looks is looked at again, at most so often.
const LOOKS_MAX: usize = 32;

/// Compares, and knows what the last pass said.
pub struct Inspector {
    caches: Caches,
    /// Without the faults that slow it down: what is looked at is the truth.
    database: Arc<dyn Database>,
    modes: Arc<Modes>,
    pipeline: Pipeline,
    clock: Arc<dyn Clock>,
    /// What a pass remembers for the next one; held while a pass runs.
    memory: Mutex<Memory>,
    /// With the times at which its pass began and ended.
    last: RwLock<(Timestamp, Timestamp, Consistency)>,
    interest: Interest,
    /// For reading single rows.
    rows: Semaphore,
}

impl Inspector {
    pub fn new(
        caches: Caches,
        database: Arc<dyn Database>,
        modes: Arc<Modes>,
        pipeline: Pipeline,
        clock: Arc<dyn Clock>,
        events: &EventHub,
    ) -> Arc<Self> {
        metrics::describe();
        let first = Consistency::unknown(rfc3339(clock.now()), modes.current().mode, "no pass has ended yet");
        let last = RwLock::new((Timestamp::UNKNOWN, Timestamp::UNKNOWN, first));
        Arc::new(Self {
            caches,
            database,
            modes,
            pipeline,
            clock,
            memory: Mutex::new(Memory::new(events.subscribe())),
            last,
            interest: Interest::default(),
            rows: Semaphore::new(ROWS_AT_ONCE),
        })
    }

    /// Who asks here is somebody who looks: passes are made while anybody does.
    pub fn interest(&self) -> &Interest {
        &self.interest
    }

    /// What the last pass said, if it ended a moment ago; else nothing is known, until the next one ends.
    pub fn last(&self) -> Consistency {
        self.interest.show();
        // A poisoned lock holds an outcome that was written whole.
        let (_, at, last) = self.last.read().unwrap_or_else(PoisonError::into_inner).clone();
        match self.clock.now().since(at) <= CURRENT_FOR {
            true => last,
            false => Consistency::unknown(last.as_of, self.modes.current().mode, "the first pass has not ended yet"),
        }
    }

    /// Makes the gauges say that nothing is known, if the last pass ended too long ago to say anything: to be called
    /// before they are read, since no pass is made while nobody looks.
    pub fn forget_what_is_outdated(&self) {
        let at = self.last.read().unwrap_or_else(PoisonError::into_inner).0;
        // Where no pass was ever made, as in a consumer, there is nothing to take back.
        if at != Timestamp::UNKNOWN && self.clock.now().since(at) > CURRENT_FOR {
            metrics::publish(&self.last());
        }
    }

    /// A pass now; its outcome is the last one from then on.
    pub async fn pass(&self) -> Consistency {
        let mut memory = self.memory.lock().await;
        self.pass_with(&mut memory).await
    }

    /// The last pass if it began at `since` or later, else one that is made now.
    pub async fn pass_since(&self, since: Timestamp) -> Consistency {
        let mut memory = self.memory.lock().await;
        let (began, _, last) = self.last.read().unwrap_or_else(PoisonError::into_inner).clone();
        if began.is_known() && began >= since {
            return last;
        }
        self.pass_with(&mut memory).await
    }

    async fn pass_with(&self, memory: &mut Memory) -> Consistency {
        let began = self.clock.now();
        let mode = self.modes.current().mode;
        let outcome = tokio::time::timeout(PASS_MAX, self.compare_all(memory, mode)).await;
        let as_of = rfc3339(self.clock.now());
        let consistency = match outcome {
            Ok(Ok(found)) => Consistency::of(as_of, mode, found.users, found.complete, found.compared, found.stale),
            Ok(Err(cause)) => Consistency::unknown(as_of, mode, cause),
            Err(_) => Consistency::unknown(as_of, mode, format!("a pass took longer than {PASS_MAX:?}")),
        };
        // In this order: who finds the outcome before outdated must not replace the gauges of this one.
        if let Ok(mut last) = self.last.write() {
            *last = (began, self.clock.now(), consistency.clone());
        }
        metrics::publish(&consistency);
        consistency
    }

    /// A pass every second while somebody looks, until `stop`; none beside those that somebody else has made meanwhile.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = async {
                    self.interest.wait().await;
                    let now = self.clock.now().as_micros();
                    self.pass_since(Timestamp::from_micros(now.saturating_sub(EVERY.as_micros() as u64))).await;
                } => {}
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(EVERY) => {}
            }
        }
    }

    /// One user's entry beside its row. What changed while the database was read is compared again.
    ///
    /// # Errors
    /// The database's.
    pub async fn compare(&self, id: u64) -> Result<CacheView, DbError> {
        let mut before = self.caches.peek(id).await;
        let mut row = self.read(id).await?;
        for _ in 0..LOOKS_MAX {
            match before {
                None => return Ok(CacheView::absent(row)),
                Some(hit) if hit.value == row => return Ok(CacheView::of(hit, row)),
                Some(hit) => {
                    let after = self.caches.peek(id).await;
                    if after.as_ref().is_some_and(|after| after.value == hit.value) {
                        return Ok(CacheView::of(hit, row));
                    }
                    before = after;
                    row = self.read(id).await?;
                }
            }
        }
        // It was replaced at every look: there is no entry that could be called stale.
        Ok(CacheView::absent(row))
    }

    /// The same, whatever the database says: while it is away the state is `unknown`.
    pub async fn look(&self, id: u64) -> CacheView {
        match self.compare(id).await {
            Ok(view) => view,
            Err(error) => CacheView::unknown(self.cached(id).await, &error),
        }
    }

    /// Removes a user's entries, by id and by every address that is known, from all tiers of all processes.
    ///
    /// # Errors
    /// If the store or its bus cannot be reached.
    pub async fn remove(&self, id: u64) -> cachefront::Result<()> {
        let cached = self.caches.peek(id).await.and_then(|hit| hit.value).map(|user| user.email);
        let row = self.database.get(id).await.ok().and_then(|seen| seen.value).map(|user| user.email);
        self.caches.users.invalidate(&id).await?;
        for email in cached.into_iter().chain(row) {
            self.caches.by_email.invalidate(&EmailKey::new(email)).await?;
        }
        Ok(())
    }

    async fn read(&self, id: u64) -> Result<Option<User>, DbError> {
        let _turn = self.turn().await;
        Ok(self.database.get(id).await?.value)
    }

    /// Waits until a row may be read. The semaphore is never closed.
    async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        self.rows.acquire().await.ok()
    }

    async fn cached(&self, id: u64) -> Option<Hit<User>> {
        self.caches.peek(id).await
    }
}

impl fmt::Debug for Inspector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inspector").field("last", &self.last()).finish_non_exhaustive()
    }
}
