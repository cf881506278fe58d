//! Fixed and jittered times to live.

use std::time::Duration;

use crate::policy::contract::{TtlContext, TtlPolicy};

/// The same time for every value, unless its loader requested another.
#[derive(Clone, Copy, Debug)]
pub struct FixedTtl(pub Duration);

impl TtlPolicy for FixedTtl {
    fn ttl(&self, cx: &TtlContext<'_>) -> Duration {
        cx.requested.unwrap_or(self.0)
    }
}

/// Shortens the time of another policy by a random part, so that values filled together do not expire together.
///
/// ```
/// use std::time::Duration;
/// use cachefront::clock::SystemEntropy;
/// use cachefront::policy::{FixedTtl, JitteredTtl, NegativeTtl, TtlContext, TtlPolicy};
///
/// let hour = JitteredTtl { inner: FixedTtl(Duration::from_secs(3_600)), fraction: 0.1 };
/// let policy = NegativeTtl { inner: hour, ttl: Duration::from_secs(30) };
/// let ttl = |absent| policy.ttl(&TtlContext::new(absent, None, Duration::ZERO, &SystemEntropy));
/// assert!((3_240..=3_600).contains(&ttl(false).as_secs()));
/// assert_eq!(ttl(true), Duration::from_secs(30));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct JitteredTtl<P> {
    /// The policy whose time is shortened.
    pub inner: P,
    /// Maximum part that is subtracted: `0.10` gives 90 % to 100 % of the time.
    pub fraction: f64,
}

impl<P: TtlPolicy> TtlPolicy for JitteredTtl<P> {
    fn ttl(&self, cx: &TtlContext<'_>) -> Duration {
        let ttl = self.inner.ttl(cx);
        if self.fraction <= 0.0 {
            return ttl;
        }
        ttl.mul_f64(1.0 - self.fraction.min(1.0) * cx.entropy.random_fraction())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemEntropy;

    #[test]
    fn jitter_shortens_by_at_most_its_fraction() {
        let policy = JitteredTtl { inner: FixedTtl(Duration::from_secs(100)), fraction: 0.1 };
        let cx = TtlContext::new(false, None, Duration::ZERO, &SystemEntropy);
        let ttls: Vec<Duration> = (0..1000).map(|_| policy.ttl(&cx)).collect();
        assert!(ttls.iter().all(|ttl| (90.0..=100.0).contains(&ttl.as_secs_f64())));
        assert!(ttls.iter().any(|ttl| ttl.as_secs_f64() < 92.0) && ttls.iter().any(|ttl| ttl.as_secs_f64() > 98.0));
    }
}
