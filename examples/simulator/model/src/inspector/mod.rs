//! The library's inspector over the simulator's two caches, and its findings as the API reports them.
//!
//! A pass checks the first 500 users, a moving sample of the others, and users that were cached before and are gone,
//! each with both of its entries. Passes run, and the log is followed, only while there are viewers.

mod changes;
mod consistency;
mod rows;
#[cfg(test)]
mod tests;
mod view;

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use cachefront::inspect::{Finding, Pass, Watch};
use cachefront::source::ChangeSource;
use cachefront::store::Store;
use cachefront::{BoxError, Clock, Error, ErrorKind, InspectSettings, StoreKey, Timestamp};
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use self::changes::Changes;
pub use self::consistency::{Consistency, StaleEntry, StaleKind, Verdict};
use self::rows::{ByEmail, ById, LISTED_MAX, ROWS_AT_ONCE, Rows};
pub use self::view::{CacheView, EntryState};
use crate::caches::{Caches, EmailKey};
use crate::domain::{Database, DbError, Mode, User, rfc3339};
use crate::events::EventHub;
use crate::mode::Modes;
use crate::viewers::Viewers;

/// The pause between two passes.
const EVERY: Duration = Duration::from_secs(1);

/// An outcome older than this says nothing about the present.
const CURRENT_FOR: Duration = Duration::from_secs(10);

/// A pass that takes longer has failed.
const PASS_MAX: Duration = Duration::from_secs(5);

/// Maximum number of concurrent peeks, so that a slow store does not make a pass take the sum of its round trips.
const PEEKS_AT_ONCE: usize = 256;

/// Compares entries with their rows and keeps the outcome of the last pass.
pub struct Inspector {
    inner: cachefront::Inspector,
    users: Watch<u64, User>,
    caches: Caches,
    store: Arc<dyn Store>,
    rows: Arc<Rows>,
    modes: Arc<Modes>,
    clock: Arc<dyn Clock>,
    /// Locked while a pass runs.
    changes: Mutex<Changes>,
    /// When the last pass began and ended, and its outcome.
    last: RwLock<(Timestamp, Timestamp, Consistency)>,
    interest: Viewers,
}

impl Inspector {
    /// Starts an inspector that is paused until there are viewers. `source` is a log of its own to follow, if there is one.
    ///
    /// # Errors
    /// Those of the library's inspector, without a tokio runtime for example.
    pub fn new(
        caches: Caches,
        database: Arc<dyn Database>,
        store: Arc<dyn Store>,
        modes: Arc<Modes>,
        source: Option<Box<dyn ChangeSource>>,
        clock: Arc<dyn Clock>,
        events: &EventHub,
    ) -> cachefront::Result<Arc<Self>> {
        let rows = Arc::new(Rows::new(database));
        let listing = Arc::clone(&rows);
        let users = Watch::new(&caches.users).loader(ById(Arc::clone(&rows))).sample(move |_| {
            let rows = Arc::clone(&listing);
            async move { rows.sample().await.map_err(load_failed) }
        });
        // The library samples one cache after the other, so these are the users that were just listed.
        let listed = Arc::clone(&rows);
        let by_email = Watch::new(&caches.by_email)
            .loader(ByEmail(Arc::clone(&rows)))
            .sample(move |_| std::future::ready(Ok(listed.emails())));
        let settings = InspectSettings::default()
            .with_pass_every(Duration::ZERO)
            .with_sample_max(LISTED_MAX)
            .with_peeks_max(PEEKS_AT_ONCE)
            .with_loads_max(ROWS_AT_ONCE)
            .with_pass_timeout(PASS_MAX);
        let mut builder = cachefront::Inspector::builder()
            .watch(users.clone())
            .watch(by_email)
            .settings(settings)
            .clock(Arc::clone(&clock));
        if let Some(source) = source {
            builder = builder.follow_boxed(source);
        }
        let inner = builder.spawn()?;
        inner.pause();
        let first = Consistency::unknown(rfc3339(clock.now()), modes.current().mode, "no pass has ended yet");
        let last = RwLock::new((Timestamp::UNKNOWN, Timestamp::UNKNOWN, first));
        let changes = Mutex::new(Changes::new(events.subscribe()));
        let interest = Viewers::default();
        Ok(Arc::new(Self { inner, users, caches, store, rows, modes, clock, changes, last, interest }))
    }

    /// Returns what the library's inspector found: how soon changes were consistent, and which were not.
    pub fn report(&self) -> cachefront::inspect::InspectReport {
        self.inner.report()
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
        self.inner.expire_gauges(CURRENT_FOR);
    }

    /// Returns the outcome of a pass that began after this call. Callers that wait at the same time share one, so any number of them
    /// causes one pass after another.
    pub async fn pass(&self) -> Consistency {
        self.pass_since(self.clock.now()).await
    }

    /// Returns the outcome of the last pass if it began at `since` or later, else runs one.
    pub async fn pass_since(&self, since: Timestamp) -> Consistency {
        let mut changes = self.changes.lock().await;
        let (began, _, last) = self.last.read().unwrap_or_else(PoisonError::into_inner).clone();
        if began.is_known() && began >= since {
            return last;
        }
        self.pass_with(&mut changes).await
    }

