//! The invalidator: applies a source's changes to a store, in the one order that cannot leave anything stale.

mod batch;
mod begin;
mod mapped;
mod pump;
mod retry;
mod standby;
mod status;
#[cfg(test)]
mod tests;
mod turn;
mod watermark;
mod way;
mod worker;

use std::fmt;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinHandle;

pub use batch::AppliedChange;
pub use status::{CdcState, CdcStatus};

use crate::cache::Cache;
use crate::clock::{Clock, Entropy, SystemClock, SystemEntropy, Timestamp};
use crate::error::{Error, ErrorKind, Result};
use crate::gate::VisibilityGate;
use crate::invalidator::mapped::Caches;
use crate::invalidator::pump::Pump;
use crate::invalidator::worker::Worker;
use crate::keymap::KeyMap;
use crate::metrics::CdcMetrics;
use crate::position::Position;
use crate::settings::CdcSettings;
use crate::source::ChangeSource;
use crate::store::{InvalidationMode, Store, is_same_store};

/// Told of every batch after its effects are complete. Must return quickly: the next batch waits for it.
pub trait CdcObserver: fmt::Debug + Send + Sync + 'static {
    /// A batch was applied (or, in TTL mode, only read).
    fn applied(&self, batch: &AppliedBatch);
}

/// What an observer is told.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct AppliedBatch {
    /// The row changes, in order.
    pub changes: Vec<AppliedChange>,
    /// The mode it was handled in; in TTL mode nothing was invalidated.
    pub mode: InvalidationMode,
    /// Everything up to here is done.
    pub applied: Position,
    /// The clock when the source had delivered it.
    pub received_at: Timestamp,
    /// The clock when all of it could be read where loaders read; unknown in TTL mode, which does not wait.
    pub visible_at: Timestamp,
    /// The clock when it was done.
    pub applied_at: Timestamp,
}

/// Builds an invalidator: one source, one store, and the caches on it.
///
/// ```no_run
/// # use cachefront::{Cache, Cdc, source::ChangeSource};
/// # async fn example(source: impl ChangeSource, users: Cache<u64, String>) -> cachefront::Result<()> {
/// let cdc = Cdc::new(source).bind(&users).spawn()?;
/// cdc.ready().await?;
/// // … until the service ends:
/// cdc.shutdown().await;
/// # Ok(())
/// # }
/// ```
#[must_use = "an invalidator does nothing until it is spawned"]
pub struct Cdc {
    source: Box<dyn ChangeSource>,
    gate: Option<Arc<dyn VisibilityGate>>,
    /// The gate is the user's, and not the source's own.
    own_gate: bool,
    store: Option<Arc<dyn Store>>,
    /// A cache was bound whose store is another one.
    foreign: Option<String>,
    maps: Vec<Arc<dyn KeyMap>>,
    observer: Option<Arc<dyn CdcObserver>>,
    mode: InvalidationMode,
    settings: CdcSettings,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

impl Cdc {
    /// An invalidator that reads `source`.
    pub fn new(source: impl ChangeSource) -> Self {
        let gate = source.gate();
        Self {
            source: Box::new(source),
            gate,
            own_gate: false,
            store: None,
            foreign: None,
            maps: Vec::new(),
            observer: None,
            mode: InvalidationMode::Cdc,
            settings: CdcSettings::default(),
            clock: Arc::new(SystemClock::new()),
            entropy: Arc::new(SystemEntropy),
        }
    }

    /// Keeps `cache` correct. All caches of an invalidator share one store. Every invalidator of a namespace is to bind
    /// all of the namespace's caches: of several, one works, and a cache that it does not know is not cached.
    pub fn bind<K, V>(self, cache: &Cache<K, V>) -> Self {
        self.bind_map(cache.store(), cache.key_map())
    }

    /// Keeps the keys of `map` correct in `store`, for a process that holds no cache itself. The map's name, tables,
    /// columns and version must be those of the caches that read.
    pub fn bind_map(mut self, store: Arc<dyn Store>, map: Arc<dyn KeyMap>) -> Self {
        match &self.store {
            Some(bound) if !is_same_store(bound, &store) => self.foreign = Some(map.cache().to_owned()),
            Some(_) => {}
            None => self.store = Some(store),
        }
        self.maps.push(map);
        self
    }

    /// Waits at `gate` before anything is applied. It must wait on every server that loaders read.
    ///
    /// Default: the source's own gate, which waits on the server that the log comes from.
    pub fn gate(mut self, gate: Arc<dyn VisibilityGate>) -> Self {
        self.gate = Some(gate);
        self.own_gate = true;
        self
    }

    /// Tells `observer` of every batch. Default: nobody.
    pub fn observer(mut self, observer: Arc<dyn CdcObserver>) -> Self {
        self.observer = Some(observer);
        self
    }

    /// The mode to start in. Default: [`InvalidationMode::Cdc`].
    pub fn mode(mut self, mode: InvalidationMode) -> Self {
        self.mode = mode;
        self
    }

    /// Every tunable number. Default: [`CdcSettings::default`].
    pub fn settings(mut self, settings: CdcSettings) -> Self {
        self.settings = settings;
        self
    }

    /// The clock. Default: the system's.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// The randomness. Default: the operating system's.
    pub fn entropy(mut self, entropy: Arc<dyn Entropy>) -> Self {
        self.entropy = entropy;
        self
    }

