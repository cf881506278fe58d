//! Which faults are switched on.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::server_name::ServerName;

/// The longest delay, in ms.
pub const DELAY_MS_MAX: u64 = 10_000;

/// Everything that can be broken on purpose. At the first start all of it is off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct FaultState {
    /// The consumer is paused, as if its process were stopped: no change, no heartbeat, no sign of life. Entries stay
    /// stale until it resumes; then nothing is lost.
    pub pause_consumer: bool,
    /// The consumer runs but receives no change: its heartbeats go on, its lag grows from the first commit on. Nothing
    /// is lost.
    pub freeze_stream: bool,
    /// Changes are lost on the way without an error: the one fault that leaves entries stale until they expire, which only the
    /// inspector finds.
    pub drop_events: bool,
    /// Delay of every reply of the store. Beyond a second the client gives up, as it would on a slow network.
    #[schema(maximum = 10_000)]
    pub store_delay_ms: u64,
    /// The store cannot be reached.
    pub store_cut: bool,
    /// Delay of every statement on users.
    #[schema(maximum = 10_000)]
    pub database_delay_ms: u64,
    /// Loads read a replica that is so far behind. Unless the caches are fenced, an entry that was invalidated may be filled
    /// with the older row, and then stays stale.
    #[schema(maximum = 10_000)]
    pub replica_lag_ms: u64,
    /// The subscription of this app server to the bus is cut, in every process that has it: no message arrives, and no error says
    /// so. Its process-local tier turns itself off after 2 s of silence. Servers with other names are not affected.
    pub bus_cut: Option<ServerName>,
}

impl FaultState {
    /// All faults by name, and whether they are on.
    pub(super) fn switches(&self) -> [(&'static str, bool); 8] {
        [
            ("pause_consumer", self.pause_consumer),
            ("freeze_stream", self.freeze_stream),
            ("drop_events", self.drop_events),
            ("store_delay_ms", self.store_delay_ms > 0),
            ("store_cut", self.store_cut),
            ("database_delay_ms", self.database_delay_ms > 0),
            ("replica_lag_ms", self.replica_lag_ms > 0),
            ("bus_cut", self.bus_cut.is_some()),
        ]
    }

    /// The names of the faults that are on.
    pub fn active(&self) -> Vec<&'static str> {
        self.switches().into_iter().filter_map(|(name, on)| on.then_some(name)).collect()
    }

    /// The text of the note in the database.
    pub fn to_text(self) -> String {
        // A plain struct of numbers and flags always has a JSON form.
        serde_json::to_string(&self).unwrap_or_default()
    }

    /// Parses a note. One that is not valid, because another program wrote it, switches nothing on.
    pub fn of_text(text: &str) -> Self {
        let mut state: Self = serde_json::from_str(text).unwrap_or_default();
        state.store_delay_ms = state.store_delay_ms.min(DELAY_MS_MAX);
        state.database_delay_ms = state.database_delay_ms.min(DELAY_MS_MAX);
        state.replica_lag_ms = state.replica_lag_ms.min(DELAY_MS_MAX);
        state
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_read_again_and_nonsense_switches_nothing_on() {
        let state = FaultState { drop_events: true, store_delay_ms: 50, ..FaultState::default() };
        assert_eq!(FaultState::of_text(&state.to_text()), state);
        assert_eq!(state.active(), ["drop_events", "store_delay_ms"]);
        let of_before = FaultState::of_text("{\"drop_events\":true,\"store_delay_ms\":50}");
        assert_eq!(of_before, state, "a note of a version without some of the switches");
        assert_eq!(FaultState::of_text("what?"), FaultState::default());
        assert_eq!(FaultState::of_text("{\"store_delay_ms\":99999999}").store_delay_ms, DELAY_MS_MAX);
        let all = FaultState {
            pause_consumer: true,
            freeze_stream: true,
            drop_events: true,
            store_delay_ms: DELAY_MS_MAX,
            store_cut: true,
            database_delay_ms: DELAY_MS_MAX,
            replica_lag_ms: DELAY_MS_MAX,
            bus_cut: Some(ServerName::D),
        };
        assert!(all.to_text().len() <= 255, "a note has 255 characters");
    }
}
