//! The experiment: runs one seeded plan in TTL mode, there again with stale-while-revalidate, then in CDC mode, and compares them.
//!
//! Each side gets new rows that no cache has seen, so that all start cold. The original mode is restored at the end,
//! even if the experiment is stopped early.
//!
//! - [`control`]: the handle that starts and stops it; [`run`](mod@run): the sides, one after the other;
//! - [`outcome`]: the result.

pub mod control;
mod flags;
mod options;
pub mod outcome;
pub mod report;
mod run;
mod summary;

use std::process::ExitCode;
use std::time::Duration;

pub use control::ExperimentControl;
pub use flags::ExperimentFlags;
use outcome::ExperimentProgress;
use simulator_cli::{CliError, shutdown_signal};

use crate::load::{INVALID, LoadControl, MISSED, Shown, Target, list_presets, print};

/// Maximum wait for the mode to be restored after an interruption.
const SETTLE_MAX: Duration = Duration::from_secs(30);

/// Runs the experiment against the API, and writes the requested output.
///
/// # Errors
/// A line that says which flag is wrong, or that the API does not respond.
pub async fn run(target: Target, flags: &ExperimentFlags) -> Result<ExitCode, CliError> {
    if flags.plan.lists_presets() {
        print(&list_presets());
        return Ok(ExitCode::SUCCESS);
    }
    let plan = flags.plan.plan()?;
    flags.output.check(None)?;
    let load = LoadControl::new(target);
    let control = ExperimentControl::new(&load);
    control.start(plan).map_err(|error| CliError::new(error.to_string()))?;
    let ended = follow(&control).await;
    let Some(result) = control.result() else {
        return Err(CliError::new(ended.message.unwrap_or_else(|| "the experiment came to no result".to_owned())));
    };
    flags.output.save(&*result, &summary::text(&result), || report::page(&result), None)?;
    if let Err(why) = &result.restored {
        return Err(CliError::new(why.clone()));
    }
    Ok(match (result.valid, result.missed()) {
        (false, _) => ExitCode::from(INVALID),
        (true, true) => ExitCode::from(MISSED),
        (true, false) => ExitCode::SUCCESS,
    })
}

/// Prints the progress until the experiment ends. A shutdown signal ends it early.
async fn follow(control: &ExperimentControl) -> ExperimentProgress {
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
