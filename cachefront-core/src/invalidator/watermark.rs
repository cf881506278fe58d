//! The watermark: a moment at which everything that was committed is applied.
//!
//! The clock is read *before* the source's end is asked for, and the moment counts when everything up to that end is
//! applied (rule 18). A time taken when something was received would prove nothing.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use crate::clock::{Clock, Timestamp};
use crate::error::Result;
use crate::position::Position;
use crate::source::{Head, SourceProbe};

type Asking = Pin<Box<dyn Future<Output = (Timestamp, Result<Head>)> + Send>>;

/// One question at a time, and the answers that wait to be true.
pub(crate) struct Watermark {
    probe: Arc<dyn SourceProbe>,
    clock: Arc<dyn Clock>,
    asking: Option<Asking>,
    /// The moment and the source's end that was seen after it.
    pending: Option<(Timestamp, Position)>,
}

impl Watermark {
    pub(crate) fn new(probe: Arc<dyn SourceProbe>, clock: Arc<dyn Clock>) -> Self {
        Self { probe, clock, asking: None, pending: None }
    }

    /// Asks for the source's end, unless that is being done.
    pub(crate) fn ask(&mut self) {
        if self.asking.is_none() {
            let (probe, clock) = (Arc::clone(&self.probe), Arc::clone(&self.clock));
            self.asking = Some(Box::pin(async move {
                let asked_at = clock.now();
                (asked_at, probe.head().await)
            }));
        }
    }

    /// The answer to the question that is being asked; never completes if there is none.
    ///
    /// # Cancel safety
    /// Cancel safe: the question goes on.
    pub(crate) async fn answered(&mut self) -> Result<Head> {
        let Some(asking) = &mut self.asking else { return std::future::pending().await };
        let (asked_at, head) = asking.await;
        self.asking = None;
        let head = head?;
        // An older moment that is not true yet is the better one: it becomes true earlier.
        if self.pending.is_none() {
            self.pending = Some((asked_at, head.checkpoint.position.clone()));
        }
        Ok(head)
    }

    /// The moment that became true by applying everything up to `applied`; unknown if none did.
    pub(crate) fn reached(&mut self, applied: &Position) -> Timestamp {
        match self.pending.take_if(|(_, end)| applied.covers(end)) {
            Some((asked_at, _)) => asked_at,
            None => Timestamp::UNKNOWN,
        }
    }
}
