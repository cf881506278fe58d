//! Builds an invalidator from a source, a store, and the caches on it.

use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::watch;

use crate::cache::Cache;
use crate::clock::{Clock, Entropy, SystemClock, SystemEntropy};
use crate::error::{Error, ErrorKind, Result};
use crate::gate::VisibilityGate;
use crate::invalidator::control::DesiredState;
use crate::invalidator::handle::{CdcHandle, Owner};
use crate::invalidator::mapped::Caches;
use crate::invalidator::observer::CdcObserver;
use crate::invalidator::pump::Pump;
use crate::invalidator::standby::SILENT_HEARTBEATS;
use crate::invalidator::status::{CdcState, CdcStatus};
use crate::invalidator::worker::Worker;
use crate::keymap::KeyMap;
use crate::metrics::CdcMetrics;
use crate::mode::InvalidationMode;
use crate::settings::CdcSettings;
use crate::source::ChangeSource;
use crate::store::{Store, is_same_store};

/// Builds an invalidator: one source, one store, and the caches on it.
///
/// ```
/// use cachefront::event::{Change, Operation, RowChange, RowImage, TableName, Value};
/// use cachefront::testing::{ScriptedSource, wait_until};
/// use cachefront::{Cache, Cdc, MemoryStore, loader_fn};
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(async {
/// let users: Cache<u64, u64> = Cache::builder("users")
///     .shared(MemoryStore::new("shop"))
///     .depends_on("shop.users", |row| Ok(vec![row.get::<u64>("id")?]))
///     .loader(loader_fn(|id: u64| async move { Ok::<_, std::io::Error>(Some(id)) }))
///     .build()?;
/// let source = ScriptedSource::new("server-a"); // in production: a binlog or Kafka source
/// let cdc = Cdc::new(source.clone()).bind(&users).spawn()?;
/// cdc.ready().await?;
/// users.get(&7).await?;
///
/// // A commit changes the row, and its key is a miss once the commit is applied.
/// let after = Some(RowImage::from_pairs([("id", Value::UInt(7))]));
/// let table = TableName::new("shop", "users");
/// let commit = source.commit([Change::Row(RowChange { table, operation: Operation::Insert, before: None, after })]);
/// wait_until("the commit is applied", || async { cdc.status().applied.contains(&commit) }).await;
/// assert!(users.peek(&7).await?.is_none());
/// // … until the service ends:
/// cdc.shutdown().await;
/// # Ok::<(), cachefront::Error>(())
/// # }).expect("the example runs");
/// ```
#[must_use = "an invalidator does nothing until it is spawned"]
pub struct Cdc {
    source: Box<dyn ChangeSource>,
    gate: Option<Arc<dyn VisibilityGate>>,
    /// True if the gate was set by the user, false if it is the source's.
    own_gate: bool,
    store: Option<Arc<dyn Store>>,
    /// The name of a bound cache with another store.
    foreign: Option<String>,
    maps: Vec<Arc<dyn KeyMap>>,
    /// The shortest freshness objective of the bound caches.
    objective: Option<Duration>,
    observer: Option<Arc<dyn CdcObserver>>,
    mode: InvalidationMode,
    settings: CdcSettings,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

impl Cdc {
    /// Creates an invalidator that reads `source`.
    pub fn new(source: impl ChangeSource) -> Self {
        let gate = source.gate();
        Self {
            source: Box::new(source),
            gate,
            own_gate: false,
            store: None,
            foreign: None,
            maps: Vec::new(),
            objective: None,
            observer: None,
            mode: InvalidationMode::Cdc,
            settings: CdcSettings::default(),
            clock: Arc::new(SystemClock::new()),
            entropy: Arc::new(SystemEntropy),
        }
    }

    /// Binds a cache to keep correct. All caches of an invalidator share one store. Every invalidator of a namespace must bind
    /// all caches of the namespace: of several invalidators one is active, and a cache that it does not know is not cached.
    pub fn bind<K, V>(mut self, cache: &Cache<K, V>) -> Self {
        self.objective = [self.objective, cache.freshness_objective()].into_iter().flatten().min();
        self.bind_map(cache.store(), cache.key_map())
    }

    /// Binds a key map, for a process that does not have the cache itself. The map's name, tables, columns and version must be
    /// those of the caches that read.
    pub fn bind_map(mut self, store: Arc<dyn Store>, map: Arc<dyn KeyMap>) -> Self {
        match &self.store {
            Some(bound) if !is_same_store(bound, &store) => self.foreign = Some(map.cache().to_owned()),
            Some(_) => {}
            None => self.store = Some(store),
        }
        self.maps.push(map);
        self
    }

    /// Sets the visibility gate. It must wait on every server that loaders read.
    ///
    /// Default: the source's own gate, which waits on the server that the log comes from.
    pub fn gate(mut self, gate: Arc<dyn VisibilityGate>) -> Self {
        self.gate = Some(gate);
        self.own_gate = true;
        self
    }

    /// Sets an observer that is notified of every batch. Default: none.
    pub fn observer(mut self, observer: Arc<dyn CdcObserver>) -> Self {
        self.observer = Some(observer);
        self
    }

    /// Sets the initial mode. Default: [`InvalidationMode::Cdc`].
    pub fn mode(mut self, mode: InvalidationMode) -> Self {
        self.mode = mode;
        self
    }

    /// Sets every tunable number. Default: [`CdcSettings::default`].
    pub fn settings(mut self, settings: CdcSettings) -> Self {
        self.settings = settings;
        self
    }

    /// Sets the clock. Default: the system's.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Sets the source of randomness. Default: the operating system's.
    pub fn entropy(mut self, entropy: Arc<dyn Entropy>) -> Self {
        self.entropy = entropy;
        self
    }

    /// Starts the invalidator in a task of the current tokio runtime. It retries indefinitely, with pauses, unless its first
    /// session finds a configuration error, which [`CdcHandle::ready`] returns.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] if no cache is bound; if the caches do not share one store; if two caches of one name have different
    /// mappings; if there is no gate, or only the source's own for a cache that loads from a replica; if the store's
    /// `wait_timeout` for replicas is not shorter than five [heartbeats](CdcSettings::heartbeat); if a setting is out of range;
    /// or if no tokio runtime is running.
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
                "the source has no visibility gate of its own: set one with `gate`, or a stale value may be cached after \
                 its invalidation"
                    .into(),
            )
        })?;
        check_write_wait(store.write_wait_max(), self.settings.heartbeat)?;
        let caches = Caches::new(self.maps, self.own_gate)?;
        let runtime = tokio::runtime::Handle::try_current().map_err(|error| {
            Error::with_source(ErrorKind::Config, "an invalidator is spawned outside a tokio runtime", error)
        })?;
        let (desired, desired_states) = watch::channel(DesiredState { mode: self.mode, shutdown: false });
        let mut starting = CdcStatus::starting(self.mode, self.source.describe(), Arc::clone(&self.clock));
        starting.freshness_objective = self.objective;
        let (status, statuses) = watch::channel(starting);
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
            desired_states,
            status: status.clone(),
            term: 0,
            taken: None,
            in_batch: false,
            next_order: 0,
            checked: false,
        };
        let pump = Pump { source: self.source, worker };
        let drain_max = self.settings.drain_max;
        let running = Running(status);
        let run = async move {
            if AssertUnwindSafe(pump.run()).catch_unwind().await.is_err() {
                note_panic(&running.0);
            }
        };
        let task = runtime.spawn(run).abort_handle();
        Ok(CdcHandle::new(Owner { desired, statuses, task, clock: self.clock, drain_max }))
    }
}

