//! The tasks of a cache: loads and refreshes that run apart from their readers, and that a shutdown waits for.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::clock::Clock;
use crate::error::{Error, ErrorKind, Result};

/// Counts the tasks that run, and refuses new ones after a shutdown.
#[derive(Debug)]
pub(super) struct Tasks {
    /// Both change together: no task begins after a shutdown has seen that none runs.
    state: watch::Sender<State>,
}

#[derive(Clone, Copy, Debug, Default)]
struct State {
    running: usize,
    closed: bool,
}

/// Counts a task until it ends, also if it panics or is dropped with its runtime.
pub(super) struct Running(Arc<Tasks>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.state.send_modify(|state| state.running -= 1);
    }
}

impl Running {
    /// Runs `task` apart from its reader.
    pub(super) fn spawn(self, task: impl Future<Output = ()> + Send + 'static) {
        tokio::spawn(async move {
            task.await;
            drop(self);
        });
    }
}

impl Tasks {
    pub(super) fn new() -> Self {
        Self { state: watch::Sender::new(State::default()) }
    }

    /// Begins a task.
    ///
    /// # Errors
    /// `Closed` if a shutdown has begun.
    pub(super) fn begin(self: &Arc<Self>, cache: &str) -> Result<Running> {
        let mut begun = false;
        self.state.send_if_modified(|state| {
            begun = !state.closed;
            state.running += usize::from(begun);
            false
        });
        if begun { Ok(Running(Arc::clone(self))) } else { Err(closed(cache)) }
    }

    /// Returns true once a shutdown has begun.
    pub(super) fn is_closed(&self) -> bool {
        self.state.borrow().closed
    }

    /// Refuses new tasks, and waits until those that run have ended.
    pub(super) async fn drain(&self, cache: &str, clock: &dyn Clock, drain_max: Duration) -> Result<()> {
        self.state.send_modify(|state| state.closed = true);
        let mut state = self.state.subscribe();
        tokio::select! {
            biased;
            // The sender is a field of this value, so it cannot be gone.
            _ = state.wait_for(|state| state.running == 0) => Ok(()),
            () = clock.sleep(drain_max) => {
                let running = self.state.borrow().running;
                let message = format!(
                    "{running} loads of cache `{cache}` have not ended after {drain_max:?}: they go on in the background; \
                     raise `drain_max`, or lower `load_timeout`"
                );
                Err(Error::new(ErrorKind::Timeout, message))
            }
        }
    }
}

/// The error of a load after a shutdown.
fn closed(cache: &str) -> Error {
    let message = format!("cache `{cache}` was shut down: values that are cached are served, and nothing is loaded");
    Error::new(ErrorKind::Closed, message)
}
