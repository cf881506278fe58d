//! Takes a snapshot of everything the panel shows, within one time limit.

use std::sync::Arc;
use std::time::Duration;

use cachefront::Timestamp;
use simulator_model::domain::{AuditEntry, ModeRow};
use simulator_model::inspector::Consistency;
use simulator_model::pipeline::PipelineView;
use tokio::time::{Instant, timeout_at};

use super::moment::{Moment, Slow, Switch};
use super::panel::Panel;
use super::rows::{Found, Survey};
use super::users;
use super::verdict::Verdict;

/// Time limit of a snapshot; a slower one has an unknown verdict. Together with the pause after it, it is shorter than
/// the maximum age of a snapshot (`AGE_MAX`).
const LOOK_MAX: Duration = Duration::from_millis(2_200);

/// An inspector pass that began at most this long ago is reused.
const PASS_SHARED: Duration = Duration::from_millis(300);

/// If a snapshot exceeds its limit and a single read from the store takes longer than this, the store is the cause.
const STORE_SLOW: Duration = Duration::from_millis(100);

/// Maximum time between a change of the mode and its entry in the audit list, in seconds.
const NAMED_WITHIN_S: f64 = 5.0;

/// The outcome of comparing rows with their entries.
enum Seen {
    All(Box<(Survey, Consistency)>),
    DatabaseAway,
    Late,
}

/// Takes a snapshot. Whatever cannot be read is carried over from `last`.
pub(super) async fn look(panel: &Panel, last: &Moment) -> Moment {
    let (api, began) = (&panel.api, Instant::now());
    let deadline = began + LOOK_MAX;
    let (seen, store, pipeline, elsewhere) =
        tokio::join!(observe(panel, deadline), store(panel), pipeline(panel, last, deadline), async {
            match &panel.peer {
                Some(peer) => Some(peer.consistency().await),
                None => None,
            }
        });
    let carried = timeout_at(deadline, api.pipeline.carried()).await.unwrap_or_else(|_| last.carried.clone());
    let store_away = !store.is_some_and(|(reachable, _)| reachable);
    let (mut database_away, mut slow) = (false, None);
    let (survey, verdict) = match seen {
        Seen::All(seen) => {
            let (mut survey, said) = *seen;
            let found = found(&said, elsewhere.as_ref());
            let oldest = users::agree(panel, &mut survey, found, deadline).await;
            let verdict = Verdict::of(&said, &survey.rows, oldest);
            (survey, verdict)
        }
        Seen::DatabaseAway => {
            database_away = true;
            let cause = "The database does not respond: nothing can be proven.";
            (last.survey.frozen(last.at, false), Verdict::unknown(cause))
        }
        Seen::Late => {
            let store_slow = store.is_none_or(|(_, took)| took > STORE_SLOW);
            let (late, cause) = match store_slow {
                true => (Slow::Store, "The shared store responds too slowly: entries cannot be compared in time."),
                false => (Slow::Comparing, "Comparing takes too long: nothing can be proven."),
            };
            slow = Some(late);
            (last.survey.frozen(last.at, true), Verdict::unknown(cause))
        }
    };
    let verdict = match &elsewhere {
        Some(said) => verdict.combined_with(said),
        None => verdict,
    };
    let tour = panel.tour.view();
    let demo = match tour.user.filter(|_| !database_away && slow.is_none()) {
        Some(id) => timeout_at(deadline, users::of_demo(panel, &survey, id)).await.ok().flatten(),
        None => None,
    };
    let history = timeout_at(deadline, history(panel, last)).await.ok().flatten();
    Moment {
        at: api.pipeline.clock.now(),
        began,
        ended: Instant::now(),
        mode: api.modes.current(),
        pipeline,
        database_away,
        store_away,
        slow,
        api_silent: elsewhere.and_then(Result::err),
        survey: Arc::new(survey),
        verdict,
        tour,
        demo,
        faults: api.faults.current(),
        history: history.unwrap_or_else(|| Arc::clone(&last.history)),
        carried,
    }
}

/// Reads the rows and their entries, and runs a pass of the inspector over all entries.
async fn observe(panel: &Panel, deadline: Instant) -> Seen {
    let Ok(Ok(listed)) = timeout_at(deadline, users::list(panel)).await else { return Seen::DatabaseAway };
    let now = panel.api.pipeline.clock.now().as_micros();
    let since = Timestamp::from_micros(now.saturating_sub(PASS_SHARED.as_micros() as u64));
    let both = async { tokio::join!(users::survey(panel, listed), panel.api.inspector.pass_since(since)) };
    match timeout_at(deadline, both).await {
        Ok(seen) => Seen::All(Box::new(seen)),
        Err(_) => Seen::Late,
    }
}

