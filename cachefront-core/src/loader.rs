//! The loader: how a value comes from the database.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::hash::Hash;
use std::marker::PhantomData;
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;

use crate::clock::Timestamp;
use crate::error::BoxError;
use crate::position::Position;

mod loaded;
mod notes;

pub use loaded::{LoadedValue, Reloaded};
pub use notes::{LoadNotes, TAG_BYTES_MAX, TAGS_MAX};

/// Loads values from the database.
///
/// A load runs in its own task, so it is not cancelled with its caller. It must read a *fresh* snapshot (an autocommit
/// connection, never an older transaction).
///
/// By default a loader is assumed to read the server whose log is followed. A loader that reads a replica must say so for
/// each value with [`LoadCx::replica`] and [`LoadCx::position`], because its values prove less; the cache must declare the
/// replica with [`CacheBuilder::loads_from`](crate::CacheBuilder::loads_from), and the visibility gate must wait on it.
///
/// ```
/// use cachefront::{LoadCx, Loader};
///
/// struct Greetings;
///
/// impl Loader<u64, String> for Greetings {
///     type Error = std::convert::Infallible;
///
///     async fn load(&self, key: &u64, _cx: &LoadCx) -> Result<Option<String>, Self::Error> {
///         Ok((*key < 100).then(|| format!("hello {key}")))
///     }
/// }
/// ```
pub trait Loader<K, V>: Send + Sync + 'static {
    /// The error of a failed load; callers get it from [`Error::load_error`](crate::Error::load_error).
    type Error: Into<BoxError> + Send;

    /// Loads the value of `key`; `None` if the database has no such row.
    ///
    /// # Errors
    /// If the database cannot be read.
    fn load(&self, key: &K, cx: &LoadCx) -> impl Future<Output = Result<Option<V>, Self::Error>> + Send;

    /// Returns every commit that a reader of the server that commits may have seen by now. With it, a
    /// [`consistent`](crate::GetMany::consistent) read of many keys can be served from the cache.
    ///
    /// It is an *upper* bound, while [`LoadCx::position`] is a lower one: a commit too many costs a wait, one too few lets half
    /// of a transaction through. MySQL's `@@GLOBAL.gtid_executed` alone lacks the commits of a group that readers see already;
    /// they are in `@@GLOBAL.gtid_owned`, which must be read *before* it. `binlog::read_upper_bound` reads both, and what is
    /// needed on MariaDB. An empty position counts as `None`.
    ///
    /// Report the server with [`LoadCx::origin`]: what another server than the one whose log is followed has executed proves
    /// nothing, and such a read loads. The rest of `cx` has no effect.
    ///
    /// Default: `None`: such a read loads.
    ///
    /// # Errors
    /// If the database cannot be read.
    fn executed(&self, cx: &LoadCx) -> impl Future<Output = Result<Option<Position>, Self::Error>> + Send {
        let _ = cx;
        async { Ok(None) }
    }

    /// Loads the values of many keys; a key that is not in the result has no row.
    ///
    /// Default: calls [`load`](Loader::load) for one key after another.
    ///
    /// # Errors
    /// If the database cannot be read.
    fn load_many(&self, keys: &[K], cx: &LoadCx) -> impl Future<Output = Result<HashMap<K, V>, Self::Error>> + Send
    where
        K: Clone + Eq + Hash + Send + Sync,
        V: Send,
    {
        async move {
            let mut values = HashMap::with_capacity(keys.len());
            for key in keys {
                if let Some(value) = self.load(key, cx).await? {
                    values.insert(key.clone(), value);
                }
            }
            Ok(values)
        }
    }

    /// Loads the values of many keys as [`load_many`](Loader::load_many) does, with a result for each: a key can fail while
    /// others are loaded, and each value can have its own time to live and tags. A key that is not in the result has no row.
    ///
    /// Default: calls [`load_many`](Loader::load_many).
    ///
    /// ```
    /// use std::collections::HashMap;
    /// use std::io;
    /// use std::time::Duration;
    ///
    /// use cachefront::{Cache, LoadCx, LoadedValue, Loader};
    ///
    /// /// Prices by product, from shards of which one is away.
    /// struct Prices;
    ///
    /// impl Loader<u64, u64> for Prices {
    ///     type Error = io::Error;
    ///
    ///     async fn load(&self, id: &u64, cx: &LoadCx) -> io::Result<Option<u64>> {
    ///         cx.ttl(Duration::from_secs(5));
    ///         Ok(Some(id * 100))
    ///     }
    ///
    ///     async fn load_each(
    ///         &self,
    ///         ids: &[u64],
    ///         _cx: &LoadCx,
    ///     ) -> io::Result<HashMap<u64, io::Result<LoadedValue<u64>>>> {
    ///         let price = |id: u64| match id % 2 {
    ///             0 => Ok(LoadedValue::from(Some(id * 100)).ttl(Duration::from_secs(5))),
    ///             _ => Err(io::Error::other("this shard is away")),
    ///         };
    ///         Ok(ids.iter().map(|id| (*id, price(*id))).collect())
    ///     }
    /// }
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(async {
    /// let prices: Cache<u64, u64> = Cache::builder("prices").loader(Prices).build()?;
    /// let found = prices.get_many([2, 3]).per_key().await;
    /// assert_eq!(found[0].as_ref().expect("it was loaded").value, Some(200));
    /// assert_eq!(found[1].as_ref().expect_err("its shard is away").kind(), cachefront::ErrorKind::Load);
    /// # Ok::<(), cachefront::Error>(())
    /// # }).expect("the example runs");
    /// ```
    ///
    /// # Errors
    /// If none of the keys could be loaded, because the database cannot be read.
    fn load_each(
        &self,
        keys: &[K],
        cx: &LoadCx,
    ) -> impl Future<Output = Result<LoadedEach<K, V, Self::Error>, Self::Error>> + Send
    where
        K: Clone + Eq + Hash + Send + Sync,
        V: Send,
    {
        async move {
            let values = self.load_many(keys, cx).await?;
            Ok(values.into_iter().map(|(key, value)| (key, Ok(LoadedValue::from(Some(value))))).collect())
        }
    }

    /// Loads the value of `key` again, given a value that is cached and that no invalidation has removed: a loader that can
    /// tell more cheaply that the database still has it returns [`Reloaded::NotModified`]. It runs in place of
    /// [`load`](Loader::load) for refreshes in the background, and for reads that require more than what is cached, if
    /// [`reloads`](Loader::reloads) returns true.
    ///
    /// Not modified means: a load that begins now would return `previous`. So `cx` is given the position and server of *this*
    /// read, which then count for the value. Compare what identifies a version for certain, such as a counter: times of
    /// seconds cannot tell two changes within one.
    ///
    /// Default: calls [`load`](Loader::load).
    ///
    /// ```
    /// use cachefront::{LoadCx, Loader, Reloaded};
    ///
    /// # struct Connection;
    /// # impl Connection {
    /// #     async fn version_of(&self, _: u64) -> std::io::Result<Option<u64>> { Ok(Some(1)) }
    /// #     async fn report(&self, _: u64) -> std::io::Result<Option<(u64, String)>> { Ok(Some((1, "long".into()))) }
    /// # }
    /// /// Long reports, each with the version of its row.
    /// struct Reports(Connection);
    ///
    /// impl Loader<u64, (u64, String)> for Reports {
    ///     type Error = std::io::Error;
    ///
    ///     async fn load(&self, id: &u64, _cx: &LoadCx) -> std::io::Result<Option<(u64, String)>> {
    ///         self.0.report(*id).await
    ///     }
    ///
    ///     fn reloads(&self) -> bool {
    ///         true
    ///     }
    ///
    ///     async fn reload(
    ///         &self,
    ///         id: &u64,
    ///         previous: &(u64, String),
    ///         cx: &LoadCx,
    ///     ) -> std::io::Result<Reloaded<(u64, String)>> {
    ///         match self.0.version_of(*id).await? {
    ///             Some(version) if version == previous.0 => Ok(Reloaded::NotModified),
    ///             _ => Ok(self.load(id, cx).await?.into()),
    ///         }
    ///     }
    /// }
    /// ```
    ///
    /// # Errors
    /// If the database cannot be read.
    fn reload(
        &self,
        key: &K,
        previous: &V,
        cx: &LoadCx,
    ) -> impl Future<Output = Result<Reloaded<V>, Self::Error>> + Send
    where
        K: Sync,
        V: Send + Sync,
    {
        let _ = previous;
        async move { self.load(key, cx).await.map(Reloaded::Value) }
    }

    /// Returns true if [`reload`](Loader::reload) is worth a read of the store, for the value that it is given.
    ///
    /// Default: `false`.
    fn reloads(&self) -> bool {
        false
    }
}

/// The context of a load, through which a loader can report facts about the value.
///
/// A loader that reports the executed position lets a session read be served from the cache; one that reports the server
/// is safe after a change of primary. With MySQL, read both on the connection of the load, before the row:
///
/// ```
/// use cachefront::{BoxError, LoadCx, Loader, Position};
///
/// # struct Connection;
/// # impl Connection {
/// #     async fn executed(&self) -> std::io::Result<String> { Ok("3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5".into()) }
/// #     async fn server(&self) -> std::io::Result<String> { Ok("3e11fa47-71ca-11e1-9e33-c80aa9429562".into()) }
/// #     async fn name_of(&self, id: u64) -> std::io::Result<Option<String>> { Ok(Some(format!("user {id}"))) }
/// # }
/// struct Names(Connection);
///
/// impl Loader<u64, String> for Names {
///     type Error = BoxError;
///
///     async fn load(&self, id: &u64, cx: &LoadCx) -> Result<Option<String>, Self::Error> {
///         let executed = self.0.executed().await?; // SELECT @@GLOBAL.gtid_executed
///         cx.position(Position::parse_stored(&executed)?);
///         cx.origin(&self.0.server().await?); // SELECT @@GLOBAL.server_uuid
///         Ok(self.0.name_of(*id).await?)
///     }
/// }
/// ```
#[derive(Debug)]
pub struct LoadCx {
    started_at: Timestamp,
    fence: Option<Position>,
    fence_wait: Duration,
    notes: Mutex<LoadNotes>,
}

impl LoadCx {
    /// Creates a context for a load that begins at `started_at`.
    pub fn new(started_at: Timestamp) -> Self {
        Self { started_at, fence: None, fence_wait: Duration::ZERO, notes: Mutex::default() }
    }

    /// Sets the fence, and how long the loader may wait for it.
    #[must_use]
    pub fn with_fence(mut self, fence: Option<Position>, wait: Duration) -> Self {
        (self.fence, self.fence_wait) = (fence, wait);
        self
    }

    /// Returns what the server that is read must have executed before the SELECT, so that the value is kept; `None` if the cache
    /// is not [fenced](crate::CacheBuilder::fenced), or the value is not kept anyway. The loader waits for it on the connection
    /// of the load, up to [`fence_wait`](Self::fence_wait), then reports [`position`](Self::position) and reads. For MySQL,
    /// `binlog::read_fenced_position` does all but the SELECT.
    pub fn fence(&self) -> Option<&Position> {
        self.fence.as_ref()
    }

    /// Returns how long the loader waits for the [`fence`](Self::fence).
    pub fn fence_wait(&self) -> Duration {
        self.fence_wait
    }

    /// Returns the clock before the load began.
    pub fn started_at(&self) -> Timestamp {
        self.started_at
    }

    /// Reports what the server had executed *before* the value was read, on the same connection: MySQL's
    /// `@@GLOBAL.gtid_executed`. It lets this entry alone prove a session token.
    ///
    /// A loader that reads many keys one after another may report it before each: the intersection counts for all of them.
    pub fn position(&self, executed: Position) {
        self.note(|notes| {
            notes.position = Some(match notes.position.take() {
                Some(before) => before.intersection(&executed),
                None => executed,
            });
        });
    }

    /// Reports which server was read: MySQL's `@@GLOBAL.server_uuid`. A value from another server than the one whose log is
    /// followed is returned but not cached, so a loader that is still connected to a demoted primary does no harm. A loader
    /// of a replica whose values are to be cached calls [`replica`](Self::replica) instead. If several servers were read,
    /// one after another, the value is not cached either.
    pub fn origin(&self, server: &str) {
        self.note(|notes| {
            let is_another = notes.origin.as_deref().is_some_and(|before| before != server);
            if is_another {
                (notes.replica, notes.no_store) = (true, true);
            }
            notes.origin = Some(server.into());
        });
    }

    /// Reports that a replica was read, which may lag. The time of the load then does not bound staleness, and a session read
    /// takes the value only if its [`position`](Self::position) contains the token. The value is cached only if the cache
    /// declares the replica, see [`CacheBuilder::loads_from`](crate::CacheBuilder::loads_from).
    pub fn replica(&self) {
        self.note(|notes| notes.replica = true);
    }

    /// Caches this value for `ttl` instead of the cache's time to live. If it is reported several times, the shortest counts:
    /// a loader of many keys reports it for all of them, or returns it with each by [`Loader::load_each`].
    pub fn ttl(&self, ttl: Duration) {
        self.note(|notes| notes.shorten(ttl));
    }

    /// Invalidates this value together with all values that have the same tag; see
    /// [`CacheBuilder::tagged`](crate::CacheBuilder::tagged). A loader of many keys sets it for all of them. The value is returned and not cached if it has more than
    /// [`TAGS_MAX`] tags, or one that is empty or longer than [`TAG_BYTES_MAX`].
    pub fn tag(&self, tag: &str) {
        self.note(|notes| notes.tag(tag));
    }

    /// Prevents this value from being cached.
    pub fn no_store(&self) {
        self.note(|notes| notes.no_store = true);
    }

    /// Returns everything that was reported so far.
    pub fn notes(&self) -> LoadNotes {
        self.notes.lock().map(|notes| notes.clone()).unwrap_or_default()
    }

    fn note(&self, set: impl FnOnce(&mut LoadNotes)) {
        // A poisoned lock means that another note panicked half-way: only this note is lost.
        if let Ok(mut notes) = self.notes.lock() {
            set(&mut notes);
        }
    }
}

/// A closure as a [`Loader`], see [`loader_fn`].
pub struct LoaderFn<F, E> {
    load: F,
    error: PhantomData<fn() -> E>,
}

impl<F, E> fmt::Debug for LoaderFn<F, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LoaderFn")
    }
}

