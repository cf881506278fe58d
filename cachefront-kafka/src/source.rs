//! The change source over Debezium's events.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use cachefront_core::event::Batch;
use cachefront_core::gate::VisibilityGate;
use cachefront_core::source::{BatchLimits, ChangeSource, Checkpoint, Columns, Lead, SourceProbe, TableFilter};
use cachefront_core::{Error, ErrorKind, Result};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::assemble::Assembler;
use crate::brokers::Partition;
use crate::builder::Parts;
use crate::checkpoint::Resume;
use crate::decode::{Decoder, Form};
use crate::error::gap;
use crate::group::Membership;
use crate::probe::{KafkaProbe, Shared};
use crate::progress::KafkaProgress;
use crate::reader::{Chunk, Item, Reader};
use crate::scope::{ControlTopics, Scope};
use crate::topics::Topics;
use crate::tracker::Stuck;

/// Follows Debezium's change events of a MySQL server on Kafka.
///
/// # Delivery and positions
/// Changes are handed over as they come; the position is a set of GTIDs, the same as the binary log's, so a token from
/// a write is good whichever source invalidates. A transaction is in it when the connector's transaction metadata
/// (`provide.transaction.metadata=true`) shows that all its events were handed over; a [marker](crate::KafkaSourceBuilder::marker)
/// row covers what leaves no events. Without metadata the position claims nothing, and the log says why.
///
/// Offsets are kept in the store with the position, and committed to the group, if there is one, for the usual tools.
///
/// # Gaps
/// Records that were to be read and are gone (retention, a deleted topic), a record that cannot be understood, an event
/// without GTID, events that a transaction counts and that never come, the first row of an XA transaction, and a new
/// snapshot of the connector.
///
/// # Not promised
/// That entries follow XA transactions: see the [crate's documentation](crate#what-is-not-promised).
pub struct KafkaSource {
    parts: Parts,
    shared: Shared,
    probe: Arc<KafkaProbe>,
    membership: Option<Membership>,
    session: Option<Session>,
    /// A snapshot that has voided everything goes on, through all sessions.
    snapshot: bool,
    committed_at: Option<Instant>,
}

/// Reading from one place on.
struct Session {
    reader: Reader,
    assembler: Assembler,
    chunk: std::vec::IntoIter<Item>,
    /// When the draft is handed over at the latest.
    due: Option<Instant>,
    stall: Option<Stall>,
    lookout: JoinHandle<()>,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.lookout.abort();
    }
}

/// Looks at the partitions again and again: topics are made, deleted and cut off while they are read.
async fn look_out(probe: Arc<KafkaProbe>, every: Duration) {
    loop {
        tokio::time::sleep(every).await;
        if let Err(error) = probe.look().await {
            if error.kind() == ErrorKind::Config {
                probe.refuse(error);
                return;
            }
            tracing::debug!(error = %error.chain(), "the brokers do not answer; reading goes on when they do");
        }
    }
}

/// A transaction that may have lost events.
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
            .field("reads", &self.session.is_some())
            .finish_non_exhaustive()
    }
}

impl KafkaSource {
    pub(crate) fn new(parts: Parts, shared: Shared, probe: KafkaProbe) -> Self {
        Self {
            parts,
            shared,
            probe: Arc::new(probe),
            membership: None,
            session: None,
            snapshot: false,
            committed_at: None,
        }
    }

    /// How far each partition was read, to be asked at any time, also after the source was handed over.
    pub fn progress(&self) -> KafkaProgress {
        KafkaProgress::new(self.shared.clone())
    }

    /// Without topics of their own, those of the mapped tables are read.
    fn choose_topics(&self, filter: &TableFilter) {
        let mut view = self.shared.lock();
        if view.topics.is_default() {
            let mut topics = Topics::of_tables(&self.parts.prefix, &self.parts.control.transactions, filter);
            if let Some((table, _)) = &self.parts.marker {
                topics.add(crate::topics::topic_of(&self.parts.prefix, table));
            }
            view.topics = topics;
        }
    }

