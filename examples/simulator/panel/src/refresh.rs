//! When snapshots and samples are taken: while the panel is watched.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};

use super::moment::Moment;
use super::panel::Panel;

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

/// Maximum age of the snapshot for a newly opened page, counted from its start: pages opened together share one.
const SHARED: Duration = Duration::from_millis(300);

/// Interval between two points of the charts.
const SAMPLE_EVERY: Duration = Duration::from_secs(1);

/// Returns a snapshot for a page that is being opened: a new one, or one that began at most [`SHARED`] ago.
pub(super) async fn fresh(panel: &Panel) -> Arc<Moment> {
    panel.live.interest.show();
    let now = Instant::now();
    look(panel, now.checked_sub(SHARED).unwrap_or(now)).await
}

/// Returns the last snapshot if it began at `since` or later, else takes one.
async fn look(panel: &Panel, since: Instant) -> Arc<Moment> {
    let _turn = panel.live.turn.lock().await;
    let last = Arc::clone(&panel.live.moments.borrow());
    if last.at.is_known() && last.began >= since {
        return last;
    }
    let moment = Arc::new(super::look::look(panel, &last).await);
    panel.live.moments.send_replace(Arc::clone(&moment));
    moment
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
            panel.api.writes.viewers().show();
        }
        let began = Instant::now();
        look(&panel, began).await;
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
        let current = panel.live.current();
        panel.live.gauges.sample(text.as_deref(), now, &current, &panel.live.chronicle);
        panel.live.past.note(now, &current);
    }
}
