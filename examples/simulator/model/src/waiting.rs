//! Waits at the start for servers that may still come up, and logs it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// The pause between two attempts to reach a server at the start.
pub const PAUSE: Duration = Duration::from_millis(250);

/// The wait for one server.
#[derive(Debug, Default)]
pub struct Waiting {
    said: AtomicBool,
}

impl Waiting {
    /// Pauses after a failed attempt. The first one logs which server is waited for, and why.
    pub async fn pause(&self, server: &str, host: &str, why: &str) {
        if !self.said.swap(true, Ordering::Relaxed) {
            tracing::warn!("waiting for {server} at {host}: {why}");
        }
        tokio::time::sleep(PAUSE).await;
    }
}
