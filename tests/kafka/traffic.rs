//! Readers and a writer that continue while a server fails, and the check for stale entries at rest.

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

/// Number of rows of a shop: low enough that each is read between two of its changes.
pub(crate) const ROWS: u64 = 200;

/// Settings with which a connector drops the rows of the table `item`, and still counts them.
pub(crate) const DROPS_ROWS: [(&str, &str); 6] = [
    ("transforms", "drop"),
    ("transforms.drop.type", "org.apache.kafka.connect.transforms.Filter"),
    ("transforms.drop.predicate", "rows"),
    ("predicates", "rows"),
    ("predicates.rows.type", "org.apache.kafka.connect.transforms.predicates.TopicNameMatches"),
    ("predicates.rows.pattern", ".*[.]item"),
];

/// Number of concurrent readers.
const READERS: u64 = 4;

/// Pauses after each read and each commit: the machine is shared with the servers under test.
const READ_PAUSE: Duration = Duration::from_millis(4);
const WRITE_PAUSE: Duration = Duration::from_millis(15);

/// Readers and a writer of all rows, until they are stopped. An unreachable server only delays them.
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
    /// Starts them, and waits until each has read and written.
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

    /// Waits for enough reads and writes that a fault occurs in between.
    pub(crate) async fn more(&self) {
        let (reads, updates) = (self.reads(), self.updates());
        let done = || self.reads() >= reads + 2 * ROWS && self.updates() >= updates + 2 * ROWS;
        wait::until("there is traffic", PATIENCE, done).await;
    }

    fn reads(&self) -> u64 {
        self.counts.reads.load(Ordering::Relaxed)
    }

    /// Returns the number of rows updated so far.
    pub(crate) fn updates(&self) -> u64 {
        self.counts.updates.load(Ordering::Relaxed)
    }

    /// Returns the number of failed reads so far.
    pub(crate) fn errors(&self) -> u64 {
        self.counts.errors.load(Ordering::Relaxed)
    }

    /// Stops the writer, waits until everything is applied and every row was read again, and checks for stale entries.
    pub(crate) async fn rest(self, shop: &Shop, cache: &Cache<u64, u64>) {
        self.stop_writing.store(true, Ordering::Relaxed);
        self.writer.await.expect("the writer does not panic");
        shop.settle().await;
        let reads = || self.counts.reads.load(Ordering::Relaxed);
        let settled = reads();
        wait::until("every row was read again", PATIENCE, || reads() >= settled + 2 * ROWS).await;
        self.stop.store(true, Ordering::Relaxed);
        for reader in self.readers {
            reader.await.expect("the reader does not panic");
        }
        let audit = shop.stale(cache).await;
        let stale = audit.stale.len();
        say(&format!("{:?}; at rest {} fresh, {} absent, {stale} stale", self.counts, audit.fresh, audit.absent));
        assert!(audit.stale.is_empty(), "{audit:?}");
        assert!(audit.fresh > 0, "no entry was cached: the test proves nothing");
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
        // sleep: paces the reader, waits for no condition.
        tokio::time::sleep(READ_PAUSE).await;
    }
}

/// Updates ten rows with each commit. A failed commit is repeated on another connection.
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
        // sleep: paces the writer, waits for no condition.
        tokio::time::sleep(WRITE_PAUSE).await;
    }
}

/// Commits a change, and waits until it is applied. Returns the time since `since`.
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

/// Prints a figure.
#[expect(clippy::print_stdout, reason = "the figures are part of the evidence")]
pub(crate) fn say(line: &str) {
    println!("{line}");
}

/// Returns a running invalidator of `cache` with these settings of its source.
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

/// Returns a running invalidator of `cache` over this source.
pub(crate) async fn run_source(cache: &Cache<u64, u64>, source: KafkaSource) -> CdcHandle {
    let mut settings = CdcSettings::default();
    settings.retry_max = Duration::from_millis(500);
    let cdc = Cdc::new(source).bind(cache).settings(settings).spawn().expect("an invalidator");
    cdc.ready().await.expect("the invalidator runs");
    cdc
}

/// Collects the errors of an invalidator from now on, without repetitions.
pub(crate) fn errors_of(cdc: &CdcHandle) -> Arc<Mutex<Vec<String>>> {
    let (mut statuses, errors) = (cdc.watch(), Arc::new(Mutex::new(Vec::new())));
    let collected = Arc::clone(&errors);
    tokio::spawn(async move {
        while statuses.changed().await.is_ok() {
            let error = statuses.borrow_and_update().last_error.as_ref().map(cachefront::Error::chain);
            let mut collected = collected.lock().expect("unpoisoned");
            if let Some(error) = error.map(|chain| chain.to_string())
                && collected.last() != Some(&error)
            {
                collected.push(error);
            }
        }
    });
    errors
}

/// Reads every row, so that all are cached unless they change.
pub(crate) async fn warm(cache: &Cache<u64, u64>) {
    for id in 1..=ROWS {
        cache.get(&id).await.expect("a value");
    }
}

/// Waits for a flush.
pub(crate) async fn flushed(cdc: &CdcHandle, before: u64) {
    wait::until("everything is flushed", PATIENCE, || cdc.status().flushes_total > before).await;
}

/// Returns true if one of the errors contains all these words.
pub(crate) fn said(errors: &Mutex<Vec<String>>, words: &[&str]) -> bool {
    errors.lock().expect("unpoisoned").iter().any(|error| words.iter().all(|word| error.contains(word)))
}
