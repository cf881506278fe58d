//! The keys in the shared store, as one list that all tabs share.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use simulator_model::backend::StoreAdmin;
use simulator_model::caches::BY_EMAIL;
use tokio::sync::Mutex;
use tokio::time::Instant;

/// Maximum number of listed keys: more than a person pages through. A search covers only these.
pub(super) const LISTED_MAX: usize = 10_000;

/// How long all tabs share a list: the store's server has to scan all its keys for a new one.
const LIST_SHARED: Duration = Duration::from_secs(1);

/// A key of one of the two caches. Ids come first, in their order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Key {
    Id(u64),
    Email(String),
}

impl Key {
    /// Returns `None` if the key belongs to neither cache.
    pub(super) fn of(text: &str) -> Option<Self> {
        match text.split_once(':')? {
            ("users", id) => id.parse().ok().map(Self::Id),
            (BY_EMAIL, email) => Some(Self::Email(email.to_owned())),
            _ => None,
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => write!(f, "users:{id}"),
            Self::Email(email) => write!(f, "{BY_EMAIL}:{email}"),
        }
    }
}

/// What the store holds.
#[derive(Debug)]
pub(super) struct Listed {
    pub(super) keys: BTreeSet<Key>,
    /// False if the store may hold more: the number of keys that are read is bounded, those of other caches included.
    pub(super) whole: bool,
}

/// The list that tabs share.
#[derive(Debug, Default)]
pub(super) struct Listing(Mutex<Option<(Instant, Arc<Listed>)>>);

impl Listing {
    /// Returns the keys that the store holds, `None` if they cannot be listed.
    pub(super) async fn keys(&self, store: &StoreAdmin) -> Option<Arc<Listed>> {
        let mut kept = self.0.lock().await;
        if let Some((at, listed)) = &*kept
            && at.elapsed() < LIST_SHARED
        {
            return Some(Arc::clone(listed));
        }
        *kept = None;
        let listed = store.list(LISTED_MAX).await.ok()?;
        let keys = listed.iter().filter_map(|text| Key::of(text)).collect();
        let listed = Arc::new(Listed { keys, whole: listed.len() < LISTED_MAX });
        *kept = Some((Instant::now(), Arc::clone(&listed)));
        Some(listed)
    }

    /// Makes the next list a new one.
    pub(super) async fn forget(&self) {
        *self.0.lock().await = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_listed_in_the_order_of_their_ids() {
        let texts = ["users_by_email:a:b@x", "users:10", "users:9"];
        let mut keys: Vec<Key> = texts.iter().filter_map(|text| Key::of(text)).collect();
        keys.sort();
        assert_eq!(keys.iter().map(ToString::to_string).collect::<Vec<_>>(), [texts[2], texts[1], texts[0]]);
        assert!([Key::of("users:x"), Key::of("pipeline:probe"), Key::of("users")].iter().all(Option::is_none));
    }
}
