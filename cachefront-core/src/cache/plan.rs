//! What a load is to do, and which loader it runs.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use crate::cache::epochs::Ticket;
use crate::error::{BoxError, Result};
use crate::key::StoreKey;
use crate::loader::LoadCx;

type LoadFuture<V> = Pin<Box<dyn Future<Output = Result<Option<V>, BoxError>> + Send>>;

/// Which loader a load runs.
pub(super) enum Work<V> {
    /// The cache's loader.
    Registered,
    /// A loader for one call.
    Once(Box<dyn FnOnce(Arc<LoadCx>) -> LoadFuture<V> + Send>),
}

impl<V> Work<V> {
    pub(super) fn once<F, Fut, E>(load: F) -> Self
    where
        F: FnOnce(Arc<LoadCx>) -> Fut + Send + 'static,
        Fut: Future<Output = Result<Option<V>, E>> + Send + 'static,
        E: Into<BoxError>,
    {
        Self::Once(Box::new(|cx| {
            let load = load(cx);
            Box::pin(async move { load.await.map_err(Into::into) })
        }))
    }

    /// Takes the work, and leaves the cache's loader for another try.
    pub(super) fn take(&mut self) -> Self {
        std::mem::replace(self, Self::Registered)
    }
}

/// What a single-flight load is to do.
pub(super) struct LoadPlan {
    pub(super) store_key: StoreKey,
    /// Present if the value may be put into the process-local tier.
    pub(super) ticket: Option<Ticket>,
    /// Load even if the store has a valid value.
    pub(super) reload: bool,
}
