//! The oracle of reads of one moment: the values of all keys were current together ("One moment").

use crate::clock::Moment;
use crate::keys::Line;
use crate::process::Process;
use crate::world::World;

/// Judges values that were read together since `begun`.
pub(crate) fn judge(world: &World, process: &Process, begun: Moment, values: &[(Line, Option<u64>)]) {
    let torn = {
        let mut state = world.state();
        state.counts.moments += 1;
        // A former primary of the database cannot know what the one after it has executed.
        let is_known = state.former_asked < begun;
        let together = (0..=state.database.last())
            .any(|event| values.iter().all(|(line, value)| state.database.value_at(*line, event) == *value));
        is_known && !together
    };
    if torn {
        world
            .violated(|| format!("process {} read values of several moments since {begun}: {values:?}", process.actor));
    }
}
