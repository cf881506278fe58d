//! Where changes are read from, and the settings of Kafka and Kafka Connect.

use simulator_cli::{CliError, SecretString};

use super::flags::Flags;
use super::lookup::{Lookup, http_url};

const BROKERS_DEFAULT: &str = "127.0.0.1:29092";
const CONNECT_URL_DEFAULT: &str = "http://127.0.0.1:8083";

/// Where changes are read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The database's own log: MySQL's binary log, or the embedded database's log table.
    Binlog,
    /// Debezium's events on Kafka.
    Kafka,
}

/// Kafka, and Connect with its view of the other servers.
#[derive(Clone, Debug)]
pub struct Kafka {
    /// Brokers as this program reaches them.
    pub brokers: String,
    /// The consumers' group.
    pub group: String,
    /// The prefix of topics, and the connector's name.
    pub prefix: String,
    pub connect_url: SecretString,
    /// The database as Connect reaches it.
    pub connect_mysql_url: SecretString,
    /// Brokers as Connect reaches them.
    pub connect_brokers: String,
    /// Settings of the client, for TLS and SASL.
    pub client: Vec<(String, SecretString)>,
    /// Settings of the connector's own client for its schema history, by the names of Kafka's Java client.
    pub connect_client: Vec<(String, SecretString)>,
    /// False if no URL of Connect is set and the brokers are: then there is no connector to follow.
    pub is_connect_known: bool,
}

impl Lookup<'_> {
    pub(super) fn source(&self, flags: &Flags) -> Result<Option<Source>, CliError> {
        match self.text("CACHEFRONT_SOURCE", &flags.source).as_deref() {
            None => Ok(None),
            Some("binlog") => Ok(Some(Source::Binlog)),
            Some("kafka") => Ok(Some(Source::Kafka)),
            Some(_) => Err(CliError::new("CACHEFRONT_SOURCE is unknown: write binlog or kafka")),
        }
    }

    pub(super) fn kafka(&self, flags: &Flags, mysql_url: &str) -> Result<Kafka, CliError> {
        let set = |name: &str| self.environment.get(name).map(str::to_owned);
        let database = database_of(mysql_url);
        let default_name = format!("cachefront-{}", database.replace('$', "_"));
        let (brokers, connect_url) = (
            self.text("CACHEFRONT_KAFKA_BROKERS", &flags.kafka_brokers),
            self.text("CACHEFRONT_CONNECT_URL", &flags.connect_url),
        );
        let is_connect_known = connect_url.is_some() || brokers.is_none();
        let brokers = brokers.unwrap_or(BROKERS_DEFAULT.into());
        let connect_brokers = set("CACHEFRONT_CONNECT_KAFKA_BROKERS").unwrap_or(brokers.clone());
        for (name, list) in
            [("CACHEFRONT_KAFKA_BROKERS", &brokers), ("CACHEFRONT_CONNECT_KAFKA_BROKERS", &connect_brokers)]
        {
            if !list.split(',').all(is_address) {
                return Err(CliError::new(format!("{name} is not a list of addresses: write host:port,host:port")));
            }
        }
        let prefix = self.text("CACHEFRONT_TOPIC_PREFIX", &flags.topic_prefix).unwrap_or(default_name.clone());
        if prefix.len() > 100 || !prefix.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte)) {
            return Err(CliError::new(
                "CACHEFRONT_TOPIC_PREFIX may hold letters, digits, dots, hyphens and underscores, 100 at most",
            ));
        }
        let connect_url = connect_url.unwrap_or(CONNECT_URL_DEFAULT.into());
        let connect_mysql_url =
            self.text("CACHEFRONT_CONNECT_MYSQL_URL", &flags.connect_mysql_url).unwrap_or(mysql_url.to_owned());
        if !connect_mysql_url.starts_with("mysql://") {
            return Err(CliError::new(
                "CACHEFRONT_CONNECT_MYSQL_URL is not a MySQL URL: write mysql://user:password@host:3306",
            ));
        }
        let pairs = |name| set(name).map_or(Ok(Vec::new()), |list| client_settings(name, &list));
        Ok(Kafka {
            client: pairs("CACHEFRONT_KAFKA_SETTINGS")?,
            connect_client: pairs("CACHEFRONT_CONNECT_KAFKA_SETTINGS")?,
            is_connect_known,
            brokers,
            group: self.text("CACHEFRONT_KAFKA_GROUP", &flags.kafka_group).unwrap_or(default_name),
            prefix,
            connect_url: SecretString::from(http_url("CACHEFRONT_CONNECT_URL", &connect_url)?),
            connect_mysql_url: SecretString::from(connect_mysql_url),
            connect_brokers,
        })
    }
}

/// The database that a URL names, `cachefront` if it names none.
fn database_of(mysql_url: &str) -> &str {
    let rest = mysql_url.split_once("://").map_or("", |(_, rest)| rest);
    let path = rest.split(['?', '#']).next().unwrap_or_default().split_once('/').map_or("", |(_, path)| path);
    if path.is_empty() { "cachefront" } else { path }
}

