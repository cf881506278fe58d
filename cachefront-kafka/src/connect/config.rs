//! The connector's configuration: `connector.json` with its placeholders filled.

use std::collections::BTreeMap;
use std::fmt;

use super::redact::{Redactor, Secret};

/// The configuration with placeholders. `docs/connector.md` explains every line; a test compares the two.
const TEMPLATE: &str = include_str!("connector.json");

/// A configuration of Debezium's [MySQL connector] for [`KafkaSource`](crate::KafkaSource): transaction metadata, TRUNCATE
/// events, a heartbeat that writes the executed GTID set, JSON without schemas, and low latency.
///
/// `docs/connector.md` of the repository explains every setting, and the rights that the connector's user needs.
///
/// ```
/// use cachefront::kafka::connect::ConnectorConfig;
///
/// let config = ConnectorConfig::new("shop", "shop", "kafka:9092")
///     .server("mysql", 3306)
///     .credentials("debezium", "secret")
///     .table("users")
///     .setting("poll.interval.ms", "5");
/// let settings = config.settings();
/// assert_eq!(settings["table.include.list"], r"shop\.users,shop\.cachefront_heartbeat");
/// assert_eq!(settings["poll.interval.ms"], "5");
/// assert!(!format!("{config:?}").contains("secret"));
/// ```
///
/// [MySQL connector]: https://debezium.io/documentation/reference/stable/connectors/mysql.html#mysql-connector-properties
#[derive(Clone)]
#[must_use]
pub struct ConnectorConfig {
    prefix: String,
    database: String,
    brokers: String,
    host: String,
    port: u16,
    user: String,
    password: Secret,
    ssl_mode: &'static str,
    tables: Vec<String>,
    heartbeat_table: String,
    client: Vec<(String, Secret)>,
    extra: BTreeMap<String, Secret>,
}

impl fmt::Debug for ConnectorConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Client settings and extra settings may hold passwords.
        f.debug_struct("ConnectorConfig")
            .field("prefix", &self.prefix)
            .field("database", &self.database)
            .field("brokers", &self.brokers)
            .field("host", &self.host)
            .field("port", &self.port)
            .field("user", &self.user)
            .field("tables", &self.tables)
            .finish_non_exhaustive()
    }
}

impl ConnectorConfig {
    /// Returns a configuration that captures one database under a topic prefix. `brokers` are those of the schema history,
    /// as the worker reaches them: `kafka-1:9092,kafka-2:9092`.
    ///
    /// The server is `localhost:3306` and the user `root` without a password until they are set.
    pub fn new(topic_prefix: impl Into<String>, database: impl Into<String>, brokers: impl Into<String>) -> Self {
        Self {
            prefix: topic_prefix.into(),
            database: database.into(),
            brokers: brokers.into(),
            host: "localhost".to_owned(),
            port: 3306,
            user: "root".to_owned(),
            password: Secret::new(""),
            ssl_mode: "preferred",
            tables: Vec::new(),
            heartbeat_table: "cachefront_heartbeat".to_owned(),
            client: Vec::new(),
            extra: BTreeMap::new(),
        }
    }

    /// Sets the MySQL server, as the worker reaches it. Default: `localhost`, 3306.
    pub fn server(mut self, host: impl Into<String>, port: u16) -> Self {
        (self.host, self.port) = (host.into(), port);
        self
    }

    /// Sets the connector's user in MySQL. Kafka Connect stores the password in its configuration topic.
    /// Default: `root` without a password.
    pub fn credentials(mut self, user: impl Into<String>, password: impl Into<String>) -> Self {
        (self.user, self.password) = (user.into(), Secret::new(password));
        self
    }

    /// Requires TLS to the MySQL server. **The certificate is not checked**, so an attacker between the two can pose as the server;
    /// see [`verify_tls`](Self::verify_tls). Default: `false`, which uses TLS if the server offers it.
    pub fn require_tls(mut self, required: bool) -> Self {
        self.ssl_mode = if required { "required" } else { "preferred" };
        self
    }

    /// Requires TLS to the MySQL server, and that its certificate names the host and is signed by a CA of this trust store: a JKS
    /// file at `path` on each host that runs a worker (`keytool -importcert -file ca.pem -keystore ca.jks`), and its password.
    /// Default: see [`require_tls`](Self::require_tls), of which the last call counts.
    pub fn verify_tls(mut self, path: impl Into<String>, password: impl Into<String>) -> Self {
        self.ssl_mode = "verify_identity";
        self.setting("database.ssl.truststore", path).setting("database.ssl.truststore.password", password)
    }

