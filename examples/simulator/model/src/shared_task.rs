//! Coalesces concurrent requests for the same work into one task (single-flight).

use std::future::Future;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

/// Runs at most one piece of work at a time.
#[derive(Debug, Default)]
pub struct SharedTask(Mutex<Option<watch::Receiver<()>>>);

impl SharedTask {
    /// Waits until the running work ends, but not longer than `patience`. Starts `work` if none is running. The work
    /// continues when no caller waits any more, so it must have its own time limit.
    ///
    /// # Cancel safety
    /// Cancel safe: the work goes on.
    pub async fn join(&self, patience: Duration, work: impl Future<Output = ()> + Send + 'static) {
        let mut ended = self.running(work);
        // Nothing is ever sent: the end of the work is the end of its sender.
        let _ = tokio::time::timeout(patience, ended.changed()).await;
    }

    fn running(&self, work: impl Future<Output = ()> + Send + 'static) -> watch::Receiver<()> {
        // No code panics while it holds the lock.
        let mut running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(ended) = running.as_ref().filter(|ended| ended.has_changed().is_ok()) {
            return ended.clone();
        }
        let (sender, ended) = watch::channel(());
        tokio::spawn(async move {
            work.await;
            drop(sender);
        });
        *running = Some(ended.clone());
        ended
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use tokio::sync::Notify;

    use super::*;

    #[tokio::test]
    async fn many_wait_for_one_and_each_only_so_long() {
        let (task, begun) = (SharedTask::default(), Arc::new(AtomicU32::new(0)));
        let over = Arc::new(Notify::new());
        let work = || {
            let (begun, over) = (Arc::clone(&begun), Arc::clone(&over));
            async move {
                begun.fetch_add(1, Ordering::SeqCst);
                over.notified().await;
            }
        };
        let join = || task.join(Duration::from_millis(20), work());
        futures_util::future::join_all((0..10).map(|_| join())).await;
        join().await;
        assert_eq!(begun.load(Ordering::SeqCst), 1, "it is still running");
        over.notify_one();
        task.join(Duration::from_secs(60), work()).await;
        // A caller that arrives after its end starts another one.
        join().await;
        assert_eq!(begun.load(Ordering::SeqCst), 2);
    }
}
