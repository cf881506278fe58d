//! How long absence is remembered.

use std::time::Duration;

use crate::policy::contract::{TtlContext, TtlPolicy};

/// Another time for the knowledge that the database has no such row; an INSERT removes it before that.
#[derive(Clone, Copy, Debug)]
pub struct NegativeTtl<P> {
    /// The policy for values.
    pub inner: P,
    /// The time for absence; zero for not to remember it.
    pub ttl: Duration,
}

impl<P: TtlPolicy> TtlPolicy for NegativeTtl<P> {
    fn ttl(&self, cx: &TtlContext<'_>) -> Duration {
        if cx.negative { cx.requested.unwrap_or(self.ttl) } else { self.inner.ttl(cx) }
    }
}
