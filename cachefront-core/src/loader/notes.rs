//! What a loader reports about a value.

use std::time::Duration;

use crate::position::Position;

/// Maximum number of tags of a value. A value with more is returned and not cached.
pub const TAGS_MAX: usize = 16;

/// Maximum length of a tag, in bytes. A value with a longer one is returned and not cached.
pub const TAG_BYTES_MAX: usize = 128;

/// The facts that a loader reported about a value.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct LoadNotes {
    /// What the server had executed before the read.
    pub position: Option<Position>,
    /// Which server was read.
    pub origin: Option<Box<str>>,
    /// How long this value may be cached.
    pub ttl: Option<Duration>,
    /// A replica was read: the time of the load does not bound staleness.
    pub replica: bool,
    /// The value must not be cached.
    pub no_store: bool,
    /// The value is invalidated with each of these tags, of which no two are equal.
    pub tags: Vec<Box<str>>,
    /// The value has more tags than it can carry, or one that no value can have: it must not be cached.
    pub tags_refused: bool,
}

impl LoadNotes {
    /// Returns true if the value comes from another server than the one whose log is followed, as far as both are known:
    /// after a change of primary, such a value is not cached ("Loader's server").
    pub(crate) fn is_elsewhere(&self, log_origin: &str) -> bool {
        self.origin.as_ref().is_some_and(|origin| !log_origin.is_empty() && **origin != *log_origin)
    }

    /// Sets the time to live, of which the shortest counts: a load of many keys may report several.
    pub(crate) fn shorten(&mut self, ttl: Duration) {
        self.ttl = Some(self.ttl.map_or(ttl, |before| before.min(ttl)));
    }

    /// Adds a tag. A value that cannot carry all of its tags must not be cached, because an invalidation would miss it.
    pub(crate) fn tag(&mut self, tag: &str) {
        if self.tags.iter().any(|known| **known == *tag) {
            return;
        }
        if self.tags.len() == TAGS_MAX || tag.is_empty() || tag.len() > TAG_BYTES_MAX {
            (self.no_store, self.tags_refused) = (true, true);
            return;
        }
        self.tags.push(tag.into());
    }

    /// Adds what was decided about one value to what was reported about all values of its load.
    pub(crate) fn add_own(&mut self, own: &Self) {
        if let Some(ttl) = own.ttl {
            self.shorten(ttl);
        }
        self.no_store |= own.no_store;
        self.tags_refused |= own.tags_refused;
        own.tags.iter().for_each(|tag| self.tag(tag));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_that_cannot_carry_its_tags_is_not_cached() {
        let mut notes = LoadNotes::default();
        (0..TAGS_MAX).for_each(|number| notes.tag(&format!("tag {number}")));
        notes.tag("tag 3");
        assert_eq!((notes.tags.len(), notes.no_store), (TAGS_MAX, false));
        notes.tag("one more");
        assert!(notes.no_store && notes.tags_refused);
        for (tag, fits) in
            [("x".repeat(TAG_BYTES_MAX), true), ("x".repeat(TAG_BYTES_MAX + 1), false), (String::new(), false)]
        {
            let mut notes = LoadNotes::default();
            notes.tag(&tag);
            assert_eq!(!notes.no_store, fits, "{} bytes", tag.len());
        }
    }

    #[test]
    fn what_is_said_of_one_value_is_added_to_what_is_said_of_all() {
        let mut all = LoadNotes { tags: vec!["a".into()], ttl: Some(Duration::from_secs(9)), ..LoadNotes::default() };
        let own =
            LoadNotes { tags: vec!["b".into(), "a".into()], ttl: Some(Duration::from_secs(5)), ..LoadNotes::default() };
        all.add_own(&own);
        assert_eq!(
            (&*all.tags, all.ttl, all.no_store),
            (&["a".into(), "b".into()][..], Some(Duration::from_secs(5)), false)
        );
        all.add_own(&LoadNotes { ttl: Some(Duration::from_secs(7)), no_store: true, ..LoadNotes::default() });
        assert_eq!((all.ttl, all.no_store), (Some(Duration::from_secs(5)), true));
    }
}
