//! Polls state that other processes may change.

use std::future::Future;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::domain::DbError;

/// Calls `refresh` after each `interval` until `stop`. A failure leaves the last state in use; it is logged with `what`.
pub async fn poll<T, F: Future<Output = Result<T, DbError>>>(
    interval: Duration,
    stop: &CancellationToken,
    what: &'static str,
    refresh: impl Fn() -> F,
) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(interval) => {}
        }
        if let Err(error) = refresh().await {
            tracing::debug!(error = &error as &dyn std::error::Error, what, "the state cannot be read");
        }
    }
}
