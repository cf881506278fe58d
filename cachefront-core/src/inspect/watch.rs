//! A cache under inspection, and its form without type parameters.

use std::any::Any;
use std::collections::HashSet;
use std::fmt;
use std::future::Future;
use std::hash::Hash;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::cache::{Cache, EntryId, Hit};
use crate::error::{BoxError, Error, ErrorKind, Result};
use crate::event::RowChange;
use crate::filter::TableFilter;
use crate::key::{CacheKey, StoreKey};
use crate::keymap::KeyMap;
use crate::loader::{DynLoader, LoadCx, LoadNotes, Loader};
use crate::mode::InvalidationMode;
use crate::position::Position;

/// How often an entry that is replaced while its row is read is compared again, at most.
pub(super) const PEEKS_MAX: usize = 32;

type Keys<K> = Pin<Box<dyn Future<Output = Result<Vec<K>>> + Send>>;
type Sampler<K> = Arc<dyn Fn(usize) -> Keys<K> + Send + Sync>;

/// A cache that an [`Inspector`](crate::Inspector) watches: where its values come from, and which keys a pass checks.
///
/// A clone is the same watch. See [`Inspector`](crate::Inspector) for an example.
#[must_use]
pub struct Watch<K, V> {
    cache: Cache<K, V>,
    loader: Option<Arc<dyn DynLoader<K, V>>>,
    sampler: Option<Sampler<K>>,
}

/// An entry next to the value that its loader returns; see [`Watch::compare`].
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Comparison<V> {
    /// What a plain read would be served without loading; `None` if it would load.
    pub cached: Option<Hit<V>>,
    /// What the loader returned; `None` if there is no such row.
    pub loaded: Option<V>,
}

impl<V: PartialEq> Comparison<V> {
    /// Returns true if there is an entry, and it differs from the loaded value.
    pub fn differs(&self) -> bool {
        self.cached.as_ref().is_some_and(|hit| hit.value != self.loaded)
    }
}

impl<K, V> Watch<K, V>
where
    K: CacheKey + Clone + Eq + Hash + Send + Sync + 'static,
    V: Clone + PartialEq + Send + Sync + 'static,
{
    /// Watches a cache. Its values are compared with those of the cache's own loader.
    pub fn new(cache: &Cache<K, V>) -> Self {
        Self { cache: cache.clone(), loader: cache.loader(), sampler: None }
    }

    /// Sets the loader whose values are the truth, for example one that reads the primary. Default: the cache's own.
    ///
    /// A pass compares with what this loader returns: one that reads a replica finds no entry stale that is as old as the replica.
    pub fn loader(mut self, loader: impl Loader<K, V>) -> Self {
        self.loader = Some(Arc::new(loader));
        self
    }

    /// Sets which keys a pass checks: `keys` is called once for each pass with the maximum number of keys, and should return
    /// another part of them each time. Keys that were cached at the pass before are checked in addition.
    ///
    /// Default: none; then only keys of changes are checked, if a log is followed.
    pub fn sample<F, Fut>(mut self, keys: F) -> Self
    where
        F: Fn(usize) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Vec<K>>> + Send + 'static,
    {
        self.sampler = Some(Arc::new(move |max| Box::pin(keys(max))));
        self
    }

    /// Compares one entry with its loader's value, again if the entry was replaced in the meantime: what differs was the same
    /// entry before and after the load. An invalidation may be in progress; only a pass tells whether one is missing.
    ///
    /// # Errors
    /// `Load` if the loader failed; else those of the store.
    ///
    /// # Cancel safety
    /// Cancel safe: it only reads.
    pub async fn compare(&self, key: &K) -> Result<Comparison<V>> {
        let mut before = self.cache.inspect(key).await?;
        let mut loaded = self.load_with_notes(key).await?.0;
        for _ in 0..PEEKS_MAX {
            match before {
                None => return Ok(Comparison { cached: None, loaded }),
                Some(entry) if entry.hit.value == loaded => {
                    return Ok(Comparison { cached: Some(entry.hit), loaded });
                }
                Some(entry) => {
                    let after = self.cache.inspect(key).await?;
                    if after.as_ref().is_some_and(|after| after.id == entry.id) {
                        return Ok(Comparison { cached: Some(entry.hit), loaded });
                    }
                    before = after;
                    loaded = self.load_with_notes(key).await?.0;
                }
            }
        }
        // It was replaced at every peek: no entry lived long enough to be called stale.
        Ok(Comparison { cached: None, loaded })
    }

    async fn load_with_notes(&self, key: &K) -> Result<(Option<V>, LoadNotes)> {
        let loader = self.required_loader()?;
        let cx = LoadCx::new(self.cache.clock().now());
        let value = loader.load(key, &cx).await.map_err(|error| self.failed(error))?;
        Ok((value, cx.notes()))
    }

    fn required_loader(&self) -> Result<&Arc<dyn DynLoader<K, V>>> {
        self.loader.as_ref().ok_or_else(|| {
            let message = format!("cache `{}` has no loader to compare its entries with: set one", self.cache.name());
            Error::new(ErrorKind::Config, message)
        })
    }

    fn failed(&self, error: BoxError) -> Error {
        let message = format!("the inspector cannot load a value of cache `{}`", self.cache.name());
        Error::with_source(ErrorKind::Load, message, error)
    }

    fn subject(&self, key: K) -> Result<Option<Subject>> {
        let encoded = StoreKey::encode_short(self.cache.name(), &key)?;
        Ok(encoded.map(|encoded| Subject { key: encoded, typed: Arc::new(key) }))
    }
}

