//! The thread that all worlds live on.
//!
//! What happens in a race is no event of the program: changes are lost there on purpose. So the thread records no metrics and
//! writes no log. And viewers who play take one core at most.

use std::{io, thread};

use metrics::NoopRecorder;
use tokio::runtime::{Builder, Handle};
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::subscriber::NoSubscriber;

/// The thread and its runtime, which end when this is dropped.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) handle: Handle,
    _stop: DropGuard,
}

impl Stage {
    /// Starts the thread. At its end it waits for `end`.
    ///
    /// # Errors
    /// If the system refuses it.
    pub(crate) fn start(end: impl Future<Output = ()> + Send + 'static) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let (handle, stop) = (runtime.handle().clone(), CancellationToken::new());
        let stopped = stop.clone();
        thread::Builder::new().name("races".into()).spawn(move || {
            let _no_metrics = metrics::set_default_local_recorder(&NoopRecorder);
            let _no_log = tracing::subscriber::set_default(NoSubscriber::new());
            runtime.block_on(async {
                stopped.cancelled().await;
                end.await;
            });
        })?;
        Ok(Self { handle, _stop: stop.drop_guard() })
    }
}
