//! Work that everybody who asks for it meanwhile waits for together: many who ask cost one.

use std::future::Future;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

/// One piece of work at a time.
#[derive(Debug, Default)]
pub struct Together(Mutex<Option<watch::Receiver<()>>>);

impl Together {
    /// Waits until the work under way has ended, but not longer than `patience`; begins `work` if none is under way. It
    /// goes on when nobody waits for it any more, so it must have a bound of its own.
    ///
    /// # Cancel safety
    /// Cancel safe: the work goes on.
    pub async fn join(&self, patience: Duration, work: impl Future<Output = ()> + Send + 'static) {
        let mut ended = self.under_way(work);
        // Nothing is ever sent: the end of the work is the end of its sender.
        let _ = tokio::time::timeout(patience, ended.changed()).await;
    }

    fn under_way(&self, work: impl Future<Output = ()> + Send + 'static) -> watch::Receiver<()> {
        // No code panics while it holds the lock.
        let mut under_way = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(ended) = under_way.as_ref().filter(|ended| ended.has_changed().is_ok()) {
            return ended.clone();
        }
        let (sender, ended) = watch::channel(());
        tokio::spawn(async move {
            work.await;
            drop(sender);
        });
        *under_way = Some(ended.clone());
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
        let (together, begun) = (Together::default(), Arc::new(AtomicU32::new(0)));
        let over = Arc::new(Notify::new());
        let work = || {
            let (begun, over) = (Arc::clone(&begun), Arc::clone(&over));
            async move {
                begun.fetch_add(1, Ordering::SeqCst);
                over.notified().await;
            }
        };
        let join = || together.join(Duration::from_millis(20), work());
        futures_util::future::join_all((0..10).map(|_| join())).await;
        join().await;
        assert_eq!(begun.load(Ordering::SeqCst), 1, "it is still under way");
        over.notify_one();
        together.join(Duration::from_secs(60), work()).await;
        // Whoever comes after its end begins another one.
        join().await;
        assert_eq!(begun.load(Ordering::SeqCst), 2);
    }
}
