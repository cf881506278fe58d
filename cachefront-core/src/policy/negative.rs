//! How long the absence of a row is cached.

use std::time::Duration;

use crate::policy::contract::{TtlContext, TtlPolicy};

/// A separate time to live for the absence of a row. In CDC mode an INSERT removes the entry earlier.
#[derive(Clone, Copy, Debug)]
pub struct NegativeTtl<P> {
    /// The policy for values.
    pub inner: P,
    /// The time to live for absence; zero to not cache it.
    pub ttl: Duration,
}

impl<P: TtlPolicy> TtlPolicy for NegativeTtl<P> {
    fn ttl(&self, cx: &TtlContext<'_>) -> Duration {
        if cx.negative { cx.requested.unwrap_or(self.ttl) } else { self.inner.ttl(cx) }
    }
}
