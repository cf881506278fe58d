//! Waits for a condition, with a bound and the name of who waits. A test never sleeps to let something happen.

use std::future::Future;
use std::time::Duration;

use cachefront::testing::wait_for;

/// Waits until `condition` is true.
///
/// # Panics
/// After `timeout`, naming `what` and the caller's line.
#[track_caller]
pub fn until<F>(what: &str, timeout: Duration, mut condition: F) -> impl Future<Output = ()>
where
    F: FnMut() -> bool,
{
    until_some(what, timeout, async move || condition().then_some(()))
}

/// Waits until `condition`, which may ask a server, is true.
///
/// # Panics
/// After `timeout`, naming `what` and the caller's line; a check that hangs is cut off at the same time.
#[track_caller]
pub fn until_async<F>(what: &str, timeout: Duration, mut condition: F) -> impl Future<Output = ()>
where
    F: AsyncFnMut() -> bool,
{
    until_some(what, timeout, async move || condition().await.then_some(()))
}

/// Waits until `check` returns a value, and returns it.
///
/// # Panics
/// After `timeout`, naming `what` and the caller's line; a check that hangs is cut off at the same time.
#[track_caller]
pub fn until_some<T, F>(what: &str, timeout: Duration, check: F) -> impl Future<Output = T>
where
    F: AsyncFnMut() -> Option<T>,
{
    wait_for(what, timeout, check)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn returns_as_soon_as_the_condition_holds() {
        let mut checks = 0;
        until("the third check", Duration::from_secs(10), || {
            checks += 1;
            checks == 3
        })
        .await;
        assert_eq!(checks, 3);
    }

    #[tokio::test]
    #[should_panic(expected = "waiting until the clock stops")]
    async fn ends_after_its_time() {
        until("the clock stops", Duration::from_millis(20), || false).await;
    }

    #[tokio::test]
    #[should_panic(expected = "wait.rs")]
    async fn cuts_off_a_check_that_hangs_and_names_the_caller() {
        until_async("a hung check", Duration::from_millis(20), async || std::future::pending().await).await;
    }
}
