//! The thread that reads and decodes records.
//!
//! librdkafka's own threads fetch records; this thread decodes them and sends them to the source in chunks. Both queues
//! are bounded (`queued.max.messages.kbytes` of librdkafka's [configuration], and the channel of chunks): if the source is
//! slow this thread waits, and the client pauses fetching.
//!
//! [configuration]: https://github.com/confluentinc/librdkafka/blob/master/CONFIGURATION.md
//!
//! The client's consumer is synchronous here. Its asynchronous form wakes a task for each record;
//! this thread takes all that are ready, and wakes the source once per chunk. The offsets of
//! aborted transactions and of a producer's markers have no record: [`Item::Reached`] reports how
//! far the client has come.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc as commands;
use std::thread;
use std::time::Duration;

use cachefront_core::{Error, ErrorKind, Result};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use tokio::sync::mpsc;

use crate::brokers::TopicPartition;
use crate::config::KafkaSettings;
use crate::decode::{Decoder, Record};
use crate::error::{failed, gap, is_transient};
use crate::event::Event;
use crate::tracker::PartitionOffset;

/// Maximum number of events in a chunk.
const CHUNK_EVENTS: usize = 256;

/// How long the thread waits for records before it checks for commands.
const POLL: Duration = Duration::from_millis(50);

/// Maximum number of records between two checks of the client's positions, for a thread that is never idle.
const UNCHECKED_MAX: usize = 4_096;

/// How long a seek may take.
const SEEK: Duration = Duration::from_secs(5);

/// A decoded record.
#[derive(Debug)]
pub(crate) struct Fetched {
    /// The index of the partition in the order of [`Command::Add`], and the offset.
    pub(crate) at: PartitionOffset,
    /// The record's timestamp in milliseconds; -1 if it has none.
    pub(crate) time: i64,
    /// The size of key and value.
    pub(crate) bytes: usize,
    /// The decoded event.
    pub(crate) event: Result<Event>,
}

/// An item of a chunk.
#[derive(Debug)]
pub(crate) enum Item {
    Record(Fetched),
    /// Every record of the partition before this offset was sent. The last offsets may have no records.
    Reached(PartitionOffset),
    /// A seek in the partition of this index has taken effect: later items are of records from there on.
    Sought(usize),
}

/// Items in the order in which they were read.
pub(crate) type Chunk = Vec<Item>;

/// A request to the thread.
#[derive(Debug)]
pub(crate) enum Command {
    /// Start to read a partition at this offset. Partitions are numbered in the order in which they are added.
    Add(TopicPartition, i64),
    /// Continue to read a partition at another offset.
    Seek(TopicPartition, i64),
    Pause(TopicPartition),
    Resume(TopicPartition),
}

/// A handle to the thread; dropping it stops the thread.
#[derive(Debug)]
pub(crate) struct Reader {
    commands: commands::Sender<Command>,
    chunks: mpsc::Receiver<Result<Chunk>>,
    stop: Arc<AtomicBool>,
}

impl Reader {
    /// Starts the thread with a consumer of its own.
    ///
    /// # Errors
    /// `Config` if librdkafka refuses a setting, `Unavailable` if the thread cannot be started.
    pub(crate) fn start(config: &ClientConfig, decoder: Decoder, settings: &KafkaSettings) -> Result<Self> {
        let consumer: BaseConsumer = config.create().map_err(|cause| failed("creating a Kafka consumer", cause))?;
        let waiting = (settings.buffer_events_max / CHUNK_EVENTS).max(1);
        let (sender, chunks) = mpsc::channel(waiting);
        let (commands, requests) = commands::channel();
        let stop = Arc::new(AtomicBool::new(false));
        let worker = Worker {
            consumer,
            decoder,
            requests,
            partitions: Vec::new(),
            reported: Vec::new(),
            unchecked: 0,
            last: 0,
            chunk: Chunk::new(),
            chunk_bytes: 0,
            chunk_bytes_max: (settings.fetch_bytes_max / waiting).max(1),
            waiting,
            chunks: sender,
            stop: Arc::clone(&stop),
        };
        thread::Builder::new().name("cachefront-kafka".into()).spawn(move || worker.run()).map_err(|cause| {
            Error::with_source(ErrorKind::Unavailable, "the thread that reads Kafka cannot be started", cause)
        })?;
        Ok(Self { commands, chunks, stop })
    }

