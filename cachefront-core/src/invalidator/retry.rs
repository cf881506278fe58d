//! Pauses between retries: exponential, bounded, with jitter.

use std::time::Duration;

use crate::clock::{Clock, Entropy};
use crate::settings::CdcSettings;

/// The pauses of one invalidator.
#[derive(Debug)]
pub(crate) struct Backoff {
    next: Duration,
    min: Duration,
    max: Duration,
}

impl Backoff {
    pub(crate) fn new(settings: &CdcSettings) -> Self {
        Self { next: settings.retry_min, min: settings.retry_min, max: settings.retry_max.max(settings.retry_min) }
    }

    /// Resets the pause after a success.
    pub(crate) fn reset(&mut self) {
        self.next = self.min;
    }

    /// Waits for a random part, half to all, of the current pause, so that several invalidators do not retry in step.
    pub(crate) async fn pause(&mut self, clock: &dyn Clock, entropy: &dyn Entropy) {
        let pause = self.next.mul_f64(0.5 + entropy.random_fraction() / 2.0);
        self.next = (self.next * 2).min(self.max);
        clock.sleep(pause).await;
    }
}
