//! Readers and a writer that go on while something is broken under them, and what is left when all is at rest.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cachefront::binlog::BinlogSource;
use cachefront::kafka::{KafkaSettings, KafkaSource};
use cachefront::settings::CdcSettings;
use cachefront::{Cache, Cdc, CdcHandle, Position};
use cachefront_testkit::connector::MARKER_COLUMN;
use cachefront_testkit::shop::{PATIENCE, Shop, applied};
use cachefront_testkit::wait;
use mysql_async::Pool;
use mysql_async::prelude::Queryable;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// Rows of a shop: few enough that each is read between two of its changes.
pub(crate) const ROWS: u64 = 200;

/// What makes a connector lose the rows of the table `item`, and count them all the same.
pub(crate) const DROPS_ROWS: [(&str, &str); 6] = [
    ("transforms", "drop"),
    ("transforms.drop.type", "org.apache.kafka.connect.transforms.Filter"),
    ("transforms.drop.predicate", "rows"),
    ("predicates", "rows"),
    ("predicates.rows.type", "org.apache.kafka.connect.transforms.predicates.TopicNameMatches"),
    ("predicates.rows.pattern", ".*[.]item"),
];

/// Readers at once.
const READERS: u64 = 4;

/// The pauses after each read and each commit: the machine is shared with the servers under test.
const READ_PAUSE: Duration = Duration::from_millis(4);
const WRITE_PAUSE: Duration = Duration::from_millis(15);

/// Readers and a writer of all rows, until they are stopped. A server that is away costs them time, nothing else.
pub(crate) struct Traffic {
    stop: Arc<AtomicBool>,
    counts: Arc<Counts>,
    readers: Vec<JoinHandle<()>>,
    stop_writing: Arc<AtomicBool>,
    writer: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Counts {
    reads: AtomicU64,
    errors: AtomicU64,
    updates: AtomicU64,
}

impl Traffic {
    /// Starts them, and waits until both have worked.
    pub(crate) async fn start(shop: &Shop, cache: &Cache<u64, u64>) -> Self {
        let (stop, stop_writing) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let counts = Arc::new(Counts::default());
        let readers = (0..READERS)
            .map(|reader| tokio::spawn(read(cache.clone(), reader, Arc::clone(&stop), Arc::clone(&counts))))
            .collect();
        let writer = tokio::spawn(write(shop.pool.clone(), Arc::clone(&stop_writing), Arc::clone(&counts)));
        let traffic = Self { stop, counts, readers, stop_writing, writer };
        traffic.more().await;
        traffic
    }

    /// Waits until so much has been read and written as makes a fault fall into the middle.
    pub(crate) async fn more(&self) {
        let (reads, updates) = (self.reads(), self.updates());
        let done = || self.reads() >= reads + 2 * ROWS && self.updates() >= updates + 2 * ROWS;
        wait::until("there is traffic", PATIENCE, done).await;
    }

    fn reads(&self) -> u64 {
        self.counts.reads.load(Ordering::Relaxed)
    }

    /// Rows updated so far.
    pub(crate) fn updates(&self) -> u64 {
        self.counts.updates.load(Ordering::Relaxed)
    }

    /// Reads that were answered by an error so far.
    pub(crate) fn errors(&self) -> u64 {
        self.counts.errors.load(Ordering::Relaxed)
    }

