//! The connector's configuration: `connector.json` with its places filled.

use mysql_async::Opts;
use serde_json::{Map, Value};
use simulator_cli::{CliError, Secret};

use crate::settings::{Kafka, Stack};

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
pub(super) fn render(stack: &Stack, database: &str) -> Result<Map<String, Value>, CliError> {
    let Kafka { connect_mysql_url, connect_brokers, prefix, .. } = &stack.kafka;
    let opts = Opts::from_url(connect_mysql_url.expose())
        .map_err(|error| CliError::new(format!("CACHEFRONT_CONNECT_MYSQL_URL is not a MySQL URL: {error}")))?;
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
    Ok(filled.chain(history_client(&stack.kafka)).collect())
}

/// TLS and SASL of the clients by which the connector keeps its history of the schema: it writes and reads it by itself,
/// with nothing of the worker's own settings.
fn history_client(kafka: &Kafka) -> impl Iterator<Item = (String, Value)> + '_ {
    let both = |(name, value): &(String, Secret)| {
        let mut value = value.expose().to_owned();
        // The list of settings is parted by semicolons, and this one must end with one.
        if name == "sasl.jaas.config" && !value.ends_with(';') {
            value.push(';');
        }
        ["producer", "consumer"]
            .map(|side| (format!("schema.history.internal.{side}.{name}"), Value::from(value.as_str())))
    };
    kafka.connect_client.iter().flat_map(both)
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

    use simulator_cli::Environment;

    use super::*;
    use crate::settings::{Backend, Flags, Settings};

    const REASONS: &str = include_str!("../../../../../docs/connector.md");

    fn rendered(mysql_url: &str, database: &str) -> Map<String, Value> {
        rendered_with(mysql_url, database, "")
    }

    fn rendered_with(mysql_url: &str, database: &str, history: &str) -> Map<String, Value> {
        let environment = Environment::of(&[
            ("CACHEFRONT_MYSQL_URL", mysql_url),
            ("CACHEFRONT_KAFKA_BROKERS", "kafka:9092"),
            ("CACHEFRONT_CONNECT_KAFKA_SETTINGS", history),
        ]);
        let settings = Settings::resolve(false, &Flags::default(), &environment).expect("settings");
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
    fn the_history_is_kept_over_the_same_security() {
        let jaas = r#"org.apache.kafka.common.security.scram.ScramLoginModule required username="u" password="p""#;
        let settings = format!("security.protocol=SASL_SSL; sasl.mechanism=SCRAM-SHA-512; sasl.jaas.config={jaas};");
        let config = rendered_with("mysql://root@db/shop", "shop", &settings);
        for side in ["producer", "consumer"] {
            let of = |name: &str| config[&format!("schema.history.internal.{side}.{name}")].as_str().map(str::to_owned);
            assert_eq!(of("security.protocol").as_deref(), Some("SASL_SSL"));
            assert_eq!(of("sasl.mechanism").as_deref(), Some("SCRAM-SHA-512"));
            assert_eq!(of("sasl.jaas.config"), Some(format!("{jaas};")));
        }
    }

    #[test]
    fn every_line_of_the_template_says_why_it_is_there() {
        let template: Map<String, Value> = serde_json::from_str(TEMPLATE).expect("JSON");
        let lines: BTreeSet<&str> = template.keys().map(String::as_str).collect();
        let of_row = |line: &'static str| {
            let mut cells = line.strip_prefix("| `")?.split('|').map(str::trim);
            // The simulator's own settings are explained there, too.
            let name = cells.next()?.strip_suffix('`').filter(|name| !name.starts_with("CACHEFRONT_"))?;
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
