//! The connector's configuration: `connector.json` with its places filled.

use mysql_async::Opts;
use serde_json::{Map, Value};

use crate::config::{Kafka, Stack};
use crate::fatal::Fatal;

/// What each line is for stands in `docs/connector.md`.
const TEMPLATE: &str = include_str!("connector.json");

/// The tables that the caches depend on.
const TABLES: [&str; 1] = ["users"];
/// The table of the row by which the connector tells what the server has executed. Its one row also makes a snapshot
/// of empty tables visible.
const HEARTBEAT: &str = "cachefront_heartbeat";

/// The configuration for `database` on these servers.
///
/// # Errors
/// A line that names the variable that cannot be used.
pub(super) fn render(stack: &Stack, database: &str) -> Result<Map<String, Value>, Fatal> {
    let Kafka { connect_mysql_url, connect_brokers, prefix, .. } = &stack.kafka;
    let opts = Opts::from_url(connect_mysql_url.expose())
        .map_err(|error| Fatal::new(format!("CACHEFRONT_CONNECT_MYSQL_URL is not a MySQL URL: {error}")))?;
    let tables = TABLES.iter().chain([&HEARTBEAT]).map(|table| format!("{}\\.{}", literal(database), literal(table)));
    let places = [
        ("{mysql_host}", opts.ip_or_hostname().to_owned()),
        ("{mysql_port}", opts.tcp_port().to_string()),
        ("{mysql_user}", opts.user().unwrap_or("root").to_owned()),
        ("{mysql_password}", opts.pass().unwrap_or_default().to_owned()),
        ("{mysql_ssl_mode}", if opts.ssl_opts().is_some() { "required" } else { "preferred" }.to_owned()),
        ("{server_id}", server_id(prefix).to_string()),
        ("{prefix}", prefix.clone()),
        ("{database}", literal(database)),
        ("{tables}", tables.collect::<Vec<_>>().join(",")),
        ("{heartbeat_table}", format!("`{database}`.`{HEARTBEAT}`")),
        ("{brokers}", connect_brokers.clone()),
    ];
    let template: Map<String, Value> = serde_json::from_str(TEMPLATE).expect("a test reads the template as JSON");
    let filled = template.into_iter().map(|(name, value)| {
        let value = value.as_str().map(|text| Value::from(fill(text, &places))).unwrap_or(value);
        (name, value)
    });
    Ok(filled.collect())
}

/// Fills every place once: what is filled in is not looked at again.
fn fill(text: &str, places: &[(&str, String)]) -> String {
    let mut filled = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('{') {
        let (before, from) = rest.split_at(at);
        filled.push_str(before);
        match places.iter().find(|(place, _)| from.starts_with(place)) {
            Some((place, value)) => {
                filled.push_str(value);
                rest = from.get(place.len()..).unwrap_or_default();
            }
            None => {
                filled.push('{');
                rest = from.get(1..).unwrap_or_default();
            }
        }
    }
    filled + rest
}

/// A name as a regular expression that matches it alone.
fn literal(name: &str) -> String {
    let mut literal = String::new();
    for letter in name.chars() {
        if !(letter.is_ascii_alphanumeric() || letter == '_') {
            literal.push('\\');
        }
        literal.push(letter);
    }
    literal
}

/// The number under which the connector reads the log: always the same for a prefix, and far from what servers use.
fn server_id(prefix: &str) -> u32 {
    // FNV-1a: it need not be strong, but the same in every build.
    let hash = prefix.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    1_000_000_000 + hash % 1_000_000_000
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::config::{Backend, Environment, Flags, Role, Settings};

    const REASONS: &str = include_str!("../../../docs/connector.md");

    fn rendered(mysql_url: &str, database: &str) -> Map<String, Value> {
        let environment =
            Environment::of(&[("CACHEFRONT_MYSQL_URL", mysql_url), ("CACHEFRONT_KAFKA_BROKERS", "kafka:9092")]);
        let settings = Settings::resolve(&Role::Up, &Flags::default(), &environment).expect("settings");
        let Backend::Stack(stack) = settings.backend else { panic!("on servers") };
        render(&stack, database).expect("a configuration")
    }

    #[test]
    fn every_place_is_filled_with_text() {
        let config = rendered("mysql://debezium:p%22w%7Bprefix%7D@db.internal:3307/shop", "shop");
        for (name, value) in &config {
            let text = value.as_str().unwrap_or_else(|| panic!("{name} is no text"));
            assert!(name == "database.password" || !text.contains('{'), "{name}: {text}");
        }
        assert_eq!(config["database.password"], "p\"w{prefix}");
        assert_eq!(config["database.hostname"], "db.internal");
        assert_eq!(config["database.port"], "3307");
        assert_eq!(config["table.include.list"], r"shop\.users,shop\.cachefront_heartbeat");
        assert_eq!(config["schema.history.internal.kafka.bootstrap.servers"], "kafka:9092");
        assert_eq!(config["topic.prefix"], "cachefront-shop");
    }

    #[test]
    fn names_are_patterns_that_match_nothing_else() {
        let config = rendered("mysql://root@db/my-shop$", "my-shop$");
        assert_eq!(config["database.include.list"], r"my\-shop\$");
        assert_eq!(config["topic.prefix"], "cachefront-my-shop_");
    }

    #[test]
    fn every_line_of_the_template_says_why_it_is_there() {
        let template: Map<String, Value> = serde_json::from_str(TEMPLATE).expect("JSON");
        let lines: BTreeSet<&str> = template.keys().map(String::as_str).collect();
        let of_row = |line: &'static str| {
            let mut cells = line.strip_prefix("| `")?.split('|').map(str::trim);
            let name = cells.next()?.strip_suffix('`')?;
            let why = cells.rfind(|cell| !cell.is_empty())?;
            assert!(why.len() > 20, "{name} says too little: {why}");
            Some(name)
        };
        // The page has other tables too.
        let (_, lines_on) = REASONS.split_once("## The lines").expect("the heading of the lines");
        let (reasons, _) = lines_on.split_once("\n## ").expect("the next heading");
        let rows: Vec<&str> = reasons.lines().filter_map(of_row).collect();
        let explained: BTreeSet<&str> = rows.iter().copied().collect();
        assert_eq!(lines, explained);
        assert_eq!(rows.len(), explained.len(), "a line is explained twice");
    }
}
