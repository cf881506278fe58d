//! One snapshot of everything that the panel shows.

use std::sync::Arc;
use std::time::Duration;

use cachefront::Timestamp;
use simulator_api::Api;
use simulator_model::domain::ModeRow;
use simulator_model::faults::FaultState;
use simulator_model::kafka_report::KafkaReport;
use simulator_model::pipeline::PipelineView;
use simulator_model::stages::Stages;
use tokio::time::Instant;

use super::rows::{Survey, UserRow};
use super::tour::TourView;
use super::verdict::Verdict;

/// Maximum age of a snapshot that is shown as the current state.
pub(super) const AGE_MAX: Duration = Duration::from_secs(3);

/// A change of the mode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Switch {
    pub(super) row: ModeRow,
    /// `None` if the audit list has no entry for it: another program wrote the row, or it is long ago.
    pub(super) who: Option<String>,
}

/// What made a snapshot exceed its time limit although the database responded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Slow {
    Store,
    /// There are more entries than can be compared in time.
    Comparing,
}

/// A snapshot of everything the panel shows.
#[derive(Clone, Debug)]
pub(super) struct Moment {
    /// When the snapshot was completed.
    pub(super) at: Timestamp,
    /// Start and end of the snapshot, by the monotonic clock.
    pub(super) began: Instant,
    pub(super) ended: Instant,
    pub(super) mode: ModeRow,
    pub(super) pipeline: PipelineView,
    /// True if the database cannot be read, or does not respond within the time limit of a snapshot.
    pub(super) database_away: bool,
    pub(super) store_away: bool,
    pub(super) slow: Option<Slow>,
    /// Why the API of other processes returned no verdict; `None` if it did, or if there is no such API.
    pub(super) api_silent: Option<String>,
    pub(super) survey: Arc<Survey>,
    pub(super) verdict: Verdict,
    pub(super) tour: TourView,
    /// The user of the demo.
    pub(super) demo: Option<UserRow>,
    pub(super) faults: FaultState,
    /// The modes that have been in force, newest first.
    pub(super) history: Arc<Vec<Switch>>,
    /// What the consumer reports about its topics.
    pub(super) carried: Option<KafkaReport>,
}

impl Moment {
    /// The state before the first snapshot.
    pub(super) fn first(api: &Api) -> Self {
        let now = Instant::now();
        Self {
            at: Timestamp::UNKNOWN,
            began: now,
            ended: now,
            mode: api.modes.current(),
            pipeline: PipelineView {
                mode: api.modes.current().mode,
                source: api.pipeline.source.to_owned(),
                embedded: api.pipeline.embedded,
                running: false,
                lag_ms: None,
                applied: None,
                events_total: 0,
                invalidations_total: 0,
                freshness: api.pipeline.freshness.unknown(api.modes.current().mode),
                built_with: api.pipeline.built_with,
                caches: true,
                stages: Stages::default(),
            },
            database_away: false,
            store_away: false,
            slow: None,
            api_silent: None,
            survey: Arc::default(),
            verdict: Verdict::unknown("No check has run yet."),
            tour: TourView::default(),
            demo: None,
            faults: FaultState::default(),
            history: Arc::default(),
            carried: None,
        }
    }

    /// Returns how long ago the snapshot was completed.
    pub(super) fn age(&self) -> Duration {
        self.ended.elapsed()
    }

    /// The same values as of their time, with an unknown verdict.
    pub(super) fn outdated(&self) -> Self {
        Self {
            verdict: Verdict::unknown("The last look is older than 3 s: nothing is known of now."),
            survey: Arc::new(self.survey.frozen(self.at, true)),
            demo: None,
            ..self.clone()
        }
    }
}
