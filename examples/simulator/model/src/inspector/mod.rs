//! The inspector: continuously compares cached entries with the database, without false alarms.
//!
//! A pass checks the first 500 users, a moving sample of the others, and users that were cached before and are gone,
//! each with both of its entries. It only peeks: it fills nothing, takes no lease, and does not count as a use of the
//! entry. An entry counts as stale if it was the same before and after its row was read and differs from that row; in
//! CDC mode it gets a short grace period, because an invalidation may be in progress.

mod consistency;
pub mod metrics;
mod pass;
#[cfg(test)]
mod tests;
mod view;

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use cachefront::{Clock, Timestamp};
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

pub use self::consistency::{Consistency, StaleEntry, StaleKind, Verdict};
use self::pass::{Comparer, Memory};
pub use self::view::{CacheView, EntryState};
use crate::caches::{Caches, EmailKey};
use crate::domain::{Database, DbError, rfc3339};
use crate::events::EventHub;
use crate::mode::Modes;
use crate::pipeline::Pipeline;
use crate::viewers::Viewers;

/// The pause between two passes.
const EVERY: Duration = Duration::from_secs(1);

/// An outcome older than this says nothing about the present.
const CURRENT_FOR: Duration = Duration::from_secs(10);

/// A pass that takes longer has failed.
const PASS_MAX: Duration = Duration::from_secs(5);

/// Compares entries with their rows and keeps the outcome of the last pass.
pub struct Inspector {
    comparer: Comparer,
    modes: Arc<Modes>,
    clock: Arc<dyn Clock>,
    /// What one pass remembers for the next; locked while a pass runs.
    memory: Mutex<Memory>,
    /// When the last pass began and ended, and its outcome.
    last: RwLock<(Timestamp, Timestamp, Consistency)>,
    interest: Viewers,
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
            comparer: Comparer::new(caches, database, pipeline),
            modes,
            clock,
            memory: Mutex::new(Memory::new(events.subscribe())),
            last,
            interest: Viewers::default(),
        })
    }

    /// Who is watching: passes run only while a client asks for their outcome.
    pub fn interest(&self) -> &Viewers {
        &self.interest
    }

    /// Returns the outcome of the last pass if it ended within `CURRENT_FOR`, else an unknown one until the next pass
    /// ends.
    pub fn last(&self) -> Consistency {
        self.interest.show();
        // A poisoned lock holds an outcome that was written whole.
        let (_, at, last) = self.last.read().unwrap_or_else(PoisonError::into_inner).clone();
        match self.clock.now().since(at) <= CURRENT_FOR {
            true => last,
            false => Consistency::unknown(last.as_of, self.modes.current().mode, "the first pass has not ended yet"),
        }
    }

    /// Sets the gauges to "unknown" if the last pass ended longer than `CURRENT_FOR` ago. Call it before the gauges
    /// are read: no pass runs while there are no viewers.
    pub fn forget_what_is_outdated(&self) {
        let at = self.last.read().unwrap_or_else(PoisonError::into_inner).0;
        // Without any pass, as in a consumer, there is nothing to take back.
        if at != Timestamp::UNKNOWN && self.clock.now().since(at) > CURRENT_FOR {
            metrics::publish(&self.last());
        }
    }

    /// Runs a pass; its outcome becomes the last one.
    pub async fn pass(&self) -> Consistency {
        let mut memory = self.memory.lock().await;
        self.pass_with(&mut memory).await
    }

    /// Returns the outcome of the last pass if it began at `since` or later, else runs one.
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
        let outcome = tokio::time::timeout(PASS_MAX, self.comparer.compare_all(memory, mode)).await;
        let as_of = rfc3339(self.clock.now());
        let consistency = match outcome {
            Ok(Ok(found)) => Consistency::of(as_of, mode, found.users, found.complete, found.compared, found.stale),
            Ok(Err(cause)) => Consistency::unknown(as_of, mode, cause),
            Err(_) => Consistency::unknown(as_of, mode, format!("a pass took longer than {PASS_MAX:?}")),
        };
        // The outcome is stored before the gauges are set: a concurrent caller that finds the old one outdated would
        // otherwise overwrite them.
        if let Ok(mut last) = self.last.write() {
            *last = (began, self.clock.now(), consistency.clone());
        }
        metrics::publish(&consistency);
        consistency
    }

    /// Runs a pass every second while there are viewers, until `stop`. Skips one if another caller ran a pass within
    /// that second.
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

    /// Compares one user's entry with its row, again if the entry changed while the database was read.
    ///
    /// # Errors
    /// The database's.
    pub async fn compare(&self, id: u64) -> Result<CacheView, DbError> {
        self.comparer.compare(id).await
    }

    /// Like [`compare`](Self::compare), but reports the state `unknown` if the database cannot be read.
    pub async fn look(&self, id: u64) -> CacheView {
        match self.compare(id).await {
            Ok(view) => view,
            Err(error) => CacheView::unknown(self.comparer.cached(id).await, &error),
        }
    }

    /// Removes a user's entries, by id and by every known address, from all tiers of all processes.
    ///
    /// # Errors
    /// If the store or its bus cannot be reached.
    pub async fn remove(&self, id: u64) -> cachefront::Result<()> {
        let cached = self.comparer.caches.peek(id).await.and_then(|hit| hit.value).map(|user| user.email);
        let row = self.comparer.database.get(id).await.ok().and_then(|seen| seen.value).map(|user| user.email);
        self.comparer.caches.users.invalidate(&id).await?;
        for email in cached.into_iter().chain(row) {
            self.comparer.caches.by_email.invalidate(&EmailKey::new(email)).await?;
        }
        Ok(())
    }
}

impl fmt::Debug for Inspector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inspector").field("last", &self.last()).finish_non_exhaustive()
    }
}
