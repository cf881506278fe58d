//! The contract of a policy.

use std::fmt;
use std::time::Duration;

use crate::clock::Entropy;

/// The facts about a loaded value that a policy can use.
#[derive(Debug)]
#[non_exhaustive]
pub struct TtlContext<'a> {
    /// True if the database has no such row.
    pub negative: bool,
    /// The time to live that the loader requested.
    pub requested: Option<Duration>,
    /// How long the load took.
    pub load_time: Duration,
    /// Source of randomness for jitter.
    pub entropy: &'a dyn Entropy,
}

impl<'a> TtlContext<'a> {
    /// Collects the facts about a value that was just loaded.
    pub fn new(negative: bool, requested: Option<Duration>, load_time: Duration, entropy: &'a dyn Entropy) -> Self {
        Self { negative, requested, load_time, entropy }
    }
}

/// Decides how long a loaded value, or the absence of a row, may be served.
///
/// In CDC mode the time is a backstop: the change log usually removes a value long before it.
///
/// ```
/// use std::time::Duration;
/// use cachefront::policy::{TtlContext, TtlPolicy};
///
/// /// Values that are expensive to load live longer.
/// #[derive(Debug)]
/// struct ByCost;
///
/// impl TtlPolicy for ByCost {
///     fn ttl(&self, cx: &TtlContext<'_>) -> Duration {
///         cx.requested.unwrap_or(Duration::from_secs(60) + cx.load_time * 1_000)
///     }
/// }
///
/// # use cachefront::clock::SystemEntropy;
/// let cx = TtlContext::new(false, None, Duration::from_millis(20), &SystemEntropy);
/// assert_eq!(ByCost.ttl(&cx), Duration::from_secs(80));
/// ```
pub trait TtlPolicy: fmt::Debug + Send + Sync + 'static {
    /// Returns the time to live; zero means that the value is not cached.
    fn ttl(&self, cx: &TtlContext<'_>) -> Duration;
}
