//! Data of charts, which the page's script draws.

use maud::{Markup, html};
use serde::Serialize;

/// A line of a chart.
#[derive(Clone, Debug, Serialize)]
pub struct Series {
    label: String,
    /// The name of a colour of the page.
    colour: &'static str,
    dashed: bool,
    /// `None` where nothing was measured, drawn as a gap.
    values: Vec<Option<f64>>,
}

impl Series {
    pub fn new(label: impl Into<String>, colour: &'static str, values: Vec<Option<f64>>) -> Self {
        Self { label: label.into(), colour, dashed: false, values }
    }

    pub fn dashed(label: impl Into<String>, colour: &'static str, values: Vec<Option<f64>>) -> Self {
        Self { dashed: true, ..Self::new(label, colour, values) }
    }
}

/// Label, colour, and values in µs with their counts.
pub type Distribution<'a> = (&'a str, &'static str, &'a [(u64, u64)]);

/// A chart and its heading.
#[derive(Clone, Debug, Serialize)]
pub struct Chart {
    id: &'static str,
    #[serde(skip)]
    title: &'static str,
    /// The unit, written after each number of the axis.
    unit: &'static str,
    x_unit: &'static str,
    log_x: bool,
    /// Upper end of the y axis, if fixed.
    max: Option<f64>,
    empty: &'static str,
    x: Vec<f64>,
    series: Vec<Series>,
}

impl Chart {
    /// Creates a chart over the seconds of a run.
    pub fn over_time(
        id: &'static str,
        title: &'static str,
        unit: &'static str,
        x: Vec<f64>,
        series: Vec<Series>,
    ) -> Self {
        let empty = "Nothing was measured";
        Self { id, title, unit, x_unit: " s", log_x: false, max: None, empty, x, series }
    }

    /// Creates a chart of the cumulative share of requests by latency, from histograms in µs.
    pub fn distribution(id: &'static str, of: &[Distribution<'_>]) -> Self {
        let mut x: Vec<u64> = of.iter().flat_map(|(_, _, counts)| counts.iter().map(|(value, _)| *value)).collect();
        x.sort_unstable();
        x.dedup();
        thin(&mut x);
        let series = of.iter().map(|(label, colour, counts)| Series::new(*label, colour, below(counts, &x))).collect();
        let x = x.iter().map(|micros| *micros as f64 / 1e3).collect();
        let title = "Answered within";
        Self { log_x: true, x_unit: " ms", max: Some(100.0), ..Self::over_time(id, title, " %", x, series) }
    }

    /// Fixes the upper end of the y axis.
    pub fn up_to(self, max: f64) -> Self {
        Self { max: Some(max), ..self }
    }

    /// Sets the text shown if there are no values.
    pub fn when_empty(self, empty: &'static str) -> Self {
        Self { empty, ..self }
    }

    /// Renders the chart's element, with title and legend.
    pub fn figure(&self) -> Markup {
        html! {
            figure.card.chart {
                figcaption {
                    b { (self.title) }
                    span.legend { @for series in &self.series {
                        span { i.(class_of(series.colour)).dash[series.dashed] {} (series.label) }
                    } }
                }
                div.plot id=(self.id) role="img" aria-label=(self.title) {}
            }
        }
    }
}

/// Maximum number of points of a distribution, to bound the size of the page.
const POINTS_MAX: usize = 400;

fn thin(x: &mut Vec<u64>) {
    let step = x.len().div_ceil(POINTS_MAX).max(1);
    let last = x.len().saturating_sub(1);
    let mut at = 0;
    x.retain(|_| {
        at += 1;
        (at - 1) % step == 0 || at - 1 == last
    });
}

/// Returns the cumulative share, in percent, up to each value of `x`.
fn below(counts: &[(u64, u64)], x: &[u64]) -> Vec<Option<f64>> {
    let total: u64 = counts.iter().map(|(_, count)| count).sum();
    let (mut sum, mut rest) = (0, counts.iter().peekable());
    let up_to = |value: &u64| {
        while let Some((_, count)) = rest.next_if(|(at, _)| at <= value) {
            sum += count;
        }
        (total > 0).then(|| sum as f64 / total as f64 * 100.0)
    };
    x.iter().map(up_to).collect()
}

fn class_of(colour: &str) -> &'static str {
    match colour {
        "accent" => "accent",
        "stale" => "stale",
        "fail" => "failed",
        "warn" => "warned",
        _ => "grey",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_distribution_ends_at_all_of_them() {
        let counts: Vec<(u64, u64)> = (1..=2_000).map(|value| (value, 1)).collect();
        let chart = Chart::distribution("d", &[("all", "accent", &counts), ("none", "grey", &[])]);
        assert!(chart.x.len() <= POINTS_MAX + 1 && chart.x.is_sorted());
        assert_eq!(chart.x.last(), Some(&2.0));
        assert_eq!(chart.series[0].values.last(), Some(&Some(100.0)));
        assert!(chart.series[0].values.is_sorted_by(|a, b| a <= b));
        assert!(chart.series[1].values.iter().all(Option::is_none));
    }
}
