//! The inspector's builder, handle and tasks.

use std::collections::HashSet;
use std::fmt;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::cache::Cache;
use crate::clock::{Clock, SystemClock, SystemEntropy, Timestamp};
use crate::error::{Error, ErrorKind, Result};
use crate::inspect::compare::{Compared, Comparer, Target};
use crate::inspect::follow::follow;
use crate::inspect::guarded::Guarded;
use crate::inspect::report::{Finding, InspectReport, Pass};
use crate::inspect::state::{State, by_kind};
use crate::inspect::watch::{Watch, Watched};
use crate::key::{CacheKey, StoreKey};
use crate::metrics::{InspectMetrics, PassGauges};
use crate::settings::InspectSettings;
use crate::source::ChangeSource;

/// Compares cached entries with the database while the service runs, and reports how soon they become consistent.
///
/// It only peeks: it fills nothing, takes no lease, and does not count as a use of an entry. It works in any process that has
/// the caches; one inspector for each namespace is enough.
///
/// ```
/// use cachefront::event::{Change, Operation, RowChange, RowImage, TableName, Value};
/// use cachefront::inspect::Watch;
/// use cachefront::testing::{ScriptedSource, wait_until};
/// use cachefront::{Cache, Cdc, Inspector, MemoryStore, loader_fn};
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(async {
/// let users: Cache<u64, u64> = Cache::builder("users")
///     .shared(MemoryStore::new("shop"))
///     .depends_on("shop.users", |row| Ok(vec![row.get::<u64>("id")?]))
///     .loader(loader_fn(|id: u64| async move { Ok::<_, std::io::Error>(Some(id)) }))
///     .build()?;
/// let log = ScriptedSource::new("server-a"); // in production: a binlog source for each of the two
/// let cdc = Cdc::new(log.clone()).bind(&users).spawn()?;
/// let watch = Watch::new(&users).sample(|max| async move { Ok((1..=max as u64).collect()) });
/// let inspector = Inspector::builder().watch(watch).follow(log.clone()).spawn()?;
/// wait_until("the log is followed", || async { inspector.report().followed.is_some() }).await;
///
/// users.get(&7).await?;
/// let pass = inspector.pass().await?;
/// assert_eq!((pass.compared, pass.findings.len()), (1, 0));
///
/// let after = Some(RowImage::from_pairs([("id", Value::UInt(7))]));
/// let table = TableName::new("shop", "users");
/// log.commit([Change::Row(RowChange { table, operation: Operation::Update, before: None, after })]);
/// wait_until("the change was checked", || async { inspector.report().convergence[0].ratio() == Some(1.0) }).await;
/// inspector.shutdown().await;
/// # cdc.shutdown().await;
/// # Ok::<(), cachefront::Error>(())
/// # }).expect("the example runs");
/// ```
#[derive(Clone)]
#[must_use = "the inspector stops when its last handle is dropped"]
pub struct Inspector {
    owner: Arc<Owner>,
}

struct Owner {
    state: Arc<State>,
    /// False while the inspector is paused.
    active: Mutex<Option<watch::Sender<bool>>>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
    /// What one pass hands to the next; locked while a pass runs.
    remembered: tokio::sync::Mutex<Vec<Target>>,
    last: Mutex<Option<Arc<Pass>>>,
}

/// Builds an [`Inspector`].
#[must_use = "an inspector does nothing until it is spawned"]
pub struct InspectorBuilder {
    watches: Vec<Arc<dyn Watched>>,
    source: Option<Box<dyn ChangeSource>>,
    settings: InspectSettings,
    clock: Arc<dyn Clock>,
}

impl InspectorBuilder {
    /// Adds a cache: a [`Watch`], or the cache itself to compare its entries with its own loader's values.
    pub fn watch<K, V>(mut self, watch: impl Into<Watch<K, V>>) -> Self
    where
        K: CacheKey + Clone + Eq + Hash + Send + Sync + 'static,
        V: Clone + PartialEq + Send + Sync + 'static,
    {
        self.watches.push(Arc::new(Guarded(watch.into())));
        self
    }

    /// Sets the change source that is followed. It is the inspector's own: never the invalidator's, and for Kafka with
    /// another consumer group. It is neither elected nor acknowledged.
    ///
    /// Default: none. Changes are then not checked, and of a stale entry the change that made it so is not known.
    pub fn follow(self, source: impl ChangeSource) -> Self {
        self.follow_boxed(Box::new(source))
    }

    /// Like [`follow`](Self::follow), for a source whose type is chosen at run time.
    pub fn follow_boxed(mut self, source: Box<dyn ChangeSource>) -> Self {
        self.source = Some(source);
        self
    }

    /// Sets every tunable number, and whether entries are repaired. Default: [`InspectSettings::default`].
    pub fn settings(mut self, settings: InspectSettings) -> Self {
        self.settings = settings;
        self
    }

    /// Sets the clock. Default: the system's.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Starts the inspector in tasks of the current tokio runtime.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] if no cache is watched, a watched cache has no loader, a setting is out of range, or no tokio
    /// runtime is running.
    pub fn spawn(self) -> Result<Inspector> {
        let config = |message: String| Error::new(ErrorKind::Config, message);
        self.settings.validate()?;
        if self.watches.is_empty() {
            return Err(config("no cache is watched: call `watch` before `spawn`".into()));
        }
        if let Some(watch) = self.watches.iter().find(|watch| !watch.has_loader()) {
            return Err(config(format!("cache `{}` has no loader: set one with `Watch::loader`", watch.cache())));
        }
        let runtime = tokio::runtime::Handle::try_current().map_err(|error| {
            Error::with_source(ErrorKind::Config, "an inspector is spawned outside a tokio runtime", error)
        })?;
        let probe = self.source.as_ref().map(|source| source.probe());
        let comparer = Comparer { watches: self.watches, probe, settings: self.settings, clock: self.clock };
        let state = Arc::new(State::new(comparer, Arc::new(SystemEntropy), InspectMetrics::new()));
        let (active, activity) = watch::channel(true);
        let owner = Arc::new(Owner {
            state: Arc::clone(&state),
            active: Mutex::new(Some(active)),
            tasks: Mutex::default(),
            remembered: tokio::sync::Mutex::default(),
            last: Mutex::default(),
        });
        let (checked, reviewed) = (Arc::clone(&state), Arc::clone(&state));
        let mut tasks = vec![
            runtime.spawn(while_active(activity.clone(), move || {
                let state = Arc::clone(&checked);
                async move { state.check().await }
            })),
            // Apart from the checks, whose times it must not delay.
            runtime.spawn(while_active(activity.clone(), move || {
                let state = Arc::clone(&reviewed);
                async move { state.review().await }
            })),
        ];
        if let Some(source) = self.source {
            tasks.push(runtime.spawn(follow(state, source, activity.clone())));
        }
        if !self.settings.pass_every.is_zero() {
            let (owner, every) = (Arc::downgrade(&owner), self.settings.pass_every);
            tasks.push(runtime.spawn(while_active(activity, move || pass_regularly(Weak::clone(&owner), every))));
        }
        *lock(&owner.tasks) = tasks;
        Ok(Inspector { owner })
    }
}

impl Inspector {
    /// Starts to build an inspector.
    pub fn builder() -> InspectorBuilder {
        InspectorBuilder {
            watches: Vec::new(),
            source: None,
            settings: InspectSettings::default(),
            clock: Arc::new(SystemClock::new()),
        }
    }

    /// Checks a sample of each watched cache now. If another pass is running, this one runs after it.
    ///
    /// # Errors
    /// Those of store, loader and samples. What was found before the error is not reported; a repair that was done stays.
    ///
    /// # Cancel safety
    /// Cancel safe: what was found so far is found again by the next pass.
    pub async fn pass(&self) -> Result<Arc<Pass>> {
        self.owner.pass().await
    }

    /// Returns the last pass; `None` if none has ended, or the last one failed.
    pub fn last_pass(&self) -> Option<Arc<Pass>> {
        lock(&self.owner.last).clone()
    }

    /// Sets the gauges of the last pass to "unknown" if it ended longer than `age_max` ago. Call it before metrics are
    /// collected if passes run on demand only.
    pub fn expire_gauges(&self, age_max: Duration) {
        let now = self.owner.state.comparer.clock.now();
        if self.last_pass().is_some_and(|pass| now.since(pass.ended_at) > age_max) {
            PassGauges::UNKNOWN.publish();
        }
    }

    /// Returns what was found since the start.
    pub fn report(&self) -> InspectReport {
        self.owner.state.summary()
    }

    /// Stops following the log and checking entries until [`resume`](Self::resume). [`pass`](Self::pass) can still be called. The
    /// gauges of the last pass become "unknown" if passes run regularly.
    pub fn pause(&self) {
        self.set_active(false);
    }

    /// Continues, from the end of the log. Changes that were committed during the pause are not checked.
    pub fn resume(&self) {
        self.set_active(true);
    }

    fn set_active(&self, active: bool) {
        if let Some(sender) = &*lock(&self.owner.active) {
            sender.send_if_modified(|now| std::mem::replace(now, active) != active);
        }
    }

    /// Stops, and closes the source. It stops for all clones of the handle; those that are left can still read the report. It does not
    /// wait for loads: checks that have begun are undecided. The gauges of the last pass become "unknown".
    ///
    /// # Cancel safety
    /// If the future is dropped, the inspector ends in the background.
    pub async fn shutdown(self) {
        drop(lock(&self.owner.active).take());
        let tasks = std::mem::take(&mut *lock(&self.owner.tasks));
        for task in tasks {
            // A task that panicked has ended too.
            let _ = task.await;
        }
        PassGauges::UNKNOWN.publish();
    }
}

impl Owner {
    async fn pass(&self) -> Result<Arc<Pass>> {
        let mut remembered = self.remembered.lock().await;
        let began_at = self.state.comparer.clock.now();
        let limit = self.state.settings.pass_timeout;
        let passed = tokio::select! {
            biased;
            passed = self.run_pass(&mut remembered, began_at) => passed,
            () = self.state.comparer.clock.sleep(limit) => {
                Err(Error::new(ErrorKind::Timeout, format!("a pass took longer than {limit:?}")))
            }
        };
        match passed {
            Ok(pass) => {
                let pass = Arc::new(pass);
                *lock(&self.last) = Some(Arc::clone(&pass));
                gauges(&pass).publish();
                Ok(pass)
            }
            Err(error) => {
                *lock(&self.last) = None;
                PassGauges::UNKNOWN.publish();
                self.state.failed(error.clone());
                Err(error)
            }
        }
    }

    async fn run_pass(&self, remembered: &mut Vec<Target>, began_at: Timestamp) -> Result<Pass> {
        let (state, settings) = (&*self.state, &self.state.settings);
        let targets = self.targets(remembered).await?;
        let sampled = targets.len() as u64;
        let (present, differing) = state.comparer.filter(targets).await?;
        let compared = present.len() as u64;
        let mut suspects = Vec::new();
        for result in state.comparer.compare_all(differing).await? {
            if let Compared::Differs(suspect) = result {
                state.hold((*suspect).clone());
                suspects.push(*suspect);
            }
        }
        if suspects.iter().any(|suspect| state.may_be_in_progress(suspect)) {
            state.comparer.clock.sleep(settings.grace).await;
            suspects = state.comparer.all_again(suspects).await?;
        }
        // Stale ones first, so that every pass checks them again, whatever the sample is.
        let stale = suspects.iter().map(|suspect| suspect.target.clone());
        *remembered = unique(stale.chain(present)).take(settings.suspects_max).collect();
        let mut findings: Vec<Finding> = Vec::with_capacity(suspects.len());
        for suspect in suspects {
            state.hold(suspect.clone());
            findings.push(state.report(&suspect).await);
        }
        findings.sort_by(|one, other| (&one.cache, one.key.as_str()).cmp(&(&other.cache, other.key.as_str())));
        Ok(Pass { began_at, ended_at: state.comparer.clock.now(), sampled, compared, findings })
    }

    /// Returns the keys to check: a sample of each cache, and what was cached at the pass before.
    async fn targets(&self, remembered: &[Target]) -> Result<Vec<Target>> {
        let state = &self.state;
        let mut targets: Vec<Target> = Vec::new();
        for (index, watch) in state.comparer.watches.iter().enumerate() {
            let subjects = watch.sample(state.settings.sample_max).await?;
            targets.extend(subjects.into_iter().map(|subject| Target { watch: index, subject }));
        }
        targets.extend(remembered.iter().cloned());
        Ok(unique(targets).collect())
    }
}

/// Leaves out the keys that came before.
fn unique(targets: impl IntoIterator<Item = Target>) -> impl Iterator<Item = Target> {
    let mut seen: HashSet<StoreKey> = HashSet::new();
    targets.into_iter().filter(move |target| seen.insert(target.subject.key.clone()))
}

fn gauges(pass: &Pass) -> PassGauges {
    PassGauges { compared: Some(pass.compared), by_kind: by_kind(&pass.findings) }
}

/// Does `work`, which does not complete, while the inspector is active, until the sender of `active` is gone. In a pause it is dropped.
async fn while_active<F: Future<Output = ()>>(mut active: watch::Receiver<bool>, work: impl Fn() -> F) {
    while active.wait_for(|active| *active).await.is_ok() {
        tokio::select! {
            biased;
            gone = async { active.wait_for(|active| !*active).await.is_err() } => if gone { return },
            () = work() => {}
        }
    }
}

/// Sets the gauges of the last pass to "unknown" when no further pass follows.
struct Verdict;

impl Drop for Verdict {
    fn drop(&mut self) {
        PassGauges::UNKNOWN.publish();
    }
}

/// Runs one pass after another, with pauses, until the inspector is gone. A pass that is dropped is no verdict.
async fn pass_regularly(owner: Weak<Owner>, every: Duration) {
    let _verdict = Verdict;
    while let Some(owner) = owner.upgrade() {
        let clock = Arc::clone(&owner.state.comparer.clock);
        // The error is in the report, and the next pass tries again.
        let _ = owner.pass().await;
        drop(owner);
        clock.sleep(every).await;
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        for task in lock(&self.tasks).drain(..) {
            task.abort();
        }
    }
}

impl<K, V> From<&Cache<K, V>> for Watch<K, V>
where
    K: CacheKey + Clone + Eq + Hash + Send + Sync + 'static,
    V: Clone + PartialEq + Send + Sync + 'static,
{
    fn from(cache: &Cache<K, V>) -> Self {
        Self::new(cache)
    }
}

/// No code panics while it holds one of the locks.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for Inspector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inspector").field("report", &self.report()).finish_non_exhaustive()
    }
}

impl fmt::Debug for InspectorBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InspectorBuilder")
            .field("source", &self.source)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}
