//! The change source: sessions that read Kafka, and leadership in the consumer group.
//!
//! # A session
//! `open` reads the ends of all partitions, decides from where each is read ([`crate::partition`]),
//! and starts the reader's thread. `next_batch` draws decoded records from it until a limit is
//! reached. A failure ends the session; the next one resumes at the last checkpoint in the store.
//!
//! A batch is returned when it is full, when `linger_max` has passed since its first change, or
//! after `wait_max` without one. A batch without changes may still advance the position.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use cachefront_core::event::{Batch, TableName};
use cachefront_core::gate::VisibilityGate;
use cachefront_core::source::{BatchLimits, ChangeSource, Checkpoint, Lead, SourceProbe, TableFilter};
use cachefront_core::{Error, ErrorKind, Result};
use rdkafka::ClientConfig;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::assemble::{Assembler, InSnapshot};
use crate::brokers::TopicPartition;
use crate::checkpoint::Resume;
use crate::config::{DURATION_MAX, KafkaSettings};
use crate::decode::{Decoder, DecoderSettings, Form};
use crate::error::gap;
use crate::group::Membership;
use crate::probe::{KafkaProbe, SharedView};
use crate::progress::KafkaProgress;
use crate::reader::{Chunk, Item, Reader};
use crate::scope::{ControlTopics, Scope, with_marker};
use crate::spelling::Spellings;
use crate::topics::Topics;
use crate::tracker::Stuck;

mod findings;
mod naming;

/// Follows Debezium's change events of a MySQL server on Kafka.
///
/// # Delivery and positions
/// Changes are returned in the order in which they are read. The position is a set of GTIDs, the same as the binary log's,
/// so a token from a write is valid whichever source invalidates. A transaction is in it when the connector's transaction
/// metadata (`provide.transaction.metadata=true`) show that all its events were returned; a
/// [marker](crate::KafkaSourceBuilder::marker) row covers transactions without events. Without the metadata the position
/// stays as it is, and the log says why.
///
/// Delivery is at-least-once. Offsets are stored with the position, and committed to the consumer group, if there is one,
/// for monitoring tools.
///
/// # Gaps
/// Unread records are gone (retention, a deleted topic), a record cannot be decoded, an event has no GTID, events that a
/// transaction counts never arrive, a row belongs to an XA transaction (the first one only), or the connector takes a new
/// snapshot. The error of a record that cannot be decoded has a [`DecodeError`](crate::decode::DecodeError) as its source.
///
/// # Not promised
/// Entries may stay stale after XA transactions: see the [crate's documentation](crate#what-is-not-promised).
pub struct KafkaSource {
    parts: Parts,
    shared: SharedView,
    probe: Arc<KafkaProbe>,
    membership: Option<Membership>,
    /// This member has left the group for another one, and does not join again before.
    rejoins_at: Option<Instant>,
    session: Option<Session>,
    /// The snapshot that is being read, and has flushed everything. Outlives sessions.
    snapshot: InSnapshot,
    committed_at: Option<Instant>,
}

/// Everything parsed from the builder that a source needs.
pub(crate) struct Parts {
    pub(crate) brokers: String,
    pub(crate) prefix: String,
    pub(crate) group: Option<String>,
    pub(crate) control: ControlTopics,
    pub(crate) marker: Option<(TableName, Box<str>)>,
    pub(crate) client: ClientConfig,
    pub(crate) decoder: DecoderSettings,
    /// No mapped table is ever truncated.
    pub(crate) never_truncated: bool,
    pub(crate) settings: KafkaSettings,
    /// The server behind the connector: its head, its gate, its preflight. Never opened.
    pub(crate) database: Box<dyn ChangeSource>,
}

impl fmt::Debug for Parts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The client's settings hold passwords.
        f.debug_struct("Parts")
            .field("brokers", &self.brokers)
            .field("prefix", &self.prefix)
            .field("group", &self.group)
            .field("marker", &self.marker)
            .field("settings", &self.settings)
            .field("database", &self.database)
            .finish_non_exhaustive()
    }
}

/// Reading from one checkpoint on.
///
/// Dropping it stops the reader's thread and the task that refreshes the metadata.
struct Session {
    reader: Reader,
    assembler: Assembler,
    chunk: std::vec::IntoIter<Item>,
    /// When the current batch must be returned at the latest.
    due: Option<Instant>,
    stall: Option<Stall>,
    /// Refreshes metadata.
    refresher: JoinHandle<()>,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.refresher.abort();
    }
}

