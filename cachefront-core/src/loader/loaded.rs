//! What a loader may decide about a value, and what it may return instead of one.

use std::time::Duration;

use crate::loader::notes::LoadNotes;

/// A value of [`Loader::load_each`](crate::Loader::load_each), with what the loader decides about it alone: it comes on top of
/// what [`LoadCx`](crate::LoadCx) says about all values of the load.
///
/// ```
/// use std::time::Duration;
/// use cachefront::LoadedValue;
///
/// let price = LoadedValue::from(Some(1_999)).ttl(Duration::from_secs(5)).tag("prices");
/// assert_eq!(price.value(), Some(&1_999));
/// let absent = LoadedValue::<u64>::from(None).no_store();
/// assert_eq!(absent.value(), None);
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct LoadedValue<V> {
    value: Option<V>,
    own: LoadNotes,
}

impl<V> From<Option<V>> for LoadedValue<V> {
    fn from(value: Option<V>) -> Self {
        Self { value, own: LoadNotes::default() }
    }
}

impl<V> LoadedValue<V> {
    /// Caches this value for at most `ttl`.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.own.shorten(ttl);
        self
    }

    /// Invalidates this value with `tag`; see [`LoadCx::tag`](crate::LoadCx::tag).
    pub fn tag(mut self, tag: &str) -> Self {
        self.own.tag(tag);
        self
    }

    /// Prevents this value from being cached.
    pub fn no_store(mut self) -> Self {
        self.own.no_store = true;
        self
    }

    /// Returns the value; `None` if the database has no such row.
    pub fn value(&self) -> Option<&V> {
        self.value.as_ref()
    }

    /// Splits the value from what was decided about it.
    pub(crate) fn into_parts(self) -> (Option<V>, LoadNotes) {
        (self.value, self.own)
    }
}

/// What [`Loader::reload`](crate::Loader::reload) returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reloaded<V> {
    /// The database still has the value that the loader was given.
    NotModified,
    /// The database has this value; `None` if it has no such row any more.
    Value(Option<V>),
}

impl<V> From<Option<V>> for Reloaded<V> {
    fn from(value: Option<V>) -> Self {
        Self::Value(value)
    }
}
