//! A store that is slow or cannot be reached, for readers, the invalidator and the bus.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use cachefront::store::{LayeredStore, Operation, Store, StoreLayer};
use cachefront::{Error, ErrorKind, Result};

use super::switches::Faults;

/// A client gives up after this time, as the Redis client does by default: one limit for readers, one for the
/// invalidator.
const READER_PATIENCE: Duration = Duration::from_secs(1);
const WRITER_PATIENCE: Duration = Duration::from_secs(5);

/// The switches, between the real store and all of its users.
#[derive(Debug)]
pub struct StoreFaults(Arc<Faults>);

impl StoreFaults {
    /// Wraps a store.
    pub fn around(store: Arc<dyn Store>, faults: &Arc<Faults>) -> LayeredStore<Self> {
        LayeredStore::around_shared(store, Self(Arc::clone(faults)))
    }

    /// Applies the faults of the network between a client and the store.
    async fn pass(&self, patience: Duration) -> Result<()> {
        let state = self.0.current();
        if state.store_cut {
            return Err(Error::new(ErrorKind::Unavailable, "the store is cut off by the fault switch store_cut"));
        }
        let delay = Duration::from_millis(state.store_delay_ms);
        if delay.is_zero() {
            return Ok(());
        }
        tokio::time::sleep(delay.min(patience)).await;
        match delay > patience {
            true => Err(Error::new(ErrorKind::Timeout, "the store is delayed by the fault switch store_delay_ms")),
            false => Ok(()),
        }
    }
}

impl StoreLayer for StoreFaults {
    async fn around<T: Send>(&self, operation: Operation, call: impl Future<Output = Result<T>> + Send) -> Result<T> {
        if operation == Operation::Receive {
            // Applied before messages are taken, so that a caller that gives up loses none.
            self.pass(WRITER_PATIENCE).await?;
            let mut switches = self.0.watch();
            return tokio::select! {
                biased;
                _ = switches.wait_for(|state| state.store_cut) => {
                    Err(Error::new(ErrorKind::Unavailable, "the bus is cut off by the fault switch store_cut"))
                }
                messages = call => messages,
            };
        }
        match operation.is_of_writer() {
            true => {
                // A paused consumer does nothing. Cannot fail: the watch ends with its sender, which is borrowed here.
                let _ = self.0.watch().wait_for(|state| !state.pause_consumer).await;
                self.pass(WRITER_PATIENCE).await?;
            }
            false => self.pass(READER_PATIENCE).await?,
        }
        call.await
    }
}
