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

/// Settings that compose.yaml need not pass: its servers ask for none, or its roles have the right value already.
const NOT_IN_COMPOSE: [&str; 8] = [
    // MySQL and Redis are reached inside of the project's own network, without TLS, and Kafka without SASL.
    "CACHEFRONT_TLS_CA",
    "CACHEFRONT_KAFKA_SETTINGS",
    "CACHEFRONT_CONNECT_KAFKA_SETTINGS",
    "CACHEFRONT_CONNECT_KAFKA_BROKERS",
    // One stack has these topics for itself.
    "CACHEFRONT_TOPIC_PREFIX",
    "CACHEFRONT_KAFKA_GROUP",
    // The API's processes are the servers, and the memory of one is for the default.
    "CACHEFRONT_SERVERS",
    "CACHEFRONT_API_IN_FLIGHT",
];

/// What users can set for the program outside they can set for its containers, too.
#[test]
fn compose_passes_every_setting_or_need_not() {
    let files = sources("");
    let text = |path: &str| files.iter().find(|source| source.path == path).map_or("", |source| source.text.as_str());
    let (outside, _) = text(".env.example").split_once("docker compose only").expect("the section of compose");
    let keys = |text: &str, end: char| -> BTreeSet<String> {
        let names =
            text.lines().filter_map(|line| Some(line.trim_start_matches(['#', ' ']).split_once(end)?.0.to_owned()));
        names.filter(|name| settings(name).eq([name.as_str()])).collect()
    };
    let mut passed = keys(text("compose.yaml"), ':');
    passed.extend(keys(text("deploy/compose/servers.yaml"), ':'));
    passed.extend(text("Dockerfile").split_whitespace().filter_map(|word| Some(word.split_once('=')?.0.to_owned())));
    passed.extend(NOT_IN_COMPOSE.map(str::to_owned));
    let all = keys(outside, '=');
    assert!(all.len() > 30, ".env.example has few settings: {all:?}");
    let missing: Vec<String> = all.difference(&passed).cloned().collect();
    none(&missing, "settings of .env.example that compose.yaml does not pass");
}

/// A container's own file system is read-only: what the panel keeps needs a volume.
#[test]
fn the_panel_keeps_its_runs_in_a_volume() {
    let files = sources("");
    let text = |path: &str| files.iter().find(|source| source.path == path).map_or("", |source| source.text.as_str());
    for (path, setting, mount) in [
        ("compose.yaml", "CACHEFRONT_DATA_DIR: /data\n", "- runs:/data\n"),
        ("Dockerfile", "CACHEFRONT_DATA_DIR=/data\n", "WORKDIR /data\n"),
        (
            "deploy/helm/cachefront/templates/_helpers.tpl",
            "- name: CACHEFRONT_DATA_DIR\n  value: /data\n",
            "{name: data, mountPath: /data}\n",
        ),
    ] {
        assert!(
            text(path).contains(setting) && text(path).contains(mount),
            "{path}: {setting} or {mount} is not there"
        );
    }
}

/// The names of the simulator's settings in a text.
fn settings(text: &str) -> impl Iterator<Item = &str> {
    let is_name = |c: char| c.is_ascii_uppercase() || c == '_';
    text.split(move |c| !is_name(c)).filter(|word| word.starts_with("CACHEFRONT_") && !word.ends_with('_'))
}
