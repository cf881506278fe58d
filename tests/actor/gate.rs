//! A gate on a replica that lags: what was committed passes a fixed time later.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use cachefront::gate::VisibilityGate;
use cachefront::source::{ChangeSource, SourceProbe};
use cachefront::{Position, Result};
use tokio::time::Instant;

/// Knows what the server had executed when, and lets that pass after the lag.
pub(crate) struct Lag {
    lag: Duration,
    /// What had been executed at which time, oldest first.
    seen: Arc<Mutex<VecDeque<(Instant, Position)>>>,
}

/// How often the server is asked.
const LOOK: Duration = Duration::from_millis(50);

impl Lag {
    /// A gate that is `lag` behind the server of `source`.
    pub(crate) fn behind(source: &impl ChangeSource, lag: Duration) -> Self {
        let seen: Arc<Mutex<VecDeque<(Instant, Position)>>> = Arc::default();
        tokio::spawn(watch(source.probe(), lag, Arc::clone(&seen)));
        Self { lag, seen }
    }

    fn shows(&self, position: &Position) -> bool {
        let seen = self.seen.lock().expect("unpoisoned");
        seen.iter().take_while(|(at, _)| at.elapsed() >= self.lag).any(|(_, executed)| executed.covers(position))
    }
}

async fn watch(probe: Arc<dyn SourceProbe>, lag: Duration, seen: Arc<Mutex<VecDeque<(Instant, Position)>>>) {
    loop {
        if let Ok(head) = probe.head().await {
            let mut seen = seen.lock().expect("unpoisoned");
            seen.push_back((Instant::now(), head.checkpoint.position));
            while seen.len() > 1 && seen[1].0.elapsed() >= lag {
                seen.pop_front();
            }
        }
        // sleep: the pace of the questions.
        tokio::time::sleep(LOOK).await;
    }
}

#[async_trait]
impl VisibilityGate for Lag {
    async fn wait(&self, position: &Position, timeout: Duration) -> Result<bool> {
        let deadline = Instant::now() + timeout;
        while !self.shows(position) {
            if Instant::now() >= deadline {
                return Ok(false);
            }
            // sleep: the poll interval; the loop is bounded by `deadline`.
            tokio::time::sleep(LOOK / 5).await;
        }
        Ok(true)
    }
}

impl fmt::Debug for Lag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lag").field("lag", &self.lag).finish_non_exhaustive()
    }
}
