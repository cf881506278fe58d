//! The last snapshot of everything the panel shows: shared by all tabs and renewed while the panel is watched.

use std::sync::Arc;

use simulator_api::Api;
use simulator_model::viewers::Viewers;
use tokio::sync::{Mutex, Notify, watch};

use super::activity::ActivityLog;
use super::gauges::Gauges;
use super::moment::{AGE_MAX, Moment};
use super::past::Past;

/// The last snapshot, and how to request another one.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) moments: watch::Sender<Arc<Moment>>,
    /// Held while a snapshot is taken: snapshots never overlap, so that an older one cannot replace a newer one.
    pub(super) turn: Mutex<()>,
    pub(super) nudge: Notify,
    /// Tracks whether a tab is open or was until recently.
    pub(super) interest: Viewers,
    pub(super) gauges: Gauges,
    pub(super) chronicle: ActivityLog,
    pub(super) past: Past,
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
            past: Past::default(),
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
}
