//! A flight from begin to end: lease, load, fill.

use std::future::Future;
use std::hash::Hash;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::SemaphorePermit;

use crate::cache::Inner;
use crate::cache::epochs::Ticket;
use crate::cache::flight::{Outcome, Pilot};
use crate::cache::found::{Hit, Loaded, Tier, age};
use crate::cache::level::Level;
use crate::cache::read::Look;
use crate::clock::Timestamp;
use crate::error::{BoxError, Error, ErrorKind, Result};
use crate::key::{CacheKey, StoreKey};
use crate::loader::{LoadCx, LoadNotes};
use crate::store::{Generation, InvalidationMode, LeaseReply, LeaseRequest, MappingId, Meta, Reading, ServerId, Token};

type LoadFuture<V> = Pin<Box<dyn Future<Output = Result<Option<V>, BoxError>> + Send>>;

/// Where a value comes from.
pub(super) enum Work<V> {
    /// The cache's own loader.
    Registered,
    /// A loader for one call.
    Once(Box<dyn FnOnce(Arc<LoadCx>) -> LoadFuture<V> + Send>),
}

impl<V> Work<V> {
    pub(super) fn once<F, Fut, E>(load: F) -> Self
    where
        F: FnOnce(Arc<LoadCx>) -> Fut + Send + 'static,
        Fut: Future<Output = Result<Option<V>, E>> + Send + 'static,
        E: Into<BoxError>,
    {
        Self::Once(Box::new(|cx| {
            let load = load(cx);
            Box::pin(async move { load.await.map_err(Into::into) })
        }))
    }

    /// The work, leaving the registered loader for a second try.
    pub(super) fn take(&mut self) -> Self {
        std::mem::replace(self, Self::Registered)
    }
}

/// What a flight is to do.
pub(super) struct Order {
    pub(super) store_key: StoreKey,
    /// Given if the value may go into this process's own tier.
    pub(super) ticket: Option<Ticket>,
    /// Load even though the store has a good value.
    pub(super) reload: bool,
}

/// The right to fill, as it was granted.
pub(super) struct Lease {
    pub(super) token: Token,
    pub(super) mode: InvalidationMode,
    /// Granted by the server that the bus is read from: what is loaded under it may be put away in this process too.
    pub(super) followed: bool,
    pub(super) meta: Option<Arc<Meta>>,
}

/// A place among the loads that run, and the time that the load may take.
pub(super) struct Turn<'a> {
    _permit: SemaphorePermit<'a>,
    pub(super) remaining: Duration,
}

/// What a flight does next.
enum Ready<'a, V> {
    /// Load, and fill if there is a lease.
    Load(Turn<'a>, Option<Lease>),
    /// Another process filled.
    Present(Loaded<V>),
}

/// How long a read may go on loading from a database that lags.
pub(super) struct Patience {
    deadline: Timestamp,
    pause: Duration,
}

/// What asking for a lease came to.
pub(super) enum Leased<V> {
    /// Load, then fill.
    Granted(Lease),
    /// Load, store nothing.
    Without,
    /// Somebody else filled.
    Present(Loaded<V>),
    /// Another attempt holds it, for this time at most.
    Held(Duration),
}

/// A value fresh from the database.
pub(super) struct Fresh<V> {
    pub(super) value: Option<V>,
    pub(super) notes: LoadNotes,
    pub(super) started_at: Timestamp,
    pub(super) took: Duration,
}