    /// Adds a table of the database that caches depend on. Default: none but the heartbeat's.
    pub fn table(mut self, table: impl Into<String>) -> Self {
        self.tables.push(table.into());
        self
    }

    /// Sets the table of the heartbeat, which must exist: `(id INT PRIMARY KEY, executed LONGTEXT NOT NULL, beat BIGINT
    /// UNSIGNED NOT NULL)`. Give it to [`KafkaSourceBuilder::marker`](crate::KafkaSourceBuilder::marker) with the column
    /// `executed`. Its row also makes a snapshot of empty tables visible.
    /// Default: `cachefront_heartbeat`.
    pub fn heartbeat_table(mut self, table: impl Into<String>) -> Self {
        self.heartbeat_table = table.into();
        self
    }

    /// Adds a setting of the Kafka clients with which the connector reads and writes its schema history, such as
    /// `security.protocol` and `sasl.jaas.config`. They do not inherit the worker's own settings.
    /// Default: none.
    pub fn client_setting(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.client.push((name.into(), Secret::new(value)));
        self
    }

    /// Adds or replaces a setting of the connector. Default: none but those of `docs/connector.md`.
    pub fn setting(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.extra.insert(name.into(), Secret::new(value));
        self
    }

    /// Returns a redactor for the secrets of this configuration.
    pub fn redactor(&self) -> Redactor {
        let redactor = Redactor::new().with_secret(self.password.expose());
        let client = self.client.iter().map(|(name, value)| (name, value));
        client.chain(&self.extra).fold(redactor, |redactor, (name, value)| redactor.with_setting(name, value.expose()))
    }

    /// Returns all settings by name. **They contain the password.**
    ///
    /// # Panics
    /// Never: a test reads the template.
    pub fn settings(&self) -> BTreeMap<String, String> {
        let Self { database, heartbeat_table, .. } = self;
        let tables = self.tables.iter().chain([heartbeat_table]);
        let tables: Vec<String> = tables.map(|table| format!("{}\\.{}", literal(database), literal(table))).collect();
        let values = [
            ("{mysql_host}", self.host.clone()),
            ("{mysql_port}", self.port.to_string()),
            ("{mysql_user}", self.user.clone()),
            ("{mysql_password}", self.password.expose().to_owned()),
            ("{mysql_ssl_mode}", self.ssl_mode.to_owned()),
            ("{server_id}", server_id(&self.prefix).to_string()),
            ("{prefix}", self.prefix.clone()),
            ("{database}", literal(database)),
            ("{tables}", tables.join(",")),
            ("{heartbeat_table}", format!("`{database}`.`{heartbeat_table}`")),
            ("{brokers}", self.brokers.clone()),
        ];
        let template: BTreeMap<String, String> = serde_json::from_str(TEMPLATE).expect("a test parses the template");
        let filled = template.into_iter().map(|(name, text)| (name, fill(&text, &values)));
        let extra = self.extra.iter().map(|(name, value)| (name.clone(), value.expose().to_owned()));
        filled.chain(self.history_client()).chain(extra).collect()
    }

    /// Returns the settings of the schema history's producer and consumer.
    fn history_client(&self) -> impl Iterator<Item = (String, String)> + '_ {
        let both = |(name, value): &(String, Secret)| {
            let mut value = value.expose().to_owned();
            // JAAS requires the semicolon; lists of settings often lose it as their separator.
            if name == "sasl.jaas.config" && !value.ends_with(';') {
                value.push(';');
            }
            ["producer", "consumer"].map(|side| (format!("schema.history.internal.{side}.{name}"), value.clone()))
        };
        self.client.iter().flat_map(both)
    }
}

/// Fills every placeholder once: values are not searched for placeholders.
fn fill(text: &str, values: &[(&str, String)]) -> String {
    let mut filled = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('{') {
        let (before, from) = rest.split_at(at);
        filled.push_str(before);
        match values.iter().find(|(placeholder, _)| from.starts_with(placeholder)) {
            Some((placeholder, value)) => {
                filled.push_str(value);
                rest = from.get(placeholder.len()..).unwrap_or_default();
            }
            None => {
                filled.push('{');
                rest = from.get(1..).unwrap_or_default();
            }
        }
    }
    filled + rest
}

/// Returns a regular expression that matches only this name.
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

