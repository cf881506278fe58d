//! Open-loop load: reads and writes at a rate that does not depend on the responses.
//!
//! Latency is measured from the moment a request was *due*, so a stalling server cannot hide it by slowing the client
//! down. In parallel, a probe writes rows and reads them until they are fresh.
//!
//! - [`plan`]: what a run does, made of [`stage`], [`keys`], [`threshold`], or ready-made in [`preset`];
//! - [`control`]: the handle that starts and stops runs; [`progress`] and [`outcome`]: what they report;
//! - [`engine`]: a run from start to end; [`drive`] sends the requests that [`mix`] draws, through [`client`];
//! - [`judge`]: whether a read was stale; [`probe`]; [`tally`]: what is counted.

mod built_with;
mod client;
pub mod control;
mod drive;
mod engine;
mod field;
pub mod flags;
mod hgrm;
mod judge;
pub mod keys;
mod mix;
pub mod outcome;
mod output;
pub mod plan;
pub mod preset;
mod probe;
pub mod progress;
pub mod report;
pub mod stage;
mod summary;
mod tally;
pub mod threshold;

use std::process::ExitCode;

pub use built_with::{BuiltWith, Setup, lifetime};
pub use client::{Client, ModeView, Reads, Row, Target};
pub use control::{LoadControl, StartError, spawn};
pub use engine::{Job, Leaves, run as execute};
pub use flags::{LoadFlags, PlanFlags};
pub use outcome::LoadResult;
pub use output::{OutputFlags, Shown, print, save_json};
pub use plan::LoadPlan;
pub use preset::{PRESETS, list as list_presets};
pub use progress::LoadProgress;

use simulator_cli::{CliError, shutdown_signal};

/// Exit code of a run that missed a goal.
pub const MISSED: u8 = 99;
/// Exit code of an invalid run: requests were dropped, so its numbers are not those of the plan.
pub const INVALID: u8 = 98;

/// Runs the plan of the flags against the API, and writes the requested output.
///
/// # Errors
/// A line that says which flag is wrong, or that the API does not respond.
pub async fn run(target: Target, flags: &LoadFlags) -> Result<ExitCode, CliError> {
    if flags.plan.lists_presets() {
        print(&list_presets());
        return Ok(ExitCode::SUCCESS);
    }
    let plan = flags.plan.plan()?;
    flags.output.check(flags.hgrm.as_deref())?;
    let control = LoadControl::new(target);
    control.start(plan).map_err(|error| CliError::new(error.to_string()))?;
    let ended = follow(&control).await;
    let Some(result) = control.result() else {
        return Err(CliError::new(ended.message.unwrap_or_else(|| "the run came to no result".to_owned())));
    };
    let distribution = flags.hgrm.as_deref().map(|file| (file, hgrm::text(&result)));
    flags.output.save(&*result, &summary::text(&result), || report::page(&result), distribution)?;
    Ok(match result.verdict.ending {
        outcome::Ending::Invalid => ExitCode::from(INVALID),
        outcome::Ending::Missed => ExitCode::from(MISSED),
        outcome::Ending::Met | outcome::Ending::Measured => ExitCode::SUCCESS,
    })
}

/// Prints the progress until the run ends. A shutdown signal ends it early.
async fn follow(control: &LoadControl) -> LoadProgress {
    let (mut progress, mut shown) = (control.watch(), Shown::default());
    let shutdown = shutdown_signal();
    tokio::pin!(shutdown);
    let mut stopped = false;
    loop {
        let now = progress.borrow_and_update().clone();
        if !now.phase.is_active() {
            shown.end();
            return now;
        }
        shown.show(&now.line(), now.elapsed_ms);
        tokio::select! {
            () = &mut shutdown, if !stopped => {
                stopped = true;
                control.stop();
            }
            changed = progress.changed() => {
                if changed.is_err() {
                    return now;
                }
            }
        }
    }
}
