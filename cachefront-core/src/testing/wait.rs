//! Bounded waits for a condition, which name their caller on timeout.

use std::future::Future;
use std::panic::Location;
use std::time::Duration;

use tokio::time::Instant;

/// Timeout of [`wait_until`]: far longer than a healthy operation takes, even on a busy machine.
pub const WAIT_MAX: Duration = Duration::from_secs(30);

/// Pause between two checks of the condition.
const POLL: Duration = Duration::from_millis(2);

/// Waits until `condition` holds, and checks it every few milliseconds.
///
/// # Panics
/// After [`WAIT_MAX`], naming `what` and the caller's line; a check that hangs is cut off at the same time.
///
/// # Cancel safety
/// Cancel safe: it only checks.
#[track_caller]
pub fn wait_until<F, Fut>(what: &str, mut condition: F) -> impl Future<Output = ()>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = bool>,
{
    // Not over `wait_for`: the future of an async closure is not known to be `Send` in generic code.
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

/// Waits until `check` returns a value, for `timeout` at most, and returns the value.
///
/// # Panics
/// After `timeout`, naming `what` and the caller's line; a check that hangs is cut off at the same time.
///
/// # Cancel safety
/// Cancel safe: it only checks.
#[track_caller]
pub fn wait_for<T, F>(what: &str, timeout: Duration, mut check: F) -> impl Future<Output = T>
where
    F: AsyncFnMut() -> Option<T>,
{
    let caller = Location::caller();
    async move {
        let deadline = Instant::now() + timeout;
        loop {
            match tokio::time::timeout_at(deadline, check()).await {
                Ok(Some(found)) => return found,
                Ok(None) if Instant::now() < deadline => {}
                Ok(None) | Err(_) => panic!("{caller}: timed out after {timeout:?} waiting until {what}"),
            }
            tokio::time::sleep(POLL).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    #[should_panic(expected = "wait.rs")]
    async fn a_check_that_hangs_is_cut_off_and_the_caller_is_named() {
        wait_for("a hung check", Duration::from_millis(20), async || std::future::pending::<Option<()>>().await).await;
    }
}
