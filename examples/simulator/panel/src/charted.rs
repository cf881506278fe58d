//! What of the charts' samples and marks a tab is sent.

use serde_json::{Value, json};

use super::gauges::Gauges;
use super::history::Mark;

/// The samples and marks that a tab has.
#[derive(Clone, Debug, Default)]
pub(super) struct Charted {
    /// The time of its newest sample; `None` if it has none.
    newest: Option<f64>,
    /// `None` if it was not sent any.
    marks: Option<Vec<Mark>>,
}

impl Charted {
    /// Those of a tab that has the samples up to this time from an earlier stream.
    pub(super) fn since(newest: Option<f64>) -> Self {
        Self { newest, marks: None }
    }

    /// Returns what the tab does not have yet, `None` if that is nothing. With `whole` the tab forgets what it has.
    pub(super) fn update(&mut self, gauges: &Gauges) -> Option<Value> {
        let last = gauges.newest()?.t;
        // A tab whose samples are newer than all of these has them from a process that went by another clock.
        let known = self.newest.filter(|newest| *newest < last + 0.01);
        let samples = gauges.since(known.unwrap_or(f64::NEG_INFINITY));
        let marks = gauges.marks();
        let has_marks = self.marks.as_ref() == Some(&marks);
        if samples.is_empty() && has_marks {
            return None;
        }
        let mut data = json!({ "samples": samples });
        if known.is_none() {
            data["whole"] = json!(true);
        }
        if !has_marks {
            data["marks"] = json!(marks);
        }
        (self.newest, self.marks) = (Some(last), Some(marks));
        Some(data)
    }
}

#[cfg(test)]
mod tests {
    use super::super::history::{History, Sample};
    use super::*;

    #[test]
    fn a_tab_is_sent_the_samples_that_it_does_not_have() {
        let gauges = Gauges::default();
        let sample = |t: f64| Sample { t, ..Sample::default() };
        gauges.restore(History { samples: (1..=5).map(|t| sample(f64::from(t))).collect(), marks: Vec::new() });
        let count = |data: &Value| data["samples"].as_array().expect("samples").len();
        let mut tab = Charted::since(None);
        let first = tab.update(&gauges).expect("all");
        // The samples and the gap after them.
        assert_eq!((count(&first), &first["whole"]), (6, &json!(true)));
        assert_eq!(tab.update(&gauges), None);
        let again = Charted::since(Some(4.0)).update(&gauges).expect("what is new");
        assert_eq!((count(&again), &again["whole"]), (2, &Value::Null));
        let later = Charted::since(Some(60.0)).update(&gauges).expect("all");
        assert_eq!((count(&later), &later["whole"]), (6, &json!(true)));
    }
}
