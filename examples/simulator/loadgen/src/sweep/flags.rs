//! The command line of the sweep.

use std::path::PathBuf;

use clap::Args;
use simulator_cli::CliError;

use super::plan::{EACH_DEFAULT, SEEDS_DEFAULT, SweepPlan, TTLS_DEFAULT, parse_ttls};
use crate::load::{PlanFlags, print, save_json};
use crate::record::RunRecord;

/// The flags of the sweep. Every measurement has the same plan; `--duration` is the length of each.
#[derive(Clone, Debug, Default, Args)]
#[command(
    after_help = "Exit codes: 0 when everything was measured, 98 when the measurements cannot be compared, 1 when it \
                        could not run or the mode could not be put back. Goals (--threshold) do not count."
)]
pub struct SweepFlags {
    #[command(flatten)]
    pub(super) plan: PlanFlags,
    /// The TTLs (lifetimes of entries), separated by commas and rising. [default: 1s,5s,30s,300s]
    #[arg(long, value_name = "DURATION,..")]
    ttls: Option<String>,
    /// How many seeds each TTL is measured with, 1 to 5. [default: 3]
    #[arg(long, value_name = "NUMBER")]
    seeds: Option<u64>,
    /// Write the result as JSON, in the form in which the panel keeps runs; - for standard output.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

impl SweepFlags {
    /// Returns the plan of the flags.
    ///
    /// # Errors
    /// A line that names the flag that cannot be used.
    pub(super) fn plan(&self) -> Result<SweepPlan, CliError> {
        let ttls = match &self.ttls {
            Some(text) => parse_ttls(text).map_err(|why| CliError::new(format!("--ttls: {why}")))?,
            None => TTLS_DEFAULT.into(),
        };
        let load = self.plan.plan_of(Some(EACH_DEFAULT))?;
        Ok(SweepPlan { load, ttls, seeds: self.seeds.unwrap_or(SEEDS_DEFAULT) })
    }

    /// Writes the requested file, and prints `text` unless the file is standard output.
    ///
    /// # Errors
    /// A line that names the file that cannot be written.
    pub(super) fn save(&self, record: &RunRecord, text: &str) -> Result<(), CliError> {
        let is_printed = match &self.json {
            Some(file) => save_json(file, record)?,
            None => false,
        };
        if !is_printed {
            print(text);
        }
        Ok(())
    }
}
