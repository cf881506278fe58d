//! Ours over the raw client's, measured in turns: what disturbs the machine disturbs both.

use serde_json::{Value, json};

/// Rounds and amounts of a run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    /// How often each side is measured.
    pub(crate) rounds: usize,
    /// Factor on the amount of work of each measurement.
    pub(crate) scale: usize,
}

impl Plan {
    /// Minutes.
    pub(crate) fn full() -> Self {
        Self { rounds: 9, scale: 4 }
    }

    /// One round, which says nothing of speed.
    pub(crate) fn once() -> Self {
        Self { rounds: 1, scale: 1 }
    }

    /// Well under a minute, noisier.
    pub(crate) fn quick() -> Self {
        Self { rounds: 5, scale: 1 }
    }
}

/// Measures both sides in turns, after one round of each that does not count. Which side begins changes every round.
pub(crate) async fn alternate<T>(
    plan: Plan,
    mut ours: impl AsyncFnMut() -> T,
    mut raw: impl AsyncFnMut() -> T,
) -> Vec<(T, T)> {
    let mut rounds = Vec::with_capacity(plan.rounds);
    ours().await;
    raw().await;
    for round in 0..plan.rounds {
        if round % 2 == 0 {
            let first = ours().await;
            rounds.push((first, raw().await));
        } else {
            let first = raw().await;
            rounds.push((ours().await, first));
        }
    }
    rounds
}

/// A named result.
#[derive(Debug)]
pub(crate) struct Ratio {
    name: &'static str,
    unit: &'static str,
    rounds: Vec<(f64, f64)>,
    plain: bool,
}

impl Ratio {
    /// A ratio of what each round measured for us and for the raw client.
    pub(crate) fn new(name: &'static str, unit: &'static str, rounds: Vec<(f64, f64)>) -> Self {
        Self { name, unit, rounds, plain: false }
    }

    /// A figure of ours that is compared with nothing.
    pub(crate) fn plain(name: &'static str, unit: &'static str, value: f64) -> Self {
        Self { name, unit, rounds: vec![(value, 1.0)], plain: true }
    }

    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// Returns true if more is better.
    pub(crate) fn is_rate(&self) -> bool {
        self.unit.ends_with("per second")
    }

    /// Returns true if it is compared with nothing.
    pub(crate) fn is_plain(&self) -> bool {
        self.plain
    }

    /// The median over the rounds of ours by the raw client's.
    pub(crate) fn value(&self) -> f64 {
        median(self.rounds.iter().map(|(ours, raw)| ours / raw).collect())
    }

    /// Medians and ranges of both sides.
    pub(crate) fn details(&self) -> Value {
        let side = |values: Vec<f64>| {
            let low = values.iter().copied().fold(f64::INFINITY, f64::min);
            let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            json!({ "median": rounded(median(values)), "low": rounded(low), "high": rounded(high) })
        };
        json!({
            "unit": self.unit,
            "rounds": self.rounds.len(),
            "ours": side(self.rounds.iter().map(|round| round.0).collect()),
            "raw": side(self.rounds.iter().map(|round| round.1).collect()),
        })
    }
}

/// Three digits after the point.
pub(crate) fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        count if count % 2 == 1 => values[middle],
        _ => f64::midpoint(values[middle - 1], values[middle]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_the_median_of_the_rounds_own_ratios() {
        let ratio = Ratio::new("x", "1/s", vec![(2.0, 1.0), (30.0, 10.0), (100.0, 1.0)]);
        assert!((ratio.value() - 3.0).abs() < 1e-9);
        assert!((median(vec![4.0, 1.0, 2.0, 3.0]) - 2.5).abs() < 1e-9);
    }

    #[tokio::test]
    async fn measures_each_side_as_often_and_warms_up_once() {
        let (mut ours, mut raw) = (0, 0);
        let plan = Plan { rounds: 5, scale: 1 };
        let rounds = alternate(
            plan,
            async || {
                ours += 1;
                ours
            },
            async || {
                raw += 1;
                raw
            },
        )
        .await;
        assert_eq!(rounds, [(2, 2), (3, 3), (4, 4), (5, 5), (6, 6)]);
    }
}
