//! The handle of a running invalidator.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::clock::Clock;
use crate::error::{Error, ErrorKind, Result};
use crate::invalidator::control::DesiredState;
use crate::invalidator::status::{CdcState, CdcStatus};
use crate::mode::InvalidationMode;

/// The handle of a running invalidator. The invalidator stops when its handle is dropped: keep the handle for as long as the
/// service runs, and call [`shutdown`](CdcHandle::shutdown) at the end. After a drop the invalidator ends in the background
/// with the current batch, and an error is logged.
///
/// ```no_run
/// # use cachefront::{CdcHandle, CdcState};
/// # async fn example(cdc: CdcHandle) -> cachefront::Result<()> {
/// if cdc.ready().await? == CdcState::Standby {
///     println!("another instance invalidates");
/// }
/// println!("applied: {}", cdc.status().applied);
/// cdc.shutdown().await;
/// # Ok(())
/// # }
/// ```
#[must_use = "the invalidator stops when its handle is dropped: keep it until the service ends"]
pub struct CdcHandle {
    /// What the owner requests of the task.
    pub(super) desired: watch::Sender<DesiredState>,
    /// What the task reports.
    pub(super) statuses: watch::Receiver<CdcStatus>,
    pub(super) task: Option<JoinHandle<()>>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) drain_max: Duration,
}

impl CdcHandle {
    /// Returns the current status.
    pub fn status(&self) -> CdcStatus {
        self.statuses.borrow().clone()
    }

    /// Returns a receiver that is notified of every change of the status.
    pub fn watch(&self) -> watch::Receiver<CdcStatus> {
        self.statuses.clone()
    }

    /// Waits until the invalidator applies changes (or, in TTL mode, reads them) or stands by, and returns
    /// [`CdcState::Running`] or [`CdcState::Standby`]. In both cases the service can start; a cache that is not covered does
    /// not cache.
    ///
    /// # Errors
    /// The configuration error that the first session found; `Closed` if the invalidator was shut down.
    ///
    /// # Cancel safety
    /// Cancel safe: it only waits.
    pub async fn ready(&self) -> Result<CdcState> {
        let mut statuses = self.statuses.clone();
        let is_settled = |status: &CdcStatus| !matches!(status.state, CdcState::Starting | CdcState::Retrying);
        let settled = statuses
            .wait_for(is_settled)
            .await
            .map_err(|error| Error::with_source(ErrorKind::Closed, "the invalidator has ended", error))?;
        match (settled.state, &settled.last_error) {
            (state @ (CdcState::Running | CdcState::Standby), _) => Ok(state),
            (CdcState::Failed, Some(error)) => Err(error.clone()),
            _ => Err(Error::new(ErrorKind::Closed, "the invalidator was shut down")),
        }
    }

    /// Sets the mode. [`InvalidationMode::Ttl`] suspends the store, and changes are then read only.
    /// [`InvalidationMode::Cdc`] flushes the store, and changes are then applied.
    pub fn set_mode(&self, mode: InvalidationMode) {
        self.desired.send_if_modified(|desired| std::mem::replace(&mut desired.mode, mode) != mode);
    }

    /// Stops after the current batch, at most after [`CdcSettings::drain_max`](crate::CdcSettings::drain_max), and releases
    /// the term for another invalidator.
    ///
    /// # Cancel safety
    /// If the future is dropped, the invalidator ends in the background.
    pub async fn shutdown(mut self) {
        self.desired.send_modify(|desired| desired.shutdown = true);
        if let Some(mut task) = self.task.take() {
            tokio::select! {
                biased;
                _ = &mut task => {}
                () = self.clock.sleep(self.drain_max) => task.abort(),
            }
        }
    }
}

impl Drop for CdcHandle {
    fn drop(&mut self) {
        let Some(task) = self.task.take().filter(|task| !task.is_finished()) else { return };
        if !self.desired.borrow().shutdown {
            tracing::error!(
                "the handle of an invalidator was dropped: it stops, and its caches are not kept correct unless another one \
                 takes over"
            );
        }
        self.desired.send_modify(|desired| desired.shutdown = true);
        let limit = self.clock.sleep(self.drain_max);
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                let mut task = task;
                tokio::select! {
                    biased;
                    _ = &mut task => {}
                    () = limit => task.abort(),
                }
            });
        }
    }
}

impl fmt::Debug for CdcHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CdcHandle").field("status", &*self.statuses.borrow()).finish_non_exhaustive()
    }
}
