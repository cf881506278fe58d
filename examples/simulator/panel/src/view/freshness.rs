//! The freshness objective: whether it is met, since when it is not, and what plain reads do meanwhile.

use maud::{Markup, html};
use simulator_model::freshness::{Freshness, FreshnessState, PlainReads};

use super::text::millis;

/// Renders the objective as one line of the pipeline.
pub(super) fn line(freshness: &Freshness) -> Markup {
    let since = freshness.missed_since.as_deref();
    let objective = millis(freshness.objective_ms as f64);
    let class = if freshness.state == FreshnessState::Missed { "warn" } else { "m" };
    html! {
        p.pad.s.(class) data-freshness=(freshness.state.as_str()) data-plain-reads=(freshness.plain_reads.as_str())
            data-objective-ms=(freshness.objective_ms) data-missed-since=[since] {
            "Freshness objective: watermark at most " (objective) " old – "
            @match freshness.state {
                FreshnessState::Met => "met. ",
                FreshnessState::Missed => {
                    "missed" @if let Some(since) = since.and_then(time_of_day) { " since " (since) " UTC" } ". "
                },
                FreshnessState::Unknown => "not known: the store cannot be read, or no generation is in force. ",
                FreshnessState::Off => "off in TTL mode. ",
            }
            (reads(freshness))
        }
    }
}

/// Describes what plain reads do.
pub(super) fn reads(freshness: &Freshness) -> String {
    match freshness.plain_reads {
        PlainReads::Served if freshness.state == FreshnessState::Missed => {
            "Plain reads are served all the same, until the time to live ends.".to_owned()
        }
        PlainReads::Served => "Plain reads are served what is cached.".to_owned(),
        PlainReads::ByAge => {
            let age = millis(freshness.age_max_ms.unwrap_or_default() as f64);
            format!("Plain reads are served values that were loaded within {age}, and load others again.")
        }
        PlainReads::Load => "Plain reads load from the database.".to_owned(),
    }
}

/// Returns the time of day of an RFC 3339 time, to the second.
fn time_of_day(at: &str) -> Option<&str> {
    at.get(11..19)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missed_objective_is_shown_with_its_time_and_what_reads_do() {
        let freshness = Freshness {
            state: FreshnessState::Missed,
            objective_ms: 2_000,
            missed_since: Some("2026-01-31T12:00:05.950000Z".into()),
            plain_reads: PlainReads::ByAge,
            age_max_ms: Some(5_000),
        };
        let text = line(&freshness).into_string();
        for part in ["data-freshness=\"missed\"", "data-plain-reads=\"by_age\"", "since 12:00:05 UTC", "within 5.0 s"] {
            assert!(text.contains(part), "{part}: {text}");
        }
        let served = Freshness { plain_reads: PlainReads::Served, age_max_ms: None, ..freshness };
        assert!(reads(&served).contains("all the same"));
    }
}
