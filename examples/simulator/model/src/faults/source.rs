//! A change source that pauses, receives nothing, or loses what it receives.

use std::sync::Arc;

use async_trait::async_trait;
use cachefront::Result;
use cachefront::event::Batch;
use cachefront::source::{BatchLimits, ChangeSource, LayeredSource, SourceLayer};

use super::state::FaultState;
use super::switches::Faults;

/// The switches, between the real source and the invalidator.
#[derive(Debug)]
pub struct SourceFaults(Arc<Faults>);

impl SourceFaults {
    /// Wraps a source.
    pub fn around(source: impl ChangeSource, faults: &Arc<Faults>) -> LayeredSource<Self> {
        LayeredSource::around(source, Self(Arc::clone(faults)))
    }
}

fn is_still(state: &FaultState) -> bool {
    state.pause_consumer || state.freeze_stream
}

#[async_trait]
impl SourceLayer for SourceFaults {
    async fn next_batch(&mut self, source: &mut dyn ChangeSource, limits: &BatchLimits) -> Result<Batch> {
        let mut switches = self.0.watch();
        let mut batch = loop {
            // Cannot fail: the watch ends with its sender, which this value keeps alive.
            let _ = switches.wait_for(|state| !is_still(state)).await;
            tokio::select! {
                biased;
                // Dropping the source's future loses nothing: its changes are delivered by a later call.
                _ = switches.wait_for(is_still) => {}
                batch = source.next_batch(limits) => break batch?,
            }
        };
        if self.0.current().drop_events {
            let lost = batch.changes();
            batch.transactions.iter_mut().for_each(|transaction| transaction.changes.clear());
            if lost > 0 {
                metrics::counter!(crate::metrics::FAULT_DROPPED_CHANGES_TOTAL).increment(lost as u64);
                tracing::warn!(changes = lost, "changes were dropped, as the fault switch says");
            }
        }
        Ok(batch)
    }
}
