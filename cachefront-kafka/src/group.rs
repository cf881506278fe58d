//! A consumer group that decides which of several invalidators reads.
//!
//! The members share one partition, the first one of the election topic, by cooperative rebalance: who is given it
//! leads, and reads all partitions by a client of its own; the others wait. One reader keeps one order of positions,
//! and one is enough: a connector is a single task, and slower than one reader by far. Offsets are committed in the
//! group's name, for the usual tools; the position that counts is in the store.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use cachefront_core::{Error, ErrorKind, Result};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext, Rebalance};
use rdkafka::error::KafkaError;
use rdkafka::{ClientConfig, ClientContext, Offset, TopicPartitionList};
use tokio::sync::watch;

use crate::checkpoint::Resume;
use crate::config::KafkaSettings;
use crate::error::{failed, passes};

/// How long the member's thread waits for news before it looks whether it should end.
const POLL: Duration = Duration::from_millis(200);

/// This process's place in the group.
pub(crate) struct Membership {
    consumer: Arc<BaseConsumer<Election>>,
    leads: watch::Receiver<Result<bool>>,
    stop: Arc<AtomicBool>,
}

impl fmt::Debug for Membership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Membership").field("leads", &self.leads()).finish_non_exhaustive()
    }
}

/// Hears which partitions the group gives to this member.
struct Election {
    topic: String,
    leads: watch::Sender<Result<bool>>,
}

impl ClientContext for Election {}

impl ConsumerContext for Election {
    fn pre_rebalance(&self, _: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        if let Rebalance::Revoke(partitions) = rebalance
            && self.decides(partitions)
        {
            let _ = self.leads.send(Ok(false));
        }
    }

    fn post_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        if let Rebalance::Assign(partitions) = rebalance {
            // Membership is all that is wanted: the records are read by another client.
            if let Err(error) = consumer.pause(partitions) {
                tracing::warn!(%error, "the election topic could not be paused");
            }
            if self.decides(partitions) {
                let _ = self.leads.send(Ok(true));
            }
        }
    }
}

impl Election {
    fn decides(&self, partitions: &TopicPartitionList) -> bool {
        partitions.find_partition(&self.topic, 0).is_some()
    }
}

impl Membership {
    /// Joins the group.
    pub(crate) fn join(config: &ClientConfig, group: &str, topic: &str, settings: &KafkaSettings) -> Result<Self> {
        let (sender, leads) = watch::channel(Ok(false));
        let mut config = config.clone();
        config
            .set("group.id", group)
            .set("partition.assignment.strategy", "cooperative-sticky")
            .set("session.timeout.ms", settings.session_timeout.as_millis().to_string())
            .set("heartbeat.interval.ms", (settings.session_timeout / 3).as_millis().to_string())
            // Nothing is read as a member, so a group without offsets begins anywhere.
            .set("auto.offset.reset", "latest")
            // The topic may be made after this member has joined.
            .set("topic.metadata.refresh.interval.ms", "1000")
            .set("queued.min.messages", "1");
        let context = Election { topic: topic.to_owned(), leads: sender };
        let consumer: BaseConsumer<Election> =
            config.create_with_context(context).map_err(|cause| failed("joining the consumer group", cause))?;
        consumer.subscribe(&[topic]).map_err(|cause| failed("joining the consumer group", cause))?;
        let (consumer, stop) = (Arc::new(consumer), Arc::new(AtomicBool::new(false)));
        let (member, ended) = (Arc::clone(&consumer), Arc::clone(&stop));
        thread::Builder::new()
            .name("cachefront-group".into())
            .spawn(move || attend(&member, &ended))
            .map_err(|cause| Error::with_source(ErrorKind::Unavailable, "no thread for the consumer group", cause))?;
        Ok(Self { consumer, leads, stop })
    }

    /// Waits until this member leads.
    pub(crate) async fn lead(&mut self) -> Result<()> {
        let settled = self.leads.wait_for(|leads| !matches!(leads, Ok(false))).await;
        match settled.as_deref() {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(error.clone()),
            Err(_) => Err(Error::new(ErrorKind::Unavailable, "the consumer group's member has ended")),
        }
    }

    /// True while this member leads.
    pub(crate) fn leads(&self) -> bool {
        matches!(*self.leads.borrow(), Ok(true))
    }

    /// Waits until this member does not lead any more.
    pub(crate) async fn deposed(&mut self) {
        let _ = self.leads.wait_for(|leads| !matches!(leads, Ok(true))).await;
    }

    /// Commits these places in the group's name, without waiting for the answer.
    pub(crate) fn commit(&self, resume: &Resume) -> Result<()> {
        let mut offsets = TopicPartitionList::new();
        for (topic, partition, place) in resume.iter() {
            offsets
                .add_partition_offset(topic, partition, Offset::Offset(place.next))
                .map_err(|cause| failed("committing offsets", cause))?;
        }
        self.consumer.commit(&offsets, CommitMode::Async).map_err(|cause| failed("committing offsets", cause))
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// Keeps the membership alive. Leaves the group when told to, so that another member need not wait for a timeout.
fn attend(member: &BaseConsumer<Election>, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        if let Some(Err(error)) = member.poll(POLL) {
            note(member, &error);
        }
    }
    member.unsubscribe();
}

fn note(member: &BaseConsumer<Election>, error: &KafkaError) {
    let passes = error.rdkafka_error_code().is_none_or(passes);
    if passes {
        tracing::debug!(%error, "the consumer group's member goes on");
    } else {
        let _ = member.context().leads.send(Err(failed("the consumer group", error.clone())));
    }
}
