//! Looks at everything, again and again, and tells every tab.

use std::sync::Arc;
use std::time::{Duration, Instant};

use cachefront::Timestamp;
use tokio::sync::{Notify, watch};

use super::Panel;
use super::chronicle::Chronicle;
use super::gauges::Gauges;
use super::tour::TourView;
use super::users::{self, Survey, UserRow};
use super::verdict::Verdict;
use crate::api::Api;
use crate::carried::Carried;
use crate::domain::ModeRow;
use crate::faults::FaultState;
use crate::pipeline::PipelineView;

/// The pause between two looks while somebody watches.
const WATCHED: Duration = Duration::from_millis(250);

/// The pause between two looks while nobody does: the charts go on.
const UNWATCHED: Duration = Duration::from_secs(1);

/// The pause after a look that an event has asked for.
const NUDGED: Duration = Duration::from_millis(40);

/// A look is followed by a pause of so many times its length, within the bounds above.
const REST: u32 = 2;

/// The longest pause while somebody watches: within a second all see the same.
const WATCHED_MAX: Duration = Duration::from_millis(400);

/// A look that takes longer says that nothing is known.
const LOOK_MAX: Duration = Duration::from_secs(3);

/// Everything at one moment.
#[derive(Clone, Debug)]
pub(super) struct Moment {
    /// When the look was over.
    pub(super) at: Timestamp,
    pub(super) mode: ModeRow,
    pub(super) pipeline: PipelineView,
    /// Why the database is not readable; nothing if it is.
    pub(super) database_away: bool,
    pub(super) store_away: bool,
    pub(super) survey: Arc<Survey>,
    pub(super) verdict: Verdict,
    pub(super) tour: TourView,
    /// The user that the demo is about.
    pub(super) demo: Option<UserRow>,
    pub(super) faults: FaultState,
    /// The modes that were in force, the newest first.
    pub(super) history: Arc<Vec<ModeRow>>,
    /// What the consumer says of its topics.
    pub(super) carried: Option<Carried>,
}

/// The last look, and how to ask for another one.
#[derive(Debug)]
pub(super) struct Live {
    moments: watch::Sender<Arc<Moment>>,
    nudge: Notify,
    pub(super) gauges: Gauges,
    pub(super) chronicle: Chronicle,
}

impl Live {
    pub(super) fn new(api: &Api) -> Self {
        let first = Moment {
            at: Timestamp::UNKNOWN,
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
            },
            database_away: false,
            store_away: false,
            survey: Arc::default(),
            verdict: Verdict::unknown("Nothing has been looked at yet."),
            tour: TourView::default(),
            demo: None,
            faults: FaultState::default(),
            history: Arc::default(),
            carried: None,
        };
        Self {
            moments: watch::Sender::new(Arc::new(first)),
            nudge: Notify::new(),
            gauges: Gauges::default(),
            chronicle: Chronicle::default(),
        }
    }

    pub(super) fn follow(&self) -> watch::Receiver<Arc<Moment>> {
        self.moments.subscribe()
    }

    /// True if a tab is open.
    pub(super) fn is_watched(&self) -> bool {
        self.moments.receiver_count() > 0
    }

    /// Something has changed: look now.
    pub(super) fn nudge(&self) {
        self.nudge.notify_one();
    }

    /// A look that began after this call.
    pub(super) async fn fresh(&self, panel: &Panel) -> Arc<Moment> {
        let moment = Arc::new(look(panel).await);
        self.moments.send_replace(Arc::clone(&moment));
        moment
    }
}

/// Looks until the API ends.
pub(super) async fn look_on(panel: Arc<Panel>) {
    let live = &panel.live;
    let mut tours = panel.tour.follow();
    loop {
        let began = Instant::now();
        let moment = live.fresh(&panel).await;
        if live.gauges.is_due(moment.at) {
            let text = panel.numbers.text(&panel.api).await;
            live.gauges.sample(text.as_deref(), &moment, &live.chronicle);
        }
        let pause = if live.is_watched() { WATCHED } else { UNWATCHED };
        // Looking never takes more than a part of the time, however much there is to look at.
        let pause = pause.max((began.elapsed() * REST).min(WATCHED_MAX));
        tokio::select! {
            () = panel.api.stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
            () = live.nudge.notified() => tokio::time::sleep(NUDGED).await,
            Ok(()) = tours.changed() => {}
        }
    }
}

async fn look(panel: &Panel) -> Moment {
    let api = &panel.api;
    let moment_before = Arc::clone(&panel.live.moments.borrow());
    let surveyed = tokio::time::timeout(LOOK_MAX, users::survey(panel));
    let store = tokio::time::timeout(LOOK_MAX, api.pipeline.store_answers());
    let said = tokio::time::timeout(LOOK_MAX, api.inspector.pass());
    let (surveyed, store, said, pipeline, carried) =
        tokio::join!(surveyed, store, said, api.pipeline.view(), api.pipeline.carried());
    let (survey, verdict) = match (surveyed, said) {
        (Ok(Ok(mut survey)), Ok(said)) => {
            users::agree(panel, &mut survey, &said).await;
            let verdict = Verdict::of(&said, &survey.rows);
            (Some(survey), verdict)
        }
        (Ok(Err(_)), _) => (None, Verdict::unknown("The database does not answer: nothing can be proven.")),
        (Err(_), _) | (_, Err(_)) => (None, Verdict::unknown("Comparing takes too long: nothing can be proven.")),
    };
    let tour = panel.tour.view();
    let demo = match (&survey, tour.user) {
        (Some(survey), Some(id)) => users::of_demo(panel, survey, id).await,
        _ => None,
    };
    let store_away = !matches!(store, Ok(true));
    let changed = moment_before.mode.version != api.modes.current().version || moment_before.history.is_empty();
    let history = match changed {
        true => api.database.mode_history().await.map(Arc::new).unwrap_or_default(),
        false => Arc::clone(&moment_before.history),
    };
    Moment {
        at: api.pipeline.clock.now(),
        mode: api.modes.current(),
        pipeline,
        database_away: survey.is_none(),
        store_away,
        survey: Arc::new(survey.unwrap_or_default()),
        verdict,
        tour,
        demo,
        faults: api.faults.current(),
        history,
        carried,
    }
}
