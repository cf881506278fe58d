//! Follows the events of changes, and the bus while there are viewers.

use std::sync::Arc;
use std::time::Duration;

use cachefront::store::Store;
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;

use super::Writes;
use super::write::Change;
use crate::events::EventHub;

/// How often it is checked whether there are still viewers.
const CHECK_EVERY: Duration = Duration::from_secs(5);

/// The pause after a failure, before the bus is subscribed to again.
const PAUSE: Duration = Duration::from_secs(1);

impl Writes {
    /// Records writes until `stop`. `store` is the one of the caches whose reads are observed.
    pub async fn run(self: Arc<Self>, events: EventHub, store: Arc<dyn Store>, stop: CancellationToken) {
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.follow_events(&events) => {}
            () = self.follow_bus(&*store) => {}
        }
        self.set_watching(false);
    }

    async fn follow_events(&self, events: &EventHub) {
        let mut events = events.subscribe();
        loop {
            match events.recv().await {
                Ok(event) if event.name == "change" => {
                    if let Ok(change) = serde_json::from_str::<Change>(&event.data) {
                        self.record(change);
                    }
                }
                Ok(_) | Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return,
            }
        }
    }

    /// Follows the bus whenever there are viewers. Never returns.
    async fn follow_bus(&self, store: &dyn Store) {
        loop {
            self.viewers.wait().await;
            match store.bus().subscribe().await {
                Ok(mut reader) => {
                    self.set_watching(true);
                    while self.viewers.is_present() {
                        match tokio::time::timeout(CHECK_EVERY, reader.next()).await {
                            Ok(Ok(reads)) => reads.iter().for_each(|read| self.arrived(&read.message)),
                            Ok(Err(_)) => break,
                            Err(_) => {}
                        }
                    }
                    self.set_watching(false);
                }
                Err(error) => {
                    tracing::debug!(error = %error.chain(), "the bus cannot be followed for the way of writes")
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}
