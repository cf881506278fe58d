//! Writes the activity log: follows changes, modes and faults.

use std::sync::Arc;

use serde::Deserialize;
use simulator_model::domain::Mode;
use simulator_model::faults::FaultState;
use simulator_model::server_name::ServerName;
use tokio::sync::broadcast::error::RecvError;

use super::activity::What;
use super::panel::Panel;

/// A change as `/events` sends it.
#[derive(Deserialize)]
struct Change {
    op: String,
    keys: Vec<String>,
    position: String,
    lag_ms: Option<f64>,
}

/// Records changes until the API ends, and requests a snapshot after each.
pub(super) async fn write(panel: Arc<Panel>) {
    let mut events = panel.api.events.subscribe();
    let mut modes = panel.api.modes.watch();
    let mut faults = panel.api.faults.watch();
    let mut on = *faults.borrow_and_update();
    loop {
        let received = tokio::select! {
            // Switches first, so that a change that follows one is shown after it.
            biased;
            () = panel.api.stop.cancelled() => return,
            Ok(()) = modes.changed() => {
                let row = modes.borrow_and_update().clone();
                let now = panel.api.pipeline.clock.now();
                panel.live.gauges.mark(now, row.mode.as_str().to_uppercase());
                panel.live.chronicle.switched(now, &row);
                panel.live.nudge();
                continue;
            }
            Ok(()) = faults.changed() => {
                let now_on = *faults.borrow_and_update();
                switched(&panel, on, now_on);
                on = now_on;
                continue;
            }
            received = events.recv() => received,
        };
        match received {
            Ok(event) if event.name == "change" => {
                if let Ok(change) = serde_json::from_str::<Change>(&event.data) {
                    note(&panel, change);
                }
            }
            Ok(_) | Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => return,
        }
    }
}

/// Records switched faults, whichever process switched them.
fn switched(panel: &Panel, before: FaultState, after: FaultState) {
    let now = panel.api.pipeline.clock.now();
    for (words, on) in differences(before, after) {
        panel.live.gauges.mark(now, format!("{words} {}", if on { "on" } else { "off" }));
        panel.live.chronicle.note(now, What::Fault { words, on });
    }
    panel.live.nudge();
}

/// Returns the faults that were switched, named as in the view of the pipeline. A changed delay counts as switched on.
fn differences(before: FaultState, after: FaultState) -> Vec<(&'static str, bool)> {
    let switch = |on: bool| u64::from(on);
    let cut = |state: FaultState, server: ServerName| switch(state.bus_cut == Some(server));
    let of_bus = |server: ServerName| (bus_of(server), cut(before, server), cut(after, server));
    [
        ("Pause", switch(before.pause_consumer), switch(after.pause_consumer)),
        ("Freeze", switch(before.freeze_stream), switch(after.freeze_stream)),
        ("Drop", switch(before.drop_events), switch(after.drop_events)),
        ("Delay", before.store_delay_ms, after.store_delay_ms),
        ("Cut", switch(before.store_cut), switch(after.store_cut)),
        ("Slow", before.database_delay_ms, after.database_delay_ms),
        ("Lag", before.replica_lag_ms, after.replica_lag_ms),
    ]
    .into_iter()
    .chain(ServerName::ALL.map(of_bus))
    .filter(|(_, before, after)| before != after)
    .map(|(words, _, after)| (words, after > 0))
    .collect()
}

/// Names the fault that cuts the bus of one app server.
fn bus_of(server: ServerName) -> &'static str {
    match server {
        ServerName::A => "Bus of A",
        ServerName::B => "Bus of B",
        ServerName::C => "Bus of C",
        ServerName::D => "Bus of D",
    }
}

fn note(panel: &Panel, change: Change) {
    let applied = panel.api.modes.current().mode == Mode::Cdc;
    if change.op == "delete" {
        change.keys.iter().filter_map(|key| user_id(key)).for_each(|id| panel.row_cache.miss(id));
    }
    let Change { op, keys, position, lag_ms } = change;
    panel.live.chronicle.note(panel.api.pipeline.clock.now(), What::Change { op, keys, position, lag_ms, applied });
    panel.live.nudge();
}

/// Returns the id in a key of the cache of users, `None` for a key of another cache.
fn user_id(key: &str) -> Option<u64> {
    let (cache, id) = (key.split(':').next()?, key.rsplit(':').next()?);
    (cache == "users").then(|| id.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_named_by_what_was_switched() {
        let before = FaultState { store_cut: true, store_delay_ms: 200, ..FaultState::default() };
        let after = FaultState { pause_consumer: true, store_delay_ms: 300, ..FaultState::default() };
        assert_eq!(differences(before, after), [("Pause", true), ("Delay", true), ("Cut", false)]);
        assert_eq!(differences(after, after), []);
        let cut = |server| FaultState { bus_cut: Some(server), ..FaultState::default() };
        let moved = differences(cut(ServerName::A), cut(ServerName::B));
        assert_eq!(moved, [("Bus of A", false), ("Bus of B", true)]);
    }

    #[test]
    fn the_id_of_a_key_is_found_and_other_caches_have_none() {
        assert_eq!(user_id("users:1:42"), Some(42));
        assert_eq!(user_id("users_by_email:1:42"), None);
    }
}
