//! A change source that pauses, receives nothing, or loses what it receives.

use std::sync::Arc;

use async_trait::async_trait;
use cachefront::Result;
use cachefront::event::Batch;
use cachefront::gate::VisibilityGate;
use cachefront::source::{BatchLimits, ChangeSource, Checkpoint, Lead, SourceProbe, TableFilter};

use super::state::FaultState;
use super::switches::Faults;

/// A wrapper between the real source and the invalidator.
#[derive(Debug)]
pub struct FaultySource {
    source: Box<dyn ChangeSource>,
    faults: Arc<Faults>,
}

impl FaultySource {
    pub fn new(source: impl ChangeSource, faults: &Arc<Faults>) -> Self {
        Self { source: Box::new(source), faults: Arc::clone(faults) }
    }
}

fn is_still(state: &FaultState) -> bool {
    state.pause_consumer || state.freeze_stream
}

#[deny(clippy::missing_trait_methods, reason = "a method that is not handed on would break the source behind")]
#[async_trait]
impl ChangeSource for FaultySource {
    fn describe(&self) -> String {
        self.source.describe()
    }

    async fn preflight(&mut self, filter: &TableFilter) -> Result<Vec<String>> {
        self.source.preflight(filter).await
    }

    async fn lead(&mut self) -> Result<Lead> {
        self.source.lead().await
    }

    async fn open(&mut self, from: &Checkpoint, filter: &TableFilter) -> Result<()> {
        self.source.open(from, filter).await
    }

    async fn next_batch(&mut self, limits: &BatchLimits) -> Result<Batch> {
        let mut switches = self.faults.watch();
        let mut batch = loop {
            // Cannot fail: the watch ends with its sender, which this value keeps alive.
            let _ = switches.wait_for(|state| !is_still(state)).await;
            tokio::select! {
                biased;
                // Dropping the source's future loses nothing: its changes are delivered by a later call.
                _ = switches.wait_for(is_still) => {}
                batch = self.source.next_batch(limits) => break batch?,
            }
        };
        if self.faults.current().drop_events {
            let lost = batch.changes();
            batch.transactions.iter_mut().for_each(|transaction| transaction.changes.clear());
            if lost > 0 {
                metrics::counter!(crate::metrics::FAULT_DROPPED_CHANGES_TOTAL).increment(lost as u64);
                tracing::warn!(changes = lost, "changes were dropped, as the fault switch says");
            }
        }
        Ok(batch)
    }

    fn origin(&self) -> Option<Box<str>> {
        self.source.origin()
    }

    async fn close(&mut self) {
        self.source.close().await;
    }

    async fn acknowledge(&mut self, checkpoint: &Checkpoint) -> Result<()> {
        self.source.acknowledge(checkpoint).await
    }

    fn probe(&self) -> Arc<dyn SourceProbe> {
        self.source.probe()
    }

    fn gate(&self) -> Option<Arc<dyn VisibilityGate>> {
        self.source.gate()
    }
}