/// Periodically refreshes partition metadata: topics may be created, deleted or truncated at any time.
///
/// A refusal, such as a right that was taken away, ends the session: records could go missing
/// unseen.
async fn refresh_metadata(probe: Arc<KafkaProbe>, every: Duration) {
    loop {
        tokio::time::sleep(every).await;
        if let Err(error) = probe.refresh().await {
            if error.kind() == ErrorKind::Config {
                probe.refuse(error);
                return;
            }
            tracing::debug!(error = %error.chain(), "the metadata cannot be refreshed; retrying");
        }
    }
}

/// A transaction that waits for records, since when, and the metadata refresh at that time.
///
/// A loss is certain only when the brokers' ends, read after the stall began, are reached.
struct Stall {
    stuck: Stuck,
    since: Instant,
    round: u64,
}

impl fmt::Debug for KafkaSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaSource")
            .field("parts", &self.parts)
            .field("membership", &self.membership)
            .field("open", &self.session.is_some())
            .finish_non_exhaustive()
    }
}

impl KafkaSource {
    pub(crate) fn new(parts: Parts, shared: SharedView, probe: KafkaProbe) -> Self {
        Self {
            parts,
            shared,
            probe: Arc::new(probe),
            membership: None,
            rejoins_at: None,
            session: None,
            snapshot: InSnapshot::None,
            committed_at: None,
        }
    }

    /// Returns a handle to the source's progress, which stays valid after the source was moved into an invalidator.
    pub fn progress(&self) -> KafkaProgress {
        KafkaProgress::new(self.shared.clone())
    }

    /// Chooses the topics of the mapped tables and the marker's, unless the builder named others.
    fn choose_topics(&self, filter: &TableFilter) {
        let mut view = self.shared.lock();
        if view.topics.is_default() {
            let mapped = with_marker(filter, self.parts.marker.as_ref());
            let logged = Spellings::new(&mapped).logged(&mapped);
            view.topics = Topics::of_tables(&self.parts.prefix, &self.parts.control.transactions, &logged);
        }
    }

    /// Returns a decoder of the mapped tables and the marker's.
    fn decoder(&self, filter: &TableFilter) -> Decoder {
        let mapped = with_marker(filter, self.parts.marker.as_ref());
        let spellings = Spellings::new(&mapped);
        let logged = spellings.logged(&mapped);
        Decoder::new(naming::settings(&spellings, &self.parts.decoder, &logged), &logged)
    }

    /// Ends the session, and keeps what outlives it.
    fn end_session(&mut self) {
        if let Some(session) = self.session.take() {
            self.snapshot = session.assembler.snapshot();
            self.shared.lock().uncounted |= session.assembler.uncounted();
        }
        let mut view = self.shared.lock();
        view.reading.clear();
        (view.lost, view.refused) = (None, None);
    }

    /// Reads until a limit is reached or the deadline expires.
    ///
    /// # Errors
    /// `Unavailable` if the source is not open or lost its leadership, `Gap` if records are gone.
    async fn fetch(&mut self, limits: &BatchLimits) -> Result<Batch> {
        let (shared, settings) = (&self.shared, &self.parts.settings);
        let session = self
            .session
            .as_mut()
            .ok_or_else(|| Error::new(ErrorKind::Unavailable, "the source is not open: call `open` first"))?;
        let deadline = Instant::now() + limits.wait_max.min(DURATION_MAX);
        loop {
            session.watch(shared, settings.completion_timeout)?;
            session.draw(limits)?;
            if session.assembler.is_full(limits) {
                break;
            }
            let until = match session.assembler.has_progress() {
                true => *session.due.get_or_insert_with(|| Instant::now() + limits.linger_max.min(DURATION_MAX)),
                false => deadline,
            };
            if Instant::now() >= until {
                break;
            }
            tokio::select! {
                biased;
                () = leadership_lost(&mut self.membership) => return Err(not_elected()),
                chunk = session.reader.next() => session.chunk = chunk?.into_iter(),
                () = tokio::time::sleep_until(until) => {}
            }
        }
        session.due = None;
        let batch = session.assembler.batch();
        session.report(shared);
        Ok(batch)
    }
}

