//! Laws of the bus: messages come in order, and a lost message is noticed.

use std::time::Duration;

use super::StoreFixture;
use super::harness::{LONG, StoreHarness, checkpoint};
use crate::bus::{BusEvent, BusMessage, BusRead, BusReader, Publisher};
use crate::clock::Timestamp;
use crate::store::MappingId;

fn message(number: u64) -> BusMessage {
    let event = match number % 4 {
        0 => BusEvent::Keys(vec![format!("suite:{number}").into(), "suite:ü".into()]),
        1 => BusEvent::Flush,
        2 => BusEvent::Caches(vec!["suite".into(), "other".into()]),
        _ => BusEvent::Heartbeat((0..number as u128).map(|id| MappingId(id << 64)).collect()),
    };
    BusMessage {
        publisher: Publisher(u128::from(number) << 64),
        event,
        applied: number.is_multiple_of(2).then(|| checkpoint(number + 1).position),
        source_time: Timestamp::from_micros(number),
        sent_at: Timestamp::from_micros(number + 1),
    }
}

/// Returns the next `count` messages.
async fn read(reader: &mut Box<dyn BusReader>, count: usize) -> Vec<BusRead> {
    let mut reads = Vec::new();
    while reads.len() < count {
        let next = tokio::time::timeout(LONG, reader.next()).await.expect("in time");
        let next = next.expect("messages");
        assert!(!next.is_empty(), "at least one");
        reads.extend(next);
    }
    reads
}

/// Both ways to publish use the same stream.
pub(super) async fn messages_come_in_order_and_without_a_gap(fixture: &dyn StoreFixture) {
    let mut harness = StoreHarness::bare(fixture).await;
    let bus = harness.store.bus();
    let mut reader = bus.subscribe().await.expect("a reader");
    let mut expected = Vec::new();
    for number in 0..600 {
        let message = message(number);
        let sequence = match number % 2 {
            0 => harness.writer.publish(&message).await,
            _ => bus.publish(&message).await,
        };
        expected.push((sequence.expect("a sequence"), message));
    }
    let server = harness.read(1).await.server;
    assert!(server.is_same(server), "the server is known");
    let expected: Vec<_> =
        expected.into_iter().map(|(sequence, message)| BusRead { server, sequence, message }).collect();
    assert_eq!(read(&mut reader, expected.len()).await, expected, "bus and readers are on one server");
    for (read, sequence) in expected.iter().zip(reader.head() + 1..) {
        assert_eq!(read.sequence, sequence);
    }
}

/// A subscription starts at the end of the stream: earlier messages are not delivered.
pub(super) async fn a_reader_begins_at_the_head(fixture: &dyn StoreFixture) {
    let harness = StoreHarness::bare(fixture).await;
    let bus = harness.store.bus();
    let before = bus.publish(&message(1)).await.expect("a sequence");
    let mut reader = bus.subscribe().await.expect("a reader");
    assert_eq!(reader.head(), before);
    let after = bus.publish(&message(2)).await.expect("a sequence");
    let reads = read(&mut reader, 1).await;
    assert_eq!(reads.iter().map(|read| (read.sequence, &read.message)).collect::<Vec<_>>(), [(after, &message(2))]);
    assert_eq!((after, reader.head()), (before + 1, before));
}

/// Every subscription receives all later messages, in the same order.
pub(super) async fn every_reader_gets_every_message(fixture: &dyn StoreFixture) {
    let harness = StoreHarness::bare(fixture).await;
    let bus = harness.store.bus();
    let mut readers = Vec::new();
    for _ in 0..3 {
        readers.push(bus.subscribe().await.expect("a reader"));
    }
    let waiting = readers.into_iter().map(|mut reader| tokio::spawn(async move { read(&mut reader, 20).await }));
    let waiting: Vec<_> = waiting.collect();
    for number in 0..20 {
        bus.publish(&message(number)).await.expect("a sequence");
    }
    for reads in waiting {
        let reads = reads.await.expect("a reader's task");
        assert_eq!(
            reads.iter().map(|read| &read.message).cloned().collect::<Vec<_>>(),
            (0..20).map(message).collect::<Vec<_>>()
        );
    }
}

/// `next` is cancel safe: a message that was not returned is returned by the next call.
pub(super) async fn a_dropped_read_loses_no_message(fixture: &dyn StoreFixture) {
    let harness = StoreHarness::bare(fixture).await;
    let bus = harness.store.bus();
    let mut reader = bus.subscribe().await.expect("a reader");
    for number in 0..20 {
        // Dropped while it waits, and dropped while a reply may be in progress.
        let _ = tokio::time::timeout(Duration::from_millis(1), reader.next()).await.map(|early| {
            panic!("no message was published: {early:?}");
        });
        bus.publish(&message(number)).await.expect("a sequence");
        let reads = read(&mut reader, 1).await;
        assert_eq!(reads.iter().map(|read| &read.message).collect::<Vec<_>>(), [&message(number)]);
    }
}
