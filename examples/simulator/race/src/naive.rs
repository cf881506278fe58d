//! The naive cache: it reads through, and a consumer of the log deletes the key when its event comes.
//!
//! It is what many services have, and what the library is not. It is here for comparison only. Readers of a key that is being
//! loaded wait for that load; a loaded value is stored, whatever has happened since it was read; an event deletes the key
//! at once; and a consumer whose events were purged goes on from the end of the log.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cachefront::source::{BatchLimits, ChangeSource, SourceProbe, TableFilter};
use cachefront::{ErrorKind, Result};
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use crate::database::{RaceDatabase, newest};
use crate::loads::Fate;
use crate::rows::Rows;
use crate::source::{RaceLog, RaceSource};

/// Bounds of one read of the log.
const LIMITS: BatchLimits =
    BatchLimits { changes_max: 100, bytes_max: 1 << 20, wait_max: Duration::from_secs(1), linger_max: Duration::ZERO };

/// The cache of one key.
#[derive(Debug)]
pub(crate) struct NaiveCache {
    rows: Rows,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    entry: Option<String>,
    /// The load in progress; it has a value when it ends.
    flight: Option<watch::Receiver<Option<String>>>,
    /// The newest commit whose event the consumer has handled, or has skipped.
    handled: u64,
}

/// What a read found.
enum Found {
    Entry(String),
    Flight(watch::Receiver<Option<String>>),
    Absent(watch::Sender<Option<String>>),
}

impl NaiveCache {
    /// Reads the key, and loads it if it is not cached. Returns the value, and true if it comes from the cache; `None` if the load
    /// that was joined has ended without a value.
    pub(crate) async fn get(&self) -> Option<(String, bool)> {
        let sender = match self.find() {
            Found::Entry(value) => return Some((value, true)),
            Found::Flight(mut flight) => {
                let ended = flight.wait_for(Option::is_some).await.ok()?;
                return ended.clone().map(|value| (value, false));
            }
            Found::Absent(sender) => sender,
        };
        let row = self.rows.read(None).await;
        let value = row.name.to_owned();
        {
            let mut state = self.lock();
            state.entry = Some(value.clone());
            state.flight = None;
        }
        self.rows.loads.end(row.place, Fate::Stored);
        sender.send_replace(Some(value.clone()));
        Some((value, false))
    }

    fn find(&self) -> Found {
        let mut state = self.lock();
        if let Some(value) = &state.entry {
            return Found::Entry(value.clone());
        }
        self.rows.loads.note_miss();
        if let Some(flight) = &state.flight {
            return Found::Flight(flight.clone());
        }
        let (sender, flight) = watch::channel(None);
        state.flight = Some(flight);
        Found::Absent(sender)
    }

    pub(crate) fn entry(&self) -> Option<String> {
        self.lock().entry.clone()
    }

    pub(crate) fn handled(&self) -> u64 {
        self.lock().handled
    }

    /// A poisoned lock is usable: no code panics while it holds it.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The naive cache with its consumer.
#[derive(Debug)]
pub(crate) struct Naive {
    pub(crate) cache: Arc<NaiveCache>,
    _consumer: AbortOnDropHandle<()>,
}

impl Naive {
    /// Starts the consumer at the end of the log.
    pub(crate) async fn open(rows: Rows) -> Result<Self> {
        let database = Arc::clone(&rows.database);
        let cache = Arc::new(NaiveCache { rows, state: Mutex::default() });
        let mut source = RaceSource::new(&database);
        cache.go_on_at_the_end(&database, &mut source).await?;
        let consumer = tokio::spawn(follow(Arc::clone(&cache), database, source));
        Ok(Self { cache, _consumer: AbortOnDropHandle::new(consumer) })
    }
}

impl NaiveCache {
    /// Opens the log at its end: what is before it counts as handled.
    async fn go_on_at_the_end(&self, database: &Arc<RaceDatabase>, source: &mut RaceSource) -> Result<()> {
        let head = RaceLog(Arc::clone(database)).head().await?;
        source.open(&head.checkpoint, &TableFilter::new()).await?;
        self.lock().handled = newest(&head.checkpoint.position);
        Ok(())
    }

    /// Deletes the key for every change of its row.
    fn apply(&self, changes: usize, handled: u64) {
        let mut state = self.lock();
        if changes > 0 {
            state.entry = None;
        }
        state.handled = handled;
    }
}

/// The consumer: deletes on each event. Ends if the log cannot be read.
async fn follow(cache: Arc<NaiveCache>, database: Arc<RaceDatabase>, mut source: RaceSource) {
    loop {
        let outcome = match source.next_batch(&LIMITS).await {
            Ok(batch) => {
                cache.apply(batch.changes(), newest(&batch.checkpoint.position));
                Ok(())
            }
            Err(error) if error.kind() == ErrorKind::Gap => cache.go_on_at_the_end(&database, &mut source).await,
            Err(error) => Err(error),
        };
        if let Err(error) = outcome {
            tracing::warn!(error = &error as &dyn std::error::Error, "the naive consumer of a race has ended");
            return;
        }
    }
}
