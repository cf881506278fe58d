//! Every metric has a name in one place and a line that explains it.

use crate::metrics_table;
use crate::tree::{is_up_to_date, none, sources};

#[test]
fn the_catalogue_of_metrics_is_up_to_date() {
    let page = metrics_table::page();
    is_up_to_date("docs/metrics.md", &page);
    assert!(page.matches("| `cachefront_").count() > 30, "the page lacks metrics");
}

#[test]
fn every_metric_is_documented_where_it_is_named() {
    let (mut wrong, mut seen) = (Vec::new(), 0);
    for source in sources("").iter().filter(|source| source.is_rust() && names_metrics(&source.path)) {
        if source.is_test() {
            continue;
        }
        let documentation: String = source.text.lines().filter(|line| line.starts_with("//!")).collect();
        for name in literals(&source.product_code()) {
            seen += 1;
            if !documentation.contains(&format!("`{name}`")) {
                wrong.push(format!("{}: {name}", source.path));
            }
        }
    }
    assert!(seen > 30, "only {seen} metrics found: this test searches the wrong place");
    none(&wrong, "metrics without a line in their module's documentation");
}

#[test]
fn no_metric_is_named_anywhere_else() {
    let wrong: Vec<String> = sources("")
        .iter()
        .filter(|source| source.is_rust() && !source.is_test() && !names_metrics(&source.path))
        .flat_map(|source| {
            let code = source.product_code();
            ["counter!(\"", "gauge!(\"", "histogram!(\""]
                .iter()
                .filter(|call| code.contains(**call))
                .map(|call| format!("{}: {call}", source.path))
                .collect::<Vec<_>>()
        })
        .collect();
    none(&wrong, "metrics named by a literal: use the constants of the part's metrics.rs");
}

/// Returns true for a file that may name metrics.
fn names_metrics(path: &str) -> bool {
    path.ends_with("metrics.rs") || path.ends_with("metrics/names.rs")
}

/// String literals that are names of our metrics.
fn literals(code: &str) -> Vec<String> {
    code.split('"')
        .skip(1)
        .step_by(2)
        .filter(|text| ["cachefront_", "simulator_"].iter().any(|ours| text.starts_with(ours)))
        .filter(|text| text.chars().all(|c| c.is_ascii_lowercase() || c == '_'))
        .map(str::to_owned)
        .collect()
}
