//! The contract of a policy.

use std::fmt;
use std::time::Duration;

use crate::clock::Entropy;

/// What a policy may look at.
#[derive(Debug)]
#[non_exhaustive]
pub struct TtlContext<'a> {
    /// True if the database has no such row.
    pub negative: bool,
    /// What the loader asked for, if it did.
    pub requested: Option<Duration>,
    /// How long the load took.
    pub load_time: Duration,
    /// Randomness for jitter.
    pub entropy: &'a dyn Entropy,
}

impl<'a> TtlContext<'a> {
    /// What is known about a value that was just loaded.
    pub fn new(negative: bool, requested: Option<Duration>, load_time: Duration, entropy: &'a dyn Entropy) -> Self {
        Self { negative, requested, load_time, entropy }
    }
}

/// Decides how long a loaded value, or the knowledge that there is none, may be served.
///
/// The time is a backstop: the change log removes a value long before it, and a zero means "do not keep".
pub trait TtlPolicy: fmt::Debug + Send + Sync + 'static {
    /// The time to live.
    fn ttl(&self, cx: &TtlContext<'_>) -> Duration;
}
