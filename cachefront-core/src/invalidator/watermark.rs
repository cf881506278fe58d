//! The watermark: a moment at which everything that was committed is applied.
//!
//! The clock is read *before* the source's end is asked for, and the moment counts when everything up to that end is
//! applied ("Source time"). A time taken when something was received would prove nothing.

use std::sync::Arc;

use tokio::task::JoinSet;

use crate::clock::{Clock, Timestamp};
use crate::error::{Error, ErrorKind, Result};
use crate::position::Position;
use crate::source::{Head, SourceProbe};

/// One question at a time, and the answers that wait to be true.
pub(crate) struct Watermark {
    probe: Arc<dyn SourceProbe>,
    clock: Arc<dyn Clock>,
    /// The question, in a task of its own: a slow store must not use up the time that the source has for its answer.
    asking: JoinSet<(Timestamp, Result<Head>)>,
    /// The moment and the source's end that was seen after it.
    pending: Option<(Timestamp, Position)>,
}

impl Watermark {
    pub(crate) fn new(probe: Arc<dyn SourceProbe>, clock: Arc<dyn Clock>) -> Self {
        Self { probe, clock, asking: JoinSet::new(), pending: None }
    }

    /// Asks for the source's end, unless that is being done.
    pub(crate) fn ask(&mut self) {
        if self.asking.is_empty() {
            let (probe, asked_at) = (Arc::clone(&self.probe), self.clock.now());
            self.asking.spawn(async move { (asked_at, probe.head().await) });
        }
    }

    /// The answer to the question that is being asked; never completes if there is none.
    ///
    /// # Cancel safety
    /// Cancel safe: the question goes on.
    pub(crate) async fn answered(&mut self) -> Result<Head> {
        let Some(answer) = self.asking.join_next().await else { return std::future::pending().await };
        let (asked_at, head) = answer.map_err(|error| {
            Error::with_source(ErrorKind::Unavailable, "the question for the source's end was interrupted", error)
        })?;
        let head = head?;
        // An older moment that is not true yet is the better one: it becomes true earlier.
        if self.pending.is_none() && self.probe.proves_time() {
            self.pending = Some((asked_at, head.checkpoint.position.clone()));
        }
        Ok(head)
    }

    /// The moment that became true by applying everything up to `applied`; unknown if none did.
    pub(crate) fn reached(&mut self, applied: &Position) -> Timestamp {
        match self.pending.take_if(|(_, end)| applied.covers(end)) {
            Some((asked_at, _)) => asked_at,
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

    /// A source that replies when the test lets it.
    #[derive(Debug, Default)]
    struct Slow {
        replica: bool,
        end: Mutex<Position>,
        answer: Notify,
    }

    #[async_trait]
    impl SourceProbe for Slow {
        async fn head(&self) -> Result<Head> {
            self.answer.notified().await;
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
        watermark.ask();
        source.answer.notify_one();
        watermark.answered().await.expect("a head");
        assert_eq!(watermark.reached(&"a:1-9".parse().expect("a position")), Timestamp::UNKNOWN);
    }

    /// A source that asks twice, and allows little time for both together.
    #[derive(Debug)]
    struct Impatient;

    #[async_trait]
    impl SourceProbe for Impatient {
        async fn head(&self) -> Result<Head> {
            let asking = async {
                tokio::time::sleep(Duration::from_secs(1)).await; // sleep: the first reply's way, on the paused clock
                tokio::time::sleep(Duration::from_secs(1)).await; // sleep: the second one's
            };
            match tokio::time::timeout(Duration::from_secs(5), asking).await {
                Ok(()) => Ok(Head { checkpoint: Checkpoint::default(), origin: "a".into() }),
                Err(_) => Err(Error::new(ErrorKind::Timeout, "no answer")),
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_question_goes_on_while_nobody_waits_for_its_answer() {
        let mut watermark = Watermark::new(Arc::new(Impatient), Arc::new(ManualClock::new()));
        watermark.ask();
        assert!(futures_util::FutureExt::now_or_never(watermark.answered()).is_none());
        tokio::time::sleep(Duration::from_secs(10)).await; // sleep: what a slow store takes, on the paused clock
        watermark.answered().await.expect("the source had answered in time");
    }

    #[tokio::test]
    async fn the_moment_is_that_of_the_question_and_counts_once_the_end_is_applied() {
        let (clock, source) = (ManualClock::new(), Arc::new(Slow::default()));
        *source.end.lock().expect("unpoisoned") = "a:1-5".parse().expect("a position");
        let mut watermark = Watermark::new(Arc::<Slow>::clone(&source), Arc::new(clock.clone()));
        watermark.ask();
        let asked_at = clock.now();
        assert!(futures_util::FutureExt::now_or_never(watermark.answered()).is_none(), "the question is on its way");
        clock.advance(Duration::from_secs(9));
        source.answer.notify_one();
        watermark.answered().await.expect("a head");
        assert_eq!(watermark.reached(&"a:1-4".parse().expect("a position")), Timestamp::UNKNOWN, "not applied yet");
        assert_eq!(watermark.reached(&"a:1-5".parse().expect("a position")), asked_at);
        assert_eq!(watermark.reached(&"a:1-9".parse().expect("a position")), Timestamp::UNKNOWN, "told once");
    }
}