    /// What the decoder looks at: the mapped tables, and the marker.
    fn decoded(&self, filter: &TableFilter) -> TableFilter {
        let mut decoded = filter.clone();
        if let Some((table, column)) = &self.parts.marker {
            decoded.add(table.clone(), &Columns::Only(vec![column.clone()]));
        }
        decoded
    }

    fn close(&mut self) {
        if let Some(session) = self.session.take() {
            self.snapshot = session.assembler.snapshot();
            self.shared.lock().uncounted |= session.assembler.uncounted();
        }
        let mut view = self.shared.lock();
        view.reading.clear();
        (view.lost, view.refused) = (None, None);
    }

    async fn fetch(&mut self, limits: &BatchLimits) -> Result<Batch> {
        let (shared, settings) = (&self.shared, &self.parts.settings);
        let session = self
            .session
            .as_mut()
            .ok_or_else(|| Error::new(ErrorKind::Unavailable, "the source is not open: call `open` first"))?;
        let deadline = Instant::now() + limits.wait_max;
        loop {
            session.watch(shared, settings.completion_timeout)?;
            session.draw(limits)?;
            if session.assembler.is_full(limits) {
                break;
            }
            let until = match session.assembler.has_news() {
                true => *session.due.get_or_insert_with(|| Instant::now() + limits.linger_max),
                false => deadline,
            };
            if Instant::now() >= until {
                break;
            }
            tokio::select! {
                biased;
                () = deposed(&mut self.membership) => return Err(not_elected()),
                chunk = session.reader.next() => session.chunk = chunk?.into_iter(),
                () = tokio::time::sleep_until(until) => {}
            }
        }
        session.due = None;
        let batch = session.assembler.batch();
        session.tell(shared);
        Ok(batch)
    }
}

fn not_elected() -> Error {
    Error::new(ErrorKind::Unavailable, "another member of the consumer group reads now")
}

fn no_election(group: &str, topic: &str) -> String {
    format!(
        "the members of the group {group} agree by the topic {topic} who reads, and it does not exist: start the \
         connector with provide.transaction.metadata=true, or name its topic with `transaction_topic`"
    )
}

/// Waits until this member of the group does not lead any more; for ever without a group.
async fn deposed(membership: &mut Option<Membership>) {
    match membership {
        Some(membership) => membership.deposed().await,
        None => std::future::pending().await,
    }
}

