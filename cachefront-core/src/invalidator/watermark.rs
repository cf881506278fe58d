//! The watermark: a time at which everything that was committed is applied.
//!
//! The clock is read *before* the source's end is requested, and the time counts when everything up to that end is applied
//! ("Source time"). The time at which a change was received would not prove that later changes do not exist.
//!
//! ```text
//! 10:00:00.000  clock read, end of the log requested
//! 10:00:00.004  reply: the end is a:1-90
//! 10:00:00.120  a:1-90 applied: the source time becomes 10:00:00.000
//! ```

use std::sync::Arc;

use tokio::task::JoinSet;

use crate::clock::{Clock, Timestamp};
use crate::error::{Error, ErrorKind, Result};
use crate::position::Position;
use crate::source::{Head, SourceProbe};

/// Requests the source's end, one request at a time, and keeps the reply until everything up to it is applied.
pub(crate) struct Watermark {
    probe: Arc<dyn SourceProbe>,
    clock: Arc<dyn Clock>,
    /// The request, in its own task: a slow store must not use up the time that the source has for its reply.
    requests: JoinSet<(Timestamp, Result<Head>)>,
    /// The time of a request, and the source's end in its reply.
    pending: Option<(Timestamp, Position)>,
}

impl Watermark {
    pub(crate) fn new(probe: Arc<dyn SourceProbe>, clock: Arc<dyn Clock>) -> Self {
        Self { probe, clock, requests: JoinSet::new(), pending: None }
    }

    /// Requests the source's end, unless a request is in progress.
    pub(crate) fn request(&mut self) {
        if self.requests.is_empty() {
            let (probe, requested_at) = (Arc::clone(&self.probe), self.clock.now());
            self.requests.spawn(async move { (requested_at, probe.head().await) });
        }
    }

    /// Waits for the reply to the current request; never completes if there is none.
    ///
    /// # Cancel safety
    /// Cancel safe: the request continues.
    pub(crate) async fn replied(&mut self) -> Result<Head> {
        let Some(reply) = self.requests.join_next().await else { return std::future::pending().await };
        let (requested_at, head) = reply.map_err(|error| {
            Error::with_source(ErrorKind::Unavailable, "the request for the source's end was interrupted", error)
        })?;
        let head = head?;
        // A pending older time is kept: it is reached earlier.
        if self.pending.is_none() && self.probe.proves_time() {
            self.pending = Some((requested_at, head.checkpoint.position.clone()));
        }
        Ok(head)
    }

    /// Returns the time that is reached by applying everything up to `applied`; unknown if there is none.
    pub(crate) fn reached(&mut self, applied: &Position) -> Timestamp {
        match self.pending.take_if(|(_, end)| applied.covers(end)) {
            Some((requested_at, _)) => requested_at,
            None => Timestamp::UNKNOWN,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::time::Duration;

    use async_trait::async_trait;
    use tokio::sync::Notify;

    use super::*;
    use crate::source::Checkpoint;
    use crate::testing::ManualClock;

    /// A source that replies when the test allows it.
    #[derive(Debug, Default)]
    struct Slow {
        replica: bool,
        end: Mutex<Position>,
        reply: Notify,
    }

    #[async_trait]
    impl SourceProbe for Slow {
        async fn head(&self) -> Result<Head> {
            self.reply.notified().await;
            let position = self.end.lock().expect("unpoisoned").clone();
            Ok(Head { checkpoint: Checkpoint { position, ..Checkpoint::default() }, origin: "a".into() })
        }

        fn proves_time(&self) -> bool {
            !self.replica
        }
    }

    #[tokio::test]
    async fn the_end_of_a_replicas_log_proves_no_time() {
        let source = Arc::new(Slow { replica: true, ..Slow::default() });
        let mut watermark = Watermark::new(Arc::<Slow>::clone(&source), Arc::new(ManualClock::new()));
        watermark.request();
        source.reply.notify_one();
        watermark.replied().await.expect("a head");
        assert_eq!(watermark.reached(&"a:1-9".parse().expect("a position")), Timestamp::UNKNOWN);
    }

    /// A source that sends two requests, with a short timeout for both together.
    #[derive(Debug)]
    struct Impatient;

    #[async_trait]
    impl SourceProbe for Impatient {
        async fn head(&self) -> Result<Head> {
            let requests = async {
                tokio::time::sleep(Duration::from_secs(1)).await; // sleep: the first reply, on the paused clock
                tokio::time::sleep(Duration::from_secs(1)).await; // sleep: the second one's
            };
            match tokio::time::timeout(Duration::from_secs(5), requests).await {
                Ok(()) => Ok(Head { checkpoint: Checkpoint::default(), origin: "a".into() }),
                Err(_) => Err(Error::new(ErrorKind::Timeout, "no reply")),
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_continues_while_its_reply_is_not_awaited() {
        let mut watermark = Watermark::new(Arc::new(Impatient), Arc::new(ManualClock::new()));
        watermark.request();
        assert!(futures_util::FutureExt::now_or_never(watermark.replied()).is_none());
        tokio::time::sleep(Duration::from_secs(10)).await; // sleep: what a slow store takes, on the paused clock
        watermark.replied().await.expect("the source replied in time");
    }

    #[tokio::test]
    async fn the_time_of_a_request_counts_once_its_end_is_applied() {
        let (clock, source) = (ManualClock::new(), Arc::new(Slow::default()));
        *source.end.lock().expect("unpoisoned") = "a:1-5".parse().expect("a position");
        let mut watermark = Watermark::new(Arc::<Slow>::clone(&source), Arc::new(clock.clone()));
        watermark.request();
        let requested_at = clock.now();
        assert!(futures_util::FutureExt::now_or_never(watermark.replied()).is_none(), "the request is in progress");
        clock.advance(Duration::from_secs(9));
        source.reply.notify_one();
        watermark.replied().await.expect("a head");
        assert_eq!(watermark.reached(&"a:1-4".parse().expect("a position")), Timestamp::UNKNOWN, "not applied yet");
        assert_eq!(watermark.reached(&"a:1-5".parse().expect("a position")), requested_at);
        assert_eq!(watermark.reached(&"a:1-9".parse().expect("a position")), Timestamp::UNKNOWN, "returned once");
    }
}
