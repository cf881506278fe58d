//! A bounded wait for a condition, which names its caller on timeout.

use std::panic::Location;
use std::time::Duration;

/// Timeout of [`wait_until`]: far longer than a healthy operation takes, even on a busy machine.
pub const WAIT_MAX: Duration = Duration::from_secs(30);

/// Pause between two checks of the condition.
const POLL: Duration = Duration::from_millis(2);

/// Waits until `condition` holds, and checks it every few milliseconds.
///
/// # Panics
/// After [`WAIT_MAX`], naming `what` and the caller's line.
///
/// # Cancel safety
/// Cancel safe: it only checks.
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
        assert!(waited.await.is_ok(), "{caller}: timed out after {WAIT_MAX:?} waiting until {what}");
    }
}
