//! How long the absence of a row is cached.

use std::time::Duration;

use crate::policy::contract::{TtlContext, TtlPolicy};

/// A separate time to live for the absence of a row. In CDC mode an INSERT removes the entry earlier.
#[derive(Clone, Copy, Debug)]
pub struct NegativeTtl<P> {
    /// The policy for values.
    pub inner: P,
    /// The time to live for absence, unless its loader requested another; zero to not cache it in any case.
    pub ttl: Duration,
}

impl<P: TtlPolicy> TtlPolicy for NegativeTtl<P> {
    fn ttl(&self, cx: &TtlContext<'_>) -> Duration {
        match cx.negative {
            true if self.ttl.is_zero() => Duration::ZERO,
            true => cx.requested.unwrap_or(self.ttl),
            false => self.inner.ttl(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemEntropy;
    use crate::policy::FixedTtl;

    #[test]
    fn absence_that_is_not_cached_ignores_what_the_loader_requests() {
        let second = Duration::from_secs(1);
        let ttl = |negative: Duration, absent, requested| {
            let policy = NegativeTtl { inner: FixedTtl(9 * second), ttl: negative };
            policy.ttl(&TtlContext::new(absent, requested, Duration::ZERO, &SystemEntropy))
        };
        assert_eq!(ttl(Duration::ZERO, true, Some(second)), Duration::ZERO);
        assert_eq!(ttl(3 * second, true, Some(second)), second);
        assert_eq!(ttl(3 * second, true, None), 3 * second);
        assert_eq!(ttl(Duration::ZERO, false, Some(second)), second);
    }
}