/// Makes a loader from a closure that takes the key by value.
///
/// ```
/// use cachefront::loader_fn;
///
/// let loader = loader_fn(|id: u64| async move { Ok::<_, std::io::Error>(Some(format!("user {id}"))) });
/// # fn is_loader(_: impl cachefront::Loader<u64, String>) {}
/// # is_loader(loader);
/// ```
pub fn loader_fn<K, V, E, F, Fut>(load: F) -> LoaderFn<F, E>
where
    F: Fn(K) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Option<V>, E>> + Send,
{
    LoaderFn { load, error: PhantomData }
}

impl<K, V, E, F, Fut> Loader<K, V> for LoaderFn<F, E>
where
    K: Clone + Send + Sync,
    E: Into<BoxError> + Send + 'static,
    F: Fn(K) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Option<V>, E>> + Send,
{
    type Error = E;

    async fn load(&self, key: &K, _cx: &LoadCx) -> Result<Option<V>, E> {
        (self.load)(key.clone()).await
    }
}

/// The result for each key of a batch load. A key that is not in it has no row.
pub(crate) type LoadedEach<K, V, E = BoxError> = HashMap<K, Result<LoadedValue<V>, E>>;

/// The object-safe form of [`Loader`], so that a cache has only two type parameters.
#[async_trait]
pub(crate) trait DynLoader<K, V>: Send + Sync {
    async fn load(&self, key: &K, cx: &LoadCx) -> Result<Option<V>, BoxError>;
    async fn load_each(&self, keys: &[K], cx: &LoadCx) -> Result<LoadedEach<K, V>, BoxError>;
    async fn reload(&self, key: &K, previous: &V, cx: &LoadCx) -> Result<Reloaded<V>, BoxError>;
    fn reloads(&self) -> bool;
    async fn executed(&self, cx: &LoadCx) -> Result<Option<Position>, BoxError>;
}