    /// Stops the writer, waits until everything is applied and every row was read again, and looks for what is stale.
    pub(crate) async fn rest(self, shop: &Shop, cache: &Cache<u64, u64>) {
        self.stop_writing.store(true, Ordering::Relaxed);
        self.writer.await.expect("the writer ends in peace");
        shop.settle().await;
        let reads = || self.counts.reads.load(Ordering::Relaxed);
        let settled = reads();
        wait::until("every row was read again", PATIENCE, || reads() >= settled + 2 * ROWS).await;
        self.stop.store(true, Ordering::Relaxed);
        for reader in self.readers {
            reader.await.expect("a reader ends in peace");
        }
        let audit = shop.stale(cache).await;
        let stale = audit.stale.len();
        say(&format!("{:?}; at rest {} fresh, {} absent, {stale} stale", self.counts, audit.fresh, audit.absent));
        assert!(audit.stale.is_empty(), "{audit:?}");
        assert!(audit.fresh > 0, "nothing was cached: the test proves nothing");
    }
}

async fn read(cache: Cache<u64, u64>, reader: u64, stop: Arc<AtomicBool>, counts: Arc<Counts>) {
    let mut id = reader * ROWS / READERS;
    while !stop.load(Ordering::Relaxed) {
        id = id % ROWS + 1;
        match cache.get(&id).await {
            Ok(_) => counts.reads.fetch_add(1, Ordering::Relaxed),
            Err(_) => counts.errors.fetch_add(1, Ordering::Relaxed),
        };
        // sleep: paces the reader; nothing is waited for.
        tokio::time::sleep(READ_PAUSE).await;
    }
}

/// Ten rows to a commit. A commit that fails is made again on another connection.
async fn write(pool: Pool, stop: Arc<AtomicBool>, counts: Arc<Counts>) {
    let (mut first, mut kept) = (1, None);
    while !stop.load(Ordering::Relaxed) {
        let conn = match kept.take() {
            Some(conn) => Ok(conn),
            None => pool.get_conn().await,
        };
        if let Ok(mut conn) = conn {
            let update = "UPDATE item SET value = value + 1 WHERE id BETWEEN ? AND ?";
            if conn.exec_drop(update, (first, first + 9)).await.is_ok() {
                counts.updates.fetch_add(10, Ordering::Relaxed);
                first = (first + 9) % ROWS + 1;
                kept = Some(conn);
            }
        }
        // sleep: paces the writer; nothing is waited for.
        tokio::time::sleep(WRITE_PAUSE).await;
    }
}

/// Commits something, and waits until it is applied: how long after `since` all is well again.
pub(crate) async fn recovered(shop: &Shop, what: &str, since: Instant) -> Duration {
    let token = shop.increment(1).await;
    applies(shop, &token).await;
    let time = since.elapsed();
    say(&format!("{what}: recovered {:.1} s after", time.as_secs_f64()));
    time
}

/// Waits until the store has applied `token`.
pub(crate) async fn applies(shop: &Shop, token: &Position) {
    let store = shop.store().await;
    wait::until_async("a commit is applied", PATIENCE, async || {
        applied(&*store).await.is_some_and(|applied| applied.covers(token))
    })
    .await;
}

/// A figure for the log.
#[expect(clippy::print_stdout, reason = "the figures are part of the evidence")]
pub(crate) fn say(line: &str) {
    println!("{line}");
}

/// A running invalidator of `cache` with these settings of its source.
pub(crate) async fn run_with(shop: &Shop, cache: &Cache<u64, u64>, settings: KafkaSettings) -> CdcHandle {
    let connector = shop.connector.as_ref().expect("a connector");
    let binlog = BinlogSource::connect(shop.database.url()).await.expect("a server");
    let source = KafkaSource::builder(connector.brokers(), connector.name())
        .marker(&connector.marker(), MARKER_COLUMN)
        .settings(settings)
        .build(binlog)
        .expect("a source");
    run_source(cache, source).await
}

/// A running invalidator of `cache` over this source.
pub(crate) async fn run_source(cache: &Cache<u64, u64>, source: KafkaSource) -> CdcHandle {
    let mut settings = CdcSettings::default();
    settings.retry_max = Duration::from_millis(500);
    let cdc = Cdc::new(source).bind(cache).settings(settings).spawn().expect("an invalidator");
    cdc.ready().await.expect("the invalidator runs");
    cdc
}

/// What went wrong in an invalidator from now on, each failure once.
pub(crate) fn errors_of(cdc: &CdcHandle) -> Arc<Mutex<Vec<String>>> {
    let (mut statuses, errors) = (cdc.watch(), Arc::new(Mutex::new(Vec::new())));
    let noted = Arc::clone(&errors);
    tokio::spawn(async move {
        while statuses.changed().await.is_ok() {
            let error = statuses.borrow_and_update().last_error.as_ref().map(cachefront::Error::chain);
            let mut noted = noted.lock().expect("unpoisoned");
            if let Some(error) = error.map(|chain| chain.to_string())
                && noted.last() != Some(&error)
            {
                noted.push(error);
            }
        }
    });
    errors
}

/// Reads every row: all of it is cached then, if nothing changes it.
pub(crate) async fn warm(cache: &Cache<u64, u64>) {
    for id in 1..=ROWS {
        cache.get(&id).await.expect("an answer");
    }
}

/// Waits until another generation has begun.
pub(crate) async fn flushed(cdc: &CdcHandle, before: u64) {
    wait::until("everything is voided", PATIENCE, || cdc.status().flushes_total > before).await;
}

/// True if one of the errors holds all these words.
pub(crate) fn said(errors: &Mutex<Vec<String>>, words: &[&str]) -> bool {
    errors.lock().expect("unpoisoned").iter().any(|error| words.iter().all(|word| error.contains(word)))
}