/// Checks that no write takes so long that the standbys take the holder for dead.
fn check_write_wait(wait: Duration, heartbeat: Duration) -> Result<()> {
    let patience = heartbeat * (SILENT_HEARTBEATS - 1);
    if wait < patience {
        return Ok(());
    }
    let message = format!(
        "a write to the store may wait {wait:?} for replicas, and after {patience:?} without a write standbys take this invalidator \
         for dead: shorten the store's `wait_timeout`, or lengthen `CdcSettings::heartbeat` of every invalidator"
    );
    Err(Error::new(ErrorKind::Config, message))
}

/// The task, whose end shows in the status although it was aborted, or its runtime has ended.
struct Running(watch::Sender<CdcStatus>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.send_if_modified(|status| {
            let ended = matches!(status.state, CdcState::Stopped | CdcState::Failed);
            if !ended {
                status.state = CdcState::Stopped;
            }
            !ended
        });
    }
}

/// A task that has panicked keeps no cache correct, and must not look as if it did.
fn note_panic(status: &watch::Sender<CdcStatus>) {
    let message = "the invalidator panicked and has ended: its caches are not kept correct by this process";
    tracing::error!("{message}");
    status.send_modify(|status| {
        status.state = CdcState::Failed;
        status.last_error = Some(Error::new(ErrorKind::Closed, message));
    });
}

impl fmt::Debug for Cdc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cdc").field("source", &self.source).field("maps", &self.maps).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_that_outlasts_the_standbys_patience_is_refused() {
        let heartbeat = Duration::from_millis(250);
        check_write_wait(Duration::ZERO, heartbeat).expect("no wait");
        check_write_wait(Duration::from_secs(1), heartbeat).expect("the default of the Redis store");
        let refused = check_write_wait(Duration::from_millis(1_250), heartbeat).expect_err("too long");
        assert!(refused.kind() == ErrorKind::Config && refused.to_string().contains("wait_timeout"), "{refused}");
    }
}
