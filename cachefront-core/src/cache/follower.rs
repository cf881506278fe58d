//! Follows the bus for one cache: every invalidation in the store voids what this process holds or is loading.
//!
//! In doubt — a lost connection, a gap in the sequence, silence — the process-local tier goes off, and everything is
//! voided before it goes on again (rule 12).

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::task::JoinHandle;

use crate::bus::{BusEvent, BusMessage, BusRead, BusReader, InvalidationBus};
use crate::cache::epochs::Epochs;
use crate::clock::{Clock, Timestamp};
use crate::key::StoreKey;
use crate::metrics::CacheMetrics;
use crate::position::Position;
use crate::store::Generation;

/// What this process has handled of the bus: it proves values of the process-local tier.
#[derive(Clone, Debug, Default)]
pub(crate) struct Handled {
    /// Every invalidation up to here has been handled; nothing if that is in doubt.
    pub(crate) applied: Option<Position>,
    /// When `applied` was the source's end.
    pub(crate) source_time: Timestamp,
}

/// What a follower works with.
#[derive(Debug)]
pub(crate) struct Follower {
    pub(crate) cache: Arc<str>,
    pub(crate) bus: Arc<dyn InvalidationBus>,
    pub(crate) epochs: Arc<Epochs>,
    pub(crate) handled: Arc<ArcSwap<Handled>>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) metrics: CacheMetrics,
    pub(crate) silence_max: Duration,
    pub(crate) pause_min: Duration,
    pub(crate) pause_max: Duration,
}

impl std::fmt::Debug for CacheMetrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CacheMetrics")
    }
}

/// Why following stopped.
#[derive(Clone, Copy)]
enum Doubt {
    Connection,
    Gap,
}

impl Follower {
    /// Follows until the task is aborted.
    pub(crate) fn spawn(self) -> JoinHandle<()> {
        tokio::spawn(async move {
            let mut pause = self.pause_min;
            loop {
                match self.bus.subscribe().await {
                    Ok(reader) => {
                        pause = self.pause_min;
                        self.follow(reader).await;
                    }
                    Err(error) => {
                        tracing::debug!(cache = %self.cache, error = %error.chain(), "the bus cannot be read")
                    }
                }
                self.clock.sleep(pause).await;
                pause = (pause * 2).min(self.pause_max);
            }
        })
    }

    async fn follow(&self, mut reader: Box<dyn BusReader>) {
        // The reader noted the bus's head before this: everything older is voided now, everything newer will be read.
        let mut sequence = reader.head();
        let mut generation = None;
        self.resume();
        let doubt = loop {
            let reads = tokio::select! {
                reads = reader.next() => reads,
                () = self.clock.sleep(self.silence_max), if self.epochs.is_following() => {
                    self.stop("silence");
                    continue;
                }
            };
            let Ok(reads) = reads else { break Doubt::Connection };
            if !self.epochs.is_following() {
                // The bus speaks again after a silence: what was kept is void, and the messages below count as usual.
                self.resume();
            }
            if !self.handle_all(&reads, &mut sequence, &mut generation) {
                break Doubt::Gap;
            }
        };
        self.stop(match doubt {
            Doubt::Connection => "connection",
            Doubt::Gap => "gap",
        });
    }

    fn handle_all(&self, reads: &[BusRead], sequence: &mut u64, generation: &mut Option<Generation>) -> bool {
        for read in reads {
            if read.sequence != *sequence + 1 {
                return false;
            }
            *sequence = read.sequence;
            self.handle(&read.message, generation);
        }
        true
    }

    fn handle(&self, message: &BusMessage, generation: &mut Option<Generation>) {
        self.void(message, generation);
        if message.sent_at.is_known() {
            self.metrics.bus_seconds.record(self.clock.now().since(message.sent_at).as_secs_f64());
        }
    }

    fn void(&self, message: &BusMessage, generation: &mut Option<Generation>) {
        // A message that proves nothing comes from a reader's own wish and knows no generation.
        if message.applied.is_some()
            && generation.replace(message.generation).is_some_and(|known| known != message.generation)
        {
            self.epochs.invalidate_all();
        }
        match &message.event {
            BusEvent::Keys(keys) => {
                for text in keys.iter().filter(|text| self.is_mine(text)) {
                    match StoreKey::from_text(&**text) {
                        Ok(key) => self.epochs.invalidate(&key),
                        Err(_) => self.epochs.invalidate_all(),
                    }
                }
            }
            BusEvent::Flush => self.epochs.invalidate_all(),
            BusEvent::Heartbeat => {}
        }
        if let Some(applied) = &message.applied {
            let source_time = match message.source_time.is_known() {
                true => message.source_time,
                false => self.handled.load().source_time,
            };
            self.handled.store(Arc::new(Handled { applied: Some(applied.clone()), source_time }));
        }
    }

    fn is_mine(&self, text: &str) -> bool {
        text.strip_prefix(&*self.cache).is_some_and(|rest| rest.starts_with(':'))
    }

    fn resume(&self) {
        self.handled.store(Arc::default());
        self.epochs.start_following();
        self.metrics.local_on.set(1.0);
    }

    fn stop(&self, reason: &'static str) {
        self.epochs.stop_following();
        self.handled.store(Arc::default());
        self.metrics.local_on.set(0.0);
        self.metrics.local_reset(reason);
        tracing::debug!(cache = %self.cache, reason, "the process-local tier is off and cleared");
    }
}
