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

use simulator_cli::CliError;

pub use self::control::SweepControl;
pub use self::flags::SweepFlags;
pub use self::outcome::SweepResult;
pub use self::plan::SweepPlan;
use crate::load::{INVALID, LoadControl, Target, list_presets, print};

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
    let load = LoadControl::new(target);
    let control = SweepControl::new(&load);
    control.start(plan, length_max).map_err(|error| CliError::new(error.to_string()))?;
    let result = control.follow().await?;
    flags.save(&result.record(), &summary::text(&result))?;
    if let Err(why) = &result.restored {
        return Err(CliError::new(why.clone()));
    }
    Ok(if result.valid { ExitCode::SUCCESS } else { ExitCode::from(INVALID) })
}
