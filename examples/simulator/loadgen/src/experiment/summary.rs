//! The summary of an experiment for the terminal.

use super::options::options;
use super::outcome::{Compared, ExperimentResult};
use crate::load::report::frame::span;

/// Formats the summary, with the verdict first.
pub(super) fn text(result: &ExperimentResult) -> String {
    let mut lines = vec![result.verdict.clone(), String::new()];
    lines.push(format!("{:<22} {:>14} {:>14} {:>14}", "", "ttl", "ttl + swr", "cdc"));
    for row in &result.compared {
        let [ttl, swr, cdc] = [row.ttl, row.swr, row.cdc].map(|number| value(row, number));
        lines.push(format!("{:<22} {ttl:>14} {swr:>14} {cdc:>14}", row.name));
    }
    lines.push(String::new());
    lines.extend(result.notes.iter().cloned());
    lines.extend(result.caches.map(|caches| format!("caches: {}", options(&caches))));
    let again = result.restored.as_ref().map_or(String::new(), |mode| format!("; the mode is {mode} again"));
    lines.push(format!("same seed ({}) and new rows on every side{again}", result.seed));
    lines.push(String::new());
    lines.join("\n")
}

/// Formats a number with its unit.
pub(super) fn value(row: &Compared, value: Option<f64>) -> String {
    let Some(value) = value else { return "not measured".to_owned() };
    match row.unit {
        "ms" => span(value),
        "%" => format!("{value:.1} %"),
        "/s" => format!("{value:.1}/s"),
        _ => format!("{value}"),
    }
}
