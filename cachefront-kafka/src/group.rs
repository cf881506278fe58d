//! Leader election among several invalidators by a consumer group.
//!
//! The members subscribe to the election topic with cooperative rebalancing ([`cooperative-sticky`]). The member that is
//! assigned its first partition leads, and reads all partitions with another client; the others wait. A single reader
//! keeps positions in one order, and is fast enough: a connector has one task, which is much slower. Offsets are committed
//! to the group for monitoring tools; the position that counts is in the store.
//!
//! [`cooperative-sticky`]: https://github.com/confluentinc/librdkafka/blob/master/CONFIGURATION.md
//!
//! # Why cooperative
//! With eager rebalancing every member loses its partitions whenever one joins or leaves, so each
//! rolling release would end the session of the leader several times. With cooperative rebalancing
//! only the partition that moves is revoked. All members of a group must use the same strategy.

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

use crate::brokers::blocking;
use crate::checkpoint::Resume;
use crate::config::KafkaSettings;
use crate::error::{failed, is_transient};

/// How long the member's thread waits for events before it checks whether it should end.
const POLL: Duration = Duration::from_millis(200);

/// This process's membership in the group.
///
/// Dropping it leaves the group within 200 ms.
pub(crate) struct Membership {
    group: String,
    consumer: Arc<BaseConsumer<Election>>,
    leads: watch::Receiver<Result<bool>>,
    stop: Arc<AtomicBool>,
}

impl fmt::Debug for Membership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Membership").field("leads", &self.leads()).finish_non_exhaustive()
    }
}

/// Receives the group's assignments.
///
/// Its methods are called by the thread that polls.
struct Election {
    topic: String,
    leads: watch::Sender<Result<bool>>,
}

impl ClientContext for Election {}

impl ConsumerContext for Election {
    /// Leadership ends before another member can be assigned the partition.
    fn pre_rebalance(&self, _: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        if let Rebalance::Revoke(partitions) = rebalance
            && self.decides(partitions)
        {
            let _ = self.leads.send(Ok(false));
        }
    }

    /// The partition is paused, so that no record is fetched twice.
    fn post_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        if let Rebalance::Assign(partitions) = rebalance {
            // Another client reads the records; this one only is a member.
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
    /// True if these partitions include the one that decides.
    fn decides(&self, partitions: &TopicPartitionList) -> bool {
        partitions.find_partition(&self.topic, 0).is_some()
    }
}

impl Membership {
    /// Joins the group.
    ///
    /// # Errors
    /// If the client cannot be created or subscribed, or its thread cannot be started.
    pub(crate) fn join(config: &ClientConfig, group: &str, topic: &str, settings: &KafkaSettings) -> Result<Self> {
        let (sender, leads) = watch::channel(Ok(false));
        let mut config = config.clone();
        config
            .set("group.id", group)
            .set("partition.assignment.strategy", "cooperative-sticky")
            .set("session.timeout.ms", settings.session_timeout.as_millis().to_string())
            .set("heartbeat.interval.ms", (settings.session_timeout / 3).as_millis().to_string())
            // A member reads no records, so any offset will do for a group without committed ones.
            .set("auto.offset.reset", "latest")
            // Finds the topic soon if it is created after this member has joined.
            .set("topic.metadata.refresh.interval.ms", "1000")
            .set("queued.min.messages", "1");
        let context = Election { topic: topic.to_owned(), leads: sender };
        let consumer: BaseConsumer<Election> =
            config.create_with_context(context).map_err(|cause| failed("joining the consumer group", cause))?;
        consumer.subscribe(&[topic]).map_err(|cause| failed("joining the consumer group", cause))?;
        let (consumer, stop) = (Arc::new(consumer), Arc::new(AtomicBool::new(false)));
        let (member, ended) = (Arc::clone(&consumer), Arc::clone(&stop));
        thread::Builder::new().name("cachefront-group".into()).spawn(move || run_member(&member, &ended)).map_err(
            |cause| {
                Error::with_source(ErrorKind::Unavailable, "the thread of the consumer group cannot be started", cause)
            },
        )?;
        Ok(Self { group: group.to_owned(), consumer, leads, stop })
    }

    /// Returns true if the group has another member, which leads if this one leaves. False if the brokers do not reply within
    /// `timeout`: then no other one can be elected either.
    pub(crate) async fn has_others(&self, timeout: Duration) -> bool {
        let (consumer, group) = (Arc::clone(&self.consumer), self.group.clone());
        let listed = blocking("reading the members of the consumer group", move || {
            let groups = consumer.fetch_group_list(Some(&group), timeout);
            let groups = groups.map_err(|cause| failed("reading the members of the consumer group", cause))?;
            Ok(groups.groups().iter().map(|group| group.members().len()).sum::<usize>())
        });
        match listed.await {
            Ok(members) => members > 1,
            Err(error) => {
                tracing::debug!(error = %error.chain(), "the members of the consumer group are not known");
                false
            }
        }
    }

    /// Waits until this member leads.
    ///
    /// # Errors
    /// If the group refuses the member, or its thread has ended.
    ///
    /// # Cancel safety
    /// Cancel safe: the membership goes on.
    pub(crate) async fn lead(&mut self) -> Result<()> {
        let elected = self.leads.wait_for(|leads| !matches!(leads, Ok(false))).await;
        match elected.as_deref() {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(error.clone()),
            Err(_) => Err(Error::new(ErrorKind::Unavailable, "the thread of the consumer group has ended")),
        }
    }

    /// True while this member leads.
    pub(crate) fn leads(&self) -> bool {
        matches!(*self.leads.borrow(), Ok(true))
    }

    /// Waits until this member loses leadership.
    pub(crate) async fn leadership_lost(&mut self) {
        let _ = self.leads.wait_for(|leads| !matches!(leads, Ok(true))).await;
    }

    /// Commits these offsets to the group, without waiting for the response.
    ///
    /// # Errors
    /// `Config` or `Unavailable` from the client. A commit that is refused later is not reported:
    /// only monitoring depends on it.
    pub(crate) fn commit(&self, resume: &Resume) -> Result<()> {
        let mut offsets = TopicPartitionList::new();
        for (topic, partition, point) in resume.iter() {
            offsets
                .add_partition_offset(topic, partition, Offset::Offset(point.next))
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

/// Keeps the membership alive until `stop`, then leaves the group, so that another member takes over without waiting for
/// the session timeout.
fn run_member(member: &BaseConsumer<Election>, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        if let Some(Err(error)) = member.poll(POLL) {
            report(member, &error);
        }
    }
    member.unsubscribe();
}

/// Logs a transient error; any other one ends the wait for leadership.
fn report(member: &BaseConsumer<Election>, error: &KafkaError) {
    if error.rdkafka_error_code().is_none_or(is_transient) {
        tracing::debug!(%error, "the membership in the consumer group continues");
    } else {
        let _ = member.context().leads.send(Err(failed("the consumer group", error.clone())));
    }
}