/// `name=value` pairs, separated by semicolons.
fn client_settings(variable: &str, list: &str) -> Result<Vec<(String, SecretString)>, CliError> {
    let pairs = list.split(';').map(str::trim).filter(|pair| !pair.is_empty());
    let pair = |pair: &str| {
        let (name, value) = pair.split_once('=')?;
        (!name.trim().is_empty()).then(|| (name.trim().to_owned(), SecretString::from(value.trim())))
    };
    pairs.map(pair).collect::<Option<Vec<_>>>().ok_or_else(|| {
        CliError::new(format!(
            "{variable} is not a list of the client's settings: write name=value;name=value, for example \
             security.protocol=SASL_SSL;{}",
            match variable {
                "CACHEFRONT_KAFKA_SETTINGS" => "sasl.mechanisms=SCRAM-SHA-256",
                _ => "sasl.mechanism=SCRAM-SHA-256",
            }
        ))
    })
}

fn is_address(text: &str) -> bool {
    text.trim().rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
}

#[cfg(test)]
mod tests {
    use simulator_cli::{Environment, ExposeSecret, host};

    use super::*;

    fn kafka(pairs: &[(&str, &str)]) -> Result<Kafka, CliError> {
        Lookup { environment: &Environment::of(pairs) }
            .kafka(&Flags::default(), "mysql://u:hidden@db/shop?require_ssl=true")
    }

    #[test]
    fn what_is_not_set_follows_from_the_database() {
        let kafka = kafka(&[]).expect("defaults");
        assert_eq!((kafka.group.as_str(), kafka.prefix.as_str()), ("cachefront-shop", "cachefront-shop"));
        assert_eq!((kafka.brokers.as_str(), kafka.connect_brokers.as_str()), (BROKERS_DEFAULT, BROKERS_DEFAULT));
        assert_eq!(host(&kafka.connect_mysql_url), "db");
        assert!(!format!("{kafka:?}").contains("hidden"));
        assert_eq!(database_of("mysql://u@h:3306"), "cachefront");
    }

    #[test]
    fn flags_override_the_environment() {
        let environment = Environment::of(&[
            ("CACHEFRONT_KAFKA_BROKERS", "env:1"),
            ("CACHEFRONT_KAFKA_GROUP", "env"),
            ("CACHEFRONT_TOPIC_PREFIX", "env"),
            ("CACHEFRONT_CONNECT_URL", "http://env:1"),
            ("CACHEFRONT_CONNECT_MYSQL_URL", "mysql://env/x"),
        ]);
        let given = Some("flag".to_owned());
        let flags = Flags {
            kafka_brokers: Some("flag:1".into()),
            kafka_group: given.clone(),
            topic_prefix: given,
            connect_url: Some("http://flag:1".into()),
            connect_mysql_url: Some("mysql://flag/x".into()),
            ..Flags::default()
        };
        let kafka = Lookup { environment: &environment }.kafka(&flags, "mysql://u@db/shop").expect("settings");
        assert_eq!((kafka.brokers.as_str(), kafka.connect_brokers.as_str()), ("flag:1", "flag:1"));
        assert_eq!((kafka.group.as_str(), kafka.prefix.as_str()), ("flag", "flag"));
        assert_eq!((host(&kafka.connect_url), host(&kafka.connect_mysql_url)), ("flag:1", "flag"));
    }

    #[test]
    fn brokers_elsewhere_do_not_mean_a_connect_here() {
        let known = |pairs: &[(&str, &str)]| kafka(pairs).expect("settings").is_connect_known;
        assert!(known(&[]));
        assert!(!known(&[("CACHEFRONT_KAFKA_BROKERS", "kafka:9092")]));
        assert!(known(&[
            ("CACHEFRONT_KAFKA_BROKERS", "kafka:9092"),
            ("CACHEFRONT_CONNECT_URL", "http://connect:8083")
        ]));
    }

    #[test]
    fn settings_of_the_client_are_kept_secret() {
        let kafka = kafka(&[("CACHEFRONT_KAFKA_SETTINGS", "sasl.username=u; sasl.password=hidden=;")]).expect("a list");
        assert_eq!(kafka.client.len(), 2);
        assert_eq!((kafka.client[1].0.as_str(), kafka.client[1].1.expose_secret()), ("sasl.password", "hidden="));
        assert!(!format!("{kafka:?}").contains("hidden"));
    }

    #[test]
    fn what_cannot_be_used_is_named_and_its_value_is_not_shown() {
        for (name, value) in [
            ("CACHEFRONT_KAFKA_BROKERS", "kafka:hidden"),
            ("CACHEFRONT_CONNECT_KAFKA_BROKERS", "hidden"),
            ("CACHEFRONT_CONNECT_URL", "ftp://hidden"),
            ("CACHEFRONT_CONNECT_MYSQL_URL", "postgres://u:hidden@x/y"),
            ("CACHEFRONT_TOPIC_PREFIX", "hidden/prefix"),
            ("CACHEFRONT_KAFKA_SETTINGS", "sasl.password"),
            ("CACHEFRONT_KAFKA_SETTINGS", "=hidden"),
            ("CACHEFRONT_CONNECT_KAFKA_SETTINGS", "hidden"),
        ] {
            let message = kafka(&[(name, value)]).expect_err(name).to_string();
            assert!(message.contains(name) && !message.contains("hidden"), "{message}");
        }
    }
}