    /// Sends a command to the thread, which runs it within [`POLL`].
    pub(crate) fn send(&self, command: Command) {
        // A thread that has ended has sent the reason in its last chunk.
        let _ = self.commands.send(command);
    }

    /// Waits until the thread has ended, for which the handle must be dropped.
    #[cfg(test)]
    pub(crate) fn ended(&self) -> impl Future<Output = ()> + use<> {
        let stop = Arc::downgrade(&self.stop);
        async move {
            while stop.strong_count() > 0 {
                tokio::task::yield_now().await;
            }
        }
    }

    /// Waits for the next chunk.
    ///
    /// # Cancel safety
    /// Cancel safe: no chunk is lost if the future is dropped.
    pub(crate) async fn next(&mut self) -> Result<Chunk> {
        self.chunks.recv().await.unwrap_or_else(|| Err(ended()))
    }

    /// Returns the next chunk; `None` if none is ready.
    pub(crate) fn ready(&mut self) -> Result<Option<Chunk>> {
        match self.chunks.try_recv() {
            Ok(chunk) => chunk.map(Some),
            Err(mpsc::error::TryRecvError::Empty) => Ok(None),
            Err(mpsc::error::TryRecvError::Disconnected) => Err(ended()),
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// The error of a source whose thread has ended without a reason.
fn ended() -> Error {
    Error::new(ErrorKind::Unavailable, "the thread that reads Kafka has ended")
}

/// The thread's state.
///
/// It owns the consumer; dropping it closes the connections.
struct Worker {
    consumer: BaseConsumer,
    decoder: Decoder,
    requests: commands::Receiver<Command>,
    partitions: Vec<TopicPartition>,
    /// The next offset of each partition, as the source knows it.
    reported: Vec<i64>,
    /// Number of records since the last check of positions.
    unchecked: usize,
    /// The index of the previous record's partition: the next one is usually of the same.
    last: usize,
    chunk: Chunk,
    /// The size of the records in the chunk.
    chunk_bytes: usize,
    /// A chunk of this size is sent, however few events it has: few large rows must not fill the memory.
    chunk_bytes_max: usize,
    /// The number of places for chunks that wait.
    waiting: usize,
    chunks: mpsc::Sender<Result<Chunk>>,
    stop: Arc<AtomicBool>,
}

impl Worker {
    /// Ends when the source is dropped, or after an error, which is the last thing it sends.
    fn run(mut self) {
        if let Err(error) = self.work() {
            let _ = self.flush();
            let _ = self.chunks.blocking_send(Err(error));
        }
    }

    /// Reads until the handle is dropped.
    ///
    /// # Errors
    /// If reading cannot continue.
    fn work(&mut self) -> Result<()> {
        while !self.stop.load(Ordering::Relaxed) {
            self.run_commands()?;
            let wait = if self.chunk.is_empty() { POLL } else { Duration::ZERO };
            match self.consumer.poll(wait) {
                Some(Ok(message)) => {
                    let fetched = decode(&mut self.decoder, &self.partitions, &mut self.last, &message)?;
                    if let Some(reported) = self.reported.get_mut(fetched.at.0) {
                        *reported = fetched.at.1 + 1;
                    }
                    self.unchecked += 1;
                    self.chunk_bytes += fetched.bytes;
                    self.chunk.push(Item::Record(fetched));
                }
                Some(Err(error)) if error.rdkafka_error_code().is_none_or(is_transient) => {
                    tracing::debug!(%error, "reading Kafka continues");
                }
                Some(Err(error)) => return Err(failed("reading Kafka", error)),
                None => {
                    if self.chunk.is_empty() {
                        self.check_positions()?;
                    }
                    if !self.flush() {
                        return Ok(());
                    }
                }
            }
            if self.unchecked >= UNCHECKED_MAX {
                self.check_positions()?;
            }
            let is_full = self.chunk.len() >= CHUNK_EVENTS || self.chunk_bytes > self.chunk_bytes_max;
            if is_full && !self.flush() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Reports positions of the client beyond the last records: it skips transaction markers of the producer, which take
    /// offsets and are not returned as records.
    fn check_positions(&mut self) -> Result<()> {
        self.unchecked = 0;
        let positions = self.consumer.position().map_err(|cause| failed("asking for positions", cause))?;
        for (index, element) in positions.elements().iter().enumerate() {
            let Offset::Offset(next) = element.offset() else { continue };
            let is_same = |of: &TopicPartition| of.number == element.partition() && *of.topic == *element.topic();
            // The client usually lists them in the same order.
            let index = match self.partitions.get(index).is_some_and(is_same) {
                true => Some(index),
                false => self.partitions.iter().position(is_same),
            };
            let Some(index) = index else { continue };
            if let Some(reported) = self.reported.get_mut(index)
                && *reported < next
            {
                *reported = next;
                self.chunk.push(Item::Reached((index, next)));
            }
        }
        Ok(())
    }

    /// Sends the chunk. Returns false if the handle was dropped.
    fn flush(&mut self) -> bool {
        if self.chunk.is_empty() {
            return true;
        }
        // A larger chunk, of one large record, takes the places of several: empty ones come before it.
        for _ in 1..places(std::mem::take(&mut self.chunk_bytes), self.chunk_bytes_max, self.waiting) {
            if self.chunks.blocking_send(Ok(Chunk::new())).is_err() {
                return false;
            }
        }
        let chunk = std::mem::replace(&mut self.chunk, Chunk::with_capacity(CHUNK_EVENTS));
        self.chunks.blocking_send(Ok(chunk)).is_ok()
    }

    /// Runs the commands that have arrived.
    fn run_commands(&mut self) -> Result<()> {
        while let Ok(command) = self.requests.try_recv() {
            match command {
                Command::Add(partition, offset) => {
                    let start = list(&partition, Offset::Offset(offset))?;
                    self.consumer.incremental_assign(&start).map_err(|cause| failed("assigning a partition", cause))?;
                    self.partitions.push(partition);
                    self.reported.push(offset);
                }
                Command::Seek(partition, offset) => {
                    self.consumer
                        .seek(&partition.topic, partition.number, Offset::Offset(offset), SEEK)
                        .map_err(|cause| failed("seeking in a partition", cause))?;
                    if let Some(index) = self.partitions.iter().position(|own| *own == partition) {
                        self.chunk.push(Item::Sought(index));
                    }
                }
                Command::Pause(partition) => self
                    .consumer
                    .pause(&list(&partition, Offset::Invalid)?)
                    .map_err(|cause| failed("pausing a partition", cause))?,
                Command::Resume(partition) => self
                    .consumer
                    .resume(&list(&partition, Offset::Invalid)?)
                    .map_err(|cause| failed("resuming a partition", cause))?,
            }
        }
        Ok(())
    }
}

/// The client takes partitions as lists only.
fn list(partition: &TopicPartition, offset: Offset) -> Result<TopicPartitionList> {
    let mut list = TopicPartitionList::with_capacity(1);
    list.add_partition_offset(&partition.topic, partition.number, offset)
        .map_err(|cause| failed("naming a partition", cause))?;
    Ok(list)
}

/// Decodes a message, and finds its partition's index.
///
/// # Errors
/// `Gap` for a record of a partition that was not asked for.
fn decode(
    decoder: &mut Decoder,
    partitions: &[TopicPartition],
    last: &mut usize,
    message: &BorrowedMessage<'_>,
) -> Result<Fetched> {
    let (topic, number, offset) = (message.topic(), message.partition(), message.offset());
    let same = |partition: &TopicPartition| partition.number == number && *partition.topic == *topic;
    if !partitions.get(*last).is_some_and(same) {
        *last = partitions
            .iter()
            .position(same)
            .ok_or_else(|| gap(format!("the client returned a record of {topic}[{number}], which is not assigned")))?;
    }
    let (key, value) = (message.key(), message.payload());
    let bytes = key.map_or(0, <[u8]>::len) + value.map_or(0, <[u8]>::len);
    let event = decoder.decode(&Record { topic, partition: number, offset, key, value }).map_err(Into::into);
    Ok(Fetched { at: (*last, offset), time: message.timestamp().to_millis().unwrap_or(-1), bytes, event })
}

/// Returns how many places a chunk of this size takes.
fn places(bytes: usize, bytes_max: usize, waiting: usize) -> usize {
    (bytes / bytes_max).clamp(1, waiting)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_record_takes_the_places_of_its_size() {
        assert_eq!(places(0, 512, 32), 1);
        assert_eq!(places(600, 512, 32), 1);
        assert_eq!(places(16 * 512, 512, 32), 16);
        assert_eq!(places(usize::MAX, 1, 32), 32);
        assert_eq!(places(9, 1, 1), 1);
    }
}
