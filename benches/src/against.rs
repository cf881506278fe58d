//! Compares ratios with those of a former report, which should be of the same machine.

use serde_json::Value;

use crate::ratio::Ratio;

/// By how much of itself a ratio may be worse: runs of one program differ by less in their medians.
const FALL_MAX: f64 = 0.15;

/// A ratio that is worse than it was.
#[derive(Debug, PartialEq)]
pub(crate) struct Fallen {
    pub(crate) name: &'static str,
    pub(crate) before: f64,
    pub(crate) now: f64,
}

/// Checks that a report can be compared with one of this kind, before anything is measured.
///
/// # Errors
/// In words, if it has no ratios, or was made with other amounts of work.
pub(crate) fn is_report(former: &Value, quick: bool) -> Result<(), String> {
    if former.get("ratios").and_then(Value::as_object).is_none_or(serde_json::Map::is_empty) {
        return Err("has no ratios: name the `latest.json` of a former `cargo xtask bench`".to_owned());
    }
    match former.get("quick").and_then(Value::as_bool) {
        Some(before) if before == quick => Ok(()),
        _ => Err("was made with another amount of work: give or leave out `--quick` in both runs".to_owned()),
    }
}

/// Returns true if one of the ratios is in `former`, too: otherwise nothing is compared.
pub(crate) fn has_common(ratios: &[Ratio], former: &Value) -> bool {
    ratios.iter().any(|ratio| former.get("ratios").is_some_and(|values| values.get(ratio.name()).is_some()))
}

/// Returns the ratios that are worse than in `former` by more than [`FALL_MAX`]. What the former report lacks is no fall.
pub(crate) fn fallen(ratios: &[Ratio], former: &Value) -> Vec<Fallen> {
    let worse = |ratio: &Ratio| {
        let (name, now) = (ratio.name(), ratio.value());
        let before = former.get("ratios")?.get(name)?.as_f64()?;
        let fell = match ratio.is_rate() {
            true => now < before * (1.0 - FALL_MAX),
            false => now > before * (1.0 + FALL_MAX),
        };
        (fell && !ratio.is_plain()).then_some(Fallen { name, before, now })
    };
    ratios.iter().filter_map(worse).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_rate_that_is_lower_and_a_time_that_is_higher_have_fallen() {
        let former = json!({ "ratios": { "rate": 1.0, "time": 1.0, "bytes": 5.0, "of another release": 1.0 } });
        let rate = |now| Ratio::new("rate", "reads per second", vec![(now, 1.0)]);
        let time = |now| Ratio::new("time", "ns", vec![(now, 1.0)]);
        let names = |ratios: &[Ratio]| fallen(ratios, &former).iter().map(|fallen| fallen.name).collect::<Vec<_>>();
        assert!(names(&[rate(0.86), time(1.14), rate(2.0), time(0.5)]).is_empty());
        assert_eq!(names(&[rate(0.84), time(1.16)]), ["rate", "time"]);
        assert!(names(&[Ratio::new("new", "ns", vec![(9.0, 1.0)]), Ratio::plain("bytes", "bytes", 9.0)]).is_empty());
        assert!(fallen(&[rate(0.1)], &json!({})).is_empty());
    }

    #[test]
    fn a_report_without_ratios_or_of_another_kind_is_refused() {
        is_report(&json!({ "ratios": { "rate": 1.0 }, "quick": true }), true).expect("a report");
        for wrong in [
            json!({}),
            json!({ "ratios": {}, "quick": true }),
            json!({ "ratios": [1.0], "quick": true }),
            json!({ "ratios": { "rate": 1.0 } }),
            json!({ "ratios": { "rate": 1.0 }, "quick": false }),
        ] {
            is_report(&wrong, true).expect_err(&wrong.to_string());
        }
        let rate = |name| [Ratio::new(name, "reads per second", vec![(1.0, 1.0)])];
        let former = json!({ "ratios": { "rate": 1.0 }, "quick": true });
        assert!(has_common(&rate("rate"), &former) && !has_common(&rate("other"), &former));
        assert!(!has_common(&[], &former));
    }
}
