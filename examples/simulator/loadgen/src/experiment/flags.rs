//! The command line of the experiment.

use clap::Args;

use crate::load::{OutputFlags, PlanFlags};

/// The flags of the experiment. Both sides run the same plan and have the same goals; goals on staleness count in CDC
/// mode only, because TTL mode is stale by design.
#[derive(Clone, Debug, Default, Args)]
#[command(
    after_help = "Exit codes: 0 when every goal was met, 99 when one was missed (goals on staleness count in cdc \
                        mode only), 98 when the comparison is not valid, 1 when it could not run or the mode could not \
                        be put back."
)]
pub struct ExperimentFlags {
    #[command(flatten)]
    pub(super) plan: PlanFlags,
    #[command(flatten)]
    pub(super) output: OutputFlags,
}
