//! One address that leads to several servers: the log, the probe, and the gate never mix them without an error.

use std::sync::Arc;
use std::time::{Duration, Instant};

use cachefront::settings::CdcSettings;
use cachefront::{Cdc, MemoryStore};
use cachefront_binlog::{BinlogSettings, BinlogSource};
use cachefront_core::event::Batch;
use cachefront_core::source::{ChangeSource, Columns, TableFilter};
use cachefront_core::{Error, ErrorKind, Retry};
use cachefront_testkit::address::Address;
use cachefront_testkit::server::mysql::MySql;
use cachefront_testkit::{shop, unique, wait};
use mysql_async::prelude::Queryable;

use crate::server::{Database, PATIENCE, USERS, limits};

/// Two servers with nothing in common, and an address that leads to the first of them.
struct Pair {
    /// A database on the first, with the table `users`. Dropped before its server ends.
    db: Database,
    filter: TableFilter,
    address: Address,
    first: MySql,
    second: MySql,
}

impl Pair {
    async fn start(extra: &[&str]) -> Self {
        let (first, second) = tokio::join!(MySql::start(extra), MySql::start(extra));
        let mut db = Database::on_private(&first).await;
        db.run(&[USERS]).await;
        let filter = db.interest("users", Columns::All);
        Self { address: Address::of(first.port()).await, first, second, filter, db }
    }

    async fn source(&self, settings: BinlogSettings) -> BinlogSource {
        BinlogSource::builder(self.address.mysql_url()).settings(settings).connect().await.expect("a source")
    }

    /// A source that reads the first server's log from its end.
    async fn following(&self) -> BinlogSource {
        let mut source = self.source(BinlogSettings::default()).await;
        let head = source.probe().head().await.expect("the log's end");
        source.open(&head.checkpoint, &self.filter).await.expect("the log opens");
        source
    }

    /// Ends the connection of every reader of the first server's log, and no other.
    async fn kill_readers(&mut self) {
        let find = "SELECT ID FROM information_schema.PROCESSLIST WHERE COMMAND LIKE 'Binlog Dump%'";
        let ids: Vec<u64> = self.db.conn.query(find).await.expect("the list");
        assert_eq!(ids.len(), 1, "the readers of the log");
        for id in ids {
            self.db.run(&[&format!("KILL {id}")]).await;
        }
    }
}

async fn uuid(server: &MySql) -> String {
    let uuid: Option<String> =
        server.connect().await.query_first("SELECT @@GLOBAL.server_uuid").await.expect("an answer");
    uuid.expect("a UUID")
}

/// The error that the stream ends with.
async fn end(source: &mut BinlogSource) -> Error {
    let fetch = async {
        loop {
            match source.next_batch(&limits()).await {
                Ok(Batch { .. }) => {}
                Err(error) => return error,
            }
        }
    };
    tokio::time::timeout(PATIENCE, fetch).await.expect("the stream ends")
}

#[tokio::test]
async fn a_log_that_is_opened_on_another_server_names_it() {
    let mut pair = Pair::start(&[]).await;
    let (first, second) = tokio::join!(uuid(&pair.first), uuid(&pair.second));
    let mut source = pair.source(BinlogSettings::default()).await;
    assert_eq!(source.origin(), None, "no log is open");
    let probe = source.probe();
    let head = probe.head().await.expect("the log's end");
    assert_eq!(*head.origin, *first);
    source.open(&head.checkpoint, &pair.filter).await.expect("the log opens");
    assert_eq!(source.origin().as_deref(), Some(&*first));
    let gate = source.gate().expect("a gate");
    assert!(gate.wait(&head.checkpoint.position, PATIENCE).await.expect("a reply"));

    // The probe's and the gate's idle connections stay on the first server, which is alive.
    pair.address.move_to(pair.second.port());
    pair.kill_readers().await;
    assert_eq!(end(&mut source).await.retry(), Retry::Reconnect);
    source.open(&head.checkpoint, &pair.filter).await.expect("the second server does not know the position's server");
    assert_eq!(source.origin().as_deref(), Some(&*second));
    let moved = probe.head().await.expect("the log's end");
    assert_eq!(*moved.origin, *second, "the probe asks the server that the log is read from");
    assert!(gate.wait(&moved.checkpoint.position, PATIENCE).await.expect("so does the gate"));
}