#[async_trait]
impl<K, V, L> DynLoader<K, V> for L
where
    K: Clone + Eq + Hash + Send + Sync,
    V: Send + Sync,
    L: Loader<K, V>,
{
    async fn load(&self, key: &K, cx: &LoadCx) -> Result<Option<V>, BoxError> {
        Loader::load(self, key, cx).await.map_err(Into::into)
    }

    async fn load_each(&self, keys: &[K], cx: &LoadCx) -> Result<LoadedEach<K, V>, BoxError> {
        let values = Loader::load_each(self, keys, cx).await.map_err(Into::into)?;
        Ok(values.into_iter().map(|(key, value)| (key, value.map_err(Into::into))).collect())
    }

    async fn reload(&self, key: &K, previous: &V, cx: &LoadCx) -> Result<Reloaded<V>, BoxError> {
        Loader::reload(self, key, previous, cx).await.map_err(Into::into)
    }

    fn reloads(&self) -> bool {
        Loader::reloads(self)
    }

    async fn executed(&self, cx: &LoadCx) -> Result<Option<Position>, BoxError> {
        Loader::executed(self, cx).await.map_err(Into::into)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reported(executed: &[&str]) -> Position {
        let cx = LoadCx::new(Timestamp::UNKNOWN);
        for text in executed {
            cx.position(text.parse().expect("a position"));
        }
        cx.notes().position.expect("a position was reported")
    }

    #[test]
    fn several_positions_are_intersected() {
        assert_eq!(reported(&["a:1-5"]).to_string(), "a:1-5");
        assert_eq!(
            reported(&["a:1-5", "a:1-9", "a:1-7"]).to_string(),
            "a:1-5",
            "the first key was read before the others"
        );
        assert_eq!(reported(&["a:1-5:8-9,b:1-2", "a:2-8,c:1"]).to_string(), "a:2-5:8");
    }

    #[test]
    fn a_value_from_several_servers_is_neither_cached_nor_proven() {
        let cx = LoadCx::new(Timestamp::UNKNOWN);
        cx.origin("a");
        cx.origin("a");
        assert!(!cx.notes().no_store && !cx.notes().replica);
        cx.origin("b");
        assert!(cx.notes().no_store && cx.notes().replica);
    }
}