/// The error of a member whose leadership another one has taken.
fn not_elected() -> Error {
    Error::new(ErrorKind::Unavailable, "another member of the consumer group leads now")
}

/// The error of a group whose topic does not exist.
fn no_election(group: &str, topic: &str) -> String {
    format!(
        "the consumer group {group} elects its leader by the topic {topic}, which does not exist: start the connector \
         with provide.transaction.metadata=true, or name its topic with `transaction_topic`"
    )
}

/// Waits until this member of the group loses leadership; forever without a group.
async fn leadership_lost(membership: &mut Option<Membership>) {
    match membership {
        Some(membership) => membership.leadership_lost().await,
        None => std::future::pending().await,
    }
}

impl Session {
    /// Adds what was read to the batch, up to the limits.
    ///
    /// # Errors
    /// `Gap` as [`Assembler::take`], or the error that ended the thread.
    fn draw(&mut self, limits: &BatchLimits) -> Result<()> {
        loop {
            while !self.assembler.is_full(limits) {
                match self.chunk.next() {
                    Some(Item::Record(fetched)) => {
                        if let Some(command) = self.assembler.take(fetched)? {
                            self.reader.send(command);
                        }
                    }
                    Some(Item::Reached(at)) => self.assembler.reach(at),
                    Some(Item::Sought(partition)) => self.assembler.sought(partition),
                    None => break,
                }
            }
            if self.assembler.is_full(limits) {
                return Ok(());
            }
            match self.reader.ready()? {
                Some(chunk) => self.chunk = Chunk::into_iter(chunk),
                None => return Ok(()),
            }
        }
    }

    /// Handles what the metadata show: records that are gone, new partitions, records that never arrive.
    ///
    /// # Errors
    /// `Gap` if unread records are gone or a transaction's records never arrive.
    fn watch(&mut self, shared: &SharedView, completion_timeout: Duration) -> Result<()> {
        for command in self.assembler.balance() {
            self.reader.send(command);
        }
        let mut view = shared.lock();
        if let Some(why) = view.lost.take() {
            return Err(gap(why));
        }
        if let Some(error) = view.refused.take() {
            return Err(error);
        }
        for partition in view.unread() {
            let Some(bounds) = view.bounds.get(&partition).copied() else { continue };
            tracing::info!(%partition, "reading a new partition");
            let command = self.assembler.add(partition.clone(), bounds)?;
            self.reader.send(command);
            view.reading.insert(partition, bounds.low);
        }
        let round = view.round;
        let end = |partition: &TopicPartition| view.bounds.get(partition).map(|bounds| bounds.high);
        self.assembler.hold_markers(end);
        let Some(stuck) = self.assembler.stuck() else {
            self.stall = None;
            return Ok(());
        };
        let is_read = self.assembler.is_read(&stuck, end);
        drop(view);
        match &self.stall {
            // Records may still be in flight, so a loss takes two more refreshes and some time.
            Some(stall) if stall.stuck == stuck => {
                if is_read && round > stall.round + 1 && stall.since.elapsed() >= completion_timeout {
                    self.assembler.lose(&stuck)?;
                }
            }
            _ => self.stall = Some(Stall { stuck, since: Instant::now(), round }),
        }
        Ok(())
    }

    /// Stores the next offsets for the probe.
    fn report(&self, shared: &SharedView) {
        let mut view = shared.lock();
        for state in &self.assembler.partitions {
            if let Some(next) = view.reading.get_mut(&state.partition) {
                *next = state.next;
            }
        }
    }
}

#[async_trait]
impl ChangeSource for KafkaSource {
    fn describe(&self) -> String {
        format!("Debezium's `{}` on Kafka at {}", self.parts.prefix, self.parts.brokers)
    }

    async fn preflight(&mut self, filter: &TableFilter) -> Result<Vec<String>> {
        self.choose_topics(filter);
        // The server is checked for the connector, too.
        let relayed = filter.clone().relayed(self.parts.decoder.columns.keys().map(String::as_str));
        let mut findings = self.parts.database.preflight(&relayed).await?;
        let topics = self.shared.lock().topics.clone();
        findings.extend(findings::absent_topics(&self.probe, &self.parts.control, topics).await?);
        if self.parts.decoder.form == Form::Flattened {
            findings.push(findings::flattened(self.parts.never_truncated));
        }
        if self.parts.marker.is_none() {
            findings.push(
                "no marker table is set: while the database is idle, and after changes of other tables, no event proves that \
                 the cache is current, so reads with a token or a bound go to the database"
                    .into(),
            );
        }
        Ok(findings)
    }

