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

    /// Completes immediately while a viewer is present, otherwise as soon as one is.
    pub async fn wait(&self) {
        let mut looked = self.0.subscribe();
        // Cannot fail: the watch ends with its sender, which is borrowed here.
        let _ = looked.wait_for(|at| at.is_some_and(|at| at.elapsed() < LASTS)).await;
    }
}
