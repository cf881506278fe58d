//! Tracks whether anyone is watching, so that observers pause when no one is.
//!
//! An API that is neither scraped nor watched sends only the store requests that its own clients cause.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

/// How long a viewer counts as present after a request: longer than the interval between two scrapes.
const LASTS: Duration = Duration::from_secs(90);

/// Records requests of viewers and lets observers wait for one. Clones share the state.
#[derive(Clone, Debug)]
pub struct Viewers(Arc<watch::Sender<Option<Instant>>>);

impl Default for Viewers {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(None)))
    }
}

impl Viewers {
    /// Records that a viewer is present.
    pub fn show(&self) {
        self.0.send_replace(Some(Instant::now()));
    }

    /// Returns true while a viewer is present.
    pub fn is_present(&self) -> bool {
        is_recent(*self.0.borrow())
    }

    /// Completes immediately while a viewer is present, otherwise as soon as one is.
    pub async fn wait(&self) {
        let mut looked = self.0.subscribe();
        // Cannot fail: the watch ends with its sender, which is borrowed here.
        let _ = looked.wait_for(|at| is_recent(*at)).await;
    }
}

fn is_recent(shown: Option<Instant>) -> bool {
    shown.is_some_and(|at| at.elapsed() < LASTS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_viewer_is_present_for_a_while_whatever_else_the_task_did() {
        let viewers = Viewers::default();
        assert!(!viewers.is_present());
        viewers.show();
        // A task that has used up its budget has to wait at every asynchronous check.
        while tokio::task::coop::has_budget_remaining() {
            tokio::task::coop::consume_budget().await;
        }
        assert!(viewers.is_present());
        tokio::time::advance(LASTS).await;
        assert!(!viewers.is_present());
    }
}