impl<K, V> Clone for Watch<K, V> {
    fn clone(&self) -> Self {
        Self { cache: self.cache.clone(), loader: self.loader.clone(), sampler: self.sampler.clone() }
    }
}

impl<K, V> fmt::Debug for Watch<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").field("cache", &self.cache).finish_non_exhaustive()
    }
}

/// A value of any cache: an `Option<V>`.
pub(super) type AnyValue = Arc<dyn Any + Send + Sync>;

/// A key of any cache, in its stored form and in its own.
#[derive(Clone)]
pub(super) struct Subject {
    pub(super) key: StoreKey,
    typed: Arc<dyn Any + Send + Sync>,
}

#[cfg(test)]
impl Subject {
    pub(super) fn of(key: StoreKey) -> Self {
        Self { key, typed: Arc::new(()) }
    }
}

impl fmt::Debug for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.key.fmt(f)
    }
}

/// The keys that a change makes stale.
pub(super) struct Named {
    pub(super) subjects: Vec<Subject>,
    /// False if the change makes others stale too, which it does not name: those with one of its tags.
    pub(super) complete: bool,
}

/// An entry of any cache.
#[derive(Clone)]
pub(super) struct Entry {
    pub(super) id: EntryId,
    pub(super) value: AnyValue,
    pub(super) loaded: Option<Position>,
    pub(super) applied: Option<Position>,
    pub(super) ttl: Option<Duration>,
}

/// What a loader returned, for any cache.
pub(super) struct Row {
    pub(super) value: AnyValue,
    /// What the loader's server had executed before the read.
    pub(super) position: Option<Position>,
    /// A replica was read, which may lag.
    pub(super) replica: bool,
}

/// A [`Watch`] of any cache. Most calls run the user's code, which may panic: see [`Guarded`](crate::inspect::guarded::Guarded).
#[async_trait]
pub(super) trait Watched: Send + Sync {
    fn cache(&self) -> &str;
    fn mode(&self) -> InvalidationMode;
    fn has_loader(&self) -> bool;
    fn table_filter(&self) -> TableFilter;
    /// Returns the keys that a change makes stale.
    fn keys(&self, change: &RowChange) -> Result<Named>;
    /// Returns keys to check, at most `max`.
    async fn sample(&self, max: usize) -> Result<Vec<Subject>>;
    async fn peek(&self, subject: &Subject) -> Result<Option<Entry>>;
    async fn load(&self, subject: &Subject) -> Result<Row>;
    /// Returns those of the entries that equal their rows, in one load of many.
    async fn equal_ones(&self, entries: &[(Subject, Entry)]) -> Result<Vec<bool>>;
    fn is_equal(&self, one: &AnyValue, other: &AnyValue) -> Result<bool>;
    async fn invalidate(&self, subject: &Subject) -> Result<()>;
}

