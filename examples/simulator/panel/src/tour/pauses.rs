//! Pauses between the steps of a demo.

use std::time::Duration;

use tokio::time::timeout;

use super::Tour;
use super::pace::Pace;

/// Pause before a step in slow motion: the time to read what the last one was.
const SLOW_PAUSE: Duration = Duration::from_secs(4);

/// Maximum pause between two steps that are taken by button; then the demo ends, so that another one can be started.
const BUTTON_MAX: Duration = Duration::from_secs(600);

/// The next step was not requested in time.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NotRequested;

impl Tour {
    /// Changes the pace of this demo and of later ones. A pause that is in progress goes on only if steps are taken by button.
    pub(crate) fn set_pace(&self, pace: Pace) {
        self.change(|view| view.pace = pace);
        if pace != Pace::Step {
            self.next();
        }
    }

    /// Ends the pause before a step; returns false if there is none.
    pub(crate) fn next(&self) -> bool {
        let mut waited = false;
        self.change(|view| waited = view.waits.take().is_some());
        waited
    }

    /// Pauses before a step, counted from zero, as the pace says. Returns whether it did.
    pub(super) async fn pause(&self, step: usize) -> Result<bool, NotRequested> {
        let mut views = self.follow();
        let (pace, longest) = match views.borrow().pace {
            Pace::Normal => return Ok(false),
            pace @ Pace::Slow => (pace, SLOW_PAUSE),
            pace @ Pace::Step => (pace, BUTTON_MAX),
        };
        self.change(|view| view.waits = Some(step));
        let requested = timeout(longest, views.wait_for(|view| view.waits.is_none())).await.is_ok();
        self.next();
        if requested || pace == Pace::Slow { Ok(true) } else { Err(NotRequested) }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_pause_ends_by_request_or_by_its_pace() {
        let tour = Arc::new(Tour::default());
        assert_eq!(tour.pause(1).await, Ok(false));
        assert!(!tour.next(), "there is no pause to end");
        tour.set_pace(Pace::Slow);
        assert_eq!(tour.pause(1).await, Ok(true));
        tour.set_pace(Pace::Step);
        assert_eq!(tour.pause(1).await, Err(NotRequested));
        let waiting = tokio::spawn({
            let tour = Arc::clone(&tour);
            async move { tour.pause(2).await }
        });
        let mut views = tour.follow();
        views.wait_for(|view| view.waits == Some(2)).await.expect("a pause");
        assert!(tour.next());
        assert_eq!(waiting.await.expect("no panic"), Ok(true));
        assert_eq!(tour.view().waits, None);
    }
}
