//! Curves as they are drawn on the server: they need no script, and a page with them can be shared.

use maud::{Markup, html};

/// Width and height of the inner drawing, in its own units: it is stretched to the width of the page.
const WIDTH: f64 = 1_000.0;
const HEIGHT: f64 = 100.0;

/// A curve.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Curve {
    pub(super) label: String,
    /// The class of its colour and dashes: `first`, `second` or `level`.
    pub(super) class: &'static str,
    /// Where it is, what was measured there, and how far it spread. What was not measured is a gap.
    pub(super) points: Vec<Point>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Point {
    pub(super) x: f64,
    pub(super) y: Option<f64>,
    /// The lowest and the highest measurement.
    pub(super) spread: Option<(f64, f64)>,
}

/// A drawing of curves over one axis.
#[derive(Clone, Debug)]
pub(super) struct Plot<'a> {
    pub(super) title: &'a str,
    /// The unit, written after each number.
    pub(super) unit: &'a str,
    /// The labels of the axis, and where they are.
    pub(super) ticks: Vec<(f64, String)>,
    /// True if equal factors have equal distances on the axis.
    pub(super) is_log: bool,
    pub(super) curves: Vec<Curve>,
}

impl Plot<'_> {
    /// Renders the drawing with its legend.
    pub(super) fn figure(&self) -> Markup {
        let points = || self.curves.iter().flat_map(|curve| &curve.points);
        let top =
            points().flat_map(|point| [point.y, point.spread.map(|(_, high)| high)]).flatten().fold(0.0, f64::max);
        let is_empty = points().all(|point| point.y.is_none());
        let scale = Scale::of(points().map(|point| point.x), self.is_log, top);
        let words = format!("{}, 0 to {}{}", self.title, shown(top), self.unit);
        html! {
            figure.plotted data-plot=(self.title) {
                figcaption { b { (self.title) } " " span.m.s { "0 to " (shown(top)) (self.unit) } }
                @if is_empty { p.m.s { "Nothing was measured." } } @else {
                    svg role="img" aria-label=(words) height="152" width="100%" {
                        line.axis x1="0" x2="100%" y1="132" y2="132" {}
                        svg x="0" y="8" width="100%" height="124" viewBox="0 0 1000 100" preserveAspectRatio="none" {
                            @for curve in &self.curves { (drawn(curve, &scale)) }
                        }
                        @for (x, label) in &self.ticks {
                            @let at = scale.x(*x) / WIDTH;
                            text x=(format!("{:.2}%", at * 100.0)) y="148" text-anchor=(anchor(at)) { (label) }
                        }
                    }
                }
                ul.legend { @for curve in &self.curves { li.(curve.class) { svg width="20" height="8" aria-hidden="true" { line.line x1="0" x2="20" y1="4" y2="4" {} } (curve.label) } } }
            }
        }
    }
}

/// Formats a number of an axis.
fn shown(value: f64) -> String {
    match value {
        _ if value == 0.0 => "0".to_owned(),
        _ if value < 1.0 => format!("{value:.2}"),
        _ if value < 100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

fn anchor(at: f64) -> &'static str {
    match at {
        _ if at < 0.1 => "start",
        _ if at > 0.9 => "end",
        _ => "middle",
    }
}

struct Scale {
    low: f64,
    high: f64,
    is_log: bool,
    top: f64,
}

impl Scale {
    fn of(all: impl Iterator<Item = f64> + Clone, is_log: bool, top: f64) -> Self {
        let at = |x: f64| if is_log { x.max(1e-9).ln() } else { x };
        let low = all.clone().map(at).fold(f64::INFINITY, f64::min);
        let high = all.map(at).fold(f64::NEG_INFINITY, f64::max);
        Self { low, high, is_log, top }
    }

    fn x(&self, x: f64) -> f64 {
        let x = if self.is_log { x.max(1e-9).ln() } else { x };
        let width = self.high - self.low;
        // One point alone is in the middle.
        if width > 0.0 { ((x - self.low) / width).clamp(0.0, 1.0) * WIDTH } else { WIDTH / 2.0 }
    }

    fn y(&self, y: f64) -> f64 {
        if self.top > 0.0 { HEIGHT - (y / self.top).clamp(0.0, 1.0) * HEIGHT } else { HEIGHT }
    }
}

/// Renders a curve. A point without a neighbour is a line of no length, which a round end makes a dot.
fn drawn(curve: &Curve, scale: &Scale) -> Markup {
    let mut path = String::new();
    let mut is_open = false;
    for point in &curve.points {
        let Some(y) = point.y else {
            is_open = false;
            continue;
        };
        let (x, y) = (scale.x(point.x), scale.y(y));
        let begin = if is_open { 'L' } else { 'M' };
        path.push_str(&format!("{begin}{x:.1} {y:.1}"));
        if !is_open {
            path.push_str(&format!("L{x:.1} {y:.1}"));
        }
        is_open = true;
    }
    let spreads = curve.points.iter().filter_map(|point| point.spread.map(|spread| (point.x, spread)));
    html! {
        g.(curve.class) {
            path.line d=(path) {}
            @for (x, (low, high)) in spreads {
                @let x = format!("{:.1}", scale.x(x));
                line.spread x1=(x) x2=(x) y1=(format!("{:.1}", scale.y(low))) y2=(format!("{:.1}", scale.y(high))) {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(x: f64, y: Option<f64>) -> Point {
        Point { x, y, spread: None }
    }

    fn curve(points: Vec<Point>) -> Curve {
        Curve { label: "one".into(), class: "first", points }
    }

    #[test]
    fn a_curve_has_gaps_and_equal_factors_have_equal_distances() {
        let scale = Scale::of([1.0, 10.0, 100.0].into_iter(), true, 4.0);
        assert_eq!([1.0, 10.0, 100.0].map(|x| scale.x(x).round()), [0.0, 500.0, 1000.0]);
        assert_eq!((scale.y(0.0), scale.y(1.0), scale.y(9.0)), (100.0, 75.0, 0.0));
        let gap = curve(vec![point(1.0, Some(4.0)), point(10.0, None), point(100.0, Some(0.0))]);
        let text = drawn(&gap, &scale).into_string();
        assert!(text.contains("d=\"M0.0 0.0L0.0 0.0M1000.0 100.0L1000.0 100.0\""), "{text}");
    }

    #[test]
    fn what_was_not_measured_is_said_and_nothing_divides_by_zero() {
        let plot = |points| Plot {
            title: "Hits",
            unit: " %",
            ticks: vec![(0.0, "0 s".into())],
            is_log: false,
            curves: vec![curve(points)],
        };
        let empty = plot(vec![point(0.0, None)]).figure().into_string();
        assert!(empty.contains("Nothing was measured") && !empty.contains("NaN"), "{empty}");
        let zero = plot(vec![point(0.0, Some(0.0))]).figure().into_string();
        assert!(zero.contains("M500.0 100.0") && !zero.contains("NaN"), "{zero}");
    }
}
