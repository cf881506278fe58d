//! A limit on how many places each key holds at the same time.

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Hands out at most a number of places at the same time to each key. Keys that hold none are not remembered. Clones share the
/// places.
#[derive(Clone)]
pub struct Quota<K: Clone + Eq + Hash> {
    held: Arc<Mutex<HashMap<K, usize>>>,
    max: usize,
}

impl<K: Clone + Eq + Hash> Quota<K> {
    /// Allows each key `max` places.
    pub fn new(max: usize) -> Self {
        Self { held: Arc::default(), max }
    }

    /// Takes a place, which is free again when it is dropped. Returns `None` if the key holds its maximum.
    pub fn take(&self, key: K) -> Option<Place<K>> {
        let mut held = self.held();
        let count = held.get(&key).copied().unwrap_or_default();
        if count >= self.max {
            return None;
        }
        held.insert(key.clone(), count + 1);
        drop(held);
        Some(Place { quota: self.clone(), key })
    }

    fn give_back(&self, key: &K) {
        let mut held = self.held();
        if let Some(count) = held.get_mut(key) {
            *count -= 1;
            if *count == 0 {
                held.remove(key);
            }
        }
    }

    /// No code panics while it holds the lock.
    fn held(&self) -> MutexGuard<'_, HashMap<K, usize>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place of a key, until it is dropped.
pub struct Place<K: Clone + Eq + Hash> {
    quota: Quota<K>,
    key: K,
}

impl<K: Clone + Eq + Hash> Drop for Place<K> {
    fn drop(&mut self) {
        self.quota.give_back(&self.key);
    }
}

impl<K: Clone + Eq + Hash> fmt::Debug for Quota<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Quota").field("keys", &self.held().len()).field("max", &self.max).finish()
    }
}

impl<K: Clone + Eq + Hash> fmt::Debug for Place<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Place")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_at_its_maximum_takes_nothing_from_another() {
        let quota = Quota::new(2);
        let (first, second) = (quota.take("one"), quota.take("one"));
        assert!(first.is_some() && second.is_some() && quota.take("one").is_none());
        assert!(quota.take("other").is_some());
        drop(first);
        assert!(quota.take("one").is_some());
        drop(second);
        assert!(quota.held().is_empty(), "{quota:?}");
    }
}
