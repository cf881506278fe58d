//! Waits for a condition, with a bound and the name of who waits. A test never sleeps to let something happen.

use std::{future::Future, panic::Location, time::Duration};

use tokio::time::Instant;

/// Time between two looks at a condition.
const PAUSE: Duration = Duration::from_millis(5);

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
/// After `timeout`, naming `what` and the caller's line; a look that hangs is cut off at the same time.
#[track_caller]
pub fn until_async<F>(what: &str, timeout: Duration, mut condition: F) -> impl Future<Output = ()>
where
    F: AsyncFnMut() -> bool,
{
    until_some(what, timeout, async move || condition().await.then_some(()))
}

/// Waits until `look` finds something, and returns it.
///
/// # Panics
/// After `timeout`, naming `what` and the caller's line; a look that hangs is cut off at the same time.
#[track_caller]
pub fn until_some<T, F>(what: &str, timeout: Duration, mut look: F) -> impl Future<Output = T>
where
    F: AsyncFnMut() -> Option<T>,
{
    let caller = Location::caller();
    async move {
        let deadline = Instant::now() + timeout;
        loop {
            match tokio::time::timeout_at(deadline, look()).await {
                Ok(Some(found)) => return found,
                Ok(None) if Instant::now() < deadline => {}
                Ok(None) | Err(_) => panic!("{caller}: waited {timeout:?} in vain until {what}"),
            }
            // sleep: the pause between two looks; the loop is bounded by `deadline`.
            tokio::time::sleep(PAUSE).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn returns_as_soon_as_the_condition_holds() {
        let mut looks = 0;
        until("the third look", Duration::from_secs(10), || {
            looks += 1;
            looks == 3
        })
        .await;
        assert_eq!(looks, 3);
    }

    #[tokio::test]
    #[should_panic(expected = "in vain until pigs fly")]
    async fn ends_after_its_time() {
        until("pigs fly", Duration::from_millis(20), || false).await;
    }

    #[tokio::test]
    #[should_panic(expected = "wait.rs")]
    async fn cuts_off_a_look_that_hangs_and_names_the_caller() {
        until_async("a hung look", Duration::from_millis(20), async || std::future::pending().await).await;
    }
}