#[tokio::test]
async fn a_log_that_is_opened_again_takes_probe_and_gate_with_it() {
    let pair = Pair::start(&[]).await;
    let mut source = pair.following().await;
    let (probe, gate) = (source.probe(), source.gate().expect("a gate"));
    let head = probe.head().await.expect("an idle connection to the first server");
    assert!(gate.wait(&head.checkpoint.position, PATIENCE).await.expect("another one"));
    pair.address.move_to(pair.second.port());
    source.open(&head.checkpoint, &pair.filter).await.expect("the log opens");
    assert!(source.next_batch(&limits()).await.expect("the log is that of the second server").transactions.is_empty());
    let second = uuid(&pair.second).await;
    let error =
        gate.wait(&head.checkpoint.position, Duration::from_millis(50)).await.map_err(|error| error.to_string());
    assert_eq!(error, Ok(false), "the second server has not executed the first one's commits");
    assert_eq!(*probe.head().await.expect("the log's end").origin, *second);
}

#[tokio::test]
async fn after_the_log_broke_off_the_probe_connects_again() {
    let mut pair = Pair::start(&[]).await;
    let mut source = pair.following().await;
    let probe = source.probe();
    probe.head().await.expect("an idle connection to the first server");
    pair.address.move_to(pair.second.port());
    pair.kill_readers().await;
    end(&mut source).await;
    assert_eq!(*probe.head().await.expect("the log's end").origin, *uuid(&pair.second).await);
}

#[tokio::test]
async fn a_gate_on_another_server_is_an_error_and_no_wait() {
    let pair = Pair::start(&[]).await;
    let (first, second) = tokio::join!(uuid(&pair.first), uuid(&pair.second));
    let source = pair.following().await;
    let executed = source.probe().head().await.expect("the log's end").checkpoint.position;
    let gate = source.gate().expect("a gate");
    pair.address.move_to(pair.second.port());
    let begun = Instant::now();
    let error = gate.wait(&executed, PATIENCE).await.expect_err("the second server does not have these commits");
    assert!(begun.elapsed() < PATIENCE / 2, "it waited for {:?}", begun.elapsed());
    assert_eq!((error.kind(), error.retry()), (ErrorKind::Unavailable, Retry::Reconnect), "{error}");
    for part in [&*first, &*second, "several servers", "give the source an address"] {
        assert!(error.to_string().contains(part), "{part}: {error}");
    }
    // The connection is not kept: the next one leads to the right server.
    pair.address.move_to(pair.first.port());
    assert!(gate.wait(&executed, PATIENCE).await.expect("a reply"));
}

#[tokio::test]
async fn an_address_that_moves_ends_the_log_although_it_stays_connected() {
    let pair = Pair::start(&[]).await;
    let mut settings = BinlogSettings::default();
    settings.probe_redial = Duration::from_millis(100);
    let mut source = pair.source(settings).await;
    let probe = source.probe();
    let head = probe.head().await.expect("the log's end");
    source.open(&head.checkpoint, &pair.filter).await.expect("the log opens");
    let gate = source.gate().expect("a gate");
    assert!(gate.wait(&head.checkpoint.position, PATIENCE).await.expect("a reply"));
    pair.address.move_to(pair.second.port());
    let second = uuid(&pair.second).await;
    let moved = wait::until_some("the probe reports the second server", PATIENCE, async || {
        let head = probe.head().await.expect("the log's end");
        (*head.origin == *second).then_some(head)
    })
    .await;
    let error = end(&mut source).await;
    assert_eq!(error.kind(), ErrorKind::Gap, "{error}");
    assert!(error.to_string().contains(&second), "{error}");
    assert!(gate.wait(&moved.checkpoint.position, PATIENCE).await.expect("the gate asks the second server"));
}

#[tokio::test]
async fn a_demoted_server_is_never_taken_for_the_primary() {
    let pair = Pair::start(&[]).await;
    let mut settings = BinlogSettings::default();
    settings.probe_redial = Duration::from_secs(600);
    let probe = pair.source(settings).await.probe();
    assert_eq!(*probe.head().await.expect("the log's end").origin, *uuid(&pair.first).await);
    pair.first.execute("SET GLOBAL read_only = ON").await;
    assert_eq!(*probe.head().await.expect("the log's end").origin, *uuid(&pair.first).await, "it may also stay");
    pair.address.move_to(pair.second.port());
    assert_eq!(*probe.head().await.expect("the log's end").origin, *uuid(&pair.second).await);
}

