//! The state of the change capture as every role sees it: from the store, not from the process that runs it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use cachefront::store::{Meta, Store};
use cachefront::{CdcState, CdcStatus, Clock, Position, Result, StoreKey, Timestamp};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use utoipa::ToSchema;

use crate::domain::Mode;
use crate::freshness::{Freshness, FreshnessObjective, Watermark};
use crate::kafka_report::KafkaReport;
use crate::mode::Modes;
use crate::settings::BuiltWith;
use crate::stages::{StageMeter, Stages};

/// How often a consumer reports while nothing changes.
const REPORT_EVERY: Duration = Duration::from_millis(250);

/// The pause between two reports while much changes.
const REPORT_PAUSE: Duration = Duration::from_millis(20);

/// How long a change of the mode waits for the consumer to follow; the other roles follow within a second, too.
const FOLLOW_MAX: Duration = Duration::from_secs(1);

/// The poll interval while waiting for the consumer to follow.
const FOLLOW_POLL: Duration = Duration::from_millis(5);

/// A pipeline counts as running if its last sign of life is at most this old.
const SILENCE_MAX: Duration = Duration::from_secs(3);

/// A consumer's report on itself, in addition to what the store's meta holds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// When it was written, by the consumer's clock, in µs; zero if there is no report.
    pub at_us: u64,
    /// True if changes are being read.
    pub running: bool,
    /// The time up to which everything committed is known to be handled, in µs since 1970; zero if not known.
    pub source_time_us: u64,
    /// The position up to which everything is handled.
    pub applied: String,
    pub events_total: u64,
    pub invalidations_total: u64,
    /// How long each stage takes.
    #[serde(default)]
    pub stages: Stages,
    /// On its topics, if it reads from Kafka.
    #[serde(default)]
    pub carried: Option<KafkaReport>,
}

impl Report {
    pub fn new(status: &CdcStatus, stages: Stages, carried: Option<KafkaReport>, now: Timestamp) -> Self {
        Self {
            at_us: now.as_micros(),
            running: status.state == CdcState::Running,
            source_time_us: status.source_time.as_micros(),
            applied: status.applied.to_string(),
            events_total: status.events_total,
            invalidations_total: status.invalidations_total,
            stages,
            carried,
        }
    }
}

/// Where the consumer's report is kept: in this process, or next to the entries in the shared store.
#[async_trait]
pub trait StatusStore: fmt::Debug + Send + Sync + 'static {
    /// Replaces the report.
    ///
    /// # Errors
    /// `Unavailable` if the store cannot be reached.
    async fn post(&self, report: &Report) -> Result<()>;

    /// Returns the last report, `None` if there never was one.
    ///
    /// # Errors
    /// As [`StatusStore::post`].
    async fn read(&self) -> Result<Option<Report>>;
}

/// The status store of a program that runs everything in one process.
#[derive(Debug, Default)]
pub struct LocalStatusStore(std::sync::Mutex<Option<Report>>);

#[async_trait]
impl StatusStore for LocalStatusStore {
    async fn post(&self, report: &Report) -> Result<()> {
        if let Ok(mut last) = self.0.lock() {
            *last = Some(report.clone());
        }
        Ok(())
    }

    async fn read(&self) -> Result<Option<Report>> {
        Ok(self.0.lock().map(|last| last.clone()).unwrap_or_default())
    }
}

/// Posts a consumer's status until `stop`, together with what `carried` returns. A failed post is not repeated: the
/// next report follows soon.
///
/// The store holds a single report. Of several consumers only the one that reads changes writes it, because a standby's
/// status is not the pipeline's. A consumer that stops reading is noticed by its silence.
pub async fn report(
    mut statuses: watch::Receiver<CdcStatus>,
    stages: Arc<StageMeter>,
    carried: impl Fn() -> Option<KafkaReport> + Send + 'static,
    board: Arc<dyn StatusStore>,
    clock: Arc<dyn Clock>,
    stop: CancellationToken,
) {
    loop {
        let now = clock.now();
        let report = Report::new(&statuses.borrow_and_update(), stages.mean(now), carried(), now);
        if report.running
            && let Err(error) = board.post(&report).await
        {
            tracing::debug!(%error, "the pipeline's report cannot be posted");
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(REPORT_EVERY) => {}
            Ok(()) = statuses.changed() => tokio::time::sleep(REPORT_PAUSE).await,
        }
    }
}

