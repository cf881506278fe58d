//! The catalogue of metrics in the documentation, made from the modules that name them.

use cachefront_testkit::stack;

/// Heading, what follows it, and the file that names the metrics of a part.
const PARTS: [(&str, &str, &str); 2] = [
    (
        "The library",
        "Emitted by the [`metrics`](https://docs.rs/metrics) facade into the recorder of your service, see [the guide](guide.md#metrics-and-alerts). Names and labels do not change within a major version; they are constants of [`cachefront::metrics`](https://docs.rs/cachefront/latest/cachefront/metrics/).",
        "cachefront-core/src/metrics.rs",
    ),
    (
        "The simulator",
        "Served by the simulator together with the library's, see [observability](observability.md).",
        "examples/simulator/model/src/metrics/names.rs",
    ),
];

/// The table of each part, under its heading.
///
/// # Panics
/// If a file is missing.
pub(crate) fn page() -> String {
    let mut page = String::from(
        "# Metrics\n\nTimes are in seconds. Made from the modules that name them; `BLESS=1 cargo test -p cachefront-tests --test tidy` renews it.\n",
    );
    for (heading, what, path) in PARTS {
        let text = std::fs::read_to_string(stack::workspace_root().join(path)).expect("the module is there");
        page.push_str(&format!("\n## {heading}\n\n{what}\n\n"));
        let rows = text.lines().filter_map(|line| line.strip_prefix("//! ")).filter(|line| line.starts_with('|'));
        rows.for_each(|row| page.push_str(&format!("{}\n", without_links(row))));
    }
    page
}

/// Replaces rustdoc's links to items by their names.
fn without_links(row: &str) -> String {
    let mut text = String::new();
    let mut rest = row;
    while let Some((before, after)) = rest.split_once("[`") {
        let Some((name, target)) = after.split_once("`]") else { break };
        text.push_str(&format!("{before}`{name}`"));
        rest = target.strip_prefix('(').and_then(|target| target.split_once(')')).map_or(target, |(_, rest)| rest);
    }
    text + rest
}
