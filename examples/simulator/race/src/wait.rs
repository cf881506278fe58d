//! Waits for conditions, with a bound.

use std::time::Duration;

use tokio::time::Instant;

/// How often a condition is checked: several times within what a step takes.
const PAUSE: Duration = Duration::from_millis(1);

/// Waits until `is_met`, at most for `bound`. Returns false if it is not met by then.
pub(crate) async fn until<F: Future<Output = bool>>(bound: Duration, is_met: impl Fn() -> F) -> bool {
    let deadline = Instant::now() + bound;
    while !is_met().await {
        if Instant::now() >= deadline {
            return false;
        }
        tokio::time::sleep(PAUSE).await;
    }
    true
}
