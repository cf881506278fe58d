//! The last snapshot of everything the panel shows: shared by all tabs and renewed while the panel is watched.

use std::sync::Arc;
use std::time::Duration;

use cachefront::Timestamp;
use simulator_api::Api;
use simulator_model::domain::ModeRow;
use simulator_model::faults::FaultState;
use simulator_model::kafka_report::KafkaReport;
use simulator_model::pipeline::PipelineView;
use simulator_model::stages::Stages;
use simulator_model::viewers::Viewers;
use tokio::sync::{Mutex, Notify, watch};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::Panel;
use super::activity::ActivityLog;
use super::gauges::Gauges;
use super::look::{self, Switch};
use super::tour::TourView;
use super::users::{Survey, UserRow};
use super::verdict::Verdict;

/// Pause between two snapshots while a tab is open.
const WATCHED: Duration = Duration::from_millis(250);

/// Pause after the last tab was closed. Snapshots stop altogether when [`Viewers`] no longer counts it as present.
const UNWATCHED: Duration = Duration::from_secs(1);

/// Minimum delay of a snapshot that an event requested; after a slow snapshot, as long as that one took.
const NUDGED: Duration = Duration::from_millis(40);

/// The pause after a slow snapshot is this many times its duration, up to [`WATCHED_MAX`].
const REST: u32 = 2;

/// Maximum pause after a slow snapshot while a tab is open, so that all tabs show a change within about a second.
const WATCHED_MAX: Duration = Duration::from_millis(400);

/// Maximum age of a snapshot that is shown as the current state.
pub(super) const AGE_MAX: Duration = Duration::from_secs(3);

/// Maximum age of the snapshot for a newly opened page, counted from its start: pages opened together share one.
const SHARED: Duration = Duration::from_millis(300);

/// Interval between two points of the charts.
const SAMPLE_EVERY: Duration = Duration::from_secs(1);

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
    fn first(api: &Api) -> Self {
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
                stages: Stages::default(),
            },
            database_away: false,
            store_away: false,
            slow: None,
            api_silent: None,
            survey: Arc::default(),
            verdict: Verdict::unknown("Nothing has been looked at yet."),
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
    fn outdated(&self) -> Self {
        Self {
            verdict: Verdict::unknown("The last look is older than 3 s: nothing is known of now."),
            survey: Arc::new(self.survey.frozen(self.at, true)),
            demo: None,
            ..self.clone()
        }
    }
}

/// The last snapshot, and how to request another one.
#[derive(Debug)]
pub(super) struct Live {
    moments: watch::Sender<Arc<Moment>>,
    /// Held while a snapshot is taken: snapshots never overlap, so that an older one cannot replace a newer one.
    turn: Mutex<()>,
    nudge: Notify,
    /// Tracks whether a tab is open or was until recently.
    interest: Viewers,
    pub(super) gauges: Gauges,
    pub(super) chronicle: ActivityLog,
}

impl Live {
    pub(super) fn new(api: &Api) -> Self {
        Self {
            moments: watch::Sender::new(Arc::new(Moment::first(api))),
            turn: Mutex::new(()),
            nudge: Notify::new(),
            interest: Viewers::default(),
            gauges: Gauges::default(),
            chronicle: ActivityLog::default(),
        }
    }

    /// Subscribes to snapshots. A subscriber counts as a viewer.
    pub(super) fn follow(&self) -> watch::Receiver<Arc<Moment>> {
        self.interest.show();
        self.moments.subscribe()
    }

    /// Returns the last snapshot, marked as outdated if it is older than [`AGE_MAX`].
    pub(super) fn current(&self) -> Arc<Moment> {
        let moment = Arc::clone(&self.moments.borrow());
        if moment.at.is_known() && moment.age() > AGE_MAX { Arc::new(moment.outdated()) } else { moment }
    }

    /// Returns true if a tab is open.
    pub(super) fn is_watched(&self) -> bool {
        self.moments.receiver_count() > 0
    }

    /// Requests a snapshot soon, because something has changed.
    pub(super) fn nudge(&self) {
        self.nudge.notify_one();
    }

    /// Returns a snapshot for a page that is being opened: a new one, or one that began at most [`SHARED`] ago.
    pub(super) async fn fresh(&self, panel: &Panel) -> Arc<Moment> {
        self.interest.show();
        let now = Instant::now();
        self.look(panel, now.checked_sub(SHARED).unwrap_or(now)).await
    }

    /// Returns the last snapshot if it began at `since` or later, else takes one.
    async fn look(&self, panel: &Panel, since: Instant) -> Arc<Moment> {
        let _turn = self.turn.lock().await;
        let last = Arc::clone(&self.moments.borrow());
        if last.at.is_known() && last.began >= since {
            return last;
        }
        let moment = Arc::new(look::look(panel, &last).await);
        self.moments.send_replace(Arc::clone(&moment));
        moment
    }
}

/// Takes snapshots while the panel is watched, until the API ends.
pub(super) async fn look_on(panel: Arc<Panel>) {
    let live = &panel.live;
    let mut tours = panel.tour.follow();
    loop {
        tokio::select! {
            () = panel.api.stop.cancelled() => return,
            () = live.interest.wait() => {}
        }
        let watched = live.is_watched();
        if watched {
            live.interest.show();
        }
        let began = Instant::now();
        live.look(&panel, began).await;
        let took = began.elapsed();
        let pause = if watched { WATCHED } else { UNWATCHED };
        // Slow snapshots are followed by longer pauses, to limit their share of the time.
        let pause = pause.max((took * REST).min(WATCHED_MAX));
        tokio::select! {
            () = panel.api.stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
            () = live.nudge.notified() => tokio::time::sleep(NUDGED.max(took.min(WATCHED_MAX))).await,
            Ok(()) = tours.changed() => {}
        }
    }
}

/// Takes the samples of the charts while the panel is watched, until the API ends. A task of its own: an API that is
/// slow to return its metrics must not delay the snapshots.
pub(super) async fn sample_on(panel: Arc<Panel>) {
    let mut ticks = interval(SAMPLE_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = panel.api.stop.cancelled() => return,
            () = async { ticks.tick().await; panel.live.interest.wait().await; } => {}
        }
        let text = panel.numbers.text(&panel.api).await;
        let now = panel.api.pipeline.clock.now();
        panel.live.gauges.sample(text.as_deref(), now, &panel.live.current(), &panel.live.chronicle);
    }
}