/// The state of the change capture.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct PipelineView {
    pub mode: Mode,
    /// Where changes are read from.
    #[schema(example = "binlog")]
    pub source: String,
    /// True if everything runs in one process on SQLite.
    pub embedded: bool,
    /// True if the consumer gave a sign of life in the last 3 s.
    pub running: bool,
    /// How long ago everything committed was known to be handled; null if that is not known.
    pub lag_ms: Option<f64>,
    /// Everything up to this position is handled: in CDC mode invalidated, in TTL mode only read.
    pub applied: Option<String>,
    /// Row changes read since the consumer started.
    pub events_total: u64,
    /// Keys invalidated since the consumer started.
    pub invalidations_total: u64,
    /// Whether the freshness objective of the caches is met.
    pub freshness: Freshness,
    /// How the caches are built.
    pub built_with: BuiltWith,
    /// False if the store replied that no generation is in force: nothing is cached in CDC mode, and every read goes to the
    /// database.
    #[serde(skip)]
    #[schema(ignore)]
    pub caches: bool,
    /// How long each stage takes: for the panel.
    #[serde(skip)]
    #[schema(ignore)]
    pub stages: Stages,
}

/// Observes the pipeline from any process, through the store.
#[derive(Clone, Debug)]
pub struct Pipeline {
    pub store: Arc<dyn Store>,
    pub board: Arc<dyn StatusStore>,
    pub modes: Arc<Modes>,
    pub clock: Arc<dyn Clock>,
    pub source: &'static str,
    pub embedded: bool,
    pub freshness: FreshnessObjective,
    pub built_with: BuiltWith,
}

impl Pipeline {
    /// Returns what is known now. While the store is unavailable, the pipeline counts as not running.
    pub async fn view(&self) -> PipelineView {
        let key = probe_key();
        let (report, reading) = tokio::join!(self.board.read(), self.store.get(&key));
        let report = report.ok().flatten().unwrap_or_default();
        let is_unknown = reading.is_err();
        let meta = reading.ok().and_then(|reading| reading.meta).filter(|meta| meta.is_live());
        let caches = is_unknown || meta.is_some();
        let watermark = meta.as_ref().map(|meta| meta.source_time).unwrap_or_default();
        // Of the store alone: readers know no other watermark.
        let seen = match &meta {
            _ if is_unknown => Watermark::Unread,
            None => Watermark::NoGeneration,
            Some(_) => Watermark::At(watermark),
        };
        let source_time = watermark.max(Timestamp::from_micros(report.source_time_us));
        let reported = if report.running { Timestamp::from_micros(report.at_us) } else { Timestamp::UNKNOWN };
        let alive_at = watermark.max(reported);
        let now = self.clock.now();
        let mode = self.modes.current().mode;
        let applied = meta.map_or(report.applied, |meta| meta.applied_text().to_owned());
        PipelineView {
            mode,
            source: self.source.to_owned(),
            embedded: self.embedded,
            running: alive_at.is_known() && now.since(alive_at) <= SILENCE_MAX,
            lag_ms: source_time.is_known().then(|| now.since(source_time).as_micros() as f64 / 1e3),
            applied: Some(applied).filter(|applied| !applied.is_empty()),
            events_total: report.events_total,
            invalidations_total: report.invalidations_total,
            freshness: self.freshness.judge(mode, seen, now),
            built_with: self.built_with,
            caches,
            stages: report.stages,
        }
    }

    /// Returns the consumer's last report on its topics, `None` if it does not read from Kafka.
    pub async fn carried(&self) -> Option<KafkaReport> {
        self.board.read().await.ok().flatten()?.carried
    }

    /// Waits until a running consumer has followed a change of the mode: in TTL mode it stops invalidating, in CDC mode
    /// it starts again. Waits for at most [`FOLLOW_MAX`], and not at all if no consumer is running.
    pub async fn followed(&self, mode: Mode) {
        if !self.view().await.running {
            return;
        }
        let deadline = self.clock.now().after(FOLLOW_MAX);
        while self.clock.now() < deadline {
            let live = self.meta().await.is_some_and(|meta| meta.is_live());
            if live == (mode == Mode::Cdc) {
                return;
            }
            tokio::time::sleep(FOLLOW_POLL).await;
        }
    }

    /// Returns the position up to which everything is handled, `None` if it is not known.
    pub async fn applied(&self) -> Option<Position> {
        self.meta().await.filter(|meta| meta.is_live()).map(|meta| meta.applied().clone())
    }

    /// Returns true if a read from the store succeeds.
    pub async fn is_store_reachable(&self) -> bool {
        self.store.get(&probe_key()).await.is_ok()
    }

    async fn meta(&self) -> Option<Arc<Meta>> {
        self.store.get(&probe_key()).await.ok()?.meta
    }
}

/// A key that no cache uses. Every read from the store also returns the meta of the key's shard.
fn probe_key() -> StoreKey {
    StoreKey::from_text("pipeline:probe").expect("a short key")
}
