//! A store that is slow or cannot be reached, for readers, the invalidator and the bus; and a bus that is cut for one app server.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use cachefront::store::{LayeredStore, Operation, Store, StoreLayer};
use cachefront::{Error, ErrorKind, Result};

use super::switches::Faults;
use crate::server_name::ServerName;

/// A client gives up after this time, as the Redis client does by default: one limit for readers, one for the
/// invalidator.
const READER_PATIENCE: Duration = Duration::from_secs(1);
const WRITER_PATIENCE: Duration = Duration::from_secs(5);

/// The switches, between the real store and all of its users in one app server.
#[derive(Debug)]
pub struct StoreFaults {
    faults: Arc<Faults>,
    /// The server whose caches use the store.
    server: ServerName,
}

impl StoreFaults {
    /// Wraps a store for the caches of one app server.
    pub fn around(store: Arc<dyn Store>, faults: &Arc<Faults>, server: ServerName) -> LayeredStore<Self> {
        LayeredStore::around_shared(store, Self { faults: Arc::clone(faults), server })
    }

    /// Applies the faults of the network between a client and the store.
    async fn pass(&self, patience: Duration) -> Result<()> {
        let state = self.faults.current();
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

    /// Waits for messages of the bus. While the subscription of this server is cut, nothing arrives and no error says so, as
    /// behind a network that drops packets: what was sent meanwhile arrives afterwards, if the subscription still exists.
    async fn receive<T>(&self, call: impl Future<Output = Result<T>> + Send) -> Result<T> {
        // Applied before messages are taken, so that a caller that gives up loses none.
        self.pass(WRITER_PATIENCE).await?;
        let (mut switches, mut call) = (self.faults.watch(), pin!(call));
        loop {
            // Cannot fail: the watch ends with its sender, which is borrowed here.
            let _ = switches.wait_for(|state| state.store_cut || state.bus_cut != Some(self.server)).await;
            tokio::select! {
                biased;
                _ = switches.wait_for(|state| state.store_cut) => {
                    return Err(Error::new(ErrorKind::Unavailable, "the bus is cut off by the fault switch store_cut"));
                }
                // The messages stay in `call`, which is polled again once the cut ends.
                () = self.cut() => {}
                messages = &mut call => return messages,
            }
        }
    }

    /// Completes when the subscription of this server is cut.
    async fn cut(&self) {
        let _ = self.faults.watch().wait_for(|state| state.bus_cut == Some(self.server)).await;
    }
}

impl StoreLayer for StoreFaults {
    async fn around<T: Send>(&self, operation: Operation, call: impl Future<Output = Result<T>> + Send) -> Result<T> {
        if operation == Operation::Receive {
            return self.receive(call).await;
        }
        if operation == Operation::Subscribe && self.faults.current().bus_cut == Some(self.server) {
            return Err(Error::new(ErrorKind::Unavailable, "the bus is cut off by the fault switch bus_cut"));
        }
        match operation.is_of_writer() {
            true => {
                // A paused consumer does nothing. Cannot fail: the watch ends with its sender, which is borrowed here.
                let _ = self.faults.watch().wait_for(|state| !state.pause_consumer).await;
                self.pass(WRITER_PATIENCE).await?;
            }
            false => self.pass(READER_PATIENCE).await?,
        }
        call.await
    }
}
