//! Builds a cache from components and settings, and names the one that does not fit.

use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use crate::cache::ages::Ages;
use crate::cache::expected_tags::TagsOf;
use crate::cache::handle::{Cache, Parts};
use crate::cache::local::Local;
use crate::cache::observer::CacheObserver;
use crate::cache::row_value::{self, ValueOf};
use crate::cache::tags::TAGGED;
use crate::clock::{Clock, Entropy, SystemClock, SystemEntropy};
use crate::codec::{Codec, Compression, DefaultCodec};
use crate::error::{Error, ErrorKind, Result};
use crate::event::{RowImage, TableName};
use crate::filter::Columns;
use crate::key::CacheKey;
use crate::keymap::{KeyMap, TableRules};
use crate::loader::{DynLoader, Loader};
use crate::mode::InvalidationMode;
use crate::policy::{FixedTtl, JitteredTtl, NegativeTtl, TtlPolicy};
use crate::settings::CacheSettings;
use crate::store::{MemoryStore, Store};

/// Maximum length of a cache's name, in bytes.
const NAME_BYTES_MAX: usize = 64;

/// Builds a [`Cache`]; see [`Cache::builder`].
///
/// ```
/// use std::time::Duration;
/// use cachefront::{Cache, CacheBuilder, Local, MemoryStore, loader_fn};
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(async {
/// let users: CacheBuilder<u64, String> = Cache::builder("users")
///     .shared(MemoryStore::new("shop"))
///     .local(Local::max_weight(64 << 20))
///     .ttl(Duration::from_secs(600))
///     .depends_on_columns("shop.users", &["id"], |row| Ok(vec![row.get::<u64>("id")?]))
///     .loader(loader_fn(|id: u64| async move { Ok::<_, std::io::Error>(Some(format!("user {id}"))) }));
/// let users = users.build()?;
/// # assert_eq!(users.get(&7).await?.as_deref(), Some("user 7"));
/// # Ok::<(), cachefront::Error>(())
/// # }).expect("the example runs");
/// ```
#[must_use]
pub struct CacheBuilder<K, V, C = DefaultCodec> {
    name: String,
    schema_version: u32,
    local: Option<Local>,
    store: Option<Arc<dyn Store>>,
    ttl: Duration,
    jitter: f64,
    negative_ttl: Duration,
    policy: Option<Arc<dyn TtlPolicy>>,
    loader: Option<Arc<dyn DynLoader<K, V>>>,
    codec: C,
    compression: Option<Compression>,
    pub(super) rules: TableRules,
    mode: Option<InvalidationMode>,
    settings: CacheSettings,
    pub(super) ages: Ages,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    pub(super) observer: Option<Arc<dyn CacheObserver<K>>>,
    pub(super) tags_of: Option<TagsOf<K>>,
    pub(super) row_value: Option<(TableName, ValueOf<V>)>,
}

impl<K, V> Cache<K, V> {
    /// Starts to build a cache of this name: 1 to 64 ASCII letters, digits, `_`, `-` and `.`. The name is part of every stored key.
    /// Key and value types are named once, in an alias or where the cache is kept:
    ///
    /// ```
    /// use cachefront::{Cache, loader_fn};
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(async {
    /// type Greetings = Cache<u64, String>;
    ///
    /// let greetings = Greetings::builder("greetings")
    ///     .loader(loader_fn(|id| async move { Ok::<_, std::io::Error>(Some(format!("hello {id}"))) }))
    ///     .build()?;
    /// assert_eq!(greetings.get(&7).await?, Some("hello 7".to_owned()));
    /// # Ok::<(), cachefront::Error>(())
    /// # }).expect("the example runs");
    /// ```
    pub fn builder(name: &str) -> CacheBuilder<K, V> {
        CacheBuilder::new(name)
    }
}

impl<K, V> CacheBuilder<K, V, DefaultCodec> {
    fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            schema_version: 0,
            local: None,
            store: None,
            ttl: Duration::from_secs(3600),
            jitter: 0.10,
            negative_ttl: Duration::from_secs(30),
            policy: None,
            loader: None,
            codec: DefaultCodec::default(),
            compression: None,
            rules: TableRules::new(name),
            mode: None,
            settings: CacheSettings::default(),
            ages: Ages::default(),
            clock: Arc::new(SystemClock::new()),
            entropy: Arc::new(SystemEntropy),
            observer: None,
            tags_of: None,
            row_value: None,
        }
    }
}

impl<K, V, C> CacheBuilder<K, V, C> {
    /// Sets the version of `V`'s stored form. Entries of another version are misses; they are invalidated nevertheless. Raise it
    /// whenever a release needs something that the one before does not store, also if it can read what that one stored: a field
    /// with a default would have the default, whatever the row says.
    ///
    /// Default: 0.
    pub fn schema_version(mut self, version: u32) -> Self {
        self.schema_version = version;
        self
    }

    /// Adds a tier in this process's memory, invalidated over the store's bus. Default: no such tier.
    pub fn local(mut self, local: Local) -> Self {
        self.local = Some(local);
        self
    }

    /// Sets the store that all processes share. Default: a [`MemoryStore`] of this cache only.
    pub fn shared(mut self, store: impl IntoStore) -> Self {
        self.store = Some(store.into_store());
        self
    }

    /// Sets the maximum time to live of a value, above zero; the change log usually removes it long before. Default: 1 h.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = ttl;
        self
    }

    /// Shortens each time to live by a random part of at most this fraction, so that values do not expire together. It is at least
    /// 0.0 and below 1.0.
    ///
    /// Default: 0.10.
    pub fn jitter(mut self, fraction: f64) -> Self {
        self.jitter = fraction;
        self
    }

    /// Sets how long the absence of a row is cached, unless its loader [requests another time](crate::LoadCx::ttl); zero to never
    /// cache it. Default: 30 s.
    pub fn negative_ttl(mut self, ttl: Duration) -> Self {
        self.negative_ttl = ttl;
        self
    }

    /// Sets a policy that decides every time to live, instead of `ttl`, `jitter` and `negative_ttl`. Default: those three.
    pub fn ttl_policy(mut self, policy: impl TtlPolicy) -> Self {
        self.policy = Some(Arc::new(policy));
        self
    }

    /// Sets the loader of values that are not cached. Default: none; then only [`Cache::get_or_load`] can load.
    pub fn loader<L>(mut self, loader: L) -> Self
    where
        L: Loader<K, V>,
        K: Clone + Eq + Hash + Send + Sync,
        V: Send + Sync,
    {
        self.loader = Some(Arc::new(loader));
        self
    }

    /// Declares which keys have values made from a row of `table` (`database.table`). `keys_of` runs on the row before a
    /// change and on the row after it. All columns are decoded; see [`depends_on_columns`](Self::depends_on_columns).
    ///
    /// A row whose mapped column is NULL has no key of that column; read such a column as an `Option`. Raise
    /// [`mapping_version`](Self::mapping_version) when the code of `keys_of` changes so that the same columns lead to
    /// other keys.
    ///
    /// Default: no dependency, and then the mode is [`InvalidationMode::Ttl`].
    ///
    /// ```
    /// # use cachefront::{Cache, CacheBuilder};
    /// let users: CacheBuilder<u64, String> =
    ///     Cache::builder("users").depends_on("shop.users", |row| Ok(vec![row.get::<u64>("id")?]));
    /// ```
    ///
    /// Keys of another type than the cache's do not compile:
    ///
    /// ```compile_fail
    /// # use cachefront::{Cache, CacheBuilder};
    /// let users: CacheBuilder<u64, String> =
    ///     Cache::builder("users").depends_on("shop.users", |row| Ok(vec![row.get::<String>("email")?]));
    /// ```
    pub fn depends_on<F>(mut self, table: impl Into<TableName>, keys_of: F) -> Self
    where
        K: CacheKey + 'static,
        F: Fn(&RowImage) -> Result<Vec<K>> + Send + Sync + 'static,
    {
        self.rules.add(table.into(), Columns::All, keys_of);
        self
    }

    /// Like [`depends_on`](Self::depends_on), but the source decodes only `columns`: this is cheaper, and startup checks are
    /// limited to these columns (a string column that keys are made of needs a binary collation).
    pub fn depends_on_columns<F>(mut self, table: impl Into<TableName>, columns: &[&str], keys_of: F) -> Self
    where
        K: CacheKey + 'static,
        F: Fn(&RowImage) -> Result<Vec<K>> + Send + Sync + 'static,
    {
        let columns = Columns::Only(columns.iter().map(|&name| name.into()).collect());
        self.rules.add(table.into(), columns, keys_of);
        self
    }

    /// Sets the version of the code that makes keys of rows. In CDC mode, values that processes of another version have
    /// cached are not served to this one, and vice versa; in TTL mode only
    /// [`schema_version`](Self::schema_version) separates them. Default: 0.
    pub fn mapping_version(mut self, version: u32) -> Self {
        self.rules.set_version(version);
        self
    }

    /// Declares a server that the loader reads in addition to the one whose log is followed, usually a replica. The loader
    /// says so for each value with [`LoadCx::replica`](crate::LoadCx::replica); without this setting such values are
    /// returned and not cached. Every invalidator must have a [`gate`](crate::Cdc::gate) that waits on this server; one of a
    /// release that does not declare it does not cover the cache.
    ///
    /// Default: only the server whose log is followed is read.
    pub fn loads_from(mut self, server: &str) -> Self {
        self.rules.add_server(server);
        self
    }

    /// Keeps a loaded value only if the server that was read had executed everything that was invalidated before the load: the
    /// *fence*, which the loader gets from [`LoadCx::fence`](crate::LoadCx::fence), waits for on its connection before its
    /// SELECT, and confirms by [`LoadCx::position`](crate::LoadCx::position). Other values are returned and not kept.
    ///
    /// So a loader may read replicas that lag, and invalidations do not wait for them: the gate waits only on the server whose
    /// log is followed. The price is the wait of each load, up to [`fence_wait`](CacheSettings::fence_wait); replicas that lag
    /// more keep nothing while there are changes.
    ///
    /// Default: there is no fence, and the gate waits on every server that loaders read.
    pub fn fenced(mut self) -> Self {
        self.rules.set_fenced();
        self
    }

    /// Sets the initial rule by which values are kept correct; see [`Cache::set_mode`].
    ///
    /// Default: [`InvalidationMode::Cdc`] if the cache depends on a table, else [`InvalidationMode::Ttl`].
    pub fn mode(mut self, mode: InvalidationMode) -> Self {
        self.mode = Some(mode);
        self
    }

    /// Sets how values become bytes. Default: JSON, with the feature `json`.
    pub fn codec<D: Codec<V>>(self, codec: D) -> CacheBuilder<K, V, D> {
        CacheBuilder {
            name: self.name,
            schema_version: self.schema_version,
            local: self.local,
            store: self.store,
            ttl: self.ttl,
            jitter: self.jitter,
            negative_ttl: self.negative_ttl,
            policy: self.policy,
            loader: self.loader,
            codec,
            compression: self.compression,
            rules: self.rules,
            mode: self.mode,
            settings: self.settings,
            ages: self.ages,
            clock: self.clock,
            entropy: self.entropy,
            observer: self.observer,
            tags_of: self.tags_of,
            row_value: self.row_value,
        }
    }

    /// Compresses encoded values above a size, in the shared store. Processes with other settings read them. Default: no compression.
    pub fn compression(mut self, compression: Compression) -> Self {
        self.compression = Some(compression);
        self
    }

    /// Sets every tunable number. The builder's own methods take precedence, whether they are called before or after:
    /// [`freshness_objective`](Self::freshness_objective), [`stale_while_revalidate`](Self::stale_while_revalidate),
    /// [`early_refresh`](Self::early_refresh), [`stale_if_error`](Self::stale_if_error) and
    /// [`load_soft_timeout`](Self::load_soft_timeout). Default: [`CacheSettings::default`].
    pub fn settings(mut self, settings: CacheSettings) -> Self {
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

    /// Builds the cache. It follows the store's bus from now on, in a task of the current tokio runtime.
    ///
    /// # Errors
    /// [`ErrorKind::Config`], naming the field that is wrong, or if no tokio runtime is running.
    pub fn build(mut self) -> Result<Cache<K, V>>
    where
        K: CacheKey + Clone + Eq + Hash + Send + Sync + 'static,
        V: Clone + Send + Sync + 'static,
        C: Codec<V>,
    {
        self.settings = self.ages.over(self.settings);
        self.validate()?;
        let codec = Arc::new(self.codec);
        if let Some((table, value_of)) = self.row_value.take() {
            row_value::add_rule(&mut self.rules, table, value_of, &codec, self.schema_version);
        }
        let policy = self.policy.unwrap_or_else(|| {
            let jittered = JitteredTtl { inner: FixedTtl(self.ttl), fraction: self.jitter };
            Arc::new(NegativeTtl { inner: jittered, ttl: self.negative_ttl })
        });
        let by_rules = if self.rules.is_empty() { InvalidationMode::Ttl } else { InvalidationMode::Cdc };
        let store =
            self.store.unwrap_or_else(|| Arc::new(MemoryStore::new(&self.name).with_clock(Arc::clone(&self.clock))));
        refuse_another_mapping(&store, &self.rules)?;
        Ok(Cache::assemble(Parts {
            name: self.name.into(),
            schema_version: self.schema_version,
            local: self.local,
            store,
            policy,
            loader: self.loader,
            codec,
            compression: self.compression,
            rules: Arc::new(self.rules),
            mode: self.mode.unwrap_or(by_rules),
            settings: self.settings,
            clock: self.clock,
            entropy: self.entropy,
            observer: self.observer,
            tags_of: self.tags_of,
        }))
    }

    fn validate(&self) -> Result<()>
    where
        C: Codec<V>,
    {
        let config = |message: String| Err(Error::new(ErrorKind::Config, message));
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
        if self.name.is_empty() || self.name.len() > NAME_BYTES_MAX || !self.name.bytes().all(legal) {
            return config(format!(
                "the cache's name `{}` is not usable: 1 to {NAME_BYTES_MAX} letters, digits, `_`, `-` and `.`",
                self.name
            ));
        }
        if self.ttl.is_zero() {
            return config(format!("`ttl` of cache `{}` is zero: give a duration above zero", self.name));
        }
        if !(0.0..1.0).contains(&self.jitter) {
            return config(format!("`jitter` of cache `{}` is {}: give 0.0 up to below 1.0", self.name, self.jitter));
        }
        if let Some(local) = self.local
            && (local.max_weight == 0 || local.ttl.is_zero())
        {
            return config(format!(
                "`local` of cache `{}` has a weight or a time to live of zero: give both above zero",
                self.name
            ));
        }
        let stale = &self.settings;
        if !stale.stale_if_error.is_zero() && self.local.is_none() {
            return config(format!(
                "`stale_if_error` of cache `{}` needs a process-local tier: add `local`",
                self.name
            ));
        }
        if !stale.load_soft_timeout.is_zero() && stale.stale_if_error.is_zero() {
            return config(format!("`load_soft_timeout` of cache `{}` needs `stale_if_error`", self.name));
        }
        if self.codec.id() == 0 || (self.rules.is_tagged() && self.codec.id() & TAGGED != 0) {
            let (id, max) = (self.codec.id(), if self.rules.is_tagged() { 127 } else { 255 });
            return config(format!("the codec of cache `{}` has the id {id}: give 64 to {max}", self.name));
        }
        if self.mode == Some(InvalidationMode::Cdc) && self.rules.is_empty() {
            return config(format!("cache `{}` is in CDC mode but depends on no table: add `depends_on`", self.name));
        }
        if let Some((table, _)) = self.rules.table_filter().iter().find(|(table, _)| !is_full_name(table)) {
            return config(format!(
                "`{table}` in `depends_on` of cache `{}` is not `database.table`: a name that has a dot itself is given as a \
                 pair, (\"database\", \"table\")",
                self.name
            ));
        }
        if let Some((table, _)) = &self.row_value {
            row_value::validate(&self.name, &self.rules, table)?;
        }
        if tokio::runtime::Handle::try_current().is_err() {
            return config(format!("cache `{}` is built outside a tokio runtime: build it inside one", self.name));
        }
        self.settings.validate()
    }
}

/// Refuses a second cache of one name with another mapping: both would share their keys in the store.
fn refuse_another_mapping(store: &Arc<dyn Store>, rules: &TableRules) -> Result<()> {
    let mine = (!rules.is_empty()).then(|| rules.mapping());
    match store.hub().and_then(|hub| hub.mapping_of(rules.cache())) {
        Some(other) if other != mine => Err(Error::new(
            ErrorKind::Config,
            format!(
                "a cache named `{}` with other dependencies is in use on this store: give one of the two another name",
                rules.cache()
            ),
        )),
        _ => Ok(()),
    }
}

fn is_full_name(table: &TableName) -> bool {
    !table.database().is_empty() && !table.name().is_empty()
}

impl<K, V, C> std::fmt::Debug for CacheBuilder<K, V, C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CacheBuilder")
            .field("name", &self.name)
            .field("settings", &self.ages.over(self.settings))
            .finish_non_exhaustive()
    }
}

/// The argument of [`CacheBuilder::shared`]: a store, or a shared handle to one.
pub trait IntoStore {
    /// Returns the store as a shared handle.
    fn into_store(self) -> Arc<dyn Store>;
}

impl<S: Store> IntoStore for S {
    fn into_store(self) -> Arc<dyn Store> {
        Arc::new(self)
    }
}

impl IntoStore for Arc<dyn Store> {
    fn into_store(self) -> Arc<dyn Store> {
        self
    }
}

impl<S: Store> IntoStore for Arc<S> {
    fn into_store(self) -> Arc<dyn Store> {
        self
    }
}
