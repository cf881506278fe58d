//! Whether anybody looks: what is only observed for those who look on is not observed for nobody.
//!
//! An API that serves users and is neither scraped nor looked at sends nothing to the store but what its requests need.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

/// Whoever looked counts as looking on for so long: longer than the pause between two scrapes.
const LASTS: Duration = Duration::from_secs(90);

/// Notes who looks, and lets observers wait for it. A clone is the same.
#[derive(Clone, Debug)]
pub struct Interest(Arc<watch::Sender<Option<Instant>>>);

impl Default for Interest {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(None)))
    }
}

impl Interest {
    /// Somebody looks.
    pub fn show(&self) {
        self.0.send_replace(Some(Instant::now()));
    }

    /// Completes at once while somebody looks, else as soon as somebody does.
    pub async fn wait(&self) {
        let mut looked = self.0.subscribe();
        // A watch ends with its sender, which is borrowed here.
        let _ = looked.wait_for(|at| at.is_some_and(|at| at.elapsed() < LASTS)).await;
    }
}