    async fn lead(&mut self) -> Result<Lead> {
        if self.parts.group.is_none() {
            return Ok(Lead::Undecided);
        }
        self.end_session();
        if self.membership.is_none()
            && let Some(group) = &self.parts.group
        {
            let topic = &self.parts.control.transactions;
            if !self.probe.absent(vec![topic.clone()]).await?.is_empty() {
                return Err(Error::new(ErrorKind::Unavailable, no_election(group, topic)));
            }
            if let Some(at) = self.rejoins_at {
                tokio::time::sleep_until(at).await;
                self.rejoins_at = None;
            }
            self.membership = Some(Membership::join(&self.parts.client, group, topic, &self.parts.settings)?);
        }
        if let Some(membership) = &mut self.membership
            && let Err(error) = membership.lead().await
        {
            self.membership = None;
            return Err(error);
        }
        Ok(Lead::Elected)
    }

    async fn open(&mut self, from: &Checkpoint, filter: &TableFilter) -> Result<()> {
        self.end_session();
        if self.membership.as_ref().is_some_and(|membership| !membership.leads()) {
            return Err(not_elected());
        }
        self.choose_topics(filter);
        let found = self.probe.refresh_for(&Resume::decode(&from.resume)?, &self.parts.settings).await?;
        let mut scope = Scope::new(
            filter,
            self.parts.marker.clone(),
            self.parts.control.clone(),
            self.parts.decoder.form == Form::Flattened,
            &self.parts.settings,
        );
        scope.reads = self.shared.lock().topics.clone();
        scope.hides_truncates = scope.is_flattened && !self.parts.never_truncated;
        let (assembler, commands) = Assembler::new(scope, from, &found, self.snapshot.clone())?;
        self.shared.lock().uncounted |= assembler.uncounted();
        let reader = Reader::start(&self.parts.client, self.decoder(filter), &self.parts.settings)?;
        self.shared.lock().reading =
            assembler.partitions.iter().map(|state| (state.partition.clone(), state.next)).collect();
        for command in commands {
            reader.send(command);
        }
        let refresher = tokio::spawn(refresh_metadata(Arc::clone(&self.probe), self.parts.settings.discovery_interval));
        let chunk = Vec::new().into_iter();
        self.session = Some(Session { reader, assembler, chunk, due: None, stall: None, refresher });
        Ok(())
    }

    async fn next_batch(&mut self, limits: &BatchLimits) -> Result<Batch> {
        let fetched = self.fetch(limits).await;
        // A failed session cannot continue: the next one resumes at a checkpoint.
        if fetched.is_err() {
            self.end_session();
        }
        fetched
    }

    async fn acknowledge(&mut self, checkpoint: &Checkpoint) -> Result<()> {
        let Some(membership) = &self.membership else { return Ok(()) };
        if self.committed_at.is_some_and(|at| at.elapsed() < self.parts.settings.commit_interval) {
            return Ok(());
        }
        self.committed_at = Some(Instant::now());
        membership.commit(&Resume::decode(&checkpoint.resume)?)
    }

    /// Ends the session: its thread, its connections and what it has read ahead. The membership in the group stays, as a
    /// standby waits in it.
    async fn close(&mut self) {
        self.end_session();
    }

    /// Leaves the group if it has another member. This one joins again after the time within which that one has noticed it: if
    /// it were a member earlier, it could be assigned the election topic again.
    async fn resign(&mut self) {
        self.end_session();
        let settings = &self.parts.settings;
        if let Some(membership) = &self.membership
            && membership.has_others(settings.request_timeout).await
        {
            tracing::warn!(source = %self.describe(), "this member of the consumer group cannot work: it leaves, so that another one is elected");
            self.rejoins_at = Some(Instant::now() + settings.session_timeout);
            self.membership = None;
        }
    }

    fn probe(&self) -> Arc<dyn SourceProbe> {
        Arc::clone(&self.probe) as Arc<dyn SourceProbe>
    }

    fn gate(&self) -> Option<Arc<dyn VisibilityGate>> {
        self.parts.database.gate()
    }
}

#[cfg(test)]
mod tests;
