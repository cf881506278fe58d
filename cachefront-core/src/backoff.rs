//! Pauses between attempts: exponential, bounded, with jitter.

use std::time::Duration;

use crate::clock::{Clock, Entropy};

/// The longest duration that a setting of a timer may have, for this crate and for adapters: sums of a few cannot overflow, and a
/// wait has a bound.
pub const DURATION_MAX: Duration = Duration::from_secs(365 * 24 * 3_600);

/// The pauses between the attempts of one task, for the components of this crate and for adapters.
///
/// Each pause is a random part, at least a half, of an interval that doubles from `min` to `max`. The jitter keeps
/// processes that lost the same server from reconnecting in step.
///
/// ```
/// use std::time::Duration;
/// use cachefront::backoff::Backoff;
/// use cachefront::clock::SystemEntropy;
///
/// let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(1));
/// assert!(backoff.next_pause(&SystemEntropy) <= Duration::from_millis(50));
/// assert!(backoff.next_pause(&SystemEntropy) >= Duration::from_millis(50));
/// ```
#[derive(Clone, Debug)]
pub struct Backoff {
    next: Duration,
    min: Duration,
    max: Duration,
}

impl Backoff {
    /// Returns a backoff whose interval begins at `min` and doubles up to `max`, or stays at `min` if `max` is shorter. Both are
    /// 365 days at most.
    pub fn new(min: Duration, max: Duration) -> Self {
        let min = min.min(DURATION_MAX);
        Self { next: min, min, max: max.clamp(min, DURATION_MAX) }
    }

    /// Starts again from the shortest interval, because an attempt succeeded.
    pub fn reset(&mut self) {
        self.next = self.min;
    }

    /// Returns the next pause, between a half and all of the current interval, and doubles the interval.
    pub fn next_pause(&mut self, entropy: &dyn Entropy) -> Duration {
        let pause = self.next.mul_f64(0.5 + entropy.random_fraction() / 2.0);
        self.next = (self.next * 2).min(self.max);
        pause
    }

    /// Sleeps for the next pause.
    ///
    /// # Cancel safety
    /// Cancel safe: the interval is doubled all the same.
    pub async fn pause(&mut self, clock: &dyn Clock, entropy: &dyn Entropy) {
        let pause = self.next_pause(entropy);
        clock.sleep(pause).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Fixed(u128);

    impl Entropy for Fixed {
        fn random_u128(&self) -> u128 {
            self.0
        }
    }

    #[test]
    fn pauses_double_and_are_shortened_by_up_to_a_half() {
        let ms = Duration::from_millis;
        for (entropy, part) in [(Fixed(0), 0.5), (Fixed(u128::MAX), 1.0)] {
            let mut backoff = Backoff::new(ms(100), ms(350));
            for interval in [100, 200, 350, 350] {
                let (pause, expected) = (backoff.next_pause(&entropy), ms(interval).mul_f64(part));
                assert!(pause.abs_diff(expected) < Duration::from_micros(1), "{pause:?} is not {expected:?}");
            }
            backoff.reset();
            assert!(backoff.next_pause(&entropy) <= ms(100));
        }
        let mut constant = Backoff::new(ms(100), ms(1));
        assert_eq!((constant.next_pause(&Fixed(0)), constant.next_pause(&Fixed(0))), (ms(50), ms(50)));
    }
}
