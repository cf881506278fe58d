//! What a load is to do, and which loader it runs.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use crate::cache::epochs::Ticket;
use crate::clock::Timestamp;
use crate::error::{BoxError, Result};
use crate::key::StoreKey;
use crate::loader::LoadCx;

type LoadFuture<V> = Pin<Box<dyn Future<Output = Result<Option<V>, BoxError>> + Send>>;

type LoadOnce<V> = Box<dyn FnOnce(Arc<LoadCx>) -> LoadFuture<V> + Send>;

/// Which loader a load runs.
pub(super) enum Work<V> {
    /// The cache's loader.
    Registered,
    /// A loader for one call, until a load has run it; from then on the cache's loader.
    Once(Arc<Mutex<Option<LoadOnce<V>>>>),
}

impl<V> Work<V> {
    pub(super) fn once<F, Fut, E>(load: F) -> Self
    where
        F: FnOnce(Arc<LoadCx>) -> Fut + Send + 'static,
        Fut: Future<Output = Result<Option<V>, E>> + Send + 'static,
        E: Into<BoxError>,
    {
        let once: LoadOnce<V> = Box::new(|cx| {
            let load = load(cx);
            Box::pin(async move { load.await.map_err(Into::into) })
        });
        Self::Once(Arc::new(Mutex::new(Some(once))))
    }

    /// Returns the same work, for a load in a task of its own. A loader for one call stays available to the reader until
    /// the load runs it: the load may find that another process has filled the key.
    pub(super) fn share(&self) -> Self {
        match self {
            Self::Registered => Self::Registered,
            Self::Once(once) => Self::Once(Arc::clone(once)),
        }
    }

    /// Takes the loader for one call, if there is one that has not run.
    pub(super) fn take_once(&self) -> Option<LoadOnce<V>> {
        match self {
            Self::Registered => None,
            // No code panics while it holds the lock.
            Self::Once(once) => once.lock().unwrap_or_else(PoisonError::into_inner).take(),
        }
    }

    /// Returns true if there is a loader for one call that has not run.
    pub(super) fn has_once(&self) -> bool {
        match self {
            Self::Registered => false,
            Self::Once(once) => once.lock().unwrap_or_else(PoisonError::into_inner).is_some(),
        }
    }
}

/// Why a load runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// There is no value that may be served. A value that another process fills meanwhile will do.
    Miss,
    /// The store's value does not satisfy a read: load even if it is valid.
    Reload,
    /// A tag of the store's value was invalidated: load even if the store, which does not know tags, takes it for valid. A value
    /// that another process fills meanwhile will do.
    Retag,
    /// The store's value is served, and its time to live ends: load, unless another process does.
    Refresh,
}

impl Purpose {
    /// Returns the purpose as one word, for spans.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Miss => "miss",
            Self::Reload => "reload",
            Self::Retag => "retag",
            Self::Refresh => "refresh",
        }
    }

    /// Returns the purpose of a read that has found a value of which a tag was invalidated.
    pub(super) fn or_retag(self) -> Self {
        if self == Self::Miss { Self::Retag } else { self }
    }
}

/// What a single-flight load is to do.
pub(super) struct LoadPlan {
    pub(super) store_key: StoreKey,
    /// Present if the value may be put into the process-local tier.
    pub(super) ticket: Option<Ticket>,
    pub(super) purpose: Purpose,
    /// Until when the value that a refresh replaces is served; unknown for without end, and for other loads.
    pub(super) served_until: Timestamp,
}
