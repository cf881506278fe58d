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
        // If they were current together, they were when the last of them began.
        let mut begins = values.iter().flat_map(|(line, value)| {
            let stamps = state.database.stamps[*line].iter();
            stamps.filter(move |stamp| stamp.value == *value).map(|stamp| stamp.event)
        });
        let together =
            begins.any(|event| values.iter().all(|(line, value)| state.database.value_at(*line, event) == *value));
        is_known && !together
    };
    if torn {
        world
            .violated(|| format!("process {} read values of several moments since {begun}: {values:?}", process.actor));
    }
}
