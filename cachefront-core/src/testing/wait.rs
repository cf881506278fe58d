//! A bounded wait on a condition, which names its caller when it gives up.

use std::panic::Location;
use std::time::Duration;

/// How long [`wait_until`] waits: far longer than anything healthy takes, also on a busy machine.
pub const WAIT_MAX: Duration = Duration::from_secs(30);

/// How often the condition is looked at.
const POLL: Duration = Duration::from_millis(2);

/// Waits until `condition` holds, looking every few milliseconds.
///
/// # Panics
/// After [`WAIT_MAX`], naming `what` and the caller's line.
///
/// # Cancel safety
/// Cancel safe: it only looks.
#[track_caller]
pub fn wait_until<F, Fut>(what: &str, mut condition: F) -> impl Future<Output = ()>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = bool>,
{
    let caller = Location::caller();
    async move {
        let waited = tokio::time::timeout(WAIT_MAX, async {
            while !condition().await {
                tokio::time::sleep(POLL).await;
            }
        });
        assert!(waited.await.is_ok(), "{caller}: waited {WAIT_MAX:?} in vain until {what}");
    }
}