#[async_trait]
impl<K, V> Watched for Watch<K, V>
where
    K: CacheKey + Clone + Eq + Hash + Send + Sync + 'static,
    V: Clone + PartialEq + Send + Sync + 'static,
{
    fn cache(&self) -> &str {
        self.cache.name()
    }

    fn mode(&self) -> InvalidationMode {
        self.cache.mode()
    }

    fn has_loader(&self) -> bool {
        self.loader.is_some()
    }

    fn table_filter(&self) -> TableFilter {
        self.cache.rules().table_filter()
    }

    fn keys(&self, change: &RowChange) -> Result<Named> {
        let (mut subjects, mut named) = (Vec::new(), HashSet::new());
        for key in self.cache.rules().typed_keys::<K>(change)? {
            if let Some(subject) = self.subject(key)?
                && named.insert(subject.key.clone())
            {
                subjects.push(subject);
            }
        }
        let mut stored = Vec::new();
        self.cache.rules().keys(change, &mut stored)?;
        let complete = stored.iter().all(|key| named.contains(key));
        Ok(Named { subjects, complete })
    }

    async fn sample(&self, max: usize) -> Result<Vec<Subject>> {
        let Some(sampler) = &self.sampler else { return Ok(Vec::new()) };
        let keys = sampler(max).await?;
        keys.into_iter().take(max).filter_map(|key| self.subject(key).transpose()).collect()
    }

    async fn peek(&self, subject: &Subject) -> Result<Option<Entry>> {
        let Some(key) = subject.typed.downcast_ref::<K>() else { return Ok(None) };
        let Some(found) = self.cache.inspect(key).await? else { return Ok(None) };
        Ok(Some(Entry {
            id: found.id,
            value: Arc::new(found.hit.value),
            loaded: found.loaded,
            applied: found.applied,
            ttl: found.hit.ttl,
        }))
    }

    async fn load(&self, subject: &Subject) -> Result<Row> {
        let key = typed::<K>(subject)?;
        let (value, notes) = self.load_with_notes(key).await?;
        Ok(Row { value: Arc::new(value), position: notes.position, replica: notes.replica })
    }

    async fn equal_ones(&self, entries: &[(Subject, Entry)]) -> Result<Vec<bool>> {
        let keys = entries.iter().map(|(subject, _)| typed::<K>(subject).cloned()).collect::<Result<Vec<K>>>()?;
        let cx = LoadCx::new(self.cache.clock().now());
        let mut values = self.required_loader()?.load_each(&keys, &cx).await.map_err(|error| self.failed(error))?;
        let rows = keys.iter().map(|key| match values.remove(key) {
            Some(Ok(loaded)) => Ok(loaded.into_parts().0),
            Some(Err(error)) => Err(self.failed(error)),
            None => Ok(None),
        });
        let equal = |(row, (_, entry)): (Result<Option<V>>, &(Subject, Entry))| {
            row.map(|row| entry.value.downcast_ref::<Option<V>>().is_some_and(|value| *value == row))
        };
        rows.zip(entries).map(equal).collect()
    }

    fn is_equal(&self, one: &AnyValue, other: &AnyValue) -> Result<bool> {
        Ok(match (one.downcast_ref::<Option<V>>(), other.downcast_ref::<Option<V>>()) {
            (Some(one), Some(other)) => one == other,
            _ => false,
        })
    }

    async fn invalidate(&self, subject: &Subject) -> Result<()> {
        self.cache.invalidate(typed::<K>(subject)?).await
    }
}

/// Every subject is made by the watch of its cache, so its key has the type.
fn typed<K: 'static>(subject: &Subject) -> Result<&K> {
    subject.typed.downcast_ref::<K>().ok_or_else(|| {
        Error::new(
            ErrorKind::Config,
            format!("`{}` is watched as the key of another cache: give names once", subject.key),
        )
    })
}
