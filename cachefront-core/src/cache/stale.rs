//! Stale values instead of errors, on request: a plain read whose load fails, or takes long, is served the last value that
//! this process had, although it may have been invalidated ("Stale if error").
//!
//! The process-local tier keeps an invalidated value until it is replaced or evicted; this file alone reads such values. They
//! are never a proof: a session or bounded read is never served one, and its [`Hit`] claims no position and no bound.

use std::hash::Hash;

use crate::cache::hit::{Hit, Tier, age};
use crate::cache::inner::Inner;
use crate::cache::observer::ReadOutcome;
use crate::cache::read::{JoinOutcome, Read};
use crate::clock::Timestamp;
use crate::error::{Error, ErrorKind, Result};
use crate::key::CacheKey;

/// Number of keys whose last failure is remembered. A key that is forgotten is loaded again by its next read.
pub(super) const FAILURES_MAX: usize = 4_096;

impl<K, V> Inner<K, V>
where
    K: CacheKey + Clone + Eq + Hash + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// Runs a load, or returns the stale value that replaces it: at once if a load of the key failed a moment ago, after the
    /// soft timeout if the load is slow, and if it fails.
    ///
    /// # Errors
    /// Those of the load, if there is no stale value that may be served.
    pub(super) async fn or_stale(
        &self,
        read: &Read<'_, K>,
        load: impl Future<Output = Result<JoinOutcome<V>>>,
    ) -> Result<JoinOutcome<V>> {
        let load = self.within_hard_timeout(load);
        let Some(stale) = self.stale_value(read) else { return load.await };
        let now = self.clock.now();
        if self.is_throttled(&read.key, now) {
            return Ok(JoinOutcome::Hit(self.serve_stale(&read.key, stale)));
        }
        let soft_timeout = self.settings.load_soft_timeout;
        let loaded = if soft_timeout.is_zero() {
            load.await
        } else {
            tokio::select! {
                biased;
                loaded = load => loaded,
                () = self.clock.sleep(soft_timeout) => return Ok(JoinOutcome::Hit(self.serve_stale(&read.key, stale))),
            }
        };
        match loaded {
            Err(error) if is_load_failure(&error) => {
                let retry_at = self.clock.now().after(self.settings.stale_if_error_throttle);
                if let Some(failures) = &self.failures {
                    failures.insert(read.key.clone(), retry_at);
                }
                if let Some(withheld) = self.shared.logs.stale.pass(now) {
                    tracing::warn!(cache = %self.shared.cache, error = %error.chain(), withheld, "a load failed; a stale value is served");
                }
                Ok(JoinOutcome::Hit(self.serve_stale(&read.key, stale)))
            }
            loaded => loaded,
        }
    }

    /// Waits for a load, but not longer than the hard timeout. A load in a task of its own goes on.
    pub(super) async fn within_hard_timeout<T>(&self, load: impl Future<Output = Result<T>>) -> Result<T> {
        let hard_timeout = self.settings.load_hard_timeout;
        if hard_timeout.is_zero() {
            return load.await;
        }
        tokio::select! {
            biased;
            loaded = load => loaded,
            () = self.clock.sleep(hard_timeout) => Err(Error::new(
                ErrorKind::Timeout,
                format!("a read of cache `{}` has waited {hard_timeout:?} for its load", self.shared.cache),
            )),
        }
    }

    /// Returns the last value that this process had, if this read may be served it.
    fn stale_value(&self, read: &Read<'_, K>) -> Option<Hit<V>> {
        let allowed = self.settings.stale_if_error;
        if allowed.is_zero() || !read.level.is_eventual() {
            return None;
        }
        let (value, filled_at) = self.local.as_ref()?.last(&read.key)?;
        let age = age(filled_at, self.clock.now()).filter(|age| *age <= allowed)?;
        Some(Hit { age: Some(age), stale: true, ..Hit::plain(value, Tier::Local) })
    }

    /// Returns the stale value that this read is served without a load: one of its key failed a moment ago.
    pub(super) fn throttled(&self, read: &Read<'_, K>) -> Option<Hit<V>> {
        if !self.is_throttled(&read.key, self.clock.now()) {
            return None;
        }
        self.stale_value(read).map(|stale| self.serve_stale(&read.key, stale))
    }

    /// Returns true if a load of the key failed a moment ago. A clock that was set back ends that.
    fn is_throttled(&self, key: &K, now: Timestamp) -> bool {
        let retry_at = self.failures.as_ref().and_then(|failures| failures.get(key));
        retry_at.is_some_and(|retry_at| now < retry_at && retry_at.since(now) <= self.settings.stale_if_error_throttle)
    }

    fn serve_stale(&self, key: &K, stale: Hit<V>) -> Hit<V> {
        self.note_read(key, ReadOutcome::Stale);
        stale
    }
}

/// Returns true if the database could not be read: the failures that a stale value may replace.
fn is_load_failure(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Load | ErrorKind::Timeout | ErrorKind::Overloaded | ErrorKind::Unavailable)
}
