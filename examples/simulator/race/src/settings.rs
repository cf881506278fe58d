//! Bounds of what viewers can start.

use std::time::Duration;

/// Bounds of all worlds of a process.
#[derive(Clone, Copy, Debug)]
pub struct RaceSettings {
    /// Maximum number of worlds that are kept. Beyond it the one that was used least recently is closed; its viewer's next step
    /// plays the scene again up to there. Default: 32, more viewers than a demonstration has; each world has a dozen tasks
    /// and some hundred KiB.
    pub worlds_max: usize,
    /// Maximum number of worlds that are started or advanced at a time; further requests wait for a turn. Default: 4, so that
    /// viewers who press keys take no more than a few milliseconds of the machine at once.
    pub steps_at_once: usize,
    /// How long a request waits for its turn before it is refused. Default: 5 s, as a step may take.
    pub turn_wait: Duration,
    /// How long a world is kept that no request has used. Default: 2 min, the time to read a step twice.
    pub idle_max: Duration,
    /// How long a world is used at most; then the scene is played again. A load that is held, and its lease, last at least as
    /// long. Default: 10 min, twice the time that the scenes take.
    pub age_max: Duration,
    /// How long a step waits for its effect before it counts as failed. Default: 5 s, far above the milliseconds that it takes.
    pub step_max: Duration,
}

impl Default for RaceSettings {
    fn default() -> Self {
        Self {
            worlds_max: 32,
            steps_at_once: 4,
            turn_wait: Duration::from_secs(5),
            idle_max: Duration::from_secs(120),
            age_max: Duration::from_secs(600),
            step_max: Duration::from_secs(5),
        }
    }
}
