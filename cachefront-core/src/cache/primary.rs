//! Whether a loaded value comes from the server whose log is followed ("Loader's server").

use std::sync::Arc;

use crate::cache::shared::SharedTier;
use crate::key::StoreKey;
use crate::loader::LoadNotes;
use crate::mode::InvalidationMode;
use crate::store::Meta;

impl<V: Send + Sync + 'static> SharedTier<V> {
    /// Returns true if the loader read the server whose log is followed, as far as it says. Where no log is followed,
    /// every server counts as the primary.
    pub(super) fn is_primary(&self, notes: &LoadNotes) -> bool {
        let by_age = self.mode() == InvalidationMode::Ttl;
        !notes.replica && (by_age || !notes.is_elsewhere(&self.log_origin.load()))
    }

    /// Returns true if a value with these notes is known to come from the server that commits, and to lack what its position
    /// lacks. An empty position claims nothing: the commits are there, and their visibility was not waited for.
    pub(super) fn is_final(&self, notes: &LoadNotes) -> bool {
        let known = self.mode() == InvalidationMode::Cdc && !self.log_origin.load().is_empty();
        let claims = notes.position.as_ref().is_none_or(|position| !position.is_empty());
        known && claims && notes.origin.is_some() && self.is_primary(notes)
    }

    /// Reads which server's log is followed, for a value that says from which server it is, and that was loaded without a read
    /// of the store. What a store that cannot be reached said last stays: its outage fails no read.
    pub(super) async fn learn_origin(&self, notes: &LoadNotes) {
        if notes.origin.is_none() || self.mode() != InvalidationMode::Cdc {
            return;
        }
        // Any key of the cache will do: no entry has this one.
        let Ok(key) = StoreKey::of_tag(&self.cache, "") else { return };
        if let Some(reading) = self.guarded("get", self.store.get(&key)).await {
            self.note_origin(reading.meta.as_deref());
        }
    }

    /// Remembers which server's log is followed.
    pub(super) fn note_origin(&self, meta: Option<&Meta>) {
        if let Some(meta) = meta.filter(|meta| meta.origin != **self.log_origin.load()) {
            self.log_origin.store(Arc::new(meta.origin.clone()));
        }
    }
}
