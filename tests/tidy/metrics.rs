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

/// The metric whose label has the literal that follows a text of the core's code.
const LABEL_VALUES: [(&str, &str, &str); 13] = [
    ("cachefront_reads_total", "metrics.rs", "read(\""),
    ("cachefront_reads_total", "metrics.rs", "read_of(\""),
    ("cachefront_loads_total", "metrics.rs", "load_of(\""),
    ("cachefront_fills_total", "metrics.rs", "\"outcome\" => \"stored"),
    ("cachefront_fills_total", "", "fill_refused(\""),
    ("cachefront_fills_total", "store/lease.rs", "=> \""),
    ("cachefront_local_resets_total", "bus/hub/mod.rs", ".doubt(\""),
    ("cachefront_local_resets_total", "bus/hub/mod.rs", ".stop(\""),
    ("cachefront_local_resets_total", "bus/hub/mod.rs", ".stop_all(\""),
    ("cachefront_breaker_open", "", "metrics.breaker(\""),
    ("cachefront_flushes_total", "", "flushed(\""),
    ("cachefront_flushes_total", "invalidator/begin.rs", "=> \""),
    ("cachefront_shadow_total", "", "metrics.shadow(\""),
];

#[test]
fn the_table_of_metrics_has_the_values_of_labels() {
    let (mut wrong, mut seen) = (Vec::new(), 0);
    let core = sources("cachefront-core/src");
    let table = core.iter().find(|source| source.path.ends_with("src/metrics.rs")).expect("the metrics");
    for (metric, file, before) in LABEL_VALUES {
        let row = table.text.lines().find(|line| line.starts_with(&format!("//! | `{metric}`"))).expect(metric);
        let (before, begun) = before.rsplit_once('"').expect("a literal begins");
        for source in core.iter().filter(|source| !source.is_test() && source.path.ends_with(file)) {
            let code = source.product_code();
            for rest in code.split(&format!("{before}\"{begun}")).skip(1) {
                seen += 1;
                let value = format!("{begun}{}", rest.split('"').next().unwrap_or_default());
                if !row.contains(&format!("`{value}`")) {
                    wrong.push(format!("{metric}: `{value}` of {}", source.path));
                }
            }
        }
    }
    none(&wrong, "values of labels that the table of cachefront-core/src/metrics.rs lacks");
    assert!(seen > 35, "only {seen} values found: this test searches the wrong place");
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
