//! The thread that reads and decodes.
//!
//! Records are fetched by the client's own threads, decoded here, and handed over in chunks. Both hand-overs are
//! bounded: when the receiver is slow this thread waits, and the client stops fetching.

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

use crate::brokers::Partition;
use crate::decode::{Decoder, Record};
use crate::error::{failed, gap, passes};
use crate::event::Event;
use crate::tracker::Spot;

/// Events that are handed over at once, if so many are there.
const CHUNK_EVENTS: usize = 256;

/// How long the thread waits for records before it looks for commands.
const POLL: Duration = Duration::from_millis(50);

/// The maximum number of records that are read before positions are looked at, also while the thread is never idle.
const UNNOTED_MAX: usize = 4_096;

/// How long a seek may take.
const SEEK: Duration = Duration::from_secs(5);

/// A decoded record.
#[derive(Debug)]
pub(crate) struct Fetched {
    /// The number of the partition in the order of [`Command::Add`], and the offset.
    pub(crate) at: Spot,
    /// The record's time, in milliseconds; compared for equality, and shown.
    pub(crate) time: i64,
    /// The record's size on Kafka.
    pub(crate) bytes: usize,
    /// What it says, or why that cannot be understood.
    pub(crate) event: Result<Event>,
}

/// What the thread hands over.
#[derive(Debug)]
pub(crate) enum Item {
    Record(Fetched),
    /// Everything of a partition before this offset was handed over; the last of it may be no records.
    Reached(Spot),
}

pub(crate) type Chunk = Vec<Item>;

#[derive(Debug)]
pub(crate) enum Command {
    /// Read this partition too, from this offset on. Partitions are numbered in the order in which they are added.
    Add(Partition, i64),
    /// Read a partition from another offset on.
    Seek(Partition, i64),
    Pause(Partition),
    Resume(Partition),
}

/// The thread's other end. Dropping it ends the thread.
#[derive(Debug)]
pub(crate) struct Reader {
    commands: commands::Sender<Command>,
    chunks: mpsc::Receiver<Result<Chunk>>,
    stop: Arc<AtomicBool>,
}

impl Reader {
    pub(crate) fn start(config: &ClientConfig, decoder: Decoder, buffer_events_max: usize) -> Result<Self> {
        let consumer: BaseConsumer = config.create().map_err(|cause| failed("making a Kafka consumer", cause))?;
        let (sender, chunks) = mpsc::channel((buffer_events_max / CHUNK_EVENTS).max(1));
        let (commands, orders) = commands::channel();
        let stop = Arc::new(AtomicBool::new(false));
        let work = Work {
            consumer,
            decoder,
            orders,
            partitions: Vec::new(),
            told: Vec::new(),
            unnoted: 0,
            last: 0,
            chunk: Chunk::new(),
            chunks: sender,
            stop: Arc::clone(&stop),
        };
        thread::Builder::new()
            .name("cachefront-kafka".into())
            .spawn(move || work.run())
            .map_err(|cause| Error::with_source(ErrorKind::Unavailable, "no thread to read Kafka", cause))?;
        Ok(Self { commands, chunks, stop })
    }

    /// Tells the thread what to do, soon.
    pub(crate) fn tell(&self, command: Command) {
        // A thread that has ended says why in its last chunk.
        let _ = self.commands.send(command);
    }

    /// The next events.
    ///
    /// # Cancel safety
    /// Cancel safe: nothing is taken if this is dropped.
    pub(crate) async fn next(&mut self) -> Result<Chunk> {
        self.chunks.recv().await.unwrap_or_else(|| Err(ended()))
    }

    /// The next events, if some wait.
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

fn ended() -> Error {
    Error::new(ErrorKind::Unavailable, "the thread that reads Kafka has ended")
}

struct Work {
    consumer: BaseConsumer,
    decoder: Decoder,
    orders: commands::Receiver<Command>,
    partitions: Vec<Partition>,
    /// How far the receiver knows each partition to be read.
    told: Vec<i64>,
    /// Records since positions were looked at.
    unnoted: usize,
    /// The partition of the record before: mostly the next one is of the same.
    last: usize,
    chunk: Chunk,
    chunks: mpsc::Sender<Result<Chunk>>,
    stop: Arc<AtomicBool>,
}

impl Work {
    fn run(mut self) {
        if let Err(error) = self.work() {
            let _ = self.hand_over();
            let _ = self.chunks.blocking_send(Err(error));
        }
    }

