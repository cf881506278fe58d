//! The summary of a sweep for the terminal.

use super::outcome::{SweepResult, millis, name, spread};
use crate::experiment::options::options;
use crate::load::report::frame::span;
use crate::record::{Figures, Measurement};

/// Formats the summary, with the verdict first. Each number is the mean of all seeds, with the lowest and the highest.
pub(super) fn text(result: &SweepResult) -> String {
    let mut lines = vec![result.verdict.clone(), String::new()];
    lines.push(format!(
        "{:<12} {:>26} {:>26} {:>14} {:>14}",
        "", "stale reads", "database reads", "hits", "stale window"
    ));
    let ttls = result.plan.ttls.iter().map(|ttl| Some(millis(*ttl)));
    for ttl_ms in ttls.chain([None]) {
        let of = |figure: fn(&Figures) -> Option<f64>| {
            spread(&result.parts, ttl_ms, |part: &Measurement| figure(&part.figures))
        };
        let ranged = |values: Option<[f64; 3]>, unit: &str| match values {
            Some([mean, low, high]) => format!("{mean:.2}{unit} ({low:.2} to {high:.2})"),
            None => "not measured".to_owned(),
        };
        let hits = of(|figures| figures.hits).map_or("not reported".to_owned(), |[mean, ..]| format!("{mean:.1} %"));
        let window = of(|figures| figures.window_max_ms).map_or("–".to_owned(), |[.., high]| span(high));
        lines.push(format!(
            "{:<12} {:>26} {:>26} {hits:>14} {window:>14}",
            name(ttl_ms),
            ranged(of(Figures::stale_percent), " %"),
            ranged(of(|figures| figures.database_loads), "/s"),
        ));
    }
    lines.push(String::new());
    lines.extend(result.notes.iter().cloned());
    lines.extend(result.setup.caches.map(|caches| format!("caches: {}", options(&caches))));
    let again = result.restored.as_ref().map_or(String::new(), |mode| format!("; the mode is {mode} again"));
    let (first, count) = (result.plan.load.seed, result.plan.seeds);
    lines.push(format!(
        "seeds {first} to {}, the same for all, new rows each time{again}",
        first.wrapping_add(count - 1)
    ));
    lines.push(String::new());
    lines.join("\n")
}
