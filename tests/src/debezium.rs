//! A connector of one test's own, with everything that it leaves behind removed at the end.

use serde_json::{Map, Value};

use crate::server::{connect::Rest, kafka::Topics};
use crate::stack;

/// The table of markers, in the test's database.
pub const MARKER: &str = "cachefront_heartbeat";

/// Where a connector reads and writes.
#[derive(Clone, Debug)]
pub struct Place {
    /// The server as Connect sees it, with a user that may replicate.
    pub mysql_url: String,
    /// The brokers, as clients see them.
    pub brokers: String,
    /// The brokers, as Connect sees them.
    pub connect_brokers: String,
    /// Connect's address.
    pub connect_url: String,
}

impl Place {
    /// The stack's servers.
    ///
    /// # Panics
    /// If there is no stack.
    pub fn shared() -> Self {
        Self {
            mysql_url: stack::connect_mysql_url(),
            brokers: stack::kafka_brokers(),
            connect_brokers: stack::connect_kafka_brokers(),
            connect_url: stack::connect_url(),
        }
    }
}

/// A running connector of one database; its topics begin with the database's name.
#[derive(Debug)]
pub struct Connector {
    /// Its name, which is its topic prefix too.
    pub prefix: String,
    /// Where it runs.
    pub place: Place,
}

impl Connector {
    /// Registers the product's own template for all tables of `database`, and waits until it runs. Makes the table of
    /// markers first.
    ///
    /// # Panics
    /// If it does not run.
    pub async fn start(place: Place, database: &crate::unique::Database) -> Self {
        Self::start_with(place, database, &[]).await
    }

    /// The same, with other settings on top; an empty one takes the template's away.
    ///
    /// # Panics
    /// If it does not run.
    pub async fn start_with(place: Place, database: &crate::unique::Database, extra: &[(&str, &str)]) -> Self {
        database
            .execute(&format!(
                "CREATE TABLE IF NOT EXISTS {MARKER} (id INT PRIMARY KEY, executed LONGTEXT NOT NULL, \
                 beat BIGINT UNSIGNED NOT NULL)"
            ))
            .await;
        let connector = Self { prefix: database.name().to_owned(), place };
        let mut config = connector.config(database.name());
        for (name, value) in extra {
            match value.is_empty() {
                true => config.remove(*name),
                false => config.insert((*name).to_owned(), Value::from(*value)),
            };
        }
        let rest = connector.rest();
        rest.register(&connector.prefix, &config).await;
        rest.wait_running(&connector.prefix).await;
        connector
    }

    /// What Connect is asked by.
    pub fn rest(&self) -> Rest {
        Rest::of(&self.place.connect_url)
    }

    fn config(&self, database: &str) -> Map<String, Value> {
        let path = stack::workspace_root().join("examples/simulator/connect/connector.json");
        let template = std::fs::read_to_string(path).expect("the template of the connector");
        let url = mysql_async::Opts::from_url(&self.place.mysql_url).expect("a URL");
        let id = getrandom::u64().expect("the system has randomness") % 1_000_000_000 + 1_000_000;
        let values = [
            ("mysql_host", url.ip_or_hostname().to_owned()),
            ("mysql_port", url.tcp_port().to_string()),
            ("mysql_user", url.user().unwrap_or_default().to_owned()),
            ("mysql_password", url.pass().unwrap_or_default().to_owned()),
            ("mysql_ssl_mode", "preferred".to_owned()),
            ("server_id", id.to_string()),
            ("prefix", self.prefix.clone()),
            ("database", database.to_owned()),
            ("tables", format!("{database}\\\\..*")),
            ("heartbeat_table", format!("{database}.{MARKER}")),
            ("brokers", self.place.connect_brokers.clone()),
            ("replication", "1".to_owned()),
        ];
        let filled = values.iter().fold(template, |text, (name, value)| text.replace(&format!("{{{name}}}"), value));
        serde_json::from_str(&filled).expect("the template is JSON when it is filled in")
    }

    /// Removes the connector, its offsets and its topics.
    ///
    /// # Panics
    /// If Connect or the broker refuses.
    pub async fn remove(self) {
        self.rest().delete(&self.prefix).await;
        let topics = Topics::of(&self.place.brokers);
        let names = topics.names();
        let own = |name: &&String| {
            **name == self.prefix
                || name.starts_with(&format!("{}.", self.prefix))
                || name.ends_with(&format!("heartbeat.{}", self.prefix))
        };
        let own: Vec<&str> = names.iter().filter(own).map(String::as_str).collect();
        topics.delete(&own).await;
    }
}
