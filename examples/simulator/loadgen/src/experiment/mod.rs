//! The experiment: runs one seeded plan in TTL mode, there again with stale-while-revalidate, then in CDC mode, and compares them.
//!
//! Each side gets new rows that no cache has seen, so that all start cold. The original mode is restored at the end,
//! even if the experiment is stopped early.
//!
//! - [`control`]: the handle that starts and stops it; [`run`](mod@run): the sides, one after the other;
//! - [`outcome`]: the result.

pub mod control;
mod flags;
pub(crate) mod options;
pub mod outcome;
pub mod report;
mod run;
mod summary;

use std::process::ExitCode;

pub use control::ExperimentControl;
pub use flags::ExperimentFlags;
use simulator_cli::CliError;

use crate::load::{INVALID, LoadControl, MISSED, Target, list_presets, print};

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
    let result = control.follow().await?;
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
