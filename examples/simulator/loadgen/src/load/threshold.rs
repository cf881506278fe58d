//! Goals of a run: a measure, a comparison and a limit. A missed goal has its own exit code.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

/// The measured quantity that a goal limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    P50,
    P90,
    P95,
    P99,
    P999,
    Max,
    Errors,
    Dropped,
    /// Stale reads of any age.
    Stale,
    /// Stale reads that started later than the grace period after the response to the write.
    StaleLate,
    Hits,
    Rate,
    WindowP99,
    WindowMax,
}

/// Name and display unit of each measure.
const MEASURES: [(&str, Measure, Unit); 14] = [
    ("p50", Measure::P50, Unit::Millis),
    ("p90", Measure::P90, Unit::Millis),
    ("p95", Measure::P95, Unit::Millis),
    ("p99", Measure::P99, Unit::Millis),
    ("p999", Measure::P999, Unit::Millis),
    ("max", Measure::Max, Unit::Millis),
    ("errors", Measure::Errors, Unit::Count),
    ("dropped", Measure::Dropped, Unit::Count),
    ("stale", Measure::Stale, Unit::Count),
    ("stale_late", Measure::StaleLate, Unit::Count),
    ("hits", Measure::Hits, Unit::Percent),
    ("rate", Measure::Rate, Unit::PerSecond),
    ("window_p99", Measure::WindowP99, Unit::Millis),
    ("window_max", Measure::WindowMax, Unit::Millis),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    Millis,
    Count,
    Percent,
    PerSecond,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    Below,
    AtMost,
    Equal,
    AtLeast,
    Above,
}

/// Comparison operators; longer ones first, because the first match is used.
const COMPARISONS: [(&str, Comparison); 6] = [
    ("<=", Comparison::AtMost),
    (">=", Comparison::AtLeast),
    ("==", Comparison::Equal),
    ("<", Comparison::Below),
    (">", Comparison::Above),
    ("=", Comparison::Equal),
];

/// A goal, such as `p99<20ms`, `errors<0.1%` or `stale=0`.
#[derive(Clone, Debug, PartialEq)]
pub struct Threshold {
    text: String,
    pub measure: Measure,
    comparison: Comparison,
    limit: f64,
    unit: Unit,
}

/// A measured number: absolute, and as a share of its total.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Measured {
    pub value: f64,
    /// The share in percent; `None` for measures without a total.
    pub percent: Option<f64>,
}

/// A goal with its measurement.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Judged {
    pub threshold: Threshold,
    /// In the unit of the goal; `None` if it was not measured, which misses the goal.
    pub measured: Option<f64>,
    pub met: bool,
    /// The measured number with its unit, for display.
    pub shown: String,
}

impl Threshold {
    /// Compares a measurement with the limit. `None` (not measured) misses the goal.
    pub fn judge(&self, measured: Option<Measured>) -> Judged {
        let value = measured.and_then(|measured| match self.unit {
            Unit::Percent => measured.percent,
            _ => Some(measured.value),
        });
        let met = value.is_some_and(|value| match self.comparison {
            Comparison::Below => value < self.limit,
            Comparison::AtMost => value <= self.limit,
            Comparison::Equal => value == self.limit,
            Comparison::AtLeast => value >= self.limit,
            Comparison::Above => value > self.limit,
        });
        let shown = value.map_or("not measured".to_owned(), |value| self.unit.show(value));
        Judged { threshold: self.clone(), measured: value, met, shown }
    }
}

impl Unit {
    fn show(self, value: f64) -> String {
        match self {
            Self::Millis if value < 10.0 => format!("{value:.2} ms"),
            Self::Millis => format!("{value:.0} ms"),
            Self::Count => format!("{value}"),
            Self::Percent => format!("{value:.2} %"),
            Self::PerSecond => format!("{value:.0}/s"),
        }
    }
}

impl Measure {
    /// Returns true for measures of staleness, which TTL mode allows by design.
    pub fn is_staleness(self) -> bool {
        matches!(self, Self::Stale | Self::StaleLate | Self::WindowP99 | Self::WindowMax)
    }
}

impl FromStr for Threshold {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text: String = text.chars().filter(|c| !c.is_whitespace()).collect();
        let wrong = |why: &str| format!("--threshold {text} cannot be used: {why}; write 'p99<20ms' or 'errors<0.1%'");
        let found = COMPARISONS
            .iter()
            .find_map(|(sign, comparison)| text.split_once(sign).map(|(name, limit)| (name, *comparison, limit)));
        let (name, comparison, limit) = found.ok_or_else(|| wrong("there is no <, <=, =, >= or >"))?;
        let Some((_, measure, unit)) = MEASURES.iter().find(|(known, _, _)| *known == name).copied() else {
            let names: Vec<&str> = MEASURES.iter().map(|(name, _, _)| *name).collect();
            return Err(wrong(&format!("{name} is none of {}", names.join(", "))));
        };
        let digits = limit.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(limit.len());
        let (number, suffix) = limit.split_at(digits);
        let number: f64 = number.parse().map_err(|_| wrong("the limit is no number"))?;
        let (limit, unit) = match (unit, suffix) {
            (Unit::Millis, "ms") => (number, unit),
            (Unit::Millis, "us" | "µs") => (number / 1e3, unit),
            (Unit::Millis, "s") => (number * 1e3, unit),
            (Unit::Millis, _) => return Err(wrong("the limit needs a unit: ms, s or us")),
            (Unit::Count | Unit::Percent, "%") => (number, Unit::Percent),
            (Unit::Count | Unit::PerSecond, "") | (Unit::PerSecond, "/s") => (number, unit),
            _ => return Err(wrong("the unit does not fit")),
        };
        Ok(Self { text, measure, comparison, limit, unit })
    }
}

impl fmt::Display for Threshold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Serialize for Threshold {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn met(threshold: &str, value: f64, percent: Option<f64>) -> bool {
        threshold.parse::<Threshold>().expect(threshold).judge(Some(Measured { value, percent })).met
    }

    #[test]
    fn goals_are_compared_in_their_unit() {
        assert!(met("p99<20ms", 19.9, None) && !met("p99<20ms", 20.0, None));
        assert!(met("p99 <= 0.02s", 20.0, None) && met("max<500us", 0.4, None));
        assert!(met("errors<0.1%", 5.0, Some(0.05)) && !met("errors<0.1%", 0.0, Some(0.2)));
        assert!(met("stale=0", 0.0, None) && !met("stale==0", 1.0, None));
        assert!(met("hits>=90%", 0.0, Some(90.0)) && met("rate>950/s", 951.0, None) && met("rate>950", 951.0, None));
    }

    #[test]
    fn what_was_not_measured_meets_no_goal() {
        let judged = "window_p99<50ms".parse::<Threshold>().expect("a goal").judge(None);
        assert!(!judged.met && judged.shown == "not measured");
        let judged = "hits>0%".parse::<Threshold>().expect("a goal").judge(Some(Measured::default()));
        assert!(!judged.met);
    }

    #[test]
    fn what_cannot_be_read_is_explained() {
        for (wrong, hint) in [
            ("p99", "<="),
            ("p98<5ms", "p99, p999"),
            ("p99<20", "needs a unit"),
            ("errors<x", "no number"),
            ("errors<5ms", "does not fit"),
            ("p99<-5ms", "no number"),
        ] {
            let message = wrong.parse::<Threshold>().expect_err(wrong);
            assert!(message.contains(hint), "{message}");
        }
    }
}
