//! The tags that the values of a cache are expected to have, before they are loaded.

use std::hash::Hash;
use std::sync::Arc;

use crate::cache::caught::caught;
use crate::cache::tags::Mark;
use crate::loader::{TAG_BYTES_MAX, TAGS_MAX};

/// Number of keys whose last tags are remembered. A key that is forgotten may be loaded twice.
const REMEMBERED_MAX: usize = 16_384;

/// Returns the tags of a key, before it is loaded.
pub(super) type TagsOf<K> = Arc<dyn Fn(&K) -> Vec<String> + Send + Sync>;

/// What was known of a key's tags, or of those of several keys, before their load.
#[derive(Debug, Default)]
pub(super) struct Expected {
    pub(super) tags: Vec<Box<str>>,
    /// The marks of these tags, as far as they can be read or made.
    pub(super) marks: Vec<Mark>,
}

/// What becomes of a value that was just loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Marked {
    /// It is offered to the tiers.
    Keep,
    /// It is not stored, because it has tags that were not expected: the next load of the key has their marks.
    Later,
    /// It is not stored, and another load now would not be either.
    Never,
}

/// A cache's tags.
pub(super) struct Tags<K> {
    of: Option<TagsOf<K>>,
    /// The tags of each key's last load.
    last: quick_cache::sync::Cache<K, Arc<[Box<str>]>>,
}

impl<K: Clone + Eq + Hash> Tags<K> {
    pub(super) fn new(of: Option<TagsOf<K>>) -> Self {
        Self { of, last: quick_cache::sync::Cache::new(REMEMBERED_MAX) }
    }

    /// Returns the tags that the key has whatever its value is; `None` if they are not known, because `tags_of` panics. A tag that is
    /// too long is kept, so that the value is not stored.
    fn fixed(&self, key: &K) -> Option<Vec<Box<str>>> {
        let Some(of) = &self.of else { return Some(Vec::new()) };
        let mut tags = caught("`tags_of`", || Ok(of(key))).ok()?;
        tags.sort();
        tags.dedup();
        Some(tags.into_iter().map(Into::into).collect())
    }

    /// Returns the tags that the key is expected to have.
    pub(super) fn expected(&self, key: &K) -> Vec<Box<str>> {
        let mut tags = self.fixed(key).unwrap_or_default();
        if let Some(last) = self.last.get(key) {
            let others: Vec<_> = last.iter().filter(|tag| !tags.contains(tag)).cloned().collect();
            tags.extend(others);
        }
        tags.retain(|tag| is_usable(tag));
        tags
    }

    /// Returns the tags of a value that was just loaded, and remembers them; `None` if it cannot carry all of them.
    pub(super) fn of_loaded(&self, key: &K, reported: &[Box<str>]) -> Option<Vec<Box<str>>> {
        let mut tags = self.fixed(key)?;
        let others: Vec<_> = reported.iter().filter(|tag| !tags.contains(tag)).cloned().collect();
        tags.extend(others);
        if tags.len() > TAGS_MAX || !tags.iter().all(|tag| is_usable(tag)) {
            return None;
        }
        self.last.insert(key.clone(), tags.as_slice().into());
        Some(tags)
    }
}

/// Returns true if a value may have this tag.
pub(super) fn is_usable(tag: &str) -> bool {
    !tag.is_empty() && tag.len() <= TAG_BYTES_MAX
}
