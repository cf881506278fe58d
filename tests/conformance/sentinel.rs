//! Servers that are found through Sentinel: logins, names, and what is refused.

use std::time::Duration;

use cachefront_core::store::Store;
use cachefront_core::{Error, ErrorKind};
use cachefront_redis::RedisStore;
use cachefront_testkit::server::SentinelGroup;
use cachefront_testkit::{unique, wait};

use crate::connection::{key, meta};

const WAIT: Duration = Duration::from_secs(30);

async fn refused(url: &str) -> Error {
    let error = RedisStore::builder(url).namespace("t").connect().await.expect_err("refused");
    let shown = format!("{error:?} {}", error.chain());
    assert!(!shown.contains("hunter2") && !shown.contains("lovelace"), "no secret: {shown}");
    error
}

/// Servers and Sentinels have passwords of their own, and neither is sent to the other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sentinels_and_servers_have_passwords_of_their_own() {
    let server = ["--requirepass", "lovelace", "--masterauth", "lovelace"];
    let group = SentinelGroup::start(0, &server, &["sentinel auth-pass shop lovelace", "requirepass hunter2"]).await;
    let plain = group.url();
    let url = |login: &str, query: &str| format!("{}?{query}", plain.replace("://", &format!("://{login}")));
    let right = url(":lovelace@", "sentinel_password=hunter2");
    let store = RedisStore::builder(&right).namespace("t").connect().await.expect("both passwords are right");
    store.get(&key(1)).await.expect("a reading");
    assert!(!format!("{store:?}").contains("hunter2") && !format!("{store:?}").contains("lovelace"));
    for (wrong, word) in [
        (url(":lovelace@", "sentinel_password=lovelace"), "Sentinel"),
        (url(":lovelace@", ""), "Sentinel"),
        (url(":hunter2@", "sentinel_password=hunter2"), "`shop`"),
        (url("", "sentinel_password=hunter2"), "`shop`"),
    ] {
        let error = refused(&wrong).await;
        assert_eq!(error.kind(), ErrorKind::Config, "{}", error.chain());
        assert!(error.to_string().contains("login") && error.to_string().contains(word), "{error}");
    }
}

/// A name that is not monitored, a Sentinel that is taken for a server, and one that cannot be reached.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_name_and_a_wrong_kind_of_server_are_refused() {
    let mut group = SentinelGroup::start(0, &[], &[]).await;
    let url = group.url();
    let unknown = refused(&url.replace("/shop", "/chop")).await;
    assert_eq!(unknown.kind(), ErrorKind::Config, "{}", unknown.chain());
    assert!(unknown.to_string().contains("`chop`"), "{unknown}");
    let as_server = refused(&format!("redis://127.0.0.1:{}/", group.sentinels[0].port())).await;
    assert_eq!(as_server.kind(), ErrorKind::Config, "{}", as_server.chain());
    assert!(as_server.to_string().contains("redis[s]+sentinel://"), "{as_server}");

    // One Sentinel that knows the primary is enough.
    group.sentinels[0].kill();
    group.sentinels[1].freeze();
    let store = RedisStore::builder(&url).namespace("t").connect().await.expect("one Sentinel is left");
    store.get(&key(1)).await.expect("a reading");
    group.sentinels[2].kill();
    let unreachable = refused(&url).await;
    assert!(matches!(unreachable.kind(), ErrorKind::Unavailable | ErrorKind::Timeout), "{}", unreachable.chain());
    store.get(&key(1)).await.expect("the connection to the primary needs no Sentinel");
}

/// A Sentinel that was cut off goes on naming the former primary: the later configuration counts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_leave_a_former_primary_that_a_cut_off_sentinel_names() {
    let mut group = SentinelGroup::start(1, &[], &[]).await.complete().await;
    let namespace = unique::namespace();
    let store = RedisStore::builder(&group.url()).namespace(&namespace).connect().await.expect("a store");
    let before = store.get(&key(1)).await.expect("a reading").server;
    let mut writer = store.writer().await.expect("a writer");
    group.sentinels[0].freeze();
    let failover = format!("SENTINEL FAILOVER {}", SentinelGroup::NAME);
    wait::until_async("Sentinel begins a failover", WAIT, async || {
        group.sentinels[1].command(&failover).await.is_ok_and(|reply| reply.starts_with("+OK"))
    })
    .await;
    wait::until_async("readers are on the new primary", WAIT, async || {
        store.get(&key(1)).await.is_ok_and(|reading| !reading.server.is_same(before))
    })
    .await;
    let info = group.servers[0].command("INFO replication").await.expect("a reply");
    assert!(info.contains("role:master"), "the former primary still says that it is one: {info}");
    let error = writer.flush(&meta(7, 1)).await.and(writer.publish(&message()).await).expect_err("readers have left");
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{}", error.chain());
    // Its configuration is the older one until it hears from the others.
    group.sentinels[0].resume();
    let another = RedisStore::builder(&group.url()).namespace(&namespace).connect().await.expect("a store");
    assert!(!another.get(&key(1)).await.expect("a reading").server.is_same(before));
}

/// In a process that only invalidates, no read fails on the connection whose server has another history now.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_writer_without_readers_gets_on_after_a_change_of_the_history() {
    let group = SentinelGroup::start(0, &[], &[]).await;
    let store = RedisStore::builder(&group.url()).namespace(unique::namespace()).connect().await.expect("a store");
    let publish = async || store.writer().await?.publish(&message()).await;
    publish().await.expect("a sequence");
    for role in ["127.0.0.1 1", "NO ONE"] {
        group.servers[0].command(&format!("REPLICAOF {role}")).await.expect("a change of role");
    }
    let mut last = None;
    let published = tokio::time::timeout(WAIT, async {
        while let Err(error) = publish().await {
            last = Some(error.chain().to_string());
            tokio::time::sleep(Duration::from_millis(50)).await; // sleep: between two attempts of a session
        }
    });
    assert!(published.await.is_ok(), "no session gets on: {last:?}");
}

fn message() -> cachefront_core::bus::BusMessage {
    cachefront_core::bus::BusMessage {
        publisher: cachefront_core::bus::Publisher(1),
        event: cachefront_core::bus::BusEvent::Flush,
        applied: None,
        source_time: cachefront_core::Timestamp::UNKNOWN,
        sent_at: cachefront_core::Timestamp::UNKNOWN,
    }
}
