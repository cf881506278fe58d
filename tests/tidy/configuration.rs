//! The table of settings says what the file says that users copy, and every way to deploy passes the same settings.

use std::collections::BTreeSet;

use crate::settings_table;
use crate::tree::{is_up_to_date, none, sources};

#[test]
fn the_table_of_settings_is_up_to_date() {
    let table = settings_table::table();
    is_up_to_date("docs/configuration.md", &table);
    assert!(table.matches("CACHEFRONT_").count() > 15, "the table lacks settings");
}

/// The Helm chart can set what Compose sets.
#[test]
fn the_chart_passes_the_settings_that_compose_passes() {
    let files = sources("");
    let below = |path: &'static str| files.iter().filter(move |source| source.path.starts_with(path));
    let of_compose: BTreeSet<&str> = below("compose.yaml").flat_map(|source| settings(&source.text)).collect();
    let of_chart: BTreeSet<&str> =
        below("deploy/helm/cachefront/templates/").flat_map(|source| settings(&source.text)).collect();
    assert!(of_compose.len() > 15, "compose.yaml passes few settings: {of_compose:?}");
    let missing: Vec<String> = of_compose.difference(&of_chart).map(|name| (*name).to_owned()).collect();
    none(&missing, "settings that compose.yaml passes and deploy/helm/cachefront/templates does not");
}

/// The names of the simulator's settings in a text.
fn settings(text: &str) -> impl Iterator<Item = &str> {
    let is_name = |c: char| c.is_ascii_uppercase() || c == '_';
    text.split(move |c| !is_name(c)).filter(|word| word.starts_with("CACHEFRONT_") && !word.ends_with('_'))
}
