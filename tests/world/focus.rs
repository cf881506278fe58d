//! Worlds in which one kind of mistake would show: few keys, many of the events that it takes, and none that hide it.

use crate::config::Config;
use crate::lives::Lives;
use crate::random::Random;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Focus {
    /// Everything happens now and then.
    Everything,
    /// Invalidators of wider releases take over while commits are in the log and not visible.
    Covering,
    /// Definitions change, and invalidators take over from each other.
    Definitions,
    /// Processes read one server of the store and follow the bus of another.
    Links,
    /// Shards fail over one by one.
    Nodes,
    /// Modes are switched, and invalidators die meanwhile.
    Modes,
    /// Processes load from a replica of the database, which lags.
    Replica,
    /// Clocks hardly differ, and ways are long: what is known of time must be exact.
    Time,
}

impl Focus {
    pub(crate) fn draw(random: &Random) -> Self {
        match random.below(100) {
            0..=11 => Self::Covering,
            12..=23 => Self::Definitions,
            24..=35 => Self::Links,
            36..=47 => Self::Nodes,
            48..=59 => Self::Time,
            60..=65 => Self::Modes,
            66..=75 => Self::Replica,
            _ => Self::Everything,
        }
    }

    /// Changes what was drawn.
    pub(crate) fn apply(self, config: &mut Config, random: &Random) {
        if self == Self::Everything {
            return;
        }
        config.keys = 2;
        config.wild_clocks = false;
        config.heartbeat = config.heartbeat.min(crate::clock::millis(20));
        (config.evictions, config.switches, config.manual, config.nodes) = (false, false, false, false);
        (config.store_faults, config.database_faults, config.odd_changes) = (false, false, false);
        (config.churn, config.releases, config.slow_visibility) = (true, false, false);
        (config.lost_calls, config.lost_messages) = (0, 0);
        config.lives = Lives::long();
        config.loads_max = 64;
        (config.pace, config.faults) = (1 + random.below(2), 40);
        match self {
            Self::Everything => {}
            Self::Covering => {
                (config.releases, config.slow_visibility, config.replica) = (true, true, false);
                config.heartbeat = crate::clock::millis(40);
            }
            Self::Definitions => {
                (config.odd_changes, config.releases, config.partial_tables) = (true, random.chance(500), 300);
                config.slow_visibility = random.chance(500);
            }
            Self::Links => {
                (config.store_faults, config.manual, config.churn) = (true, random.chance(500), false);
                (config.copies, config.faults, config.pace) = (200, 30, 1);
            }
            Self::Modes => (config.switches, config.faults) = (true, 40),
            Self::Replica => {
                (config.replica, config.odd_changes, config.releases) = (true, true, random.chance(700));
                config.partial_tables = 300;
                (config.steady_lag, config.faults) = (random.chance(700), 12);
                config.slow_visibility = !config.steady_lag;
                config.eager_replica &= !config.steady_lag;
                (config.compared_keys_max, config.batch_changes_max) = ([0, 64][random.index(2)], 1);
            }
            Self::Nodes => (config.store_faults, config.nodes, config.shards) = (true, true, 3),
            Self::Time => {
                (config.skew_micros, config.long_ways, config.slow_max) = (50, 200, 100);
                (config.slow_probe, config.shards) = (50, 1);
                (config.writes, config.faults) = (300, 12);
                config.store_faults = random.chance(300);
            }
        }
    }
}