impl<K, V> Inner<K, V>
where
    K: CacheKey + Clone + Eq + Hash + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// Flies: the task of a pilot.
    pub(super) async fn fly(self: Arc<Self>, pilot: Pilot<K, V>, order: Order, work: Work<V>) {
        let outcome = self.run(&pilot, &order, work).await;
        pilot.land(outcome);
    }

    async fn run(&self, pilot: &Pilot<K, V>, order: &Order, work: Work<V>) -> Outcome<V> {
        let (turn, lease) = match self.turn_and_lease(&order.store_key, order.reload).await? {
            Ready::Present(loaded) => return Ok(Arc::new(loaded)),
            Ready::Load(turn, lease) => (turn, lease),
        };
        let fresh = match self.load(turn, pilot.key(), work).await {
            Ok(fresh) => fresh,
            Err(error) => {
                self.give_back(&order.store_key, lease.as_ref()).await;
                return Err(error);
            }
        };
        pilot.close_doors();
        self.settle(pilot.key(), order, lease, fresh).await.map(Arc::new)
    }

    /// A turn among the loads, then the right to fill: a lease begins when its load can begin, so that it does not run
    /// out in a queue ("Turn before lease"). Waits a bounded time for another process that holds the lease, without a turn.
    async fn turn_and_lease(&self, key: &StoreKey, reload: bool) -> Result<Ready<'_, V>> {
        let deadline = self.clock.now().after(self.settings.lease_wait);
        let mut pause = self.settings.lease_poll_min;
        loop {
            let turn = self.turn().await?;
            match self.lease(key, reload).await {
                Leased::Present(loaded) => return Ok(Ready::Present(loaded)),
                Leased::Granted(lease) => return Ok(Ready::Load(turn, Some(lease))),
                Leased::Without => return Ok(Ready::Load(turn, None)),
                // A reader that needs more than what others fill does not wait for them.
                Leased::Held(_) if reload || self.clock.now() >= deadline => return Ok(Ready::Load(turn, None)),
                Leased::Held(remaining) => {
                    drop(turn);
                    self.clock.sleep(pause.min(remaining.max(self.settings.lease_poll_min))).await;
                    pause = (pause * 2).min(self.settings.lease_poll_max);
                }
            }
        }
    }

    /// Asks once for the right to fill.
    pub(super) async fn lease(&self, key: &StoreKey, reload: bool) -> Leased<V> {
        let mode = self.mode();
        let Some(token) = Token::from_u128(self.entropy.random_u128()) else {
            return Leased::Held(Duration::ZERO);
        };
        let request = LeaseRequest {
            key,
            token,
            duration: self.settings.lease,
            mode,
            mapping: self.mapping,
            schema_version: self.schema_version,
            reload,
        };
        match self.store.lease(&request).await {
            Ok(LeaseReply::Granted { server, meta }) => {
                self.note_covered(true);
                self.note_origin(meta.as_deref());
                let followed = self.is_followed(server, meta.as_deref());
                Leased::Granted(Lease { token, mode, followed, meta })
            }
            Ok(LeaseReply::NoMeta) => Leased::Without,
            Ok(LeaseReply::NotCovered) => {
                self.note_covered(false);
                Leased::Without
            }
            Ok(LeaseReply::Present { meta, entry }) => {
                // What the store takes for good and this process cannot read must be loaded over.
                let reading = Reading { server: ServerId::UNKNOWN, meta, entry: Some(entry) };
                match self.judge(reading, &Level::default()) {
                    Look::Hit(stored) => Leased::Present(Loaded {
                        position: stored.loaded(),
                        value: stored.value,
                        tier: Tier::Shared,
                        filled_at: stored.filled_at,
                        primary: true,
                        known_primary: false,
                        expires_at: stored.expires_at,
                        accepted: true,
                    }),
                    Look::Miss | Look::Unproven => Leased::Without,
                }
            }
            Ok(LeaseReply::Held { remaining }) => Leased::Held(remaining),
            Err(error) => {
                self.store_failed("lease", &error);
                Leased::Without
            }
        }
    }

    /// Says it once when the cache is not covered, and once when it is again.
    fn note_covered(&self, covered: bool) {
        if self.uncovered.load(Ordering::Relaxed) != covered
            || self.uncovered.swap(!covered, Ordering::SeqCst) != covered
        {
            return;
        }
        if covered {
            tracing::info!(cache = %self.name, "an invalidator covers this cache: values are cached again");
        } else {
            tracing::warn!(
                cache = %self.name,
                namespace = %self.store.namespace(),
                "no invalidator of the namespace covers this cache under this mapping: nothing is cached; bind the cache \
                 to the invalidator, run one release only, or give the service a namespace of its own"
            );
        }
    }

    /// Loads from the database in its turn.
    pub(super) async fn load(&self, turn: Turn<'_>, key: &K, work: Work<V>) -> Result<Fresh<V>> {
        let started_at = self.clock.now();
        let cx = Arc::new(LoadCx::new(started_at));
        let load = async {
            match work {
                Work::Once(load) => load(Arc::clone(&cx)).await,
                Work::Registered => match &self.loader {
                    Some(loader) => loader.load(key, &cx).await,
                    None => Err(self.no_loader().into()),
                },
            }
        };
        // A panic is caught here and not by the task alone, so that the lease can be given back.
        let loaded = tokio::select! {
            biased;
            loaded = AssertUnwindSafe(load).catch_unwind() => loaded.unwrap_or_else(|_| Err("the loader panicked".into())),
            () = self.clock.sleep(turn.remaining) => return Err(self.load_timed_out()),
        };
        let took = self.clock.now().since(started_at);
        self.metrics.load_seconds.record(took.as_secs_f64());
        match loaded {
            Ok(value) => {
                if value.is_some() { &self.metrics.load_ok } else { &self.metrics.load_absent }.increment(1);
                Ok(Fresh { value, notes: cx.notes(), started_at, took })
            }
            Err(error) => Err(self.load_failed(error)),
        }
    }

    /// A place among the loads that run. The wait for it counts towards the load's timeout.
    ///
    /// # Errors
    /// `Overloaded` if too many wait, `Timeout` if the place does not come in time.
    pub(super) async fn turn(&self) -> Result<Turn<'_>> {
        let timeout = self.settings.load_timeout;
        if let Ok(permit) = self.loads.try_acquire() {
            return Ok(Turn { _permit: permit, remaining: timeout });
        }
        let waiting = Waiting(&self.loads_waiting);
        if waiting.0.fetch_add(1, Ordering::SeqCst) >= self.settings.loads_waiting_max {
            return Err(Error::new(
                ErrorKind::Overloaded,
                format!(
                    "{} loads of cache `{}` wait for the database already",
                    self.settings.loads_waiting_max, self.name
                ),
            ));
        }
        let began = self.clock.now();
        let permit = tokio::select! {
            biased;
            permit = self.loads.acquire() => permit,
            () = self.clock.sleep(timeout) => return Err(self.load_timed_out()),
        };
        let closed = |error| Error::with_source(ErrorKind::Closed, "the cache is closed", error);
        let waited = self.clock.now().since(began);
        Ok(Turn { _permit: permit.map_err(closed)?, remaining: timeout.saturating_sub(waited) })
    }

    pub(super) fn load_failed(&self, error: BoxError) -> Error {
        self.metrics.load_failed.increment(1);
        match error.downcast::<Error>() {
            Ok(own) => *own,
            Err(error) => {
                Error::with_source(ErrorKind::Load, format!("the loader of cache `{}` failed", self.name), error)
            }
        }
    }

    pub(super) fn load_timed_out(&self) -> Error {
        self.metrics.load_failed.increment(1);
        Error::new(
            ErrorKind::Timeout,
            format!("a load of cache `{}` took longer than {:?}", self.name, self.settings.load_timeout),
        )
    }

    pub(super) fn no_loader(&self) -> Error {
        Error::new(
            ErrorKind::Config,
            format!("cache `{}` has no loader: give one with `loader`, or use `get_or_load`", self.name),
        )
    }

    /// Straight to the database; nothing is stored. A value that is known not to be what the level demands is loaded
    /// again for a while.
    pub(super) async fn bypass(
        &self,
        key: &K,
        level: &Level,
        mut work: Work<V>,
        mut patience: Patience,
    ) -> Result<Hit<V>> {
        loop {
            let fresh = self.load(self.turn().await?, key, work.take()).await?;
            let primary = self.is_primary(&fresh.notes);
            if level.takes_loaded(fresh.notes.position.as_ref(), primary) {
                let now = self.clock.now();
                return Ok(Hit {
                    value: fresh.value,
                    tier: Tier::Database,
                    position: fresh.notes.position,
                    staleness_bound: primary.then(|| now.since(fresh.started_at) + self.settings.clock_skew),
                    ttl: None,
                    age: age(fresh.started_at, now),
                });
            }
            self.wait_for_proof(&mut patience, false).await?;
        }
    }

    pub(super) fn patience(&self) -> Patience {
        Patience { deadline: self.clock.now().after(self.settings.proof_wait), pause: self.settings.lease_poll_min }
    }

    /// Pauses before the database is asked again.
    ///
    /// # Errors
    /// `Unproven` if it has lagged for long enough, or lacks the token for good.
    pub(super) async fn wait_for_proof(&self, patience: &mut Patience, for_good: bool) -> Result<()> {
        if for_good || self.clock.now() >= patience.deadline {
            return Err(Error::new(
                ErrorKind::Unproven,
                format!(
                    "the database that cache `{}` loads from does not contain the token, or cannot prove the bound: load from \
                     the server that commits, raise `proof_wait` above the replica's lag, or ask for less",
                    self.name
                ),
            ));
        }
        self.clock.sleep(patience.pause).await;
        patience.pause = (patience.pause * 2).min(self.settings.lease_poll_max);
        Ok(())
    }

    /// True if the loader read the server whose log is followed, as far as it says. Where no log is followed, no other
    /// server is known.
    pub(super) fn is_primary(&self, notes: &LoadNotes) -> bool {
        !notes.replica && !notes.is_elsewhere(&self.log_origin.load())
    }

    /// Remembers which server's log is followed.
    pub(super) fn note_origin(&self, meta: Option<&Meta>) {
        if let Some(meta) = meta.filter(|meta| meta.origin != **self.log_origin.load()) {
            self.log_origin.store(Arc::new(meta.origin.clone()));
        }
    }

    pub(super) async fn give_back(&self, key: &StoreKey, lease: Option<&Lease>) {
        let Some(lease) = lease else { return };
        if let Err(error) = self.store.release(key, lease.token).await {
            self.store_failed("release", &error);
        }
    }
}

impl Lease {
    /// The cache's generation when the lease was granted.
    pub(super) fn generation(&self, mapping: MappingId) -> Generation {
        let meta = self.meta.as_ref().filter(|_| self.mode == InvalidationMode::Cdc);
        meta.and_then(|meta| meta.coverage.generation(mapping)).unwrap_or_default()
    }
}

/// Counts a load that waits, for as long as it waits.
struct Waiting<'a>(&'a std::sync::atomic::AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}
