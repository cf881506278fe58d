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

/// Owns a running invalidator, which stops when its handle is dropped: keep it for as long as the service runs, and call
/// [`shutdown`](CdcHandle::shutdown) at its end. Dropped, it ends in the background after the batch in hand, and says so
/// as an error in the log.
#[must_use = "the invalidator stops when its handle is dropped: keep it until the service ends"]
pub struct CdcHandle {
    pub(super) desired: watch::Sender<DesiredState>,
    pub(super) statuses: watch::Receiver<CdcStatus>,
    pub(super) task: Option<JoinHandle<()>>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) drain_max: Duration,
}

impl CdcHandle {
    /// How it is doing.
    pub fn status(&self) -> CdcStatus {
        self.statuses.borrow().clone()
    }

    /// Follows its status.
    pub fn watch(&self) -> watch::Receiver<CdcStatus> {
        self.statuses.clone()
    }

    /// Waits until it applies changes (or, in TTL mode, reads them), or stands by because another one does:
    /// [`CdcState::Running`] or [`CdcState::Standby`]. In both cases the service can start; what is not covered is not
    /// cached.
    ///
    /// # Errors
    /// What its very first try found wrong in the set-up, or that it was shut down.
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

    /// The mode it works in from now on. [`InvalidationMode::Ttl`]: what the store promises is voided, then changes are
    /// only read. [`InvalidationMode::Cdc`]: a new generation begins, then changes are applied.
    pub fn set_mode(&self, mode: InvalidationMode) {
        self.desired.send_if_modified(|desired| std::mem::replace(&mut desired.mode, mode) != mode);
    }

    /// Stops after the batch in hand, or after [`CdcSettings::drain_max`], and leaves the term to another invalidator.
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
                "the handle of an invalidator was dropped: it stops, and unless another one takes over, nothing keeps its \
                 caches correct"
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
