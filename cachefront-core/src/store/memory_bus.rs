//! The bus of the in-memory store: a bounded ring that every reader follows at its own pace.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use tokio::sync::watch;

use crate::bus::{BusEvent, BusMessage, BusRead, BusReader, InvalidationBus};
use crate::error::{Error, ErrorKind, Result};
use crate::identity::ServerId;

/// Maximum number of messages returned by one call of `next`: a reader that is behind must not hold the lock for long.
const READ_MAX: usize = 256;

/// The server id of the store. It changes when the store forgets everything.
#[derive(Clone, Debug)]
pub(super) struct Server(Arc<AtomicU64>);

impl Server {
    pub(super) fn new(id: u64) -> Self {
        Self(Arc::new(AtomicU64::new(id.max(1))))
    }

    pub(super) fn id(&self) -> ServerId {
        ServerId(self.0.load(Ordering::SeqCst))
    }

    /// Changes the server id, as a restart does.
    pub(super) fn restart(&self) {
        // It wraps after 2^64 restarts, and 0 means unknown.
        if self.0.fetch_add(1, Ordering::SeqCst) == u64::MAX {
            self.0.store(1, Ordering::SeqCst);
        }
    }
}

#[derive(Clone, Debug)]
pub(super) struct MemoryBus {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    ring: Mutex<Ring>,
    head: watch::Sender<u64>,
    server: Server,
}

#[derive(Debug)]
struct Ring {
    messages: VecDeque<(BusMessage, usize)>,
    /// The sequence of the last message.
    head: u64,
    bytes: usize,
    messages_max: usize,
    bytes_max: usize,
}

impl MemoryBus {
    /// Creates an empty ring with these bounds.
    pub(super) fn new(messages_max: usize, bytes_max: usize, server: Server) -> Self {
        let ring = Ring { messages: VecDeque::new(), head: 0, bytes: 0, messages_max, bytes_max };
        Self { shared: Arc::new(Shared { ring: Mutex::new(ring), head: watch::Sender::new(0), server }) }
    }

    /// Appends a message, and drops the oldest ones above the bounds. Returns the message's sequence.
    pub(super) fn append(&self, message: &BusMessage) -> u64 {
        let mut ring = lock(&self.shared.ring);
        let weight = weight(message);
        ring.messages.push_back((message.clone(), weight));
        ring.bytes += weight;
        ring.head += 1;
        let head = ring.head;
        while ring.messages.len() > ring.messages_max || (ring.bytes > ring.bytes_max && ring.messages.len() > 1) {
            if let Some((_, weight)) = ring.messages.pop_front() {
                ring.bytes -= weight;
            }
        }
        // Sent under the lock, so that the head that readers see never moves back.
        self.shared.head.send_replace(head);
        head
    }

    /// Removes every message, as a server does that restarts empty. Readers lose their place.
    pub(super) fn clear(&self) {
        let mut ring = lock(&self.shared.ring);
        ring.messages.clear();
        ring.bytes = 0;
        // Skips a sequence, so that a reader that had read every message notices too.
        ring.head += 1;
        self.shared.head.send_replace(ring.head);
    }
}

#[async_trait]
impl InvalidationBus for MemoryBus {
    async fn publish(&self, message: &BusMessage) -> Result<u64> {
        Ok(self.append(message))
    }

    async fn subscribe(&self) -> Result<Box<dyn BusReader>> {
        let watch = self.shared.head.subscribe();
        let head = lock(&self.shared.ring).head;
        let server = self.shared.server.id();
        Ok(Box::new(MemoryBusReader { shared: Arc::clone(&self.shared), server, watch, head, read: head }))
    }
}

#[derive(Debug)]
struct MemoryBusReader {
    shared: Arc<Shared>,
    server: ServerId,
    watch: watch::Receiver<u64>,
    head: u64,
    /// The sequence of the last message that was returned.
    read: u64,
}