/// Returns whether the store can be read and how long that took; `None` if it exceeded the time limit of a snapshot.
async fn store(panel: &Panel) -> Option<(bool, Duration)> {
    let began = Instant::now();
    let reachable = tokio::time::timeout(LOOK_MAX, panel.api.pipeline.is_store_reachable()).await.ok()?;
    Some((reachable, began.elapsed()))
}

async fn pipeline(panel: &Panel, last: &Moment, deadline: Instant) -> PipelineView {
    let silent = |_| {
        let mode = panel.api.modes.current().mode;
        let freshness = panel.api.pipeline.freshness.unknown(mode);
        PipelineView { running: false, mode, freshness, ..last.pipeline.clone() }
    };
    timeout_at(deadline, panel.api.pipeline.view()).await.unwrap_or_else(silent)
}

/// Returns all known stale entries. Later ones replace earlier ones with the same key, so that what this process has
/// found takes precedence over what another one reports.
fn found(said: &Consistency, elsewhere: Option<&Result<Consistency, String>>) -> Vec<Found> {
    let there = elsewhere.and_then(|said| said.as_ref().ok()).into_iter().flat_map(|said| &said.entries);
    let there = there.map(|entry| Found { entry: entry.clone(), elsewhere: true });
    let here = said.all.iter().map(|entry| Found { entry: entry.clone(), elsewhere: false });
    there.chain(here).collect()
}

/// Reads the history of modes if the mode has changed; `None` if the last snapshot's is still current.
async fn history(panel: &Panel, last: &Moment) -> Option<Arc<Vec<Switch>>> {
    let current = panel.api.modes.current();
    let known = last.history.first().filter(|newest| newest.row.version == current.version);
    // The audit list is written after the row: until then the history is read again.
    let now = simulator_model::domain::rfc3339(panel.api.pipeline.clock.now());
    if known.is_some_and(|newest| newest.who.is_some() || !is_named_by(&newest.row.changed_at, &now)) {
        return None;
    }
    let rows = panel.database.mode_history().await.ok()?;
    let audit = panel.database.audit().await.unwrap_or_default();
    Some(Arc::new(rows.into_iter().map(|row| Switch { who: who(&row, &audit), row }).collect()))
}

/// Returns the user that the audit list names for a change of the mode.
fn who(row: &ModeRow, audit: &[AuditEntry]) -> Option<String> {
    let what = format!("mode {}", row.mode.as_str());
    // The newest entry comes first: the last one that fits is the first after the change.
    let fits =
        |entry: &&AuditEntry| entry.what == what && entry.result == "ok" && is_named_by(&row.changed_at, &entry.at);
    audit.iter().rfind(fits).map(|entry| entry.who.clone())
}

/// Returns true if `at` is at most [`NAMED_WITHIN_S`] later than `changed`, and not earlier.
fn is_named_by(changed: &str, at: &str) -> bool {
    let (Ok(changed), Ok(at)) = (changed.parse::<jiff::Timestamp>(), at.parse::<jiff::Timestamp>()) else {
        return false;
    };
    (0.0..=NAMED_WITHIN_S).contains(&at.duration_since(changed).as_secs_f64())
}

#[cfg(test)]
mod tests {
    use simulator_model::domain::Mode;

    use super::*;

    #[test]
    fn a_switch_is_named_by_the_first_fitting_entry_after_it() {
        let at = |second: &str| format!("2026-01-31T12:00:{second}Z");
        let entry = |second: &str, who: &str, what: &str, result: &str| AuditEntry {
            at: at(second),
            who: who.into(),
            what: what.into(),
            result: result.into(),
            times: 1,
        };
        let row = ModeRow { mode: Mode::Ttl, changed_at: at("10.000001"), version: 2 };
        let audit = [
            entry("40.0", "late", "mode ttl", "ok"),
            entry("12.0", "second", "mode ttl", "ok"),
            entry("10.5", "first", "mode ttl", "ok"),
            entry("10.4", "refused", "mode ttl", "it was changed by another client"),
            entry("10.3", "other", "mode cdc", "ok"),
            entry("09.0", "before", "mode ttl", "ok"),
        ];
        assert_eq!(who(&row, &audit).as_deref(), Some("first"));
        assert_eq!(who(&row, &audit[..1]), None);
    }
}
