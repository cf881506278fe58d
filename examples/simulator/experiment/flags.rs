//! The command line of the experiment.

use clap::Args;

use crate::load::{OutputFlags, PlanFlags};

/// What both sides are asked. Its goals are judged on each side.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct ExperimentFlags {
    #[command(flatten)]
    pub(super) plan: PlanFlags,
    #[command(flatten)]
    pub(super) output: OutputFlags,
}
