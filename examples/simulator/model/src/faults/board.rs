//! A consumer that is paused says nothing of itself either.

use std::sync::Arc;

use async_trait::async_trait;
use cachefront::Result;

use super::Faults;
use crate::pipeline::{Board, Report};

/// A board on which a paused consumer writes nothing.
#[derive(Debug)]
pub struct FaultyBoard {
    pub board: Arc<dyn Board>,
    pub faults: Arc<Faults>,
}

#[async_trait]
impl Board for FaultyBoard {
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
