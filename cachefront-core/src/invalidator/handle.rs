//! The handle of a running invalidator.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::AbortHandle;

use crate::clock::{Clock, Sleep};
use crate::error::{Error, ErrorKind, Result};
use crate::invalidator::control::DesiredState;
use crate::invalidator::status::{CdcState, CdcStatus};
use crate::mode::InvalidationMode;

/// The handle of a running invalidator. Clones are handles of the same invalidator, for example one in `main` and one in the
/// state of a health check.
///
/// The invalidator stops when the last clone is dropped: keep one for as long as the service runs, and call
/// [`shutdown`](CdcHandle::shutdown) on any of them at the end. After the last drop the invalidator ends in the background
/// with the current batch, and an error is logged.
///
/// ```no_run
/// # use cachefront::{CdcHandle, CdcState};
/// # async fn example(cdc: CdcHandle) -> cachefront::Result<()> {
/// if cdc.ready().await? == CdcState::Standby {
///     println!("another instance invalidates");
/// }
/// let health = cdc.clone();
/// println!("{}, behind by {:?}", health.status(), health.status().lag());
/// cdc.shutdown().await;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[must_use = "the invalidator stops when its last handle is dropped: keep it until the service ends"]
pub struct CdcHandle {
    owner: Arc<Owner>,
}

/// What the clones of a handle share.
pub(super) struct Owner {
    /// What is requested of the task.
    pub(super) desired: watch::Sender<DesiredState>,
    /// What the task reports. The task has the only sender: it is gone when the task has ended.
    pub(super) statuses: watch::Receiver<CdcStatus>,
    pub(super) task: AbortHandle,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) drain_max: Duration,
}

impl CdcHandle {
    /// The first handle of an invalidator.
    pub(super) fn new(owner: Owner) -> Self {
        Self { owner: Arc::new(owner) }
    }

    /// Ends the task without a shutdown, as a crash does.
    #[cfg(test)]
    pub(super) fn kill(&self) {
        self.owner.task.abort();
    }

    /// Returns the current status.
    pub fn status(&self) -> CdcStatus {
        self.owner.statuses.borrow().clone()
    }

    /// Returns a receiver that is notified of every change of the status.
    pub fn watch(&self) -> watch::Receiver<CdcStatus> {
        self.owner.statuses.clone()
    }

    /// Waits until the invalidator applies changes (or, in TTL mode, reads them) or stands by, and returns
    /// [`CdcState::Running`] or [`CdcState::Standby`]. In both cases the service can start; a cache that is not covered does
    /// not cache.
    ///
    /// # Errors
    /// The configuration error that the first session found; `Closed` if the invalidator was shut down, or has panicked.
    ///
    /// # Cancel safety
    /// Cancel safe: it only waits.
    pub async fn ready(&self) -> Result<CdcState> {
        let mut statuses = self.owner.statuses.clone();
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
        self.owner.desired.send_if_modified(|desired| std::mem::replace(&mut desired.mode, mode) != mode);
    }

    /// Stops after the current batch, at most after [`CdcSettings::drain_max`](crate::CdcSettings::drain_max), and releases
    /// the term for another invalidator. It stops for all clones of the handle; those that are left can still read the status.
    ///
    /// # Cancel safety
    /// If the future is dropped, the invalidator ends in the background.
    pub async fn shutdown(self) {
        let owner = &*self.owner;
        owner.desired.send_modify(|desired| desired.shutdown = true);
        end(owner.statuses.clone(), owner.clock.sleep(owner.drain_max), &owner.task).await;
    }
}

/// Waits until the task has ended, and aborts it if it takes longer than `limit`.
async fn end(mut statuses: watch::Receiver<CdcStatus>, limit: Sleep, task: &AbortHandle) {
    tokio::select! {
        biased;
        () = async { while statuses.changed().await.is_ok() {} } => {}
        () = limit => task.abort(),
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        if self.task.is_finished() {
            return;
        }
        if !self.desired.borrow().shutdown {
            tracing::error!(
                "the last handle of an invalidator was dropped: it stops, and its caches are not kept correct unless another \
                 one takes over"
            );
        }
        self.desired.send_modify(|desired| desired.shutdown = true);
        let (statuses, limit, task) = (self.statuses.clone(), self.clock.sleep(self.drain_max), self.task.clone());
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move { end(statuses, limit, &task).await });
        }
    }
}

impl fmt::Debug for CdcHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CdcHandle").field("status", &*self.owner.statuses.borrow()).finish_non_exhaustive()
    }
}
