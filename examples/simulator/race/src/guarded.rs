//! The library's side: its cache over its in-memory store, and its invalidator over the log of the race.

use std::sync::Arc;
use std::time::Duration;

use cachefront::event::RowImage;
use cachefront::{Cache, CacheSettings, Cdc, CdcHandle, CdcSettings, Local, MemoryStore, OnLag, Position, Result};

use crate::database::{Server, newest};
use crate::rows::{ROW, Rows};
use crate::settings::RaceSettings;
use crate::source::{RaceLog, RaceSource, TABLE};

/// How long the end of a world waits for the invalidator: it has nothing to finish.
const DRAIN_MAX: Duration = Duration::from_secs(1);

/// Maximum size of the process-local tier: far more than one row takes.
const LOCAL_BYTES: u64 = 64 << 10;

/// The cache and its invalidator.
#[derive(Debug)]
pub(crate) struct Guarded {
    pub(crate) cache: Cache<u64, String>,
    pub(crate) invalidator: CdcHandle,
}

impl Guarded {
    /// Builds the cache and starts its invalidator at the end of the log.
    ///
    /// # Errors
    /// Those of the cache's builder and of the invalidator's start.
    pub(crate) async fn open(rows: Rows, settings: &RaceSettings) -> Result<Self> {
        let (database, server) = (Arc::clone(&rows.database), rows.server);
        let builder = Cache::builder("race")
            .local(Local::max_weight(LOCAL_BYTES))
            .shared(MemoryStore::new("race"))
            .settings(cache_settings(settings))
            .observer(Arc::clone(&rows.loads))
            .loader(rows)
            .depends_on(TABLE, |row: &RowImage| Ok(vec![row.get::<u64>("id")?]));
        let cache = match server {
            Server::Primary => builder.build()?,
            Server::Replica => builder.loads_from("replica").fenced().build()?,
        };
        let invalidator = Cdc::new(RaceSource::new(&database))
            .bind(&cache)
            .gate(Arc::new(RaceLog(database)))
            .settings(CdcSettings::default().with_gate_timeout(longest(settings)).with_drain_max(DRAIN_MAX))
            .spawn()?;
        invalidator.ready().await?;
        Ok(Self { cache, invalidator })
    }

    /// Returns the newest commit that was applied to the store and handled in this process; zero until this process follows the
    /// invalidator.
    pub(crate) async fn handled(&self) -> u64 {
        let applied = newest(&self.invalidator.status().applied);
        let explained = self.cache.explain(&ROW).await.ok().and_then(|explained| explained.local);
        let here = explained.filter(|local| local.following).and_then(|local| local.handled);
        let here = here.and_then(|handled| Position::parse_stored(&handled).ok());
        here.map_or(0, |handled| newest(&handled).min(applied))
    }
}

/// The longest time that a world lasts.
fn longest(settings: &RaceSettings) -> Duration {
    settings.age_max + settings.idle_max
}

/// The defaults, but for what a person takes longer than a load does: a load may be held, and an event withheld, for as long as
/// a world lasts. And a machine that stalls is no race: it is no silence of the bus.
fn cache_settings(settings: &RaceSettings) -> CacheSettings {
    let longest = longest(settings);
    CacheSettings::default()
        .with_lease(longest)
        .with_lease_wait(longest)
        .with_load_timeout(longest)
        .with_bus_silence_max(longest)
        .with_on_lag(OnLag::Serve)
        .with_drain_max(DRAIN_MAX)
}