    async fn pass_with(&self, changes: &mut Changes) -> Consistency {
        let began = self.clock.now();
        let mode = self.modes.current().mode;
        changes.hear();
        let probe = StoreKey::from_text("inspector:probe").expect("a short key");
        let (passed, store) = tokio::join!(self.inner.pass(), self.store.get(&probe));
        let as_of = rfc3339(self.clock.now());
        let consistency = match (passed, store) {
            // A pass that peeks at nothing, or only at this process's tier, succeeds without the store, and does not show what
            // the store holds. Stale entries that it found are stale all the same.
            (Ok(pass), Err(error)) if pass.findings.is_empty() => {
                self.inner.expire_gauges(Duration::ZERO);
                Consistency::unknown(as_of, mode, unreadable(&error))
            }
            (Ok(pass), _) => self.consistency(&pass, changes, as_of, mode),
            (Err(failed), Err(error)) if failed.kind() != ErrorKind::Load => {
                Consistency::unknown(as_of, mode, unreadable(&error))
            }
            (Err(error), _) => Consistency::unknown(as_of, mode, cause(&error)),
        };
        if let Ok(mut last) = self.last.write() {
            *last = (began, self.clock.now(), consistency.clone());
        }
        consistency
    }

    fn consistency(&self, pass: &Pass, changes: &Changes, as_of: String, mode: Mode) -> Consistency {
        let listed = self.rows.listed();
        let mut stale: Vec<StaleEntry> = pass.findings.iter().filter_map(|finding| entry(finding, changes)).collect();
        stale.sort_by(|one, other| (one.id, &one.key).cmp(&(other.id, &other.key)));
        Consistency::of(as_of, mode, listed.users(), listed.complete, pass.compared, stale)
    }

    /// Runs a pass every second, and follows the log, while there are viewers, until `stop`. Skips a pass if another
    /// caller ran one within that second.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        loop {
            if !self.interest.is_present() {
                self.inner.pause();
            }
            tokio::select! {
                () = stop.cancelled() => break,
                () = self.interest.wait() => {}
            }
            self.inner.resume();
            let now = self.clock.now().as_micros();
            let since = Timestamp::from_micros(now.saturating_sub(EVERY.as_micros() as u64));
            tokio::select! {
                () = stop.cancelled() => break,
                () = async {
                    self.pass_since(since).await;
                    tokio::time::sleep(EVERY).await;
                } => {}
            }
        }
        self.inner.clone().shutdown().await;
    }

    /// Compares one user's entry with its row, again if the entry changed while the database was read. The state is `unknown`
    /// if the store cannot be read.
    ///
    /// # Errors
    /// `Load` if the database cannot be read.
    pub async fn compare(&self, id: u64) -> cachefront::Result<CacheView> {
        match self.users.compare(&id).await {
            Ok(compared) => Ok(match compared.cached {
                Some(hit) => CacheView::of(self.caches.with_lasting_ttl(id, hit).await, compared.loaded),
                None => CacheView::absent(compared.loaded),
            }),
            Err(error) if error.kind() == ErrorKind::Load => Err(error),
            Err(error) => {
                let row = self.rows.get(id).await.map_err(load_failed)?.value;
                Ok(CacheView { state: EntryState::Unknown, error: Some(cause(&error)), ..CacheView::absent(row) })
            }
        }
    }

    /// Like [`compare`](Self::compare), but reports the state `unknown` if the database cannot be read.
    pub async fn look(&self, id: u64) -> CacheView {
        match self.compare(id).await {
            Ok(view) => view,
            Err(error) => CacheView::unknown(self.caches.peek(id).await, cause(&error)),
        }
    }

    /// Removes a user's entries, by id and by every known address, from all tiers of all processes.
    ///
    /// # Errors
    /// If the store or its bus cannot be reached.
    pub async fn remove(&self, id: u64) -> cachefront::Result<()> {
        let cached = self.caches.peek(id).await.and_then(|hit| hit.value).map(|user| user.email);
        let row = self.rows.get(id).await.ok().and_then(|seen| seen.value).map(|user| user.email);
        self.caches.users.invalidate(&id).await?;
        self.caches.revalidating.invalidate(&id).await?;
        let addresses = cached.into_iter().chain(row).map(EmailKey::new);
        self.caches.by_email.invalidate_many(addresses).await?;
        self.caches.aged.invalidate(id).await
    }
}

fn load_failed(error: DbError) -> Error {
    Error::with_source(ErrorKind::Load, "the inspector cannot read the users", BoxError::from(error))
}

/// Says why the store cannot be read.
fn unreadable(error: &Error) -> String {
    format!("The store cannot be read: {}.", error.chain())
}

/// The reason as the API reports it: the database's own words if it failed.
fn cause(error: &Error) -> String {
    match error.load_error::<DbError>() {
        Some(error) => error.to_string(),
        None => error.chain(),
    }
}

/// Returns a finding as the API reports it. `None` for one without values, which cannot be.
fn entry(finding: &Finding, changes: &Changes) -> Option<StaleEntry> {
    let (cached, database) = finding.values::<User>()?;
    let id = cached.as_ref().or(database.as_ref())?.id;
    let mut kind = StaleKind::of(finding.kind);
    if kind == StaleKind::Lost && finding.cause.is_none() && changes.misnamed(finding.key.as_str(), database.as_ref()) {
        kind = StaleKind::Mapping;
    }
    Some(StaleEntry {
        id,
        key: finding.key.as_str().to_owned(),
        kind,
        cached: cached.clone(),
        database: database.clone(),
        ttl_ms: finding.ttl.map(|ttl| u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX)),
    })
}

impl fmt::Debug for Inspector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inspector").field("last", &self.last()).finish_non_exhaustive()
    }
}