impl MemoryBusReader {
    fn take(&mut self) -> Result<Vec<BusRead>> {
        let ring = lock(&self.shared.ring);
        let oldest = ring.head + 1 - ring.messages.len() as u64;
        if self.read < ring.head && self.read + 1 < oldest {
            return Err(Error::new(
                ErrorKind::Unavailable,
                "the bus dropped messages that this reader had not read yet: clear what was cached and subscribe again",
            ));
        }
        let first = self.read + 1;
        let skip = usize::try_from(first.saturating_sub(oldest)).unwrap_or(usize::MAX);
        let reads: Vec<BusRead> = (first..)
            .zip(ring.messages.iter().skip(skip).take(READ_MAX))
            .map(|(sequence, (message, _))| BusRead { server: self.server, sequence, message: message.clone() })
            .collect();
        self.read += reads.len() as u64;
        Ok(reads)
    }
}

#[async_trait]
impl BusReader for MemoryBusReader {
    fn head(&self) -> u64 {
        self.head
    }

    fn server(&self) -> ServerId {
        self.server
    }

    async fn next(&mut self) -> Result<Vec<BusRead>> {
        loop {
            let reads = self.take()?;
            if !reads.is_empty() {
                return Ok(reads);
            }
            // This reader holds the sender too, so it cannot have gone.
            let read = self.read;
            let _ = self.watch.wait_for(|&head| head > read).await;
        }
    }
}

fn weight(message: &BusMessage) -> usize {
    let keys = match &message.event {
        BusEvent::Keys(keys) => keys.iter().map(|key| key.len() + size_of::<Box<str>>()).sum(),
        _ => 0,
    };
    size_of::<BusMessage>() + keys
}

/// No code panics while it holds the lock; were it so, the ring would still be whole after every statement.
fn lock(ring: &Mutex<Ring>) -> MutexGuard<'_, Ring> {
    ring.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bus::Publisher;
    use crate::clock::Timestamp;

    fn message(keys: usize) -> BusMessage {
        BusMessage {
            publisher: Publisher(1),
            event: BusEvent::Keys((0..keys).map(|key| key.to_string().into()).collect()),
            applied: None,
            source_time: Timestamp::UNKNOWN,
            sent_at: Timestamp::UNKNOWN,
        }
    }

    #[tokio::test]
    async fn a_reader_gets_later_messages_in_order() {
        let bus = MemoryBus::new(8, 1 << 20, Server::new(1));
        bus.append(&message(1));
        let mut reader = bus.subscribe().await.expect("a reader");
        assert_eq!(reader.head(), 1);
        for keys in 2..6 {
            bus.append(&message(keys));
        }
        let reads = reader.next().await.expect("messages");
        assert_eq!(reads.iter().map(|read| read.sequence).collect::<Vec<_>>(), [2, 3, 4, 5]);
        assert_eq!(reads[0].message, message(2));
        let waiting = tokio::spawn(async move { reader.next().await });
        bus.append(&message(9));
        assert_eq!(waiting.await.expect("a task").expect("messages")[0].sequence, 6);
    }

    #[tokio::test]
    async fn a_reader_that_falls_behind_gets_an_error() {
        let bus = MemoryBus::new(4, 1 << 20, Server::new(1));
        let mut behind = bus.subscribe().await.expect("a reader");
        for _ in 0..5 {
            bus.append(&message(1));
        }
        assert_eq!(behind.next().await.expect_err("lost").kind(), ErrorKind::Unavailable);
        let mut reader = bus.subscribe().await.expect("a reader");
        bus.clear();
        assert!(reader.next().await.is_err(), "a restart is a loss for a reader that had read everything too");
    }

    #[tokio::test]
    async fn the_ring_is_bounded_by_bytes_and_keeps_the_last_message() {
        let bus = MemoryBus::new(1_000, 1, Server::new(1));
        bus.append(&message(100));
        let mut reader = bus.subscribe().await.expect("a reader");
        bus.append(&message(100));
        assert_eq!(reader.next().await.expect("messages").len(), 1);
        assert_eq!(lock(&bus.shared.ring).messages.len(), 1);
    }
}