    /// Reads until told to stop; an error if it cannot go on.
    fn work(&mut self) -> Result<()> {
        while !self.stop.load(Ordering::Relaxed) {
            self.obey()?;
            let wait = if self.chunk.is_empty() { POLL } else { Duration::ZERO };
            match self.consumer.poll(wait) {
                Some(Ok(message)) => {
                    let fetched = understand(&mut self.decoder, &self.partitions, &mut self.last, &message)?;
                    if let Some(told) = self.told.get_mut(fetched.at.0) {
                        *told = fetched.at.1 + 1;
                    }
                    self.unnoted += 1;
                    self.chunk.push(Item::Record(fetched));
                }
                Some(Err(error)) if error.rdkafka_error_code().is_none_or(passes) => {
                    tracing::debug!(%error, "reading Kafka goes on");
                }
                Some(Err(error)) => return Err(failed("reading Kafka", error)),
                None => {
                    if self.chunk.is_empty() {
                        self.note_positions()?;
                    }
                    if !self.hand_over() {
                        return Ok(());
                    }
                }
            }
            if self.unnoted >= UNNOTED_MAX {
                self.note_positions()?;
            }
            if self.chunk.len() >= CHUNK_EVENTS && !self.hand_over() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Notes where the client stands beyond the last records: it keeps the ends of the producer's transactions to
    /// itself, and passes them.
    fn note_positions(&mut self) -> Result<()> {
        self.unnoted = 0;
        let positions = self.consumer.position().map_err(|cause| failed("asking for positions", cause))?;
        for (place, element) in positions.elements().iter().enumerate() {
            let Offset::Offset(next) = element.offset() else { continue };
            let is_it = |of: &Partition| of.number == element.partition() && *of.topic == *element.topic();
            // The client lists them in the same order, mostly.
            let lane = match self.partitions.get(place).is_some_and(is_it) {
                true => Some(place),
                false => self.partitions.iter().position(is_it),
            };
            let Some(lane) = lane else { continue };
            if let Some(told) = self.told.get_mut(lane)
                && *told < next
            {
                *told = next;
                self.chunk.push(Item::Reached((lane, next)));
            }
        }
        Ok(())
    }

    /// Hands the chunk over. False if nobody takes it any more.
    fn hand_over(&mut self) -> bool {
        if self.chunk.is_empty() {
            return true;
        }
        let chunk = std::mem::replace(&mut self.chunk, Chunk::with_capacity(CHUNK_EVENTS));
        self.chunks.blocking_send(Ok(chunk)).is_ok()
    }

    fn obey(&mut self) -> Result<()> {
        while let Ok(command) = self.orders.try_recv() {
            match command {
                Command::Add(partition, offset) => {
                    let start = list(&partition, Offset::Offset(offset))?;
                    self.consumer.incremental_assign(&start).map_err(|cause| failed("assigning a partition", cause))?;
                    self.partitions.push(partition);
                    self.told.push(offset);
                }
                Command::Seek(partition, offset) => self
                    .consumer
                    .seek(&partition.topic, partition.number, Offset::Offset(offset), SEEK)
                    .map_err(|cause| failed("seeking in a partition", cause))?,
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

fn list(partition: &Partition, offset: Offset) -> Result<TopicPartitionList> {
    let mut list = TopicPartitionList::with_capacity(1);
    list.add_partition_offset(&partition.topic, partition.number, offset)
        .map_err(|cause| failed("naming a partition", cause))?;
    Ok(list)
}

fn understand(
    decoder: &mut Decoder,
    partitions: &[Partition],
    last: &mut usize,
    message: &BorrowedMessage<'_>,
) -> Result<Fetched> {
    let (topic, number, offset) = (message.topic(), message.partition(), message.offset());
    let same = |partition: &Partition| partition.number == number && *partition.topic == *topic;
    if !partitions.get(*last).is_some_and(same) {
        *last = partitions
            .iter()
            .position(same)
            .ok_or_else(|| gap(format!("a record of {topic}[{number}] came, and that is not read")))?;
    }
    let (key, value) = (message.key(), message.payload());
    let bytes = key.map_or(0, <[u8]>::len) + value.map_or(0, <[u8]>::len);
    let event = decoder.decode(&Record { topic, partition: number, offset, key, value }).map_err(Into::into);
    Ok(Fetched { at: (*last, offset), time: message.timestamp().to_millis().unwrap_or(-1), bytes, event })
}