impl Session {
    /// Takes in what has been read, up to the limits.
    fn draw(&mut self, limits: &BatchLimits) -> Result<()> {
        loop {
            while !self.assembler.is_full(limits) {
                match self.chunk.next() {
                    Some(Item::Record(fetched)) => {
                        if let Some(command) = self.assembler.take(fetched)? {
                            self.reader.tell(command);
                        }
                    }
                    Some(Item::Reached(at)) => self.assembler.reach(at),
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

    /// Looks at what the probe has seen: records that are gone, new partitions, events that do not come.
    fn watch(&mut self, shared: &Shared, completion_timeout: Duration) -> Result<()> {
        for command in self.assembler.balance() {
            self.reader.tell(command);
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
            tracing::info!(%partition, "a new partition is read");
            let command = self.assembler.add(partition.clone(), bounds)?;
            self.reader.tell(command);
            view.reading.insert(partition, bounds.low);
        }
        let round = view.round;
        let end = |partition: &Partition| view.bounds.get(partition).map(|bounds| bounds.high);
        self.assembler.hold_markers(end);
        let Some(stuck) = self.assembler.stuck() else {
            self.stall = None;
            return Ok(());
        };
        let is_read = self.assembler.is_read(&stuck, end);
        drop(view);
        match &self.stall {
            // Some time must have passed for deliveries that were in progress.
            Some(stall) if stall.stuck == stuck => {
                if is_read && round > stall.round + 1 && stall.since.elapsed() >= completion_timeout {
                    self.assembler.lose(&stuck)?;
                }
            }
            _ => self.stall = Some(Stall { stuck, since: Instant::now(), round }),
        }
        Ok(())
    }

    /// Tells the probe how far everything was read.
    fn tell(&self, shared: &Shared) {
        let mut view = shared.lock();
        for lane in &self.assembler.lanes {
            if let Some(next) = view.reading.get_mut(&lane.partition) {
                *next = lane.next;
            }
        }
    }
}

/// What to say of topics that do not exist, or are not read.
///
/// # Errors
/// If a topic must not be read.
async fn absent_topics(probe: &KafkaProbe, control: &ControlTopics, topics: Topics) -> Result<Vec<String>> {
    let mut asked = vec![control.transactions.clone()];
    match &topics {
        Topics::Listed(listed) => asked.clone_from(listed),
        Topics::Pattern(_) if topics.has(&control.definitions) => asked.push(control.definitions.clone()),
        Topics::Pattern(_) => {}
    }
    let absent = probe.absent(asked).await?;
    let mut findings: Vec<String> = absent
        .iter()
        .map(|topic| {
            format!("topic {topic} does not exist yet: it is read from its beginning as soon as the connector makes it")
        })
        .collect();
    if !topics.has(&control.definitions) {
        findings.push(format!(
            "the topic {} is not read, so DROP, RENAME and ALTER of a mapped table are not seen: add it to `topics` \
             or `topic_pattern`",
            control.definitions
        ));
    }
    Ok(findings)
}

#[async_trait]
impl ChangeSource for KafkaSource {
    fn describe(&self) -> String {
        format!("Debezium's `{}` on Kafka at {}", self.parts.prefix, self.parts.brokers)
    }

    async fn preflight(&mut self, filter: &TableFilter) -> Result<Vec<String>> {
        self.choose_topics(filter);
        let mut findings = self.parts.database.preflight(filter).await?;
        let topics = self.shared.lock().topics.clone();
        findings.extend(absent_topics(&self.probe, &self.parts.control, topics).await?);
        if self.parts.marker.is_none() {
            findings.push(
                "no marker table is named: while the database is idle, and after changes of other tables, nothing proves \
                 that the cache is current, and reads that ask for it go to the database"
                    .into(),
            );
        }
        Ok(findings)
    }

    async fn lead(&mut self) -> Result<Lead> {
        if self.parts.group.is_none() {
            return Ok(Lead::Undecided);
        }
        self.close();
        if self.membership.is_none()
            && let Some(group) = &self.parts.group
        {
            let topic = &self.parts.control.transactions;
            if !self.probe.absent(vec![topic.clone()]).await?.is_empty() {
                return Err(Error::new(ErrorKind::Unavailable, no_election(group, topic)));
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
        self.close();
        if self.membership.as_ref().is_some_and(|membership| !membership.leads()) {
            return Err(not_elected());
        }
        self.choose_topics(filter);
        let found = self.probe.look().await?;
        let scope = Scope::new(
            filter,
            self.parts.marker.clone(),
            self.parts.control.clone(),
            self.parts.decoder.form == Form::Flattened,
            &self.parts.settings,
        );
        let (assembler, commands) = Assembler::new(scope, from, &found, self.snapshot)?;
        self.shared.lock().uncounted |= assembler.uncounted();
        let decoder = Decoder::new(self.parts.decoder.clone(), &self.decoded(filter));
        let reader = Reader::start(&self.parts.client, decoder, self.parts.settings.buffer_events_max)?;
        self.shared.lock().reading = assembler.lanes.iter().map(|lane| (lane.partition.clone(), lane.next)).collect();
        for command in commands {
            reader.tell(command);
        }
        let lookout = tokio::spawn(look_out(Arc::clone(&self.probe), self.parts.settings.discovery_interval));
        let chunk = Vec::new().into_iter();
        self.session = Some(Session { reader, assembler, chunk, due: None, stall: None, lookout });
        Ok(())
    }

    async fn next_batch(&mut self, limits: &BatchLimits) -> Result<Batch> {
        let fetched = self.fetch(limits).await;
        // What failed cannot be gone on with: the next session begins at a checkpoint.
        if fetched.is_err() {
            self.close();
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

    fn probe(&self) -> Arc<dyn SourceProbe> {
        Arc::clone(&self.probe) as Arc<dyn SourceProbe>
    }

    fn gate(&self) -> Option<Arc<dyn VisibilityGate>> {
        self.parts.database.gate()
    }
}

#[cfg(test)]
mod tests;