#[tokio::test]
async fn a_probe_that_cannot_dial_keeps_the_connection_that_works() {
    let pair = Pair::start(&[]).await;
    let mut settings = BinlogSettings::default();
    settings.probe_redial = Duration::from_nanos(1);
    let probe = pair.source(settings).await.probe();
    let head = probe.head().await.expect("the log's end");
    pair.address.refuse();
    assert_eq!(probe.head().await.expect("the old connection is alive").origin, head.origin);
}

#[tokio::test]
async fn columns_are_never_looked_up_on_another_server() {
    let mut pair = Pair::start(&["--binlog-row-metadata=MINIMAL"]).await;
    let (first, second) = tokio::join!(uuid(&pair.first), uuid(&pair.second));
    let mut source = pair.following().await;
    pair.address.move_to(pair.second.port());
    pair.db.run(&["ALTER TABLE users ADD note INT", "INSERT INTO users VALUES (1, 'a@x', 1, 2)"]).await;
    let error = end(&mut source).await;
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{}", error.chain());
    for uuid in [first, second] {
        assert!(error.to_string().contains(&uuid), "{error}");
    }
}

#[tokio::test]
async fn a_preflight_on_another_server_is_noticed_too() {
    let mut pair = Pair::start(&[]).await;
    let mut source = pair.following().await;
    let second = uuid(&pair.second).await;
    pair.second.execute(&format!("CREATE DATABASE {}", pair.db.name())).await;
    pair.second.execute(&USERS.replace("users", &pair.db.table("users"))).await;
    pair.address.move_to(pair.second.port());
    source.preflight(&pair.filter).await.expect("the second server is set up alike");
    pair.db.run(&["INSERT INTO users VALUES (1, 'a@x', 1)"]).await;
    let error = end(&mut source).await;
    assert_eq!(error.kind(), ErrorKind::Gap, "{error}");
    assert!(error.to_string().contains(&second), "{error}");
}

/// An invalidator over the address, with the same table on both servers. After `change`, which moves the address to the
/// second server, it must void the cache and follow that one.
async fn follow_to_the_second_server(mut pair: Pair, change: impl AsyncFnOnce(&mut Pair)) {
    let name = pair.db.name().to_owned();
    let table = format!("CREATE TABLE {name}.item (id BIGINT UNSIGNED PRIMARY KEY, value BIGINT UNSIGNED NOT NULL)");
    pair.first.execute(&table).await;
    pair.second.execute(&format!("CREATE DATABASE {name}")).await;
    pair.second.execute(&table).await;
    let mut settings = BinlogSettings::default();
    settings.probe_redial = Duration::from_millis(100);
    let source = pair.source(settings).await;
    let store = Arc::new(MemoryStore::new(&unique::namespace()));
    let cache = shop::builder(store, &name).build().expect("a cache");
    let mut settings = CdcSettings::default();
    settings.retry_max = Duration::from_millis(200);
    let cdc = Cdc::new(source).bind(&cache).settings(settings).spawn().expect("an invalidator");
    cdc.ready().await.expect("the invalidator runs");
    let before = cdc.status().flushes_total;
    change(&mut pair).await;
    let mut conn = pair.second.connect().await;
    conn.query_drop(format!("INSERT INTO {name}.item VALUES (1, 1)")).await.expect("a row");
    let token = cachefront_binlog::commit_token(&mut conn).await.expect("a token");
    wait::until("the second server's log is applied", PATIENCE, || {
        let status = cdc.status();
        status.flushes_total > before && status.applied.covers(&token)
    })
    .await;
    cdc.shutdown().await;
}

#[tokio::test]
async fn an_invalidator_follows_an_address_from_a_server_alive() {
    let pair = Pair::start(&[]).await;
    follow_to_the_second_server(pair, async |pair: &mut Pair| pair.address.move_to(pair.second.port())).await;
}

#[tokio::test]
async fn an_invalidator_follows_an_address_from_a_killed_server() {
    let pair = Pair::start(&[]).await;
    follow_to_the_second_server(pair, async |pair: &mut Pair| {
        pair.address.move_to(pair.second.port());
        pair.first.kill();
    })
    .await;
}

#[tokio::test]
async fn an_invalidator_whose_log_alone_is_connected_again_follows_it() {
    let pair = Pair::start(&[]).await;
    follow_to_the_second_server(pair, async |pair: &mut Pair| {
        pair.address.move_to(pair.second.port());
        pair.kill_readers().await;
    })
    .await;
}
