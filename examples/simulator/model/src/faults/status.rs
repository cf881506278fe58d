//! The status store of a consumer that can be paused: a paused consumer does not report its status.

use std::sync::Arc;

use async_trait::async_trait;
use cachefront::Result;

use super::switches::Faults;
use crate::pipeline::{Report, StatusStore};

/// A status store that drops the reports of a paused consumer.
#[derive(Debug)]
pub struct FaultyStatusStore {
    pub board: Arc<dyn StatusStore>,
    pub faults: Arc<Faults>,
}

#[async_trait]
impl StatusStore for FaultyStatusStore {
    async fn post(&self, report: &Report) -> Result<()> {
        match self.faults.current().pause_consumer {
            true => Ok(()),
            false => self.board.post(report).await,
        }
    }

    async fn read(&self) -> Result<Option<Report>> {
        self.board.read().await
    }
}
