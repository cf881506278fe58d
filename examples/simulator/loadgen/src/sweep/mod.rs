//! The sweep: the same seeded loads with several lifetimes of entries (TTL), and in CDC mode.
//!
//! Reads go through the API's caches that go by age, one for each lifetime, so that nothing has to be started again. Each
//! measurement gets new rows that no cache has seen, and every seed asks for the same rows in the same order everywhere.
//!
//! - [`control`]: the handle that starts and stops it; [`plan`]: what it measures, and how long that takes at most;
//! - [`outcome`]: the result.

pub mod control;
mod flags;
pub mod outcome;
pub mod plan;
mod run;
mod summary;

use std::process::ExitCode;
use std::time::Duration;

use simulator_cli::{CliError, shutdown_signal};

pub use self::control::SweepControl;
pub use self::flags::SweepFlags;
use self::outcome::SweepProgress;
pub use self::outcome::SweepResult;
pub use self::plan::SweepPlan;
use crate::load::{INVALID, LoadControl, Shown, Target, list_presets, print};

/// Maximum wait for the mode to be restored after an interruption.
const SETTLE_MAX: Duration = Duration::from_secs(30);

/// Runs the sweep against the API, and writes the requested output. `length_max` bounds all of its measurements together.
///
/// # Errors
/// A line that says which flag is wrong, or that the API does not respond.
pub async fn run(target: Target, flags: &SweepFlags, length_max: Duration) -> Result<ExitCode, CliError> {
    if flags.plan.lists_presets() {
        print(&list_presets());
        return Ok(ExitCode::SUCCESS);
    }
    let plan = flags.plan()?;
    plan.check(length_max).map_err(CliError::new)?;
    let load = LoadControl::new(target);
    let control = SweepControl::new(&load, length_max);
    control.start(plan).map_err(|error| CliError::new(error.to_string()))?;
    let ended = follow(&control).await;
    let Some(result) = control.result() else {
        return Err(CliError::new(ended.message.unwrap_or_else(|| "the sweep came to no result".to_owned())));
    };
    flags.save(&result.record(result.source.as_deref().unwrap_or("not known")), &summary::text(&result))?;
    if let Err(why) = &result.restored {
        return Err(CliError::new(why.clone()));
    }
    Ok(if result.valid { ExitCode::SUCCESS } else { ExitCode::from(INVALID) })
}

/// Prints the progress until the sweep ends. A shutdown signal ends it early.
async fn follow(control: &SweepControl) -> SweepProgress {
    let (mut progress, mut shown) = (control.watch(), Shown::default());
    let shutdown = shutdown_signal();
    tokio::pin!(shutdown);
    loop {
        let now = progress.borrow_and_update().clone();
        if !now.phase.is_active() {
            shown.end();
            return now;
        }
        shown.show(&now.line(), now.elapsed_ms);
        tokio::select! {
            () = &mut shutdown => {
                control.settle(SETTLE_MAX).await;
                shown.end();
                return progress.borrow().clone();
            }
            changed = progress.changed() => {
                if changed.is_err() {
                    return now;
                }
            }
        }
    }
}