/// Returns the replication server id of the connector: constant for a prefix, and far from the ids that servers use.
fn server_id(prefix: &str) -> u32 {
    // FNV-1a: it need not be strong, but the same in every build.
    let hash = prefix.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    1_000_000_000 + hash % 1_000_000_000
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const REASONS: &str = include_str!("../../../docs/connector.md");

    fn config(database: &str) -> ConnectorConfig {
        ConnectorConfig::new("cachefront-shop", database, "kafka:9092")
            .server("db.internal", 3307)
            .credentials("debezium", "p\"w{prefix}")
            .table("users")
    }

    #[test]
    fn secrets_of_every_setting_are_hidden() {
        let config = config("shop")
            .client_setting("ssl.key.password", "keypass")
            .client_setting("security.protocol", "SASL_SSL")
            .setting("database.ssl.keystore.password", "storepass")
            .setting("transforms.x.token.enabled", "true")
            .setting("snapshot.mode", "no_data");
        let said = config.redactor().redact("keypass, storepass, SASL_SSL, no_data, true");
        assert_eq!(said, "***, ***, SASL_SSL, no_data, true");
    }

    #[test]
    fn every_placeholder_is_filled() {
        let settings = config("shop").settings();
        for (name, text) in &settings {
            assert!(name == "database.password" || !text.contains('{'), "{name}: {text}");
        }
        assert_eq!(settings["database.password"], "p\"w{prefix}");
        assert_eq!(settings["database.hostname"], "db.internal");
        assert_eq!(settings["database.port"], "3307");
        assert_eq!(settings["database.ssl.mode"], "preferred");
        assert_eq!(settings["table.include.list"], r"shop\.users,shop\.cachefront_heartbeat");
        assert_eq!(settings["schema.history.internal.kafka.bootstrap.servers"], "kafka:9092");
        assert_eq!(settings["topic.prefix"], "cachefront-shop");
        assert_eq!(config("shop").require_tls(true).settings()["database.ssl.mode"], "required");
    }

    #[test]
    fn with_a_trust_store_the_servers_certificate_and_name_are_checked() {
        let config = config("shop").require_tls(true).verify_tls("/etc/connect/ca.jks", "stored");
        let settings = config.settings();
        assert_eq!(settings["database.ssl.mode"], "verify_identity");
        assert_eq!(settings["database.ssl.truststore"], "/etc/connect/ca.jks");
        assert_eq!(settings["database.ssl.truststore.password"], "stored");
        assert_eq!(config.redactor().redact_setting("database.ssl.truststore.password", "stored"), "***");
        assert_eq!(config.require_tls(true).settings()["database.ssl.mode"], "required", "the last call counts");
    }

    #[test]
    fn names_match_literally() {
        assert_eq!(config("my-shop$").settings()["database.include.list"], r"my\-shop\$");
    }

    #[test]
    fn the_schema_history_uses_the_client_settings() {
        let jaas = r#"org.apache.kafka.common.security.scram.ScramLoginModule required username="u" password="p""#;
        let config = config("shop")
            .client_setting("security.protocol", "SASL_SSL")
            .client_setting("sasl.mechanism", "SCRAM-SHA-512")
            .client_setting("sasl.jaas.config", jaas);
        let settings = config.settings();
        for side in ["producer", "consumer"] {
            let of = |name: &str| settings[&format!("schema.history.internal.{side}.{name}")].as_str();
            assert_eq!(of("security.protocol"), "SASL_SSL");
            assert_eq!(of("sasl.mechanism"), "SCRAM-SHA-512");
            assert_eq!(of("sasl.jaas.config"), format!("{jaas};"));
        }
    }

    #[test]
    fn secrets_are_not_printed() {
        let config = config("shop").client_setting("sasl.jaas.config", r#"password="p4ss""#);
        let printed = format!("{config:?} {:?}", config.redactor());
        assert!(!printed.contains("p4ss") && !printed.contains("p\"w"), "{printed}");
        assert_eq!(config.redactor().redact(r#"denied: p"w{prefix}, p4ss"#), "denied: ***, ***");
    }

    #[test]
    fn every_line_of_the_template_is_explained() {
        let template: BTreeMap<String, String> = serde_json::from_str(TEMPLATE).expect("JSON");
        let lines: BTreeSet<&str> = template.keys().map(String::as_str).collect();
        let of_row = |line: &'static str| {
            let mut cells = line.strip_prefix("| `")?.split('|').map(str::trim);
            // The page explains environment variables too.
            let name = cells.next()?.strip_suffix('`').filter(|name| !name.starts_with("CACHEFRONT_"))?;
            let why = cells.rfind(|cell| !cell.is_empty())?;
            assert!(why.len() > 20, "the explanation of {name} is too short: {why}");
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
