//! What an invalidator's writer notices: a restart, an older state, another server, its own failures.

use std::time::Duration;

use cachefront_core::bus::{BusEvent, BusMessage, Publisher};
use cachefront_core::store::{Applied, Expected, Generation, Store, StoreState};
use cachefront_core::{ErrorKind, Timestamp};
use cachefront_testkit::server::redis::Redis;
use redis::aio::MultiplexedConnection;

use crate::connection::{key, meta, store_in};
use crate::fixture::raw;

const WAIT: Duration = Duration::from_secs(20);

const HELD: Expected = Expected { generation: Generation(7), term: 1, applied_order: 5 };

fn applied(order: u64) -> Applied {
    Applied { order, checkpoint: Default::default(), source_time: Timestamp::UNKNOWN }
}

/// After any error a writer does nothing more: what it did is not known, and its connection proves nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_writer_that_failed_is_of_no_further_use() {
    let mut redis = Redis::start().await;
    let store = store_in(&redis).await;
    let mut writer = store.writer().await.expect("a writer");
    writer.flush(&meta(7, 5)).await.expect("a flush");
    writer.commit(&Expected { term: 9, ..HELD }, &applied(6)).await.expect_err("a conflict");
    let error = writer.commit(&HELD, &applied(6)).await.expect_err("of no further use");
    assert_eq!(error.kind(), ErrorKind::Unavailable);

    let mut writer = store.writer().await.expect("a writer");
    redis.restart().await;
    assert!(writer.invalidate(&[key(1)]).await.is_err(), "its connection is gone, and no other takes its place");
    assert!(writer.state().await.is_err());
    let mut writer = store.writer().await.expect("a writer");
    assert_eq!(writer.state().await.expect("a state"), StoreState::Missing);
}

/// A future that was dropped may have done anything.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_writer_whose_future_was_dropped_is_of_no_further_use() {
    let mut redis = Redis::start().await;
    let store = store_in(&redis).await;
    let mut writer = store.writer().await.expect("a writer");
    redis.freeze();
    let dropped = tokio::time::timeout(Duration::from_millis(20), writer.flush(&meta(7, 5))).await;
    assert!(dropped.is_err(), "no server replies");
    redis.resume();
    assert!(writer.state().await.is_err());
}

/// An older snapshot is restored: the meta in it is older too, and the next batch finds out before it begins.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_state_is_a_conflict() {
    let mut redis = Redis::start().await;
    let store = store_in(&redis).await;
    let mut writer = store.writer().await.expect("a writer");
    writer.flush(&meta(7, 5)).await.expect("a flush");
    let saved = redis.save_rdb().await;
    writer.commit(&HELD, &applied(6)).await.expect("a commit");
    redis.restart_from(&saved).await;
    let held = Expected { applied_order: 6, ..HELD };
    for order in [6, 7] {
        let mut writer = store.writer().await.expect("a writer");
        let error = writer.commit(&held, &applied(order)).await.expect_err("what was applied is lost");
        assert_eq!(error.kind(), ErrorKind::Conflict);
        let mut writer = store.writer().await.expect("a writer");
        assert_eq!(writer.raise_high_watermark(&held, order).await.expect_err("lost").kind(), ErrorKind::Conflict);
    }
    let mut writer = store.writer().await.expect("a writer");
    assert!(matches!(writer.state().await.expect("a state"), StoreState::Live(meta) if meta.applied_order == 5));
}

/// A server that was demoted and promoted over an open connection has another history, whatever its meta says.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_replication_id_is_a_conflict() {
    let redis = Redis::start().await;
    let store = store_in(&redis).await;
    let mut writer = store.writer().await.expect("a writer");
    writer.flush(&meta(7, 5)).await.expect("a flush");
    writer.commit(&HELD, &applied(5)).await.expect("a heartbeat");
    let mut raw = raw(&redis.url()).await;
    let replica_of = async |raw: &mut MultiplexedConnection, host: &str, port: &str| {
        redis::cmd("REPLICAOF").arg(host).arg(port).exec_async(raw).await.expect("a change of role");
    };
    replica_of(&mut raw, "127.0.0.1", "1").await;
    let mut refused = store.writer().await;
    assert_eq!(refused.as_mut().expect_err("a replica takes no writes").kind(), ErrorKind::Unavailable);
    replica_of(&mut raw, "NO", "ONE").await;
    let error = writer.commit(&HELD, &applied(6)).await.expect_err("its history is another one");
    assert!(matches!(error.kind(), ErrorKind::Conflict | ErrorKind::Unavailable), "{}", error.chain());
    let mut writer = store.writer().await.expect("a writer");
    writer.commit(&HELD, &applied(6)).await.expect("a new writer knows the new history");
}

/// The stream is lost while its reader's connection lives: what follows is seen as a gap, and not as a continuation.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_stream_is_a_gap_for_its_reader() {
    let redis = Redis::start().await;
    let store = store_in(&redis).await;
    let bus = store.bus();
    let message = BusMessage {
        publisher: Publisher(7),
        event: BusEvent::Heartbeat(Vec::new()),
        applied: None,
        source_time: Timestamp::UNKNOWN,
        sent_at: Timestamp::UNKNOWN,
    };
    let mut reader = bus.subscribe().await.expect("a reader");
    bus.publish(&message).await.expect("a sequence");
    let last = reader.next().await.expect("a message")[0].sequence;
    assert_eq!(last, reader.head() + 1);
    let mut raw = raw(&redis.url()).await;
    redis::cmd("FLUSHALL").exec_async(&mut raw).await.expect("all is gone");
    for _ in 0..10 {
        bus.publish(&message).await.expect("a sequence");
    }
    let next = tokio::time::timeout(WAIT, reader.next()).await.expect("what follows is seen");
    let next = next.expect("a message")[0].sequence;
    assert!(next > last + 1, "{next} after {last}");
}

/// A reader of the bus is bound to one connection.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_of_the_bus_ends_with_its_connection() {
    let mut redis = Redis::start().await;
    let store = store_in(&redis).await;
    let mut reader = store.bus().subscribe().await.expect("a reader");
    let reading = tokio::spawn(async move { reader.next().await });
    redis.restart().await;
    let reading = tokio::time::timeout(WAIT, reading).await.expect("the end is noticed");
    let error = reading.expect("a task").expect_err("the connection is gone");
    assert!(matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Timeout), "{}", error.chain());
}