    /// Starts the invalidator in a task of the current tokio runtime. It tries for ever, with pauses, unless its very
    /// first try finds a mistake in the set-up; [`CdcHandle::ready`] tells.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] if nothing is bound, caches do not share one store, two caches of one name have different
    /// mappings, there is no gate, or none that was given for a cache that loads from a replica, a setting is out of range, or no tokio runtime is running.
    pub fn spawn(self) -> Result<CdcHandle> {
        let config = |message: String| Error::new(ErrorKind::Config, message);
        self.settings.validate()?;
        if let Some(name) = self.foreign {
            return Err(config(format!(
                "cache `{name}` has another store than those bound before it: give all of them clones of one store"
            )));
        }
        let store = self.store.ok_or_else(|| config("no cache is bound: call `bind` before `spawn`".into()))?;
        let gate = self.gate.ok_or_else(|| {
            config(
                "the source has no visibility gate of its own: give one with `gate`, or a fresh value may be \
                    invalidated before it can be read"
                    .into(),
            )
        })?;
        let caches = Caches::new(self.maps, self.own_gate)?;
        let runtime = tokio::runtime::Handle::try_current().map_err(|error| {
            Error::with_source(ErrorKind::Config, "an invalidator is spawned outside a tokio runtime", error)
        })?;
        let (wish, wishes) = watch::channel(Wish { mode: self.mode, shutdown: false });
        let (status, statuses) = watch::channel(CdcStatus::starting(self.mode, self.source.describe()));
        let worker = Worker {
            probe: self.source.probe(),
            gate,
            store,
            caches,
            observer: self.observer,
            settings: self.settings,
            clock: Arc::clone(&self.clock),
            entropy: self.entropy,
            metrics: CdcMetrics::new(),
            wishes,
            status,
            term: 0,
            next_order: 0,
            checked: false,
        };
        let pump = Pump { source: self.source, worker };
        let drain_max = self.settings.drain_max;
        let task = runtime.spawn(pump.run());
        Ok(CdcHandle { wish, statuses, task: Some(task), clock: self.clock, drain_max })
    }
}

impl fmt::Debug for Cdc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cdc").field("source", &self.source).field("maps", &self.maps).finish_non_exhaustive()
    }
}

/// What the owner of an invalidator wants of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wish {
    pub(crate) mode: InvalidationMode,
    pub(crate) shutdown: bool,
}

/// Owns a running invalidator, which stops when its handle is dropped: keep it for as long as the service runs, and call
/// [`shutdown`](CdcHandle::shutdown) at its end. Dropped, it ends in the background after the batch in hand, and says so
/// as an error in the log.
#[must_use = "the invalidator stops when its handle is dropped: keep it until the service ends"]
pub struct CdcHandle {
    wish: watch::Sender<Wish>,
    statuses: watch::Receiver<CdcStatus>,
    task: Option<JoinHandle<()>>,
    clock: Arc<dyn Clock>,
    drain_max: std::time::Duration,
}

impl CdcHandle {
    /// How it is doing.
    pub fn status(&self) -> CdcStatus {
        self.statuses.borrow().clone()
    }

    /// Follows its status.
    pub fn watch(&self) -> watch::Receiver<CdcStatus> {
        self.statuses.clone()
    }

    /// Waits until it applies changes (or, in TTL mode, reads them), or stands by because another one does:
    /// [`CdcState::Running`] or [`CdcState::Standby`]. In both cases the service can start; what is not covered is not
    /// cached.
    ///
    /// # Errors
    /// What its very first try found wrong in the set-up, or that it was shut down.
    ///
    /// # Cancel safety
    /// Cancel safe: it only waits.
    pub async fn ready(&self) -> Result<CdcState> {
        let mut statuses = self.statuses.clone();
        let is_settled = |status: &CdcStatus| !matches!(status.state, CdcState::Starting | CdcState::Retrying);
        let settled = statuses
            .wait_for(is_settled)
            .await
            .map_err(|error| Error::with_source(ErrorKind::Closed, "the invalidator has ended", error))?;
        match (settled.state, &settled.last_error) {
            (state @ (CdcState::Running | CdcState::Standby), _) => Ok(state),
            (CdcState::Failed, Some(error)) => Err(error.clone()),
            _ => Err(Error::new(ErrorKind::Closed, "the invalidator was shut down")),
        }
    }

    /// The mode it works in from now on. [`InvalidationMode::Ttl`]: what the store promises is voided, then changes are
    /// only read. [`InvalidationMode::Cdc`]: a new generation begins, then changes are applied.
    pub fn set_mode(&self, mode: InvalidationMode) {
        self.wish.send_if_modified(|wish| std::mem::replace(&mut wish.mode, mode) != mode);
    }

    /// Stops after the batch in hand, or after [`CdcSettings::drain_max`], and leaves the term to another invalidator.
    ///
    /// # Cancel safety
    /// If the future is dropped, the invalidator ends in the background.
    pub async fn shutdown(mut self) {
        self.wish.send_modify(|wish| wish.shutdown = true);
        if let Some(mut task) = self.task.take() {
            tokio::select! {
                biased;
                _ = &mut task => {}
                () = self.clock.sleep(self.drain_max) => task.abort(),
            }
        }
    }
}

impl Drop for CdcHandle {
    fn drop(&mut self) {
        let Some(task) = self.task.take().filter(|task| !task.is_finished()) else { return };
        if !self.wish.borrow().shutdown {
            tracing::error!(
                "the handle of an invalidator was dropped: it stops, and unless another one takes over, nothing keeps its \
                 caches correct"
            );
        }
        self.wish.send_modify(|wish| wish.shutdown = true);
        let limit = self.clock.sleep(self.drain_max);
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                let mut task = task;
                tokio::select! {
                    biased;
                    _ = &mut task => {}
                    () = limit => task.abort(),
                }
            });
        }
    }
}

impl fmt::Debug for CdcHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CdcHandle").field("status", &*self.statuses.borrow()).finish_non_exhaustive()
    }
}
