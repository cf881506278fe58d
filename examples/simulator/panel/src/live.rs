//! The last look at everything: shared by all tabs, taken again and again while somebody watches.

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

/// The pause between two looks while somebody watches.
const WATCHED: Duration = Duration::from_millis(250);

/// The pause after the last one who watched has gone; after a while there are no looks at all.
const UNWATCHED: Duration = Duration::from_secs(1);

/// The pause before a look that an event has asked for; after a long look, as long as that took.
const NUDGED: Duration = Duration::from_millis(40);

/// A look is followed by a pause of so many times its length, within the bounds above.
const REST: u32 = 2;

/// The longest pause while somebody watches: within a second all see the same.
const WATCHED_MAX: Duration = Duration::from_millis(400);

/// A look that is older says nothing about now.
pub(super) const AGE_MAX: Duration = Duration::from_secs(3);

/// Whoever opens a page is shown a look that began so long ago at most: many who come at once share one.
const SHARED: Duration = Duration::from_millis(300);

/// The charts have a point so often.
const SAMPLE_EVERY: Duration = Duration::from_secs(1);

/// What was answered, but so late that nothing can be said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Slow {
    Store,
    /// There is more to compare than can be compared in time.
    Comparing,
}

/// Everything at one moment.
#[derive(Clone, Debug)]
pub(super) struct Moment {
    /// When the look was over.
    pub(super) at: Timestamp,
    /// The same, by a clock that nobody sets.
    pub(super) began: Instant,
    pub(super) ended: Instant,
    pub(super) mode: ModeRow,
    pub(super) pipeline: PipelineView,
    /// The database cannot be read, or says nothing for as long as a look may take.
    pub(super) database_away: bool,
    pub(super) store_away: bool,
    pub(super) slow: Option<Slow>,
    /// Why the API of another process says nothing, if it does not.
    pub(super) api_silent: Option<String>,
    pub(super) survey: Arc<Survey>,
    pub(super) verdict: Verdict,
    pub(super) tour: TourView,
    /// The user that the demo is about.
    pub(super) demo: Option<UserRow>,
    pub(super) faults: FaultState,
    /// The modes that were in force, the newest first.
    pub(super) history: Arc<Vec<Switch>>,
    /// What the consumer says of its topics.
    pub(super) carried: Option<KafkaReport>,
}

impl Moment {
    /// Nothing was looked at.
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

    /// How long ago the look was over.
    pub(super) fn age(&self) -> Duration {
        self.ended.elapsed()
    }

    /// The same values with their time, and nothing said of now.
    fn outdated(&self) -> Self {
        Self {
            verdict: Verdict::unknown("The last look is older than 3 s: nothing is known of now."),
            survey: Arc::new(self.survey.frozen(self.at, true)),
            demo: None,
            ..self.clone()
        }
    }
}

/// The last look, and how to ask for another one.
#[derive(Debug)]
pub(super) struct Live {
    moments: watch::Sender<Arc<Moment>>,
    /// Held while somebody looks: looks come one after the other, so that an older one is never the last.
    turn: Mutex<()>,
    nudge: Notify,
    /// Somebody watches, or did a moment ago.
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

    /// Hears of every look. Whoever does watches.
    pub(super) fn follow(&self) -> watch::Receiver<Arc<Moment>> {
        self.interest.show();
        self.moments.subscribe()
    }

    /// The last look; if it is too old, that nothing is known.
    pub(super) fn current(&self) -> Arc<Moment> {
        let moment = Arc::clone(&self.moments.borrow());
        if moment.at.is_known() && moment.age() > AGE_MAX { Arc::new(moment.outdated()) } else { moment }
    }

    /// True if a tab is open.
    pub(super) fn is_watched(&self) -> bool {
        self.moments.receiver_count() > 0
    }

    /// Something has changed: look now.
    pub(super) fn nudge(&self) {
        self.nudge.notify_one();
    }

    /// A look for somebody who opens a page: a new one, or one that others have just taken.
    pub(super) async fn fresh(&self, panel: &Panel) -> Arc<Moment> {
        self.interest.show();
        let now = Instant::now();
        self.look(panel, now.checked_sub(SHARED).unwrap_or(now)).await
    }

    /// A look that began at `since` or later.
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

/// Looks while somebody watches, until the API ends.
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
        // Looking never takes more than a part of the time, however much there is to look at.
        let pause = pause.max((took * REST).min(WATCHED_MAX));
        tokio::select! {
            () = panel.api.stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
            () = live.nudge.notified() => tokio::time::sleep(NUDGED.max(took.min(WATCHED_MAX))).await,
            Ok(()) = tours.changed() => {}
        }
    }
}

/// Takes the charts' samples while somebody watches, until the API ends. Beside the looks: an API that is slow to tell
/// its numbers must not make them late.
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
